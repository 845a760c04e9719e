--- The glue: owns the core's server, receives what its loop calls, and maps it to the
-- generation that is current. Names and plain data live here and outlive generations.
-- In memory: per stream one small table, only when there is a user or meta;
-- states, pending tasks and idempotency keys.
local callbacks = require("sluice.callbacks")
local core = require("sluice.core")
local failure = require("sluice.failure")
local files = require("sluice.files")
local hooks = require("sluice.hooks")
local idempotency = require("sluice.idempotency")
local process = require("sluice.process")
local routes = require("sluice.routes")
local scheduler = require("sluice.scheduler")
local services = require("sluice.services")
local state = require("sluice.state")
local tasks = require("sluice.tasks")
local timers = require("sluice.timers")

local runtime = {}

---@class sluice.Runtime
local Runtime = {}
Runtime.__index = Runtime
Runtime.__name = "sluice.Runtime"

--- Make a runtime around a server of the core.
-- @param server
-- @treturn sluice.Runtime
function runtime.new(server)
  local self = setmetatable({ server = server, generation = nil, ids = {}, names = {}, clients = {},
    writers = {}, writable = {}, opening = {}, published = {}, states = {},
    ended = false }, Runtime)
  self.scheduler = scheduler.new(core.now, function(fiber, problem) self:report(fiber, problem) end)
  self.timers, self.tasks, self.services = timers.new(self), tasks.new(self), services.new(self)
  self.idempotency = idempotency.new(core.now)
  server:on(function(kind, ...) self:dispatch(kind, ...) end)
  process.runtime = self
  return self
end

--- Log an error of a fiber, once, and tell the "error" hooks.
-- @tparam table|nil fiber
-- @tparam sluice.Failure problem
-- @tparam[opt] string name what failed, when that is not the fiber itself
function Runtime:report(fiber, problem, name)
  name = name or fiber and fiber.name or "callback"
  local generation = fiber and fiber.generation or self.generation
  core.log("error", name .. ": " .. problem.message,
    failure.fields(problem, { generation = generation and generation.id }))
  if self.generation and not (fiber and fiber.in_error_hook) then
    for _, hook in ipairs(self.generation.hooks.error or {}) do
      local started = self.scheduler:queue(self.generation, "hook", "error hook (" .. hook.where
        .. ")", nil, hook.fn,
        { message = problem.message, traceback = problem.traceback, where = name,
          generation = generation and generation.id })
      started.in_error_hook = true
    end
  end
end

-- One number per route name, the same in all generations.
local function id_of(self, name)
  if not self.ids[name] then
    self.ids[name] = #self.names + 1
    self.names[#self.names + 1] = name
  end
  return self.ids[name]
end

local function snapshot(self, generation)
  local function number(name) return id_of(self, name) end
  local list = routes.for_core(generation, number)
  files.for_core(generation, number, list)
  return { routes = list, policies = generation.policies, cors = generation.cors }
end

--- Everything that can fail before a generation goes live; changes nothing.
-- @tparam sluice.Generation generation
-- @treturn table|nil prepared, for Runtime:swap
-- @treturn sluice.Failure
function Runtime:prepare(generation)
  local ok, problem = generation:check()
  if not ok then return nil, problem end
  local prepared = { generation = generation }
  ok, problem = xpcall(function()
    prepared.states = state.prepare(self.states, generation)
    prepared.snapshot = snapshot(self, generation)
  end, failure.catch)
  if not ok then
    problem.phase = "migrate"
    return nil, problem
  end
  return prepared
end

--- Make a prepared generation the current one.
-- @treturn boolean|nil true, or nil, message (the core refused the routes)
function Runtime:swap(prepared)
  local generation = prepared.generation
  local ok, message, code = self.server:configure(prepared.snapshot)
  if not ok then return nil, message, code end
  for name, row in pairs(prepared.states) do self.states[name] = row end
  generation.runtime, generation.server = self, self.server
  if self.generation then self.generation.phase = "retiring" end
  self.generation = generation
  generation.phase = "live"
  for _, warning in ipairs(generation.warnings) do core.log("warn", warning) end
  return true
end

--- Start what the current generation runs by itself.
function Runtime:go()
  process.runtime = self
  self.timers:adopt(self.generation)
  self.tasks:adopt(self.generation)
  self.services:adopt(self.generation)
  hooks.fire(self, "start")
  self:turn()
end

--- Remember what hooks will ask of a client. (Its parameters follow from its path.)
function Runtime:remember(id, user, meta)
  if meta ~= nil and next(meta) == nil then meta = nil end
  if user == nil and meta == nil then return end
  self.clients[id] = { user = user, meta = meta }
end

-- The stream route whose pattern matches a client's path.
local function route_of(self, client)
  local path = client.path
  if not path then return nil end
  for _, route in ipairs(self.generation.sorted_routes) do
    local params = route.kind == "stream" and core.match(route.pattern, path)
    if params then return route, params end
  end
end

--- The path parameters of a stream.
function Runtime:path_params(client)
  local _, params = route_of(self, client)
  return params
end

--- The constant meta of a stream that the core opened without Lua.
function Runtime:constant_meta(client)
  local route = route_of(self, client)
  return route and route.checked and route.checked.meta
end

--- Wait until a client's private buffer has room.
-- @treturn boolean false when the client has gone, or nobody can wait here
function Runtime:wait_writable(id)
  local list = self.writable[id] or {}
  self.writable[id] = list
  list[#list + 1] = self.scheduler.current
  return self.scheduler:wait("client:send()") == true
end

--- Start what is queued and tell the core when to call again.
function Runtime:turn()
  local at = self.scheduler:turn()
  if at ~= self.armed then
    self.armed = at
    self.server:wake(at)
  end
end

--- What the core's loop calls.
-- @tparam string kind
function Runtime:dispatch(kind, ...)
  process.runtime = self
  local act = callbacks[kind]
  if act then act(self, ...) end
  self:turn()
end

--- End every coroutine; their `<close>` variables run.
function Runtime:close()
  self.ended = true
  self.timers:stop()
  self.services:stop()
  self.scheduler:cancel_all()
  if self.generation then self.generation.phase = "retired" end
end

--- The number of routes, for the first log line.
function Runtime:describe()
  local streams_n = 0
  for _, route in ipairs(self.generation.routes) do
    if route.kind == "stream" then streams_n = streams_n + 1 end
  end
  return #self.generation.routes, streams_n
end

return runtime
