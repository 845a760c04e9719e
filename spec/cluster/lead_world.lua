--- One drawn run of three nodes and a server, for who leads: nodes die, sleep and give the lead up, their apps hang and
--- go on in the middle of what they did, connections break with calls that are run later, answers are lost, the server
--- restarts without its last writes, or without all. Whoever leads acts, in the feed and outside; a judge of its own
--- looks at who acted when.
local dice = require("spec.support.dice")

local lead_world = {}

local World = {}
World.__index = World

local STEPS, NODES, STEP_MS = 4000, 3, 60
local LEASE_MS, EARLY_MS, REST_MS = 5000, 900, 1000
local REMEMBERED = 12
local APART_MS, GAP_MS = 900, 7000 -- what is promised
lead_world.RULES = { "token", "early", "hold", "rest", "rising" }

-- In ten thousand steps; what is gentle leaves the server and its connections alone.
local FAULTS = { crash = 20, pause = 30, give_up = 20, hang = 20, cut = 30, part = 20, restart = 8, wipe = 3 }
local GENTLE = { crash = true, pause = true, give_up = true, hang = true }

-- ---- The server: what the scripts do with the lease ------------------------------------------------

local scripts = {}

local function change(self)
  local copy = {}
  for key, value in pairs(self.state) do copy[key] = value end
  self.past[#self.past + 1] = self.state
  if #self.past > REMEMBERED then table.remove(self.past, 1) end
  self.state = copy
  return copy
end

function scripts.join(self, call)
  local state, took = change(self), false
  if not state.epoch or state.run ~= self.run or call.known > state.seq then
    local is_new = not state.epoch and call.epoch == "" and self.now - self.began >= LEASE_MS
    if self.rules.hold and not is_new then state.lead, state.till = nil, self.now + LEASE_MS end
    state.seq = math.max(state.seq, call.known) + 1000
    state.epoch, took = call.new_epoch, true
  end
  state.run, state.fence = self.run, state.fence + 1
  state["fence " .. call.slot] = tostring(state.fence)
  return { seq = state.seq, mark = 0, epoch = state.epoch, fence = tostring(state.fence), lineage = "", took = took }
end

function scripts.beat(self, call)
  local state = change(self)
  local is_over, mine = state.till <= self.now, state.lead == call.slot
  if call.would_lead and (mine or is_over) then
    local least = self.rules.rising and self.now or 0
    if not mine or is_over then state.token = math.max(state.token + 1, least) end
    state.lead, state.till = call.slot, self.now + LEASE_MS
  elseif mine and not call.would_lead then
    state.lead = nil
    state.till = math.min(state.till, self.now + (self.rules.rest and REST_MS or 0))
  end
  return { seq = state.seq, lead = state.till > self.now and state.lead or "", lease = state.token,
    left = math.max(state.till - self.now, 0) }
end

function scripts.publish(self, call)
  local state, results = change(self), {}
  local early = self.rules.early and EARLY_MS or 1
  for i, p in ipairs(call.publishes) do
    local holds = state.lead == call.slot and state.token == p.lease and self.now + early <= state.till
    if self.rules.token and not holds then
      results[i] = { deposed = true }
    else
      state.seq = state.seq + 1
      results[i] = { seq = state.seq }
      self:note("feed", p.lease)
    end
  end
  return { results = results }
end

function scripts.mark(self) return { seq = self.state.seq } end

local function execute(self, call)
  local state = self.state
  local proves = state.epoch == call.epoch and state["fence " .. call.slot] == call.fence and call.known <= state.seq
    and state.run == self.run
  if call.kind ~= "join" and not proves then return { refused = "lineage" } end
  return scripts[call.kind](self, call)
end

-- ---- A node ---------------------------------------------------------------------------------------

local function start(self, node)
  node.runs = node.runs + 1
  node.machine = self.testing.machine(("slot%d.%d"):format(node.index, node.runs), self.random(1 << 30))
  node.calls, node.answers, node.entries, node.up, node.giving = {}, {}, 0, true, false
  node.connected, node.dials = false, false
  node.hung, node.token, node.heard = nil, nil, self.now
end

-- What it had said may still be run.
local function hang_up(self, node)
  for _, call in ipairs(node.calls) do
    if self.random(2) == 1 then self.late[#self.late + 1] = { call = call, run = self.run } end
  end
  node.calls, node.answers, node.connected, node.dials = {}, {}, false, false
end

local acts = {}
function acts.dial(_, node) node.dials = true end
function acts.hang_up(self, node) hang_up(self, node) end
function acts.call(_, node, action) node.calls[#node.calls + 1] = action end
function acts.lead(self) self.count.turns = self.count.turns + 1 end
function acts.answer(self, _, action) if action.code == "EBUSY" then self.count.refused = self.count.refused + 1 end end

local function act(self, node)
  for _, action in ipairs(node.machine:take() or {}) do
    if acts[action.what] then acts[action.what](self, node, action) end
  end
end

local function is_awake(self, node) return node.up and (node.paused or 0) <= self.now end
local function is_reached(self, node) return self.up_at <= self.now and (node.parted or 0) <= self.now end

local function talk(self, node)
  if node.connected and node.run ~= self.run then
    node.machine:broken()
    act(self, node)
  end
  if node.dials and is_reached(self, node) then
    node.dials, node.connected, node.run = false, true, self.run
    node.machine:dialled(self.run, self.run)
    act(self, node)
  end
  while node.answers[1] and is_reached(self, node) and self.random(3) > 1 do
    local answer = table.remove(node.answers, 1)
    node.machine:reply(answer.tag, answer.reply)
    act(self, node)
  end
  if is_reached(self, node) then node.machine:idle() end
end

-- What a node has said arrives also while it sleeps.
local function listen(self, node)
  while node.connected and node.run == self.run and node.calls[1] and is_reached(self, node) and self.random(3) > 1 do
    local call = table.remove(node.calls, 1)
    node.answers[#node.answers + 1] = { tag = call.tag, reply = execute(self, call) }
  end
end

--- Something was done by who leads with this token.
function World:note(where, token)
  self.effects[#self.effects + 1] = { at = self.now, token = token, where = where }
end

local function publish(self, node, token)
  self.published = self.published + 1
  node.machine:publish("a", self.published, false, token)
  act(self, node)
end

-- What its app does. One that hung goes on where it was: with the lead of then.
local function work(self, node)
  if (node.hung or 0) > self.now then return end
  if node.hung and node.token then publish(self, node, node.token) end
  node.hung = nil
  local token = node.machine:leads()
  node.token = token
  if not token then return end
  self:note("outside", token)
  if self.random(3) == 1 then publish(self, node, token) end
end

-- Each second it shows that it lives.
local function show(self, node)
  if (node.hung or 0) <= self.now and self.now - node.heard >= 1000 then node.heard = self.now end
  node.machine:answered(node.heard)
end

-- ---- Faults ---------------------------------------------------------------------------------------

local faults = {}

function faults.crash(self, node)
  if not node.up then return end
  hang_up(self, node)
  node.machine:close()
  node.up, node.back = false, self.now + self.random(9000)
end

function faults.pause(self, node) node.paused = self.now + self.random(12000) end

function faults.give_up(self, node)
  if not is_awake(self, node) or node.giving then return end
  node.machine:give_up_lead(true)
  act(self, node)
  node.giving = self.now + self.random(4000)
end

function faults.hang(self, node)
  if not is_awake(self, node) or node.hung then return end
  node.hung = self.now + self.random(12000)
end

function faults.cut(self, node)
  if not is_awake(self, node) or not node.connected then return end
  node.machine:broken()
  act(self, node)
end

function faults.part(self, node) node.parted = self.now + self.random(9000) end

local function replace(self, state)
  self.runs = self.runs + 1
  self.run, self.state, self.past = "run" .. self.runs, state, {}
  self.up_at = self.now + self.random(3000)
  self.began = self.up_at
end

function faults.restart(self)
  local lose = self.random(REMEMBERED + 1) - 1
  replace(self, lose > 0 and self.past[#self.past + 1 - lose] or self.state)
end

function lead_world.empty() return { seq = 0, fence = 0, token = 0, till = 0 } end

function faults.wipe(self) replace(self, lead_world.empty()) end

local function fail(self)
  local names = {}
  for name in pairs(FAULTS) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local happens = self.random(10000) <= FAULTS[name] and (GENTLE[name] or not self.gentle)
    local node = self.nodes[self.random(NODES)]
    if happens and self.gentle then -- one at a time, while somebody leads and the others have come back
      local last = self.effects[#self.effects]
      happens = last ~= nil and self.now - last.at < 500
      for _, other in ipairs(self.nodes) do
        happens = happens and is_awake(self, other) and not other.giving and not other.hung
          and self.now > (other.well or 0)
      end
    end
    if happens then
      faults[name](self, node)
      self.count[name] = (self.count[name] or 0) + 1
    end
  end
end

-- ---- A run ----------------------------------------------------------------------------------------

--- `kind`: { gentle = only nodes fail, one after the other; without = rules of the server that do not hold }
function lead_world.new(testing, seed, kind)
  kind = kind or {}
  local self = setmetatable({ testing = testing, random = dice(seed), now = 100000, began = 0, nodes = {}, late = {},
    effects = {}, rules = {}, runs = 1, run = "run1", state = lead_world.empty(), past = {}, up_at = 0, published = 0,
    gentle = kind.gentle, count = { turns = 0, refused = 0 } }, World)
  for _, rule in ipairs(lead_world.RULES) do self.rules[rule] = true end
  for _, rule in ipairs(kind.without or {}) do self.rules[rule] = false end
  for i = 1, NODES do
    self.nodes[i] = { index = i, runs = 0 }
    start(self, self.nodes[i])
  end
  return self
end

local function recover(self, node)
  if not node.up and self.now >= node.back then
    start(self, node)
    node.well = self.now + 2000
  end
  if node.up and node.giving and self.now >= node.giving and is_awake(self, node) then
    node.machine:give_up_lead(false)
    act(self, node)
    node.giving, node.well = false, self.now + 2000
  end
end

local function run_late(self)
  for i = #self.late, 1, -1 do
    if self.random(8) == 1 then
      local one = table.remove(self.late, i)
      if one.run == self.run and self.up_at <= self.now then execute(self, one.call) end
    end
  end
end

--- Let it run; what is wrong, or nil.
function World:run_all()
  for _ = 1, STEPS do
    self.now = self.now + self.random(STEP_MS)
    fail(self)
    run_late(self)
    for _, node in ipairs(self.nodes) do
      recover(self, node)
      if node.up then listen(self, node) end
      if is_awake(self, node) then
        show(self, node)
        node.machine:clock(self.now)
        act(self, node)
        talk(self, node)
        work(self, node)
      end
    end
  end
  for _, node in ipairs(self.nodes) do if node.up then node.machine:close() end end
  return self:judge()
end

--- Never two within a moment, tokens that rise, and in a gentle world no gap.
function World:judge()
  local last
  for _, one in ipairs(self.effects) do
    local since = last and one.at - last.at
    if last and one.token ~= last.token and since < APART_MS then
      return ("%s of token %d and %s of %d are %d ms apart, at %d"):format(last.where, last.token, one.where, one.token,
        since, one.at)
    end
    if last and one.token < last.token then return ("a token fell from %d to %d"):format(last.token, one.token) end
    if last and self.gentle and since > GAP_MS then return ("nobody led for %d ms, up to %d"):format(since, one.at) end
    last = one
  end
  if not last then return "nobody ever led" end
end

--- Run seeds; the first problems, and what happened.
function lead_world.seeds(testing, first, last, kind)
  local problems, totals = {}, {}
  for seed = first, last do
    testing.seed(1)
    local world = lead_world.new(testing, seed, kind)
    local problem = world:run_all()
    for name, n in pairs(world.count) do totals[name] = (totals[name] or 0) + n end
    if problem then problems[#problems + 1] = ("seed %d: %s"):format(seed, problem) end
    if problems[1] then break end
  end
  return problems, totals
end

return lead_world
