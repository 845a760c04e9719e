--- Rows T1, T2, T3, T15: what a delivery costs.
local socket = require("socket")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local fanout = {}

local function cost_note(samples, name, variants)
  local cpu = stats.median(rounds.pick(samples, name, "cpu"))
  local raw = stats.median(rounds.pick(samples, "raw", "cpu"))
  local joined = stats.median(rounds.pick(samples, name, "per_send"))
  return ("%.2f us against %.2f us raw; %.1f events a send; %s"):format(cpu, raw, joined,
    rounds.shares(variants, name))
end

local function four(streams, burst, with_nchan)
  local list = {
    { name = "raw", kind = "raw" }, { name = "control", kind = "raw" }, { name = "sluice", kind = "sluice" },
    { name = "ring", kind = "ring" },
  }
  if with_nchan then table.insert(list, { name = "nchan", kind = "nchan", path = "/s/one" }) end
  for _, v in ipairs(list) do v.streams, v.burst = streams, burst end
  return list
end

-- What a ring may cost of a raw loop: where a system call is cheap there is less to gain.
local function ring_bar(bench) return bench.call_ns >= 500 and 0.75 or 0.92 end

--- T1: one event a turn, to 1,000 and 10,000 subscribers, and with three channels each.
local function single(bench, streams, burst)
  local list = four(streams, burst, streams <= 1000)
  local three = setmetatable({ to = "a,b,c" }, { __index = burst })
  table.insert(list, { name = "three", kind = "sluice", path = "/s/three", streams = streams, burst = three })
  local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(31, 1))
  local control = rounds.ratio(samples, "control", "raw", "cpu")
  bench:add(rounds.judge({ row = "T1", what = ("CPU a delivery, 1 event a turn, N = %d"):format(streams), bar = 1.10,
    aim = 1.08, note = cost_note(samples, "sluice", variants.value) }, rounds.ratio(samples, "sluice", "raw", "cpu"),
    control, rounds.ratio(samples, "nchan", "raw", "cpu")))
  if bench.ring then
    bench:add(rounds.judge({ row = "T1", what = ("... through a ring, N = %d"):format(streams), bar = ring_bar(bench),
      note = ("%.2f x send(); %s"):format(rounds.ratio(samples, "ring", "sluice", "cpu").median,
        cost_note(samples, "ring", variants.value)) }, rounds.ratio(samples, "ring", "raw", "cpu"), control))
  end
  bench:add(rounds.judge({ row = "T1", what = ("... streams with three channels, N = %d"):format(streams), bar = 1.12,
    note = cost_note(samples, "three", variants.value) }, rounds.ratio(samples, "three", "raw", "cpu"), control))
end

function fanout.T1(bench)
  single(bench, bench:pick(1000, 100), { events = bench:pick(50, 20), every = 20000 })
  if not bench.quick then single(bench, 10000, { events = 6, every = 250000 }) end
end

--- T2: eight events pending, joined in one send.
function fanout.T2(bench)
  local streams = bench:pick(1000, 100)
  local burst = { events = bench:pick(400, 80), batch = 8, every = 20000 }
  local variants <close> = bench:own(rounds.start(bench, four(streams, burst, true)), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(31, 1))
  bench:add(rounds.judge({ row = "T2", what = ("CPU a delivery, 8 events a turn, N = %d"):format(streams), bar = 1.25,
    aim = 1.10, note = cost_note(samples, "sluice", variants.value) }, rounds.ratio(samples, "sluice", "raw", "cpu"),
    rounds.ratio(samples, "control", "raw", "cpu"), rounds.ratio(samples, "nchan", "raw", "cpu")))
  if not bench.ring then return end
  bench:add(rounds.judge({ row = "T2", what = ("... through a ring, N = %d"):format(streams),
    bar = ring_bar(bench) + 0.25, note = cost_note(samples, "ring", variants.value) },
    rounds.ratio(samples, "ring", "raw", "cpu"), rounds.ratio(samples, "control", "raw", "cpu")))
end

local function add_saturated(bench, variants, samples, name, what)
  local rate = stats.median(rounds.pick(samples, name, function(s) return s.deliveries / s.seconds end))
  local busy = stats.median(rounds.pick(samples, name, "busy"))
  local row = { row = "T3", what = what, more = true, bar = 10, aim = 20,
    note = ("%s; %.2f M deliveries/s; reader busy %.0f %%"):format(cost_note(samples, name, variants), rate / 1e6,
      busy * 100) }
  bench:add(rounds.judge(row, rounds.ratio(samples, "raw", name, "cpu"),
    rounds.ratio(samples, "control", "raw", "cpu"), name == "sluice" and rounds.ratio(samples, "raw", "nchan", "cpu")))
end

--- T3: deliveries a CPU second under saturation, against one send an event. The raw loop
--- sends as fast as it can. Sluice gets events as fast as its script can publish them, and
--- in a second row at a pace that leaves the batches to the length of a round.
function fanout.T3(bench)
  local streams = bench:pick(1000, 100)
  local list = four(streams, { kind = "single", events = bench:pick(100, 50) }, true)
  list[3].burst = { events = bench:pick(10000, 1000) }
  list[4].burst = list[3].burst
  if list[5] then list[5].burst = { events = bench:pick(100, 50), batch = 8 } end
  table.insert(list, { name = "paced", kind = "sluice", streams = streams,
    burst = { events = bench:pick(4000, 1000), every = 250 } })
  local variants <close> = bench:own(rounds.start(bench, list), rounds.stop)
  local samples = rounds.run(bench, variants.value, bench:pick(31, 1))
  add_saturated(bench, variants.value, samples, "sluice",
    ("deliveries a CPU second, saturated, N = %d"):format(streams))
  if bench.ring then add_saturated(bench, variants.value, samples, "ring", "... through a ring") end
  add_saturated(bench, variants.value, samples, "paced", "... at 4,000 events a second")
end

--- T15: healthy readers with and without a tenth of stalled ones beside them.
function fanout.T15(bench)
  local healthy, stalled = bench:pick(900, 90), bench:pick(100, 10)
  local server = target.sluice(bench.dir, bench.io_threads)
  local variants <close> = bench:own({}, rounds.stop)
  for _, name in ipairs { "clean", "mixed", "control" } do
    local channel = name == "mixed" and "mixed" or "clean"
    table.insert(variants.value, { name = name, target = server, streams = healthy,
      burst = { events = bench:pick(8000, 1000), to = channel } })
  end
  local clean = subscribers.start(bench, server, { path = "/s/to/clean", streams = healthy })
  local mixed = subscribers.start(bench, server, { path = "/s/to/mixed", streams = healthy })
  local bad <close> = -- luacheck: ignore (closed at the end)
    bench:own(
    subscribers.start(bench, server, { path = "/s/to/mixed", streams = stalled, mode = "stalled" }),
    function(s) s:stop() end)
  variants.value[1].readers, variants.value[2].readers, variants.value[3].readers = clean, mixed, clean
  socket.sleep(0.3)
  local samples = rounds.run(bench, variants.value, bench:pick(15, 1))
  local cpu = rounds.ratio(samples, "mixed", "clean", "cpu")
  local what = ("deliveries/s of %d readers with %d stalled beside them"):format(healthy, stalled)
  bench:add(rounds.judge({ row = "T15", what = what, more = true, bar = 0.90, aim = 0.97,
    note = ("CPU a delivery %.2f x"):format(cpu.median) },
    rounds.ratio(samples, "clean", "mixed", "seconds"), rounds.ratio(samples, "clean", "control", "seconds")))
end

return fanout
