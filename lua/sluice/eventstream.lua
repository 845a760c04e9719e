--- A parser for text/event-stream after the WHATWG grammar (HTML, section 9.2.6), written
--- apart from the encoder in C so that each tests the other. It is fed bytes as they come
--- and hands out whole events; a block without its blank line is never handed out.
--- Keeps in memory: the unfinished line and the unfinished event, both bounded.
--
--   local parser = eventstream.new()
--   for _, event in ipairs(parser:feed("id: 7\ndata: a\n\n")) do … end
--   --> { event = "message", data = "a", id = "7" }
local arrays = require("sluice.base.arrays")
local options = require("sluice.base.options")

local find, sub = string.find, string.sub

---@class sluice.EventStreamModule
local eventstream = {}

local BOM = "\xEF\xBB\xBF"
-- More milliseconds than this are this many: a million years, and still an integer.
local RETRY_MAX = 1 << 55
local KNOWN = { line_max = 4 * 1024 * 1024, event_max = 4 * 1024 * 1024, last_id = "",
  own_ids = false }

---@class sluice.EventStream
local EventStream = {}
EventStream.__index = EventStream
EventStream.__name = "sluice.EventStream"

--- Make a parser for one response body.
-- @tparam[opt] table given `line_max` and `event_max`, bytes of one line and of the data of
--   one event (4 MiB each); `last_id`, where the stream before this one ended; `own_ids`: an event
--   has an `id` only where its block has an id line
-- @treturn sluice.EventStream with `last_id`, the id of the last block that ended (string,
--   "" before the first), `at_id`, whether no event came behind the block of that id, and `retry`,
--   the last reconnection time in milliseconds or nil
function eventstream.new(given)
  local known = options("eventstream.new", given, KNOWN)
  return setmetatable({ line_max = known.line_max, event_max = known.event_max,
    last_id = known.last_id, id = known.last_id, own_ids = known.own_ids, rest = "",
    started = false, lines = {}, bytes = 0, at_id = true }, EventStream)
end

-- The blank line: commit the id, then hand the event out unless it has no data.
function EventStream:dispatch(events)
  self.last_id = self.id
  if self.has_id or #self.lines > 0 then self.at_id = self.has_id == true end
  if #self.lines > 0 then
    events[#events + 1] = {
      event = self.event ~= "" and self.event or "message",
      data = table.concat(self.lines, "\n"),
      id = (self.has_id or not self.own_ids) and self.last_id or nil,
      retry = self.block_retry,
    }
  end
  self.lines, self.bytes, self.event, self.block_retry, self.has_id = {}, 0, nil, nil, nil
end

function EventStream:field(name, value)
  if name == "data" then
    self.bytes = self.bytes + #value + 1
    if self.bytes > self.event_max then
      return ("an event has more than %d bytes of data"):format(self.event_max)
    end
    self.lines[#self.lines + 1] = value
  elseif name == "event" then
    self.event = value
  elseif name == "id" then
    if not find(value, "\0", 1, true) then self.id, self.has_id = value, true end
  elseif name == "retry" and find(value, "^%d+$") then
    self.retry = math.min(tonumber(value), RETRY_MAX) // 1 | 0
    self.block_retry = self.retry
  end
end

function EventStream:line(line, events)
  if line == "" then return self:dispatch(events) end
  local colon = find(line, ":", 1, true)
  if colon == 1 then return nil end
  if not colon then return self:field(line, "") end
  local from = colon + 1
  if sub(line, from, from) == " " then from = from + 1 end
  return self:field(sub(line, 1, colon - 1), sub(line, from))
end

-- The text to cut into lines, without a byte order mark; nil while too few bytes have
-- come to know.
function EventStream:begin(bytes)
  local text = self.rest .. bytes
  if self.started then return text end
  if #text < #BOM and sub(BOM, 1, #text) == text then
    self.rest = text
    return nil
  end
  self.started = true
  return sub(text, 1, #BOM) == BOM and sub(text, #BOM + 1) or text
end

-- A CR at the end ends its line at once; should the LF of a CRLF follow, it is dropped.
function EventStream:skip_half_line_end(bytes)
  if not self.after_cr or bytes == "" then return bytes end
  self.after_cr = false
  return sub(bytes, 1, 1) == "\n" and sub(bytes, 2) or bytes
end

function EventStream:too_long()
  return ("a line has more than %d bytes"):format(self.line_max)
end

-- Cut text into lines; 'searched' bytes of it have no line end. Keeps what is left over.
function EventStream:cut(text, searched, events)
  local at, stop = 1, find(text, "[\r\n]", searched + 1)
  while stop do
    if stop - at > self.line_max then return self:too_long() end
    local problem = self:line(sub(text, at, stop - 1), events)
    if problem then return problem end
    at = stop + 1
    if sub(text, stop, stop) == "\r" then
      if sub(text, at, at) == "\n" then at = at + 1 else self.after_cr = at > #text end
    end
    stop = find(text, "[\r\n]", at)
  end
  self.rest = sub(text, at)
  return #self.rest > self.line_max and self:too_long() or nil
end

--- Take bytes and return the events they complete.
-- @tparam string bytes any piece of the body, cut anywhere
-- @treturn table a list of { event, data, id, retry }: `event` is "message" unless named,
--   `id` the last id so far, `retry` milliseconds when this block had a valid one
-- @treturn string|nil what is wrong, when a limit was passed; the parser is then at its end
-- @treturn string|nil "ETOOBIG"
function EventStream:feed(bytes)
  local events = arrays.mark({})
  if self.failed then return events, self.failed, "ETOOBIG" end
  local searched = self.started and #self.rest or 0
  local text = self:begin(self:skip_half_line_end(bytes))
  if not text then return events end
  self.failed = self:cut(text, searched, events)
  if not self.failed then return events end
  self.lines, self.rest = {}, ""
  return events, self.failed, "ETOOBIG"
end

return eventstream
