--- Rows RATE, FILTER, SLOW and T22: what policies cost. A rate must cost the ticks and not the updates,
--- a filter the subscribers that match and not those that do not, slow readers nothing.
local socket = require("socket")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local policies = {}

local function stop(thing) thing:stop() end

-- Publish for some seconds: CPU in ns of the app thread and of all others, seconds, events, and
-- the readers' report.
local function trade(server, readers, o)
  readers:report()
  local app, all, began = server.program:main_cpu(), server:cpu(), socket.gettime()
  local answer = server:request("POST", ("/trade?to=%s&events=%d&every=%d&keys=%d"):format(o.to, o.events, o.every,
    o.keys), 60)
  server:settle()
  local spent = { app = server.program:main_cpu() - app, all = server:cpu() - all,
    seconds = socket.gettime() - began, events = answer.events }
  spent.io = spent.all - spent.app
  return spent, readers:report()
end

local function absolute(row, values, bar)
  local median = stats.median(values)
  row.bar, row.measured = 1, stats.summary(stats.map(values, function(v) return v / bar end))
  return rounds.judge(row, row.measured), median
end

-- What the kernel charges for as many sends of as many bytes: a part of a core.
local function bare_rate(bench, streams)
  local server <close> = bench:own(target.raw(bench.dir), stop)
  local readers <close> = bench:own(subscribers.start(bench, server.value, { path = "/s", streams = streams }), stop) -- luacheck: ignore
  local parts = {}
  for n = 0, bench:pick(7, 1) do
    local before, began = server.value:cpu(), socket.gettime()
    server.value:burst { events = bench:pick(20, 2) * 50, batch = 50, every = 250000, to = streams // 2 }
    server.value:request("GET", "/status", 60) -- answered when the burst is over
    if n > 0 then table.insert(parts, (server.value:cpu() - before) / 1e9 / (socket.gettime() - began)) end
  end
  return stats.median(parts)
end

--- RATE: 10,000 updates a second of 50 keys to 1,000 streams at two a second of each key.
function policies.RATE(bench)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  local streams = bench:pick(1000, 100)
  local readers <close> = bench:own(
    subscribers.start(bench, server.value, { path = "/s/rated", streams = streams }), stop)
  local sends, io = {}, {}
  for n = 0, bench:pick(7, 1) do
    local spent, report = trade(server.value, readers.value, { to = "rated", events = bench:pick(50000, 5000),
      every = 1000, keys = 50 })
    if n > 0 then
      table.insert(sends, report.chunks / spent.seconds / streams * 1000)
      table.insert(io, spent.io / 1e9 / spent.seconds)
    end
  end
  local row, per_second = absolute({ row = "RATE", what = "sends a second to 1,000 streams at two a second" },
    sends, 2200)
  row.note = ("%.0f sends/s; the bar is 2,200"):format(per_second)
  bench:add(row)
  local load, core = absolute({ row = "RATE", what = "... the I/O threads' part of a core" }, io, 0.05)
  load.note = ("%.1f %% of a core; the bar is 5 %%; 2,000 bare sends of 10 KB: %.1f %%"):format(100 * core,
    100 * bare_rate(bench, streams))
  bench:add(load)
end

local KEYS, TURN_US = 1000, 10000

-- Ten events every ten milliseconds, each for 30 streams: CPU in us an event, until all have
-- theirs, and how many of a hundred came in chunks of their own.
local function trade_once(v, events)
  v.readers:report()
  local before, came, more = v.target:cpu(), 0
  local matches = v.streams * v.keys // KEYS
  if v.kind == "sluice" then
    v.target:request("POST", ("/trade?to=filtered&events=%d&every=%d&keys=%d"):format(events, TURN_US, KEYS), 60)
  else
    v.target:burst { events = events, batch = 10, every = TURN_US, kind = "single", to = matches }
    v.target:request("GET", "/status", 60) -- answered when the burst is over
  end
  repeat
    socket.sleep(0.02)
    more = v.readers:report().chunks
    came = came + more
  until more == 0
  return (v.target:cpu() - before) / 1e3 / events, 100 * came / (events * matches)
end

-- A hiccup of the machine joins events, which then cost less: that round does not count.
local function trade_keys(v, events)
  local cost, apart
  for _ = 1, 5 do
    cost, apart = trade_once(v, events)
    if apart >= 98 then return cost end
  end
  error(("%s: %.1f %% of the events came in chunks of their own, five times"):format(v.name, apart), 0)
end

--- FILTER: an event for 30 subscribers of 1,000 keys, among 1,000 streams and among 10,000. The bare
--- sends to 30 of as many sockets show what the kernel charges for sockets that are not in the cache.
function policies.FILTER(bench)
  local variants, samples = {}, {}
  local few, many = { bench:pick(1000, 100), 30 }, { bench:pick(10000, 300), bench:pick(3, 10) }
  for name, size in pairs { few = few, many = many, ["bare few"] = few, ["bare many"] = many } do
    local v = { kind = name:find("bare") and "raw" or "sluice", name = name, streams = size[1], keys = size[2] }
    v.target = target[v.kind](bench.dir, bench.io_threads)
    v.readers = subscribers.start(bench, v.target,
      { path = ("/s/keys/%d/{i}"):format(v.keys), streams = v.streams })
    variants[#variants + 1], samples[v.name] = v, {}
  end
  for n = 0, bench:pick(9, 1) do
    for _, v in ipairs(stats.shuffled(variants)) do
      local cpu = trade_keys(v, bench:pick(2000, 200))
      if n > 0 then table.insert(samples[v.name], { cpu = cpu }) end
    end
  end
  rounds.stop(variants)
  local function us(name) return stats.median(rounds.pick(samples, name, "cpu")) end
  bench:add(rounds.judge({ row = "FILTER", what = "CPU an event, 10,000 streams that want 3 of 1,000 keys", bar = 1.5,
    note = ("%.0f us against %.0f us of 1,000 streams with as many matches; bare sends: %.0f against %.0f us, %.2f x")
      :format(us("many"), us("few"), us("bare many"), us("bare few"),
      rounds.ratio(samples, "bare many", "bare few", "cpu").median) },
    rounds.ratio(samples, "many", "few", "cpu")))
end

--- SLOW: 900 readers, without and with 50 that read nothing and 50 that read 1 kB a second.
function policies.SLOW(bench)
  local server = target.sluice(bench.dir, bench.io_threads)
  local streams, few = bench:pick(900, 90), bench:pick(50, 5)
  local variants <close> = bench:own({}, rounds.stop)
  local function readers(o)
    o.streams = o.streams or streams
    return subscribers.start(bench, server, o)
  end
  local clean = readers { path = "/s/to/clean", parse = 100, rounds = true }
  local mixed = readers { path = "/s/to/mixed", parse = 100, rounds = true }
  local stalled <close> = bench:own(readers { path = "/s/to/mixed", streams = few, mode = "stalled" }, stop) -- luacheck: ignore
  local slow <close> = bench:own(readers { path = "/s/to/mixed", streams = few, mode = "slow", slow = 1000 }, stop) -- luacheck: ignore
  for name, r in pairs { clean = clean, mixed = mixed, control = clean } do
    table.insert(variants.value, { name = name, target = server, streams = streams, readers = r,
      burst = { events = bench:pick(150, 20), every = 20000, to = name == "mixed" and "mixed" or "clean" } })
  end
  socket.sleep(0.3)
  local samples = rounds.run(bench, variants.value, bench:pick(9, 1))
  local function p99(s) return s.report.rounds.p99 end
  bench:add(rounds.judge({ row = "SLOW", what = "p99 of 900 readers with 100 slow or stalled beside them", bar = 1.2,
    note = ("%.2f ms against %.2f ms"):format(stats.median(rounds.pick(samples, "mixed", p99)) / 1e3,
      stats.median(rounds.pick(samples, "clean", p99)) / 1e3) },
    rounds.ratio(samples, "mixed", "clean", p99), rounds.ratio(samples, "control", "clean", p99)))
end

--- T22: a publish to a state, without subscribers and with 10,000 that read nothing.
function policies.T22(bench)
  local variants, samples = {}, {}
  for _, v in ipairs { { name = "none", streams = 1, mode = "honest", to = "nobody" },
    { name = "slow", streams = bench:pick(10000, 200), mode = "stalled", to = "state" } } do
    v.target = target.sluice(bench.dir, bench.io_threads)
    v.readers = subscribers.start(bench, v.target, { path = "/s/state", streams = v.streams, mode = v.mode,
      idle = v.mode == "stalled" })
    variants[#variants + 1], samples[v.name] = v, {}
  end
  socket.sleep(1)
  trade(variants[2].target, variants[2].readers,
    { to = "state", events = bench:pick(4000, 400), every = 1000, keys = 50 })
  for n = 0, bench:pick(9, 1) do
    for _, v in ipairs(stats.shuffled(variants)) do
      local spent = trade(v.target, v.readers, { to = v.to, events = bench:pick(8000, 400), every = 500, keys = 50 })
      if n > 0 then table.insert(samples[v.name], { cpu = spent.all / 1e3 / spent.events }) end
    end
  end
  rounds.stop(variants)
  local function us(name) return stats.median(rounds.pick(samples, name, "cpu")) end
  bench:add(rounds.judge({ row = "T22", what = "publish to a state with 10,000 readers that read nothing, against none",
    bar = 1.2, note = ("%.1f us against %.1f us"):format(us("slow"), us("none")) },
    rounds.ratio(samples, "slow", "none", "cpu")))
end

return policies
