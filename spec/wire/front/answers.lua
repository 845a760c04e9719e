--- Reads the answers of one connection from the bytes as they come, and judges them against
--- what the model expects (model.lua).
local http = require("spec.support.http")

local answers = {}

-- ---- Reading ------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

--- A reader; `bare` says of each request whether its answer has no body whatever its head says.
function answers.reader(bare)
  return setmetatable({ bare = bare, list = {}, text = "", interim = 0, state = "head" }, Reader)
end

local function length_of(head, bare)
  if head.status < 200 or head.status == 204 or head.status == 304 or bare then return 0 end
  if head.headers["transfer-encoding"] then return "chunks" end
  local n = head.headers["content-length"]
  if not n then return "end" end
  assert(n:find("^%d+$"), "Content-Length: " .. n)
  return math.tointeger(tonumber(n))
end

function Reader:read_head()
  local stop = select(2, self.text:find("\r\n\r\n", 1, true))
  if not stop then
    assert(#self.text < 20000, "a head without end")
    assert(("HTTP/1.1 "):sub(1, #self.text) == self.text:sub(1, 9), "no status line: "
      .. ("%q"):format(self.text:sub(1, 100)))
    return false
  end
  local head = http.parse_head(self.text:sub(1, stop))
  assert(head.version == "1.1", "the version of the answer")
  self.text = self.text:sub(stop + 1)
  if head.status < 200 then
    assert(head.status == 100 and next(head.headers) == nil, "an interim answer that is no plain 100")
    self.interim = self.interim + 1
    return true
  end
  head.interim, self.interim = self.interim, 0
  head.pieces = {}
  self.head, self.need = head, length_of(head, self.bare[#self.list + 1])
  self.state = "body"
  return true
end

function Reader:finish()
  self.head.body = table.concat(self.head.pieces)
  self.list[#self.list + 1] = self.head
  self.head, self.state = nil, "head"
  return true
end

function Reader:read_chunks()
  local bytes, length = http.parse_chunk(self.text)
  if not bytes then return false end
  self.text = self.text:sub(length + 1)
  if bytes == "" then
    self.head.ended = true
    return self:finish()
  end
  table.insert(self.head.pieces, bytes)
  return true
end

function Reader:read_body()
  if self.need == "chunks" then return self:read_chunks() end
  if self.text == "" and self.need ~= 0 then return false end
  local n = self.need == "end" and #self.text or math.min(self.need, #self.text)
  table.insert(self.head.pieces, self.text:sub(1, n))
  self.text = self.text:sub(n + 1)
  if self.need == "end" then return false end
  self.need = self.need - n
  return self.need == 0 and self:finish()
end

--- More bytes. Raises on what is no HTTP.
function Reader:feed(bytes)
  self.text = self.text .. bytes
  while self.text ~= "" or (self.state == "body" and self.need == 0) do
    if not (self.state == "head" and self:read_head() or self.state == "body" and self:read_body()) then return end
  end
end

--- What of the answer under way is there: its head, its body so far.
function Reader:partial()
  return self.head and { head = self.head, body = table.concat(self.head.pieces) }
end

--- The server has closed.
function Reader:close()
  if self.head and self.need == "end" then self:finish() end
end

-- ---- Judging ------------------------------------------------------------------------------

local function expect(ok, ...)
  if not ok then error((...):format(select(2, ...)), 0) end
end

local function words(set)
  local out = {}
  for status in pairs(set) do out[#out + 1] = status end
  table.sort(out)
  return table.concat(out, " or ")
end

local function check_field(name, is, wanted)
  if type(wanted) == "function" then
    local ok, why = wanted(is)
    return expect(ok, "%s: %s (%s)", name, tostring(is), why or "")
  end
  if wanted == false then return expect(is == nil, "%s: %s is there", name, tostring(is)) end
  expect(is == wanted, "%s: %s, not %s", name, tostring(is), wanted)
end

local function check_error(a)
  expect(a.headers["content-type"] == "application/json", "an error of type %s", tostring(a.headers["content-type"]))
  expect(a.body:find('^{"error":{"') and a.body:find('"code":"E%u+"') and a.body:find('"message":"', 1, true),
    "the body of an error: %q", a.body:sub(1, 200))
end

-- Fields of which an answer has one at most.
local SINGLE = { "date", "content-length", "content-type", "etag", "connection", "access-control-allow-origin",
  "allow" }

--- What every answer has.
local function check_form(a, e)
  expect(a.headers.date, "no Date")
  for _, name in ipairs(SINGLE) do
    local _, n = a.head:lower():gsub("\r\n" .. name:gsub("%-", "%%-") .. ":", "")
    expect(n <= 1, "%s comes %d times", name, n)
  end
  local length, coding = a.headers["content-length"], a.headers["transfer-encoding"]
  expect(not (length and coding), "two framings")
  expect(not coding or e.minor == 1, "a coding for HTTP/1.0")
  if a.status == 204 then expect(not length and not coding, "a 204 with a body") end
  if a.status == 401 then expect(a.headers["www-authenticate"], "401 without WWW-Authenticate") end
  if a.status == 405 then expect(a.headers.allow, "405 without Allow") end
  if a.status == 304 then expect(a.headers.etag, "304 without ETag") end
end

local function check_connection(a, e)
  local said = (a.headers.connection or ""):lower()
  local closes = said:find("close", 1, true) ~= nil
  if e.keeps == true then
    expect(not closes, "it closes without need")
    if e.minor == 0 then expect(said:find("keep-alive", 1, true),
      "HTTP/1.0 is not told that the connection stays") end
  elseif e.keeps == false then
    expect(closes, "it does not say that it closes")
  elseif e.minor == 0 and not said:find("keep-alive", 1, true) then
    closes = true
  end
  return closes
end

local function check_body(a, e)
  if e.no_body or a.status == 204 or a.status == 304 then return expect(a.body == "", "a body where none may be") end
  if a.status >= 400 then return check_error(a) end
  if a.status == 200 and e.body and a.body ~= e.body then
    local at = 1
    while a.body:byte(at) == e.body:byte(at) do at = at + 1 end
    expect(false, "the body differs from byte %d on (%d bytes, not %d): %q, not %q", at, #a.body, #e.body,
      a.body:sub(at, at + 40), e.body:sub(at, at + 40))
  end
end

--- Judge one whole answer; returns whether it closes.
local function judge(a, e)
  expect(e.statuses[a.status], "status %d, not %s", a.status, words(e.statuses))
  expect(a.interim <= e.interim, "%d interim answers", a.interim)
  check_form(a, e)
  local length = a.headers["content-length"]
  if a.status == 200 and e.size and length then expect(tonumber(length) == e.size, "Content-Length %s, not %d",
    length, e.size) end
  check_body(a, e)
  for name, wanted in pairs(e.fields) do
    if a.status < 400 or name:find("^access") then check_field(name, a.headers[name], wanted) end
  end
  if a.status == 405 and e.allow then check_field("allow", a.headers.allow, e.allow) end
  return check_connection(a, e)
end

--- A stream's answer, as far as it came. Its end is not asked for: the client may have left.
local function judge_stream(a, body, e, c)
  expect(a.status == 200, "status %d of a stream", a.status)
  for name, wanted in pairs(e.fields) do check_field(name, a.headers[name], wanted) end
  expect(not a.headers["content-length"], "a stream with a length")
  expect((a.headers["transfer-encoding"] == "chunked") == (e.minor == 1), "Transfer-Encoding of a stream")
  expect((":ok\n"):sub(1, #body) == body:sub(1, 4), "a stream begins with %q", body:sub(1, 40))
  if not c.left then expect(body:find("\nevent: hello\n", 1, true), "a stream without hello: %q", body:sub(1,
    100)) end
end

--- What may come when the client has ended in the middle of a request: nothing, a refusal, or
--- the answer when it needs no body.
local function judge_broken_off(list, at, e)
  local a = list[at]
  if a == nil then return end
  expect(a.status >= 400 or (e.early and e.statuses[a.status]), "status %d of a request that is not whole", a.status)
  expect(list[at + 1] == nil, "an answer too many")
end

--- Judge all that a connection got. `c` says: expected (a list), whole (how many requests were
--- sent whole), reader, closed (by the server), left (by the client, before it had everything).
function answers.judge(c)
  local list = c.reader.list
  for i, e in ipairs(c.expected) do
    local ok, why = pcall(function()
      if i > c.whole then
        if not c.aborted then judge_broken_off(list, i, e) end
        return "closes"
      end
      local part = c.reader:partial()
      if e.stream and (list[i] and list[i].status == 200 or not list[i] and part) then
        judge_stream(list[i] or part.head, list[i] and list[i].body or part.body, e, c)
        return "closes"
      end
      if not list[i] and (c.aborted or (e.listens and c.left)) then return "closes" end
      expect(list[i], "no answer; %s%s", c.closed and "the server closed" or "it waits",
        part and (", %d bytes of a body are there"):format(#part.body) or "")
      return judge(list[i], e) and "closes"
    end)
    if not ok then error({ at = i, why = why }, 0) end
    if why == "closes" then
      if i <= c.whole and list[i + 1] then error({ at = i, why = "answers behind one that closes" }, 0) end
      if not c.aborted and not c.closed then error({ at = i, why = "the connection stays open" }, 0) end
      return
    end
  end
  local extra = list[#c.expected + 1]
  if extra then error({ at = #c.expected + 1, why = "an answer that was not asked for: " .. extra.status }, 0) end
  if not c.aborted and c.reader.text ~= "" then
    error({ at = #c.expected, why = ("bytes behind the last answer: %q"):format(c.reader.text:sub(1, 80)) }, 0)
  end
end

return answers
