--- Waiting without sleeping blindly: ask again until the answer is yes or the time is up.
---
--- Seconds are those of a quiet machine: while programs wait for a processor, each lasts longer, by as
--- much as is measured (/proc/pressure/cpu says how long some program waited, /proc/loadavg how many
--- want to run). Under a sanitizer everything is slower, so every deadline is longer there.
---
---   local left = deadline.after(5)             left() -> seconds
---   local from = deadline.now()                deadline.since(from) -> seconds that it took
---   SECONDS * deadline.scale                   for a time that must be known beforehand
local socket = require("socket")

local deadline = {}

local BASE = tonumber(os.getenv("SLUICE_SPEC_SLOW")) or (os.getenv("SLUICE_PRELOAD") and 5 or 1)
local LOOK_SECONDS = 0.02 -- looked at no more often
local LONGEST = 8 -- a second lasts no longer, however busy the machine is
local PROBE_SECONDS = 0.03

local function read(path)
  local file <close> = io.open(path)
  return file and file:read("a") or ""
end

local function count_processors()
  local n = select(2, read("/proc/stat"):gsub("\ncpu%d+ ", ""))
  return math.max(n, 1)
end

local processors = count_processors()

-- How many programs want to run, for each processor; one of them asks.
local function wanted()
  return (tonumber(read("/proc/loadavg"):match(" (%d+)/")) or 1) / processors
end

-- Seconds in which some program waited for a processor; nil where the kernel does not count.
local function waited()
  local us = tonumber(read("/proc/pressure/cpu"):match("some [^\n]*total=(%d+)"))
  return us and us / 1e6
end

-- How long a second of a quiet machine lasted between two looks.
local function slowness(a, b)
  local crowd = math.max(1, a.wanted, b.wanted)
  if not (a.waited and b.waited) then return math.min(crowd, LONGEST) end
  local part = math.min(1, math.max(0, b.waited - a.waited) / math.max(b.at - a.at, 1e-4))
  return math.min(1 + part * crowd, LONGEST)
end

local last

-- What the machine was like just now, and the seconds of a quiet one up to here.
local function look()
  local now = socket.gettime()
  if last and now - last.at < LOOK_SECONDS then return last.quiet + (now - last.at), now, last end
  local here = { at = now, wanted = wanted(), waited = waited(), quiet = 0, slowness = 1 }
  if last then
    here.slowness = slowness(last, here)
    here.quiet = last.quiet + (now - last.at) / here.slowness
  end
  last = here
  return here.quiet, now, here
end

--- A point in time, for deadline.since.
function deadline.now()
  local quiet, at = look()
  return { quiet = quiet, at = at }
end

--- The seconds since a point in time: as on a quiet machine without a sanitizer, and those of the clock.
function deadline.since(from)
  local quiet, at = look()
  return math.max(0, quiet - from.quiet) / BASE, at - from.at
end

--- A function that says how many seconds are left (never below zero). Where a server was given times
--- by `scale`, seconds are no shorter than that, even when the machine has become quiet since.
function deadline.after(seconds)
  local from, least = deadline.now(), seconds * (rawget(deadline, "scale") or 1)
  return function()
    local quiet, clock = deadline.since(from)
    return math.max(0, least - clock, (seconds - quiet) * BASE * last.slowness)
  end
end

local function probe()
  local a = { at = socket.gettime(), wanted = wanted(), waited = waited() }
  while socket.gettime() - a.at < PROBE_SECONDS do end
  local b = { at = socket.gettime(), wanted = wanted(), waited = waited() }
  return BASE * slowness(a, b)
end

-- `scale` is measured when a file first asks for it, and stays: what is told a server must be the
-- same as what is expected of it.
setmetatable(deadline, { __index = function(self, name)
  if name ~= "scale" then return nil end
  self.scale = probe()
  return self.scale
end })

--- Raise this inside `fn` when waiting on is of no use.
function deadline.give_up(message)
  error(setmetatable({ message = message }, { __tostring = function(e) return e.message end }), 2)
end

--- Say that something was measured again, and why.
function deadline.print_retry(why)
  local at = debug.getinfo(3, "Sl")
  io.write(("retried: %s:%d: %s\n"):format(at.short_src, at.currentline, tostring(why)))
end

--- Call `fn` until it returns something true, and return that. An error in `fn` counts as
--- "not yet"; when the time is up the last one is raised, with `what` was waited for.
function deadline.eventually(fn, seconds, what)
  local left = deadline.after(seconds or 5)
  local pause = 0.001
  while true do
    local results = table.pack(pcall(fn))
    if results[1] and results[2] then return table.unpack(results, 2, results.n) end
    local gave_up = not results[1] and type(results[2]) == "table" and results[2].message
    if gave_up then error(gave_up, 2) end
    if left() == 0 then
      local last_one = tostring(results[2])
      error(("not within %g s: %s (last: %s)"):format(seconds or 5, what or "the condition", last_one), 2)
    end
    socket.sleep(math.min(pause, left()))
    pause = math.min(pause * 2, 0.02)
  end
end

return deadline
