--- The world of world.lua with nothing played: three nodes with their links, and a redis-server that is killed,
--- stopped, robbed of its last bytes, and cuts connections; clients hop. The same judge looks, at what the feed holds
--- in the end.
local lfs = require("lfs")
local feed = require("spec.support.feed")
local node = require("sluice.core.testing_node")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local socket = require("socket")
local streams = require("spec.cluster.streams")

local real = {}

local World = {}
World.__index = World

local CHANNELS = { "a", "b", "c" }
local HISTORY = 6

local Node = {}
Node.__index = Node

-- ---- A node -----------------------------------------------------------------------------------

function Node:start()
  self.world.runs = self.world.runs + 1
  self.rings, self.streams, self.pending, self.asleep = {}, {}, {}, 0
  self.machine = assert(node.open { path = self.world.server.path, name = "test", seed = self.world.runs,
    history = HISTORY })
end

function Node:epoch() return (select(2, self.machine:look())) end
function Node:pos() return (select(3, self.machine:look())) end
function Node:heard() return (select(5, self.machine:look())) end
function Node:want(channel) return self.machine:warm(channel) end

local acts = { tell = function() end, release = streams.rings.release }

local function entry_of(action, channel)
  return { seq = action.seq, id = tonumber(action.data), mark = action.mark, slot = action.slot, channel = channel }
end

function acts.epoch(self, action)
  self.slot = action.slot
  streams.rings.epoch(self, action)
end

function acts.release(self, action)
  streams.rings.release(self, action.mark and action or entry_of(action, action.channel))
end

function acts.fill(self, action)
  local entries = {}
  for i, one in ipairs(action.entries) do entries[i] = entry_of(one, action.channel) end
  action.fill = self.world:keep_fill { floor = action.floor, entries = entries }
  return streams.rings.fill(self, action)
end

function acts.answer(self, action)
  local publish = self.world.publishes[tonumber(action.data)]
  assert(not publish.answered, "answered twice")
  publish.answered, publish.code = true, action.code
  self.pending[tonumber(action.data)] = nil
end

--- One turn, of a millisecond at most.
function Node:turn()
  for _, action in ipairs(self.machine:step(1)) do
    if not acts[action.what](self, action) then
      for client in pairs(self.streams) do client:pump() end
    end
  end
end

function Node:crash()
  for id in pairs(self.pending) do
    self.world.publishes[id].answered, self.world.publishes[id].code = true, "ETIMEOUT"
  end
  for client in pairs(self.streams) do client:cut() end
  for _, client in ipairs(self.world.clients) do client:leave_queue() end
  for name, n in pairs(self.machine:counts()) do self.world.count[name] = (self.world.count[name] or 0) + n end
  self.machine:close()
end

-- ---- The world --------------------------------------------------------------------------------

streams.keep_fills(World)

