--- Rows T9, T14, T16: what a reader costs in memory, an idle one and a stalled one.
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local subscribers = require("spec.bench.subscribers")
local target = require("spec.bench.target")

local memory = {}

local function stop(thing) thing:stop() end

local function one(value) return { median = value, low = value, high = value, count = 1 } end

-- Private dirty memory, and the Lua heap after two full collections; when the server rests.
local function footprint(server)
  socket.sleep(3)
  local heap = server.kind == "sluice" and server:request("POST", "/collect", 30).bytes or 0
  return server.program:private_dirty(), heap
end

-- So many connects, one after the other: what a server takes once, such as the garbage that Lua lets lie, is
-- no stream's.
local function warm_up(bench, server, path, streams)
  local readers <close> = bench:own(subscribers.start(bench, server,
    { path = path, streams = streams, rate = 4000, ["until"] = 0, head = 800, idle = true }), stop)
  readers.value:wait_until(30)
end

-- Bytes a stream between two populations: private dirty, Lua heap.
local function slope(bench, server, path)
  local few, many = bench:pick(1000, 100), bench:pick(9000, 600)
  warm_up(bench, server, path, many)
  local first <close> = bench:own(
    subscribers.start(bench, server, { path = path, streams = few, head = 800 }), stop)
  local dirty1, heap1 = footprint(server)
  local second <close> = bench:own(
    subscribers.start(bench, server, { path = path, streams = many - few, head = 800 }), stop)
  local dirty2, heap2 = footprint(server)
  local open = first.value:report().open + second.value:report().open
  assert(open == many, "streams were closed meanwhile")
  return (dirty2 - dirty1) / (many - few), (heap2 - heap1) / (many - few)
end

-- The same, on a server of its own.
local function slope_of(bench, path)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  return slope(bench, server.value, path)
end

--- T9: memory of an idle reader. The Lua heap is part of the private memory and is added
--- once more, so that what it holds in pages touched before is not missed.
function memory.T9(bench)
  local dirty, heap = slope_of(bench, "/s/function/one")
  local own_dirty, own_heap = slope_of(bench, "/s/own/u{i}")
  local note = ("private %.0f B, of which Lua heap %.0f B"):format(dirty, heap)
  local row = rounds.judge({ row = "T9", unit = "B", bar = 614,
    what = "bytes an idle reader: plan function, 2 channels, head of 800 B", note = note }, one(dirty + heap))
  local own = rounds.judge({ row = "T9", unit = "B", bar = 900, what = "... one of the channels its own, counted in" },
    one(own_dirty + own_heap))
  if bench.nchan then
    local nginx <close> = bench:own(target.nchan(bench.dir), stop)
    row.nchan = one((slope(bench, nginx.value, "/s/one")))
  end
  bench:add(row)
  bench:add(own)
end

local function queued(server) return program.run({ "build/bench/sockmem", server.port }).queued end

-- Kernel bytes that one stalled reader holds after more events than any buffer takes.
local function stall_one(bench, server)
  local reader <close> = bench:own(
    subscribers.start(bench, server, { path = "/s/to/one", streams = 1, mode = "stalled", rcvbuf = 0 }), stop)
  assert(reader)
  socket.sleep(0.3)
  for _ = 1, 4 do
    server:burst({ events = bench:pick(12000, 5000) })
    program.wait_for(20, function() return not server:request("GET", "/status", 20).busy end)
  end
  socket.sleep(0.3)
  return queued(server)
end

--- T14: what the kernel holds for a stalled reader, against default socket settings.
function memory.T14(bench)
  local raw <close> = bench:own(target.raw(bench.dir), stop)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  local default, ours = stall_one(bench, raw.value), stall_one(bench, server.value)
  bench:add(rounds.judge({ row = "T14", what = "kernel memory of a stalled reader, default settings / ours",
    more = true, bar = 50, aim = 100,
    note = ("%.0f KB against %.0f KB"):format(ours / 1e3, default / 1e3) }, one(default / ours)))
  if not bench.ring then return end
  local ring <close> = bench:own(target.ring(bench.dir, bench.io_threads), stop)
  local held = stall_one(bench, ring.value)
  bench:add(rounds.judge({ row = "T14", what = "... through a ring", more = true, bar = 50, aim = 100,
    note = ("%.0f KB against %.0f KB"):format(held / 1e3, default / 1e3) }, one(default / held)))
end

--- T16: all readers stalled while events pour in.
function memory.T16(bench)
  local streams = bench:pick(10000, 300)
  local server <close> = bench:own(target.sluice(bench.dir, bench.io_threads), stop)
  local before = server.value.program:private_dirty()
  local readers <close> = bench:own(
    subscribers.start(bench, server.value, { path = "/s/to/one", streams = streams, mode = "stalled" }), stop)
  assert(readers)
  program.wait_for(20, function() return server.value:request("GET", "/status").subscribers >= streams end)
  server.value:burst({ events = bench:pick(6000, 2000), every = 1000 })
  socket.sleep(0.5)
  program.wait_for(30, function()
    socket.sleep(0.2)
    return not server.value:request("GET", "/status", 20).busy
  end)
  local kernel, user = queued(server.value), server.value.program:private_dirty() - before
  local status = server.value:request("GET", "/status")
  bench:add(rounds.judge({ row = "T16", unit = "B", bar = 65536, aim = 40960,
    what = ("bytes a stalled reader, all of %d stalled, %d events published"):format(streams, status.events),
    note = ("kernel %.0f B, ours %.0f B with the log"):format(kernel / streams, user / streams) },
    one((kernel + user) / streams)))
end

return memory
