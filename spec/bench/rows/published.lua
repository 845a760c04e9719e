--- Rows BROAD, CORE and OPEN: the work that others publish figures of, done here. A figure on one loopback is no
--- figure on theirs: what carries over is work a core, and where the limit was.
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local published = {}

local function stop(thing) thing:stop() end

local function one(value) return { median = value, low = value, high = value, count = 1 } end

local function ways(bench) return bench.ring and { "sluice", "ring" } or { "sluice" } end

local NAMES = { sluice = "by send()", ring = "through a ring" }

--- BROAD: 1,000 events/s to 3,000 readers on two processors, which the readers share (Thingsboard's broker:
--- 3 M deliveries/s on 32 vCPU and 75 GiB, p95 11 ms).
function published.BROAD(bench)
  local streams, seconds = bench:pick(3000, 100), bench:pick(20, 1)
  for _, way in ipairs(ways(bench)) do
    local server <close> = bench:own(target.sluice(bench.dir, 2, true, nil, way == "ring"), stop)
    local empty = server.value.program:private_dirty()
    local readers <close> = bench:own(subscribers.start(bench, server.value,
      { path = "/s/to/one", streams = streams, parse = 10, rounds = true }), stop)
    readers.value:report()
    local before = server.value:cpu()
    server.value:burst({ events = 1000 * seconds, every = 1000 })
    local report = readers.value:wait(1000 * seconds, seconds + 240) -- a slow machine is behind, and says so
    local busy = (server.value:cpu() - before) / 1e9
    bench:add(rounds.judge({ row = "BROAD", unit = "ms", bar = 11,
      what = ("p95 of a delivery, 1,000 events/s to %d readers, %s"):format(streams, NAMES[way]),
      note = ("%.2f M deliveries/s, %.2f M a core second; p50 %.1f, p99 %.1f ms; %.1f MB for the readers"):format(
        1000 * seconds * streams / report.met / 1e6, 1000 * seconds * streams / busy / 1e6,
        report.latency.p50 / 1e3, report.latency.p99 / 1e3,
        (server.value.program:private_dirty() - empty) / 1e6) }, one(report.latency.p95 / 1e3)))
  end
end

--- CORE: 280 events/s of 0.5 KB to as many readers as one core carries without a growing backlog (jetrelay:
--- 0.28 to 0.31 M deliveries/s a core).
function published.CORE(bench)
  local most = bench:pick({ 250, 500, 1000, 1500, 2000, 3000, 4500, 6500 }, { 50 })
  for _, way in ipairs(ways(bench)) do
    local best, note = 0, "none"
    for _, streams in ipairs(most) do
      local server <close> = bench:own(target[way](bench.dir, 1), stop)
      local readers <close> = bench:own(subscribers.start(bench, server.value,
        { path = "/s/to/one", streams = streams, parse = 20, rounds = true }), stop)
      local seconds = bench:pick(8, 1)
      readers.value:report()
      local before = server.value:cpu()
      server.value:burst({ events = 280 * seconds, every = 1e6 // 280, pad = 426 })
      local report = readers.value:wait(280 * seconds, seconds + 60)
      local rate = 280 * seconds * streams / report.met
      local grows = report.rounds_second.p99 > 2 * report.rounds_first.p99 and report.rounds.p99 > 50000
      if report.met > seconds * 1.05 or grows then break end
      best = rate
      note = ("%d readers: %.2f M deliveries a core second, p99 %.1f ms"):format(streams,
        280 * seconds * streams / ((server.value:cpu() - before) / 1e9) / 1e6, report.latency.p99 / 1e3)
    end
    bench:add(rounds.judge({ row = "CORE", unit = "M/s", more = true, bar = 0.28, note = note,
      what = "deliveries/s, 280 events/s of 0.5 KB, as many readers as one core carries, " .. NAMES[way] },
      one(best / 1e6)))
  end
end

local function free_bytes()
  local file <close> = io.open("/proc/meminfo")
  return tonumber(file:read("a"):match("MemAvailable:%s*(%d+)")) * 1024
end

--- OPEN: as many open streams as this machine allows: servers and readers of as many descriptors as a process
--- may have, each pair on a loopback address of its own, until something says no; then one event to all.
function published.OPEN(bench)
  local each = bench:pick(program.hard_limit() - 500, 200)
  each = math.min(each, 60000)
  local all <close> = bench:own({}, rounds.stop)
  local open, limit, before = 0, nil, free_bytes()
  for i = 1, bench:pick(16, 2) do
    local server = target[bench.ring and "ring" or "sluice"](bench.dir, 1)
    table.insert(all.value, { target = server })
    local ok, readers = pcall(subscribers.start, bench, server,
      { path = "/s/to/one", streams = each, source = i + 1 })
    if not ok then limit = tostring(readers) break end
    all.value[i].readers, open = readers, open + each
    if free_bytes() < 2e9 then limit = "memory" break end
  end
  local took = {}
  for _, v in ipairs(all.value) do
    if v.readers then
      v.readers:report()
      v.target:burst({ events = 1 })
      took[#took + 1] = v.readers:wait(1, 60).met
    end
  end
  bench:add(rounds.judge({ row = "OPEN", unit = "streams", more = true, bar = 1, what = "open streams in all",
    note = ("%d processes of %d; %.1f KB of the machine each, readers too; one event to one's streams: %.2f s; " ..
      "limit: %s"):format(#took, each, (before - free_bytes()) / math.max(open, 1) / 1e3, stats.median(took) or 0,
        limit or "processes of this row") }, one(open)))
end

return published
