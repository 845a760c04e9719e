--- One connection to Redis as the coroutine of a source sees it: open, ask, close. Nothing else
--- waits meanwhile. In memory: the replies to what was asked at once.
local cluster = require("sluice.live.cluster")
local transfer = require("sluice.out.transfer")

local connection = {}

---@class sluice.sources.Connection
local Connection = {}
Connection.__index = Connection

local WHAT = "a source of Redis"

--- Read a URL.
-- @tparam string url
-- @treturn table|nil host and port, or path, or sentinels and set; db, user, password, tls; or nil,
--   message
function connection.read(url)
  local to, why = cluster.read(url)
  if to then return to end
  return nil, (why:gsub("^%-%-cluster: ", ""))
end

local function wait(self)
  local scheduler = self.runtime.scheduler
  self.fiber = scheduler.current
  return scheduler:wait(WHAT)
end

-- ---- Called by the core ------------------------------------------------------------------

local function wake(self, ...)
  local fiber = self.fiber
  self.fiber = nil
  if fiber then self.runtime.scheduler:resume(fiber, ...) end
end

function Connection:on_open() wake(self, true) end

function Connection:on_reply(reply)
  self.n = self.n + 1
  self.replies[self.n] = reply
  if self.n == self.wanted then wake(self, true) end
end

function Connection:on_closed(why)
  self.closed, self.runtime.connections[self.id] = (why:gsub("%-%-cluster%-", "")), nil
  wake(self, nil, why)
end

-- ---- Called by a coroutine ---------------------------------------------------------------

--- Send commands together, and wait for all replies.
-- @tparam table commands each a list of texts
-- @tparam[opt=0] number seconds that the last one may take by itself
-- @treturn table|nil replies: texts, integers, false, lists, { err = text }; or nil, message
function Connection:ask_all(commands, seconds)
  if self.closed then return nil, self.closed end
  self.replies, self.n, self.wanted = {}, 0, #commands
  for _, words in ipairs(commands) do
    local ok, message = self.runtime.server:redis_ask(self.id,
      math.ceil((seconds or 0) * 1000), table.unpack(words))
    if not ok then return nil, message end
  end
  local ok, why = wait(self)
  if ok then return self.replies end
  return nil, why
end

--- Send one command, and wait for its reply.
-- @tparam number seconds that it may take by itself
-- @tparam string ... its words
-- @return the reply; nil, message: also when it is an error
function Connection:ask(seconds, ...)
  local replies, why = self:ask_all({ { ... } }, seconds)
  if not replies then return nil, why end
  local reply = replies[1]
  if type(reply) == "table" and reply.err then return nil, reply.err end
  return reply
end

--- Close it.
function Connection:close()
  if self.closed then return end
  self.closed, self.fiber = "closed", nil
  pcall(self.runtime.server.redis_close, self.runtime.server, self.id) -- it may be gone at the end
end

Connection.__close = Connection.close
Connection.__gc = Connection.close

-- Who we are, and in which database. Nil, message: that is refused.
local function greet(self, to, name)
  local commands = {}
  if to.password then
    commands[1] = to.user and { "AUTH", to.user, to.password } or { "AUTH", to.password }
  end
  if to.db > 0 then commands[#commands + 1] = { "SELECT", tostring(to.db) } end
  local strict = #commands
  commands[#commands + 1] = { "CLIENT", "SETNAME", name }
  local replies, why = self:ask_all(commands)
  if not replies then return nil, why end
  for i = 1, strict do
    if type(replies[i]) == "table" and replies[i].err then return nil, replies[i].err end
  end
  return true
end

-- Open one, and say who we are.
local function dial(to, name)
  local runtime = transfer.runtime(WHAT)
  local id, message = runtime.server:redis_open(to.path or to.host, to.port, to.tls)
  if not id then return nil, message end
  local self = setmetatable({ runtime = runtime, id = id, replies = {}, n = 0, wanted = 0 },
    Connection)
  runtime.connections[id] = self
  local ok
  ok, message = wait(self)
  if ok then ok, message = greet(self, to, name) end
  if ok then return self end
  self:close()
  return nil, message
end

-- ---- Sentinels ---------------------------------------------------------------------------

-- What one of them calls the master: host, port; or nil, message.
local function ask_sentinel(to, host, port, name)
  local c <close>, why = dial({ host = host, port = port, tls = to.tls, db = 0,
    password = to.sentinel_password }, name)
  if not c then return nil, why end
  local reply, message = c:ask(0, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", to.set)
  if type(reply) == "table" then return reply[1], math.tointeger(tonumber(reply[2])) end
  return nil, message or ("knows no master '%s'"):format(to.set)
end

-- The first that they name and that says of itself that it is one.
local function dial_master(to, name)
  local last
  for sentinel, at in to.sentinels:gmatch("(%S+) (%d+)") do
    local host, port = ask_sentinel(to, sentinel, math.tointeger(tonumber(at)), name)
    if host then
      local c, why = dial({ host = host, port = port, tls = to.tls, db = to.db, user = to.user,
        password = to.password }, name)
      local role = c and c:ask(0, "ROLE")
      if type(role) == "table" and role[1] == "master" then return c end
      if c then c:close() end
      last = ("%s:%d, which the Sentinel %s:%s calls the master: %s"):format(host, port, sentinel,
        at, why or "is none")
    else
      last = ("Sentinel %s:%s: %s"):format(sentinel, at, port)
    end
  end
  return nil, last
end

-- ---- Both --------------------------------------------------------------------------------

--- Open one, and say who we are.
-- @tparam table to as connection.read has it
-- @tparam string name for CLIENT LIST
-- @treturn sluice.sources.Connection|nil or nil, message
function connection.open(to, name)
  if to.sentinels then return dial_master(to, name) end
  return dial(to, name)
end

return connection
