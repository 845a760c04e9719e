--- The benchmark:  lua5.4 spec/bench/run.lua [--quick] [--rows T1,T3] [--json FILE]
---   [--rounds N] [--io-threads N] [--no-nchan]
---
--- Builds its programs into build/bench/, runs Sluice, the raw baseline and (where nginx
--- has it) nchan on loopback, and prints a table: targets, what was measured, how far a copy
--- of the baseline strays (the error bar), a verdict. Rows that send have one for send() and one for a
--- ring of io_uring. CPU time is summed over all threads of a server and the kernel's ksoftirqd; ratios
--- are taken inside one round. On loopback the receiver's share of TCP is
--- charged to the sender: ratios carry over to other machines, microseconds do not.
--- --quick is a smoke run: its figures mean nothing, its counts of lost, repeated and
--- disordered events do. The exit code is 1 when an event went wrong or a row failed to run.

local root = arg[0]:match("^(.*)/spec/bench/run%.lua$") or "."
local lfs = require("lfs")
assert(lfs.chdir(root))
package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/plain/?.so;" .. package.cpath

local cjson = require("cjson")
local socket = require("socket")
local program = require("spec.bench.program")
local report = require("spec.bench.report")
local target = require("spec.bench.target")

local GROUPS = { "fanout", "latency", "script", "memory", "connect", "reload", "policies", "durable",
  "compression", "pages", "published", "tls", "cluster", "showcase",
  "tool" }
local ORDER = { "T1", "T2", "T3", "T4", "T5", "T6", "INFLIGHT", "T7", "JSON", "T9", "T14", "T15", "T16", "T19",
  "T21", "SPIN",
  "RESUME", "TLS", "TLSIDLE", "H2", "H2IDLE", "SHAKE",
  "RELOAD", "RATE", "FILTER", "SLOW", "T22", "COMMIT", "BESIDE", "BEHIND", "KEPT", "CLUSTER", "T17", "T18",
  "BROAD", "CORE", "OPEN", "PAGE", "SHOWCASE", "TOOL" }
-- A smoke run leaves out what only takes time.
local QUICK = { "T1", "T2", "T3", "T4", "T5", "T7", "JSON", "T9", "T14", "T15", "T16", "T19", "T21", "SPIN",
  "RESUME", "TLS", "TLSIDLE", "H2", "H2IDLE", "SHAKE",
  "RELOAD", "RATE", "FILTER", "SLOW", "T22", "COMMIT", "BESIDE", "BEHIND", "KEPT", "CLUSTER", "T17", "T18",
  "BROAD", "CORE", "OPEN", "PAGE", "SHOWCASE", "TOOL" }

local Bench = {}
Bench.__index = Bench

--- What a full run uses, and what a smoke run does. --rounds stands for any number of rounds.
function Bench:pick(full, quick)
  return self.quick and quick or full
end

--- A value for a variable with <close>: fn(value) ends it.
function Bench:own(value, fn) -- luacheck: no self
  return setmetatable({ value = value }, { __close = function(owner) fn(owner.value) end })
end

