--- Rows COMMIT, BESIDE, BEHIND and KEPT: durable channels against SQLite alone and the disk itself,
--- what they cost channels in memory, readers that come back for what only the store has,
--- and the memory of it all.
local lfs = require("lfs")
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local durable = {}

local IN_FLIGHT = { 1, 16, 128 }

local function stop(thing) thing:stop() end

local function one(value) return { median = value, low = value, high = value, count = 1 } end

local function new_folder(bench, name)
  bench.folders = (bench.folders or 0) + 1
  local path = ("%s/%s/%s-%d"):format(lfs.currentdir(), bench.dir, name, bench.folders)
  assert(lfs.mkdir(path))
  return path
end

local function start(bench, preload, free)
  return target.sluice(bench.dir, bench.io_threads, free, new_folder(bench, "data"), false, preload)
end

local function publish(server, publishers, events, more)
  return server:request("POST", ("/publishers?publishers=%d&events=%d%s"):format(publishers, events, more or ""), 120)
end

-- SQLite alone, or fdatasync alone, in a folder of its own on the same disk.
local function alone(bench, words, preload)
  local folder = new_folder(bench, "alone")
  return program.run({ "env", "LD_PRELOAD=" .. (preload or ""), "build/bench/disk", "--dir", folder, words })
end

-- Each round: SQLite alone with this group size, as many publishers in flight, and the disk.
local function commit_rounds(bench, server, preload)
  local samples = {}
  for _, n in ipairs(IN_FLIGHT) do samples[n] = { ratio = {}, late = {}, rate = {}, p99 = {}, sync = {} } end
  local count = bench.rounds or bench:pick(9, 1)
  for round = 0, count do
    for _, n in ipairs(stats.shuffled(IN_FLIGHT)) do
      local events, s = bench:pick(n == 1 and 200 or n * 100, n * 4), samples[n]
      local sqlite = alone(bench, ("--group %d --events %d"):format(n, events), preload)
      local sync = alone(bench, "--syncs " .. bench:pick(500, 10), preload).p99
      local ours = publish(server, n, events, "&same=1")
      if round > 0 then
        s.ratio[round], s.rate[round] = ours.rate / sqlite.rate, ours.rate
        s.late[round], s.p99[round], s.sync[round] = ours.p99 / (2000 + 2 * sync), ours.p99, sync
      end
    end
    bench:progress(round, count)
  end
  return samples
end

local function commit(bench, disk, preload, free)
  local server <close> = bench:own(start(bench, preload, free), stop)
  local samples = commit_rounds(bench, server.value, preload)
  for _, n in ipairs(IN_FLIGHT) do
    local s = samples[n]
    bench:add(rounds.judge({ row = "COMMIT", bar = 0.7, more = true,
      what = ("durable publishes a second, %d in flight / rows of SQLite alone in groups of %d%s"):format(n, n, disk),
      note = ("%.0f publishes a second"):format(stats.median(s.rate)) }, stats.summary(s.ratio)))
  end
  for _, n in ipairs(IN_FLIGHT) do
    local s = samples[n]
    bench:add(rounds.judge({ row = "COMMIT", bar = 1,
      what = ("... p99 of one, %d in flight / (2 ms + 2 x p99 of fdatasync)%s"):format(n, disk),
      note = ("%.1f ms, fdatasync %.1f ms"):format(stats.median(s.p99) / 1e3, stats.median(s.sync) / 1e3) },
      stats.summary(s.late)))
  end
end

--- COMMIT: publishers that wait for their answers, against SQLite alone in groups of that many;
--- and how long an answer takes, against what the disk needs. On the disk as it is, and on one whose
--- syncs take a millisecond more. No reader needs a processor here, and SQLite alone runs where it likes:
--- the app's thread and the store's may do so too, but for the rows that say something else.
function durable.COMMIT(bench)
  commit(bench, "", nil, true)
  commit(bench, ", on one processor")
  commit(bench, ", syncs of a millisecond more", "build/bench/slowsync.so", true)
end

-- A burst in memory at a fixed pace: how long until its readers have it.
local function paced(server, readers, events, every)
  readers:report()
  server:request("POST", ("/burst?events=%d&every=%d"):format(events, every))
  local report = readers:wait(events, 60)
  return report.met, report.latency.p99
end

--- BESIDE: a channel in memory, at a pace, with as many durable publishers as make full groups
--- beside it and without any.
function durable.BESIDE(bench)
  local server <close> = bench:own(start(bench), stop)
  local readers <close> = bench:own(subscribers.start(bench, server.value, { path = "/s/to/one",
    streams = bench:pick(100, 20), parse = 100 }), stop)
  local events, ratio, late = bench:pick(2000, 100), {}, {}
  local count = bench.rounds or bench:pick(7, 1)
  for round = 0, count do
    local calm, calm_p99 = paced(server.value, readers.value, events, 1000)
    local done = server.value:request_later("POST",
      ("/publishers?publishers=128&events=%d"):format(bench:pick(38400, 1280)))
    local busy, busy_p99 = paced(server.value, readers.value, events, 1000)
    done(60)
    if round > 0 then ratio[round], late[round] = calm / busy, { busy_p99, calm_p99 } end
    bench:progress(round, count)
  end
  local function ms(i) return stats.median(stats.map(late, function(pair) return pair[i] end)) / 1e3 end
  bench:add(rounds.judge({ row = "BESIDE", bar = 0.95, more = true,
    what = "rate of a channel in memory (1,000/s) with 128 durable publishers beside it / without",
    note = ("p99 to the reader %.1f ms against %.1f ms"):format(ms(1), ms(2)) }, stats.summary(ratio)))
