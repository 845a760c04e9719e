--- Drawn worlds of an app on three nodes of the test kit, with a Redis that restarts, forgets, stops, runs full and is
--- cut off; nodes crash and sleep, clients hop. Then all is well for a while, and the judge of spec/cluster looks at
--- what clients read, against what Redis holds in the end.
---   noded.play(seed[, doctor]) -> nil, or what is wrong; and what all clients read, as a text
local dice = require("spec.support.dice")
local feed = require("spec.support.feed")
local judge = require("spec.cluster.judge")
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local noded = {}

local World = {}
World.__index = World

local LOGS, STATE = { "a", "b" }, "s"
local NODES, STEPS = 3, 160

local SOURCE = kit.source [[
  app:channel("a", { history = 1000 })
  app:channel("b", { history = 1000 })
  app:channel("s", { history = "latest", key = "k" })
  app:stream("/s", function(req) return { channels = req:list("of") } end)
  local answers = app:state("answers", {})
  app:post("/p", function(req)
    local p = req:json()
    app:spawn(function()
      local id, _, code = app:publish(p.c, "e", { n = p.n, k = p.k })
      answers()[tostring(p.n)] = id and "OK" or code
    end)
    return 202
  end)]]

-- How often each thing happens.
local ACTS = { publish = 50, hop = 18, cut = 6, come = 24, crash = 2, start = 12, sleep = 2, part = 3, heal = 5,
  restart = 2, promote = 1.5, pause = 3, latency = 3, full = 2, reload = 1 }
