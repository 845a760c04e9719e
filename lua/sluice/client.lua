--- Follow a stream of another server: an SSE client that reconnects, resumes and reports what was
--- lost.
---
---   for event in client.events("https://example.org/feed") do
---     app:publish("news", event.event, event.text)
---   end
---
--- It works with any source. Of the control events of a Sluice server it passes on only `reset`,
--- not hello, sync and bye. Takes no app: it registers nothing. In memory: one unfinished event,
--- and what was received and not taken (see sluice.out.transfer).
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local eventstream = require("sluice.eventstream")
local inflated = require("sluice.out.inflated")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local outgoing = require("sluice.out.outgoing")
local retry = require("sluice.out.retry")
local returning = require("sluice.out.returning")
local transfer = require("sluice.out.transfer")

---@class sluice.EventsClient
local client = {}

---@class sluice.Connection
local Connection = {}
Connection.__index = Connection
Connection.__name = "sluice.Connection"

local KNOWN = { events = options.NONE, keys = options.NONE, headers = options.NONE,
  last_event_id = options.STRING, timeout = 60, method = options.STRING, body = options.STRING,
  json = options.NONE, compress = true, verify = true }
local LIMITS = { line_max = 1 << 20, event_max = 1 << 20 }
local STEADY_SECONDS = 30 -- so long a connection counts as a success, also without events
local BURST = 100 -- events without a pause: then other coroutines run
local REDIRECTS = 5
local CONTROL = { hello = true, sync = true, bye = true }
local REFUSED = { denied = true, expired = true, revoked = true } -- these reasons of bye are logged
-- Errors that another attempt will not change.
local FINAL_CODE = { EINVAL = true, EBADFIELD = true, ETOOBIG = true }

-- ---- Making one --------------------------------------------------------------------------

local function check_list(what, name, list)
  local fault = list ~= nil and options.list_fault(list, "strings", "string")
  if fault then caller.raise("%s: %s %s", what, name, fault) end
end

local function check(what, url, given)
  local o = options(what, given, KNOWN)
  outgoing.check_url(what, url)
  check_list(what, "events", o.events)
  check_list(what, "keys", o.keys)
  if not (o.timeout >= 0.1 and o.timeout <= 86400) then
    caller.raise("%s: timeout is a number of seconds from 0.1 to 86400", what)
  end
  local missing = { accept = "text/event-stream", ["cache-control"] = "no-store" }
  outgoing.read_stream(what, o, missing)
  if o.compress then inflated.ask(missing, o.headers) end
  o.headers = outgoing.headers(what, o.headers, missing)
  return o
end

local function new(what, url, given)
  local runtime = transfer.runtime(what)
  local o = check(what, url, given)
  local wanted
  if o.events then
    wanted = { reset = true }
    for _, name in ipairs(o.events) do wanted[name] = true end
  end
  -- the filter as Sluice reads it; other sources ignore it
  local full = outgoing.with_query(url, { types = o.events, keys = o.keys })
  return setmetatable({ runtime = runtime, what = what, url = full, shown = outgoing.shown(url),
    method = o.method, body = o.body, headers = o.headers, wanted = wanted, timeout = o.timeout,
    verify = o.verify, last_id = o.last_event_id or "", asking = {}, failures = 0, run = 0,
    queue = {}, first = 1 }, Connection)
end

-- ---- Connecting --------------------------------------------------------------------------

-- An id that could not stand in a header is not sent.
local function fields(self)
  local headers = {}
  for name, value in pairs(self.headers) do headers[name] = value end
  if self.last_id ~= "" and not self.last_id:find("%c") then
    headers["last-event-id"] = self.last_id
  end
  return headers
end

-- The end of a connection: what was unfinished is forgotten, what is whole stays.
local function drop(self)
  if self.transfer then self.transfer:close() end
  if self.asking.transfer then self.asking.transfer:close() end
  self.transfer, self.parser, self.asking = nil, nil, {}
end

-- One attempt: true; or nil, message, code, and whether another attempt makes sense.
local function open(self)
  local t, status, headers = outgoing.ask(self.runtime, self.what, { url = self.url,
    method = self.method, body = self.body, headers = fields(self), redirects = REDIRECTS,
    idle = self.timeout, verify = self.verify }, self.asking)
  if not t then return nil, status, headers, not FINAL_CODE[headers] end
  self.status = status
  local kind = core.media_type(headers["content-type"] or "") or ""
  if status == 200 and kind == "text/event-stream" then
    self.transfer = inflated.body(t, headers)
    self.opened, self.sluice = self.runtime.scheduler.now(), nil
    self.parser = eventstream.new({ line_max = LIMITS.line_max, event_max = LIMITS.event_max,
      last_id = self.last_id, own_ids = self.tries ~= nil })
    return true
  end
  t:close()
  if status == 204 then
    self.stopped = true
    return true
  elseif status == 200 then
    self.told = "what the upstream sent is no event stream"
    return nil, ("%s is no event stream, but '%s'"):format(self.shown, kind), "EUPSTREAM", true
  end
  local again = status >= 500 or status == 408 or status == 429
  self.wait_asked = again and retry.after(headers, returning.RETRY_MOST) or nil
  self.told = ("the upstream answered %d"):format(status)
  return nil, ("%s answered %d"):format(self.shown, status), "EUPSTREAM", again
end

-- Logged when an outage begins, and when it is over; not at each attempt.
local function complain(self, message, code)
  self.wait = returning.pause(self)
  core.log(self.troubled and "debug" or "warn", ("%s: %s: %s; again in %.3g s"):format(self.what,
    self.shown, message, self.wait))
  self.troubled = true
  if self.on_wait then self.on_wait(returning.told(self, code), self.wait) end
