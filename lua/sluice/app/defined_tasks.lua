--- Tasks of a generation by name: app:task defines one, and whoever asks for a run of one names it.
-- Keeps nothing in memory.
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")

local defined_tasks = {}

--- Register: app:task.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam table|function opts { restart = false }
-- @tparam[opt] function fn
function defined_tasks.register(generation, name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(name) ~= "string" or name == "" then
    caller.raise("app:task(name, fn): the name is a string")
  end
  if type(fn) ~= "function" then caller.raise("app:task(%q, fn): fn is missing", name) end
  if generation.tasks[name] then
    caller.raise_taken(("task '%s' is defined twice"):format(name), generation.tasks[name].where)
  end
  local o = options(("task '%s'"):format(name), opts, { restart = false })
  generation.tasks[name] = { name = name, fn = fn, restart = o.restart,
    where = caller.where() }
end

--- Raise unless somebody asks for a task as it has to be.
-- @tparam sluice.Generation generation
-- @tparam string name "after" or "at", for messages
function defined_tasks.check(generation, name, seconds, task, data)
  if type(task) ~= "string" then
    caller.raise("app:%s: the second argument is the name of an app:task(); a function would "
      .. "not survive a reload",
      name == "after" and 'after(seconds, "task", data)' or 'at(time, "task", data)')
  end
  if type(seconds) ~= "number" or seconds ~= seconds then
    caller.raise("app:%s: the first argument is a number of seconds", name)
  end
  if not generation.tasks[task] then caller.raise('there is no app:task("%s")', task) end
  local fault = plain.fault(data, "data")
  if not fault then return end
  caller.raise("app:%s(…, %q): %s: only plain data survives a reload", name, task, fault)
end

return defined_tasks
