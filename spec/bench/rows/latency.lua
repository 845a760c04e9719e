--- Rows T4, T5, T6: how long an event takes to the last reader.
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local latency = {}

-- Every stream is parsed: each event's last arrival counts.
local function parsed(list, streams, burst)
  for _, v in ipairs(list) do v.streams, v.burst, v.parse, v.rounds = streams, burst, 100, true end
  return list
end

local function variants_of(bench, streams, burst)
  return rounds.start(bench, parsed({ { name = "raw", kind = "raw" }, { name = "control", kind = "raw" },
    { name = "sluice", kind = "sluice" }, { name = "ring", kind = "ring" },
    { name = "nchan", kind = "nchan", path = "/s/one" } }, streams, burst))
end

local function compare(bench, row, samples, field)
  local function ms(name) return stats.median(rounds.pick(samples, name, field)) / 1e3 end
  row.note = ("%.3f ms against %.3f ms"):format(ms("sluice"), ms("raw"))
  bench:add(rounds.judge(row, rounds.ratio(samples, "sluice", "raw", field),
    rounds.ratio(samples, "control", "raw", field), rounds.ratio(samples, "nchan", "raw", field)))
  if not bench.ring then return end
  bench:add(rounds.judge({ row = row.row, what = "... through a ring, against send()", bar = 1.05,
    note = ("%.3f ms against %.3f ms"):format(ms("ring"), ms("sluice")) },
    rounds.ratio(samples, "ring", "sluice", field), rounds.ratio(samples, "control", "raw", field)))
end

--- T5: one reader, an idle server: a publish in Lua against a send by the publishing thread.
function latency.T5(bench)
  local variants <close> = bench:own(variants_of(bench, 1, { events = bench:pick(100, 40), every = 5000 }),
    rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(31, 1))
  compare(bench, { row = "T5", what = "p50 latency, N = 1, idle", bar = 2.0, aim = 1.6 }, samples,
    function(s) return s.report.latency.p50 end)
end

--- T6: a thousand readers at less than half the load: publish to the last of them.
function latency.T6(bench)
  local streams = bench:pick(1000, 100)
  local variants <close> = bench:own(
    variants_of(bench, streams, { events = bench:pick(150, 20), every = 20000 }), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(15, 1))
  local what = "p50 publish to last reader"
  compare(bench, { row = "T6", what = what, bar = 2.0 }, samples, function(s) return s.report.rounds.p50 end)
  compare(bench, { row = "T6", what = ("p99 publish to last reader, 50 events/s, N = %d"):format(streams), bar = 2.0,
    aim = 1.3 }, samples, function(s) return s.report.rounds.p99 end)
end

