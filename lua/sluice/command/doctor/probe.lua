--- One stream as `sluice doctor` opens it: when its head came, when the first event, what came, and
--- how it ended. In memory: the events of one stream, as far as it is read.
local core = require("sluice.core")
local eventstream = require("sluice.eventstream")
local http = require("sluice.http")

local probe = {}

local Probe = {}
Probe.__index = Probe

local HEAD_SECONDS = 4
local BODY_BYTES = 4096 -- of an answer that is no stream

local function fields_of(self, more)
  local fields = { accept = "text/event-stream", ["cache-control"] = "no-cache" }
  for name, value in pairs(self.fields) do fields[name] = value end
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

--- Open a stream, as a browser does.
-- @tparam table ctx `url`, `fields`, `insecure`, `later`
-- @tparam[opt] table o `fields` more of them, `compress`
-- @treturn table with `seconds` until the head; `status`, `headers`, or `message`, `code`
function probe.open(ctx, o)
  o = o or {}
  local began = core.now()
  local answer, message, code = http.stream({ url = ctx.url, headers = fields_of(ctx, o.fields),
    timeout = HEAD_SECONDS, idle = 86400, compress = o.compress or false, redirects = 0,
    verify = not ctx.insecure })
  local self = setmetatable({ answer = answer, message = message, code = code, began = began,
    seconds = core.now() - began, later = ctx.later, events = {} }, Probe)
  if not answer then return self end
  self.status, self.headers = answer.status, answer.headers
  self.type = core.media_type(answer.headers["content-type"] or "")
  self.is_stream = self.status == 200 and self.type == "text/event-stream"
  self.parser = eventstream.new({ own_ids = true })
  return self
end

-- The next bytes: true; nil at the end of the stream; false when none came in time, which ends it.
local function read(self, seconds)
  local wait = {}
  self.wait = wait
  self.later(seconds, function()
    if self.wait ~= wait then return end
    self.is_late = true
    self.answer:close()
  end)
  local bytes = self.answer()
  self.wait = nil
  if not bytes then
    self.ended = not self.is_late
    self.problem = self.answer.problem
    return not self.is_late and nil
  end
  self.last = core.now()
  for _, event in ipairs((self.parser:feed(bytes))) do
    self.events[#self.events + 1] = event
    self[event.event] = self[event.event] or event
  end
  return true
end

--- Read until an event of that name has come.
-- @tparam string|nil name; nil: any
-- @tparam number seconds
-- @treturn table|nil the event
function Probe:wait_for(name, seconds)
  local till = core.now() + seconds
  while true do
    for _, event in ipairs(self.events) do
      if not name or event.event == name then return event end
    end
    local left = till - core.now()
    if left <= 0 or not read(self, left) then return nil end
  end
end

--- Wait for the next bytes.
-- @treturn boolean|nil true; false: none came; nil: the stream has ended
-- @treturn number the seconds that it took
function Probe:wait_bytes(seconds)
  local began = core.now()
  return read(self, seconds), core.now() - began
end

--- The id up to which everything came.
function Probe:last_id() return self.parser.last_id end

--- The text of an answer that is no stream.
function Probe:text()
  local parts, n = {}, 0
  while n < BODY_BYTES do
    local piece = self.answer()
    if not piece then break end
    parts[#parts + 1], n = piece, n + #piece
  end
  self:close()
  return table.concat(parts):sub(1, BODY_BYTES)
end

--- End it.
function Probe:close()
  if self.answer then self.answer:close() end
end

--- Send another request, and read its whole answer.
-- @tparam table ctx
-- @tparam table o as of http.request
-- @treturn table|nil the answer, or nil, message, code
function probe.request(ctx, o)
  o.headers = fields_of(ctx, o.headers)
  o.verify, o.redirects = not ctx.insecure, 0
  o.timeout = o.timeout or HEAD_SECONDS
  return http.request(o)
end

return probe
