--- Rows BROAD, CORE and OPEN: the work that others publish figures of, done here. A figure on one loopback is no
--- figure on theirs: there the readers have machines of their own, while here they share the processors, and the
--- sender pays for the kernel's part of their receiving too. So the number of readers is raised until one more step
--- is not carried, what is judged is work a processor, and each row says what was full.
local socket = require("socket")
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

-- Whether events wait longer and longer.
local function grows(report)
  return report.rounds_second.p99 > 2 * report.rounds_first.p99 and report.rounds.p99 > 50000
end

-- So many readers of o.rate events/s, for o.seconds and half as long again for those that are late; carried is
-- what came at the rate, without a growing backlog, and within o.p95 microseconds.
local function carry(bench, start, o)
  local server <close> = bench:own(start(), stop)
  local readers <close> = bench:own(subscribers.start(bench, server.value,
    { path = "/s/to/one", streams = o.streams, parse = 10, rounds = true }), stop)
  local every, events = 1e6 // o.rate, o.rate * o.seconds
  local empty, before = server.value.program:private_dirty(), server.value:cpu()
  readers.value:report()
  server.value:burst({ events = events, every = every, pad = o.pad, kind = "natural" })
  local report = readers.value:try(events, 1.5 * o.seconds)
  local busy, seconds = (server.value:cpu() - before) / 1e9, report.met
  local n = report.body_bytes / report.ref_bytes * report.ref_events
  return { streams = o.streams, n = n, per_second = n / seconds, per_core = n / busy, report = report,
    server = busy / seconds, readers = report.cpu_ns / 1e9 / seconds,
    bytes = server.value.program:private_dirty() - empty,
    carried = report.complete and seconds < events * every / 1e6 * 1.05 and not grows(report)
      and report.latency.p95 <= (o.p95 or math.huge) }
end

-- The same, once more where it was not carried: what the machine did meanwhile is no limit.
local function carry_or_again(bench, start, o)
  local step = carry(bench, start, o)
  return step.carried and step or carry(bench, start, o)
end

-- Who had how much of a processor, and so what the limit was.
local function show(step)
  if not step then return "none" end
  return ("%d readers: %.3f M/s, %.3f M a core second; p50 %.1f, p99 %.1f ms; servers %.2f, readers %.2f of a core"
    ):format(step.streams, step.per_second / 1e6, step.per_core / 1e6, step.report.latency.p50 / 1e3,
    step.report.latency.p99 / 1e3, step.server, step.readers)
end

--- BROAD: 1,000 events/s to as many readers as get them in 11 ms (p95), on processors that server and readers
--- share (Thingsboard's broker: 3,000 readers, 3 M deliveries/s on 32 vCPU and 75 GiB). Then 3,000 readers, however
--- far that gets.
function published.BROAD(bench)
  local processors = program.processors
  for _, way in ipairs(ways(bench)) do
    local best, full
    local function run(streams)
      return carry_or_again(bench, function() return target.sluice(bench.dir, processors, true, nil, way == "ring") end,
        { streams = streams, rate = 1000, seconds = bench:pick(6, 1), p95 = 11000 })
    end
    for _, streams in ipairs(bench:pick({ 94 * processors, 500, 1000, 1500, 2000, 2500 }, { 20 })) do
      local step = run(streams)
      if not step.carried then full = step break end
      best = step
    end
    local all = run(bench:pick(3000, 40))
    bench:add(rounds.judge({ row = "BROAD", unit = "M/s", more = true, bar = 0.094,
      what = "deliveries/s a processor, 1,000 events/s with p95 <= 11 ms, " .. NAMES[way],
      note = ("%s; %.1f MB for them; not carried: %s; in the end %s, p95 %.0f ms%s"):format(show(best),
        (best and best.bytes or 0) / 1e6, show(full), show(all), all.report.latency.p95 / 1e3,
        all.report.complete and "" or ", not all came") }, one(best and best.per_second / processors / 1e6 or 0)))
  end
end

--- CORE: 280 events/s of 0.5 KB to as many readers as one core carries without a growing backlog (jetrelay:
--- 0.28 to 0.31 M deliveries/s a core), and what the raw loop makes of the same.
function published.CORE(bench)
  local best, full = {}, {}
  local kinds = { "raw", table.unpack(ways(bench)) }
  for _, streams in ipairs(bench:pick({ 250, 500, 1000, 1500, 2000, 3000, 4500, 6500 }, { 50 })) do
    for _, kind in ipairs(stats.shuffled(kinds)) do if not full[kind] then
      local step = carry_or_again(bench, function() return target[kind](bench.dir, 1) end,
        { streams = streams, rate = 280, seconds = bench:pick(6, 1), pad = 426 })
      if step.carried then best[kind] = step else full[kind] = step end
    end end
  end
  for _, way in ipairs(ways(bench)) do
    local step = best[way]
    bench:add(rounds.judge({ row = "CORE", unit = "M/s", more = true, bar = 0.28,
      what = "deliveries a core second, 280 events/s of 0.5 KB, most readers, " .. NAMES[way],
      note = ("%s; not carried: %s; the raw loop %s"):format(show(step), show(full[way]), show(best.raw)) },
      one(step and step.per_core / 1e6 or 0)))
  end
end

local function free_bytes()
  local file <close> = io.open("/proc/meminfo")
  return tonumber(file:read("a"):match("MemAvailable:%s*(%d+)")) * 1024
end

--- OPEN: as many open streams as this machine allows, up to eight times what a process may have of descriptors, or what
-- can be opened in a minute: pairs of a server and its readers, each on a loopback address of its own, until something
-- says no. Then one event to all.
function published.OPEN(bench)
  local each = math.min(bench:pick(program.hard_limit() - 500, 200), 60000)
  local all <close> = bench:own({}, rounds.stop)
  local open, limit, before, ends = 0, "processes of this row", free_bytes(), socket.gettime() + 60
  for i = 1, bench:pick(8, 2) do
    local v = { target = target[bench.ring and "ring" or "sluice"](bench.dir, 1) }
    table.insert(all.value, v)
    local ok, readers = pcall(subscribers.start, bench, v.target,
      { path = "/s/to/one", streams = each, source = i + 1 })
    if not ok then limit = tostring(readers) break end
    v.readers, open = readers, open + each
    if free_bytes() < 2e9 then limit = "memory" break end
    if socket.gettime() > ends then limit = "a minute to open them" break end
  end
  local bytes, took, reached = before - free_bytes(), {}, 0
  for _, v in ipairs(all.value) do
    if v.readers then
      v.readers:report()
      v.target:burst({ events = 1 })
      local report = v.readers:try(1, 30)
      took[#took + 1], reached = report.met, reached + report.chunks
    end
  end
  bench:add(rounds.judge({ row = "OPEN", unit = "streams", more = true, bar = bench:pick(100000, 1),
    what = "open streams that an event reached",
    note = ("%d opened, by %d processes of %d; %.1f KB of the machine each, readers too; one event to one's " ..
      "streams: %.2f s; limit: %s"):format(open, #took, each, bytes / math.max(open, 1) / 1e3,
      stats.median(took) or 0, limit) }, one(reached)))
end

return published
