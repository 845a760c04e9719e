--- A test's view of one event stream: everything that came, with times, and waiting for more.
-- In memory: all events that it received.
local arguments = require("sluice.testing.arguments")
local arrays = require("sluice.base.arrays")
local caller = require("sluice.base.caller")
local canonical = require("sluice.testing.canonical")
local eventstream = require("sluice.eventstream")
local json = require("sluice.json")
local names = require("sluice.base.names")

local stream = {}

---@class sluice.testing.Stream
local Stream = {}
Stream.__index = Stream
Stream.__name = "sluice.testing.Stream"
stream.methods = Stream

local WAIT_SECONDS = 5
local SHOWN_BYTES = 300
local CONTROL = { hello = true, reset = true, sync = true, bye = true } -- what the server says

-- Whether `got` holds all that `wanted` holds.
local function fits(wanted, got)
  if type(wanted) ~= "table" or type(got) ~= "table" then return wanted == got end
  for name, value in pairs(wanted) do
    if not fits(value, got[name]) then return false end
  end
  return true
end

local function agrees(match, e)
  if match == nil then return true end
  if type(match) == "function" then return match(e.data, e) end
  return fits(match, e.data)
end

-- An event as it came: its data are read when they are first looked at.
local Event = { __name = "sluice.testing.Event" }

function Event.__index(e, name)
  if name ~= "data" then return nil end
  local data = json.decode(e.text)
  if data == nil then data = e.text end
  rawset(e, "data", data)
  return data
end

-- The sync that ends its opening is no news: what waits for one waits for what comes later.
local function is_opened(self, e)
  if e.event ~= "sync" or self.opened or not self.hello then return false end
  self.opened = true
  return self.hello.channels ~= 0
end

