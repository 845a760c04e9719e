--- The app under test in this process: the core's whole server in steps, on a clock that
-- stands still until the test lets time pass. In memory: the server, and the app's sources
-- when the test gave them as texts.
local caller = require("sluice.base.caller")
local file = require("sluice.base.file")
local config = require("sluice.live.config")
local generation = require("sluice.live.generation")
local identity = require("sluice.testing.identity")
local check_names = require("sluice.base.options").check_names
local outgoing = require("sluice.testing.outgoing")
local reload = require("sluice.live.reload")
local serve = require("sluice.live.serve")
local shared = require("sluice.live.shared")
local process = require("sluice.base.process")
local storage = require("sluice.testing.storage")
local sources = require("sluice.testing.sources")
local stored = require("sluice.live.stored")
local world = require("sluice.testing.world")

local inside = {}

---@class sluice.testing.Inside
local Inside = {}
Inside.__index = Inside
Inside.virtual = true

local STOP_SECONDS = 1 -- as long as stop hooks may run
local HANDLERS_SECONDS = 3 -- and handlers, after the streams
local FEED = 64 << 20 -- bytes, as when it is served

-- Sources that the test gave, in front of what is on the disk.
local function overlay(texts)
  return setmetatable(texts, { __index = function(_, path) return (file.read(path)) end })
end

-- What a node of a cluster under test has for sluice.live.cluster.
local function of_cluster(given)
  local flags = { cluster = "unix:///test", cluster_name = "test" }
  for name, value in pairs(given) do flags[name] = value end
  local durable = flags.cluster_durable
  if durable ~= nil and durable ~= "aof" then
    error("testing.start: flags: cluster_durable is aof in a test, whose Redis has no replicas", 0)
  end
  return flags
end

local function settings_of(options)
  local known = {}
  for _, row in ipairs(config.SETTINGS) do known[row[1]] = true end
  local flags = options.flags or {}
  check_names("testing.start: flags", flags, known)
  local env = options.env or {}
  local settings, message = config.resolve(options.nodes and of_cluster(flags) or flags,
    { log_level = "off", io_uring = "off" }, function(name) return env[name] end)
  if not settings then error("testing.start: " .. message, 0) end
  settings.socket, settings.log_level = "none", "off"
  return settings
end

--- Make the place; nothing runs yet.
-- @param target a path, { source =, files = } or an app
-- @tparam table options of testing.start
-- @tparam[opt] sluice.testing.Inside first of a cluster, whose world is the others', too
function inside.new(target, options, first)
  local self = setmetatable({ world = first and first.world or world.new(options),
    settings = settings_of(options), texts = nil, app = nil, path = nil, cluster = nil,
    number = nil, asleep_till = nil, down = false }, Inside)
  self.world.demo = self.settings.demo == true
  if type(target) == "string" then
    self.path = target
  elseif rawget(target, "_generation") then
    self.app, self.path = target, nil
  else
    self.path = target.path or "app.lua"
    self.texts = overlay({ [self.path] = target.source })
    local root = self.path:match("^(.*)/[^/]*$") or "."
    for name, text in pairs(target.files or {}) do self.texts[root .. "/" .. name] = text end
  end
  self.users = identity.new()
  self.outgoing = first and first.outgoing or outgoing.new(self)
  self.sources = first and first.sources or sources.new(self)
  self.storage = storage.new(function() return self.world.seed end)
  self.waits = options.waits == true and 0 or options.waits
  for url, response in pairs(options.http or {}) do self.outgoing:answer(url, response) end
  return self
end

local function load_first(self)
  if not self.path then return serve.load(self.app) end
  return generation.load(1, self.path, nil, self.texts)
end

--- Make its world the one of the process, and what is logged its own.
function Inside:enter() self.world:enter(self.number) end

--- Start the app; raises when it cannot be loaded.
function Inside:boot()
  self:enter()
  self.world:roll_once()
  serve.set_up(self.settings)
  local loaded, problem = load_first(self)
  if not loaded then
    error(problem.message .. (problem.traceback and "\n" .. problem.traceback or ""), 0)
  end
  loaded.is_shared = self.cluster ~= nil
  local options = config.for_core(self.settings)
  options.rehearsal, options.io_threads = true, 1
  options.admin_key = self.settings.admin_key
  local runtime, message = serve.make_live(loaded, options)
  if not runtime then error(message, 0) end
  self.runtime, self.server = runtime, runtime.server
  runtime.identify = function(raw) self.users:claim(raw) end
  runtime.after_guard = function(req, guard) self.users:look(req, guard) end
  if self.waits then runtime.pause = function() self:pause() end end
  if self.cluster then self:join() else self:open_store() end
  assert(self.server:start())
  runtime.reloader = reload.new(runtime, self.path)
  runtime.reloader.given = self.texts
  runtime:go()
end

