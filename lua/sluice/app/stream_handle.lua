--- The client of a stream, as hooks, plans and app:client() see it: a lazy handle on an id.
-- In memory per stream: nothing, unless there is a user or meta to remember
-- (sluice.Runtime keeps those in one small table).
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local core = require("sluice.core")
local event_types = require("sluice.app.event_types")
local json = require("sluice.json")
local names = require("sluice.base.names")
local plan_options = require("sluice.app.plan_options")
local stream_hooks = require("sluice.app.stream_hooks")

local stream_handle = {}

---@class sluice.Client
local Client = {}
stream_handle.methods = Client

local REASONS = {} -- the words of bye
for word, row in pairs(core.reasons.bye) do
  if row.has_bye then REASONS[#REASONS + 1], REASONS[word] = word, true end
end
table.sort(REASONS)

-- What an operator who asks why is told of an end by the app.
local CAUSES = { stop = "stopped", revoked = "revoked", expired = "expired", denied = "denied" }

-- The runtime and the id; opens a stream whose plan function is still running.
local function opened(self, what)
  if getmetatable(self) ~= stream_handle.META then
    caller.raise("client.%s was called without the client: write client:%s(…) with a colon", what,
      what)
  end
  local id = rawget(self, "id")
  if not id then
    local open = rawget(self, "_open")
    if not open then return rawget(self, "_runtime"), nil end
    id = open(rawget(self, "_session"), self)
  end
  return rawget(self, "_runtime"), id
end

--- Follow one more channel.
-- @tparam string channel a name as it is: nothing is filled in
-- @tparam[opt] table opts { keys, types, max_rate, rewind }
-- @treturn boolean|nil true, or nil, message, code
function Client:subscribe(channel, opts)
  local runtime, id = opened(self, "subscribe")
  local good, message, code = channels.check(channel)
  if not good then return nil, message, code end
  local entry = plan_options.check("client:subscribe()", "channel", opts)
  entry[1] = channel
  if not id then return nil, "closed", "ECLOSED" end
  if not channels.may_read(runtime.generation, channel, self.user, self) then
    return nil, "not allowed: " .. channel, "EDENIED"
  end
  runtime.timers:warm(channel)
  return stream_handle.follow(self, entry)
end

--- Stop following a channel.
-- @tparam string channel
-- @treturn boolean false when it was not followed
function Client:unsubscribe(channel)
  local runtime, id = opened(self, "unsubscribe")
  if type(channel) ~= "string" then
    caller.raise("client:unsubscribe(channel): the channel is a string, not a %s", type(channel))
  end
  if not id then return false end
  local followed, announced = runtime.server:unsubscribe(id, channel)
  if announced then stream_hooks.leave(runtime, self, channel) end
  return followed
end

--- Change the filters and the rate of the stream.
-- @tparam table opts { keys, types, max_rate }
-- @treturn boolean|nil true, or nil, message, code
function Client:set(opts)
  local runtime, id = opened(self, "set")
  local filters = plan_options.check("client:set()", "filter", opts)
  if not id then return nil, "closed", "ECLOSED" end
  local ok, message, code = runtime.server:set(id, filters)
  if ok == nil and message then return nil, message, code end
  return true
end

-- What an event of one client carries: the text, or nil, message, code.
local function event_text(call, event, data)
  event_types.check_name(call .. "(event, data)", event, data, call .. "(")
  local good, message, code = core.check_event(event)
  if not good then return nil, message, code end
  if type(data) == "string" then return data end
  return json.encode(data == nil and {} or data)
end

stream_handle.event_text = event_text

--- Send an event to this client only. Waits while 64 KiB are unsent.
-- @tparam string event
-- @param data a string, or what becomes JSON
-- @treturn boolean|nil true, or nil, message, code ("ECLOSED" when the client has gone)
function Client:send(event, data)
  local runtime, id = opened(self, "send")
  if event == nil then event = "message" end
  local text, message, code = event_text("client:send", event, data)
  if not text then return nil, message, code end
  if not id then return nil, "closed", "ECLOSED" end
  local ok
  repeat
    ok, message, code = runtime.server:send(id, event, text)
  until code ~= "EFULL" or not runtime:wait_writable(id)
  if not ok then return nil, message, code end
  return true
end

--- What this stream was sent, and how far it lags: `events`, `bytes` and `resets` so far;
-- `lag_events` and `lag_bytes` that still have to be sent, `behind_for` seconds, and the `channel`
-- with the most of them. A stream that is caught up has a lag of 0. Lags are up to 250 ms old.
-- @treturn table|nil or nil, message, code ("ECLOSED" when the client has gone)
function Client:stats()
  local runtime, id = opened(self, "stats")
  if not id then return nil, "closed", "ECLOSED" end
  return runtime.server:client_stats(id)
end

-- End the stream; an event may go before the bye.
local function close(self, what, reason, event, data)
  local runtime, id = opened(self, what)
  local text, message, code
  if event ~= nil then
    text, message, code = event_text("client:" .. what, event, data)
    if not text then return nil, message, code end
  end
  if not id then return nil, "closed", "ECLOSED" end
  local place, where = caller.place(runtime.scheduler.current)
  runtime.recorder:deed({ message = "closed", client = id, reason = reason, how = what .. "()",
    cause = CAUSES[reason] or "closed", place = place, where = where })
  return runtime.server:close(id, reason, nil, event, text)
end

--- End the stream. Without a reason it is "stop": browsers stay away; after "moved" they come back.
-- `bye` says the reason. `denied`, `expired` and `revoked` end the stream at once: pending events
-- are never sent. For the other reasons all that was published so far is sent first.
-- @tparam[opt="stop"] string reason a word of bye, see doc/protocol.md
-- @treturn boolean|nil true, or nil, message, code ("ECLOSED" when the client has gone)
function Client:close(reason)
  if reason == nil then reason = "stop" end
  if not REASONS[reason] then
    caller.raise("client:close(): no reason '%s' (known: %s)", tostring(reason),
      table.concat(REASONS, " "))
  end
  return close(self, "close", reason)
end

--- Send bye so that the browser does not come back. An event that is given is the last one: it
-- is sent before the bye, and after all that was published so far. A client that does not know
-- `bye`, and would come back, can close when it gets that event.
-- @tparam[opt] string event
-- @param[opt] data a string, or what becomes JSON
-- @treturn boolean|nil true, or nil, message, code ("ECLOSED" when the client has gone)
function Client:stop(event, data)
  return close(self, "stop", "stop", event, data)
end

-- The request whose plan function has this handle, while it runs.
local function request_of(self)
  local session = rawget(self, "_session")
  return session and session.req
end

local LAZY = {
  id = function(self) return (select(2, opened(self, "id"))) end,
  user = function(self)
    local req = request_of(self)
    if req then return req.user end
    local entry = self._runtime.clients[rawget(self, "id")]
    return entry and entry.user
  end,
  meta = function(self)
    if request_of(self) then return {} end
    local entry = self._runtime.clients[rawget(self, "id")]
    return entry and entry.meta or self._runtime:constant_meta(self) or {}
  end,
  params = function(self)
    local req = request_of(self)
    return req and req.params or self._runtime:path_params(self) or {}
  end,
}

local function from_core(name)
  return function(self)
    local req = request_of(self)
    if req and rawget(req, name) ~= nil then return req[name] end
    local info = rawget(self, "id") and self._runtime.server:client(self.id)
    return info and info[name]
  end
end
LAZY.ip, LAZY.path, LAZY._route_id = from_core("ip"), from_core("path"), from_core("route")
LAZY._channels = from_core("channels")

local unknown = names.refuser(Client, "client", ":", { "id", "user", "ip", "path", "params", "meta",
  "resumed" })

stream_handle.META = {
  __name = "sluice.Client",
  __index = function(self, name)
    if Client[name] then return Client[name] end
    local read = LAZY[name]
    if not read then return unknown(self, name) end
    local value = read(self)
    rawset(self, name, value)
    return value
  end,
  __eq = function(a, b) return rawget(a, "id") ~= nil and rawget(a, "id") == rawget(b, "id") end,
  __tostring = function(self) return "sluice.Client: " .. (rawget(self, "id") or "(opening)") end,
}

--- A handle on an open stream.
-- @tparam sluice.Runtime runtime
-- @tparam string id
-- @tparam[opt] table known fields that are at hand already
-- @treturn sluice.Client
function stream_handle.new(runtime, id, known)
  local self = known or {}
  self._runtime, self.id = runtime, id
  return setmetatable(self, stream_handle.META)
end

--- Put into a handle what cannot be looked up any more when its client has left.
-- @tparam sluice.Client client
-- @tparam table known fields; those that the handle has stay
function stream_handle.keep(client, known)
  for name, value in pairs(known) do
    if rawget(client, name) == nil then rawset(client, name, value) end
  end
end

--- Make an open stream follow one more channel, and run the hooks; nothing happens when it
-- follows it already.
-- @tparam sluice.Client client
-- @tparam string|table entry a channel, or { channel } and options, as in a plan
-- @treturn boolean|nil true, or nil, message, code
function stream_handle.follow(client, entry)
  local runtime, id = rawget(client, "_runtime"), rawget(client, "id")
  local message, code = stream_hooks.refusal(runtime, id)
  if message then return nil, message, code end
  local ok, second, third = runtime.server:subscribe(id, entry)
  if not ok then return nil, second, third end
  if second then stream_hooks.arrive(runtime, client, plan_options.name_of(entry)) end
  return true
end

--- A handle for a plan function: the stream opens when it is first used.
-- @tparam table session its runtime and request
-- @tparam[opt] function open called once with the session and the handle; returns the id, or
--   nil; without it the handle never has one
function stream_handle.pending(session, open)
  return setmetatable({ _runtime = session.runtime, _open = open, _session = session },
    stream_handle.META)
end

return stream_handle
