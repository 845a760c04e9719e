--- Row SHOWCASE: what the showcase costs with all eight use cases running: the CPU of all threads, in percent of
--- one core, while one visitor reads its one stream, and while a hundred do.
local socket = require("socket")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")

local showcase = {}

local PATH = "/api/showcase?match=7&device=boiler&document=welcome"
local SETTLE = 3 -- seconds in which who has come gets what was there before
local BARS = { { visitors = 1, bar = 3 }, { visitors = 100, bar = 10 } }

local function open(port)
  local c = assert(socket.connect("127.0.0.1", port))
  c:settimeout(0)
  assert(c:send(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n"):format(PATH, port)))
  return c
end

-- Read what comes on all of them for some seconds. Returns bytes.
local function read(list, seconds)
  local stop, bytes = socket.gettime() + seconds, 0
  repeat
    local ready = socket.select(list, nil, math.max(0, stop - socket.gettime()))
    for _, c in ipairs(ready) do
      local all, problem, part = c:receive(65536)
      if problem == "closed" then error("the showcase has closed a stream", 0) end
      bytes = bytes + #(all or part)
    end
  until socket.gettime() >= stop
  return bytes
end

local function start(bench)
  local port = program.free_port()
  local server = program.start({ name = "showcase", cpu = 0, words = { "build/bin/sluice", "demo", "--port", port,
    "--no-watch" } }, bench.dir)
  local up = program.wait_for(10, function()
    local c = socket.connect("127.0.0.1", port)
    return c and c:close()
  end)
  if not up then error("the showcase does not start: " .. server:errors(), 0) end
  return server, port
end

local function measure(bench, server, port, row)
  local list <close> = bench:own({}, function(all)
    for _, c in ipairs(all) do c:close() end
  end)
  for i = 1, row.visitors do list.value[i] = open(port) end
  read(list.value, SETTLE)
  local seconds, samples, bytes, threads = bench:pick(10, 1), {}, 0, server:threads()
  for i = 1, bench:pick(5, 1) do
    local cpu, began = server:cpu(), socket.gettime()
    bytes = bytes + read(list.value, seconds)
    samples[i] = 100 * (server:cpu() - cpu) / 1e9 / (socket.gettime() - began)
  end
  bench:add(rounds.judge({ row = "SHOWCASE", unit = "% of a core", bar = row.bar,
    what = ("CPU of the showcase with %d visitor%s"):format(row.visitors, row.visitors > 1 and "s" or ""),
    note = ("%.1f KB/s each; %s"):format(bytes / #samples / seconds / row.visitors / 1000,
      program.shares(threads, server:threads())) }, stats.summary(samples)))
end

--- SHOWCASE: one visitor, and a hundred.
function showcase.SHOWCASE(bench)
  local server, port = start(bench)
  for _, row in ipairs(BARS) do measure(bench, server, port, row) end
  server:stop()
end

return showcase
