--- The face of wire.lua on an HTTP/2 connection: requests go in as HTTP/1.1 and become streams, answers come out
--- as HTTP/1.1, in the order of the requests. So http.lua and sse.lua, and what asks through them, run over
--- HTTP/2 too (server.lua says when). Each DATA frame comes out as a chunk; a reset is a cut; behind the end
--- of an event stream, and of what asked for `Connection: close`, the connection is over.
local h2 = require("spec.support.h2")
local http = require("spec.support.http")
local socket = require("socket")
local wire = require("spec.support.wire")

local h2_wire = {}

local Face = setmetatable({}, { __index = wire.Wire })
Face.__index = Face

local DROPPED = { host = true, connection = true, ["keep-alive"] = true, ["transfer-encoding"] = true, upgrade = true,
  ["proxy-connection"] = true, te = true }

-- ---- Requests -----------------------------------------------------------------------------

-- A head's text as what the stream is opened with; `left`: bytes of the body, or "chunked".
local function read_head(text)
  local method, target, rest = text:match("^(%S+) (%S+) HTTP/1%.[01]\r\n(.*)$")
  assert(method, "no request that HTTP/2 could have: " .. ("%q"):format(text:sub(1, 200)))
  local out = { method = method, fields = {}, path = target, authority = "", left = 0 }
  for name, value in rest:gmatch("([^\r\n:]+):[ \t]*(.-)[ \t]*\r\n") do
    name = name:lower()
    if name == "host" then out.authority = value end
    if name == "content-length" then out.left = math.tointeger(tonumber(value)) end
    if name == "transfer-encoding" then out.left = "chunked" end
    if name == "connection" and value:lower():find("close", 1, true) then out.closes = true end
    if not DROPPED[name] then out.fields[#out.fields + 1] = { name, value } end
  end
  local authority, path = target:match("^https?://([^/?]*)(.*)$")
  if authority then out.authority, out.path = authority, path:find("^/") and path or "/" .. path end
  return out
end

local function begin(self, head)
  local stream = self.client:open(head.method, head.path, nil, { later = head.left ~= 0,
    fields = h2.fields(head.method, head.path, head.fields, head.authority, self.client.scheme) })
  table.insert(self.asked, { stream = stream, closes = head.closes, method = head.method, shown = 0 })
  self.body = head.left ~= 0 and { stream = stream, left = head.left } or nil
end

-- A part of the body, out of what was sent. False: there is none yet.
local function pass_body(self)
  local body = self.body
  local part, is_last, n
  if body.left == "chunked" then
    part, n = http.parse_chunk(self.sent)
    if not part then return false end
    is_last = part == ""
  else
    part = self.sent:sub(1, body.left)
    if part == "" then return false end
    n = #part
    body.left = body.left - n
    is_last = body.left == 0
  end
  self.sent = self.sent:sub(n + 1)
  if is_last then self.body = nil end
  body.stream:send(part, is_last) -- the answer says it when it has ended
  return true
end

function Face:send(bytes)
  if self.ended then return nil, "closed" end
  self.sent = self.sent .. bytes
  while true do
    if self.body then
      if not pass_body(self) then break end
    else
      local _, stop = self.sent:find("\r\n\r\n", 1, true)
      if not stop then break end
      begin(self, read_head(self.sent:sub(1, stop):sub(1, -3)))
      self.sent = self.sent:sub(stop + 1)
    end
  end
  return #bytes
end

-- ---- Answers ------------------------------------------------------------------------------

local function show_head(one)
  local s = one.stream
  local out = { ("HTTP/1.1 %d \r\n"):format(s.status) }
  for _, field in ipairs(s.fields) do
    if field[1]:sub(1, 1) ~= ":" then out[#out + 1] = ("%s: %s\r\n"):format(field[1], field[2]) end
  end
  one.bare = one.method == "HEAD" or s.status == 204 or s.status == 304
  one.chunked = not one.bare and not s.headers["content-length"]
  one.is_stream = (s.headers["content-type"] or ""):find("text/event-stream", 1, true)
  if one.chunked then out[#out + 1] = "Transfer-Encoding: chunked\r\n" end
  if one.closes then out[#out + 1] = "Connection: close\r\n" end
  one.head = true
  return table.concat(out) .. "\r\n"
end

local function show_body(one)
  local bytes = one.stream.body:sub(one.shown + 1)
  one.shown = one.shown + #bytes
  if bytes == "" or not one.chunked then return bytes end
  return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

-- What has come of the first that has no whole answer yet. True: it has now.
local function show(self, one)
  local s = one.stream
  local out = ""
  if (s.interim or 0) > (one.interim or 0) then
    out, one.interim = ("HTTP/1.1 100 Continue\r\n\r\n"):rep(s.interim - (one.interim or 0)), s.interim
  end
  if s.status and not one.head then out = out .. show_head(one) end
  if one.head then out = out .. show_body(one) end
  if s.ended == "end" and one.chunked then out = out .. "0\r\n\r\n" end
  self.buffer, self.received = self.buffer .. out, self.received + #out
  if s.ended and (s.ended ~= "end" or one.closes or (one.is_stream and one.chunked)) then self.over = true end
  return s.ended
end

local function show_all(self)
  local before = self.received
  while self.asked[1] and show(self, self.asked[1]) do table.remove(self.asked, 1) end
  return self.received > before
end

function Face:fill(seconds)
  if self.ended then return nil, "closed" end
  local more
  local ends = socket.gettime() + seconds -- exactly so long, as in wire.lua
  local _, why = self.client:wait_for(function()
    more = show_all(self)
    return more or self.over
  end, function() return math.max(0, ends - socket.gettime()) end)
  if more then return true end
  if self.over or why == "closed" then
    self.ended = true
    return nil, "closed"
  end
  return nil, why
end

--- HTTP/2 has no such thing: the client stays.
function Face.finish() return true end

function Face:close()
  self.ended = true
  self.client:close()
end

function h2_wire.over(w, options)
  local client = h2.over(w, options)
  return setmetatable({ client = client, sock = w.sock, sent = "", buffer = "", received = 0, asked = {} }, Face)
end

return h2_wire
