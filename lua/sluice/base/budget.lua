--- Runs app code under the core's budget: so much CPU between two suspension points, a cap on
-- the Lua heap, and coroutines that the core can see into. The core also logs, while it lasts,
-- what holds up the app.
-- Keeps nothing in memory but, per fiber, a weak list of the coroutines that it made.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local process = require("sluice.base.process")

local budget = { running = coroutine.running }

local CHILDREN_LEAST = 64

if caller.OWN then core.budget_own("@" .. caller.OWN) end

--- Whether the current run has used up its budget: then all of it ends, and code that catches
-- the errors of one part must not go on with the next part.
function budget.tripped()
  return core.tripped()
end

--- Called when only the end of the process is left: a finalizer that hangs delays it a little.
function budget.last()
  core.budget_last()
end

--- Close a coroutine: its `<close>` variables run under the budget.
function budget.close(co, name)
  core.budget_enter(name)
  local ok, problem = core.close(co)
  core.budget_leave()
  return ok, problem
end

--- Run a function of the app outside of a handler: a load, a check, a migration.
-- @tparam string name
-- @tparam function fn may not yield
-- @return as pcall: true and results, or false and what was raised
function budget.call(name, fn, ...)
  local co = coroutine.create(fn)
  local results = table.pack(core.run(name, co, ...))
  if coroutine.status(co) == "suspended" then
    budget.close(co, name)
    return false, "coroutine.yield() cannot be resumed here"
  end
  return table.unpack(results, 1, results.n)
end

-- ---- The app's own coroutines ----------------------------------------------------------

local function compact(list)
  local n = 0
  for i = 1, list.n do
    local co = list[i]
    list[i] = nil
    if co and coroutine.status(co) ~= "dead" then
      n = n + 1
      list[n] = co
    end
  end
  list.n, list.limit = n, math.max(CHILDREN_LEAST, 2 * n)
end

local function remember(co)
  local runtime = process.runtime
  local fiber = runtime and runtime.scheduler.current
  if not fiber then return co end
  local list = fiber.children
  if not list then
    list = setmetatable({ n = 0, limit = CHILDREN_LEAST }, { __mode = "v" })
    fiber.children = list
  end
  if list.n >= list.limit then compact(list) end
  list.n = list.n + 1
  list[list.n] = co
  return co
end

--- An error unwinds the stack of a fiber: keep what only that stack held, until it is closed.
-- @tparam table|nil fiber
function budget.hold_children(fiber)
  local list = fiber and fiber.children
  if not list then return end
  local held = { n = list.n }
  for i = 1, list.n do held[i] = list[i] end
  fiber.held = held
end

--- Close what a fiber's own coroutines hold, the newest first: nothing will resume them.
function budget.close_children(fiber)
  local list = fiber.held or fiber.children
  fiber.children, fiber.held = nil, nil
  for i = list and list.n or 0, 1, -1 do
    local co = list[i]
    if co and coroutine.status(co) == "suspended" then budget.close(co, fiber.name) end
  end
end

--- Whoever knows a coroutine may keep things by it, and must not find them in another fiber: also a
-- module of the host, which the app's environment does not reach.
function coroutine.running() -- luacheck: ignore 122
  local fiber = process.runtime and process.runtime.scheduler.current
  if fiber then fiber.is_known = true end
  return budget.running()
end

--- `xpcall` as an app sees it: its message handler is not called when the budget is used up,
-- since it would run where the core cannot stop it.
function budget.xpcall(fn, handler, ...)
  if type(handler) ~= "function" then return xpcall(fn, handler, ...) end
  return xpcall(fn, function(...)
    if budget.tripped() then return ... end
    return handler(...)
  end, ...)
end

--- The `coroutine` library as an app sees it.
-- @treturn table
function budget.library()
  local library = {}
  for name, value in pairs(coroutine) do library[name] = value end
  function library.create(fn) return remember(coroutine.create(fn)) end
  function library.wrap(fn)
    return core.wrap(remember(coroutine.create(fn)))
  end
  library.resume = core.resume
  library.close = core.close
  return library
end

return budget
