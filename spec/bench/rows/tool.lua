--- Row TOOL: `sluice bench` as the readers, beside the benchmark's own. A reader that costs a server more than
--- another would measure itself: the ratio of two servers has to be the same by both. Where nchan is not here, what
--- Sluice pays for the one is compared with what it pays for the other.
local cjson = require("cjson")
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local target = require("spec.bench.target")

local tool = {}

local BEHIND_SECONDS = 0.5 -- behind the last event, for all variants
local IDLE_NS = 500000 -- of a processor in a tenth of a second: nothing is sent any more
local WAIT_SECONDS = 3 -- that the tool stays, for events that are late
local LEAST, MOST = 0.95, 1.05

local function seconds_of(burst) return burst.events * burst.every / 1e6 + BEHIND_SECONDS end

-- CPU of the server from the first event on, over the same time whoever reads.
local function spend(v, wait)
  local before, began = v.target:cpu(), socket.gettime()
  v.target:burst(v.burst)
  if wait then wait() end
  socket.sleep(math.max(0, began + seconds_of(v.burst) - socket.gettime()))
  local now
  repeat -- on a machine that is busy it goes on
    now = v.target:cpu()
    socket.sleep(0.1)
  until v.target:cpu() - now < IDLE_NS
  return (now - before) / 1e3 / (v.burst.events * v.streams)
end

local function by_own(v)
  v.readers:report()
  local report
  local cpu = spend(v, function() report = v.readers:wait(v.burst.events, 60) end)
  return { cpu = cpu, p50 = report.latency.p50 / 1e3 }
end

local function by_tool(v)
  local p = program.start({ name = "tool", cpu = 1, words = { "build/bin/sluice", "bench",
    ("http://127.0.0.1:%d%s"):format(v.target.port, v.path), "-c", v.streams, "-d", seconds_of(v.burst) + WAIT_SECONDS,
    "--json" } }, v.target.dir)
  local is_ready = program.wait_for(60, function() return p:errors():find("measuring for", 1, true) end)
  if not is_ready then error("sluice bench does not begin: " .. p:errors(), 0) end
  local cpu = spend(v)
  local found = cjson.decode(p:line(60) or error("sluice bench has ended: " .. p:errors(), 0))
  v.target:settle()
  p:stop()
  local wanted = v.burst.events * v.streams
  if found.events ~= wanted or found.lost + found.repeated + found.outOfOrder > 0 then
    error(("sluice bench got %d of %d events of %s, and lost %d"):format(found.events, wanted, v.target.kind,
      found.lost), 0)
  end
  return { cpu = cpu, busy = found.cpu }
end

local function measure(v) return v.readers and by_own(v) or by_tool(v) end

-- Two of each server: one with readers that stay, one whose readers are the tool's.
local function start(bench, streams, burst)
  local list, paths = {}, { sluice = "/s/to/one", nchan = "/s/one" }
  for kind, path in pairs(paths) do
    if kind == "sluice" or bench.nchan then
      list[#list + 1] = { name = kind, kind = kind, path = path, streams = streams, burst = burst }
    end
  end
  local variants = rounds.start(bench, list)
  for _, v in ipairs(list) do
    variants[#variants + 1] = { name = v.kind .. " by the tool", path = v.path, streams = streams, burst = burst,
      target = target[v.kind](bench.dir, bench.io_threads) }
  end
  return variants
end

--- TOOL: one event a turn to 1,000 readers.
function tool.TOOL(bench)
  local streams = bench:pick(1000, 100)
  local burst = { events = bench:pick(50, 20), every = 20000 }
  local variants <close> = bench:own(start(bench, streams, burst), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(21, 1), measure)
  local function ratio(name, against) return rounds.ratio(samples, name, against, "cpu") end
  local row = { row = "TOOL", what = ("sluice bench beside these readers, N = %d"):format(streams), bar = MOST,
    target = ("%g to %g"):format(LEAST, MOST), control = ratio("sluice by the tool", "sluice"),
    nchan = ratio("nchan by the tool", "nchan") }
  local own, by = ratio("nchan", "sluice"), ratio("nchan by the tool", "sluice by the tool")
  row.measured = row.control
  if own then
    local function list(name) return rounds.pick(samples, name, "cpu") end
    row.measured = stats.summary(stats.ratios(stats.ratios(list("nchan by the tool"), list("sluice by the tool")),
      stats.ratios(list("nchan"), list("sluice"))))
    local text = "CPU a delivery, nchan : Sluice, is %.3f [%.3f, %.3f] by these readers and %.3f [%.3f, %.3f] by "
    row.note = text:format(own.median, own.low, own.high, by.median, by.low, by.high)
  end
  row.note = (row.note or "") .. ("sluice bench, which was busy %.0f %% of a processor"):format(
    100 * stats.median(rounds.pick(samples, "sluice by the tool", "busy")))
  local holds = row.measured.median >= LEAST and row.measured.median <= MOST
  row.verdict = holds and "pass" or "MISS"
  bench:add(row)
end

return tool
