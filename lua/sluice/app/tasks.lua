--- app:task, app:after, app:at, app:cancel: later work as a name and plain data.
-- What is pending belongs to the runtime; the function that runs is the one that the
-- current generation defines under that name. In memory: one row per pending task.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")

local tasks = {}

---@class sluice.Tasks
local Tasks = {}
Tasks.__index = Tasks

local AFTER = { id = options.STRING, durable = options.LATER }
local PENDING_MAX = 100000 -- more are refused: EFULL
local SECONDS_MAX = 366 * 86400 * 10
local PARKED_SECONDS = 24 * 3600 -- how long a task waits for a generation that defines it

--- Register: app:task.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam table|function opts { restart = false }
-- @tparam[opt] function fn
function tasks.register(generation, name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(name) ~= "string" or name == "" then
    caller.raise("app:task(name, fn): the name is a string")
  end
  if type(fn) ~= "function" then caller.raise("app:task(%q, fn): fn is missing", name) end
  if generation.tasks[name] then
    caller.raise("task '%s' is defined twice (%s)", name, generation.tasks[name].where)
  end
  local o = options(("task '%s'"):format(name), opts, { restart = false })
  generation.tasks[name] = { name = name, fn = fn, restart = o.restart,
    where = caller.where() }
end

--- The tasks of a runtime.
function tasks.new(runtime)
  return setmetatable({ runtime = runtime, pending = {}, count = 0, parked = {} }, Tasks)
end

local function forget(self, row)
  if self.pending[row.id] ~= row then return false end
  self.pending[row.id] = nil
  self.count = self.count - 1
  self.parked[row] = nil
  self.runtime.scheduler:drop(row.entry)
  return true
end

local function park(self, row)
  self.parked[row] = true
  core.log("warn",
    ("task '%s' is due and this generation does not define it: kept for 24 h"):format(row.task))
  row.entry = self.runtime.scheduler:at(self.runtime.scheduler.now() + PARKED_SECONDS, function()
    core.log("warn", ("task '%s' was dropped: no generation defined it for 24 h"):format(row.task))
    forget(self, row)
  end)
end

local run

local function add(self, row, seconds)
  row.entry = self.runtime.scheduler:at(self.runtime.scheduler.now() + seconds,
    function() run(self, row) end)
  self.pending[row.id] = row
  self.count = self.count + 1
end

-- A task with restart that a reload closed begins anew in the new code, with the same data.
local function again(self, row, generation)
  local runtime = self.runtime
  if runtime.ended or generation.phase ~= "retiring" then return end
  if self.pending[row.id] then row.id = core.id() end
  add(self, row, 0)
end

function run(self, row)
  local runtime = self.runtime
  local generation = runtime.generation
  local task = generation.tasks[row.task]
  if not task then return park(self, row) end
  forget(self, row)
  local function on_end(ok)
    if ok == nil and task.restart then again(self, row, generation) end
  end
  local fiber = runtime.scheduler:queue(generation, "task",
    ("task %s (%s)"):format(task.name, task.where), on_end,
    task.fn, plain.copy(row.data))
  fiber.restart = task.restart and row or nil
end

local function check(generation, name, seconds, task, data)
  if type(task) ~= "string" then
    caller.raise("app:%s: the second argument is the name of an app:task(); a function would "
      .. "not survive a reload",
      name == "after" and 'after(seconds, "task", data)' or 'at(time, "task", data)')
  end
  if type(seconds) ~= "number" or seconds ~= seconds or seconds > SECONDS_MAX then
    caller.raise("app:%s: the first argument is a number of seconds", name)
  end
  if not generation.tasks[task] then
    caller.raise('there is no app:task("%s")', task)
  end
  local fault = plain.fault(data, "data")
  if fault then
    caller.raise("app:%s(…, %q): %s: only plain data survives a reload", name, task, fault)
  end
end

--- Run a task later.
-- @tparam string name "after" or "at", for messages
-- @tparam number seconds from now
-- @tparam string task
-- @param data
-- @tparam table|nil opts { id = string }
-- @tparam sluice.Generation generation whose code asks
-- @treturn string|nil the id, or nil, message, code
function Tasks:add(name, seconds, task, data, opts, generation)
  check(generation, name, seconds, task, data)
  local o = options("app:" .. name .. "()", opts, AFTER)
  if o.durable then channels.later("app:" .. name .. "()", "durable") end
  if o.id and self.pending[o.id] then forget(self, self.pending[o.id]) end
  if self.count >= PENDING_MAX then
    return nil, ("%d tasks are pending already"):format(PENDING_MAX), "EFULL"
  end
  local row = { id = o.id or core.id(), task = task, data = plain.copy(data) }
  add(self, row, math.max(0, seconds))
  return row.id
end

--- Forget a pending task.
-- @tparam string id
-- @treturn boolean whether there was one
function Tasks:cancel(id)
  local row = self.pending[id]
  return row ~= nil and forget(self, row)
end

--- What is pending and a generation does not define: sentences for the log.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function Tasks:orphans(generation)
  local counts, list = {}, {}
  for _, row in pairs(self.pending) do
    if not generation.tasks[row.task] then counts[row.task] = (counts[row.task] or 0) + 1 end
  end
  for name, n in pairs(counts) do
    list[#list + 1] = ("task '%s' is pending (%d) and no longer defined: kept for 24 h after it "
      .. "is due, or until it is defined again"):format(name, n)
  end
  table.sort(list)
  return list
end

--- Take over a new generation: parked tasks that it defines run now.
function Tasks:adopt(generation)
  for row in pairs(self.parked) do
    if generation.tasks[row.task] then
      self.parked[row] = nil
      self.runtime.scheduler:drop(row.entry)
      row.entry = self.runtime.scheduler:at(self.runtime.scheduler.now(),
        function() run(self, row) end)
    end
  end
end

return tasks
