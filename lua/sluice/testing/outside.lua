--- The app under test, over sockets: a server that the test started, or one that runs
-- already. Time is real here; what needs the inside of the app is refused. Keeps in memory
-- which connections are open.
local access_key = require("sluice.core").id
local caller = require("sluice.base.caller")
local child = require("sluice.testing.child")
local need = require("sluice.base.need")
local socket_found, socket = pcall(need, "socket")

local outside = {}

---@class sluice.testing.Outside
local Outside = {}
Outside.__index = Outside
Outside.virtual = false

local POLL_SECONDS = 0.02 -- at most so long between two looks at what was waited for
local CONNECT_SECONDS = 5
local STOP_SECONDS = 10
local PIECE = 16384

local function need_socket()
  if not socket_found then
    error("real connections need LuaSocket: " .. tostring(socket), 0)
  end
end

-- ---- A connection ------------------------------------------------------------------------

local Link = {}
Link.__index = Link

function Link:write(bytes)
  local last, problem, part = self.tcp:send(bytes)
  if last then return last end
  if problem == "timeout" then return part end
  return nil
end

function Link:read()
  local bytes, problem, part = self.tcp:receive(PIECE)
  if bytes then return bytes end
  if part ~= "" then return part end
  if problem == "timeout" then return "" end
  return nil
end

function Link:close()
  self.place.links[self] = nil
  self.tcp:close()
end

--- Connect.
-- @tparam[opt] integer buffer bytes that our side takes unread
function Outside:dial(buffer)
  local tcp = assert(socket.tcp())
  if buffer and tcp.setoption then pcall(tcp.setoption, tcp, "recv-buffer-size", buffer) end
  tcp:settimeout(CONNECT_SECONDS)
  local ok, problem = tcp:connect(self.address, self.port)
  if not ok then error(("cannot connect to %s: %s"):format(self.host, problem), 0) end
  tcp:settimeout(0)
  tcp:setoption("tcp-nodelay", true)
  local link = setmetatable({ tcp = tcp, place = self }, Link)
  self.links[link] = true
  return link
end

-- ---- Time --------------------------------------------------------------------------------

function Outside.now() return socket.gettime() end
function Outside.time() return socket.gettime() end
function Outside.step() end
function Outside.is_opening() return true end -- not known here

--- Wait until something comes, for a moment, at most up to `till`.
-- @treturn boolean false when it is as late as that
function Outside:move(till)
  local left = till - socket.gettime()
  if left <= 0 then return false end
  local list = {}
  for link in pairs(self.links) do list[#list + 1] = link.tcp end
  left = math.min(left, POLL_SECONDS)
  if #list == 0 then socket.sleep(left) else socket.select(list, nil, left) end
  return true
end

-- ---- The server --------------------------------------------------------------------------

-- Users are left to the app's guards here.
local NO_USERS = {
  give = function()
    error("user = needs the app in this process: over real connections sign in with headers", 0)
  end,
  unclaimed = function() return false end,
  replaced = function() end,
}

local function new(fields)
  need_socket()
  fields.links, fields.users = {}, NO_USERS
  return setmetatable(fields, Outside)
end

--- A place whose server is a process of its own, started by boot().
function outside.new(target, options)
  if options.now then
    error("testing.start: now = needs the app in this process: a server has the real clock", 0)
  end
  if options.nodes then
    error("testing.start: nodes = needs the app in this process: sockets = true has one", 0)
  end
  if options.waits then
    error("testing.start: waits = needs the app in this process: a server takes real time", 0)
  end
  if type(target) == "table" and not target.source then
    error("testing.start: an app object cannot be given to a server: a path or a source", 0)
  end
  return new({ child = child.new(target, options, access_key() .. access_key()) })
end

--- A place whose server runs already.
function outside.remote(url)
  local address, port = tostring(url):match("^http://([^/:]+):?(%d*)/?$")
  if not address then
    caller.raise("testing.remote(url): http://host:port is expected; TLS is for a proxy")
  end
  return new({ address = address, port = tonumber(port) or 80,
    host = port == "" and address or address .. ":" .. port })
end

local function own(self, what)
  if not self.child then error(what .. " needs a server that this test started", 0) end
  return self.child
end

--- Start the server; raises with its log when it does not come up.
function Outside:boot()
  self.port = own(self, "t:restart()"):start(function(seconds) socket.sleep(seconds) end)
  self.address, self.host = "127.0.0.1", "127.0.0.1:" .. self.port
end

--- Ask for a reload.
-- @treturn function gives the outcome when there is one
function Outside:reload(source)
  local process = own(self, "t:reload()")
  local before = #process:text()
  process:change(source)
  process:signal("HUP")
  return function()
    local news = process:text():sub(before + 1)
    if news:find(" reload #%d+ in ") then return { ok = true } end
    local late = news:match("(the disk does not answer: [^\n]*); until then generation %d+ serves")
    if late then return { ok = false, message = late, code = "ETIMEOUT", waits = true } end
    local message = news:match(" reload failed in %w+: ([^\n]*); generation %d+ keeps serving")
    return message and { ok = false, message = message }
  end
end

function Outside:terminate()
  if self.child then self.child:signal("TERM") end
  return STOP_SECONDS
end

function Outside:busy() return self.child and self.child:is_running() end

function Outside:shut()
  if self.child then self.child:finish() end
end

--- The lines of the server's log.
function Outside:log(level) return own(self, "t:log()"):lines(level) end

function Outside:leave()
  for link in pairs(self.links) do link:close() end
  if self.child then self.child:remove() end
end

return outside
