--- The places through which the command line reaches a server: the Unix socket PORT.sock and
-- the admin key, in a folder that only this user can read. Keeps nothing in memory.
local core = require("sluice.core")

local access = {}

-- The runtime folder, or nil where the core cannot make one.
local function folder()
  return core.runtime_dir and core.runtime_dir() or nil
end

--- The socket that a server with these settings listens on, or nil.
-- @tparam table settings
-- @treturn string|nil "{port}" stands for the port, which may not be known yet
function access.socket_for(settings)
  if settings.socket then return settings.socket end
  local dir = folder()
  return dir and dir .. "/{port}.sock"
end

--- The socket of a running server.
-- @tparam integer port
-- @treturn string|nil path, or nil, message
function access.socket_of(port)
  local dir = folder()
  if not dir then return nil, "there is no runtime folder: say --socket" end
  return ("%s/%d.sock"):format(dir, port)
end

-- Lua cannot say with which mode a file is made; the shell can.
local function write_private(path, text)
  local quoted = "'" .. path:gsub("'", "'\\''") .. "'"
  local pipe = io.popen("umask 077 && cat >" .. quoted, "w")
  if not pipe then return false end
  pipe:write(text)
  return pipe:close() == true
end

--- The admin key: the one given, else the one in the runtime folder, made when it is missing.
-- @tparam table settings
-- @treturn string|nil
function access.key_for(settings)
  if settings.admin_key then return settings.admin_key end
  local dir = folder()
  if not dir then return nil end
  local path = dir .. "/admin.key"
  local file = io.open(path, "r")
  local key = file and file:read("l")
  if file then file:close() end
  if key and #key >= 32 then return key end
  key = core.id() .. core.id()
  return write_private(path, key .. "\n") and key or nil
end

return access
