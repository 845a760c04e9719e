--- Which spec files run beside each other, which alone, and which a second time; for spec/run.lua.
---
---   plan.jobs(files, asked, full) -> { beside = { job, … }, alone = { job, … } }
--- A job is a process: { files = { path, … }, threads = "1" | "2", waits = true | nil }. What a file is
--- follows from the lists below and from what it requires. $SLUICE_IO_THREADS (`asked`) makes it one run
--- with so many threads.
local plan = {}

local function set(names)
  local out = {}
  for name in names:gmatch("%S+") do out["spec/" .. name .. "_spec.lua"] = true end
  return out
end

-- What they are about has nothing to do with the number of I/O threads: it is the script's thread,
-- the process, a parser, a proxy, or one connection and the clock.
local ONCE = set [[ e2e/store_faults e2e/bytes e2e/descriptors e2e/heartbeat e2e/late e2e/nginx
  e2e/slow e2e/storm e2e/stuck e2e/client e2e/http_out e2e/memory e2e/runaway e2e/stall
  kit/sockets unit/environment wire/http_connection wire/http_cors wire/http_fields wire/http_head
  wire/http_slow wire/http_vectors ]]

-- They measure time, or load the machine so that others could not.
local ALONE = set [[ bench/bench e2e/batching e2e/descriptors e2e/drain e2e/heartbeat e2e/late e2e/memory
  e2e/nginx e2e/reload_full e2e/runaway e2e/slow e2e/stall e2e/storm e2e/stuck
  unit/log wire/front wire/http_connection wire/http_slow ]]

-- A process of their own: they collect the whole Lua heap again and again, or take long; these begin first.
local OWN = set [[ kills/planted kills/kills e2e/store_faults property/planted property/cursor repo/rockspec repo/build
  unit/memory unit/log ]]

-- A second time with publishes that wait: what stands on the public API alone. Random worlds that draw by
-- themselves whether they wait need none.
local WAITS = set [[ kit/alerts kit/changes kit/changes_source kit/demo kit/examples kit/hub
  kit/inbox kit/rooms kit/rooms_random ]]

local CHUNK = 6 -- files in a process: what is left of one slows every collection of the next

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

-- The files of a folder share a browser.
local function is_alone(path)
  return ALONE[path] or path:find("^spec/browser/") ~= nil
end

-- Whether it runs once more with publishes that wait. All of spec/kit may: no time passes.
local function runs_with_waits(path, full)
  if not path:find("^spec/kit/") or not (full or WAITS[path]) then return false end
  return text_of(path):find("spec%.support%.kit") ~= nil
end

local function add(jobs, path, threads, waits)
  local folder = path:match("^(.*)/") or "."
  local place = folder .. threads .. (waits and " waits" or "")
  local last = not OWN[path] and jobs.open[place]
  if last and (#last.files < CHUNK or folder == "spec/browser") then
    table.insert(last.files, path)
    return
  end
  local job = { files = { path }, threads = threads, waits = waits }
  if OWN[path] then
    jobs.first = jobs.first + 1
    table.insert(jobs, jobs.first, job)
  else
    jobs.open[place] = job
    table.insert(jobs, job)
  end
end

--- Put the files into processes.
function plan.jobs(files, asked, full)
  local out = { beside = { open = {}, first = 0 }, alone = { open = {}, first = 0 } }
  for _, threads in ipairs(asked and { asked } or { "1", "2" }) do
    for _, path in ipairs(files) do
      if threads == "1" or asked or runs_twice(path, full) then
        add(is_alone(path) and out.alone or out.beside, path, threads)
      end
    end
  end
  for _, path in ipairs(files) do
    if runs_with_waits(path, full) then add(out.beside, path, asked or "1", true) end
  end
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
local INSTALLED = { browser = true, proxies = true, exim = true }

--- What a file needs and this machine lacks: a name, or nil.
function plan.missing(path)
  local text = text_of(path)
  for name in text:gmatch('require%("spec%.support%.(%l+)"%)') do
    local module = INSTALLED[name] and require("spec.support." .. name)
    if module and not module.installed() then return module.NAME end
  end
end

return plan
