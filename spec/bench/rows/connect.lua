--- Rows T19, T21 and RESUME: connects, idle streams, and a storm of readers that come back.
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local connect = {}

local function stop(thing) thing:stop() end

-- Connect, read the hello, close: CPU in us each, all threads.
local function storm(bench, count, rate)
  local source = 1
  return function(v)
    source = source % 200 + 1
    local before = v.target:cpu()
    local readers <close> = bench:own(subscribers.start(bench, v.target, { path = v.path, streams = count, rate = rate,
      ["until"] = 0, source = source + 1, idle = true }), stop)
    local report = readers.value:wait_until(30)
    socket.sleep(0.1)
    return { cpu = (v.target:cpu() - before) / 1e3 / count, p99 = report.connect_us.p99 }
  end
end

-- The variants of a storm: each a server of its own.
local function servers(bench, list)
  local variants = {}
  for _, v in ipairs(list) do
    if (v[2] ~= "nchan" or bench.nchan) and (v[2] ~= "ring" or bench.ring) then
      table.insert(variants, { name = v[1], path = v[3], target = target[v[2]](bench.dir, bench.io_threads) })
    end
  end
  return variants
end

local function connects(bench, list, count, rate, rows)
  local variants <close> = bench:own(servers(bench, list), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(15, 1), storm(bench, count, rate))
  local function us(name) return stats.median(rounds.pick(samples, name, "cpu")) end
  for _, row in ipairs(rows) do if samples[row.name] then
    row.row, row.note = "T19", ("%.1f us against %.1f us; %s"):format(us(row.name), us("raw"),
      rounds.shares(variants.value, row.name))
    bench:add(rounds.judge(row, rounds.ratio(samples, row.name, "raw", "cpu"),
      rounds.ratio(samples, "control", "raw", "cpu"), rounds.ratio(samples, "nchan", "raw", "cpu")))
  end end
end

-- A loop on each processor that runs where nothing else wants to, so that none sleeps. A virtual machine leaves
-- each sleep by way of its host, and caches and predictions are cold then: that is the price of its idling.
local function keep_awake(bench)
  local loops = {}
  for cpu = 0, math.min(program.processors, 2) - 1 do
    loops[#loops + 1] = program.start({ name = "awake", cpu = cpu,
      words = { "chrt", "-i", "0", "sh", "-c", "while :; do :; done" } }, bench.dir)
  end
  return loops
end

--- T19: from connect to the hello, against accept, read, send, close of a bare server: as
--- fast as connects come, and 2,000 a second, when each of them wakes threads that sleep, on processors
--- that sleep too and on ones that do not.
function connect.T19(bench)
  connects(bench, { { "raw", "raw", "/s" }, { "control", "raw", "/s" }, { "static", "sluice", "/s/to/one" },
    { "ring", "ring", "/s/to/one" }, { "plan", "sluice", "/s/function/one" }, { "nchan", "nchan", "/s/one" } },
    bench:pick(5000, 500), nil,
    { { name = "static", what = "CPU a connect, static plan, as fast as they come", bar = 1.6, aim = 1.3 },
      { name = "ring", what = "... through a ring", bar = 1.6, aim = 1.3 },
      { name = "plan", what = "... plan function in Lua", bar = 1.8 } })
  connects(bench, { { "raw", "raw", "/s" }, { "control", "raw", "/s" }, { "static", "sluice", "/s/to/one" },
    { "plan", "sluice", "/s/function/one" } }, bench:pick(2000, 200), 2000,
    { { name = "static", what = "... static plan, 2,000/s", bar = 1.6, aim = 1.3 },
      { name = "plan", what = "... plan function in Lua, 2,000/s", bar = 1.8 } })
  local loops <close> = bench:own(keep_awake(bench), function(list)
    for _, loop in ipairs(list) do loop:stop() end
  end)
  assert(#loops.value > 0)
  connects(bench, { { "raw", "raw", "/s" }, { "control", "raw", "/s" }, { "static", "sluice", "/s/to/one" },
    { "plan", "sluice", "/s/function/one" } }, bench:pick(2000, 200), 2000,
    { { name = "static", what = "... static plan, 2,000/s, processors kept awake", bar = 1.6 },
      { name = "plan", what = "... plan function in Lua, 2,000/s, processors kept awake", bar = 1.8 } })
end

--- T21: idle readers and their heartbeats, against a loop that sends them one by one.
function connect.T21(bench)
  local streams, period = bench:pick(10000, 300), bench:pick(15, 1)
  local path = bench:pick("/s/beat/15", "/s/beat/1")
  local list = { { name = "raw", kind = "raw" }, { name = "control", kind = "raw" },
    { name = "sluice", kind = "sluice", path = path }, { name = "ring", kind = "ring", path = path } }
  for _, v in ipairs(list) do v.streams = streams end
  local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
  socket.sleep(period)
  local function window(v)
    v.readers:report()
    local before = v.target:cpu()
    if v.kind == "raw" then
      v.target:burst({ events = streams, every = period * 1e6 // streams, kind = "beat" })
    end
    socket.sleep(period + (v.kind == "raw" and 0.05 or 0))
    local spent, report = v.target:cpu() - before, v.readers:report()
    return { cpu = spent / 1e3 / math.max(report.beats, 1), core = spent / 1e7 / period, beats = report.beats,
      sends = report.reads }
  end
  local samples = rounds.run(bench, variants.value, bench:pick(4, 1), window)
  local core = stats.median(rounds.pick(samples, "sluice", "core"))
  local beats = stats.median(rounds.pick(samples, "sluice", "beats"))
  bench:add(rounds.judge({ row = "T21", bar = 1.3,
    what = ("CPU a heartbeat, %d idle readers, every %d s"):format(streams, period),
    note = ("%.2f %% of a core; %.0f heartbeats in a period"):format(core, beats) },
    rounds.ratio(samples, "sluice", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
  if not bench.ring then return end
  bench:add(rounds.judge({ row = "T21", bar = 1.3, what = "... through a ring" },
    rounds.ratio(samples, "ring", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
end

-- Sums of what the reports of a storm say.
local function take(sum, report)
  sum.events = sum.events + report.events
  sum.reference = sum.reference + report.ref_events
  sum.faults = sum.faults + report.lost + report.repeated + report.disordered + report.resets
end

--- RESUME: readers break off together, again and again, while events go on; all come back
--- with Last-Event-ID. Nothing may be lost, come twice or out of order.
function connect.RESUME(bench)
  local streams, storms = bench:pick(1000, 100), bench:pick(10, 3)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  local readers <close> = bench:own(subscribers.start(bench, server.value,
    { path = "/s/to/one", streams = streams, parse = 100 }), stop)
  local events, slowest = storms * 100, 0
  local sum = { events = 0, reference = 0, faults = 0 }
  server.value:burst({ events = events, every = 5000 })
  for _ = 1, storms do
    socket.sleep(0.3)
    take(sum, readers.value:storm())
    local began = socket.gettime()
    take(sum, readers.value:ready(20))
    slowest = math.max(slowest, socket.gettime() - began)
  end
  take(sum, readers.value:wait(events - sum.reference, 20)) -- readers differ by what is on its way
  local faults = sum.faults + math.abs(sum.events - events * streams)
  bench:add(rounds.judge({ row = "RESUME", bar = 0, unit = "faults",
    what = ("%d storms of %d readers during %d events"):format(storms, streams, events),
    note = ("%d deliveries; all back within %.2f s"):format(sum.events, slowest) },
    { median = faults, low = faults, high = faults, count = 1 }))
end

return connect