-- A node of a cluster, whose Redis is the test's (network.lua).
function Inside:join()
  local keeps = self.settings.cluster.on_disk or shared.has_durable(self.runtime.generation)
  if keeps then self.cluster.network:keep_all() end
  local joined, message = shared.open(self.runtime, { cluster = { by_hand = true, path = "test",
    on_disk = keeps, name = "test", node = "node " .. self.number, feed = FEED } })
  if not joined then error("testing.start: nodes: " .. message, 0) end
end

-- The store is on a disk in memory, which outlives a kill and a restart.
function Inside:open_store()
  self.runtime.stored.opener = function() return self.storage:open(self.runtime) end
  if self.storage:is_there() or stored.is_needed(self.runtime.generation) then
    local opened, message = self.runtime.stored:open()
    if not opened then error("the store does not open: " .. message, 0) end
  end
end

-- With `waits`: what a publish in memory waits for, where it may.
function Inside:pause()
  local run = self.runtime.scheduler
  if run:can_wait() then run:sleep(self.waits, "app:publish()") end
end

--- Do all that is due now, on all nodes.
function Inside:step()
  if self.cluster then self.cluster:step() else self:step_alone() end
end

--- ... on this one.
function Inside:step_alone()
  self:enter()
  if not self.server then return end -- its start failed
  process.runtime = self.runtime
  local rests = self.server:step()
  self.world:listen()
  if not rests then
    error("the app does not come to rest: something publishes or starts without end", 0)
  end
end

--- Let time pass up to the next thing that is due, at the latest to `till`, and do it.
-- @tparam number till of Inside:now()
-- @treturn boolean false when it is as late as that already
function Inside:move(till)
  local due = self.cluster and self.cluster:next_due() or self:next_alone()
  local now = self.world:now()
  if not due or due > till then
    if now >= till then return false end
    due = till
  end
  self.world:set(due)
  self:step()
  return true
end

--- When something is due next on this node; nil: nothing is.
function Inside:next_alone() return self.server and self.server:next_due() end

--- Whether its process is stopped for now.
function Inside:is_asleep()
  local is_due = self.asleep_till and self.world:now() >= self.asleep_till
  if is_due then self.asleep_till = nil end
  return self.asleep_till ~= nil
end

--- Whether a stream waits for its plan.
function Inside:is_opening() return next(self.runtime.opening) ~= nil end

function Inside:now() return self.world:now() end
function Inside:time() return self.world:time() end

--- A connection to the server.
-- @tparam[opt] integer buffer bytes that the socket takes unread
function Inside:dial(buffer)
  self:enter()
  return assert(self.server:dial(buffer or 0))
end

--- Run a function as the app's own code would run, and return its results.
function Inside:run(name, fn, ...)
  self:enter()
  process.runtime = self.runtime
  local results
  self.runtime.scheduler:start(self.runtime.generation, "spawn", name,
    function(...) results = table.pack(...) end, fn, ...)
  self.runtime:turn()
  return function() return results end
end

--- Ask for a reload, with another source or what there is now.
-- @treturn function gives the outcome when there is one
function Inside:reload(source)
  self:enter()
  local before, outcome = self.texts, nil
  if source then
    self.texts = overlay({})
    for name, text in pairs(before or {}) do self.texts[name] = text end
    self.texts[self.path or ""] = source
  end
  self.runtime.reloader.given = self.texts
  assert(self.runtime.reloader:request("reload", function(o)
    outcome = o
    self.sources:wake()
    -- a later start takes what was good, or waits for the disk
    if not o.ok and not o.waits then self.texts = before end
  end))
  self.runtime:turn()
  return function() return outcome end
end

--- Begin to stop, as at SIGTERM.
-- @treturn number seconds that it may take
function Inside:terminate()
  self:enter()
  process.runtime = self.runtime
  self.server:stop()
  return STOP_SECONDS + self.settings.drain + HANDLERS_SECONDS
end

--- Whether anything of the app still runs.
function Inside:busy()
  for fiber in pairs(self.runtime.scheduler.fibers) do
    if fiber.kind ~= "service" then return true end
  end
  return false
end

--- End it.
-- @tparam string how "stop": what is left of coroutines is closed; "kill": as kill -9 would;
--   "cut": as a power cut
function Inside:shut(how)
  if self.server then
    self:enter()
    if how == "stop" then self.runtime:close() end
    self.runtime.ended = true
    if how ~= "stop" then self.server:store_kill() end
    self.server:shut()
    self.server = nil
    if process.runtime == self.runtime then process.runtime = nil end
  end
  self.storage:close(how)
  self.world:listen()
  if self.cluster then self.cluster.network:forget(self) end
end

--- The live table of an app:state.
function Inside:state(name)
  local row = self.runtime.states[name]
  if not row then caller.raise("the app has no state '%s'", name) end
  return row.data
end

--- A store of the app, as its handlers have it.
function Inside:store(name)
  local row = self.runtime.generation.stores[name]
  if not row then caller.raise("the app has no store '%s'", name) end
  return row.handle
end

function Inside:leave() self.world:leave() end

--- What was logged here.
function Inside:log(level) return self.world:messages(level, self.number) end

return inside
