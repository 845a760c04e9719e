--- Which spec files run beside each other, which alone, and which a second time; for spec/run.lua.
---
---   plan.jobs(files, asked, full, rings) -> { beside = { job, … }, timed = { job, … }, alone = { job, … } }
--- A job is a process: { files = { path, … }, threads = "1" | "2", ring = "auto" | "off", waits = true | nil,
--- tls = "1" | "h2" | nil }. What a file is follows from the lists below and from what it requires. One thread sends
--- with send(), two through a ring of io_uring where there is one; with `rings` each does both.
--- $SLUICE_IO_THREADS (`asked`) makes it one run with so many threads.
local plan = {}

local function set(names)
  local out = {}
  for name in names:gmatch("%S+") do out["spec/" .. name .. "_spec.lua"] = true end
  return out
end

-- What they are about has nothing to do with the number of I/O threads: it is the script's thread,
-- the process, a file, a parser, a proxy, or one connection and the clock.
local ONCE = set [[ e2e/bench_command e2e/bytes e2e/changes e2e/client e2e/demo e2e/descriptors e2e/doctor
  e2e/h2_tools e2e/heartbeat e2e/http_out e2e/jobs e2e/late e2e/mail e2e/mail_exim e2e/manager e2e/memory
  e2e/new e2e/nginx e2e/outbox e2e/postgres e2e/publish e2e/redis_stream
  e2e/record e2e/repl e2e/runaway e2e/runs e2e/slow e2e/sqlite
  e2e/stall e2e/store_command e2e/store_faults e2e/storm e2e/stuck e2e/system e2e/tail e2e/trust e2e/every_command
  kit/sockets unit/environment unit/routes_command wire/http_connection wire/http_cors wire/http_fields
  wire/http_head wire/http_slow wire/http_vectors wire/h2 wire/h2_requests wire/tls ]]

-- Once more over TLS, where server.lua and wire.lua make it so; with the full size more of them.
local OVER_TLS = set [[ wire/http_streams wire/http_pieces ]]
local OVER_TLS_FULL = set [[ wire/front ]]

-- ... and over HTTP/2, through spec/support/h2_wire.lua. (The others are about bytes of HTTP/1.1: what they ask of any
-- version is in wire/h2 and wire/h2_requests.)
local OVER_H2 = set [[ wire/http_streams ]]
local OVER_H2_FULL = set [[ wire/http_cors wire/http_polls wire/http_fields ]]

-- They measure time, and mostly wait: a few at a time, when all others are done.
local TIMED = set [[ e2e/batching e2e/descriptors e2e/drain e2e/heartbeat e2e/late e2e/manager e2e/memory e2e/nginx
  e2e/runaway e2e/slow e2e/stall e2e/stuck unit/log wire/front wire/http_connection wire/http_slow ]]

-- They load the machine so that others could not measure.
local ALONE = set [[ e2e/reload_full e2e/storm ]]

-- A process of their own: they collect the whole Lua heap again and again, or take long; these begin first.
local OWN = set [[ bench/bench property/planted wire/front_planted e2e/store_faults kills/planted kills/kills
  kills/restarts repo/units repo/package
  property/cursor repo/docs_programs repo/rockspec repo/build store/machine unit/memory unit/log
  e2e/client e2e/mail e2e/rooms ]]

-- A second time with publishes that wait: what stands on the public API alone. Random worlds that draw by
-- themselves whether they wait need none.
local WAITS = set [[ kit/alerts kit/changes kit/changes_source kit/demo kit/editor kit/examples kit/hub
  kit/inbox kit/rooms kit/rooms_random ]]

-- Files in a process: what is left of one slows every collection of the next. Those of spec/browser share a browser.
local CHUNK, BROWSER_CHUNK = 4, 9

-- What takes longest in one piece begins first, so that the last job to end is a short one.
local RANKS = { ["spec/browser"] = 1, ["spec/e2e"] = 3, ["spec/wire"] = 4 }

local function text_of(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function runs_twice(path, full)
  if path:find("spec/browser/") or path:find("spec/repo/") then return false end
  if ONCE[path] and not full then return false end
  local text = text_of(path)
  local starts = text:find("spec%.support%.server") or text:find("spec%.support%.live")
  return starts ~= nil and not text:find("spec%.support%.browser")
end

-- Whether it runs once more with publishes that wait. All of spec/kit may: no time passes.
local function runs_with_waits(path, full)
  if not path:find("^spec/kit/") or not (full or WAITS[path]) then return false end
  local text = text_of(path)
  return (text:find("kit%.start") or text:find("kit%.whole") or text:find("kit%.open")) ~= nil
end

-- Whether it runs once more over TLS: what asks a server through spec/support/wire.lua alone.
local function runs_over_tls(path, full)
  return OVER_TLS[path] or full and (OVER_TLS_FULL[path] or path:find("^spec/wire/http_") ~= nil)
end

local function add(jobs, path, threads, ring, how)
  local folder = path:match("^(.*)/") or "."
  local place = folder .. threads .. ring .. (how or "")
  local is_own = OWN[path] or TIMED[path] or ALONE[path]
  local last = not is_own and jobs.open[place]
  if last and #last.files < (folder == "spec/browser" and BROWSER_CHUNK or CHUNK) then
    table.insert(last.files, path)
    return
  end
  local job = { files = { path }, threads = threads, ring = ring, waits = how == "waits",
    tls = (how == "1" or how == "h2") and how or nil, nth = #jobs + 1, rank = is_own and 2 or RANKS[folder] or 5 }
  if not is_own then jobs.open[place] = job end
  table.insert(jobs, job)
end

-- Threads and ring of each run; the first one is of all files.
local function runs_of(asked, rings)
  if asked then return { { asked, asked == "1" and "off" or "auto" } } end
  if not rings then return { { "1", "off" }, { "2", "auto" } } end
  return { { "1", "off" }, { "1", "auto" }, { "2", "auto" }, { "2", "off" } }
end

--- Put the files into processes.
function plan.jobs(files, asked, full, rings)
  local out = { beside = { open = {} }, timed = { open = {} }, alone = { open = {} } }
  for i, run in ipairs(runs_of(asked, rings)) do
    for _, path in ipairs(files) do
      if i == 1 or runs_twice(path, full) then
        add(ALONE[path] and out.alone or TIMED[path] and out.timed or out.beside, path, run[1], run[2])
      end
    end
  end
  for _, path in ipairs(files) do
    if runs_with_waits(path, full) then add(out.beside, path, asked or "1", "off", "waits") end
    if runs_over_tls(path, full) then
      add(TIMED[path] and out.timed or out.beside, path, asked or "1", "off", "1")
    end
    if OVER_H2[path] or full and OVER_H2_FULL[path] then add(out.beside, path, asked or "1", "off", "h2") end
  end
  table.sort(out.beside, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.nth < b.nth
  end)
  return out
end

--- Whether a file starts programs, whose time is the machine's; the others fail by themselves alone.
function plan.runs_programs(path)
  local text = text_of(path)
  for _, name in ipairs { "server", "live", "browser", "process" } do
    if text:find("spec%.support%." .. name) then return true end
  end
  return false
end

-- What may be missing, by the name of what starts it.
local INSTALLED = { browser = true, firefox = true, proxies = true, exim = true }

--- What a file needs and this machine lacks: a name, or nil.
function plan.missing(path)
  local text = text_of(path)
  for name in text:gmatch('require%("spec%.support%.(%l+)"%)') do
    local module = INSTALLED[name] and require("spec.support." .. name)
    if module and not module.installed() then return module.NAME end
  end
end

return plan
