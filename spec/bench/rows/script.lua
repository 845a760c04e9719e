--- Rows T7, JSON and SPIN: what the script pays for a publish and for its text, and what a script
--- that computes for a second does to the streams (nothing).
local socket = require("socket")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local script = {}

local function stop(thing) thing:stop() end

-- The CPU that two kinds of step cost the app thread, in us a step, in turn; the cost of no step
-- is taken off.
local function step_costs(bench, server, steps)
  local count = bench:pick(100000, 20000)
  local function step_cost(what)
    local before = server.program:main_cpu()
    server:request("POST", ("/micro?what=%s&count=%d"):format(what, count), 60)
    return (server.program:main_cpu() - before) / 1e3 / count
  end
  local samples = { {}, {} }
  for n = 0, bench:pick(15, 3) do
    local nothing = step_cost("nothing")
    for _, i in ipairs(stats.shuffled { 1, 2 }) do
      local cost = step_cost(steps[i]) - nothing
      if n > 0 then table.insert(samples[i], cost) end
    end
  end
  return samples[1], samples[2]
end

local function judge_steps(bench, row, ours, theirs)
  row.note = ("%.2f us against %.2f us"):format(stats.median(ours), stats.median(theirs))
  bench:add(rounds.judge(row, stats.summary(stats.ratios(ours, theirs))))
end

--- T7: publish() of a ready string against cjson.encode() of the event, on the app thread; as a
--- statement, and where the id is taken, which has to be made then.
--- The I/O thread may have the other processor, as it has in use: on one, each publish would
--- pay for the switch to it.
function script.T7(bench)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads, true), stop)
  judge_steps(bench, { row = "T7", what = "app:publish(string) against cjson.encode(event)", bar = 0.25, aim = 0.10 },
    step_costs(bench, server.value, { "publish", "cjson_floats" }))
  judge_steps(bench, { row = "T7", what = "... whose id is taken", bar = 0.5 },
    step_costs(bench, server.value, { "publish_id", "cjson_floats" }))
end

--- JSON: sluice.json.encode against cjson.encode of the same value, which drops digits.
function script.JSON(bench)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  judge_steps(bench, { row = "JSON", what = "json.encode of a small event without floats", bar = 2.5, aim = 1 },
    step_costs(bench, server.value, { "sluice_plain", "cjson_plain" }))
  judge_steps(bench, { row = "JSON", what = "json.encode of an event with seven floats", bar = 4, aim = 1 },
    step_costs(bench, server.value, { "sluice_floats", "cjson_floats" }))
end

-- Lagging readers: their bytes a second before and while a handler spins.
local function lagging(bench, server)
  local count, speed = bench:pick(100, 30), 200000
  local readers <close> = bench:own(subscribers.start(bench, server,
    { path = "/s/to/lag", streams = count, mode = "slow", slow = speed }), stop)
  server:burst({ events = 19000, to = "lag" })
  socket.sleep(1.5)
  local ratios = {}
  for _ = 1, bench:pick(5, 1) do
    readers.value:report()
    socket.sleep(1)
    local before = readers.value:report()
    socket.sleep(math.random()) -- at any phase of the heartbeats
    server:request("POST", "/spin?seconds=1")
    local during = readers.value:report()
    ratios[#ratios + 1] = during.bytes / during.seconds / (before.bytes / before.seconds)
  end
  local status = server:request("GET", "/status?to=lag")
  local what = ("throughput of %d lagging readers while a handler spins"):format(count)
  bench:add(rounds.judge({ row = "SPIN", what = what, more = true, bar = 0.9,
    note = ("%d KB/s each, %d events behind them"):format(speed / 1000, status.events) },
    stats.summary(ratios)))
end

-- The longest silence on any stream while a handler spins.
local function heartbeats(bench, server)
  local streams = bench:pick(1000, 100)
  local readers <close> = bench:own(subscribers.start(bench, server,
    { path = "/s/beat/1", streams = streams, gap = 1200 }), stop)
  socket.sleep(2)
  readers.value:report()
  local gaps = {}
  for _ = 1, bench:pick(5, 1) do
    socket.sleep(math.random()) -- at any phase of the heartbeats
    server:request("POST", "/spin?seconds=1")
    socket.sleep(1.3)
    gaps[#gaps + 1] = readers.value:report().gap_max / 1e6
  end
  bench:add(rounds.judge({ row = "SPIN", unit = "s", bar = 1.2,
    what = ("longest silence of %d streams, heartbeat 1 s"):format(streams) },
    { median = stats.quantile(gaps, 1), low = stats.quantile(gaps, 0), high = stats.quantile(gaps, 1), count = #gaps }))
end

-- A connect with a replay of 1,000 events while a handler spins.
local function replay(bench, server)
  server:burst({ events = 1000, to = "replay" })
  socket.sleep(1)
  local times, served = {}, 0
  for _ = 1, bench:pick(5, 1) do
    local answered = server:request_later("POST", "/spin?seconds=1")
    socket.sleep(0.1)
    local reader <close> = bench:own(subscribers.start(bench, server,
      { path = "/s/replay", streams = 1, ["until"] = 1000, idle = true }), stop)
    local report = reader.value:wait_until(5)
    if not answered(0) then served = served + 1 end
    times[#times + 1] = report.connect_us.max / 1e3
    answered(5)
  end
  local row = rounds.judge({ row = "SPIN", unit = "ms", bar = 100, what = "connect with a replay of 1,000, static plan",
    note = ("%d of %d while the handler was spinning"):format(served, #times) }, stats.summary(times))
  if served < #times then row.verdict = "MISS, served after the spin" end
  bench:add(row)
end

--- SPIN: the three checks, on one server.
function script.SPIN(bench)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  lagging(bench, server.value)
  heartbeats(bench, server.value)
  replay(bench, server.value)
end

return script