local function receive(self, bytes)
  local list, problem = self.parser:feed(bytes)
  local received, at = self.received, self.test.place:time()
  for _, e in ipairs(list) do
    e.text, e.data, e.retry, e.at = e.data, nil, nil, at
    if not is_opened(self, e) then received[#received + 1] = setmetatable(e, Event) end
    if e.event == "hello" and not self.hello then
      self.hello, self.id = e.data, type(e.data) == "table" and e.data.client or nil
    end
  end
  if problem then error(problem, 0) end
  if self.polls then
    self.first, self.begun = self.first .. bytes, true
  elseif not self.begun then
    self.first = self.first .. bytes
    self.begun = received[1] ~= nil or self.first:find("\nretry: %d+\n\n") ~= nil
  end
end

--- Whether it is open: hello has come. A plain stream has none: it begins with a block that holds
-- nothing but the retry time; when its plan was late, nothing but the server knows.
function stream.is_open(self)
  if self.polls then return self.begun or not self.test.place:is_opening() end
  return self.begun or self.first ~= "" and not self.test.place:is_opening()
end

--- Make the view of an exchange; for t:connect.
function stream.new(test, path, options, exchange)
  local self = setmetatable({ test = test, path = path, options = options, exchange = exchange,
    parser = eventstream.new(), received = {}, seen = {}, passed = 0, mark = 0,
    first = "", begun = false, opened = false, polls = options.mode == "poll" }, Stream)
  stream.receive(self, exchange)
  return self
end

--- Take what comes of an exchange.
function stream.receive(self, exchange)
  self.exchange = exchange
  exchange.on_body = function(bytes)
    if exchange.answer:is_stream() then return receive(self, bytes) end
    exchange.pieces[#exchange.pieces + 1] = bytes
  end
end

--- The last id, which a browser would come back with.
function Stream:last_id()
  arguments.self(Stream, self, "c", "last_id")
  local id = self.parser.last_id
  return id ~= "" and id or self.options.last_event_id
end

-- Why it is no stream, or nil when it is one (or was).
local function refusal(self)
  if self.exchange.answer:is_stream() or self.polls and not self.exchange.answer.status then
    return nil
  end
  local said = type(self.json) == "table" and self.json.error
  local why = type(said) == "table" and said.message or (self.body or ""):sub(1, SHOWN_BYTES)
  return ("the answer was %s%s%s, no stream"):format(self.status, why ~= "" and ": " or "", why)
end

-- A refusal can neither bring nor spare an event: a spec that goes on with one has not seen
-- that it was refused.
local function need_stream(self, method, what)
  arguments.self(Stream, self, "c", method)
  local why = refusal(self)
  if not why then return end
  local cause = self.error and "\n" .. self.error or ""
  caller.raise("%s on %s: %s%s", what, self.path, why, cause)
end

-- What is waited for, in a message; raises when it cannot be a name.
local function shown(event)
  if event == nil then return "event" end
  if type(event) == "string" then return ("'%s'"):format(event) end
  caller.raise("an event's name is a string, not a %s; nil is any but control events", type(event))
end

local function is_meant(event, e)
  if event == nil then return not CONTROL[e.event] end
  return e.event == event
end

--- The events that came so far; raises when the stream was refused.
-- @tparam[opt] string event only those of this name
-- @treturn {table,...} { event, data, id, at }
function Stream:events(event)
  need_stream(self, "events", "no events")
  arguments.check("c:events(event)", event, "text", true)
  self.test:settle()
  local out = {}
  for _, e in ipairs(self.received) do
    if event == nil or e.event == event then out[#out + 1] = e end
  end
  return arrays.mark(out)
end

--- How many came.
function Stream:count(event)
  need_stream(self, "count", "no events")
  return #self:events(event)
end

--- Everything that came, a line for each, with the seconds since the test began.
-- @treturn string the same to the byte for equal seeds, also from another process
function Stream:transcript()
  arguments.self(Stream, self, "c", "transcript")
  local lines = {}
  for _, e in ipairs(self.received) do
    local text = canonical(e.text)
    if #text > SHOWN_BYTES then text = text:sub(1, SHOWN_BYTES) .. "…" end
    lines[#lines + 1] = ("  %10.3f  %-16s %-18s %s"):format(e.at - self.test.began, e.event,
      e.id or "", text)
  end
  if #lines == 0 then lines[1] = "  nothing" end
  local why = self.status and refusal(self)
  if why then
    lines[#lines + 1] = "  since " .. why
  elseif self.exchange.ended then lines[#lines + 1] = "  and the connection has ended" end
  return table.concat(lines, "\n")
end

local function fail(self, message)
  local text = ("%s on %s (status %s); received:\n%s"):format(message, self.path,
    tostring(self.status), self:transcript())
  local trouble = self.test:last_error(0)
  if trouble then text = text .. "\nthe log's last error:\n" .. trouble end
  if self.error then text = text .. "\n" .. self.error end
  caller.raise(text)
end

-- The next event that is meant and fits, after the last one of its name.
local function find(self, event, match)
  local seen = self.seen
  for i = (event and seen[event] or not event and self.passed or 0) + 1, #self.received do
    local e = self.received[i]
    if i > (seen[e.event] or 0) and is_meant(event, e) and agrees(match, e) then
      seen[e.event], self.mark = i, math.max(self.mark, i)
      if event == nil then self.passed = i end
      return e
    end
  end
end

--- Wait for an event; those of other names stay to be waited for. Each event is returned once.
-- @tparam[opt] string event without one: the next of any name, but for control events
-- @tparam[opt=5] number timeout seconds, on the test's clock
-- @tparam[opt] table|function match fields that its data must have, or fn(data, e) -> boolean
-- @treturn table { event, data, id, at }; raises with everything that came when there is none
function Stream:wait_for(event, timeout, match)
  arguments.self(Stream, self, "c", "wait_for")
  local kind = type(timeout)
  if match == nil and (kind == "table" or kind == "function") then timeout, match = nil, timeout end
  timeout = timeout or WAIT_SECONDS
  local what = ("no %s%s"):format(shown(event), match ~= nil and " that fits" or "")
  need_stream(self, "wait_for", what)
  arguments.check("c:wait_for(event, timeout, match): timeout", timeout, "seconds")
  local e = self.test:wait(timeout, function()
    local found = find(self, event, match)
    if found then return found end
    return self.exchange.ended -- nothing more can come
  end)
  if type(e) == "table" then return e end
  fail(self, e and what or ("%s within %g seconds"):format(what, timeout))
end

--- See that no event of that name comes: neither since the last event that was waited for on
-- this stream (or the connect), nor while some seconds pass. A stream that was refused, that
-- ends before they have passed or that still stalls then proves nothing: that raises too.
-- @tparam[opt] string event without one: of any name, but for control events
-- @tparam[opt=1] number seconds
function Stream:expect_none(event, seconds)
  arguments.self(Stream, self, "c", "expect_none")
  local name = shown(event)
  need_stream(self, "expect_none", "no " .. name)
  seconds = seconds or 1
  arguments.check("c:expect_none(event, seconds)", seconds, "seconds")
  local ended = self.test:wait(seconds, function() return self.exchange.ended end)
  local from = self.mark + 1
  self.mark = #self.received
  for i = from, #self.received do
    local e = self.received[i]
    if is_meant(event, e) then fail(self, ("unexpected '%s'"):format(e.event)) end
  end
  if ended then fail(self, ("no %s can come where the stream has ended"):format(name)) end
  if self.exchange.stalled_till then fail(self, ("no %s is read by a stall"):format(name)) end
end

local function cut(self, method)
  arguments.self(Stream, self, "c", method)
  self.exchange.on_end = nil
  self.exchange:close()
  self.test:settle()
end

--- Cut the connection, as a network does, without a word to the server.
function Stream:drop() cut(self, "drop") end

--- Close it, as a page does.
function Stream:close() cut(self, "close") end

--- Read nothing for some seconds; without a number: never again.
function Stream:stall(seconds)
  need_stream(self, "stall", "nothing to stall")
  arguments.check("c:stall(seconds)", seconds, "seconds", true)
  self.exchange.stalled_till = self.test.place:now() + (seconds or math.huge)
end

-- Come back as a browser does, at a test or another node of it; the method is for messages.
function stream.come_back(self, method, test, options)
  need_stream(self, method, "a browser does not come back")
  self.test:settle() -- what had been sent was received
  self:drop()
  local again = {}
  for name, value in pairs(self.options) do again[name] = value end
  again.last_event_id, again.token = self:last_id(), self.token
  for name, value in pairs(options or {}) do again[name] = value end
  return test:connect(self.path, again)
end

--- Come back as a browser does: the same request, with the id that came last.
-- @tparam[opt] table options instead of those of the first connect
-- @treturn sluice.testing.Stream a new one; raises after a refusal: there a browser stays away
function Stream:reconnect(options)
  return stream.come_back(self, "reconnect", self.test, options)
end

names.strict(Stream, "c", ":", { "status", "headers", "body", "json", "hello", "id", "error",
  "token" })
--- Whether an event came that is meant and fits; for luassert.
function stream.has(self, event, match)
  shown(event)
  for _, e in ipairs(self:events()) do
    if is_meant(event, e) and agrees(match, e) then return true end
  end
  return false
end

return stream
