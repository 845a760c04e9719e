--- One drawn run of three nodes, five clients and a server: nodes crash and sleep, connections break with calls
--- that are run later, the server restarts with a lost suffix, is replaced by a replica, goes on alone, is demoted
--- and promoted again, trims its feed; clients hop. Then all is well for a while, and the judge looks.
local dice = require("spec.support.dice")
local node = require("spec.cluster.node")
local own = require("spec.cluster.own")
local server = require("spec.cluster.server")
local streams = require("spec.cluster.streams")

local world = {}

local World = {}
World.__index = World
streams.keep_fills(World)

local CHANNELS = { "a", "b", "c" }
local STATE = "s" -- where the streams know states
local STEPS, NODES, CLIENTS = 1000, 3, 5
local HISTORY, LONG = 6, 16 -- events that the server keeps
local LUCKY = 5   -- one world of so many
local UNTOLD = 300 -- steps, in which a node that was cut off may not have told of what is lost
local RULES = { "runid", "replid", "known", "fence", "carry", "promoted" }

-- How often each thing happens; what is not calm fails the server itself.
local ACTS = {
  publish = 20, exec = 60, answer = 60, fetch = 30, read = 40, client = 16, move = 7, dial = 14, attach = 16,
  break_off = 1.2, crash = 0.4, pause = 0.6, heal = 0.8, late = 4, tick = 16, cool = 0.4, room = 1,
  restart = 0.5, fail_over = 0.35, swap = 0.3, flush = 0.3, serve = 40, own = 30, flip = 0.5,
}
local OF_OWN = { own = true, flip = true }
local NOT_CALM = { restart = true, fail_over = true, swap = true, flush = true }
local NOT_LUCKY = { fail_over = true, swap = true, flush = true }

-- ---- Drawing --------------------------------------------------------------------------------

