--- What stands between a client and a server, or in place of a server, step by step in the spec's own process.
---   local m = middle.proxy(port)            to a server on this machine; m.port
---   m.cut = { up = n } or { down = n }      after so many bytes of that direction both ends are closed; with
---                                           once = true only those, and m.cut is nil then
---   m.hole = true                           takes connections and bytes, and passes nothing on
---   m.one_by_one = true                     each byte in a segment of its own
---   m.half = "up" or "down"                 passes on what goes that way alone
---   m.delay = seconds                       all of it comes so much later
---   m.swallow = text                        once that went up, what comes down is lost, and both ends are closed
---   m.to = port                             of another server, for the next connection
---   m:cut_all()                             closes all that it has; m.swallowed, m.was_cut count what was done
---   local m = middle.fake(answer)           a server: answer(words, connection) -> bytes, or nil to close; with
---                                           connection.over = true it is closed behind them
---   local m = middle.deaf()                 a port that takes no connection
---   m:step(), m:shut()
local redis = require("spec.support.redis")
local socket = require("socket")

local middle = {}

local Middle = {}
Middle.__index = Middle

local function listen(kind)
  local listener = assert(socket.bind("127.0.0.1", 0, 64))
  listener:settimeout(0)
  local _, port = listener:getsockname()
  return setmetatable({ kind = kind, listener = listener, port = math.tointeger(tonumber(port)), conns = {},
    moved = { up = 0, down = 0 } }, Middle)
end

function middle.proxy(port)
  local self = listen("proxy")
  self.to = port
  return self
end

function middle.fake(answer)
  local self = listen("fake")
  self.answer = answer
  return self
end

-- Its queue is full, so that the kernel answers no more.
function middle.deaf()
  local self = listen("deaf")
  self.listener:close()
  self.listener = assert(socket.tcp4())
  assert(self.listener:bind("127.0.0.1", redis.free_port()))
  assert(self.listener:listen(0))
  local _, port = self.listener:getsockname()
  self.port = math.tointeger(tonumber(port))
  for i = 1, 4 do
    local s = assert(socket.tcp4())
    s:settimeout(0)
    s:connect("127.0.0.1", self.port)
    self.conns[i] = { client = s }
  end
  return self
end

function Middle:close(conn)
  conn.client:close()
  if conn.server then conn.server:close() end
  self.conns[conn] = nil
end

function Middle:accept()
  local client = self.listener:accept()
  if not client then return end
  client:settimeout(0)
  client:setoption("tcp-nodelay", true)
  local conn = { client = client, text = "", up = "", down = "", late = { up = {}, down = {} } }
  self.conns[conn] = true
  if not self.to then return end
  conn.server = socket.connect("127.0.0.1", self.to)
  if not conn.server then return self:close(conn) end -- it is refused there, and here
  conn.server:settimeout(0)
  conn.server:setoption("tcp-nodelay", true)
end

function Middle:cut_all()
  for conn in pairs(self.conns) do self:close(conn) end
end

-- What has come, "" or nil when it was closed.
local function read(s)
  local data, why, part = s:receive(65536)
  if data or part ~= "" then return data or part end
  return why ~= "closed" and "" or nil
end

-- What the other end takes now; the rest. It never waits, since that end is in the same process.
local function write(s, data)
  local last, _, part = s:send(data)
  return data:sub((last or part or 0) + 1)
end

-- What is due of what has come, now and before.
function Middle:due(late, data)
  if not self.delay then return data end
  if data ~= "" then late[#late + 1] = { socket.gettime() + self.delay, data } end
  data = ""
  while late[1] and late[1][1] <= socket.gettime() do data = data .. table.remove(late, 1)[2] end
  return data
end

-- Whether that connection has an answer to lose now.
function Middle:swallows(conn, way, data)
  if not self.swallow then return false end
  if way == "up" then
    conn.tail = (conn.tail or ""):sub(-#self.swallow) .. data
    conn.lost = conn.lost or conn.tail:find(self.swallow, 1, true) ~= nil
    return false
  end
  if not conn.lost then return false end
  self.swallow, self.swallowed = nil, (self.swallowed or 0) + 1
  return true
end

-- False: the connection is over.
function Middle:move(conn, way)
  local from, to = conn.client, conn.server
  if way == "down" then from, to = to, from end
  if conn[way] ~= "" then
    conn[way] = write(to, conn[way])
    return true
  end
  local data = read(from)
  if not data then return false end
  data = self:due(conn.late[way], data)
  if data == "" or self.hole or self.half and self.half ~= way then return true end
  if self:swallows(conn, way, data) then return false end
  local limit = self.cut and self.cut[way]
  local over = limit and self.moved[way] + #data >= limit
  if over then data = data:sub(1, math.max(0, limit - self.moved[way])) end
  if over then
    self.was_cut = (self.was_cut or 0) + 1
    if self.cut.once then self.cut = nil end
  end
  self.moved[way] = self.moved[way] + #data
  if self.one_by_one then
    for i = 1, #data do conn[way] = conn[way] .. write(to, data:sub(i, i)) end
  else
    conn[way] = write(to, data)
  end
  return not over
end

-- A command at the front of what has come: its words, and the rest.
local function take_command(text)
  local n, at = text:match("^%*(%d+)\r\n()")
  local words = {}
  for i = 1, tonumber(n) or 0 do
    local length, from = text:match("^%$(%d+)\r\n()", at)
    if not length or #text < from + length + 1 then return nil, text end
    words[i], at = text:sub(from, from + length - 1), from + length + 2
  end
  if not n then return nil, text end
  return words, text:sub(at)
end

function Middle:serve(conn)
  conn.down = write(conn.client, conn.down)
  local data = read(conn.client)
  if not data or conn.over and conn.down == "" then return self:close(conn) end
  if conn.over then return end
  conn.text = conn.text .. data
  repeat
    local words
    words, conn.text = take_command(conn.text)
    local bytes = words and self.answer(words, conn)
    if words and not bytes then return self:close(conn) end
    if bytes then conn.down = write(conn.client, conn.down .. bytes) end
  until not words or conn.over
end

function Middle:step()
  if self.kind == "deaf" then return end
  self:accept()
  for conn in pairs(self.conns) do
    if self.kind == "fake" then
      self:serve(conn)
    elseif not (self:move(conn, "up") and self:move(conn, "down")) then
      self:close(conn)
    end
  end
end

function Middle:shut()
  for key, conn in pairs(self.conns) do
    local c = type(key) == "table" and key or conn
    c.client:close()
    if c.server then c.server:close() end
  end
  self.listener:close()
end

return middle
