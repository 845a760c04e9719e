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

-- Whether a value is what a shape says: the name of a type, a list of one shape, or fields.
local function fits(value, shape)
  if type(shape) == "string" then return type(value) == shape end
  if type(value) ~= "table" then return false end
  if shape[1] then
    if next(value) ~= nil and #value == 0 then return false end -- an object
    for _, one in ipairs(value) do
      if not fits(one, shape[1]) then return false end
    end
    return true
  end
  for name, one in pairs(shape) do
    local field = value[name:match("^(.-)%??$")]
    if not (field == nil and name:sub(-1) == "?") and not fits(field, one) then return false end
  end
  return true
end

-- Nil when no Sluice said that.
local function read_answer(text, shape)
  local status, rest = text:match("^HTTP/1%.%d (%d%d%d)[^\r\n]*(.*)$")
  local body = rest and rest:match("\r\n\r\n(.*)$")
  local value = body and json.decode(body)
  if type(value) ~= "table" then return nil end
  if value.error ~= nil then shape = { error = { message = "string" } } end
  if type(shape) == "function" then shape = shape(value) end
  if not fits(value, shape or {}) then return nil end
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
-- @tparam[opt] table|function shape what an answer without `error` has: by name (with ? where it
--   may be missing) the name of a type, `{ shape }` for a list, or fields again; or a function that
--   gives this for an answer
-- @treturn table|nil the JSON answer, or nil, message
-- @treturn integer status
function remote.ask(given, method, target, body, shape)
  local path, port = socket_path(given)
  if not path then return nil, port end
  local text, why = core.call(path, ("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    .. "Content-Length: %d\r\n\r\n%s"):format(method, target, #(body or ""), body or ""), SECONDS)
  if not text then
    return nil, ("no server answers at %s: %s%s"):format(path, why, port and hint(port) or "")
  end
  local answer, status = read_answer(text, shape)
  if answer then return answer, status end
  return nil, ("the server at %s answered something else than a Sluice"):format(path)
end

return remote
