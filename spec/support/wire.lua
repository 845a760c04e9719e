--- A TCP connection with a read buffer and deadlines, under http.lua and sse.lua.
local deadline = require("spec.support.deadline")
local socket = require("socket")

-- Ports that speak TLS, and those that are asked over HTTP/2: see server.lua.
local wire = { secure = {}, h2 = {} }

local Wire = {}
Wire.__index = Wire
wire.Wire = Wire

local function secure(sock, host, protocol)
  local over, why = require("spec.support.tls").wrap(sock, host, protocol)
  if not over then sock:close() end
  return over, why
end

local function over_h2(port, options)
  local w, why = wire.connect(port, setmetatable({ protocol = "h2" }, { __index = options }))
  if not w then return nil, why end
  return require("spec.support.h2_wire").over(w, { scheme = wire.secure[port] and "https" or "http" })
end

--- options: host (127.0.0.1), rcvbuf (SO_RCVBUF before connect), from (source address), plain (no
--- TLS and no HTTP/2, whatever the port speaks), protocol (asked for by ALPN).
function wire.connect(port, options)
  options = options or {}
  if wire.h2[port] and not options.plain and not options.protocol then return over_h2(port, options) end
  local host = options.host or "127.0.0.1"
  local sock = host:find(":", 1, true) and socket.tcp6() or socket.tcp4()
  if options.rcvbuf then assert(sock:setoption("recv-buffer-size", options.rcvbuf)) end
  if options.from then assert(sock:bind(options.from, 0)) end
  sock:settimeout(5 * deadline.scale)
  local ok, err = sock:connect(host, port)
  if not ok then
    sock:close()
    return nil, err
  end
  sock:setoption("tcp-nodelay", true)
  if wire.secure[port] and not options.plain then
    sock, err = secure(sock, host, options.protocol)
    if not sock then return nil, err end
  end
  return setmetatable({ sock = sock, buffer = "", received = 0 }, Wire)
end

--- Write all of it; nil, "closed" when the peer is gone.
function Wire:send(bytes)
  self.sock:settimeout(10 * deadline.scale)
  return self.sock:send(bytes)
end

--- Wait up to `seconds` for more bytes: true, or nil and "timeout" or "closed".
function Wire:fill(seconds)
  if self.ended then return nil, "closed" end
  local began = socket.gettime()
  local ready = socket.select({ self.sock }, nil, seconds)
  if #ready == 0 then return nil, "timeout" end
  self.sock:settimeout(0)
  local data, err, partial = self.sock:receive(65536)
  data = data or partial
  self.received = self.received + #data
  self.buffer = self.buffer .. data
  if #data > 0 then return true end
  if err == "timeout" then -- what came was TLS's own
    return self:fill(math.max(0, seconds - (socket.gettime() - began)))
  end
  self.ended = true
  return nil, "closed"
end

function Wire:take(n)
  local bytes = self.buffer:sub(1, n)
  self.buffer = self.buffer:sub(n + 1)
  return bytes
end

--- Exactly n bytes, or nil, reason.
function Wire:read(n, left)
  while #self.buffer < n do
    local ok, err = self:fill(left())
    if not ok then return nil, err end
  end
  return self:take(n)
end

--- Up to and including `mark`, or nil, reason.
function Wire:read_until(mark, left)
  local from = 1
  while true do
    local _, stop = self.buffer:find(mark, from, true)
    if stop then return self:take(stop) end
    from = math.max(1, #self.buffer - #mark + 2)
    local ok, err = self:fill(left())
    if not ok then return nil, err end
  end
end

--- All bytes until the peer closes or the time is up: bytes, "closed" | "timeout".
function Wire:drain(seconds)
  local left = deadline.after(seconds)
  local ok, err
  repeat ok, err = self:fill(left()) until not ok
  return self:take(#self.buffer), err
end

--- All bytes that arrive within `seconds`, exactly that long unless the peer closes.
function Wire:listen(seconds)
  local ends = socket.gettime() + seconds
  repeat
    local _, err = self:fill(math.max(0, ends - socket.gettime()))
  until err
  return self:take(#self.buffer)
end

function Wire:close()
  self.ended = true
  self.sock:close()
end

--- Close with RST instead of FIN.
function Wire:reset()
  self.sock:setoption("linger", { on = true, timeout = 0 })
  self:close()
end

--- No more from us, the other direction stays open.
function Wire:finish()
  return self.sock:shutdown("send")
end

return wire
