--- What the core's loop calls, one function for each kind of call; self is the runtime.
-- Keeps nothing in memory.
local control = require("sluice.requests.control")
local core = require("sluice.core")
local hooks = require("sluice.app.hooks")
local router = require("sluice.requests.router")
local stream_handle = require("sluice.app.stream_handle")
local stream_hooks = require("sluice.app.stream_hooks")
local streams = require("sluice.requests.streams")

local callbacks = {}

local STOP_SECONDS = 1 -- how long stop hooks may run, and after the last stream those of clients
local ANSWERS = { request = true, stream = true, plan = true } -- kinds of coroutines

local function wake_writers(self, id, answer)
  local list = self.writable[id]
  self.writable[id] = nil
  for _, fiber in ipairs(list or {}) do self.scheduler:resume(fiber, answer) end
end

function callbacks.request(self, id, route_id, raw)
  if control.request(self, id, self.names[route_id], raw) then return end
  local route = self.generation.route_named[self.names[route_id]]
  -- a reload may have removed it meanwhile, or changed what it is
  if not route then return self.server:respond(id, 404, {}, nil) end
  local same = route.kind ~= "stream" and route.kind ~= "feed"
    and (raw.pieces ~= nil) == (route.body_max ~= nil)
  if not same then return self.server:respond(id, 503, {}, nil) end
  if self.identify then self.identify(raw) end
  router.request(self, id, route, raw)
end

local function open(self, kind, id, route_id, raw)
  local name = self.names[route_id]
  local route = self.generation.route_named[name]
  if not route and control.request(self, id, name, raw) then return end
  if not route then return self.server:respond(id, 404, {}, nil) end
  if route.kind ~= kind then return self.server:respond(id, 503, {}, nil) end
  if self.identify then self.identify(raw) end
  streams.request(self, id, route, raw)
end

function callbacks.stream(self, id, route_id, raw) open(self, "stream", id, route_id, raw) end

function callbacks.feed(self, id, route_id, raw) open(self, "feed", id, route_id, raw) end

function callbacks.cancel(self, id)
  local fiber = self.opening[id]
  if fiber then
    fiber.abandoned = true -- for whoever asks why
    self.scheduler:cancel(fiber)
  end
  if self.bodies[id] then self.bodies[id]:on_gone() end
end

function callbacks.piece(self, id, bytes, last, status)
  if self.bodies[id] then self.bodies[id]:on_piece(bytes, last, status) end
end

function callbacks.open(self, id, path, channels, route_id)
  local h = self.generation.hooks
  if not (h.connect or h.subscribe) then return end
  local client = stream_handle.new(self, id, { path = path, _route_id = route_id })
  stream_hooks.arrive(self, client)
  for _, channel in ipairs(channels) do stream_hooks.arrive(self, client, channel) end
end

-- Hooks run after their client has left: its handle keeps what it was.
local function report_leaving(self, id, reason, channels, known)
  local client = stream_hooks.client(self, id) or stream_handle.new(self, id)
  stream_handle.keep(client, known)
  for _, channel in ipairs(channels) do stream_hooks.leave(self, client, channel, reason) end
  stream_hooks.leave(self, client, nil, reason)
end

function callbacks.close(self, id, reason, channels, path, ip)
  if self.console:left(id) then return end
  wake_writers(self, id, false)
  local writer = self.writers[id]
  if writer then
    self.writers[id] = nil
    self.scheduler:cancel(writer)
  end
  local entry = self.clients[id] or {}
  if hooks.ask_for_clients(self.generation) or stream_hooks.client(self, id) then
    report_leaving(self, id, reason, channels or {}, { user = entry.user, meta = entry.meta,
      path = path, ip = ip })
  end
  self.clients[id] = nil
end

function callbacks.writable(self, id)
  wake_writers(self, id, true)
end

function callbacks.http_head(self, id, status, headers, location)
  local t = self.transfers[id]
  if t then t:on_head(status, headers, location) end
end

function callbacks.http_data(self, id, bytes)
  local t = self.transfers[id]
  if t then t:on_data(bytes) end
end

function callbacks.http_end(self, id, message, code)
  local t = self.transfers[id]
  if t then t:on_end(message, code) end
end

function callbacks.sql(self, ticket, rows, message, code)
  local fiber = self.questions[ticket]
  self.questions[ticket] = nil
  if fiber then self.scheduler:resume(fiber, rows, message, code) end
end

function callbacks.redis(self, id, what, value)
  local connection = self.connections[id]
  if connection then connection["on_" .. what](connection, value) end
end

--- The channel of a publish became one in memory before its turn came: whether it is refused.
function callbacks.moved(self, ticket)
  return self.stored:judge(ticket)
end

--- What channels are has changed, or is about to: what publishers know of them is looked up anew.
function callbacks.forget_channels(self)
  for _, generation in ipairs { self.generation, self.retirement.old } do
    generation.how, generation.how_count = {}, 0
  end
end

function callbacks.policies(self, busy)
  self.stored.busy = busy
  callbacks.forget_channels(self)
  if not busy and self.reloader then self.reloader:kick() end
end

local OVER = "channel '%s' sent %d bytes within a minute: its budget is %d"
local WITHIN = "channel '%s' is within its budget again: %d bytes within a minute, of %d"

function callbacks.budget(self, channel, over, bytes, budget)
  core.log(over and "warn" or "info", (over and OVER or WITHIN):format(channel, bytes, budget),
    { channel = channel, bytes = bytes, budget = budget })
  hooks.budget(self, { channel = channel, over = over, bytes = bytes, budget = budget })
end

--- The node is live, or is no longer, has another epoch, leads (a token), or no more (0).
function callbacks.cluster(self, is_live, epoch, token)
  self.leadership:turn(token > 0 and token or nil)
  hooks.fire(self, "cluster", { state = is_live and "live" or "away", epoch = epoch,
    leader = token > 0 })
end

--- A node has told all; without arguments: some were missed.
function callbacks.notice(self, letter, name, to, text, is_own)
  self.notices:hear(letter, name, to, text, is_own)
end

function callbacks.timer(self)
  self.armed = nil
  self.scheduler:tick()
end

--- One I/O thread answers a question.
function callbacks.told(self, ticket, lines)
  self.explainer:told(ticket, lines)
end

function callbacks.signal(self, name)
  if name ~= "HUP" then
    self.recorder:deed({ message = "stopping", text = "the signal " .. name })
    return self.server:stop()
  end
  if self.reloader then self.reloader:request("reload") end
end

function callbacks.changed(self, path)
  if self.watcher then self.watcher:changed(path) end
end

function callbacks.stopping(self)
  if self.stopping then return end
  self.stopping = true
  if self.manager then self.manager:stopping() end
  self.timers:stop()
  self.services:stop()
  self.server:cluster_give_up_lead()
  -- the drain begins when the stop hooks have published their last events
  hooks.fire_then(self, "stop", function() self.server:drain() end, "exit")
  self.scheduler:at(core.now() + STOP_SECONDS, function()
    self.scheduler:cancel_all(function(fiber) return not ANSWERS[fiber.kind] end)
  end)
end

-- All streams have ended; the hooks about the last ones have a moment to finish.
function callbacks.drained(self)
  if not next(self.stream_hooks) then return false end
  self.leaving = true
  self.scheduler:at(core.now() + STOP_SECONDS, function() self.server:leave() end)
  return true
end

return callbacks