end

-- What lies behind the readers: fifty events that only the store has, and fifty in memory,
-- with others between them that they do not want. The id they come with.
local function fill(server, each)
  local id = publish(server, 1, 1).last
  publish(server, each, each)
  publish(server, 50, 1000, "&name=other")
  publish(server, each, each)
  return id
end

-- One storm: how long until all have what they missed (s), the p99 of a live event meanwhile (s), and
-- of a commit meanwhile and before (ms).
local function storm_behind(bench, streams, each)
  local server <close> = bench:own(start(bench), stop)
  local id = fill(server.value, each)
  local live <close> = bench:own(subscribers.start(bench, server.value, { path = "/s/to/one", streams = 1,
    parse = 100 }), stop)
  local commits = ("&channel=kept/other&every=%d"):format(10000)
  local idle = publish(server.value, 1, bench:pick(300, 10), commits)
  server.value:request("POST", ("/burst?events=%d&every=20000"):format(bench:pick(500, 20)))
  local busy = server.value:request_later("POST",
    ("/publishers?publishers=1&events=%d%s"):format(bench:pick(300, 10), commits))
  live.value:report()
  local began = socket.gettime()
  local readers <close> = bench:own(subscribers.start(bench, server.value, { path = "/s/kept", streams = streams,
    parse = 100, ["until"] = 2 * each, ["last-event-id"] = id, idle = true }), stop)
  readers.value:wait_until(60)
  local seconds = socket.gettime() - began
  return seconds, live.value:report().latency.p99 / 1e6, busy(60).p99 / 1e3, idle.p99 / 1e3
end

--- BEHIND: many readers come back at once, a hundred events behind, half of them only in the
--- store, while live events and commits go on. A storm has a few commits that are slow for the disk
--- alone: the median of several.
function durable.BEHIND(bench)
  local streams, each, count = bench:pick(10000, 100), 50, bench.rounds or bench:pick(5, 1)
  local took, live, ratio, busy, idle = {}, {}, {}, {}, {}
  for round = 1, count do
    took[round], live[round], busy[round], idle[round] = storm_behind(bench, streams, each)
    ratio[round] = busy[round] / idle[round]
    bench:progress(round, count)
  end
  bench:add(rounds.judge({ row = "BEHIND", unit = "s", bar = 10,
    what = ("%d readers come back %d events behind, half from the store: until all have them"):format(streams,
      2 * each),
    note = ("%.0f events a second"):format(streams * 2 * each / stats.median(took)) }, stats.summary(took)))
  bench:add(rounds.judge({ row = "BEHIND", unit = "s", bar = 1, what = "... p99 of a live event meanwhile" },
    stats.summary(live)))
  bench:add(rounds.judge({ row = "BEHIND", bar = 3, what = "... p99 of a commit meanwhile / idle",
    note = ("%.1f ms against %.1f ms"):format(stats.median(busy), stats.median(idle)) }, stats.summary(ratio)))
end

local function footprint(server)
  socket.sleep(1.5)
  server:request("POST", "/collect", 30)
  return server.program:private_dirty()
end

local function file_bytes(server)
  local sum = 0
  for name in lfs.dir(server.data) do
    local size = lfs.attributes(server.data .. "/" .. name, "size")
    if name:sub(1, 1) ~= "." then sum = sum + size end
  end
  return sum
end

--- KEPT: memory of a durable channel that is quiet, and of an event beyond those that memory holds.
function durable.KEPT(bench)
  local channels, events = bench:pick(10000, 500), bench:pick(50000, 2560)
  local server <close> = bench:own(start(bench), stop)
  local s = server.value
  s:request("POST", "/channels?count=128&first=1", 60)
  local before = footprint(s)
  s:request("POST", ("/channels?count=%d&first=129"):format(channels), 120)
  local quiet = (footprint(s) - before) / channels
  publish(s, 128, events) -- the page cache of the store is full then
  local held, stored = footprint(s), file_bytes(s)
  publish(s, 128, events)
  local each = (footprint(s) - held) / events
  bench:add(rounds.judge({ row = "KEPT", unit = "B", bar = 4096,
    what = "bytes a quiet durable channel, one event in it",
    note = ("%d channels, %d I/O thread"):format(channels, bench.io_threads) }, one(quiet)))
  bench:add(rounds.judge({ row = "KEPT", unit = "B", bar = 64,
    what = "... memory an event beyond the newest 1,024 of its channel",
    note = ("%.0f B of disk an event of 160 B"):format((file_bytes(s) - stored) / events) }, one(each)))
end

return durable
