--- Reads an HTTP/1.1 answer as its bytes come: the head, then a body by length, in chunks,
-- or up to the end of the connection; gzip and zstd are decoded. Keeps in memory: the bytes that
-- are not yet a piece.
local core = require("sluice.core")

local answer = {}

---@class sluice.testing.Answer
local Answer = {}
Answer.__index = Answer

local HEAD_MAX = 65536
local CODINGS = { gzip = true, zstd = true }
local NO_BODY = { [204] = true, [304] = true }

--- Make a reader of one answer.
-- @tparam string method of the request: an answer to HEAD has no body
-- @treturn sluice.testing.Answer with `status`, `headers` (lower-case names) and `body` as they
--   come, and `done`
function answer.new(method)
  return setmetatable({ method = method, rest = "", status = nil, headers = nil, body = {},
    done = false }, Answer)
end

local function read_head(self)
  local stop = self.rest:find("\r\n\r\n", 1, true)
  if not stop then
    assert(#self.rest <= HEAD_MAX, "the head of an answer has no end")
    return false
  end
  local head = self.rest:sub(1, stop + 1)
  self.rest = self.rest:sub(stop + 4)
  self.status = math.tointeger(tonumber(head:match("^HTTP/1%.[01] (%d%d%d)")))
  assert(self.status, "not an answer over HTTP: " .. head:sub(1, 80))
  self.headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    name = name:lower()
    local before = self.headers[name]
    self.headers[name] = before and before .. ", " .. value or value
  end
  if self.status < 200 then -- an interim answer: the real one follows
    self.status, self.headers = nil, nil
    return read_head(self)
  end
  self.left = math.tointeger(tonumber(self.headers["content-length"]))
  self.chunked = self.headers["transfer-encoding"] == "chunked"
  local bare = self.method == "HEAD" or NO_BODY[self.status]
  self.done = bare or self.left == 0 and not self.chunked
  local coding = self.headers["content-encoding"]
  if CODINGS[coding] and not bare then self.decoder = assert(core.decoder(coding)) end
  return true
end

local function take(self, n)
  local piece = self.rest:sub(1, n)
  self.rest = self.rest:sub(n + 1)
  return piece
end

-- The next piece of the body, or nil when more bytes are needed.
local function read_piece(self)
  if self.rest == "" or self.done then return nil end
  if self.chunked then
    local size, eol = self.rest:match("^(%x+)\r\n()")
    local n = size and tonumber(size, 16)
    if not n or #self.rest < eol + n + 1 then return nil end
    local piece = self.rest:sub(eol, eol + n - 1)
    self.rest = self.rest:sub(eol + n + 2)
    if n == 0 then self.done = true end
    return piece
  end
  if not self.left then return take(self, #self.rest) end
  local piece = take(self, math.min(self.left, #self.rest))
  self.left = self.left - #piece
  if self.left == 0 then self.done = true end
  return piece
end

-- What is usual in a stream: one chunk, all of it.
local function whole_chunk(bytes)
  local size, from = bytes:match("^(%x+)\r\n()")
  local n = size and tonumber(size, 16) or 0
  return n > 0 and #bytes == from + n + 1 and bytes:sub(from, from + n - 1)
end

local function decode(self, bytes)
  if not self.decoder or bytes == "" then return bytes end
  local text, message = self.decoder:feed(bytes)
  if not text then error("the body of an answer cannot be decoded: " .. message, 0) end
  return text
end

--- Take bytes.
-- @tparam string|nil bytes nil: the connection has ended
-- @treturn string what they add to the body
function Answer:feed(bytes)
  if not bytes then
    self.done, self.cut = true, not self.done
    return ""
  end
  local whole = self.chunked and self.rest == "" and whole_chunk(bytes)
  if whole then return decode(self, whole) end
  self.rest = self.rest .. bytes
  if not self.status and not read_head(self) then return "" end
  local added = {}
  for piece in function() return read_piece(self) end do added[#added + 1] = piece end
  return decode(self, table.concat(added))
end

--- Whether the body is an event stream.
function Answer:is_stream()
  local kind = self.headers and self.headers["content-type"] or ""
  return self.status == 200 and kind:find("^text/event%-stream") ~= nil
end

return answer
