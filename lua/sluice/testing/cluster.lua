--- Several nodes of a cluster under test, in one process: each is a place of its own (inside.lua),
-- all have one clock, one log and one simulated Redis. In memory: the nodes.
local arguments = require("sluice.testing.arguments")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local inside = require("sluice.testing.inside")
local network = require("sluice.testing.network")
local options = require("sluice.base.options")
local show = require("sluice.base.show")
local stream = require("sluice.testing.stream")

local cluster = {}

local Cluster = {}
Cluster.__index = Cluster

local ROUNDS_MAX = 10000 -- of one step: then the app does not come to rest
local NODES_MOST = 16

--- Whether testing.start can have so many nodes.
function cluster.fits(n) return math.type(n) == "integer" and n >= 1 and n <= NODES_MOST end

--- Make the nodes; nothing runs yet.
-- @param target as of testing.start: a path or a source
-- @tparam table given its options
-- @treturn sluice.testing.Inside the first node
function cluster.new(target, given)
  if type(target) == "table" and rawget(target, "_generation") then
    caller.raise("testing.start: nodes = needs a path or a source: each node loads the app")
  end
  if not core.build().libraries.hiredis then
    caller.raise("testing.start: nodes = needs hiredis, without which Sluice was built "
      .. "(libhiredis-dev)")
  end
  local self = setmetatable({ nodes = {}, network = nil }, Cluster)
  for i = 1, given.nodes do
    self.nodes[i] = inside.new(target, given, self.nodes[1])
    self.nodes[i].cluster, self.nodes[i].number = self, i
  end
  self.network = network.new(self.nodes[1].world)
  return self.nodes[1]
end

--- Start those that are not up.
function Cluster:boot()
  for _, node in ipairs(self.nodes) do
    node:boot()
  end
end

--- Do all that is due now, on all nodes.
function Cluster:step()
  for _ = 1, ROUNDS_MAX do
    for _, node in ipairs(self.nodes) do
      if not node:is_asleep() then node:step_alone() end
    end
    if not self.network:carry(self.nodes) then return end
  end
  error("the app does not come to rest: its nodes publish to each other without end", 0)
end

--- When something is next on any node; nil: nothing is.
function Cluster:next_due()
  local at = self.network:next_due()
  for _, node in ipairs(self.nodes) do
    local due = node:is_asleep() and node.asleep_till or node:next_alone()
    if due and due < at then at = due end
  end
  return at < math.huge and at or nil
end

-- ---- For a test ------------------------------------------------------------------------------

local Test, Stream = {}, {}

local class, new_test

local function need_nodes(self, method)
  arguments.running(class, self, method)
  if self.place.cluster then return self.place.cluster end
  caller.raise("t:%s() needs a cluster: testing.start(app, { nodes = 2 })", method)
end