local NAMES = {}
for name in pairs(ACTS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

-- ---- Drawing --------------------------------------------------------------------------------

function World:pick(list) return list[self.random(#list)] end
function World:chance(n) return self.random(n) == 1 end

-- ---- What the judge asks ---------------------------------------------------------------------------------------

local function parse_id(text)
  local epoch, seq = (text or ""):match("^(%w+)%-(%d+)$")
  return epoch and { epoch = epoch, seq = math.tointeger(tonumber(seq)) }
end

local function number_in(data) return math.tointeger(tonumber(data:match('"n":(%d+)'))) end

function World:call(...) return self.net.redis:call(...) end

-- The events of logs that a server holds, by channel.
local function read_feed(sim)
  local all = { a = {}, b = {} }
  local reply = sim:call("XREAD", "STREAMS", "sluice:{test}:f", "0-0")
  for _, e in ipairs(feed.read(reply, "log")) do
    table.insert(all[e.channel], { seq = e.seq, id = number_in(e.data), slot = e.slot })
  end
  return all
end

--- What there is in the end, as the judge has it (see spec/cluster/server.lua).
function World:read_master()
  local all, values, lineage = read_feed(self.net.redis), {}, {}
  local hash = self:call("HGETALL", "sluice:{test}:s:s")
  for i = 1, #hash, 2 do values[hash[i]:match("%z(.*)$")] = { id = number_in(hash[i + 1]) } end
  for epoch, base in (self:call("HGET", "sluice:{test}:m", "lineage") or ""):gmatch("(%w+):(%d+)") do
    lineage[#lineage + 1] = { epoch = epoch, base = tonumber(base) }
  end
  self.master = { state = { epoch = self:call("HGET", "sluice:{test}:m", "epoch"), lineage = lineage,
    values = { s = values } }, all = function(_, channel) return all[channel] end }
  return all
end

-- ---- Clients ---------------------------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

local function client(world, channels)
  local view = channels[#channels] == STATE and {} or nil
  return setmetatable({ world = world, channels = channels, got = {}, view = view, at = 0, open = false }, Client)
end

function Client:see(e)
  local channel = e.event == "reset" and e.data.channel or e.event == "e" and self.world.publishes[e.data.n].channel
  self.last = parse_id(e.id) or self.last
  if e.event == "hello" and self.view then self.view = {} end
  self.began = self.began or self.world.step
  if channel == STATE and e.event == "reset" then self.view = {}
  elseif channel == STATE then self.view[e.data.k] = e.data.n
  elseif channel then
    self.got[#self.got + 1] = { what = e.event == "e" and "event" or "reset", channel = channel,
      event = e.data.n, id = self.last, at = self.world.step }
  end
end

--- What has come since.
function Client:read()
  if not self.stream then return end
  local events = self.stream:events()
  for i = self.at + 1, #events do self:see(events[i]) end
  self.at = #events
  if self.stream.exchange.ended then self.open = false end
end

function Client:cut()
  self:read()
  if self.open then self.stream:drop() end
  self.open = false
  self.got[#self.got + 1] = { what = "cut", at = self.world.step }
end

--- Come to a node; it may let one wait until it gives up.
function Client:come(n)
  if self.open then self:cut() end
  local node, path = self.world.t:node(n), "/s?of=" .. table.concat(self.channels, ",")
  local c = self.stream and self.stream:hop(n) or node:connect(path)
  self.stream, self.at, self.open = c, 0, true
  self:read()
end

-- ---- What happens ------------------------------------------------------------------------------------------------

local acts = {}

function World:is_up(n) return not self.places[n].down and not self.places[n]:is_asleep() end

function World:up()
  local list = {}
  for n = 1, NODES do if self:is_up(n) then list[#list + 1] = n end end
  return list[1] and self:pick(list)
end

function World:publish(n, channel)
  local id = #self.publishes + 1
  self.publishes[id] = { channel = channel, by = n, stored = self.step }
  self.t:node(n):post("/p", { json = { c = channel, n = id, k = "k" .. self.random(3) } })
end

function acts.publish(self)
  local n = self:up()
  for _ = 1, n and self:pick { 1, 1, 1, 4 } or 0 do self:publish(n, self:pick { "a", "a", "b", STATE }) end
end

function acts.hop(self)
  local n = self:up()
  if n then self:pick(self.clients):come(n) end
end

function acts.come(self)
  for _, one in ipairs(self.clients) do
    local n = not one.open and self:up()
    if n then one:come(n) end
  end
end

function acts.cut(self) self:pick(self.clients):cut() end

-- What a node said of its publishes; those that it has not answered are unknown when it dies.
function World:collect(n, is_over)
  local answers = self.t:node(n):state("answers")
  for id, publish in ipairs(self.publishes) do
    local said = publish.by == n and not publish.answered and answers[tostring(id)]
    if said then publish.answered, publish.code = true, said ~= "OK" and said or nil end
    local is_unknown = publish.by == n and not publish.answered and (is_over or publish.deaf)
    if is_unknown then publish.answered, publish.code = true, "ETIMEOUT" end
  end
end

function acts.crash(self)
  local n = self:up()
  if not n then return end
  self:collect(n, true)
  for _, publish in ipairs(self.publishes) do -- nobody else knows of what an isolated server took
    local may_be = self.side and self.side.n == n and publish.stored >= self.side.since
    if publish.by == n and (publish.alone or may_be) then publish.forgotten = true end
  end
  self.t:node(n):crash()
end

function acts.start(self)
  for n = 1, NODES do
    if self.places[n].down then self.t:node(n):restart() end
  end
end

function acts.sleep(self)
  local n = self:up()
  if n then self.t:node(n):freeze(self:pick { 1, 5, 20 }) end
end

function acts.part(self) self.t:partition(self.random(NODES)) end

-- What one server has and another one has not is lost now; what an isolated one took, from the beginning.
function World:note_lost(before, after)
  for _, channel in ipairs(LOGS) do
    local left = {}
    for _, entry in ipairs(after[channel]) do left[entry.id] = true end
    for _, entry in ipairs(before[channel]) do
      local publish = self.publishes[entry.id]
      local is_new = not (left[entry.id] or publish.lost)
      if is_new then publish.lost, publish.alone = self.side and publish.stored or self.step, self.side ~= nil end
    end
  end
end

function acts.heal(self)
  if self.side then
    self:note_lost(read_feed(self.net.old), read_feed(self.net.redis))
  end
  self.side = nil
  self.t:heal()
end

function acts.pause(self) self.t:redis { pause = self:pick { 0.2, 2, 7 } } end
function acts.latency(self) self.t:redis { latency = self:pick { 0, 0, 0.005, 0.3 } } end
function acts.full(self) self.t:redis { full = self:chance(3) } end

-- What still waits in the old generation is closed after some seconds, and nobody hears of it.
function acts.reload(self)
  local n = self:up()
  if not n then return end
  for _, publish in ipairs(self.publishes) do publish.deaf = publish.deaf or publish.by == n end
  assert(self.t:node(n):reload())
end

--- It is another process, without its last events.
function World:replace(how)
  local losable = self.net.redis:losable()
  local may_lose = losable > 0 and (how.promote or not self.always)
  local lose = may_lose and self.random(math.min(losable, 6) + 1) - 1 or 0
  local before, side = read_feed(self.net.redis), self.side
  how.lose = lose > 0 and lose or nil
  if how.promote or not self.always then self.doubt = self.doubt + 1 end
  if lose > 0 or how.isolated then self.lossy = self.lossy + 1 end
  self.t:redis(how)
  self.side = nil
  self:note_lost(before, read_feed(self.net.redis))
  self.side = how.isolated and { n = how.isolated[1], since = self.step } or side
end

-- Nobody can tell a promoted server that restarted before a node came to it from one that only restarted.
function acts.restart(self)
  local is_known = self:call("HGET", "sluice:{test}:m", "run") == self.net.redis.run
  if is_known or not self.always then self:replace { restart = self:pick { true, 0.5, 4 } } end
end


function acts.promote(self)
  local apart = not self.side and self:chance(2) and { self.random(NODES) } or nil
  self:replace { promote = true, isolated = apart }
end

-- ---- A run -------------------------------------------------------------------------------------------------------

function World:act()
  local total = 0
  for _, name in ipairs(NAMES) do total = total + ACTS[name] end
  local at = self.random(1 << 30) / (1 << 30) * total
  for _, name in ipairs(NAMES) do
    at = at - ACTS[name]
    if at <= 0 then return acts[name](self) end
  end
end

function World:read()
  for _, one in ipairs(self.clients) do one:read() end
end

--- All is well.
function World:settle()
  self.step = self.step + 1
  acts.heal(self)
  self.t:redis { pause = false, latency = 0, full = false }
  acts.start(self)
  self.t:advance(40)
  for round = 1, 3 do
    self.step = self.step + 1
    self:read()
    acts.come(self)
    for _, channel in ipairs { "a", "b", STATE } do self:publish(round, channel) end
    self.t:advance(10)
    self:read()
  end
  for n = 1, NODES do self:collect(n) end
end

local function new(seed, t)
  local self = setmetatable({ random = dice(seed), step = 0, t = t, publishes = {}, clients = {}, lossy = 0, doubt = 0,
    count = {}, channels = LOGS, places = t.place.cluster.nodes, net = t.place.cluster.network }, World)
  self.always = self:chance(4)
  if self.always then
    t:redis { fsync = "always" }
    t:advance(12)
  end
  for i, channels in ipairs { { "a", "b", STATE }, { "b", STATE }, { "a", "b" } } do
    self.clients[i] = client(self, channels)
  end
  return self
end

local function run(self)
  for _, one in ipairs(self.clients) do one:come(self.random(NODES)) end
  for step = 1, STEPS do
    self.step = step
    self:act()
    self.t:advance(self:pick { 0, 0, 0.01, 0.2, 1 })
    self:read()
  end
  self:settle()
end

--- `doctor` may change the world before it begins.
function noded.play(seed, doctor)
  local t = testing.start({ source = SOURCE }, { nodes = NODES, seed = seed })
  local self = new(seed, t)
  if doctor then doctor(self) end
  local ok, problem = xpcall(run, debug.traceback, self)
  local words, read = {}, {}
  if ok then
    self:read_master()
    for what, n in pairs(judge.world(self)) do words[#words + 1] = n .. " × " .. what end
    table.sort(words)
    for i, one in ipairs(self.clients) do read[i] = one.stream:transcript() end
  end
  pcall(t.stop, t)
  if not ok then return ("step %d: %s"):format(self.step, problem) end
  return words[1] and table.concat(words, ", ") or nil, table.concat(read, "\n")
end

return noded
