--- Row CLUSTER: what several nodes on one Redis cost. Redis on one processor, the nodes on the other.
local socket = require("socket")
local lfs = require("lfs")
local program = require("spec.bench.program")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local cluster = {}

local BATCH, PADDING = 16, ("x"):rep(200)

local function stop(thing) thing:stop() end

local function one(value) return { median = value, low = value, high = value, count = 1 } end

-- A redis-server that keeps nothing on disk.
local function start_redis(bench)
  local path, libraries = redis.program()
  local port = program.free_port()
  local words = { "env", "LD_LIBRARY_PATH=" .. (libraries or ""), path, "--port", port, "--bind", "127.0.0.1", "--save",
    "", "--appendonly", "no", "--dir", lfs.currentdir() .. "/" .. bench.dir }
  local self = program.start({ name = "redis", words = words, cpu = 0 }, bench.dir)
  assert(program.wait_for(10, function() return socket.connect("127.0.0.1", port) end), "redis does not listen")
  self.port = port
  return self
end

local function connect(server)
  local s = assert(socket.connect("127.0.0.1", server.port))
  s:setoption("tcp-nodelay", true)
  s:settimeout(10)
  return s
end

local function start_node(bench, server)
  return target.member(bench.dir, { "--cluster", "redis://127.0.0.1:" .. server.port, "--cluster-name", "bench" })
end

local function publish(node, publishers, events, more)
  return node:request("POST", ("/publishers?publishers=%d&events=%d%s"):format(publishers, events, more or ""), 120)
end

-- Until it has Redis.
local function wait_for(node)
  assert(program.wait_for(20, function() return publish(node, 1, 1).last end), "the node does not publish")
end

-- Microseconds of a PING, at the 99th of a hundred.
local function ping(server, count)
  local s, took = connect(server), {}
  for i = 1, count do
    local began = socket.gettime()
    assert(s:send("PING\r\n"))
    assert(s:receive("*l"))
    took[i] = (socket.gettime() - began) * 1e6
  end
  s:close()
  table.sort(took)
  return took[math.ceil(count * 0.99)]
end

-- CPU of a bare XADD in ns, so many in flight.
local function xadd(server, events)
  local s = connect(server)
  local batch = resp.command("XADD", "bare", "MAXLEN", "~", "1000", "*", "d", PADDING):rep(BATCH)
  local before = server:cpu()
  for _ = 1, events // BATCH do
    assert(s:send(batch))
    for _ = 1, BATCH do
      local head = assert(s:receive("*l"))
      assert(s:receive(tonumber(head:match("^%$(%d+)")) + 2))
    end
  end
  s:close()
  return (server:cpu() - before) / events
end

-- How often scripts ran, and the feed was read.
local function calls(server)
  local s = connect(server)
  assert(s:send("INFO commandstats\r\n"))
  local text = assert(s:receive(tonumber(assert(s:receive("*l")):sub(2)) + 2))
  s:close()
  local function of(name) return tonumber(text:match("cmdstat_" .. name .. ":calls=(%d+)")) or 0 end
  return of("evalsha"), of("xread")
end

-- Each round: PING and a publish; bare XADD and events in batches; a node that nobody follows.
local function measure(bench, server, first, second, into)
  local few, many = bench:pick(2000, 100), bench:pick(20000, 320)
  local bare, best = xadd(server, many), ping(server, few)
  local alone = publish(first, 1, few)
  into.late[#into.late + 1] = alone.p99 / (3 * best + 1000)
  into.p99[#into.p99 + 1], into.ping[#into.ping + 1] = alone.p99, best
  local scripts, reads = calls(server)
  local before, others = server:cpu(), second.program:cpu()
  local all = publish(first, BATCH, many)
  into.redis[#into.redis + 1] = (server:cpu() - before) / many / bare
  into.cold[#into.cold + 1] = (second.program:cpu() - others) / many / 1e3
  into.rate[#into.rate + 1] = many / all.seconds
  local scripts_now, reads_now = calls(server)
  into.batch[#into.batch + 1] = many / (scripts_now - scripts)
  into.reads[#into.reads + 1] = many / (reads_now - reads)
end

-- As many streams as were on a node that dies, each with a channel that the other one does not have.
local function come_back(bench, first, second)
  local streams = bench:pick(10000, 50)
  local last = publish(first, 64, streams, "&each=1").last
  first.program:stop()
  local began = socket.gettime()
  local readers <close> = bench:own(subscribers.start(bench, second, { path = "/s/user/{i}", streams = streams,
    ["last-event-id"] = last, processes = 2 }), stop)
  return socket.gettime() - began, readers.value.streams
end

--- CLUSTER: answers, Redis' CPU, a node's CPU for what nobody there follows, and the readers of a node that died.
function cluster.CLUSTER(bench)
  if not redis.program() then return bench:progress("no redis-server") end
  local server <close> = bench:own(start_redis(bench), stop)
  local first, second = start_node(bench, server.value), start_node(bench, server.value)
  wait_for(first)
  wait_for(second)
  local into = { late = {}, p99 = {}, ping = {}, redis = {}, cold = {}, rate = {}, batch = {}, reads = {} }
  for _ = 1, bench.rounds or bench:pick(9, 1) do measure(bench, server.value, first, second, into) end
  local function add(what, bar, value, note, unit)
    local holds = value.median <= bar
    bench:add({ row = "CLUSTER", what = what, bar = bar, target = ("<= %g"):format(bar), measured = value, unit = unit,
      note = note, verdict = holds and "pass" or "MISS" })
  end
  add("p99 of a publish against 3 PING + 1 ms", 1, stats.summary(into.late),
    ("%.0f us, a PING %.0f us"):format(stats.median(into.p99), stats.median(into.ping)))
  add("CPU of Redis an event, 16 publishers and 2 readers, against a bare XADD", 5, stats.summary(into.redis),
    ("%.1f events a batch, %.1f a read, %.0f a second"):format(stats.median(into.batch), stats.median(into.reads),
      stats.median(into.rate)))
  add("CPU of a node an event that nobody there follows", 2, stats.summary(into.cold), "its timers counted in", "us")
  local seconds, streams = come_back(bench, first, second)
  add(("seconds until %d readers of a dead node are back"):format(streams), 5, one(seconds),
    "each with a channel of its own, which has to be loaded", "s")
  second.program:stop()
end

return cluster
