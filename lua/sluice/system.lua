--- Figures of this machine and of this server, for dashboards and alert rules.
---
---   local system = require("sluice.system").new(app)
---   app:publish("metrics", "metrics-update", system:sample())
---
--- sample() reads a few small files of /proc and never waits. Rates are means since the last
--- sample, or since a mark that is set every `interval` seconds without a sample.
--- Keeps in memory: two marks (counters and their time) and the last known status of each service,
--- in app:state, so that a reload changes no figure.
local core = require("sluice.core")
local sluice = require("sluice")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local procfs = require("sluice.base.procfs")

---@class sluice.SystemModule
local system = {}

---@class sluice.System
local System = {}
System.__index = System
System.__name = "sluice.System"

local KNOWN = { name = "system", services = {}, disks = { "/" }, interval = 10, root = "" }
local SERVICE = { name = options.STRING, tcp = options.STRING }
-- A mean over less is noise: /proc counts in hundredths of a second.
local SPAN_MIN = 0.5
-- ... but better than nothing: the first sample after the start has no longer one.
local SPAN_LEAST = 0.05

local LOCAL = { localhost = true, ["127.0.0.1"] = true, ["[::1]"] = true, ["0.0.0.0"] = true }

local function read_service(service, i)
  local what = ("system.new: services[%d]"):format(i)
  if type(service) == "string" then return { name = service } end
  local o = options(what, service, SERVICE)
  if o.tcp == nil then error(what .. " wants tcp = \"host:port\", or is a name", 4) end
  local host, port = o.tcp:match("^(.+):(%d+)$")
  port = math.tointeger(tonumber(port))
  if not port or port < 1 or port > 65535 then
    error(("%s: tcp is \"host:port\", got '%s'"):format(what, o.tcp), 4)
  end
  if not LOCAL[host] then
    error(("%s: '%s' is another machine: asking it would hold up the sample; "):format(what, host)
      .. "ask in an app:every() of your own", 4)
  end
  return { name = o.name or o.tcp, port = port }
end

local function check(given)
  local o = options("system.new", given, KNOWN)
  if not (o.interval >= 1 and o.interval <= 86400) then
    error("system.new: interval is a number of seconds from 1 to 86400", 3)
  end
  local fault = options.list_fault(o.disks, "paths", "string")
  if fault then error("system.new: disks " .. fault, 3) end
  fault = options.list_fault(o.services, "services")
  if fault then error("system.new: services " .. fault, 3) end
  return o
end

local function read_services(list)
  local services = {}
  for i, service in ipairs(list) do services[i] = read_service(service, i) end
  return services
end

--- Watch this machine. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `services` ("nginx.service", a unit of systemd or a program with a
--   pid file; { name =, tcp = "127.0.0.1:5432" }, a port of this machine), `disks` (paths; the
--   fullest counts, default "/"), `interval` (seconds: how old a mean or the status of a
--   service may be, default 10), `name` (default "system"), `root` (a folder instead of /, for
--   specs)
-- @treturn sluice.System
function system.new(app, given)
  local o = check(given)
  local self = setmetatable({ app = app, disks = o.disks, interval = o.interval, root = o.root,
    services = read_services(o.services), state = app:state(o.name, {}) }, System)
  app:on("start", function() self:mark(self:counters()) end)
  app:every(o.interval, { name = o.name .. ":mark" }, function() self:mark(self:counters()) end)
  return self
end

-- All that only ever rises, and when it was read.
function System:counters()
  local cpu = procfs.cpu(self.root) or { busy = 0, total = 0 }
  local network = procfs.network(self.root) or { received = 0, sent = 0 }
  local stats = self.app:stats()
  return { at = sluice.now(), busy = cpu.busy, total = cpu.total, received = network.received,
    sent = network.sent, requests = stats.requests or 0, events = stats.published or 0,
    connections = stats.connections or 0, users = stats.active_users or 0,
    lag = stats.loop_lag_ms or 0 }
end

-- Two marks, so that a sample just after another is still a mean over some time.
function System:mark(counters)
  local state = self.state()
  if state.newer and counters.at - state.newer.at < SPAN_MIN then return end
  state.older, state.newer = state.newer, counters
end

-- What to compare with: the newest mark of some age, else the start of the machine.
function System:base(counters)
  local state = self.state()
  for _, span in ipairs({ SPAN_MIN, SPAN_LEAST }) do
    for _, mark in ipairs({ state.newer or false, state.older or false }) do
      if mark and counters.at - mark.at >= span then return mark end
    end
  end
  local uptime = math.max(procfs.uptime(self.root) or 0, SPAN_MIN)
  return { at = counters.at - uptime, busy = 0, total = 0, received = 0, sent = 0,
    requests = counters.requests, events = counters.events }
end

local function round(value, digits)
  local scale = 10 ^ digits
  return math.floor(value * scale + 0.5) / scale
end

-- A counter that fell began anew: nothing can be said about this once.
local function rate(now, base, name)
  return math.max(0, now[name] - base[name]) / (now.at - base.at)
end

local function percent(part, whole)
  return whole > 0 and round(100 * math.min(1, math.max(0, part / whole)), 1) or 0
end

-- The fullest of the disks, in percent; nil when none can be read.
function System:disk()
  local fullest
  for _, path in ipairs(self.disks) do
    local total, free
    if core.statfs then total, free = core.statfs(path) end
    if total and total > 0 then fullest = math.max(fullest or 0, percent(total - free, total)) end
  end
  return fullest
end

local WORDS = { [true] = "running", [false] = "stopped" }

-- The status of each service; read again after `interval`.
function System:service_list(now)
  local state, list = self.state(), json.array()
  local fresh = state.services_at and now - state.services_at < self.interval
  local words = fresh and state.words or {}
  for i, service in ipairs(self.services) do
    local word = words[service.name]
    if not word then
      local running
      if service.port then
        running = procfs.is_listening(self.root, service.port)
      else
        running = procfs.is_running(self.root, service.name)
      end
      word = WORDS[running] or "unknown"
      words[service.name] = word
    end
    list[i] = { name = service.name, status = word }
  end
  if not fresh then state.services_at, state.words = now, words end
  return list
end

--- The figures of this moment. Reads a few files of /proc; never waits.
-- @treturn table { timestamp, cpu (%), memory and memoryTotal (MB), disk (%), network =
--   { received, sent } (bytes/s), load, services = { { name, status } }, connections,
--   activeUsers, requestsPerSecond, eventsPerSecond, loopLagMs }; status is "running",
--   "stopped" or "unknown"; what the machine does not report is absent
function System:sample()
  local now = self:counters()
  local base = self:base(now)
  self:mark(now)
  local memory = procfs.memory(self.root) or {}
  return {
    timestamp = sluice.timestamp(),
    cpu = percent(now.busy - base.busy, now.total - base.total),
    memory = memory.used,
    memoryTotal = memory.total,
    disk = self:disk(),
    network = { received = rate(now, base, "received") // 1, sent = rate(now, base, "sent") // 1 },
    load = procfs.load(self.root),
    services = self:service_list(now.at),
    connections = now.connections,
    activeUsers = now.users,
    requestsPerSecond = round(rate(now, base, "requests"), 1),
    eventsPerSecond = round(rate(now, base, "events"), 1),
    loopLagMs = round(now.lag, 2),
  }
end

names.lenient(System, "system", { sample = System.sample }, {})
return names.strict(system, "sluice.system", ".")
