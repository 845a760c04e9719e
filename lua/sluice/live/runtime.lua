--- Owns the core's server, receives the calls of its loop, and passes them to the current
-- generation. Names and plain data live here and outlive generations.
-- In memory: per stream one small table, only when there is a user or meta;
-- states, stores, pending tasks and idempotency keys.
local caller = require("sluice.base.caller")
local callbacks = require("sluice.live.callbacks")
local collector = require("sluice.live.collector")
local console = require("sluice.console.console")
local core = require("sluice.core")
local direct = require("sluice.requests.direct")
local explainer = require("sluice.explain.explainer")
local failure = require("sluice.base.failure")
local handover = require("sluice.live.handover")
local hooks = require("sluice.app.hooks")
local idempotency = require("sluice.live.idempotency")
local leases = require("sluice.live.leases")
local leadership = require("sluice.live.leadership")
local notices = require("sluice.live.notices")
local plain = require("sluice.base.plain")
local process = require("sluice.base.process")
local recorder = require("sluice.explain.recorder")
local retirement = require("sluice.live.retirement")
local scheduler = require("sluice.live.scheduler")
local services = require("sluice.app.services")
local stored = require("sluice.live.stored")
local stores = require("sluice.live.stores")
local swap = require("sluice.live.swap")
local tasks = require("sluice.app.tasks")
local timers = require("sluice.app.timers")
local trace = require("sluice.base.trace")

local runtime = {}

---@class sluice.Runtime
local Runtime = {}
Runtime.__index = Runtime
Runtime.__name = "sluice.Runtime"

local ERRORS_KEPT = 16 -- generations whose errors are counted

--- Make a runtime around a server of the core.
-- @param server
-- Its fields `identify`, `after_guard` and `pause` are for the test kit, which sets req.user and
-- sees what becomes of it, and lets publishes wait; a server that listens has none.
-- @treturn sluice.Runtime
function runtime.new(server)
  local self = setmetatable({ server = server, generation = nil, ids = {}, names = {}, clients = {},
    writers = {}, writable = {}, opening = {}, published = {}, heard = {}, stream_hooks = {},
    states = {}, errors = {}, errors_total = 0, started = core.time(), ended = false,
    leaving = false }, Runtime)
  self.scheduler = scheduler.new(core.now, function(fiber, problem) self:report(fiber, problem) end)
  self.timers, self.tasks, self.services = timers.new(self), tasks.new(self), services.new(self)
  self.retirement, self.handover = retirement.new(self), handover.new(self)
  self.recorder, self.explainer = recorder.new(), explainer.new(self)
  self.console = console.new(self)
  self.idempotency, self.stored = idempotency.new(core.now), stored.new(self)
  self.stores, self.notices = stores.new(self), notices.new(self)
  self.leases = leases.new(self)
  self.leadership = leadership.new(self)
  server:on(function(kind, a, b, c, d, e, f) return self:dispatch(kind, a, b, c, d, e, f) end,
    self.stored:answerer(function() self:turn() end), self.stored.waiting, self.scheduler.WAIT,
    function(id, route_id, raw) self:open(id, route_id, raw) end)
  self.transfers = setmetatable({}, { __mode = "v" }) -- requests to other servers, by id
  self.bodies = {} -- of requests whose body comes in pieces, by id
  self.questions = {} -- coroutines that wait for sluice.sqlite, by ticket
  self.connections = setmetatable({}, { __mode = "v" }) -- to Redis, of sources, by id
  process.runtime = self
  return self
end

-- Errors by generation, of the newest ones.
local function count_error(self, generation)
  self.errors_total = self.errors_total + 1
  if not generation then return end
  local id = generation.id
  self.errors[tostring(id)] = (self.errors[tostring(id)] or 0) + 1
  for key in pairs(self.errors) do
    if tonumber(key) <= id - ERRORS_KEPT then self.errors[key] = nil end
  end
end

