--- Drawn worlds of who is present, on three nodes of the test kit: members come, are said anew and leave
--- (lease = true); nodes die, sleep, and are cut off; Redis restarts, loses its last events, is replaced. Then all is
--- well for a while.
--- The judge asks the apps who their members are, and nothing of what Sluice notes itself: Redis, every node and
--- every reader have just these. Last one node dies, and 15 s later its members are gone.
---   leased.play(seed[, doctor]) -> nil, or what is wrong. `doctor` may change the world before it begins.
local dice = require("spec.support.dice")
local feed = require("spec.support.feed")
local json = require("sluice.json")
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local leased = {}

local World = {}
World.__index = World

local NODES, STEPS = 3, 60
local CHANNELS = { "who", "room" }
local GONE_SECONDS = 15
local QUIET_SECONDS = 60 -- the longest sleep, and a death

-- What an app does: it knows its members, whatever became of what it has published.
local SOURCE = kit.source [[
  app:channel("who", { history = "latest", key = "id", ttl = false })
  app:channel("room", { history = 200, key = "id", rewind = "latest" })
  app:stream("/s/:c", { channels = { ":c" } })
  local members = app:state("members", { who = {}, room = {}, unknown = {}, gone = {} })
  app:post("/come", function(req)
    local m = req:json()
    app:spawn(function()
      local all, name = members(), m.c .. m.id
      local gone = all.gone[name]
      local id, _, code = app:publish(m.c, m.name or "joined", { id = m.id, n = m.n }, { lease = true })
      if all.gone[name] ~= gone then return end
      if id then all[m.c][m.id], all.unknown[name] = m.n, nil end
      if code == "ETIMEOUT" then all.unknown[name] = true end
    end)
    return 202
  end)
  app:post("/go", function(req)
    local m = req:json()
    local all, name = members(), m.c .. m.id
    all[m.c][m.id], all.unknown[name], all.gone[name] = nil, nil, (all.gone[name] or 0) + 1
    app:spawn(function() app:remove(m.c, m.id) end)
    return 202
  end)
  app:get("/is_live", function() return { yes = app:stats().cluster.state == "live" } end)
  app:get("/newest/:c", function(req)
    local list = {}
    for i, e in ipairs(app:newest(req.params.c)) do list[i] = { e.event, e.key, e.data.n } end
    return { list = list }
  end)]]

-- How often each thing happens; what is calm leaves Redis alone.
local ACTS = { come = 40, go = 20, crash = 3, start = 14, sleep = 6, part = 4, heal = 8, restart = 2, promote = 1.5,
  pause = 2, latency = 3, take = 6, kick = 4 }
