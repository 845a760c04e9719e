--- How the command line reaches a server: the Unix socket PORT.sock and the admin key, in a
-- folder that only this user can read. Keeps nothing in memory.
local core = require("sluice.core")

local access = {}

local KEY_LEAST = 32 -- characters; a shorter key could be guessed
local GIVEN_LEAST = 16 -- of one that somebody chose: a shorter one is warned of

--- The socket of a running server.
-- @tparam integer port
-- @treturn string|nil path, or nil, message
function access.socket_of(port)
  local dir, why = core.runtime_dir()
  if not dir then return nil, ("there is no runtime folder (%s): say --socket"):format(why) end
  return ("%s/%d.sock"):format(dir, port)
end

-- The key that is kept in the folder, made when it is missing.
local function kept_key(dir, say)
  local path = dir .. "/admin.key"
  local file = io.open(path, "r")
  local key = file and file:read("l")
  if file then file:close() end
  if key and #key >= KEY_LEAST then return key end
  if key then say("%s has less than %d characters: a new key takes its place", path, KEY_LEAST) end
  key = core.id() .. core.id()
  local ok, message = core.write_private(path, key .. "\n")
  if ok then return key end
  say("no admin key: %s: %s; /-/ is closed over TCP without --admin-key", path, message)
end

--- How a server with these settings can be reached.
-- @tparam table settings
-- @treturn table `control`: path of the socket, where "{port}" stands for the port, which may not
--   be known yet; `control_needed`: it was set explicitly; `admin_key`. Absent: not available.
-- @treturn {string,...} warnings about that
function access.of(settings)
  local out, notes = { control = settings.socket, control_needed = settings.socket ~= nil,
    admin_key = settings.admin_key }, {}
  local function say(text, ...) notes[#notes + 1] = text:format(...) end
  if out.admin_key and #out.admin_key < GIVEN_LEAST then
    say("the admin key has %d characters, and may be guessed: take %d at random", #out.admin_key,
      KEY_LEAST)
  end
  if out.control and out.admin_key then return out, notes end
  local dir, why = core.runtime_dir()
  if not dir then
    say("no runtime folder (%s): sluice reload needs --socket, /-/ over TCP an --admin-key", why)
    return out, notes
  end
  if why then say("the runtime folder is %s (%s)", dir, why) end
  out.control = out.control or dir .. "/{port}.sock"
  out.admin_key = out.admin_key or kept_key(dir, say)
  return out, notes
end

return access
