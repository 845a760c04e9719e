--- The server behind a lab when the lab starts it: a program that is killed and started again when
--- it is asked for, and ended with the lab. In memory: its pid.
local core = require("sluice.core")

local backend = {}

local Backend = {}
Backend.__index = Backend

local LOOK_SECONDS, END_SECONDS = 0.2, 6

--- Start it. It finds the port in PORT and SLUICE_PORT.
-- @tparam {string,...} words
-- @tparam integer port
-- @treturn table|nil or nil and why not
function backend.start(words, port)
  core.setenv("PORT", tostring(port))
  core.setenv("SLUICE_PORT", tostring(port))
  local self = setmetatable({ words = words }, Backend)
  local ok, message = self:begin()
  if not ok then return nil, message end
  return self
end

function Backend:begin()
  local pid, message = core.spawn(self.words)
  if not pid then return nil, ("%s cannot be started: %s"):format(self.words[1], message) end
  self.pid = pid
  return true
end

--- Whether it has ended by itself: its exit code.
function Backend:ended()
  local code = self.pid and core.ended(self.pid)
  if code then self.pid = nil end
  return code
end

--- Kill it, as a crash would, and start it again.
-- @treturn boolean|nil or nil and why not
function Backend:restart()
  local pid = self.pid
  self.pid = nil -- its end is no news
  if pid then
    core.kill(pid, "KILL")
    core.ended(pid, END_SECONDS)
  end
  return self:begin()
end

--- Call `fn` with the exit code when it has ended by itself.
function Backend:watch(sleep, fn)
  while true do
    local code = self:ended()
    if code then return fn(code) end
    sleep(LOOK_SECONDS)
  end
end

--- End it, gently at first.
function Backend:stop()
  if not self.pid then return end
  core.kill(self.pid, "TERM")
  if core.ended(self.pid, END_SECONDS) then return end
  core.kill(self.pid, "KILL")
  core.ended(self.pid, END_SECONDS)
end

return backend
