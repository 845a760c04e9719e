--- One load of an app: its files, its environment, and what it registered.
-- While it loads nothing has an effect; the result is a list of names and functions that the
-- runtime dispatches to. In memory: at most two (the live one, and one that retires while its
-- last coroutines end).
local app = require("sluice.app")
local budget = require("sluice.base.budget")
local channels = require("sluice.app.channels")
local core = require("sluice.core")
local environment = require("sluice.live.environment")
local failure = require("sluice.base.failure")
local feed = require("sluice.app.feed")
local process = require("sluice.base.process")

local generation = {}

---@class sluice.Generation
local Generation = {}
Generation.__index = Generation
Generation.__name = "sluice.Generation"

local TABLES = { "routes", "route_named", "route_shapes", "guards", "policies", "policy_shapes",
  "readers", "cors", "statics", "static_named", "hooks", "slow_hooks", "transforms",
  "event_types", "typed", "timers", "timer_named", "timer_counts", "tasks", "services", "feeds",
  "states", "stores", "checks", "warnings", "files", "modules", "requiring", "missing", "sources",
  "how" }

local function folder_of(path) return path:match("^(.*)/[^/]*$") or "." end

-- The folder of the app's file when its path is a link: its modules may be there.
local function link_folder(self)
  local folder = self.entry and core.real_path(self.root)
  local target = self.entry and folder_of(self.entry)
  return folder ~= target and target or nil
end

--- An empty generation in the phase "load".
-- @tparam integer id
-- @tparam string path the app's file
-- @treturn sluice.Generation
function generation.new(id, path)
  local self = { id = id, path = path, root = folder_of(path), phase = "load", how_count = 0,
    running = 0 }
  self.entry = core.real_path(path)
  self.roots = { self.root, link_folder(self) }
  for _, name in ipairs(TABLES) do self[name] = {} end
  setmetatable(self, Generation)
  self.app = app.new(self)
  return self
end

local function run_chunk(self, text)
  self.environment = environment.new(self)
  local result = environment.compile(text, self.path, self.environment)(self.path)
  if result ~= self.app then
    local got = type(result) == "table" and "another table" or tostring(result)
    error(("%s: the script must end with 'return app' (it returned %s)"):format(self.path, got), 0)
  end
  channels.check_merged(self)
  feed.check_logs(self)
end

-- Run code of the app while nothing may have an effect; a failure names its phase.
local function off_side(self, phase, fn, ...)
  local before = process.loading
  process.loading = self
  local alive, ok, problem = budget.call(phase .. " of " .. self.path, failure.try, fn, ...)
  process.loading = before
  if not alive then
    local raised = ok
    ok, problem = false, failure.late(raised)
  end
  if ok then return true, problem end
  problem.phase = phase
  return nil, problem
end

--- Load an app's file off to the side.
-- @tparam integer id
-- @tparam string path
-- @tparam[opt] string text the file's text, when it is known already
-- @tparam[opt] table given the texts of all files by path: a revision that was kept
-- @treturn sluice.Generation|nil
-- @treturn sluice.Failure why not: `phase`, `message`, `traceback`
-- @treturn sluice.Generation what was loaded of it, for its list of files
function generation.load(id, path, text, given)
  local self = generation.new(id, path)
  self.given = given
  self.files[1] = path
  local why
  if not text then text, why = environment.read(self, path) end
  if not text then
    local problem = failure.late(("%s: %s"):format(path, why or "there is no such file"))
    problem.phase = "load"
    return nil, problem, self
  end
  local ok, problem = off_side(self, "load", run_chunk, self, text)
  self.given = nil -- what is required later comes from the disk
  if not ok then return nil, problem, self end
  return self, nil, self
end

--- Whether a path is that of the app's file.
function Generation:is_entry(path)
  return path == self.path or self.entry ~= nil and core.real_path(path) == self.entry
end

--- The functions that the app registered.
-- @treturn {function,...}
function Generation:functions()
  local list = {}
  local function add(fn) if type(fn) == "function" then list[#list + 1] = fn end end
  for _, route in ipairs(self.routes) do
    add(route.handler)
    add(route.plan)
    for _, guard_fn in ipairs(route.guards) do add(guard_fn) end
  end
  for _, guards in ipairs(self.guards) do
    for _, guard_fn in ipairs(guards) do add(guard_fn) end
  end
  for _, hooks in pairs(self.hooks) do
    for _, hook in ipairs(hooks) do add(hook.fn) end
  end
  for _, name in ipairs({ "timers", "tasks", "services", "transforms", "readers" }) do
    for _, row in pairs(self[name]) do add(row.fn) end
  end
  return list
end

--- Run the app's own checks; effects are still refused.
-- @treturn boolean|nil true, or nil and the failure
function Generation:check()
  return off_side(self, "check", function()
    for _, check in ipairs(self.checks) do
      local answer, message = check.fn()
      if answer == false or answer == nil and message ~= nil then
        error(("%s: the check says no%s"):format(check.where, message ~= nil and ": "
          .. tostring(message) or ""), 0)
      end
    end
  end)
end

--- Run a function of Sluice that may call the app's (a migration); effects are refused.
-- @tparam string phase for the failure
-- @tparam function fn
-- @treturn boolean|nil true and its result, or nil and the failure
function Generation:aside(phase, fn)
  return off_side(self, phase, fn)
end

return generation
