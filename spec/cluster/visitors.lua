--- Who visits machines from outside: readers with a cursor, as a browser has one, that hop from machine to machine,
--- and writers that publish one event after the other. Each writes down what it saw, for checker.lua.
---   local r = visitors.reader(channels)    r:go(port, node), r:read() -> false: over, r:leave(how), r.log, r.sock
---   local w = visitors.writer(lane, ops)   w:ask(port, node, channel), w:read() -> true: answered, w:lose(), w.sock
--- Nothing waits, but for a connection, and that only shortly: sockets are looked at by machines.lua.
local http = require("spec.support.http")
local json = require("sluice.json")
local socket = require("socket")

local visitors = {}

local CONNECT_SECONDS = 0.5
local BODY_BYTES = 60

local function connect(port)
  local sock = socket.tcp4()
  sock:settimeout(CONNECT_SECONDS)
  if not sock:connect("127.0.0.1", port) then
    sock:close()
    return nil
  end
  sock:setoption("tcp-nodelay", true)
  return sock
end

-- All that has come, and whether that was the end.
local function receive(sock)
  local pieces = {}
  sock:settimeout(0)
  while true do
    local data, why, part = sock:receive(65536)
    pieces[#pieces + 1] = data or part
    if not data then return table.concat(pieces), why == "closed" end
  end
end

-- ---- Readers ----------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

--- One that follows these channels. Each event's name is its channel, its data begins with its uid; those of channels
--- of one machine say of which process they are, and count.
function visitors.reader(channels)
  return setmetatable({ channels = channels, log = {}, path = "/follow/" .. table.concat(channels, "-") }, Reader)
end

function Reader:note(what, fields)
  fields = fields or {}
  fields.what, fields.at = what, socket.gettime()
  self.log[#self.log + 1] = fields
end

function Reader:go(port, node, token)
  local sock = connect(port)
  if not sock then return false end
  sock:send(http.request_text("GET", self.path, { Accept = "text/event-stream", ["Last-Event-ID"] = self.last_id },
    nil, "127.0.0.1:" .. port))
  self.sock, self.text, self.body, self.head = sock, "", "", nil
  self:note("connect", { node = node, id = self.last_id, token = token })
  return true
end

local function take_block(self, text)
  local block = { event = "message" }
  for name, value in text:gmatch("(%l+): ?([^\n]*)") do block[name] = value end
  if not block.data then return end
  self.last_id = block.id or self.last_id
  if block.event == "reset" then
    local told = json.decode(block.data)
    self:note("reset", { channel = told.channel, reason = told.reason, id = self.last_id })
  elseif block.event == "hello" or block.event == "sync" or block.event == "bye" then
    self:note(block.event, { id = self.last_id, data = block.data })
  elseif block.event == "own" or block.event == "load" then
    local from, n = block.data:match("^(%S+) (%d+)$")
    self:note("owned", { kind = block.event, from = from, n = tonumber(n), has_id = block.id ~= nil })
  else
    self:note("event", { channel = block.event, uid = block.data:match("^%S+"), id = self.last_id })
  end
end

-- Take chunks off the text, and whole blocks off the body; what was cut in the middle is thrown away.
local function take(self)
  if not self.head then
    local _, stop = self.text:find("\r\n\r\n", 1, true)
    if not stop then return true end
    self.head, self.text = self.text:sub(1, stop), self.text:sub(stop + 1)
    local status = self.head:match("^HTTP/1.1 (%d+) ")
    if status ~= "200" then
      self:note("refused", { status = status })
      return false
    end
  end
  local pieces = { self.body }
  while true do
    local piece, n = http.parse_chunk(self.text)
    if not piece then break end
    pieces[#pieces + 1], self.text = piece, self.text:sub(n + 1)
  end
  local body = table.concat(pieces)
  local whole = body:match("^.*\n\n") or ""
  self.body = body:sub(#whole + 1)
  for block in whole:gmatch("(.-)\n\n") do take_block(self, block) end
  return true
end

--- Read what has come; false: the stream is over.
function Reader:read()
  local data, over = receive(self.sock)
  self.text = self.text .. data
  return take(self) and not over
end

function Reader:leave(how)
  if not self.sock then return end
  self.sock:close()
  self.sock = nil
  self:note("end", { how = how })
end

--- Whether an event of each of its channels has this beginning.
function Reader:has_all(uids)
  local found = {}
  for i = #self.log, 1, -1 do
    local one = self.log[i]
    if one.what == "event" and uids[one.channel] == one.uid then found[one.channel] = true end
  end
  for _, channel in ipairs(self.channels) do
    if not found[channel] then return false end
  end
  return true
end

-- ---- Writers ----------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

--- `ops`: the list that all of them write into.
function visitors.writer(lane, ops)
  return setmetatable({ lane = lane, ops = ops, number = 0 }, Writer)
end

--- Publish the next one. False: nobody listens there. `bytes`: how long it is.
function Writer:ask(port, node, channel, bytes)
  if self.sock and self.port ~= port then self:lose() end
  self.sock = self.sock or connect(port)
  if not self.sock then return false end
  self.number, self.port, self.text = self.number + 1, port, ""
  local uid = self.lane .. "-" .. self.number
  self.op = { uid = uid, lane = self.lane, channel = channel, node = node, asked = socket.gettime() }
  self.ops[#self.ops + 1] = self.op
  local sent = self.sock:send(http.request_text("POST", "/pub/" .. channel, { ["Content-Type"] = "text/plain" },
    uid .. " " .. ("x"):rep(bytes or BODY_BYTES), "127.0.0.1:" .. port))
  if not sent then self:lose() end
  return true
end

local function answer(self, result, id, code)
  local op = self.op
  self.op = nil
  op.result, op.id, op.code, op.answered = result, id, code, socket.gettime()
end

--- Its connection is gone, or given up: what was not answered is not known.
function Writer:lose()
  if self.sock then self.sock:close() end
  self.sock = nil
  if self.op then answer(self, "unknown") end
end

--- Read what has come; true: that was an answer, or the end.
function Writer:read()
  local data, over = receive(self.sock)
  self.text = self.text .. data
  local head, rest = self.text:match("^(.-\r\n\r\n)(.*)$")
  local n = head and tonumber(head:match("\r\n[Cc]ontent%-[Ll]ength: (%d+)"))
  local is_whole = n and #rest >= n
  if is_whole and self.op then
    local told = json.decode(rest:sub(1, n))
    local code = told.code or (told.error or {}).code or head:match("^HTTP/1.1 (%d+)")
    if told.id then answer(self, "ok", told.id)
    elseif code == "ETIMEOUT" or code == "ESTORE" then answer(self, "unknown", nil, code)
    else answer(self, "no", nil, code) end
    self.text = ""
  end
  if over then self:lose() end
  return is_whole or over
end

return visitors
