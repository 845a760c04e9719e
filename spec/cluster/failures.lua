--- What fails machines and their Redis (machines.lua), one after the other:
---   { name, redis = its configuration, power, sentinels, durable, args, bytes, tails, fault = function(m) … end,
---     seen = words of checker.lua that must have been there }
--- Where Redis was in doubt the fault says so: m:doubt(); and where it lost something: m:loss(). Times are those of
--- the full size; what is `quick` runs in the small one too.
local lfs = require("lfs")
local process = require("spec.support.process")
local redis = require("spec.support.redis")

local ALWAYS = { appendonly = "yes", appendfsync = "always" }
local EVERYSEC = { appendonly = "yes", appendfsync = "everysec" }
local NONE = { appendonly = "no" }

local PREFIX = "sluice:{spec}:"

-- All machines answer again.
local function go_on(m, n)
  for i, node in ipairs(m.nodes) do
    assert(not node.server.code(), ("machine %d has ended:\n%s"):format(i, node.server.log()))
  end
  m:go(n or 150)
end

-- ---- A machine ----------------------------------------------------------------------------------

local function machine_dies(m)
  for i = 1, 2 do
    m:go(60)
    m:kill(i)
    m:pass(1)
    m:open(i)
  end
  go_on(m)
end

local function machine_stops(seconds)
  return function(m)
    m:go(60)
    m:stop(2)
    m:pass(seconds)
    m:wake(2)
    go_on(m)
  end
end

-- ---- Redis --------------------------------------------------------------------------------------

local function redis_dies(after)
  return function(m)
    m:go(100)
    m.redis:kill()
    if after then after(m) end
    m.redis:again()
    go_on(m)
  end
end

-- The file ends behind a transaction: see end_behind_transaction in real.lua.
local function lose_power(m)
  m.redis:lose(m.random(20000))
  for name in lfs.dir(m.redis.folder .. "/appendonlydir") do
    local path = m.redis.folder .. "/appendonlydir/" .. name
    if name:find("incr") then
      local text, last = process.read_file(path), 0
      for at in text:gmatch("\r\n%*1\r\n%$4\r\nEXEC\r\n()") do last = at - 1 end
      process.write_file(path, text:sub(1, last))
    end
  end
  m:loss()
end

-- What it has not brought to its disk is gone: with appendfsync always nothing is that anybody was told of.
local function power_is_cut(loses)
  return function(m)
    for _ = 1, 3 do
      m:go(100)
      if loses then m:loss() end
      m.redis:lose_power()
      m.redis:again()
    end
    go_on(m)
  end
end

local function redis_stops(m)
  m:go(100)
  m.redis.process:signal("STOP")
  m:pass(10)
  m.redis.process:signal("CONT")
  go_on(m)
end

local function redis_shuts_down(m)
  m:go(100)
  m:doubt()
  pcall(m.redis.call, m.redis, "SHUTDOWN")
  m.redis.process:wait(10)
  m.redis:again()
  go_on(m)
end

local function flush(m)
  m:go(100)
  m:loss()
  m.redis:call("FLUSHALL")
  go_on(m)
end

local function old_dump(m)
  m:go(100)
  local dump = m.redis.folder .. "/dump.rdb"
  m.redis:call("SAVE")
  os.rename(dump, dump .. ".old")
  m:go(150)
  m:loss()
  m.redis:kill()
  os.rename(dump .. ".old", dump)
  m.redis:again()
  go_on(m)
end

