--- sluice.serve: load an app, listen, serve until the server stops.
-- Keeps nothing in memory of its own.
local access = require("sluice.live.access")
local collector = require("sluice.live.collector")
local certificates = require("sluice.live.certificates")
local config = require("sluice.live.config")
local core = require("sluice.core")
local generation = require("sluice.live.generation")
local manager = require("sluice.live.manager")
local need = require("sluice.base.need")
local process = require("sluice.base.process")
local reload = require("sluice.live.reload")
local runtime = require("sluice.live.runtime")
local shared = require("sluice.live.shared")
local stored = require("sluice.live.stored")
local variables = require("sluice.live.variables")
local watcher = require("sluice.live.watcher")

local serve = {}

-- What an app may require. It is loaded before the app is: a module that a handler requires
-- first, or the app after a reload, is then of the version that serves, whatever was installed
-- meanwhile.
local FOR_APPS = { "sluice", "sluice.alerts", "sluice.auth", "sluice.changes", "sluice.client",
  "sluice.crypto", "sluice.datastar", "sluice.demo", "sluice.eventstream", "sluice.htmx",
  "sluice.http", "sluice.hub", "sluice.inbox", "sluice.jobs", "sluice.json", "sluice.mail",
  "sluice.outbox", "sluice.postgres", "sluice.redis", "sluice.rooms", "sluice.runs",
  "sluice.sqlite", "sluice.system" }

local LOOPBACK = { ["0.0.0.0"] = "127.0.0.1", ["::"] = "::1" }

local function url_of(address, port, scheme)
  local is_v6 = address:find(":", 1, true) ~= nil
  return (is_v6 and "%s://[%s]:%d" or "%s://%s:%d"):format(scheme or "http", address, port)
end

-- What a browser can be pointed at: every address of this machine when it listens on all.
local function urls_of(host, port, scheme)
  local list, urls = { host }, {}
  if LOOPBACK[host] then list = core.addresses() or { LOOPBACK[host] } end
  for _, address in ipairs(list) do
    if host ~= "0.0.0.0" or not address:find(":", 1, true) then
      urls[#urls + 1] = url_of(address, port, scheme)
    end
  end
  return table.concat(urls, ", ")
end

-- It listens: where it is, and the console, for a browser of this machine.
local function tell_where(self, settings, port, secure)
  local host = secure and settings.tls_host or settings.host
  local own = url_of(LOOPBACK[host] or host, secure or port, secure and "https")
  self.console:at(own, self.admin_key)
  local link = self.console.link
  if settings.ready then settings.ready(own, link and link.url .. link.path) end
end

--- The generation of a path or of an app object.
-- @treturn sluice.Generation|nil or nil, failure
function serve.load(target)
  if type(target) == "string" then return generation.load(1, target) end
  local made = type(target) == "table" and rawget(target, "_generation")
  if not made then
    error("sluice.serve(app): an app or a path is expected, not a " .. type(target), 0)
  end
  if made.phase ~= "load" then error("sluice.serve(app): this app is served already", 0) end
  return made
end

--- The log, and limits of the app's code on the thread that runs it: before anything loads.
-- @tparam table settings
function serve.set_up(settings)
  core.log_setup(settings.log_level, settings.log_format)
  local ok, message = core.budget_set(settings.handler_budget)
  if not ok then core.log("warn", "no handler is stopped when it loops: " .. message) end
  core.pool_heap()
  core.memory_limit(settings.lua_memory)
  process.demo = settings.demo == true
end

-- A runtime whose first generation is live, on a server that does not listen yet.
-- @tparam sluice.Generation loaded
-- @tparam table options of core.server
-- @treturn sluice.Runtime|nil or nil, message, code, failure
function serve.make_live(loaded, options)
  local server, message, code = core.server(options)
  if not server then return nil, message, code end
  local self = runtime.new(server)
  self.limits, self.admin_key = options.limits or {}, options.admin_key
  local prepared, problem = self:prepare(loaded)
  if not prepared then return nil, problem.message, "ELOAD", problem end
  local ok
  ok, message, code = self:swap(prepared)
  if not ok then return nil, message, code end
  return self
end

local function load_and_make(target, settings, handed)
  serve.set_up(settings)
  for _, warning in ipairs(variables.warnings()) do core.log("warn", warning) end
  for _, name in ipairs(FOR_APPS) do need(name) end
  collector.start()
  local loaded, problem = serve.load(target)
  if not loaded then return nil, problem.message, "ELOAD", problem end
  loaded.is_shared = settings.cluster ~= nil
  local options, places, notes = config.for_core(settings), access.of(settings)
  options.handed, options.tls_handed = handed.plain, handed.tls
  for name, value in pairs(places) do options[name] = value end
  for _, note in ipairs(notes) do core.log("warn", note) end
  local secure, said = certificates.for_core(settings)
  if not secure then return nil, said, "EINVAL" end
  if handed.tls and not secure.tls_certificates then
    return nil, "a socket named tls is handed over, and there is no certificate: --tls-cert and "
      .. "--tls-key name one", "EINVAL"
  end
  for name, value in pairs(secure) do options[name] = value end
  for _, note in ipairs(said) do core.log("info", note) end
  return serve.make_live(loaded, options)
end

local function start(target, settings)
  local handed, why, fault = manager.sockets(settings.listen_fd)
  if not handed then return nil, why, fault end
  local self, message, code, problem = load_and_make(target, settings, handed)
  if not self then return nil, message, code, problem end
  self.manager, self.is_served = manager.new(self, settings), true
  local opened
  if settings.cluster then opened, message, code = shared.open(self, settings)
  else opened, message, code = stored.open(self, settings.data) end
  if not opened then return nil, message, code end
  local port, scraped, secure, agent = self.server:start() -- of those behind the first, false: none
  if not port then return nil, scraped, secure end
  self.trust_proxy = settings.trust_proxy
  self.reloader = reload.new(self, type(target) == "string" and target or nil)
  if settings.watch and type(target) == "string" then
    self.watcher = watcher.new(self)
  end
  core.log("info", ("serving %s on %s"):format(self.generation.path, #handed.plain == 0
    and urls_of(settings.host, port) or table.concat(handed.places, ", ") .. " (handed over)"))
  if secure then
    core.log("info", "TLS on " .. (handed.tls and handed.tls_place .. " (handed over)"
      or urls_of(settings.tls_host or settings.host, secure, "https")))
  end
  if scraped then
    core.log("info", ("metrics on %s/metrics"):format(urls_of(settings.metrics_host, scraped)))
  end
  if agent then
    core.log("info", ("agent-check on %s port %d"):format(settings.metrics_host, agent))
  end
  if settings.cluster then shared.tell(settings) end
  tell_where(self, settings, port, secure)
  if settings.demo then
    core.log("warn", "--demo: keys that everybody knows may be valid: let no proxy lead here")
  end
  return self
end

--- Serve until the server is stopped.
-- @tparam string|sluice.App target the app's file, or an app made in this program
-- @tparam table settings from config.resolve; `ready`: called once it listens, with its URL for a
--   browser of this machine and the link to the console, if there is one
-- @treturn boolean|nil true and the code of an os.exit; or nil, message, code ("ELOAD": the
--   script), failure
function serve.run(target, settings)
  local self, message, code, problem = start(target, settings)
  if not self then return nil, message, code, problem end
  self:go()
  if self.manager then self.manager:started() end
  local ok, why, how = self.server:run()
  self:close()
  if ok == nil and why then return nil, why, how end
  return true, self.exit_code
end

return serve
