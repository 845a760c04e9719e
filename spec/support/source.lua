--- A server for specs whose every byte is the spec's: it accepts when told to, shows what the
--- client sent, and answers what it is given.
---
---   local s = source.listen()          s.port, s.url; source.listen(port) takes that port again
---   local c = s:accept()               c.method, c.path, c.headers, c.head, c.body
---   c:send("HTTP/1.1 200 OK\r\n…"); c:close(); c:reset(); c:gone() waits for the client's end
local deadline = require("spec.support.deadline")
local socket = require("socket")

local source = {}

local Source, Connection = {}, {}
Source.__index, Connection.__index = Source, Connection

local open = {}

function source.listen(port)
  local sock = assert(socket.tcp4())
  sock:setoption("reuseaddr", true)
  assert(sock:bind("127.0.0.1", port or 0))
  assert(sock:listen(512))
  local _, number = sock:getsockname()
  local self = setmetatable({ sock = sock, port = math.tointeger(tonumber(number)) }, Source)
  self.url = ("http://127.0.0.1:%d"):format(self.port)
  open[self] = true
  return self
end

function Source:close()
  self.sock:close()
  open[self] = nil
end

--- Close all of them; for after_each.
function source.close_all()
  for s in pairs(open) do s:close() end
end

local function receive(c, left)
  local ready = socket.select({ c.sock }, nil, left())
  if #ready == 0 then return nil, "timeout" end
  local data, err, partial = c.sock:receive(65536)
  data = data or partial
  c.buffer = c.buffer .. data
  return #data > 0 or err == "timeout", err
end

local function read_request(c, left)
  local stop
  repeat
    stop = select(2, c.buffer:find("\r\n\r\n", 1, true))
    if not stop and not receive(c, left) then return nil end
  until stop
  c.head, c.buffer = c.buffer:sub(1, stop), c.buffer:sub(stop + 1)
  c.method, c.path = c.head:match("^(%u+) (%S+) HTTP/1%.1\r\n")
  c.headers = {}
  for name, value in c.head:gmatch("\r\n([^:\r\n]+): *([^\r\n]*)") do c.headers[name:lower()] = value end
  local size = tonumber(c.headers["content-length"] or 0)
  while #c.buffer < size do
    if not receive(c, left) then return nil end
  end
  c.body, c.buffer = c.buffer:sub(1, size), c.buffer:sub(size + 1)
  return c
end

--- The next connection with its request; nil when none comes in time.
function Source:try_accept(seconds)
  local left = deadline.after(seconds)
  self.sock:settimeout(left())
  local sock = self.sock:accept()
  if not sock then return nil end
  sock:settimeout(0)
  sock:setoption("tcp-nodelay", true)
  return read_request(setmetatable({ sock = sock, buffer = "" }, Connection), left)
end

function Source:accept(seconds)
  return assert(self:try_accept(seconds or 5), "no connection came")
end

--- The next request on the same connection; nil when none comes in time.
function Connection:try_again(seconds) return read_request(self, deadline.after(seconds)) end

--- The next request on the same connection.
function Connection:again(seconds)
  return assert(read_request(self, deadline.after(seconds or 5)), "no further request")
end

--- Write all of it: true, or nil when the client has gone.
function Connection:send(bytes)
  self.sock:settimeout(10 * deadline.scale)
  local ok, err = self.sock:send(bytes)
  self.sock:settimeout(0)
  return ok and true, err
end

--- A whole answer with a Content-Length.
function Connection:answer(status, body, fields)
  local lines = { ("HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n"):format(status, #(body or "")) }
  for name, value in pairs(fields or {}) do lines[#lines + 1] = ("%s: %s\r\n"):format(name, value) end
  return self:send(table.concat(lines) .. "\r\n" .. (body or ""))
end

--- The last answer of a connection.
function Connection:finish(status, body, fields)
  local all = { Connection = "close" }
  for name, value in pairs(fields or {}) do all[name] = value end
  self:answer(status, body, all)
  self:close()
end

--- The head of an event stream that ends with the connection, and what comes behind it.
function Connection:stream(bytes)
  return self:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" .. (bytes or ""))
end

function Connection:close() self.sock:close() end

--- Close with RST instead of FIN.
function Connection:reset()
  self.sock:setoption("linger", { on = true, timeout = 0 })
  self.sock:close()
end

--- Whether the client closes within so many seconds.
function Connection:gone(seconds)
  local left = deadline.after(seconds or 5)
  repeat
    local ok, err = receive(self, left)
    if err == "closed" then return true end
  until not ok and err == "timeout" and left() == 0
  return false
end

return source
