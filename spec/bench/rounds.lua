--- Interleaved rounds: every round runs each variant once, in an order of its own, so that
--- what drifts on the machine drifts for all. Ratios are taken inside a round; the raw
--- baseline runs twice in each, and how far its copy (the control) strays from it is the
--- error bar.
local socket = require("socket")
local program = require("spec.bench.program")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local rounds = {}

local CONTROL_LOW, CONTROL_HIGH = 0.97, 1.03

--- Start the variants of a row: each its own server and its own readers.
-- @tparam table bench
-- @tparam table list { name, kind = "raw"|"sluice"|"ring"|"nchan", path, streams, burst, … }
-- @treturn table the variants; rounds.stop ends them
function rounds.start(bench, list)
  local variants = {}
  for _, v in ipairs(list) do
    if (v.kind ~= "nchan" or bench.nchan) and (v.kind ~= "ring" or bench.ring) then
      v.target = target[v.kind](bench.dir, bench.io_threads)
      v.readers = subscribers.start(bench, v.target, { path = v.path or "/s/to/one", streams = v.streams,
        rounds = v.rounds, parse = v.parse })
      variants[#variants + 1] = v
    end
  end
  return variants
end

function rounds.stop(variants)
  for _, v in ipairs(variants) do
    if v.readers then v.readers:stop() end
    v.target:stop()
  end
end

--- One burst of one variant: CPU in us per delivery (all threads), and the readers' report.
function rounds.burst(v)
  v.readers:report() -- the clock starts now, not when these readers had their last burst
  local before = v.target:cpu()
  v.target:burst(v.burst)
  local report = v.readers:wait(v.burst.events, 60)
  local spent = v.target:cpu() - before
  local deliveries = v.burst.events * v.streams
  return { cpu = spent / 1e3 / deliveries, deliveries = deliveries, report = report, seconds = report.met,
    per_send = deliveries / math.max(report.chunks, 1), busy = report.cpu_ns / 1e9 / report.met }
end

--- Run so many rounds. One more comes first and does not count.
-- @treturn table name -> list of samples, one a round
function rounds.run(bench, variants, count, measure)
  local samples = {}
  count = bench.rounds or count
  for _, v in ipairs(variants) do v.threads = v.target.program:threads() end
  for _, v in ipairs(variants) do samples[v.name] = {} end
  for n = 0, count do
    for _, v in ipairs(stats.shuffled(variants)) do
      local sample = (measure or rounds.burst)(v)
      if n > 0 then table.insert(samples[v.name], sample) end
      socket.sleep(0.02)
    end
    bench:progress(n, count)
  end
  return samples
end

--- Which thread of a variant's server did how much since the rounds began.
function rounds.shares(variants, name)
  for _, v in ipairs(variants) do
    if v.name == name then return program.shares(v.threads, v.target.program:threads()) end
  end
end

--- One figure of all samples.
function rounds.pick(samples, name, field)
  return samples[name] and stats.map(samples[name], function(s)
    return type(field) == "function" and field(s) or s[field]
  end)
end

--- Per round, one variant against another: median and quartiles; nil when it did not run.
function rounds.ratio(samples, name, against, field)
  local a, b = rounds.pick(samples, name, field), rounds.pick(samples, against, field)
  return a and b and stats.summary(stats.ratios(a, b))
end

--- Put a row together: the ratio of a variant to the raw one, and whether it holds.
-- @tparam table row { row, what, bar, aim, [more = true: larger is better], [note] }
-- @treturn table the row with measured, control and verdict
function rounds.judge(row, measured, control, others)
  row.measured, row.control, row.nchan = measured, control, others
  local holds
  if row.more then holds = measured.median >= row.bar else holds = measured.median <= row.bar end
  if holds and row.aim then
    local ambitious = row.more and measured.median >= row.aim or not row.more and measured.median <= row.aim
    row.grade = ambitious and "aim" or "bar"
  end
  row.verdict = holds and "pass" or "MISS"
  if control and (control.median < CONTROL_LOW or control.median > CONTROL_HIGH) then
    row.verdict = holds and "pass, noisy" or "MISS, noisy"
  end
  return row
end

return rounds