local function node_of(self, method, n)
  local nodes = need_nodes(self, method).nodes
  local found = math.type(n) == "integer" and nodes[n]
  return found or caller.raise("t:%s(): there is no node %s (nodes: 1 to %d)", method, show(n),
    #nodes)
end

--- A node: a test whose requests go there, and whose lives are that node's.
-- @tparam integer n from 1
-- @treturn sluice.testing.Test
function Test:node(n)
  return new_test(node_of(self, "node", n), self.whole or self)
end

--- Come back at another node, as a browser does whose node has gone: the same request, with the id
-- that came last.
-- @tparam integer n
-- @tparam[opt] table given instead of the options of the first connect
-- @treturn sluice.testing.Stream a new one
function Stream:hop(n, given)
  arguments.self(stream.methods, self, "c", "hop")
  return stream.come_back(self, "hop", self.test:node(n), given)
end

--- Nodes reach Redis no more: nothing passes, and nobody says so. Until t:heal().
-- @tparam integer ... numbers of nodes
function Test:partition(...)
  local cut = {}
  for i, n in ipairs({ ... }) do cut[i] = node_of(self, "partition", n) end
  if not cut[1] then caller.raise("t:partition(n, …): the numbers of nodes that are cut off") end
  self.place.cluster.network:part(cut)
end

--- All nodes reach Redis again.
function Test:heal() need_nodes(self, "heal").network:heal() end

--- The process of this node is stopped for some seconds, as by SIGSTOP.
function Test:freeze(seconds)
  need_nodes(self, "freeze")
  arguments.check("t:freeze(seconds)", seconds, "seconds")
  self:settle()
  self.place.asleep_till = self.place:now() + seconds
end

local function is_boolean(v) return type(v) == "boolean" end
local function is_seconds(v) return type(v) == "number" and v >= 0 and v <= 1e6 end
local function is_count(v) return math.type(v) == "integer" and v > 0 end
local function is_either(v) return is_boolean(v) or is_seconds(v) end

local CHECK = {
  latency = { "a number of seconds from 0", is_seconds },
  lose = { "a number of events from 1", is_count },
  restart = { "true or a number of seconds", function(v) return v == true or is_seconds(v) end },
  promote = { "true", function(v) return v == true end },
  isolated = { "a list of nodes", function(v) return type(v) == "table" and v[1] ~= nil end },
  pause = { "true, false or a number of seconds", is_either },
  full = { "true or false", is_boolean },
  fsync = { '"always" or "everysec"', function(v) return v == "always" or v == "everysec" end },
}

local function need_events(net, given)
  local there, lose = net.redis:losable(), given.lose or 0
  local is_kept = (given.fsync or net.redis.config.appendfsync) == "always" and not given.promote
  if lose > 0 and is_kept then
    caller.raise('t:redis: lose = %d: with fsync = "always" a restart loses nothing', lose)
  end
  if lose <= there then return end
  caller.raise("t:redis: lose = %d, and there %s %d that can be lost", lose, there == 1 and "is"
    or "are", there)
end

local function check_redis(given)
  arguments.check("t:redis(options)", given, "table")
  options.check_names("t:redis", given, CHECK)
  for name, value in pairs(given) do
    local wanted, fits = table.unpack(CHECK[name])
    if not fits(value) then
      caller.raise("t:redis: %s is %s, not %s", name, wanted, show(value))
    end
  end
  if given.lose and not (given.restart or given.promote) then
    caller.raise("t:redis: lose = says what a restart or a promotion loses: write restart = true")
  end
  if given.isolated and not given.promote then
    caller.raise("t:redis: isolated = says who does not hear of a promotion: write promote = true")
  end
end

local function replace(net, given, isolated)
  if isolated[1] then net:isolate(isolated) end
  net:restart(given.lose or 0, is_seconds(given.restart) and given.restart or 0, given.promote)
end

--- What the simulated Redis does: see doc/testing.md.
-- @tparam table given restart (true, or seconds that it is away), promote, lose (so many of the
--   last events, with one of these), isolated (with promote: nodes that stay with the old one until
--   t:heal()), pause (true, false, seconds), latency (seconds), full, fsync ("everysec", "always")
function Test:redis(given)
  local net, isolated = need_nodes(self, "redis").network, {}
  check_redis(given)
  for i, n in ipairs(given.isolated or {}) do isolated[i] = node_of(self, "redis", n) end
  self:settle() -- what is under way at this moment arrives
  need_events(net, given)
  if given.latency then net.latency = given.latency end
  if given.fsync then
    net.fsync, net.redis.config.appendfsync = given.fsync, given.fsync
  end
  if given.full ~= nil then net.redis.out_of_memory = given.full end
  if given.restart or given.promote then replace(net, given, isolated) end
  if given.pause ~= nil then net:pause(given.pause) end
  self:settle()
end

--- Give a test and its streams these methods.
-- @tparam table Class
-- @tparam table Streams
-- @tparam function new test.new
function cluster.extend(Class, Streams, new)
  class, new_test = Class, new
  for name, method in pairs(Test) do Class[name] = method end
  for name, method in pairs(Stream) do Streams[name] = method end
end

return cluster
