--- Servers of others on the same work as Sluice, for anybody to run again and to argue with: `make compare`.
--- README.md beside this file says what is run and what the figures are.
local root = arg[0]:match("^(.*)/spec/bench/compare/run%.lua$") or "."
local lfs = require("lfs")
assert(lfs.chdir(root))
package.path = "./?.lua;" .. package.path

local cjson = require("cjson")
local program = require("spec.bench.program")
local rounds = require("spec.bench.rounds")
local stats = require("spec.bench.stats")
local target = require("spec.bench.target")

local LIST = { { name = "raw loop", kind = "raw" }, { name = "raw loop again", kind = "raw" },
  { name = "sluice, send()", kind = "sluice" }, { name = "sluice, io_uring", kind = "ring" },
  { name = "nchan", kind = "nchan", path = "/s/one" }, { name = "node:http", kind = "node" },
  { name = "better-sse", kind = "better_sse" } }

local function read_arguments()
  local o = { streams = 1000, events = 50, every = 20000, rounds = 9 }
  for i = 1, #arg, 2 do
    local name, value = arg[i]:match("^%-%-(%l+)$"), math.tointeger(tonumber(arg[i + 1]))
    if not (name and o[name] and value and value > 0) then
      io.stderr:write("usage: run.lua [--streams N] [--events N] [--every MICROSECONDS] [--rounds N]\n")
      os.exit(2)
    end
    o[name] = value
  end
  return o
end

local function faults_of(samples)
  local sum = { lost = 0, repeated = 0, disordered = 0, closed = 0 }
  for _, s in ipairs(samples) do
    for name in pairs(sum) do sum[name] = sum[name] + s.report[name] end
  end
  return ("lost %d, repeated %d, disordered %d, closed %d"):format(sum.lost, sum.repeated, sum.disordered, sum.closed)
end

local function show(v, samples, raw)
  local all = stats.map(samples, function(s) return s.cpu end)
  local ratio = stats.summary(stats.ratios(all, stats.map(raw, function(s) return s.cpu end)))
  local function ms(field)
    return stats.median(stats.map(samples, function(s) return s.report.latency[field] end)) / 1e3
  end
  print(("%-17s %7.2f us a delivery, %5.2f x raw [%.2f, %.2f]; p50 %.2f ms, p99 %.2f ms; %s"):format(v.name,
    stats.median(all), ratio.median, ratio.low, ratio.high, ms("p50"), ms("p99"), faults_of(samples)))
end

local function main()
  local o = read_arguments()
  assert(os.execute("make -s -C spec/bench"), "the benchmark's programs cannot be built")
  local zero = { lost = 0, repeated = 0, disordered = 0, closed = 0, resets = 0, deliveries = 0 }
  local bench = { io_threads = 1, nchan = target.has_nchan(), ring = target.has_ring(), progress = function() end,
    faults = setmetatable({}, { __index = function(t, k)
      t[k] = setmetatable({}, { __index = zero })
      return t[k]
    end }), dir = ("build/bench/compare-%d"):format(os.time()) }
  assert(lfs.mkdir(bench.dir))
  local here = {}
  for _, v in ipairs(LIST) do
    local missing = v.kind == "node" and not target.has_node() or v.kind == "better_sse" and not target.has_better_sse()
      or v.kind == "nchan" and not bench.nchan or v.kind == "ring" and not bench.ring
    if missing then print("not here: " .. v.name) else here[#here + 1] = v end
    v.streams, v.burst, v.parse = o.streams, { events = o.events, every = o.every }, 100
  end
  local pipe <close> = assert(io.popen("build/bench/getppid"))
  print(("%d events of 200 bytes, one every %d us, to %d readers, %d rounds; a system call: %d ns; load: %s\n"):format(
    o.events, o.every, o.streams, o.rounds, pipe:read("n"), io.open("/proc/loadavg"):read("l")))
  local variants = rounds.start(bench, here)
  local samples = rounds.run(bench, variants, o.rounds)
  local kept <close> = assert(io.open(bench.dir .. ".jsonl", "w"))
  for _, v in ipairs(variants) do
    for n, s in ipairs(samples[v.name]) do
      kept:write(cjson.encode({ server = v.name, round = n, cpu_us = s.cpu, report = s.report }), "\n")
    end
    show(v, samples[v.name], samples["raw loop"])
  end
  rounds.stop(variants)
  print("\nwhat each round said: " .. bench.dir .. ".jsonl")
  os.execute("rm -rf " .. bench.dir)
end

local ok, problem = xpcall(main, debug.traceback)
program.stop_all()
if not ok then io.stderr:write(tostring(problem), "\n") end
os.exit(ok and 0 or 1)
