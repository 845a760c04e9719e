--- A server of the core that notes what is asked of it; for spec/support/rehearsal.lua.
---
---   s.published    { channel, event, text, key, remove, ttl, at, id } of each event that was taken
---   s.calls        { "subscribe", id, entry }, { "close", id, reason } …
---   s.streams[id]  { plan, user, channels, closed, sent = { { event, text, at }, … } }
---   s.snapshot     what the app configured, its own routes only; s.admin: the server's routes
---   s.full[id] = true      what is sent to this stream finds no room, as behind a reader who stalls
---   s.refused.accept = { nil, "too many streams", "EFULL" }      what a method answers instead
---   s.responses[n] { status, headers, body } that the app gave request n; s.responded the last of them
---   s.fn           what the core calls
--- All else is the server's own.
local core = require("sluice.core")

local recorder = {}

local Recorder = {}

function Recorder:configure(snapshot)
  local results = table.pack(self.real:configure(snapshot))
  if not results[1] then return table.unpack(results, 1, results.n) end
  self.snapshot = {}
  for name, value in pairs(snapshot) do self.snapshot[name] = value end
  self.snapshot.routes, self.admin = {}, {}
  local function is_own(it) return not it.pattern:find("^/%-/") and not it.pattern:find("^/sluice[%w.]*%.js$") end
  for _, route in ipairs(snapshot.routes) do
    table.insert(is_own(route) and self.snapshot.routes or self.admin, route)
  end
  self.snapshot.cors = {}
  for _, rule in ipairs(snapshot.cors) do
    if is_own(rule) then table.insert(self.snapshot.cors, rule) end
  end
  return table.unpack(results, 1, results.n)
end

function Recorder:publish(channel, event, text, key, remove, ttl, ...)
  local results = table.pack(self.real:publish(channel, event, text, key, remove, ttl, ...))
  if results[1] then
    table.insert(self.published, { channel = channel, event = event, text = text, key = key, remove = remove,
      ttl = ttl, at = core.now(), id = results[1] ~= true and results[1] or nil })
  end
  return table.unpack(results, 1, results.n)
end

function Recorder:publish_text(channel, event, data)
  if type(data) ~= "string" or (event ~= nil and type(event) ~= "string") then return end
  return self:publish(channel, event or "message", data)
end

-- The channels of a stream are those that it has now, as long as it is open.
local function stream_of(self, id, plan, user)
  return setmetatable({ plan = plan, user = user, sent = {} }, { __index = function(stream, name)
    if name ~= "channels" then return nil end
    local client = not stream.closed and self.real:client(id)
    return client and client.channels or {}
  end })
end

function Recorder:accept(request, plan, user, ...)
  local results = table.pack(self.real:accept(request, plan, user, ...))
  if results[1] then rawset(self.streams, results[1], stream_of(self, results[1], plan, user)) end
  return table.unpack(results, 1, results.n)
end

-- The client that has no stream here yet.
local function newcomer(self)
  for _, id in ipairs(self.real:clients()) do
    if not rawget(self.streams, id) then return id end
  end
end

function Recorder:open(request, given, heartbeat, ...)
  for _, id in ipairs(self.real:clients()) do assert(self.streams[id]) end
  local results = table.pack(self.real:open(request, given, heartbeat, ...))
  if results[1] then
    local whole = type(given) == "table" and given or { channels = { given } }
    local id = newcomer(self)
    rawset(self.streams, id, stream_of(self, id,
      { channels = whole.channels, heartbeat = whole.heartbeat or heartbeat }))
  end
  return table.unpack(results, 1, results.n)
end

function Recorder:send(id, event, text, ...)
  if self.full[id] then return nil, "full", "EFULL" end
  local results = table.pack(self.real:send(id, event, text, ...))
  local stream = self.streams[id]
  if results[1] and stream then table.insert(stream.sent, { event = event, text = text, at = core.now() }) end
  return table.unpack(results, 1, results.n)
end

function Recorder:close(id, reason, ...)
  local results = table.pack(self.real:close(id, reason, ...))
  if results[1] then
    table.insert(self.calls, { "close", id, reason })
    local stream = rawget(self.streams, id)
    if stream then stream.closed = true end
  end
  return table.unpack(results, 1, results.n)
end

function Recorder:respond(request, status, headers, body)
  self.responses[request] = { status = status, headers = headers, body = body }
  self.responded = self.responses[request]
  return self.real:respond(request, status, headers, body)
end

function Recorder:on(fn, _, _, _, on_stream)
  function self.fn(kind, id, ...)
    local answer = fn(kind, id, ...)
    if kind == "close" then self.streams[id] = nil end
    return answer
  end
  self.real:on(self.fn, nil, nil, nil, on_stream)
end

for _, name in ipairs({ "subscribe", "unsubscribe", "set", "stop", "drain" }) do
  Recorder[name] = function(self, ...)
    table.insert(self.calls, { name, ... })
    return self.real[name](self.real, ...)
  end
end

function Recorder:watch(paths)
  self.watched = paths
  return true
end

local function find(self, name)
  if rawget(self, "refused")[name] then
    return function() return table.unpack(self.refused[name], 1, 3) end
  end
  if Recorder[name] then return Recorder[name] end
  local method = self.real[name]
  if type(method) ~= "function" then return method end
  return function(_, ...) return method(self.real, ...) end
end

--- Put one in front of a server.
function recorder.new(real)
  local self = setmetatable({ real = real, refused = {}, full = {}, published = {}, calls = {},
    responses = {} }, { __index = find })
  -- one with a constant plan opens without a word to Lua
  self.streams = setmetatable({}, { __index = function(streams, id)
    if not real:client(id) then return nil end
    streams[id] = stream_of(self, id)
    return streams[id]
  end })
  return self
end

return recorder
