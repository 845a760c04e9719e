--- An HTTP/2 client for specs, in frames (RFC 9113): strict about all that it reads, free in what it sends.
---
---   local c = h2.connect(port)                       over TLS where wire.lua does so, else by prior knowledge
---   local r = c:request("GET", "/", { accept = "x" })        r.status, r.headers, r.body, r.fields
---   local s = c:open("GET", "/s"); s:wait("head"); s.body; s:wait("end")
---   c:frame("PING", 0, 0, ("x"):rep(8)); c:wait_for(function() return c.goaway end, 5)
--- Whatever the server may not send raises: frames out of order, beyond a window or a limit, fields that
--- HTTP/2 knows not. SETTINGS and PING are acknowledged, and windows opened again, unless options say:
--- settings ({ [id] = value }), silent (acknowledges nothing), credit (false: no WINDOW_UPDATE is sent),
--- preface (other bytes to begin with), window (SETTINGS_INITIAL_WINDOW_SIZE).
local deadline = require("spec.support.deadline")
local hpack = require("spec.support.hpack")
local wire = require("spec.support.wire")

local h2 = {}

h2.PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
h2.TYPES = { DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
  WINDOW_UPDATE = 8, CONTINUATION = 9 }
h2.ERRORS = { [0] = "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
  "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED" }
h2.CODES = {}
for code, name in pairs(h2.ERRORS) do h2.CODES[name] = code end
-- Settings, by number.
h2.HEADER_TABLE_SIZE, h2.ENABLE_PUSH, h2.MAX_CONCURRENT_STREAMS, h2.INITIAL_WINDOW_SIZE, h2.MAX_FRAME_SIZE,
  h2.MAX_HEADER_LIST_SIZE = 1, 2, 3, 4, 5, 6
h2.END_STREAM, h2.ACK, h2.END_HEADERS, h2.PADDED, h2.PRIORITY = 1, 1, 4, 8, 32

local NAMES = {}
for name, number in pairs(h2.TYPES) do NAMES[number] = name end

local WINDOW, FRAME_MAX, WINDOW_MAX = 65535, 16384, 2 ^ 31 - 1

-- ---- Bytes --------------------------------------------------------------------------------