function Bench:add(row)
  self.rows[#self.rows + 1] = row
end

function Bench:progress(n, count)
  if self.verbose then
    io.stderr:write(("\r%s %d/%d  "):format(self.current, n, count))
    if n == count then io.stderr:write("\r", (" "):rep(30), "\r") end
  end
end

local function usage(message)
  io.stderr:write(message, "\nusage: run.lua [--quick] [--rows T1,T3] [--json FILE] [--rounds N]",
    " [--io-threads N] [--no-nchan]\n")
  os.exit(2)
end

local function read_arguments(bench)
  local i = 1
  while arg[i] do
    local name, value = arg[i], arg[i + 1]
    if name == "--quick" then bench.quick = true
    elseif name == "--no-nchan" then bench.nchan = false
    elseif not value then usage(name .. ": a value is missing, or no such option")
    elseif name == "--rows" then bench.wanted = value i = i + 1
    elseif name == "--json" then bench.json = value i = i + 1
    elseif name == "--rounds" then bench.rounds = math.tointeger(tonumber(value)) i = i + 1
    elseif name == "--io-threads" then bench.io_threads = math.tointeger(tonumber(value)) i = i + 1
    else usage("no such option: " .. name) end
    i = i + 1
  end
end

local function wanted_rows(bench)
  local list = {}
  for name in (bench.wanted or ""):gmatch("[^,%s]+") do list[#list + 1] = name:upper() end
  if #list > 0 then return list end
  return bench.quick and QUICK or ORDER
end

local function load_rows()
  local all = {}
  for _, group in ipairs(GROUPS) do
    for name, fn in pairs(require("spec.bench.rows." .. group)) do all[name] = fn end
  end
  return all
end

local function build()
  if not os.execute("make -s -C spec/bench") then error("the benchmark's programs cannot be built", 0) end
end

local function run_row(bench, name, fn)
  bench.current = name
  if bench.verbose then io.stderr:write(name, " ...\n") end
  local first = #bench.rows + 1
  local began, busy, ours = socket.gettime(), program.machine()
  local own = os.clock()
  local ok, problem = xpcall(fn, debug.traceback, bench)
  if not ok then bench:add({ row = name, failed = (tostring(problem):gsub("\nstack traceback.*", "")) }) end
  if not ok then io.stderr:write(name, ": ", tostring(problem), "\n") end
  program.stop_all()
  local busy_now, ours_now = program.machine()
  local foreign = (busy_now - busy - (ours_now - ours) - (os.clock() - own)) / (socket.gettime() - began)
  for i = first, #bench.rows do
    bench.rows[i].foreign = math.max(0, foreign)
    io.stdout:write(report.line(bench.rows[i]))
  end
  io.stdout:flush()
end

local function zero() return { lost = 0, repeated = 0, disordered = 0, closed = 0, resets = 0, deliveries = 0 } end

local function conditions(bench)
  local load_now = io.open("/proc/loadavg"):read("l")
  return ("%s; servers on one processor, readers on another: %s; I/O threads: %d; load average: %s; %s"):format(
    bench.quick and "SMOKE RUN, the figures mean nothing" or "full run", program.pinned and "yes" or "no",
    bench.io_threads, load_now, bench.nchan and "nchan is here" or "no nchan") ..
    ("; a system call (getppid): %d ns; %s"):format(bench.call_ns, bench.ring and "io_uring is here" or "no io_uring")
end

local function verdict(bench)
  local bad = false
  for _, row in ipairs(bench.rows) do bad = bad or row.failed ~= nil end
  local f = bench.faults.sluice
  return bad or f.lost + f.repeated + f.disordered > 0
end

local function main()
  local bench = setmetatable({ rows = {}, io_threads = 1, verbose = os.execute("[ -t 2 ]"),
    faults = { raw = zero(), sluice = zero(), nchan = zero() } }, Bench)
  read_arguments(bench)
  if bench.nchan == nil then bench.nchan = not bench.quick and target.has_nchan() end
  math.randomseed(os.time())
  build()
  bench.ring = target.has_ring()
  local pipe <close> = assert(io.popen("build/bench/getppid"))
  bench.call_ns = pipe:read("n")
  bench.dir = ("build/bench/run-%d-%d"):format(os.time(), math.random(99999))
  assert(lfs.mkdir(bench.dir))
  print(conditions(bench) .. "\n")
  local all = load_rows()
  for _, name in ipairs(wanted_rows(bench)) do
    if not all[name] then usage("no such row: " .. name) end
    run_row(bench, name, all[name])
  end
  print()
  report.write(bench.rows, bench.faults, function(...) io.stdout:write(...) end)
  if bench.json then
    local file <close> = assert(io.open(bench.json, "w"))
    file:write(cjson.encode({ rows = bench.rows, faults = bench.faults, quick = bench.quick or false }), "\n")
  end
  os.execute("rm -rf " .. bench.dir)
  return verdict(bench)
end

local ok, problem = xpcall(main, debug.traceback)
program.stop_all()
if not ok then io.stderr:write(tostring(problem), "\n") end
os.exit(ok and not problem and 0 or 1)
