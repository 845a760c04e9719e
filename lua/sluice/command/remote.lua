--- Sends requests to a running server through its Unix socket, for the command line.
-- Keeps nothing in memory.
local core = require("sluice.core")
local access = require("sluice.live.access")
local json = require("sluice.json")
local procfs = require("sluice.base.procfs")

local remote = {}

local SECONDS = 60 -- a reload may wait for the generation that retires, and for its handlers

-- As for the server itself: a flag wins over the environment, that over the default.
-- The path, and the port that it was made of.
local function socket_path(given)
  local socket = given.socket or not given.port and os.getenv("SLUICE_SOCKET")
  if socket and socket ~= "" then return socket end
  local port = math.tointeger(tonumber(given.port or os.getenv("SLUICE_PORT") or 5121))
  if not port then return nil, ("--port: a number is expected, not '%s'"):format(given.port) end
  local path, message = access.socket_of(port)
  return path, message or port
end

-- Why there may be no answer at the path of this user's servers.
local function hint(port)
  local listening, user = procfs.is_listening("", port)
  if listening == nil then return "" end
  if not listening then return ("; nothing listens on port %d"):format(port) end
  return ("; port %d belongs to a program of the user %s: ask as that user, or say --socket with "
    .. "the one that it was started with"):format(port, procfs.user_name("", user or "?"))
end

local function read_answer(text)
  local status, rest = text:match("^HTTP/1%.%d (%d%d%d)[^\r\n]*(.*)$")
  local body = rest and rest:match("\r\n\r\n(.*)$")
  local value = body and json.decode(body)
  if type(value) ~= "table" then return nil, "the server's answer cannot be read" end
  return value, math.tointeger(tonumber(status))
end

--- Add the options that name the server.
-- @param command of argparse
function remote.add(command)
  command:option("--port", "port of the running server (default: 5121)"):argname("<n>")
  command:option("--socket", "its Unix socket, when --socket was given to it"):argname("<path>")
end

--- One request.
-- @tparam table given { port, socket } from the command line
-- @tparam string method
-- @tparam string target
-- @tparam[opt=""] string body
-- @treturn table|nil the JSON answer, or nil, message
-- @treturn integer status
function remote.ask(given, method, target, body)
  local path, port = socket_path(given)
  if not path then return nil, port end
  local text, why = core.call(path, ("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    .. "Content-Length: %d\r\n\r\n%s"):format(method, target, #(body or ""), body or ""), SECONDS)
  if not text then
    return nil, ("no server answers at %s: %s%s"):format(path, why, port and hint(port) or "")
  end
  return read_answer(text)
end

return remote
