--- Figures of this machine and of this server, for dashboards and alert rules.
---
---   local system = require("sluice.system").new(app)
---   app:publish("metrics", "metrics-update", system:sample())
---
--- sample() reads a few small files of the kernel and never waits. Rates are means since the last
--- sample, or since a mark that is set every `interval` seconds without a sample.
--- Keeps in memory: two marks (counters and their time) and what is known of each service and
--- disk, in app:state, so that a reload changes no figure.
local cgroup = require("sluice.base.cgroup")
local core = require("sluice.core")
local sluice = require("sluice")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local procfs = require("sluice.base.procfs")
local reach = require("sluice.out.reach")
local services = require("sluice.system.services")

---@class sluice.SystemModule
local system = {}

---@class sluice.System
local System = {}
System.__index = System
System.__name = "sluice.System"

local KNOWN = { name = "system", services = {}, disks = { "/" }, interval = 10, root = "" }
local DISKS_MAX, MB = 100, 1 << 20
-- A mean over less is noise: /proc counts in hundredths of a second.
local SPAN_MIN = 0.5
-- ... but better than nothing: the first sample after the start has no longer one.
local SPAN_LEAST = 0.05
local CONNECT_SECONDS = 5 -- a service that takes longer is as good as stopped
local OLD = 3 -- intervals after which what was found out is no longer true

local function check_disks(disks)
  local fault = options.list_fault(disks, "paths", "string")
  if fault then options.raise("system.new: disks " .. fault) end
  if #disks > DISKS_MAX then options.raise("system.new: disks lists more than 100") end
  for i, path in ipairs(disks) do
    if path:sub(1, 1) ~= "/" or (path .. "/"):find("/../", 1, true) then
      options.raise("system.new: disks[%d]: '%s' is no absolute path", i, path:sub(1, 64))
    end
  end
end

local function check(given)
  local o = options("system.new", given, KNOWN)
  if not (o.interval >= 1 and o.interval <= 86400) then
    options.raise("system.new: interval is a number of seconds from 1 to 86400")
  end
  check_disks(o.disks)
  o.services = services.read(o.services)
  return o
end

--- Watch this machine. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `services` ("nginx.service", a unit of systemd or a program with a
--   pid file; { name =, tcp = "127.0.0.1:5432" }, a port of this machine or of another), `disks`
--   (paths where file systems are mounted, default "/"), `interval` (seconds: how old a mean or
--   the status of a service may be, default 10), `name` (default "system"), `root` (a folder
--   instead of /, for specs)
-- @treturn sluice.System
function system.new(app, given)
  local o = check(given)
  local self = setmetatable({ app = app, disks = o.disks, interval = o.interval, root = o.root,
    services = o.services, state = app:state(o.name, {}) }, System)
  app:on("start", function() self:look_ahead() end)
  app:on("reload", function() self:ask() end)
  app:every(o.interval, { name = o.name .. ":mark", per = "node" }, function()
    self:look_ahead()
  end)
  return self
end

-- What no sample may wait for.
function System:look_ahead()
  self:mark(self:counters())
  self:ask()
end

-- Try a connection to each service of another machine. A coroutine that a reload ends is replaced
-- by one of the new generation.
function System:ask()
  for _, service in ipairs(self.services) do
    if service.address then
      self.app:spawn(function()
        local timeout = math.min(CONNECT_SECONDS, self.interval)
        local open, message = reach("system", service.address, timeout)
        local state = self.state()
        state.reached = state.reached or {}
        state.reached[service.key] = { status = open and "running" or "stopped",
          reason = not open and message or nil, at = sluice.now() }
      end)
    end
  end
end

-- The processor time that may be used: of the machine, or of our control group if that is less.
function System:cpu(now)
  local cpu = procfs.cpu(self.root)
  if not cpu then return nil end
  local used, processors = cgroup.cpu(self.root, cpu.processors)
  if not used then return cpu end
  return { busy = used, total = now * 1e6 * processors, processors = processors }
end

-- All that only ever rises, and when it was read.
function System:counters()
  local now, stats = sluice.now(), self.app:stats()
  local store = stats.store
  return { at = now, cpu = self:cpu(now), interfaces = procfs.interfaces(self.root),
    requests = stats.requests or 0, events = stats.published or 0,
    connections = stats.connections or 0, users = stats.active_users or 0,
    lag = stats.loop_lag_ms or 0, store = store, commits = store and store.commits or 0,
    node = stats.cluster and stats.cluster.node }
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
  local zeros = {}
  for interface in pairs(counters.interfaces or {}) do
    zeros[interface] = { received = 0, sent = 0 }
  end
  return { at = counters.at - uptime, interfaces = zeros, requests = counters.requests,
    cpu = counters.cpu and { busy = 0, total = 0, processors = counters.cpu.processors },
    events = counters.events, commits = counters.commits, store = counters.store }
end

local function round(value, digits)
  local scale = 10 ^ digits
  return math.floor(value * scale + 0.5) / scale
end

local function percent(part, whole)
  return whole > 0 and round(100 * math.min(1, math.max(0, part / whole)), 1) or 0
end