-- A burst that is published over one connection, and how long its answers took.
local function pipelined(v)
  if not v.in_flight then return rounds.burst(v) end
  v.readers:report()
  local before = v.target:cpu()
  local took = v.target:publish_in_flight(v.burst.events, v.in_flight)
  v.readers:wait(v.burst.events, 60)
  local spent = v.target:cpu() - before
  table.sort(took)
  return { cpu = spent / 1e3 / (v.burst.events * v.streams), p50 = took[#took // 2 + 1] }
end

--- INFLIGHT: one connection publishes by POST, each answer waited for or sixteen under way:
--- events that come while others are sent join them.
function latency.INFLIGHT(bench)
  local streams, events = bench:pick(1000, 100), bench:pick(1000, 100)
  local list = { { name = "raw", kind = "raw", burst = { events = 50, every = 20000 } },
    { name = "one", kind = "sluice", in_flight = 1, burst = { events = events } },
    { name = "sixteen", kind = "sluice", in_flight = 16, burst = { events = events } } }
  for _, v in ipairs(list) do v.streams = streams end
  local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(9, 1), pipelined)
  bench:add(rounds.judge({ row = "INFLIGHT",
    what = ("CPU a delivery, 16 publishes in flight, N = %d"):format(streams),
    bar = 0.15, note = "all threads count" },
    rounds.ratio(samples, "sixteen", "raw", "cpu")))
  for _, name in ipairs { "sixteen", "one" } do
    bench:add(rounds.judge({ row = "INFLIGHT", what = ("... p50 of an answer in ms, %s in flight"):format(name),
      bar = 1,
      note = ("CPU a delivery %.2f x raw"):format(rounds.ratio(samples, name, "raw", "cpu").median) },
      stats.summary(stats.map(rounds.pick(samples, name, "p50"), function(us) return us / 1000 end))))
  end
end

-- Seconds that a saturated raw loop takes for one send.
local function raw_send(bench, streams)
  local variants <close> = bench:own(rounds.start(bench, { { name = "raw", kind = "raw", streams = streams,
    burst = { kind = "single", events = bench:pick(100, 50) } } }), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(7, 1))
  return stats.median(rounds.pick(samples, "raw", "cpu")) / 1e6
end

-- A burst of so many seconds to a target of its own, every event parsed: the readers' report.
local function overload(bench, kind, burst, streams, seconds)
  local events = math.floor(seconds * 1e6 / burst.every)
  local server <close> = bench:own(target[kind](bench.dir, bench.io_threads), function(t) t:stop() end)
  local readers <close> = bench:own(subscribers.start(bench, server.value,
    { path = "/s/to/one", streams = streams, parse = 100, rounds = true }), function(s) s:stop() end)
  readers.value:report()
  server.value:burst({ events = events, every = burst.every, kind = burst.kind })
  local report = readers.value:wait(events, seconds + 30)
  report.refused = server.value:request("GET", "/status").refused
  report.busy = report.cpu_ns / 1e9 / report.met
  return report
end

local function overload_row(bench, kind, what, seconds, every, turn)
  local report = overload(bench, kind, { every = every }, bench:pick(1000, 100), seconds)
  local growth = report.rounds_second.p99 / report.rounds_first.p99
  local row = { row = "T4", what = what, bar = 4, aim = 3, note = ("p50 %.1f, p99 %.1f ms, round %.1f ms; second " ..
    "half / first %.2f; readers busy %.0f %%; %d publishes had to wait"):format(report.rounds.p50 / 1e3,
    report.rounds.p99 / 1e3, turn / 1e3, growth, report.busy * 100, report.refused) }
  local p99 = report.rounds.p99 / turn
  rounds.judge(row, { median = p99, low = report.rounds.p50 / turn, high = report.rounds.max / turn, count = 1 })
  if growth > 2 and report.rounds_second.p99 > 3 * turn then row.verdict = "MISS, backlog grows" end
  bench:add(row)
  return report
end

--- T4: five times what one send an event could carry, for half a minute: the backlog must
--- not grow, and the last reader has each event within some rounds (N raw sends). A bare
--- loop that batches likewise, before and after, shows what the machine and the readers do
--- of that.
function latency.T4(bench)
  local streams, seconds = bench:pick(1000, 100), bench:pick(30, 2)
  local turn = streams * raw_send(bench, streams) * 1e6
  local every = math.max(100, math.floor(turn / 5))
  local bare = { every = every, kind = "natural" }
  local before = overload(bench, "raw", bare, streams, seconds / 3)
  local what = "p99 publish to last reader in raw rounds, %d events/s for %d s, N = %d"
  local report = overload_row(bench, "sluice", what:format(1e6 // every, seconds, streams), seconds, every, turn)
  if bench.ring then overload_row(bench, "ring", "... through a ring", seconds, every, turn) end
  local after = overload(bench, "raw", bare, streams, seconds / 3)
  local least = (before.rounds.p99 + after.rounds.p99) / 2
  bench:add(rounds.judge({ row = "T4", what = "... against a bare loop that batches likewise", bar = 1.5, aim = 1.2,
    note = ("bare loop: p50 %.1f and %.1f, p99 %.1f and %.1f ms; readers busy %.0f and %.0f %%"):format(
    before.rounds.p50 / 1e3, after.rounds.p50 / 1e3, before.rounds.p99 / 1e3, after.rounds.p99 / 1e3,
    before.busy * 100, after.busy * 100) }, { median = report.rounds.p99 / least,
    low = report.rounds.p99 / math.max(before.rounds.p99, after.rounds.p99),
    high = report.rounds.p99 / math.min(before.rounds.p99, after.rounds.p99), count = 1 },
    { median = after.rounds.p99 / before.rounds.p99, low = 1, high = 1, count = 1 }))
end

return latency
