--- One connection that a draw describes: writes its requests piece by piece, reads the answers
--- as fast as it is told, half-closes, leaves or resets. Nothing here waits: run.lua calls it
--- round by round; between two rounds every I/O thread of the server has been heard.
local answers = require("spec.wire.front.answers")
local dice = require("spec.wire.front.dice")
local model = require("spec.wire.front.model")
local site = require("spec.wire.front.site")
local socket = require("socket")
local spell = require("spec.wire.front.spell")
local spoil = require("spec.wire.front.spoil")
local tls = require("spec.support.tls")
local wire = require("spec.support.wire")

local talk = {}

local Talk = {}
Talk.__index = Talk

local random = math.random
local ROUNDS_MAX = 300 -- to read everything
local HOLD_SECONDS = 1 -- at most: a socket that takes nothing is closed some time
local SIP_RATE = 256 * 1024 -- bytes a second that are read at least: rounds may take long
local SLOW_STEP = 0.05
local SLOW_STEPS = 1.5 * site.STALL_SECONDS / SLOW_STEP

-- ---- What is sent, and in which pieces ----------------------------------------------------

--- Text, and per request where it ends; gates: places where the client waits for a 100.
local function write(self)
  local out, at = {}, 0
  self.ends, self.gates, self.heads = {}, {}, {}
  for i, r in ipairs(self.requests) do
    local head, body = (r.spoiler and spoil or spell).request(r)
    out[#out + 1], out[#out + 2] = head, body
    self.heads[i] = head
    if r.waits then self.gates[at + #head] = i end
    at = at + #head + #body
    self.ends[i] = at
  end
  self.text = table.concat(out)
end

local CUTS = {
  whole = function() return {} end,
  some = function(self) return dice.list(random(6), function() return random(#self.text) end) end,
  each = function(self)
    return dice.list(math.min(#self.ends, 200), function(i) return math.max(1, self.ends[i] - random(0, 3)) end)
  end,
  bytes = function(self)
    local first = random(0, math.max(0, #self.text - 400))
    return dice.list(math.min(400, #self.text - first), function(i) return first + i end)
  end,
}

local function cut(self, how)
  local cuts = CUTS[how](self)
  for place in pairs(self.gates) do cuts[#cuts + 1] = place end
  cuts[#cuts + 1] = #self.text
  table.sort(cuts)
  self.cuts = cuts
end

--- A draw that ends early: how much of it is sent, and how many requests that makes.
local function shorten(self)
  self.whole = #self.requests
  if self.ending == "cut" or self.ending == "reset" then
    self.text = self.text:sub(1, random(#self.text))
    while self.whole > 0 and self.ends[self.whole] > #self.text do self.whole = self.whole - 1 end
  end
end

local function total_size(self)
  local n = 0
  for _, e in ipairs(self.expected) do n = n + 300 + (e.body and #e.body or 0) end
  return n
end

--- The connection of a draw, not yet connected. `at`: the server, as site.start gives it.
function talk.new(drawn, at)
  local self = setmetatable(drawn, Talk)
  local bare = {}
  self.expected = {}
  for i, r in ipairs(self.requests) do
    self.expected[i] = model.expect(r, at)
    bare[i] = r.method == "HEAD" and not r.spoiler
  end
  write(self)
  shorten(self)
  cut(self, self.pieces)
  self.reader = answers.reader(bare)
  self.bytes = math.max(self.bytes, total_size(self) // ROUNDS_MAX)
  if self.slow then self.bytes = math.ceil(total_size(self) / SLOW_STEPS) end
  self.sent, self.next_cut, self.held = 0, 1, self.hold
  return self
end

function Talk:connect(port)
  local sock = socket.tcp4()
  if self.rcvbuf then assert(sock:setoption("recv-buffer-size", self.rcvbuf)) end
  sock:settimeout(10)
  assert(sock:connect("127.0.0.1", port))
  sock:setoption("tcp-nodelay", true)
  if wire.secure[port] then sock = assert(tls.wrap(sock)) end
  sock:settimeout(0)
  self.sock, self.since, self.next_read = sock, socket.gettime(), 0
  self.moved, self.last_read = self.since, self.since
end

-- ---- Rounds -------------------------------------------------------------------------------

function Talk:is_at_gate()
  local i = self.gates[self.sent]
  return i and #self.reader.list < i and not (#self.reader.list == i - 1 and self.reader.interim > 0)
end

function Talk:send()
  while self.cuts[self.next_cut] and self.cuts[self.next_cut] <= self.sent do self.next_cut = self.next_cut + 1 end
  local upto = self.cuts[self.next_cut]
  if not upto or upto > #self.text then upto = #self.text end
  local last, why, part = self.sock:send(self.text, self.sent + 1, upto)
  local n = (last or part or self.sent) - self.sent
  if n > 0 then self.sent, self.moved = self.sent + n, socket.gettime() end
  if why == "closed" then self.sent = #self.text end -- it has refused; what it said is still read
  self.blocked = why == "timeout"
end

function Talk:has_hello()
  local last = self.expected[#self.expected]
  local part = last.stream and self.reader:partial()
  return part and part.body:find("\nevent: hello\n.-\n\n") ~= nil
end

local function says_close(a, e)
  local said = (a.headers.connection or ""):lower()
  return said:find("close", 1, true) or (e.minor == 0 and not said:find("keep-alive", 1, true))
end

--- Has it all that it wanted? A client that neither half-closes nor asked to close goes by itself.
function Talk:look()
  if not self.all_sent then return end
  local last = #self.expected
  if (self.ending == "close" or self.ending == "leave" or self.ending == "wait") and self:has_hello()
    and not self.expected[last].ends then
    self.closed = true
    return self:close()
  end
  local a = self.reader.list[last]
  local goes_on = a and not self.expected[last].stream and not says_close(a, self.expected[last])
  if self.ending == "leave" and goes_on then self:close() end
end

--- Everything is written: half-close, or reset.
function Talk:end_sending()
  self.all_sent = true
  if self.ending == "reset" then
    self.aborted = true
    self:close()
  elseif self.ending == "half" or self.ending == "cut" then
    self.sock:shutdown("send")
    self.left = not self:has_hello()
  end
  if not self.done then self:look() end
end

--- One round. Returns true when it wants another one soon.
function Talk:step()
  if self.done then return false end
  if self.hold > 0 then
    local now = socket.gettime()
    self.hold, self.moved = now - self.since < HOLD_SECONDS and self.hold - 1 or 0, now
  end
  if self.sent < #self.text then
    if not self:is_at_gate() then
      self:send()
      return not self.blocked or self.hold > 0
    end
  elseif not self.all_sent then
    self:end_sending()
  end
  return self.hold > 0 or self.sip == true
end

--- Does it want to read now?
function Talk:wants_read(now)
  return not self.done and self.hold == 0 and (not self.slow or now >= self.next_read)
end

function Talk:read(now)
  local least = self.slow and 0 or math.ceil((now - self.last_read) * SIP_RATE)
  local data, why, part = self.sock:receive(math.max(self.bytes, least))
  self.last_read = now
  data = data or part
  self.sip = #data > 0 and self.bytes < 1 << 20 and not self.slow
  if #data > 0 then
    self.moved = now
    if self.slow then self.next_read = now + SLOW_STEP end
    local ok, problem = pcall(self.reader.feed, self.reader, data)
    if not ok then
      self.problem = { at = #self.reader.list + 1, why = tostring(problem) }
      return self:close()
    end
  end
  if #data == 0 and why == "closed" then
    self.closed = true
    self.reader:close()
    return self:close()
  end
  self:look()
end

function Talk:close()
  if self.done then return end
  self.done = true
  self.sock:setoption("linger", { on = true, timeout = 0 }) -- RST: no TIME_WAIT by thousands
  self.sock:close()
end

--- nil, or what is wrong: { at = request, why }. What a client got that was not run for a while
--- proves nothing: it may have been closed as one that reads nothing.
function Talk:judge()
  if self.starved then return nil end
  if self.problem then return self.problem end
  local ok, problem = pcall(answers.judge, self)
  if ok then return nil end
  return type(problem) == "table" and problem or { at = 0, why = tostring(problem) }
end

return talk
