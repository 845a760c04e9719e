--- The object that an app registers its rules with and acts through.
-- Registration works while the app loads, effects work while it is live; anything else raises
-- an error that says where the call belongs. In memory: a reference to the generation.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local cors = require("sluice.app.cors")
local event_types = require("sluice.app.event_types")
local files = require("sluice.app.files")
local hooks = require("sluice.app.hooks")
local limits_of = require("sluice.app.limits")
local names = require("sluice.base.names")
local phase = require("sluice.app.phase")
local publish = require("sluice.app.publish")
local reading = require("sluice.app.reading")
local routes = require("sluice.app.routes")
local services = require("sluice.app.services")
local state = require("sluice.app.state")
local store = require("sluice.app.store")
local tasks = require("sluice.app.tasks")
local timers = require("sluice.app.timers")

local app = {}

---@class sluice.App
local App = { __name = "sluice.App" }
App.__index = App
App.__tostring = function(self) return ("sluice.App: generation %d"):format(self._generation.id) end

local SPAWNED_MAX = 100000 -- live coroutines; app:spawn is refused above: EFULL

--- Make the App of a generation.
-- @tparam sluice.Generation generation
-- @treturn sluice.App
function app.new(generation)
  return setmetatable({ _generation = generation }, App)
end

--- Register a handler of requests. It is given the request, and answers a status, a body, or both:
-- nothing is 204, a table is sent as JSON, nil with a message and a code is the status of the code.
-- @function App:get
-- @also post put patch delete
-- @tparam string path a pattern: `:name` is one segment and a parameter
-- @param ... guards; of post, put and patch { body = "stream", max = bytes }, for a body that comes
--   in pieces by req:chunks(); and fn(req) -> status[, body[, headers]] | body | nothing
for _, method in ipairs({ "get", "post", "put", "patch", "delete" }) do
  App[method] = function(self, path, ...)
    routes.handler(phase.loading(self, method, path), method, path, ...)
  end
end

--- Register a stream.
-- @tparam string path a pattern
-- @param ... guards, options, and the plan: a channel, a table, or fn(req, client)
function App:stream(path, ...)
  routes.stream(phase.loading(self, "stream", path), path, ...)
end

--- Register a log that readers of the Durable Streams protocol read.
-- @tparam string path a pattern
-- @param ... guards, and the plan: a channel, a table { channel, type = "application/json",
--   closes, types }, or fn(req) that returns one of these
function App:durable_stream(path, ...)
  routes.durable_stream(phase.loading(self, "durable_stream", path), path, ...)
end

--- Register guards for every route under a pattern, wherever it is registered.
-- @tparam string pattern
-- @param ... functions fn(req) -> true[, fn(status, body, headers)] | status[, body[, headers]]
function App:guard(pattern, ...)
  routes.guard(phase.loading(self, "guard", pattern), pattern, ...)
end

--- Serve a folder.
-- @tparam string prefix a URL path
-- @tparam string folder relative to the app's file
function App:static(prefix, folder, ...)
  files.register(phase.loading(self, "static", prefix), prefix, folder, ...)
end

--- Let other origins read what is under a pattern.
-- @tparam string pattern
-- @tparam table rule { origins, credentials, max_age }
function App:cors(pattern, rule)
  cors.register(phase.loading(self, "cors", pattern), pattern, rule)
end

--- Limit what one address and one user may have.
-- @tparam table limits { max_streams_per_address, max_streams_per_user, max_requests_per_address,
--   max_requests_per_user (a minute), exempt = { "10.0.0.0/8" } }; a setting of the same name wins
function App:limits(limits)
  limits_of.register(phase.loading(self, "limits"), limits)
end

--- Declare channels.
-- @tparam string pattern
-- @tparam[opt] table policy { history, ttl, key, max_keys, max_rate, batch, rewind,
--   slow, durable, shared, read }; with ttl = false events do not age; shared = false: each node of
--   a cluster has its own, and events have no id
function App:channel(pattern, policy)
  channels.declare(phase.loading(self, "channel", pattern), pattern, policy)
end

--- Describe an event.
-- @tparam string name
-- @tparam[opt] table info { automatic, description, example, fields, channel }
function App:event_type(name, info)
  event_types.register(phase.loading(self, "event_type", name), name, info)
end

--- The event types that were described.
-- @treturn table name -> info
function App:event_types()
  return event_types.list(phase.running(self, "event_types"))
end

--- Run a function periodically.
-- @tparam number seconds
-- @tparam[opt] table opts { name, jitter, overlap = "skip"|"queue", while_subscribed, now,
--   per = "cluster"|"node" }
-- @tparam function fn
function App:every(seconds, opts, fn)
  timers.register(phase.loading(self, "every"), seconds, opts, fn)
end

--- Define what app:after and app:at run.
-- @tparam string name
-- @tparam[opt] table opts { restart = false }
-- @tparam function fn fn(data)
function App:task(name, opts, fn)
  tasks.register(phase.loading(self, "task", name), name, opts, fn)
