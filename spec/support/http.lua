--- A small HTTP/1.1 client for specs: strict about what it reads, free in what it sends.
---
---   local r = http.get(port, "/path")                r.status, r.reason, r.headers, r.body
---   local c = http.connect(port); c:request("POST", "/x", { ["Content-Type"] = "..." }, "body")
---   c:send("GET / HTTP/1.1\r\n\r\n"); local r = c:response()
--- Header names arrive in lower case, repeated ones joined with ", "; r.head is the text.
local deadline = require("spec.support.deadline")
local wire = require("spec.support.wire")

local http = {}

local Connection = {}
Connection.__index = Connection

--- Split a head's text into status, reason, headers; raises on anything that is not HTTP/1.x.
function http.parse_head(head)
  local version, status, reason, rest = head:match("^HTTP/1%.([01]) (%d%d%d) ([^\r\n]*)\r\n(.*)\r\n$")
  assert(version, "not a response head: " .. ("%q"):format(head:sub(1, 200)))
  local headers = {}
  for line in rest:gmatch("(.-)\r\n") do
    local name, value = line:match("^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$")
    assert(name and not value:find("[\r\n%z]"), "bad header line: " .. ("%q"):format(line))
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return { version = "1." .. version, status = math.tointeger(tonumber(status)), reason = reason, headers = headers,
    head = head }
end

--- The first chunk in `text`: its bytes ("" for the last one) and its length with framing, or
--- nil when more is needed. Raises on broken framing; extensions and trailers count as
--- broken, since we send none.
function http.parse_chunk(text)
  local eol = text:find("\r\n", 1, true)
  if not eol then
    assert(#text < 10 and text:find("^%x*\r?$"), "broken chunk: size line " .. ("%q"):format(text:sub(1, 80)))
    return nil
  end
  local size = text:sub(1, eol - 1)
  assert(#size <= 8 and size:find("^%x+$"), "broken chunk: size line " .. ("%q"):format(size:sub(1, 80)))
  local first, n = eol + 2, tonumber(size, 16)
  if #text < first + n + 1 then return nil end
  assert(text:sub(first + n, first + n + 1) == "\r\n", "broken chunk: no CRLF after " .. n .. " bytes")
  return text:sub(first, first + n - 1), first + n + 1
end

--- The next chunk's bytes, or nil, reason; a part of a chunk stays in the buffer.
function http.read_chunk(w, left)
  while true do
    local piece, length = http.parse_chunk(w.buffer)
    if piece then
      w:take(length)
      return piece
    end
    local ok, err = w:fill(left())
    if not ok then return nil, err end
  end
end

local function read_body(w, response, left)
  local headers = response.headers
  if headers["transfer-encoding"] then
    assert(headers["transfer-encoding"] == "chunked" and not headers["content-length"], "mixed framing")
    local pieces = {}
    while true do
      local piece, err = http.read_chunk(w, left)
      if not piece then return nil, err end
      if piece == "" then return table.concat(pieces) end
      pieces[#pieces + 1] = piece
    end
  elseif headers["content-length"] then
    local n = assert(headers["content-length"]:match("^%d+$"), "bad Content-Length")
    return w:read(tonumber(n), left)
  end
  while true do
    local ok, err = w:fill(left())
    if not ok then return err == "closed" and w:take(#w.buffer) or nil, err end
  end
end

function http.connect(port, options)
  local w, err = wire.connect(port, options)
  if not w then return nil, err end
  return setmetatable({ wire = w, host = (options or {}).name or "127.0.0.1:" .. port }, Connection)
end

function Connection:send(bytes) return self.wire:send(bytes) end
function Connection:close() self.wire:close() end
function Connection:reset() self.wire:reset() end
function Connection:finish() return self.wire:finish() end

--- Bytes until the server closes: text, "closed" | "timeout".
function Connection:drain(seconds) return self.wire:drain(seconds or 5) end

--- The next response, or nil, "timeout" | "closed". options: no_body (HEAD, or the head only).
function Connection:response(seconds, options)
  local left = deadline.after(seconds or 5)
  while true do
    local head, err = self.wire:read_until("\r\n\r\n", left)
    if not head then return nil, err end
    local response = http.parse_head(head)
    if response.status >= 200 then
      local bare = response.status == 204 or response.status == 304 or (options and options.no_body)
      if bare then
        response.body = ""
      else
        response.body, err = read_body(self.wire, response, left)
        if not response.body then return nil, err end
      end
      return response
    end
    self.interim = (self.interim or 0) + 1
  end
end

--- The text of a request. Host and Content-Length are added unless given (false: left out).
function http.request_text(method, path, headers, body, host)
  local lines = { ("%s %s HTTP/1.1"):format(method, path) }
  local given = {}
  for name, value in pairs(headers or {}) do
    given[name:lower()] = true
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  if not given.host then table.insert(lines, 2, "Host: " .. host) end
  if body and not given["content-length"] and not given["transfer-encoding"] then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

function Connection:request(method, path, headers, body, seconds)
  self.wire:send(http.request_text(method, path, headers, body, self.host))
  return self:response(seconds, { no_body = method == "HEAD" })
end

--- One request on a connection of its own; raises when there is no answer.
function http.request(port, method, path, headers, body, seconds)
  local c = assert(http.connect(port))
  local response, err = c:request(method, path, headers, body, seconds)
  c:close()
  return assert(response, err)
end

function http.get(port, path, headers) return http.request(port, "GET", path, headers) end
function http.post(port, path, body, headers) return http.request(port, "POST", path, headers, body or "") end

return http