--- A frame as bytes; type: a name, or a number that nobody knows.
function h2.frame(kind, flags, stream, payload)
  payload = payload or ""
  return string.pack(">I3BBI4", #payload, h2.TYPES[kind] or kind, flags, stream) .. payload
end

function h2.settings(list)
  local out = {}
  for id, value in pairs(list or {}) do out[#out + 1] = string.pack(">I2I4", id, value) end
  return h2.frame("SETTINGS", 0, 0, table.concat(out))
end

--- The fields of a request, in order; headers: a map, or a list of pairs.
function h2.fields(method, path, headers, authority, scheme)
  local out = { { ":method", method }, { ":scheme", scheme or "http" }, { ":path", path }, { ":authority",
    authority or "localhost" } }
  for name, value in pairs(headers or {}) do
    out[#out + 1] = type(name) == "number" and value or { name:lower(), tostring(value) }
  end
  return out
end

-- ---- Streams ------------------------------------------------------------------------------

local Stream = {}
Stream.__index = Stream

local Client = {}
Client.__index = Client

local FORBIDDEN = { connection = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["transfer-encoding"] = true,
  upgrade = true, te = true }

local function check_field(name, value)
  assert(name:find("^[%w!#$%%&'*+.^_`|~-]+$") and not name:find("%u"), "a field is called " .. ("%q"):format(name))
  assert(not FORBIDDEN[name], "HTTP/2 has no field " .. name)
  assert(not value:find("[\r\n%z]") and not value:find("^[ \t]") and not value:find("[ \t]$"),
    ("%s is %q"):format(name, value))
end

-- A head or a trailer.
local function take_fields(s, fields, is_last)
  local status
  local headers = {}
  for i, field in ipairs(fields) do
    local name, value = field[1], field[2]
    if name:sub(1, 1) == ":" then
      assert(i == 1 and name == ":status" and value:find("^%d%d%d$") and not s.status, "a pseudo-field " .. name)
      status = math.tointeger(tonumber(value))
    else
      check_field(name, value)
      headers[name] = headers[name] and headers[name] .. ", " .. value or value
    end
  end
  if s.status then
    assert(is_last and not status, "trailers that are not the end")
    s.trailers = headers
    return
  end
  assert(status, "a head without :status")
  if status < 200 then
    assert(not is_last, "an interim answer ends the stream")
    s.interim = (s.interim or 0) + 1
    return
  end
  s.status, s.headers, s.fields = status, headers, fields
end

local function finish(s)
  local length = s.headers and s.headers["content-length"]
  if length and s.method ~= "HEAD" and s.status ~= 304 then
    assert(tonumber(length) == #s.body, ("content-length %s, and %d bytes"):format(length, #s.body))
  end
  s.ended = "end"
end

--- Wait until it has its "head", is at its "end" (END_STREAM or a reset), or a function of it is true. Returns
--- what it waited for; nil, "timeout" or "closed".
function Stream:wait(what, seconds)
  return self.client:wait_for(function()
    if what == "head" then return self.status or self.ended end
    if what == "end" then return self.ended end
    return what(self)
  end, seconds)
end

--- Send a part of its body, as its windows allow.
function Stream:send(bytes, is_last)
  local c = self.client
  repeat
    local room = c:wait_for(function()
      local n = math.min(self.room, c.room, c.frame_max)
      return self.ended and "ended" or (n > 0 or #bytes == 0) and n
    end, 10)
    if not room or room == "ended" then return nil, self.ended or "timeout" end
    local part = bytes:sub(1, room)
    bytes = bytes:sub(#part + 1)
    self.room, c.room = self.room - #part, c.room - #part
    c:frame("DATA", is_last and #bytes == 0 and h2.END_STREAM or 0, self.id, part)
  until #bytes == 0
  return true
end

function Stream:reset(code)
  self.ended = self.ended or "ours"
  self.client:frame("RST_STREAM", 0, self.id, string.pack(">I4", h2.CODES[code or "CANCEL"]))
end

--- Let the server send so many bytes more on this stream.
function Stream:credit(n)
  self.granted = self.granted + n
  self.client:frame("WINDOW_UPDATE", 0, self.id, string.pack(">I4", n))
end

-- ---- Frames that come ---------------------------------------------------------------------

local ON = {}

local function stream_of(c, frame)
  local s = c.streams[frame.stream]
  assert(s, ("%s on stream %d, which is none"):format(frame.kind, frame.stream))
  return s
end

local function open_stream_of(c, frame)
  local s = stream_of(c, frame)
  assert(not s.ended or s.ended == "ours", ("%s on stream %d, which has ended by %s"):format(frame.kind, s.id,
    tostring(s.ended)))
  return s
end

local function has(frame, flag) return frame.flags & flag ~= 0 end

local function without_padding(frame)
  if not has(frame, h2.PADDED) then return frame.payload end
  local n = frame.payload:byte()
  assert(n < #frame.payload, "more padding than there is")
  return frame.payload:sub(2, #frame.payload - n)
end

function ON.DATA(c, frame)
  local s, n = open_stream_of(c, frame), #frame.payload
  assert(s.status, "DATA before a head")
  s.granted, c.granted = s.granted - n, c.granted - n
  assert(s.granted >= 0 or n == 0, "DATA beyond the window of its stream")
  assert(c.granted >= 0 or n == 0, "DATA beyond the window of the connection")
  s.body = s.body .. without_padding(frame)
  s.frames = (s.frames or 0) + 1
  if n > 0 and c.credit then
    c:give(n)
    if s.credits ~= false and not has(frame, h2.END_STREAM) then s:credit(n) end
  end
  if has(frame, h2.END_STREAM) then finish(s) end
end

function ON.HEADERS(c, frame)
  local s = open_stream_of(c, frame)
  assert(not has(frame, h2.PRIORITY), "a server has no priorities")
  c.block = { stream = s, without_padding(frame), is_last = has(frame, h2.END_STREAM) }
  if has(frame, h2.END_HEADERS) then ON.block(c) end
end

function ON.CONTINUATION(c, frame)
  assert(c.block and c.block.stream.id == frame.stream, "CONTINUATION of nothing")
  table.insert(c.block, frame.payload)
  if has(frame, h2.END_HEADERS) then ON.block(c) end
end

function ON.block(c)
  local block = c.block
  c.block = nil
  take_fields(block.stream, c.decoder:decode(table.concat(block)), block.is_last)
  if block.is_last then finish(block.stream) end
end

function ON.RST_STREAM(c, frame)
  assert(#frame.payload == 4, "RST_STREAM of a wrong size")
  local s = stream_of(c, frame)
  assert(s.ended ~= "reset", "a stream is reset twice")
  s.code = h2.ERRORS[string.unpack(">I4", frame.payload)]
  if s.ended == "end" then -- it wants no more of the body, and the answer holds (8.1)
    assert(s.code == "NO_ERROR", "a stream that has ended is reset")
    return
  end
  s.ended = "reset"
end

local LIMITS = { [2] = 1, [4] = WINDOW_MAX }

function ON.SETTINGS(c, frame)
  assert(frame.stream == 0, "SETTINGS on a stream")
  if has(frame, h2.ACK) then
    assert(frame.payload == "", "an acknowledgement with settings")
    c.acknowledged = (c.acknowledged or 0) + 1
    return
  end
  assert(#frame.payload % 6 == 0, "SETTINGS of a wrong size")
  for at = 1, #frame.payload, 6 do
    local id, value = string.unpack(">I2I4", frame.payload, at)
    assert(not LIMITS[id] or value <= LIMITS[id], "a setting out of its limits")
    if id == h2.INITIAL_WINDOW_SIZE then
      for _, s in pairs(c.streams) do s.room = s.room + value - (c.settings[id] or WINDOW) end
    end
    c.settings[id] = value
  end
  c.frame_max = c.settings[h2.MAX_FRAME_SIZE] or FRAME_MAX
  if not c.silent then c:frame("SETTINGS", h2.ACK, 0) end
end

function ON.PING(c, frame)
  assert(frame.stream == 0 and #frame.payload == 8, "a broken PING")
  if has(frame, h2.ACK) then
    c.pongs[#c.pongs + 1] = frame.payload
  else
    c.pings = (c.pings or 0) + 1
    if not c.silent then c:frame("PING", h2.ACK, 0, frame.payload) end
  end
end

function ON.GOAWAY(c, frame)
  assert(frame.stream == 0 and #frame.payload >= 8, "a broken GOAWAY")
  local last, code = string.unpack(">I4I4", frame.payload)
  assert(not c.goaway or last <= c.goaway.last, "a GOAWAY that takes more than the one before")
  c.goaway = { last = last, code = h2.ERRORS[code] or code, text = frame.payload:sub(9) }
  c.goaways = (c.goaways or 0) + 1
end

function ON.WINDOW_UPDATE(c, frame)
  assert(#frame.payload == 4, "WINDOW_UPDATE of a wrong size")
  local n = string.unpack(">I4", frame.payload)
  local of = frame.stream == 0 and c or stream_of(c, frame)
  assert(n > 0 and n <= WINDOW_MAX and of.room + n <= WINDOW_MAX, "a window out of its limits")
  of.room = of.room + n
end

-- The next frame, or nil, why; a head whose frame is not whole is kept.
local function read_frame(c, left)
  local head, why = c.head, nil
  if not head then head, why = c.wire:read(9, left) end
  if not head then return nil, why end
  c.head = head
  local n, kind, flags, stream = string.unpack(">I3BBI4", head)
  assert(n <= FRAME_MAX, "a frame that is too large")
  assert(stream < 1 << 31, "the reserved bit is set")
  local payload
  payload, why = c.wire:read(n, left)
  if not payload then return nil, why end
  c.head = nil
  return { kind = NAMES[kind] or kind, flags = flags, stream = stream, payload = payload }
end

--- The next frame, when it has had its effect; nil, "timeout" or "closed".
function Client:next(seconds)
  local frame, why = read_frame(self, type(seconds) == "function" and seconds or deadline.after(seconds or 5))
  if not frame then
    if why == "closed" then self.closed = true end
    return nil, why
  end
  assert(self.begun or (frame.kind == "SETTINGS" and frame.flags == 0), "the first frame is no SETTINGS")
  assert(not self.block or frame.kind == "CONTINUATION", "a head is interrupted")
  self.begun = true
  self.seen[frame.kind] = (self.seen[frame.kind] or 0) + 1
  local on = assert(ON[frame.kind], "a server does not send " .. frame.kind)
  on(self, frame)
  return frame
end

--- Read until the function returns something true, which is returned; nil, "timeout" or "closed".
function Client:wait_for(done, seconds)
  local left = type(seconds) == "function" and seconds or deadline.after(seconds or 5)
  while true do
    local result = done()
    if result then return result end
    local frame, why = self:next(left)
    if not frame then
      result = done()
      if result then return result end
      return nil, why
    end
  end
end

--- Read what is there, and until the server has answered a PING: what was sent before has had its effect.
--- True, or nil, why.
function Client:sync(seconds)
  self.n_pings = (self.n_pings or 0) + 1
  local word = ("ping%04d"):format(self.n_pings)
  self:frame("PING", 0, 0, word)
  return self:wait_for(function() return self.pongs[#self.pongs] == word end, seconds)
end

--- Read until the server closes: true, or nil, "timeout". Frames count as ever.
function Client:wait_closed(seconds)
  local left = deadline.after(seconds or 5)
  repeat
    local frame, why = self:next(left)
    if not frame then return why == "closed" or nil, why end
  until false
end

-- ---- What is sent -------------------------------------------------------------------------

function Client:send(bytes) return self.wire:send(bytes) end
function Client:frame(...) return self:send(h2.frame(...)) end

--- Let the server send so many bytes more.
function Client:give(n)
  self.granted = self.granted + n
  self:frame("WINDOW_UPDATE", 0, 0, string.pack(">I4", n))
end

--- A stream that the frames to come may belong to; nothing is sent.
function Client:stream()
  local id = self.next_id
  self.next_id = id + 2
  local s = setmetatable({ id = id, client = self, body = "", granted = self.window,
    room = self.settings[h2.INITIAL_WINDOW_SIZE] or WINDOW }, Stream)
  self.streams[id] = s
  return s
end

--- Send a request's head. options: authority, body (all of it, with the end), later (true: its body comes
--- later), fields (all of them, instead), credits (false: its window is not opened again).
function Client:open(method, path, headers, options)
  local o = options or {}
  local s = self:stream()
  s.method, s.credits = method, o.credits
  local fields = o.fields or h2.fields(method, path, headers, o.authority or self.authority, self.scheme)
  local flags = h2.END_HEADERS | ((o.body or o.later) and 0 or h2.END_STREAM)
  self:send(h2.frame("HEADERS", flags, s.id, self.encode(fields)))
  if o.body then s:send(o.body, true) end
  return s
end

--- A request and its whole answer.
function Client:request(method, path, headers, body, seconds)
  local s = self:open(method, path, headers, { body = body })
  local ended, why = s:wait("end", seconds)
  if ended ~= "end" then return nil, ended and "reset: " .. tostring(s.code) or why end
  return s
end

function Client:get(path, headers) return assert(self:request("GET", path, headers)) end
function Client:post(path, body, headers) return assert(self:request("POST", path, headers, body or "")) end

function Client:close() self.wire:close() end

-- ---- Connecting ---------------------------------------------------------------------------

--- Over something with the methods of wire.lua.
function h2.over(w, options)
  local o = options or {}
  local c = setmetatable({ wire = w, streams = {}, settings = {}, seen = {}, pongs = {}, next_id = 1, room = WINDOW,
    granted = WINDOW, frame_max = FRAME_MAX, silent = o.silent, credit = o.credit ~= false, window = o.window or WINDOW,
    authority = o.authority, scheme = o.scheme, encode = hpack.encode, decoder = hpack.decoder() }, Client)
  local settings = { [h2.ENABLE_PUSH] = 0, [h2.INITIAL_WINDOW_SIZE] = o.window }
  for id, value in pairs(o.settings or {}) do settings[id] = value end
  if o.encoder then c.encode = hpack.encoder() end
  c:send(o.preface or h2.PREFACE .. h2.settings(settings))
  return c
end

function h2.connect(port, options)
  local o = setmetatable({ authority = ("localhost:%d"):format(port) }, { __index = options })
  o.scheme = wire.secure[port] and not o.plain and "https" or "http"
  local w, why = wire.connect(port, { rcvbuf = o.rcvbuf, protocol = "h2", plain = o.plain, from = o.from })
  if not w then return nil, why end
  return h2.over(w, o)
end

return h2
