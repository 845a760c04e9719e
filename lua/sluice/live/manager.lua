--- The service manager (systemd, or what speaks as it does): the sockets that it hands over
-- (LISTEN_FDS), and what it is told (NOTIFY_SOCKET): ready, reloading, stopping, and now and then
-- from the app's own loop that it turns. In memory: three settings.
local core = require("sluice.core")

local manager = {}

---@class sluice.Manager
local Manager = {}
Manager.__index = Manager

local FIRST = 3 -- the first descriptor that is handed over
local BEATS = 4 -- in the time of the watchdog: a handler may take three quarters of it
local STATUS_SECONDS = 30 -- between two texts for `systemctl status`, without a watchdog
local STOP_SECONDS = 15 -- besides the drain: hooks, handlers, and a script that hangs

-- Descriptors that are meant for this process, and not for the one that started it.
local function announced(getenv)
  local n = math.tointeger(tonumber(getenv("LISTEN_FDS"))) or 0
  local list = {}
  if math.tointeger(tonumber(getenv("LISTEN_PID"))) ~= core.pid() then return list end
  for i = 1, n do list[i] = FIRST + i - 1 end
  return list
end

--- The sockets to listen on instead of host and port.
-- @tparam string|{integer,...} wanted the setting: "auto", or descriptors
-- @tparam[opt=os.getenv] function getenv
-- @treturn {integer,...}|nil descriptors, none when there are none; or nil, message, code
-- @treturn {string,...} where each listens, as the log names it
function manager.sockets(wanted, getenv)
  local list = wanted == "auto" and announced(getenv or os.getenv) or wanted
  local places = {}
  if #list > core.limits.HANDED_MAX then
    return nil, ("--listen-fd: %d sockets are handed over, %d may be"):format(#list,
      core.limits.HANDED_MAX), "EFULL"
  end
  for i, fd in ipairs(list) do
    local host, port, code = core.listening(fd)
    if not host then
      return nil, ("--listen-fd: descriptor %d is no socket that listens for streams (%s): start "
        .. "Sluice by what opens it, as the socket unit does"):format(fd, port), code
    end
    places[i] = not port and "unix:" .. host
      or (host:find(":", 1, true) and "http://[%s]:%d" or "http://%s:%d"):format(host, port)
  end
  return list, places
end

-- Seconds after which the watchdog acts; nil: there is none, or it watches another process.
local function watchdog(getenv)
  local pid = getenv("WATCHDOG_PID")
  local seconds = (tonumber(getenv("WATCHDOG_USEC")) or 0) / 1e6
  if seconds > 0 and (not pid or math.tointeger(tonumber(pid)) == core.pid()) then
    return seconds
  end
end

--- The manager of a server that is about to run.
-- @tparam sluice.Runtime runtime
-- @tparam table settings
-- @tparam[opt=os.getenv] function getenv
-- @treturn sluice.Manager|nil nil: none wants to know
function manager.new(runtime, settings, getenv)
  getenv = getenv or os.getenv
  local address = getenv("NOTIFY_SOCKET")
  if not address or not address:find("^[/@]") then return nil end
  local self = setmetatable({ runtime = runtime, address = address, drain = settings.drain,
    watchdog = watchdog(getenv), lost = false }, Manager)
  local longest = self.watchdog and self.watchdog * (1 - 1 / BEATS)
  local budget = settings.handler_budget
  if longest and (budget == 0 or budget >= longest) then
    core.log("warn", ("a handler may compute for %s, and the watchdog ends the server when one "
      .. "holds the app for %g s: raise WatchdogSec"):format(budget == 0 and "ever"
      or ("%g s"):format(budget), longest))
  end
  return self
end

-- One datagram. What cannot be sent is logged once: the manager will act by itself.
local function tell(self, ...)
  local ok, message = core.notify(self.address, table.concat({ ... }, "\n"))
  if ok or self.lost then return end
  self.lost = true
  core.log("warn", ("the service manager at %s is not reached: %s"):format(self.address, message))
end

local function status(text)
  return "STATUS=" .. text:gsub("%c+", " ")
end

-- "512 streams, generation 3; the last reload failed: rules.lua:3: …"
local function summary(runtime)
  local n, last = runtime.server:stats().streams, runtime.reloader and runtime.reloader.last
  return ("%d stream%s, generation %d%s"):format(n, n == 1 and "" or "s", runtime.generation.id,
    last and not last.ok and "; the last reload failed: " .. tostring(last.message) or "")
end

-- From the app's loop, so that a script that holds it for long is noticed.
local function beat(self)
  tell(self, "WATCHDOG=1", status(summary(self.runtime)))
  local after = self.watchdog and self.watchdog / BEATS or STATUS_SECONDS
  self.runtime.scheduler:at(core.now() + after, function() beat(self) end)
end

--- It serves: connections are answered from now on.
function Manager:started()
  tell(self, "READY=1")
  beat(self)
  self.runtime:turn()
end

--- A reload begins; `reloaded` follows, whatever becomes of it.
function Manager:reloading()
  tell(self, "RELOADING=1", ("MONOTONIC_USEC=%d"):format(core.now() * 1e6 // 1),
    status("reloading"))
end

function Manager:reloaded()
  tell(self, "READY=1", status(summary(self.runtime)))
end

--- It stops; the manager gives it the time that the drain may take.
function Manager:stopping()
  local us = (self.drain + STOP_SECONDS) * 1e6 // 1
  tell(self, "STOPPING=1", ("EXTEND_TIMEOUT_USEC=%d"):format(us),
    status("stopping: " .. summary(self.runtime)))
end

return manager