-- "timer x (app.lua:6)" need not repeat the line when the message is "app.lua:6: broken".
local function with_name(name, message)
  if message == "" then message = "an error without a message" end
  if message:sub(1, #name) == name then return message end -- it begins with it already
  local what, place = name:match("^(.*) %(([^()]+:%d+)%)$")
  local same = place and message:sub(1, #place + 1) == place .. ":"
  return (same and what or name) .. ": " .. message
end

--- Log an error of a fiber, once, and run the "error" hooks.
-- @tparam table|nil fiber
-- @tparam sluice.Failure problem
-- @tparam[opt] string name what failed, when that is not the fiber itself
function Runtime:report(fiber, problem, name)
  name = name or fiber and fiber.name or "callback"
  local generation = fiber and fiber.generation or self.generation
  count_error(self, generation)
  self.recorder:error(name, problem, generation and generation.id)
  core.log("error", with_name(name, problem.message),
    failure.fields(problem, { generation = generation and generation.id,
      trace = trace.id(fiber and fiber.trace) }))
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

for name, fn in pairs(swap) do Runtime[name] = fn end

--- Let the current generation take over what runs by itself, and the open streams.
function Runtime:adopt()
  self.timers:adopt(self.generation)
  self.tasks:adopt(self.generation)
  self.services:adopt(self.generation)
  self.handover:begin()
  self.handover:recheck()
end

--- Start what the first generation runs by itself.
function Runtime:go()
  process.runtime = self
  for _, warning in ipairs(self:warnings_of(self.generation)) do core.log("warn", warning) end
  self:adopt()
  hooks.fire(self, "start")
  self:turn()
end

--- The list of the app's files may have changed.
function Runtime:files_changed()
  if self.watcher then self.watcher:update() end
end

--- Figures about reloads and the store, for app:stats() and the status page.
function Runtime:figures()
  local out = { generation = self.generation.id, generations_alive = self.retirement:alive(),
    handler_errors = plain.copy(self.errors) }
  if self.reloader then
    out.reloads_total, out.reload_seconds = plain.copy(self.reloader.totals), self.reloader.seconds
  end
  out.store, out.cluster = self.server:store_stats(), self.server:cluster_look()
  if out.cluster then out.cluster.node, out.cluster.bad_notices = self.node, self.notices.bad end
  return out
end

--- Remember what hooks will need of a client, until it is closed: its user and meta. (Its
-- parameters follow from its path.) A coroutine that writes the stream may fill its meta later.
-- Another run of its plan needs what it asked for by POST.
function Runtime:remember(id, user, meta, is_written, asked)
  if meta ~= nil and next(meta) == nil and not is_written then meta = nil end
  if user == nil and meta == nil and asked == nil then return end
  self.clients[id] = { user = user, meta = meta, asked = asked }
end

local function is_stream(route) return route.kind == "stream" or route.kind == "feed" end

--- The stream route of a client, and the path's parameters: the route it was opened with; when
-- this generation does not have that, the first whose pattern matches.
function Runtime:route_of(path, route_id)
  if not path then return nil end
  local own = self.generation.route_named[self.names[route_id]]
  local captures = own and is_stream(own) and core.match(own.pattern, path)
  if captures then return own, captures end
  for _, route in ipairs(self.generation.sorted_routes) do
    local params = is_stream(route) and core.match(route.pattern, path)
    if params then return route, params end
  end
end

--- The path parameters of a stream.
function Runtime:path_params(client)
  local _, params = self:route_of(client.path, client._route_id)
  return params
end

--- The constant meta of a stream that the core opened without Lua.
function Runtime:constant_meta(client)
  local route = self:route_of(client.path, client._route_id)
  return route and route.checked and route.checked.meta
end

--- Wait until a client's private buffer has room.
-- @treturn boolean false when the client has gone, or waiting is impossible here
function Runtime:wait_writable(id)
  local problem = self.scheduler:obstacle("client:send()") -- who cannot wait is not listed
  if problem then caller.raise("%s", problem) end
  if not self.server:want_close(id) then return false end
  local list = self.writable[id] or {}
  self.writable[id] = list
  list[#list + 1] = self.scheduler.current
  return self.scheduler.park() == true
end

--- Start what is queued and have the core call again when the next timer is due.
function Runtime:turn()
  if collector.is_over then collector.adapt() end
  local at = self.scheduler:turn()
  if at ~= self.armed then
    self.armed = at
    self.server:wake(at)
  end
end

--- What the core's loop calls: a kind, and six values at most.
-- @tparam string kind
-- @return what the core expects from a callback of that kind
function Runtime:dispatch(kind, a, b, c, d, e, f)
  process.runtime = self
  local act = callbacks[kind]
  local answer = act and act(self, a, b, c, d, e, f)
  if self.scheduler.stirred or collector.is_over then self:turn() end
  return answer
end

--- What the core's loop calls with a request for a stream that asks for nothing else.
function Runtime:open(id, route_id, raw)
  process.runtime = self
  if not direct.request(self, id, route_id, raw) then
    return self:dispatch("stream", id, route_id, raw)
  end
  if self.scheduler.stirred or collector.is_over then self:turn() end
end

--- Stop the server because the app says so, and end with an exit code. Does not return to a
-- coroutine that can wait; any other is ended where it waits next.
-- @tparam integer code the first one counts
-- @tparam string where the line that asked for it
function Runtime:exit(code, where)
  local fiber = self.scheduler.current
  core.log("warn", ("os.exit(%d) at %s%s: the server stops"):format(code, where,
    fiber and " in " .. fiber.name or ""), { code = code })
  if not self.exit_code then
    self.exit_code = code
    self.recorder:deed({ message = "stopping", text = ("os.exit(%d) at %s"):format(code, where) })
    self.scheduler:at(core.now(), function() self.server:stop() end)
  end
  if fiber then self.scheduler:cancel(fiber) end
  if self.scheduler:can_wait() then self.scheduler:sleep(0) end
  failure.refuse(("os.exit(%d): the server stops"):format(code), "EBUSY")
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
