--- Follows an event stream as a browser's EventSource does: a connection that ends or breaks is
--- opened again after the pause that the server asked for, with the last id; 204, another status
--- and another type end it. In memory: one unfinished event, and what sluice.http holds.
local controls = require("sluice.command.controls")
local core = require("sluice.core")
local eventstream = require("sluice.eventstream")
local http = require("sluice.http")
local json = require("sluice.json")
local trust = require("sluice.command.trust")

local follow = {}

local RETRY_SECONDS, HEAD_SECONDS, IDLE_SECONDS = 3, 30, 86400
local PATIENT_SECONDS = 0.25 -- until a server is there
local FINAL = { EINVAL = true, EBADFIELD = true } -- no attempt fares better
local RETRY_MOST = 3600 -- seconds, whatever the server says
local WHY_SECONDS = 5 -- it has answered just now
local SAID_BYTES = 300 -- of an answer that is no stream

local function left(self)
  return self.till and math.max(0.001, self.till - core.now()) or math.huge
end

local function is_over(self) return self.till ~= nil and core.now() >= self.till end

-- One request: the answer, or nil, message, code.
local function ask(self)
  local fields = { accept = "text/event-stream", ["cache-control"] = "no-cache" }
  for name, value in pairs(self.headers or {}) do fields[name:lower()] = value end
  if self.id ~= "" then fields["last-event-id"] = self.id end
  return http.stream({ url = self.url, headers = fields, idle = IDLE_SECONDS,
    verify = not self.insecure, timeout = math.min(HEAD_SECONDS, left(self)) })
end

-- What a server says instead of a stream: its own message, or how its answer begins.
local function said(answer)
  local text = answer() or "" -- as much as came at once
  local value = json.decode(text)
  local problem = type(value) == "table" and value.error
  if type(problem) == "table" and problem.message then return tostring(problem.message) end
  return (text:sub(1, SAID_BYTES):match("^%s*(.-)%s*$"):gsub("%s+", " "))
end

-- Hand out what bytes complete: true when the reader has enough.
local function feed(self, bytes)
  local events, problem = self.parser:feed(bytes)
  for _, event in ipairs(events) do
    if self.sluice == nil then self.sluice = controls.is_sluice(event) end
    event.control = self.sluice and controls.is_control(event)
    if self.on.event(event) then return true end
  end
  self.id = self.parser.last_id
  if self.parser.retry then self.retry = math.min(self.parser.retry / 1000, RETRY_MOST) end
  return false, problem
end

local function begin(self)
  self.sluice = nil
  self.parser = eventstream.new({ last_id = self.id, own_ids = true })
end

-- Read a stream to its end: true when the reader has enough; or false and what broke it off.
local function read(self, answer)
  begin(self)
  if self.later and self.till then self.later(left(self), function() answer:close() end) end
  for bytes in answer:chunks() do
    local enough, problem = feed(self, bytes)
    if enough or problem then return enough, problem end
  end
  return false, answer.problem
end

local PASSING = { [408] = true, [425] = true, [429] = true }

-- What an answer that is no stream means: "over", or nil, message, and whether a patient reader
-- asks again.
local function refused(self, answer)
  if answer.status == 204 then return "over" end
  local kind = core.media_type(answer.headers["content-type"] or "") or "without a type"
  local text = said(answer)
  local message = answer.status == 200 and ("%s is no event stream: %s"):format(self.url, kind)
    or ("%s answered %d%s"):format(self.url, answer.status, text ~= "" and ": " .. text or "")
  return nil, message, answer.status >= 500 or PASSING[answer.status]
end

local function is_stream(answer)
  return answer.status == 200
    and core.media_type(answer.headers["content-type"] or "") == "text/event-stream"
end

-- One connection. "enough", "over"; "again" and what broke it off, if anything did; or nil and a
-- message.
local function connect(self)
  local answer, message, code = ask(self)
  if not answer then
    local waits = self.has_begun or self.patient and not trust.is_lasting(message)
    if FINAL[code] or not waits then return nil, message end
    return "again", message
  end
  local _ <close> = answer
  if not is_stream(answer) then
    local verdict, why, again = refused(self, answer)
    if verdict or not (again and self.patient) then return verdict, why end
    return "again", why
  end
  self.has_begun, self.problem = true, nil
  if self.on.open and self.on.open(answer, self.id) then return "enough" end
  local enough, problem = read(self, answer)
  return enough and "enough" or "again", problem
end

--- Follow it.
-- @tparam table o `url`; `headers` (a map); `insecure` (take any certificate); `since` (an id);
--   `sleep(seconds)`; `on`: functions that
--   return true when that was enough: `event(event)` (`control`: it is one of Sluice's own),
--   `open(answer, id)` and `lost(problem, seconds)`; `patient`: the first connection may fail, too,
--   and a server that says 5xx is asked again; `seconds` and `later(seconds, fn)`: until when
-- @treturn string|nil "enough", "over" (204), "late"; or nil and a message
function follow.run(o)
  local self = setmetatable({ id = o.since or "", till = o.seconds and core.now() + o.seconds },
    { __index = o })
  while true do
    local verdict, message = connect(self)
    if is_over(self) and verdict ~= "enough" then return "late", self.problem or message end
    if verdict ~= "again" then return verdict, message end
    local seconds = self.retry or self.patient and not self.has_begun and PATIENT_SECONDS
      or RETRY_SECONDS
    if self.on.lost and self.on.lost(message, seconds) then return "enough" end
    self.problem = message -- tells more than that the last attempt was cut by the end of the time
    self.sleep(math.min(seconds, left(self)))
    if is_over(self) then return "late", message end
  end
end

--- Why there is no stream, in the server's own words, by one more request.
-- @tparam table o `url`, `headers`, `insecure`, `sleep` as above
-- @treturn string|nil nil: now there is one, or it answers no more
function follow.why(o)
  local function enough() return true end
  local verdict, message = follow.run(setmetatable({ seconds = WHY_SECONDS,
    on = { event = enough, open = enough, lost = enough } }, { __index = o }))
  return not verdict and message or nil
end

--- Follow the text of a stream in a file, such as standard input.
-- @tparam file handle
-- @tparam function on called as `on.event` above
-- @treturn string|nil "enough" or "over"; or nil and a message
function follow.file(handle, on)
  local self = { id = "", on = { event = on } }
  begin(self)
  for line in handle:lines("L") do
    local enough, problem = feed(self, line)
    if enough then return "enough" end
    if problem then return nil, problem end
  end
  return "over"
end

return follow