-- A counter that fell began anew: nothing can be said about this once.
local function rate(now, base, name)
  return math.max(0, now[name] - base[name]) / (now.at - base.at)
end

-- Interface by interface: one that comes or goes makes no leap. A counter that fell began at zero
-- again, be it one of 32 bits that was full.
local function traffic(now, base, name)
  local bytes = 0
  for interface, counts in pairs(now.interfaces) do
    local before = (base.interfaces or {})[interface]
    if before then
      local more = counts[name] - before[name]
      bytes = bytes + (more >= 0 and more or counts[name])
    end
  end
  return math.floor(bytes / (now.at - base.at))
end

-- Of the processors that may be used; nothing can be said when that has just changed.
local function busy(now, base)
  if not now then return nil end
  if not base or now.processors ~= base.processors then return 0 end
  return percent(now.busy - base.busy, now.total - base.total)
end

-- What the store did since then.
local function store_figures(now, base)
  local store = now.store
  if not store then return nil end
  local before = base.store or { commits = 0, commit_seconds = 0, failed = 0 }
  local n = (store.commits or 0) - (before.commits or 0)
  local spent = (store.commits or 0) * (store.commit_seconds or 0)
    - (before.commits or 0) * (before.commit_seconds or 0)
  return { commitsPerSecond = round(rate(now, base, "commits"), 1),
    commitMs = n > 0 and round(1000 * math.max(0, spent) / n, 2) or 0,
    queued = store.queued or 0, failed = store.failed or 0, trouble = store.trouble }
end

-- Memory in MB: of the machine, or of our control group if it limits that to less.
function System:memory()
  local machine = procfs.memory(self.root)
  if not machine then return {} end
  local used, total = cgroup.memory(self.root, machine.total)
  return { used = (used or machine.used) // MB, total = (total or machine.total) // MB }
end

-- One file system. The path of one that may let us wait is not touched.
local function look_at_disk(root, path)
  local distant = path ~= "/" and procfs.distant(root, path)
  if distant then
    return { path = path, reason = ("not asked: a file system of kind %s may hang")
      :format(distant) }
  end
  local total, free, used = core.statfs(path)
  if not total then return { path = path, reason = free } end
  return { path = path, total = total, used = used, free = free,
    percent = percent(used, used + free) }
end

-- Each disk, and how full the fullest is, in percent; nil when none can be read.
function System:disk_list()
  local list, fullest = json.array(), nil
  for i, path in ipairs(self.disks) do
    list[i] = look_at_disk(self.root, path)
    if list[i].percent then fullest = math.max(fullest or 0, list[i].percent) end
  end
  return list, fullest
end

-- The status of a service of another machine, as it was found out.
function System:recall(service, now)
  local known = (self.state().reached or {})[service.key]
  if not known then return "unknown", "not asked yet" end
  if now - known.at > OLD * self.interval then
    return "unknown", ("not asked for %d s"):format((now - known.at) // 1)
  end
  return known.status, known.reason
end

-- The status of each service; one of this machine is looked at again after `interval`.
function System:service_list(now)
  local state, list = self.state(), json.array()
  local fresh = state.services_at and now - state.services_at < self.interval
  if not fresh then state.services_at, state.looked = now, {} end
  for i, service in ipairs(self.services) do
    local status, reason
    if service.address then
      status, reason = self:recall(service, now)
    else
      local looked = state.looked[service.key]
      if not looked then
        status, reason = services.look(self.root, service)
        looked = { status = status, reason = reason }
        state.looked[service.key] = looked
      end
      status, reason = looked.status, looked.reason
    end
    list[i] = { name = service.name, status = status, reason = reason }
  end
  return list
end

--- The figures of this moment. Reads a few files of the kernel; never waits.
-- @treturn table { timestamp, node (of a cluster), cpu (%), memory and memoryTotal (MB), disk (%,
--   of the fullest),
--   disks = { { path, total, used, free (bytes), percent } or { path, reason } }, network =
--   { received, sent } (bytes/s), load, services = { { name, status, reason } }, connections,
--   activeUsers, requestsPerSecond, eventsPerSecond, loopLagMs, store = { commitsPerSecond,
--   commitMs, queued, failed, trouble } }; status is "running", "stopped" or "unknown"; what the
--   machine does not report is absent
function System:sample()
  local now = self:counters()
  local base = self:base(now)
  self:mark(now)
  local memory, disks, fullest = self:memory(), self:disk_list()
  return {
    timestamp = sluice.timestamp(),
    node = now.node,
    cpu = busy(now.cpu, base.cpu),
    memory = memory.used,
    memoryTotal = memory.total,
    disk = fullest,
    disks = disks,
    network = now.interfaces and { received = traffic(now, base, "received"),
      sent = traffic(now, base, "sent") },
    load = procfs.load(self.root),
    services = self:service_list(now.at),
    connections = now.connections,
    activeUsers = now.users,
    requestsPerSecond = round(rate(now, base, "requests"), 1),
    eventsPerSecond = round(rate(now, base, "events"), 1),
    loopLagMs = round(now.lag, 2),
    store = store_figures(now, base),
  }
end

names.lenient(System, "system", { sample = System.sample }, {})
return names.strict(system, "sluice.system", ".")
