--- The end of a generation: its coroutines finish on the old code, up to 5 s, then they are
-- closed with their `<close>` variables run, and calls from its closures raise. Two
-- generations at most: while one retires, the next reload waits. In memory: a weak table for
-- each generation that is not yet collected, which shows when something outside holds one.
local core = require("sluice.core")

local retirement = {}

---@class sluice.Retirement
local Retirement = {}
Retirement.__index = Retirement

local RETIRE_SECONDS = 5
local NAMED_MAX = 5 -- coroutines that the log names
local CYCLES = 2 -- full collections after which what is left is held from outside

-- Count full collections: an unreferenced object is finalized once in each.
local function count_cycles(ref)
  setmetatable({}, { __gc = function()
    local self = ref[1]
    if not self or self.runtime.ended then return end
    self.cycles = self.cycles + 1
    count_cycles(ref)
  end })
end

--- Make one.
function retirement.new(runtime)
  local self = setmetatable({ runtime = runtime, old = nil, watched = {}, cycles = 0 }, Retirement)
  runtime.scheduler.idle = function(generation) self:finish(generation) end
  count_cycles(setmetatable({ self }, { __mode = "v" }))
  return self
end

--- Watch what a generation is made of: its functions too, since one that uses no global
-- holds no environment.
function Retirement:add(generation)
  local held, own = setmetatable({}, { __mode = "k" }), {}
  held[generation] = true
  if generation.environment then held[generation.environment] = true end
  for _, path in ipairs(generation.files) do
    own[path], own[(path:gsub("^%./", ""))] = true, true
  end
  for _, fn in ipairs(generation:functions()) do
    if own[debug.getinfo(fn, "S").source:sub(2)] then held[fn] = true end
  end
  self.watched[generation.id] = { held = held, retired = nil, reported = false }
end

--- How many generations run: the current one, and one whose coroutines, those that write streams
-- among them, have not ended. What has ended is not counted, whether the collector came by or not.
function Retirement:alive()
  return self.old and 2 or 1
end

--- How many generations are in memory, those too that wait for the collector. Others are watched no
-- more.
function Retirement:held()
  local n = 0
  for id, row in pairs(self.watched) do
    if next(row.held) then n = n + 1 else self.watched[id] = nil end
  end
  return n
end

local function report_leaks(self)
  self:held()
  for id, row in pairs(self.watched) do
    if row.retired and self.cycles >= row.retired + CYCLES and not row.reported then
      row.reported = true
      core.log("warn", ("generation %d is retired and still in memory: a function of it is kept "
        .. "somewhere outside of the app, such as in a table of a rock"):format(id))
    end
  end
end

-- The coroutines that have not ended, for the log.
local function names_of(self, generation)
  local list = {}
  for fiber in pairs(self.runtime.scheduler.fibers) do
    if fiber.generation == generation then list[#list + 1] = fiber.name end
  end
  table.sort(list)
  local more = #list - NAMED_MAX
  return table.concat(list, ", ", 1, math.min(#list, NAMED_MAX))
    .. (more > 0 and (" and %d more"):format(more) or "")
end

--- A generation is no longer the current one.
function Retirement:begin(generation)
  local scheduler = self.runtime.scheduler
  generation.phase, self.old = "retiring", generation
  report_leaks(self)
  if generation.running == 0 then return self:finish(generation) end
  self.deadline = scheduler:at(scheduler.now() + RETIRE_SECONDS, function()
    core.log("info", ("generation %d: closed after %d s: %s"):format(generation.id, RETIRE_SECONDS,
      names_of(self, generation)))
    scheduler:cancel_all(function(fiber) return fiber.generation == generation end)
  end)
end

--- What the retiring generation still runs, or nil when none retires.
function Retirement:waits_for()
  if not self.old then return nil end
  return ("generation %d to end (%s)"):format(self.old.id, names_of(self, self.old))
end

--- The last coroutine of a generation has ended.
function Retirement:finish(generation)
  if generation ~= self.old then return end
  if self.deadline then self.runtime.scheduler:drop(self.deadline) end
  self.old, self.deadline = nil, nil
  generation.phase = "retired"
  for database in pairs(generation.databases or {}) do database:close() end
  local row = self.watched[generation.id]
  if row then row.retired = self.cycles end
  if self.runtime.reloader then self.runtime.reloader:kick() end
end

return retirement