local NOT_CALM = { restart = true, promote = true }
local NAMES = {}
for name in pairs(ACTS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

function World:pick(list) return list[self.random(#list)] end

local function is_up(self, n) return not self.places[n].down and not self.places[n]:is_asleep() end

function World:up()
  local list = {}
  for n = 1, NODES do if is_up(self, n) then list[#list + 1] = n end end
  return list[1] and self:pick(list)
end

function World:ask(n, path, m) self.t:node(n):post(path, { json = m }) end

-- ---- What happens ------------------------------------------------------------------------------------------------

local acts = {}

-- A member is of one node: its id says of which. Some are of nobody: any node may take or kick them (`take`, `kick`).
function acts.come(self)
  local n = self:up()
  if not n then return end
  self.n = self.n + 1
  local id = ("%d-%d-%d"):format(n, self.lives[n], self.random(3))
  self:ask(n, "/come", { c = self:pick(CHANNELS), id = id, n = self.n })
end

function acts.go(self)
  local n = self:up()
  if not n then return end
  self:ask(n, "/go", { c = self:pick(CHANNELS), id = ("%d-%d-%d"):format(n, self.lives[n], self.random(3)) })
end

-- What is of a member, its key has under other names; who is gone has none of them.
local MOOD = "mood"

local function id_of(event, key) return event == MOOD and key .. " " .. MOOD or key end

-- A node that can be heard at once, when no other one is about to say something: so it is known who said it last.
local function one_alone(self)
  for n = 1, NODES do
    if self.places[n].down or self.parted[n] then return nil end
  end
  local n = self.calm and not self.net.redis.paused and self.net.latency == 0 and self:up()
  return n and self.t:node(n):get("/is_live").json.yes and n or nil
end

function acts.take(self)
  local n = one_alone(self)
  if not n then return end
  self.n = self.n + 1
  local c, id = self:pick(CHANNELS), "any" .. self.random(2)
  local name = self.n % 2 == 0 and MOOD or "joined"
  self:ask(n, "/come", { c = c, id = id, n = self.n, name = name })
  self.t:advance(0.5)
  self.any[c .. " " .. id_of(name, id)] = { n = self.n, node = n, life = self.lives[n] }
end

function acts.kick(self)
  local n = one_alone(self)
  if not n then return end
  local c, id = self:pick(CHANNELS), "any" .. self.random(2)
  self:ask(n, "/go", { c = c, id = id })
  self.t:advance(0.5)
  for _, name in ipairs { "joined", MOOD } do self.any[c .. " " .. id_of(name, id)] = nil end
end

function acts.crash(self)
  local n = self:up()
  if not n then return end
  self.t:node(n):crash()
  self.lives[n] = self.lives[n] + 1
end

function acts.start(self)
  for n = 1, NODES do if self.places[n].down then self.t:node(n):restart() end end
end

function acts.sleep(self)
  local n = self:up()
  if n then self.t:node(n):freeze(self:pick { 1, 6, 14, 40 }) end
end

function acts.part(self)
  local n = self.random(NODES)
  self.t:partition(n)
  self.parted[n] = true
end

function acts.heal(self)
  self.t:heal()
  self.parted = {}
end

function acts.pause(self) self.t:redis { pause = self:pick { 0.2, 2, 7, 14 } } end
function acts.latency(self) self.t:redis { latency = self:pick { 0, 0, 0.005, 0.3 } } end

function acts.restart(self)
  local most = math.min(self.net.redis:losable(), 6)
  local lose = self:pick { 0, 1, 2, 4, 6 }
  self.t:redis { restart = self:pick { true, 0.5, 4 }, lose = lose > 0 and most > 0 and math.min(lose, most) or nil }
end

function acts.promote(self)
  local most = math.min(self.net.redis:losable(), 4)
  local lose = self.random(5) - 1
  self.t:redis { promote = true, lose = lose > 0 and most > 0 and math.min(lose, most) or nil }
end

local function act(self)
  local total = 0
  for _, name in ipairs(NAMES) do total = total + ACTS[name] end
  local at = self.random(1 << 30) / (1 << 30) * total
  for _, name in ipairs(NAMES) do
    at = at - ACTS[name]
    if at <= 0 then
      if not (self.calm and NOT_CALM[name]) then acts[name](self) end
      return
    end
  end
end

-- ---- The judge ---------------------------------------------------------------------------------------------------

-- Who is a member where: { [id] = number }, and those of whom their app does not know whether they are.
local function members(self, c)
  local all, unknown = {}, {}
  for n = 1, NODES do
    local own = not self.places[n].down and self.t:node(n):state("members")
    for id, number in pairs(own and own[c] or {}) do
      if not id:find("^any") then all[id] = number end
    end
    for name in pairs(own and own.unknown or {}) do unknown[name] = true end
  end
  for name, last in pairs(self.any) do
    local channel, id = name:match("^(%w+) (.*)$")
    local lives = self.lives[last.node] == last.life and not self.places[last.node].down
    if channel == c and lives then all[id] = last.n end
  end
  return all, unknown
end

local function compare(self, c, seen, whose)
  local all, unknown = members(self, c)
  for id, number in pairs(all) do
    local is_wrong = seen[id] ~= number and not unknown[c .. id]
    if is_wrong then
      return ("%s: %s %s of %s is there as %s"):format(whose, id, number, c, tostring(seen[id]))
    end
  end
  for id, number in pairs(seen) do
    local is_ghost = not all[id] and not unknown[c .. id]
    if is_ghost then return ("%s: %s %s of %s is a ghost"):format(whose, id, tostring(number), c) end
  end
end

local function in_redis(self, c)
  local hash, seen = self.net.redis:call("HGETALL", "sluice:{test}:s:" .. c), {}
  for i = 1, #hash, 2 do
    local id = id_of(hash[i]:match("^(%Z*)%z(.*)$"))
    seen[id] = json.decode(hash[i + 1]:match("%z(.*)$")).n
  end
  return seen
end

local function on_node(self, n, c)
  local seen = {}
  for _, row in ipairs(self.t:node(n):get("/newest/" .. c).json.list) do seen[id_of(row[1], row[2])] = row[3] end
  return seen
end

local function of_reader(one)
  local view = {}
  for _, e in ipairs(one.stream:events()) do
    if e.event == "hello" or e.event == "reset" then view = {}
    elseif e.event == "removed" then view[e.data.key], view[id_of(MOOD, e.data.key)] = nil, nil
    elseif e.event == "joined" or e.event == MOOD then view[id_of(e.event, e.data.id)] = e.data.n end
  end
  return view
end

local function judge_views(self)
  for _, c in ipairs(CHANNELS) do
    local wrong = compare(self, c, in_redis(self, c), "Redis")
    for n = 1, NODES do
      if not self.places[n].down then wrong = wrong or compare(self, c, on_node(self, n, c), "node " .. n) end
    end
    if wrong then return wrong end
  end
  for i, one in ipairs(self.readers) do
    local wrong = not one.stream.exchange.ended and compare(self, one.c, of_reader(one), "reader " .. i)
    if wrong then return wrong end
  end
end

-- Whom a node that is alive says to be gone was there: nobody is told twice that one is.
local function judge_told(self)
  local there = {}
  for _, kind in ipairs { "state", "keyed" } do
    local list = feed.read(self.net.redis:call("XREAD", "STREAMS", "sluice:{test}:f", "0-0"), kind)
    for _, e in ipairs(list) do
      local name = e.channel .. " " .. e.key
      local is_again = e.event == "removed" and e.token == "" and there[name] == false
      if is_again then return ("%s is told twice to be gone"):format(name) end
      there[name] = e.event ~= "removed"
    end
  end
end

-- ---- A run -------------------------------------------------------------------------------------------------------

-- A page that is told of a loss asks for the whole; of a state it is given that.
local function come_back(self)
  for _, one in ipairs(self.readers) do
    local n, stream = self:up(), one.stream
    local is_over = not stream or stream.exchange.ended or one.c == "room" and stream:count("reset") > 0
    if is_over and n then
      if stream and not stream.exchange.ended then stream:close() end
      one.stream = self.t:node(n):connect("/s/" .. one.c)
    end
  end
end

local function settle(self)
  acts.heal(self)
  self.t:redis { pause = false, latency = 0 }
  acts.start(self)
  self.t:advance(QUIET_SECONDS)
  come_back(self)
  self.t:advance(1)
end

local function run(self)
  for step = 1, STEPS do
    self.step = step
    come_back(self)
    act(self)
    self.t:advance(self:pick { 0, 0, 0.05, 0.5, 2 })
  end
  settle(self)
  local wrong = judge_views(self) or judge_told(self)
  if wrong then return wrong end
  self.t:node(self.random(NODES)):crash()
  self.t:advance(GONE_SECONDS)
  wrong = judge_views(self) or judge_told(self)
  return wrong and "15 s behind a death: " .. wrong
end

function leased.play(seed, doctor)
  local t = testing.start({ source = SOURCE }, { nodes = NODES, seed = seed })
  local self = setmetatable({ random = dice(seed), t = t, n = 0, any = {}, parted = {}, lives = { 1, 1, 1 },
    readers = { { c = "who" }, { c = "room" } }, places = t.place.cluster.nodes, net = t.place.cluster.network,
    calm = seed % 2 == 0 }, World)
  t:advance(6)
  if doctor then doctor(self) end
  local ok, wrong = xpcall(run, debug.traceback, self)
  pcall(t.stop, t)
  return (not ok or wrong) and ("step %d: %s"):format(self.step, wrong) or nil
end

return leased