end

--- Define a coroutine that always runs.
-- @tparam string name
-- @tparam[opt] table opts { per = "cluster"|"node" }
-- @tparam function fn
function App:service(name, opts, fn)
  services.register(phase.loading(self, "service", name), name, opts, fn)
end

--- Register a hook.
-- @tparam string kind start, stop, reload, connect, disconnect, error; with a pattern:
--   subscribe, unsubscribe, published
-- @tparam[opt] string pattern
-- @tparam function fn
function App:on(kind, pattern, fn)
  hooks.register(phase.loading(self, "on", kind), kind, pattern, fn)
end

--- Rewrite or refuse events before they are numbered.
-- @tparam string pattern
-- @tparam function fn fn(event, params) -> data | nil, message[, code]; must not wait
function App:transform(pattern, fn)
  local generation = phase.loading(self, "transform", pattern)
  channels.check_pattern("app:transform()", pattern)
  if type(fn) ~= "function" then caller.raise("app:transform(pattern, fn): fn is missing") end
  table.insert(generation.transforms, { pattern = pattern, fn = fn, where = caller.where() })
end

--- Declare a table that survives a reload.
-- @tparam string name
-- @tparam table init
-- @tparam[opt] table opts { version, migrate }
-- @treturn table a handle; call it in handlers
function App:state(name, init, opts)
  return state.declare(phase.loading(self, "state", name), name, init, opts)
end

--- Declare a store of plain data by key, which outlives the process.
-- @tparam string name
-- @treturn sluice.Store get, set, delete, each; in handlers
function App:store(name, ...)
  return store.declare(phase.loading(self, "store", name), name, ...)
end

--- Whether the app keeps something on the disk: a store or a durable channel is declared, above
-- this line while the app loads.
-- @treturn boolean
function App:has_store()
  return store.is_needed(self._generation)
end

--- Run a function that must agree before the app goes live.
-- @tparam function fn raises, or returns false or nil and a message, when something is wrong
function App:check(fn)
  local generation = phase.loading(self, "check")
  if type(fn) ~= "function" then caller.raise("app:check(fn): fn is missing") end
  table.insert(generation.checks, { fn = fn, where = caller.where() })
end

App.publish = publish.publish
App.remove = publish.remove
for _, name in ipairs({ "latest", "newest", "history", "stats", "slowest", "channels", "client",
  "clients", "send", "recheck", "replan" }) do
  App[name] = reading[name]
end

--- Tell every node of the cluster, this one too: its `told` hooks run, with { name, data, own }.
-- All nodes hear what is told in the same order. Waits until this one has heard it.
-- @tparam string name
-- @param[opt=true] data what becomes JSON
-- @treturn boolean|nil true, or nil, message, code
function App:tell(name, data)
  return phase.running(self, "tell").runtime.notices:tell_app(name, data)
end

--- Whether this node does what runs once in a cluster; alone it does.
-- @treturn boolean
-- @treturn integer|nil the number of its lead, which rises with each
function App:leads()
  local leadership = phase.running(self, "leads").runtime.leadership
  return leadership:allows("cluster"), leadership.token
end

--- Run a task some seconds from now.
-- @tparam number seconds
-- @tparam string task
-- @param[opt] data plain data
-- @tparam[opt] table opts { id, durable, wait }: the same id again replaces; durable = true: it is
--   on the disk before this returns (wait = false: soon after), and runs at least once
-- @treturn string|nil id, or nil, message, code
function App:after(seconds, task, data, opts)
  local generation = phase.running(self, "after")
  return generation.runtime.tasks:add("after", seconds, task, data, opts, generation)
end

--- Run a task at a time (seconds since 1970).
-- @treturn string|nil id, or nil, message, code
function App:at(time, task, data, opts)
  local generation = phase.running(self, "at")
  local seconds = type(time) == "number" and time - core.time() or time
  return generation.runtime.tasks:add("at", seconds, task, data, opts, generation)
end

--- Forget a pending task.
-- @tparam string id
-- @tparam[opt] table opts { wait = false }: do not wait for the disk, of a durable one;
--   { running = true }: close one that runs, too
-- @treturn boolean|nil whether there was one; or nil, message, code
function App:cancel(id, opts)
  return phase.running(self, "cancel").runtime.tasks:cancel(id, opts)
end

--- Run a function as a coroutine of its own.
-- @tparam function fn
-- @treturn boolean|nil true, or nil, message, code
function App:spawn(fn)
  local generation = phase.running(self, "spawn")
  if type(fn) ~= "function" then caller.raise("app:spawn(fn): fn is a %s", type(fn)) end
  local scheduler = generation.runtime.scheduler
  if scheduler.count >= SPAWNED_MAX then return nil, "too many coroutines", "EFULL" end
  scheduler:queue(generation, "spawn", "spawned at " .. caller.where(), nil, fn)
  return true
end

names.strict(App, "app", ":")

return app
