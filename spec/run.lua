--- Runs the specs with busted under the Lua that runs this file:
---   lua5.4 spec/run.lua [busted options] [files or folders]
---
--- Files that measure nothing run $SLUICE_SPEC_JOBS processes at a time (one more than there are
--- processors, six at most: many wait), then as many of those that measure time and mostly wait, then what
--- loads the machine, alone; see spec/support/plan.lua. Those that start a server (they require
--- spec.support.server or live) run a second time with two I/O threads, with exceptions: these send through
--- a ring of io_uring where there is one, with one thread they use send(); with the full size and under a
--- sanitizer each does both. With $SLUICE_IO_THREADS set there is one run, with that many threads, and with
--- $SLUICE_IO_URING (auto, on or off) as that says. Apps of spec/kit that use the public
--- API alone run once more with publishes that wait, with $SLUICE_SPEC_FULL all of spec/kit. Some of spec/wire
--- runs once more over TLS and over HTTP/2, with $SLUICE_SPEC_FULL more of it.
--- $SLUICE_SPEC_FULL (set by `make test-full`) is the full size of everything. $SLUICE_BUILD names the
--- flavour (build/plain); what is missing of that one is built first, as for `luarocks test` in a clean checkout.
--- A file that failed and runs real programs runs once more, alone: what a busy machine did is printed as
--- `unsteady: file` and is no failure; with the full size there is no second run.
--- A file whose browser or proxy is missing is printed as `skipped: name`. The last line sums all
--- up, and no passed test at all is a failure. `--times` lists all files, the slowest last, with the
--- seconds and processor seconds of each. Under a sanitizer ($SLUICE_PRELOAD, set by `make asan` and
--- `make tsan`) the specs about the repository are left out: they run plain programs.

local root = arg[0]:match("^(.*)/spec/run%.lua$") or (arg[0] == "run.lua" and "..") or "."
local lfs = require("lfs")
assert(lfs.chdir(root))

local BUILD = os.getenv("SLUICE_BUILD") or "build/plain"
package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./" .. BUILD .. "/?.so;" .. package.cpath
package.cpath = package.cpath:gsub("^%./(/)", "%1")
local plan = require("spec.support.plan")

-- What a file has to say is written at once: others write beside it.
local function busted_pass()
  io.stdout:setvbuf("full", 65536)
  local busted_args = { "-f", ".busted", table.unpack(arg) }
  busted_args[0] = "spec/run.lua"
  arg = busted_args -- luacheck: ignore (busted.runner reads the global)
  require("busted.runner")({ standalone = false })
end