local function chance(p) return math.random() < p end
local function pick(list) return list[math.random(#list)] end

--- `options`: { seed, config = of redis-server, calm = it never fails }
function real.new(options)
  math.randomseed(options.seed)
  local self = setmetatable({ channels = CHANNELS, publishes = {}, fills = {}, n_fills = 0, lossy = 0, doubt = 0,
    rules = { carry = true }, min_replicas = true, count = {}, runs = options.seed * 100, step = 0, clients = {},
    nodes = {}, calm = options.calm, began = socket.gettime(), killed = {}, master = {} }, World)
  self.server = redis.start { config = options.config or { appendonly = "yes", appendfsync = "everysec" } }
  for i = 1, 3 do
    self.nodes[i] = setmetatable({ world = self }, Node)
    self.nodes[i]:start()
  end
  for i = 1, 5 do
    local away = math.random(#CHANNELS)
    local channels = {}
    for k, channel in ipairs(CHANNELS) do if k ~= away then channels[#channels + 1] = channel end end
    self.clients[i] = streams.client(self, channels)
  end
  return self
end

function World:publish(one, channel)
  local id = #self.publishes + 1
  self.publishes[id] = { channel = channel, stored = self.step }
  one.pending[id] = true
  one.machine:publish(channel, tostring(id))
end

local faults = {}

--- The file ends behind a transaction. Cut within a command of one, redis-server 7.0 leaves the beginning of that
--- transaction there, and its next start but one executes it: what was lost, and stored again, is there twice.
local function end_behind_transaction(server)
  for name in lfs.dir(server.folder .. "/appendonlydir") do
    local path = server.folder .. "/appendonlydir/" .. name
    if name:find("incr") then
      local text, last = process.read_file(path), 0
      for at in text:gmatch("\r\n%*1\r\n%$4\r\nEXEC\r\n()") do last = at - 1 end
      process.write_file(path, text:sub(1, last))
    end
  end
end

--- The machine loses its power, and what was not on the disk.
function faults.power(self)
  self.server:kill()
  self.server:lose(math.random(1, 4000))
  end_behind_transaction(self.server)
  self.lossy, self.doubt = self.lossy + 1, self.doubt + 1
  self.killed[#self.killed + 1] = self.step
  self.server:again()
end

function faults.restart(self)
  self.server:kill()
  self.doubt = self.doubt + 1
  self.server:again()
end

function faults.stop(self)
  self.server.process:signal("STOP")
  self.stopped = self.step + math.random(20, 150)
end

function faults.cut(self) self.server:call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") end

function faults.crash(self)
  local one = pick(self.nodes)
  one:crash()
  one:start()
end

function faults.sleep(self) pick(self.nodes).asleep = self.step + math.random(20, 150) end

local NAMES = { "power", "restart", "stop", "cut", "cut", "crash", "sleep", "sleep" }

function World:fail()
  local name = pick(NAMES)
  if self.calm and (name == "power" or name == "restart") or self.stopped then return end
  self.count[name] = (self.count[name] or 0) + 1
  faults[name](self)
end

function World:attach(client)
  local one = client.queue and chance(0.8) and client.queue or pick(self.nodes)
  if one.asleep <= self.step then client:attach(one) end
end

function World:turn()
  self.step = self.step + 1
  if self.stopped and self.stopped <= self.step then
    self.server.process:signal("CONT")
    self.stopped = nil
  end
  for _, one in ipairs(self.nodes) do
    if one.asleep <= self.step then one:turn() end
  end
  for _, client in ipairs(self.clients) do
    if not client.open then self:attach(client)
    elseif chance(0.3) then client:take(math.random(3)) end
  end
end

--- What the feed holds, by channel.
function World:look_at_feed()
  local all = {}
  for _, e in ipairs(feed.events(self.server:call("XRANGE", "sluice:{test}:f", "-", "+"), "log")) do
    all[e.channel] = all[e.channel] or {}
    table.insert(all[e.channel], { seq = e.seq, id = tonumber(e.data), slot = e.slot, channel = e.channel })
  end
  function self.master.all(_, channel) return all[channel] or {} end
  local here = {}
  for _, list in pairs(all) do for _, entry in ipairs(list) do here[entry.id] = true end end
  for id, publish in ipairs(self.publishes) do
    for _, at in ipairs(not here[id] and self.killed or {}) do
      if at >= publish.stored and not publish.lost then publish.lost = at end
    end
  end
end

function World:is_settled()
  for _, one in ipairs(self.nodes) do
    if one.machine:look() ~= "live" or next(one.pending) then return false end
  end
  for _, client in ipairs(self.clients) do
    if not client.open or client.out[1] then return false end
  end
  return true
end

--- So many turns with faults, then some without.
function World:run(turns)
  for _ = 1, turns do
    self:turn()
    if chance(0.25) then self:publish(pick(self.nodes), pick(CHANNELS)) end
    if chance(0.03) then pick(self.clients):cut() end
    if chance(0.012) then self:fail() end
  end
  if self.stopped then self.stopped = self.step end
  for _, one in ipairs(self.nodes) do one.asleep = 0 end
  local ends = socket.gettime() + 20
  local last
  repeat
    self:turn()
    local all_live = self:is_settled()
    if all_live and not last then
      for _, channel in ipairs(CHANNELS) do self:publish(self.nodes[1], channel) end
      last = self.step
    end
  until last and all_live and self.step > last + 100 or socket.gettime() > ends
  self:look_at_feed()
  for _, one in ipairs(self.nodes) do one:crash() end
  for _, client in ipairs(self.clients) do client.open = true end -- their nodes went last
  self.server:stop()
end

return real
