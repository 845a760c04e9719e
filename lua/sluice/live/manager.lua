--- The service manager (systemd, or what speaks as it does): the sockets that it hands over
-- (LISTEN_FDS), and what it is told (NOTIFY_SOCKET): ready, reloading, stopping, and now and then
-- from the app's own loop that it turns. In memory: three settings.
local core = require("sluice.core")

local manager = {}

---@class sluice.Manager
local Manager = {}
Manager.__index = Manager

local FIRST = 3 -- the first descriptor that is handed over
local TLS = "tls" -- the name of the one for HTTPS
local MAX = core.limits.HANDED_MAX
local BEATS = 4 -- in the time of the watchdog: a handler may take three quarters of it
local STATUS_SECONDS = 30 -- between two texts for `systemctl status`, without a watchdog
local STOP_SECONDS = 15 -- besides the drain: hooks, handlers, and a script that hangs

local function too_many(n)
  return nil, ("--listen-fd: %d sockets are handed over, %d may be"):format(n, MAX), "EFULL"
end

-- Descriptors that are meant for this process, and not for the one that started it; and their
-- names, as far as they have some.
local function announced(getenv)
  local list, names = {}, {}
  if math.tointeger(tonumber(getenv("LISTEN_PID"))) ~= core.pid() then return list, names end
  local text = getenv("LISTEN_FDS") or "0"
  local n = text:find("^%d+$") and math.tointeger(tonumber(text))
  if not n then
    return nil, ("LISTEN_FDS is '%s': how many sockets are handed over is expected"):format(text),
      "EINVAL"
  end
  if n > MAX then return too_many(n) end
  for name in ((getenv("LISTEN_FDNAMES") or "") .. ":"):gmatch("([^:]*):") do
    names[#names + 1] = name
  end
  for i = 1, n do list[i] = FIRST + i - 1 end
  return list, names
end

-- Where a descriptor listens, as the log names it; or nil, message, code.
local function place_of(fd, scheme)
  local host, port, code = core.listening(fd)
  if not host then
    return nil, ("--listen-fd: descriptor %d is no socket that listens for streams (%s): start "
      .. "Sluice by what opens it, as the socket unit does"):format(fd, port), code
  end
  if not port then return "unix:" .. host end
  return (host:find(":", 1, true) and "%s://[%s]:%d" or "%s://%s:%d"):format(scheme, host, port)
end

local function sort_out(list, names)
  if #list > MAX then return too_many(#list) end
  local out = { plain = {}, places = {} }
  for i, fd in ipairs(list) do
    local secure = names[i] == TLS
    local place, message, code = place_of(fd, secure and "https" or "http")
    if not place then return nil, message, code end
    if secure and out.tls then
      return nil, "two sockets are handed over by the name tls: one may be", "EFULL"
    elseif secure then
      out.tls, out.tls_place = fd, place
    else
      out.plain[#out.plain + 1], out.places[#out.places + 1] = fd, place
    end
  end
  return out
end

--- The sockets to listen on instead of host and port.
-- @tparam string|{integer,...} wanted the setting: "auto", or descriptors
-- @tparam[opt=os.getenv] function getenv
-- @treturn table|nil `plain`: descriptors, none when there are none, `places`: where each listens,
--   as the log names it, `tls` and `tls_place`: of the one for HTTPS; or nil, message, code
function manager.sockets(wanted, getenv)
  if wanted ~= "auto" then return sort_out(wanted, {}) end
  local list, names, code = announced(getenv or os.getenv)
  if not list then return nil, names, code end
  return sort_out(list, names)
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