local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function collect(path, found)
  local mode = lfs.attributes(path, "mode")
  if mode == "file" then
    found[#found + 1] = path
  elseif mode == "directory" and not (path == "spec/repo" and os.getenv("SLUICE_PRELOAD")) then
    local names = {}
    for name in lfs.dir(path) do
      local wanted = lfs.attributes(path .. "/" .. name, "mode") == "directory" or name:find("_spec%.lua$")
      if wanted and name:sub(1, 1) ~= "." then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do collect(path .. "/" .. name, found) end
  end
  return found
end

--- What is named and is no spec must not stand for all of them.
local function refuse(path)
  local why = not lfs.attributes(path, "mode") and "there is no such file or folder"
    or os.getenv("SLUICE_PRELOAD") and "it is left out under a sanitizer" or "it holds no specs"
  io.stderr:write(("spec/run.lua: '%s': %s (values of options are written --filter=x)\n"):format(path, why))
  os.exit(2, true)
end

--- The files and the options that were asked for; options take no separate value here, say
--- --filter=x.
local function split_arguments()
  local files, options, times = {}, {}, false
  for _, a in ipairs(arg) do
    if a == "--times" then
      times = true
    elseif a:sub(1, 1) == "-" then
      options[#options + 1] = a
    else
      local before = #files
      collect(a:gsub("(.)/+$", "%1"), files)
      if #files == before then refuse(a) end
    end
  end
  if #files == 0 then collect("spec", files) end
  return files, options, times
end

-- The files whose browser or proxy is there; the others are said.
local function installed(files, totals)
  local list = {}
  for _, path in ipairs(files) do
    local name = plan.missing(path)
    if name then
      io.write(("skipped: %s (%s)\n"):format(name, path))
      totals.skipped = totals.skipped + 1
    else
      list[#list + 1] = path
    end
  end
  return list
end

-- The job's command line as a file, whose counts and exit code come to files beside it.
local function write_job(job, path, options)
  job.path = path
  local loader = lfs.currentdir() .. "/.ci/lua" -- it loads the sanitizer
  local interpreter = os.getenv("SLUICE_PRELOAD") and loader or arg[-1]
  local words = { "SLUICE_SPEC_PASS=1", "SLUICE_IO_THREADS=" .. job.threads,
    "SLUICE_IO_URING=" .. (os.getenv("SLUICE_IO_URING") or job.ring),
    "SLUICE_SPEC_WAITS=" .. (job.waits and "1" or ""), "SLUICE_SPEC_TLS=" .. (job.tls or ""),
    "SLUICE_SPEC_COUNTS=" .. path .. ".counts", "SLUICE_LUA=" .. shell_quote(interpreter),
    shell_quote(interpreter), "spec/run.lua" }
  for _, list in ipairs { options, job.files } do
    for _, word in ipairs(list) do words[#words + 1] = shell_quote(word) end
  end
  local file <close> = assert(io.open(path, "w"))
  file:write(table.concat(words, " "), "; echo $? >", path, ".rc\n")
end

local function read_numbers(path, n)
  local file <close> = io.open(path)
  local formats = {}
  for i = 1, n do formats[i] = "n" end
  if file then return file:read(table.unpack(formats)) end
end

local function files_of(job, list)
  local file <close> = io.open(job.path .. ".counts")
  if not file then return end
  for seconds, cpu, failed, name in file:read("a"):gmatch("\n([%d.]+) ([%d.]+) (%d+) ([^\n]+)") do
    list[#list + 1] = { name = name, seconds = tonumber(seconds), cpu = tonumber(cpu), failed = tonumber(failed),
      threads = job.threads, ring = job.ring, waits = job.waits, tls = job.tls }
  end
end

local function sum_up(job, totals)
  local passed, failed, skipped = read_numbers(job.path .. ".counts", 3)
  local code = read_numbers(job.path .. ".rc", 1)
  if not skipped then
    io.write(("  ERROR the run ended early (%s): %s\n"):format(code or "killed", table.concat(job.files, " ")))
    passed, failed, skipped = 0, 1, 0
  elseif code ~= 0 and failed == 0 then
    io.write(("  ERROR the run passed but its process failed (%s): %s\n"):format(code or "killed",
      table.concat(job.files, " ")))
    failed = 1
  end
  files_of(job, totals.files)
  totals.passed, totals.failed = totals.passed + passed, totals.failed + failed
  totals.skipped = totals.skipped + skipped
end

local function processors()
  local pipe <close> = io.popen("nproc 2>/dev/null")
  return math.tointeger(pipe:read("n")) or 1
end

-- `side` jobs at a time.
local function run_jobs(jobs, side, options, totals)
  if #jobs == 0 then return end
  local folder = os.tmpname()
  os.remove(folder)
  assert(lfs.mkdir(folder))
  local list <close> = assert(io.open(folder .. "/list", "w"))
  local n = 0
  for i, job in ipairs(jobs) do
    n = n + #job.files
    write_job(job, folder .. "/" .. i, options)
    list:write(folder, "/", i, "\n")
  end
  list:close()
  side = math.min(side, #jobs)
  io.write(side > 1 and ("== %d files, %d at a time\n"):format(n, side) or ("== %d files\n"):format(n))
  io.flush()
  os.execute(("xargs -n 1 -P %d sh <%s/list"):format(side, folder))
  for _, job in ipairs(jobs) do sum_up(job, totals) end
  os.execute("rm -rf " .. folder)
end

local AGAIN_MAX = 4 -- more is no accident

--- Run what failed on real programs once more, alone; what passes then is no failure, but printed.
local function run_again(options, totals)
  local rows = {}
  for _, row in ipairs(totals.files) do
    if row.failed > 0 and plan.runs_programs(row.name) then rows[#rows + 1] = row end
  end
  if #rows > AGAIN_MAX then return end
  for _, row in ipairs(rows) do
    local second = { passed = 0, failed = 0, skipped = 0, files = {} }
    io.write("again, alone: ", row.name, "\n")
    local job = { files = { row.name }, threads = row.threads, ring = row.ring, tls = row.tls }
    run_jobs({ job }, 1, options, second)
    if second.failed == 0 and second.passed >= row.failed then
      totals.failed, totals.passed = totals.failed - row.failed, totals.passed + row.failed
      io.write(("unsteady: %s failed %d and passed alone\n"):format(row.name, row.failed))
    end
  end
end

local function show_times(files)
  table.sort(files, function(a, b) return a.seconds < b.seconds end)
  local seconds, cpu = 0, 0
  for _, file in ipairs(files) do
    seconds, cpu = seconds + file.seconds, cpu + file.cpu
    io.write(("%8.2f s %8.2f s of a processor  %s%s%s\n"):format(file.seconds, file.cpu, file.name,
      file.threads .. file.ring == "1off" and "" or ("  I/O threads: %s, ring: %s"):format(file.threads, file.ring),
      file.waits and "  publishes wait" or file.tls and (file.tls == "h2" and "  over HTTP/2" or "  over TLS") or ""))
  end
  io.write(("%8.2f s %8.2f s of a processor\n"):format(seconds, cpu))
end

local function show_slowest(files)
  table.sort(files, function(a, b) return a.seconds > b.seconds end)
  for i = 1, #files > 20 and 10 or 0 do
    io.write(i == 1 and "the slowest: " or ", ", ("%s %.0f s"):format(files[i].name, files[i].seconds),
      i == 10 and "\n" or "")
  end
end

-- Specs need what `make all` builds, and not what a rock is built of.
local function build()
  if lfs.attributes(BUILD .. "/sluice/core/testing.so") and lfs.attributes("build/bin/sluice") then return end
  if BUILD ~= "build/plain" then
    if lfs.attributes(BUILD .. "/sluice/core.so") then return end -- some specs need no more
    io.stderr:write(("spec/run.lua: there is nothing in %s: make all with its SAN= comes first\n"):format(BUILD))
    os.exit(2)
  end
  io.write("spec/run.lua: make all\n")
  if not os.execute("mkdir -p build && make all >build/make.log 2>&1") then
    io.stderr:write("spec/run.lua: make all failed: see build/make.log\n")
    os.exit(2)
  end
end

if os.getenv("SLUICE_SPEC_PASS") then
  busted_pass()
else
  build()
  local files, options, times = split_arguments()
  local totals = { passed = 0, failed = 0, skipped = 0, files = {} }
  local full = os.getenv("SLUICE_SPEC_FULL")
  local jobs = plan.jobs(installed(files, totals), os.getenv("SLUICE_IO_THREADS"), full,
    full or os.getenv("SLUICE_PRELOAD"))
  local side = tonumber(os.getenv("SLUICE_SPEC_JOBS")) or math.min(6, processors() + 1)
  run_jobs(jobs.beside, side, options, totals)
  run_jobs(jobs.timed, side, options, totals)
  run_jobs(jobs.alone, 1, options, totals)
  if not os.getenv("SLUICE_SPEC_FULL") then run_again(options, totals) end
  if times then show_times(totals.files) else show_slowest(totals.files) end
  local tail = totals.skipped > 0 and (", %d skipped"):format(totals.skipped) or ""
  io.write(("%d passed, %d failed%s\n"):format(totals.passed, totals.failed, tail))
  os.exit(totals.failed == 0 and totals.passed > 0, true)
end
