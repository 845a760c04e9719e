--- One load of an app: its files, its environment, and what it registered.
-- While it loads nothing has an effect; what comes out is a list of names and functions
-- that the runtime dispatches to. In memory: at most two (the live one, and one that
-- retires while its last coroutines end).
local app = require("sluice.app")
local environment = require("sluice.environment")
local failure = require("sluice.failure")
local process = require("sluice.process")

local generation = {}

---@class sluice.Generation
local Generation = {}
Generation.__index = Generation
Generation.__name = "sluice.Generation"

local TABLES = { "routes", "route_named", "route_shapes", "guards", "policies", "policy_shapes",
  "readers", "cors", "statics", "static_named", "hooks", "transforms", "event_types", "typed",
  "timers", "timer_named", "timer_counts", "tasks", "services", "states", "checks", "warnings",
  "files", "modules", "requiring", "how" }

--- An empty generation in the phase "load".
-- @tparam integer id
-- @tparam string path the app's file
-- @treturn sluice.Generation
function generation.new(id, path)
  local self = { id = id, path = path, root = path:match("^(.*)/[^/]*$") or ".", phase = "load",
    how_count = 0 }
  for _, name in ipairs(TABLES) do self[name] = {} end
  setmetatable(self, Generation)
  self.app = app.new(self)
  return self
end

local function run_chunk(self, text)
  local chunk, message = load(text, "@" .. self.path, "t", environment.new(self))
  if not chunk then error(message, 0) end
  self.files[#self.files + 1] = self.path
  local result = chunk(self.path)
  if result ~= self.app then
    local got = type(result) == "table" and "another table" or tostring(result)
    error(("%s: the script must end with 'return app' (it returned %s)"):format(self.path, got), 0)
  end
end

--- Load an app's file off to the side.
-- @tparam integer id
-- @tparam string path
-- @tparam[opt] string text the file's text, when it is known already
-- @treturn sluice.Generation|nil
-- @treturn sluice.Failure why not: `phase`, `message`, `traceback`
function generation.load(id, path, text)
  text = text or environment.read(path)
  if not text then
    local problem = failure.catch(("%s: there is no such file"):format(path))
    problem.phase, problem.traceback = "load", nil
    return nil, problem
  end
  local self = generation.new(id, path)
  local before = process.loading
  process.loading = self
  local ok, problem = xpcall(run_chunk, failure.catch, self, text)
  process.loading = before
  if not ok then
    problem.phase = "load"
    return nil, problem
  end
  return self
end

--- Run the app's own checks; effects are still refused.
-- @treturn boolean|nil true, or nil and the failure
function Generation:check()
  local before = process.loading
  process.loading = self
  for _, fn in ipairs(self.checks) do
    local ok, problem = xpcall(fn, failure.catch)
    if not ok then
      process.loading = before
      problem.phase = "check"
      return nil, problem
    end
  end
  process.loading = before
  return true
end

return generation