end

local function give_up(self, message, code)
  self.stopped, self.problem, self.code = true, message, code or "EUPSTREAM"
end

local function reconnect(self)
  while not (self.closed or self.stopped) do
    if self.pause_first and not self.asking.transfer then returning.rest(self) end
    if self.closed then return end
    self.pause_first, self.wait, self.told = true, nil, nil
    local ok, message, code, again = open(self)
    if ok or self.closed then return end
    self.failures = self.failures + 1
    if not again or not returning.may(self) then
      core.log("warn", ("%s: %s: %s; given up"):format(self.what, self.shown, message))
      return give_up(self, message, code)
    end
    complain(self, message, code)
  end
end

-- ---- Events ------------------------------------------------------------------------------

-- Handle an event that a Sluice server means for its client and not for the app; true when it is
-- one.
local function control(self, event)
  if not CONTROL[event.event] then return false end
  local data = json.decode(event.data)
  if type(data) ~= "table" then data = {} end
  if self.sluice == nil then -- one that is overloaded says bye at once
    self.sluice = event.event == "hello" and data.client ~= nil and data.epoch ~= nil
      or event.event == "bye" and data.reason ~= nil
  end
  if self.sluice and event.event == "bye" then
    self.bye, self.stopped = data.reason or "unknown", data.reason == "stop"
  end
  return self.sluice
end

-- The data of an event: a table when they are a JSON object or list, else the text.
local function value_of(text)
  if not text:find("^%s*[{%[]") then return text end
  local value = json.decode(text)
  if value == nil then return text end
  return value
end

local function take(self, event)
  if control(self, event) then return end
  self.sluice = self.sluice or false -- a hello comes first or never
  if self.wanted and not self.wanted[event.event] then return end
  self.queue[#self.queue + 1] = { event = event.event, data = value_of(event.data),
    text = event.data, id = event.id ~= "" and event.id or nil }
end

-- The connection is over; log that unless it was announced, or is usual for the source.
local function lost(self, message)
  local announced = not message
  if self.bye then message, announced = "bye: " .. self.bye, not REFUSED[self.bye] end
  self.bye = nil
  -- a source that ended properly and named a time decides
  local in_order = not message and self.parser.retry
  if in_order or self.runtime.scheduler.now() - self.opened >= STEADY_SECONDS then
    self.failures = 0
  end
  drop(self)
  self.failures, self.told = self.failures + 1, nil
  if self.stopped then return end
  if not returning.may(self) then
    if not announced then return give_up(self, message) end
    self.stopped = true
  elseif not announced then
    complain(self, message)
  end
end

local function feed(self, bytes)
  local events, problem = self.parser:feed(bytes)
  if #events > 0 then
    self.failures, self.has_begun = 0, true
    if self.troubled then core.log("info", ("%s: %s is back"):format(self.what, self.shown)) end
    self.troubled = nil
  end
  for _, event in ipairs(events) do take(self, event) end
  self.last_id, self.at_id = self.parser.last_id, self.parser.at_id
  if self.parser.retry then self.retry = self.parser.retry / 1000 end
  if problem then lost(self, problem) end
end

-- The queue is empty: read on, or connect again, or end.
local function more(self)
  self.queue, self.first = {}, 1
  if self.stopped then
    self:close()
  elseif not self.transfer then
    reconnect(self)
  else
    local bytes, message = self.transfer:read()
    if bytes then feed(self, bytes) elseif not self.closed then lost(self, message) end
  end
end

-- The next event, or nil when there will be none.
local function next_event(self)
  while not self.closed do
    local event = self.queue[self.first]
    if not event then
      more(self)
    elseif self.run >= BURST then
      self.run = 0
      self.runtime.scheduler:sleep(0, self.what)
    else
      self.queue[self.first] = false
      self.first, self.run = self.first + 1, self.run + 1
      return event
    end
  end
end

--- Iterate over the events: { event, data, id, text }. `data` is a table when the text is a JSON
-- object or list; `text` is always the text. Ends when the source says stop (204, or bye).
-- @treturn function an iterator for `for`
function Connection:events()
  return function() return next_event(self) end
end

--- Close the connection; a loop over its events ends. Closing twice does no harm.
function Connection:close()
  self.closed = true
  drop(self)
end

Connection.__close, Connection.__call = Connection.close, next_event

--- Connect to an event stream, and wait for its head.
-- @tparam string url
-- @tparam[opt] table o `events` (only these names; `reset` comes always), `keys` (for a Sluice),
--   `headers` (a map), `last_event_id`, `timeout` (seconds without a byte after which the
--   connection is given up, 60), `compress` (ask for gzip, true), `verify` (the certificate, true);
--   for one by POST `json` or `body`, which each attempt sends
-- @treturn sluice.Connection|nil with `status`, 200 or 204; or nil, message, code: one attempt
function client.connect(url, o)
  local self = new("client.connect()", url, o)
  local ok, message, code = open(self)
  if not ok then return nil, message, code end
  self.pause_first = true
  return self
end

--- Follow an event stream for ever: connect, come back after cuts, resume from the last id.
-- The connection is closed when the loop is left, also by an error or a reload.
-- @tparam string url
-- @tparam[opt] table o as client.connect
-- @return what `for event in …` wants
function client.events(url, o)
  local self = new("client.events()", url, o)
  return self, nil, nil, self
end

Connection.resume_only, Connection.for_readers = returning.resume_only, returning.told

names.lenient(Connection, "connection", { events = Connection.events, close = Connection.close,
  resume_only = Connection.resume_only }, { "status", "problem", "code" })
return names.strict(client, "client", ".")