function World:chance(p) return self.random(1 << 20) <= p * (1 << 20) end
function World:pick(list) return list[self.random(#list)] end

--- `kind`: { calm = the server never fails, streams = fans.lua in place of streams.lua, long = with these, histories
--- are longer than what a node holds, and come in pages, owns = with these, nodes have
--- channels of their own (own.lua),
--- without = { names of rules of the server that do not hold } }
function world.new(testing, seed, kind)
  kind = kind or {}
  local self = setmetatable({ testing = testing, random = dice(seed), step = 0, now = 1000, channels = CHANNELS,
    processes = 0, publishes = {}, late = {}, fills = {}, n_fills = 0, lossy = 0, doubt = 0, rules = {},
    calm = kind.calm, count = {}, long = kind.long, history = kind.long and LONG or HISTORY, pages = {}, n_pages = 0,
    streams = kind.streams or streams, owns = kind.owns }, World)
  if self.owns then own.start(self) end
  for _, rule in ipairs(RULES) do self.rules[rule] = true end
  for _, rule in ipairs(kind.without or {}) do self.rules[rule] = false end
  self.master = server.new(self)
  self.always = self:chance(0.25)       -- each write is on the disk before it is answered
  self.lucky = seed % LUCKY == 0        -- nothing is lost, and nobody can know
  self.min_replicas = self:chance(0.5)  -- a master alone refuses writes
  self.nodes, self.clients = {}, {}
  for i = 1, NODES do self.nodes[i] = node.new(self, i) end
  for i = 1, CLIENTS do
    local away = self.random(#CHANNELS)
    local channels = {}
    for k, channel in ipairs(CHANNELS) do if k ~= away then channels[#channels + 1] = channel end end
    if self.streams.STATES then channels[3] = STATE end
    self.clients[i] = self.streams.client(self, channels)
  end
  return self
end

-- ---- What the parts ask the world -------------------------------------------------------------------

function World:is_cut_off(one) return one == self.alone end

--- The server that a node reaches.
function World:reach(one) return self.alone and self.cut[one] and self.alone or self.master end

function World:on_stored(id, by)
  local publish = self.publishes[id]
  publish.stored = self.step
  if by == self.alone then publish.lost, publish.alone = self.step, true end
end

function World:on_seen(one, id)
  one.seen[id] = self.now
  if self.publishes[id].alone then one.saw[id] = true end
end

--- A node joins another epoch than its own. What it has seen since that began, as far as it can tell, may have been
--- lost behind the backs of those who were told then.
function World:on_other_epoch(slot, since)
  for _, one in ipairs(self.nodes) do
    for id, at in pairs(one.slot == slot and one.seen or {}) do
      local publish = self.publishes[id]
      publish.marked_by = publish.marked_by or {}
      if at >= since then publish.marked_by[one.index] = true end
    end
  end
end

--- Of what a master that was alone has stored nobody knows any more, when the last that saw it has died before it told.
function World:note_forgotten(dead)
  for id, publish in ipairs(self.publishes) do
    local known = not publish.alone
    for _, one in ipairs(self.nodes) do known = known or one ~= dead and one.up and one.saw[id] end
    if not known then publish.forgotten = true end
  end
end

function World:on_answer(id, code)
  local publish = self.publishes[id]
  if publish.answered then error(("publish %d is answered twice"):format(id), 0) end
  publish.answered, publish.code = true, code
end

--- What is in one state and not in another is lost now.
function World:note_lost(old, new)
  for _, channel in ipairs(CHANNELS) do
    local left, at = {}, new.full[channel]
    while at do
      left[at.entry.id] = true
      at = at.before
    end
    at = old.full[channel]
    while at do
      if not left[at.entry.id] then self.publishes[at.entry.id].lost = self.step end
      at = at.before
    end
  end
end

function World:awake()
  local list = {}
  for _, one in ipairs(self.nodes) do if one:is_awake() then list[#list + 1] = one end end
  return list[1] and self:pick(list)
end

-- ---- What happens --------------------------------------------------------------------------------------

local acts = {}

--- Only a state has keys.
function World:key_of(id) return self.publishes[id].key end

function World:publish(one, channel)
  local id = #self.publishes + 1
  self.publishes[id] = { channel = channel, by = one, key = channel == STATE and "k" .. self.random(3) or nil }
  one:publish(channel, id)
end

function acts.publish(self)
  local one = self:awake()
  local is_state = one and self.streams.STATES and self:chance(0.25)
  if one then self:publish(one, is_state and STATE or self:pick(CHANNELS)) end
end

function acts.exec(self) self:pick(self.nodes):run_call() end

--- What a broken connection still held is run, up to some place.
function acts.late(self)
  if not self.late[1] then return end
  local i = self.random(#self.late)
  local late = self.late[i]
  local goes_on = late.server.up and self:chance(0.75)
  if goes_on then late.server:execute(table.remove(late.calls, 1)) end
  if not goes_on or not late.calls[1] then table.remove(self.late, i) end
end

local function of_awake(name, most)
  return function(self)
    local one = self:awake()
    if one then one[name](one, most and self.random(most)) end
  end
end

acts.answer, acts.fetch, acts.read = of_awake("take_answer"), of_awake("fetch", 5), of_awake("read", 5)
acts.serve = of_awake("serve", 4)

function acts.own(self)
  local one = self:awake()
  if one then own.publish(one) end
end

function acts.flip(self)
  local one = self:awake()
  if one then own.flip(one, function() self.streams.configure(one) end) end
end

function acts.client(self)
  local client = self:pick(self.clients)
  if client.open then client:take(self.random(3)) end
end

local function attach(self, client)
  local one = client.queue and self:chance(0.7) and client.queue or self:awake()
  if one and one:is_awake() and one.machine then client:attach(one) end
end

function acts.move(self)
  local client = self:pick(self.clients)
  client:cut()
  attach(self, client)
end

function acts.attach(self)
  for _, client in ipairs(self.clients) do
    if not client.open and self:chance(0.6) then attach(self, client) end
  end
end

function acts.dial(self)
  local one = self:pick(self.nodes)
  if not one.up then
    if self:chance(0.5) then one:start() end
  elseif one:is_awake() then one:dial() end
end

function acts.break_off(self)
  local one = self:awake()
  if one then one:break_off() end
end

function acts.crash(self)
  local one = self:pick(self.nodes)
  if not one.up then return end
  for _, client in ipairs(self.clients) do if client.queue == one then client:leave_queue() end end
  local tells = not self.alone and self.step > (self.healed or 0) + UNTOLD
  if not tells then self:note_forgotten(one) end
  one:crash()
end

function acts.pause(self)
  local one = self:awake()
  if one then one.paused = self.step + self:pick { 15, 60, 120 } end
end

function acts.tick(self)
  local one = self:awake()
  if one then one:clock() end
end

function acts.cool(self)
  local one = self:awake()
  if one then one:cool(self:pick(CHANNELS)) end
end

function acts.room(self)
  local one = self:awake()
  if one then one.machine:room(self:chance(0.7)) end
end

--- Another process takes its place, or a replica; the old one may go on without knowing.
function World:replace(state, promoted, goes_on)
  local old = self.master
  self:note_lost(old.state, state)
  self.master = server.new(self, state, promoted)
  self.cut = {}
  if goes_on then
    self.alone = old
    for _, one in ipairs(self.nodes) do self.cut[one] = self:chance(0.5) end
  else old.up = false end
  for _, one in ipairs(self.nodes) do
    if one.up and not self.cut[one] then one:break_off() end
  end
end

-- A replica that is promoted and started again before a node has joined it looks like its master started again.
function acts.restart(self)
  if self.alone or self.master.promoted and not self.master.joined then return end
  self.doubt = self.doubt + 1
  local lose = (self.always or self.lucky) and 0 or self:pick { 0, 1, 2, 4, 7 }
  local state = self.master:prefix(math.min(lose, #self.master.snapshots))
  if not self.always and state ~= self.master.state then self.lossy = self.lossy + 1 end
  self:replace(state)
end

function acts.fail_over(self)
  if self.alone then return end
  self.doubt, self.lossy = self.doubt + 1, self.lossy + 1
  local lose = math.min(self:pick { 0, 1, 3, 6 }, #self.master.snapshots)
  self:replace(self.master:prefix(lose), true, self:chance(0.5))
end

-- One node after the other reaches the new master again; with the last of them the old one is gone.
function acts.heal(self)
  local old, left = self.alone, {}
  for _, one in ipairs(old and self.nodes or {}) do if self.cut[one] then left[#left + 1] = one end end
  if not old then return end
  if #left > 1 then
    self.cut[left[1]] = false
    if left[1].up then left[1]:break_off() end
    return
  end
  self.alone, old.up, self.healed = nil, false, self.step
  for _, one in ipairs(self.nodes) do if one.up and one.server == old then one:break_off() end end
end

--- Demoted, a copy of one that lagged, and promoted again: its connections stay.
function acts.swap(self)
  if self.alone then return end
  local master = self.master
  self.doubt, self.lossy = self.doubt + 1, self.lossy + 1
  local state = master:prefix(math.min(self:pick { 1, 2, 4 }, #master.snapshots))
  self:note_lost(master.state, state)
  master.state, master.snapshots, master.replid, master.promoted = state, {}, master.replid .. "'", true
  master.joined = nil
end

--- All its data is deleted (FLUSHALL); its connections stay.
function acts.flush(self)
  if self.alone then return end
  self.doubt, self.lossy = self.doubt + 1, self.lossy + 1
  local old = self.master.state
  self.master:flush()
  self:note_lost(old, self.master.state)
end

-- ---- A run ------------------------------------------------------------------------------------------

local function draw_table(self)
  local names, total = {}, 0
  for name, weight in pairs(ACTS) do
    local happens = not (self.calm and NOT_CALM[name] or self.lucky and NOT_LUCKY[name])
      and (name ~= "serve" or self.streams ~= streams) and (self.owns or not OF_OWN[name])
    if happens then
      names[#names + 1] = name
      total = total + weight
    end
  end
  table.sort(names)
  return names, total
end

function World:act(names, total)
  local at = self.random(1 << 30) / (1 << 30) * total
  for _, name in ipairs(names) do
    at = at - ACTS[name]
    if at <= 0 then return acts[name](self) end
  end
end

--- All is well: everything is run, read and answered.
function World:settle()
  while self.alone do acts.heal(self) end
  self.late = {}
  for _, one in ipairs(self.nodes) do
    one.paused = 0
    if not one.up then one:start() end
    one.machine:room(true)
  end
  for round = 1, 60 do
    self.now, self.step = self.now + 100, self.step + 1
    local publishes = round == 20 or round == 40
    for _, channel in ipairs(publishes and CHANNELS or {}) do self:publish(self.nodes[1], channel) end
    for _, one in ipairs(self.nodes) do
      one:clock()
      one:dial()
      while one:run_call() do end
      while one:take_answer() do end
      one:fetch(20)
      one:read(20)
      one:serve()
    end
    for _, client in ipairs(self.clients) do
      if not client.open then attach(self, client) end
      if client.open then client:take(math.maxinteger) end
    end
  end
end

function World:run()
  local names, total = draw_table(self)
  for _, one in ipairs(self.nodes) do one:start() end
  for step = 1, STEPS do
    self.step, self.now = step, self.now + self.random(20)
    if self:chance(0.001) then self.now = self.now + 4000 end
    self:act(names, total)
  end
  self:settle()
  for _, one in ipairs(self.nodes) do
    for name, n in pairs(one.machine:counts()) do self.count[name] = (self.count[name] or 0) + n end
    for client in pairs(one.streams) do client:parse() end
  end
end

function World:close()
  for _, one in ipairs(self.nodes) do
    for client in pairs(one.up and one.streams or {}) do client:cut() end
    if one.up then one:close() end
  end
end

return world