-- What is full refuses what comes, and nothing else.
local function memory_is_full(m)
  m:go(100)
  local used = tonumber(m.redis:call("INFO", "memory"):match("used_memory:(%d+)"))
  m.redis:call("CONFIG", "SET", "maxmemory", used + 20000)
  m:wait(function()
    local op = m.ops[#m.ops]
    return op.code == "EFULL"
  end, 30, "a publish is refused with EFULL")
  m:go(50)
  m.redis:call("CONFIG", "SET", "maxmemory", 0)
  go_on(m)
end

local function keys_are_evicted(m)
  m:go(300)
  m:loss()
  local used = tonumber(m.redis:call("INFO", "memory"):match("used_memory:(%d+)"))
  m.redis:call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
  m.redis:call("CONFIG", "SET", "maxmemory", used - 100000)
  m:pass(3)
  m:loss()
  assert(m:logs():find("this Redis deletes keys when its memory is full", 1, true), "no machine has found that out")
  m.redis:call("CONFIG", "SET", "maxmemory", 0)
  m.redis:call("CONFIG", "SET", "maxmemory-policy", "noeviction")
  go_on(m)
end

local function list_is_deleted(m)
  m:go(200)
  m.short.a = true -- judged by its numbers: what was in the list is not shown any more
  m.redis:call("DEL", PREFIX .. "l:a")
  go_on(m)
end

-- ---- A replica ----------------------------------------------------------------------------------

local function replica_of(m)
  local replica = redis.start { tcp = true, config = ALWAYS }
  replica:call("REPLICAOF", "127.0.0.1", m.redis.port)
  m:wait(function() return replica:call("INFO", "replication"):find("master_link_status:up", 1, true) end, 20,
    "the replica follows")
  return replica
end

local function lead_to(m, server)
  m:each_proxy(function(proxy)
    proxy.to = server.port
    proxy:cut_all()
  end)
end

-- The replica that takes the master's place has not its last writes.
local function promote(m)
  local replica, old = replica_of(m), m.redis
  m:go(100)
  replica:call("REPLICAOF", "NO", "ONE")
  m:go(40)
  m:loss()
  old:kill()
  lead_to(m, replica)
  m.redis = replica
  go_on(m)
  old:stop()
end

-- What was answered is on the replica; what the master takes alone is not answered. The next master has a replica, too.
local function promote_kept(m)
  local replica, old = replica_of(m), m.redis
  m:go(100)
  replica:call("REPLICAOF", "NO", "ONE")
  m:go(60)
  m:loss()
  old:kill()
  lead_to(m, replica)
  m.redis = replica
  m.replica = replica_of(m)
  go_on(m, 300)
  old:stop()
end

-- The master becomes a replica of one that lags, takes its data, and is promoted again: connections stay.
local function swap(m)
  local replica = replica_of(m)
  m:go(100)
  replica:call("REPLICAOF", "NO", "ONE")
  m:go(40)
  m:loss()
  m.redis:call("REPLICAOF", "127.0.0.1", replica.port)
  m:wait(function() return m.redis:call("INFO", "replication"):find("master_link_status:up", 1, true) end, 20,
    "the old master follows")
  m.redis:call("REPLICAOF", "NO", "ONE")
  replica:stop()
  go_on(m)
end

-- Some machines reach the old master, and go on there; then it is gone.
local function split(m)
  local replica, old = replica_of(m), m.redis
  m:go(60)
  replica:call("REPLICAOF", "NO", "ONE")
  m.redis = replica
  for i, node in ipairs(m.nodes) do
    if i > 1 then
      node.proxy.to = replica.port
      node.proxy:cut_all()
    end
  end
  m:go(150)
  m:loss()
  lead_to(m, replica)
  go_on(m)
  old:stop()
end

-- Three Sentinels give the replica its place; what the master had taken alone is lost when it comes back.
local function master_stops(m)
  m:go(100)
  m:loss()
  m.redis.process:signal("STOP")
  m:pass(10)
  m:loss()
  m.redis.process:signal("CONT")
  go_on(m, 300)
  assert(m.replica:fresh("INFO", "replication"):find("role:master", 1, true), "the replica was not promoted")
end

-- ---- The network --------------------------------------------------------------------------------

-- Each machine's connections are cut, after some bytes of either direction.
local function cuts(m)
  for _ = 1, 30 do
    m:each_proxy(function(proxy)
      if proxy.cut then return end
      local way = m.random(2) == 1 and "up" or "down"
      proxy.moved = { up = 0, down = 0 }
      proxy.cut = { [way] = m.random(20000), once = true }
    end)
    m:go(25)
  end
  m:each_proxy(function(proxy) proxy.cut = nil end)
  assert(m:proxies("was_cut") > 0, "nothing was cut")
  go_on(m)
end

-- Something is so for a while at one machine, then all is cut, as a network does when it comes back. What passes
-- nothing on is noticed.
local function for_a_while(seconds, fields)
  return function(m)
    m:go(60)
    local proxy = m.nodes[2].proxy
    for name, value in pairs(fields) do proxy[name] = value end
    m:pass(seconds)
    for name in pairs(fields) do proxy[name] = nil end
    if fields.hole or fields.half then
      assert(m.nodes[2].server.log():find("Redis is away", 1, true), "machine 2 has noticed nothing")
      proxy:cut_all()
    end
    go_on(m)
  end
end

-- The answer of a publish is lost: it is there once, and its publisher is told so.
local function swallowed(m)
  for _ = 1, 20 do
    m:go(20)
    local writer = m.writers[m.random(#m.writers)]
    local proxy = m.nodes[writer.node or 1].proxy
    local before, n = proxy.swallowed or 0, writer.number + 1
    proxy.swallow = ("%s-%d "):format(writer.lane, n)
    m:wait(function() return (proxy.swallowed or 0) > before or writer.number >= n and not writer.op end, 20,
      "an answer is swallowed")
    proxy.swallow = nil
  end
  assert(m:proxies("swallowed") > 0, "no answer was swallowed")
  go_on(m)
end

-- More comes than the feed keeps while a machine is stopped: histories are longer, and are loaded.
local function feed_is_short(m)
  m:go(60)
  m:stop(2)
  m:go(2500)
  m:wake(2)
  go_on(m, 300)
  m.nodes[2].server.wait_log("the feed of Redis begins above what this node has read", 10)
end

-- Their histories are of other lengths, as while a reload goes from one to the next: who publishes trims.
local function rules_differ(m)
  m:go(300)
  m:kill(3)
  m.tails[3] = 2 * m.tails[1]
  m:open(3)
  go_on(m, 300)
end

return {
  { "a machine is killed", fault = machine_dies },
  { "a machine is stopped for 6 s", fault = machine_stops(6) },
  { "a machine is stopped for 30 s", fault = machine_stops(30) },
  { "the connections of all machines are cut at some byte", fault = cuts },
  { "the answers of publishes are swallowed", fault = swallowed },
  { "the network passes on nothing", fault = for_a_while(8, { hole = true }) },
  { "the network passes on what goes to Redis alone", fault = for_a_while(8, { half = "up" }) },
  { "the network passes on what comes from Redis alone", fault = for_a_while(8, { half = "down" }) },
  { "the network is slow", fault = for_a_while(5, { delay = 0.2 }) },
  { "the network passes on single bytes", fault = for_a_while(3, { one_by_one = true }) },
  { "Redis is killed, and writes each event to the disk", redis = ALWAYS, fault = redis_dies() },
  { "Redis is killed, and writes to the disk each second", redis = EVERYSEC,
    fault = redis_dies(function(m) m:doubt() end), seen = { "failover" } },
  { "Redis is killed, and keeps nothing", redis = NONE, fault = redis_dies(function(m) m:loss() end),
    seen = { "failover" } },
  { "Redis is stopped for 10 s", fault = redis_stops },
  { "Redis is shut down, and writes to the disk each second", redis = EVERYSEC, fault = redis_shuts_down,
    seen = { "failover" } },
  { "Redis loses its last writes with the power", quick = true, redis = EVERYSEC, fault = redis_dies(lose_power),
    seen = { "failover" } },
  { "the power is cut, and Redis writes each event to the disk", power = true, redis = ALWAYS, durable = "aof",
    fault = power_is_cut(false) },
  { "the power is cut, and Redis writes to the disk each second", power = true, redis = EVERYSEC,
    fault = power_is_cut(true), seen = { "failover" } },
  { "Redis is emptied", fault = flush, seen = { "failover" } },
  { "Redis has an old dump restored", redis = NONE, fault = old_dump, seen = { "failover" } },
  { "Redis has no memory left", fault = memory_is_full, seen = { "no" } },
  { "Redis throws away keys", fault = keys_are_evicted, seen = { "failover" } },
  { "the list of a channel is deleted", fault = list_is_deleted },
  { "the feed is short, and a machine is stopped", args = { "--cluster-feed", "1m" }, bytes = 2000, pace = 0.002,
    fault = feed_is_short },
  { "machines keep histories of other lengths", tails = { 20, 5, 20 }, fault = rules_differ },
  { "a replica that lags is promoted", fault = promote, seen = { "failover" } },
  { "a replica has what is durable, and is promoted", durable = "wait:1,300", fault = promote_kept,
    seen = { "failover" } },
  { "a master is demoted, and promoted again", fault = swap, seen = { "failover" } },
  { "a master stops for 10 s, and Sentinels promote its replica", sentinels = 3, fault = master_stops,
    seen = { "failover" } },
  { "a master goes on alone", fault = split, seen = { "failover" } },
}
