--- The methods of an app that read: latest, history, stats, slowest, channels, clients.
-- All are effects, for handlers and the like. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local options = require("sluice.base.options")
local phase = require("sluice.app.phase")
local stream_handle = require("sluice.app.stream_handle")
local stream_hooks = require("sluice.app.stream_hooks")

local reading = {}

local HISTORY = { limit = 100, after = options.STRING, event = options.STRING }
local CLIENTS = { channel = options.NONE, user = options.NONE }
local LIMIT_MAX = 10000
local SLOWEST, SLOWEST_MAX = 10, core.limits.SLOWEST_MAX

-- What is wrong with the name of a channel that is read, or why a cluster has not brought it.
local function check_read(generation, channel)
  local good, message, code = channels.check(channel)
  if not good then return nil, message, code end
  return generation.runtime.stored:need_here(channel)
end

local function read_data(text)
  local data = json.decode(text)
  if data == nil then return text end
  return data
end

local function read_limits(what, opts)
  local o = options(what, opts, HISTORY)
  if math.type(o.limit) ~= "integer" or o.limit < 0 or o.limit > LIMIT_MAX then
    caller.raise("%s: limit is an integer from 0 to %d", what, LIMIT_MAX)
  end
  return o
end

-- What is wrong with the text of a pattern, or nil.
local function pattern_fault(what, pattern)
  if type(pattern) ~= "string" then
    caller.raise("%s: the pattern is a string, not a %s", what, type(pattern))
  end
  local good, message = core.check_pattern(pattern)
  if not good then return ("pattern '%s': %s"):format(core.encode_utf8(pattern), message) end
end

-- A whole user instead of its id would match no client.
local function check_user(what, id)
  if id ~= nil and type(id) ~= "string" and type(id) ~= "number" then
    caller.raise("%s: user is an id, a string, not a %s", what, type(id))
  end
end

--- The newest event of a channel.
-- @function App:latest
-- @tparam string channel
-- @tparam[opt] string key
-- @tparam[opt] string event
-- @return data and id (no id for a state channel), or nil; or nil, message, code
function reading.latest(self, channel, key, event)
  local generation = phase.running(self, "latest")
  local good, message, code = check_read(generation, channel)
  if not good then return nil, message, code end
  if event ~= nil and type(event) ~= "string" then
    caller.raise("app:latest(): the event's name is a string, not a %s", type(event))
  end
  if key ~= nil then key = core.text_of(key) end
  local text, id = generation.server:latest(channel, key, event)
  if not text then return nil end
  return read_data(text), id
end

--- The events of a channel that memory has, oldest first: of a durable log the newest 1024 at most.
-- Of more than `limit` the newest.
-- @function App:history
-- @tparam string channel
-- @tparam[opt] table opts { limit = 100, after = id, event = name }
-- @treturn {table,...}|nil { id, event, data, key }; or nil, message, code
function reading.history(self, channel, opts)
  local generation = phase.running(self, "history")
  local good, message, code = check_read(generation, channel)
  if not good then return nil, message, code end
  local o = read_limits("app:history()", opts)
  local list
  list, message, code = generation.server:history(channel, o.limit, o.after, o.event)
  if not list then return nil, message, code end
  for _, event in ipairs(list) do event.data = read_data(event.data) end
  return arrays.mark(list)
end

--- The newest event of each key and event name that a state or keyed log holds, the oldest first.
-- @function App:newest
-- @tparam string channel
-- @tparam[opt] table opts { limit = 100, after = id, event = name }
-- @treturn {table,...}|nil { id (of a keyed log), event, data, key }; or nil, message, code
-- @treturn integer how many there are of that name, whatever limit and after say
-- @treturn integer their size in bytes
function reading.newest(self, channel, opts)
  local generation = phase.running(self, "newest")
  local good, message, code = check_read(generation, channel)
  if not good then return nil, message, code end
  local o = read_limits("app:newest()", opts)
  if generation.server:policy(channel).kind == "log" then
    return nil, ("channel '%s' is a log: it does not keep the newest of each key"):format(channel),
      "EINVAL"
  end
  local list, count, bytes = generation.server:newest(channel, o.limit, o.after, o.event)
  if not list then return nil, count, bytes end
  for _, event in ipairs(list) do event.data = read_data(event.data) end
  return arrays.mark(list), count, bytes
end

--- Figures of one channel, or of the server; doc/operating.md lists them. What the I/O threads
-- count per channel, and lags, are up to 250 ms old.
-- @function App:stats
-- @tparam[opt] string channel
-- @treturn table|nil of a channel that is not in use: zeros; or nil, message, code
function reading.stats(self, channel)
  local generation = phase.running(self, "stats")
  if channel ~= nil then
    local good, message, code = channels.check(channel)
    if not good then return nil, message, code end
  end
  local figures = generation.server:stats(channel)
  if channel == nil then
    for name, value in pairs(generation.runtime:figures()) do figures[name] = value end
  end
  return figures
end

--- The clients that lag, those with the most pending bytes first.
-- @function App:slowest
-- @tparam[opt=10] integer n at most so many
-- @treturn {table,...} { client = sluice.Client } and the fields of client:stats()
function reading.slowest(self, n)
  local generation = phase.running(self, "slowest")
  if n == nil then n = SLOWEST end
  if math.type(n) ~= "integer" or n < 1 or n > SLOWEST_MAX then
    caller.raise("app:slowest(n): n is an integer from 1 to %d", SLOWEST_MAX)
  end
  local list = generation.server:slowest(n)
  for _, row in ipairs(list) do
    row.client, row.id = stream_handle.new(generation.runtime, row.id), nil
  end
  return arrays.mark(list)
end

--- The names of the channels that exist now.
-- @function App:channels
-- @tparam[opt] string pattern
-- @treturn {string,...}|nil or nil, message, code
function reading.channels(self, pattern)
  local generation = phase.running(self, "channels")
  if pattern ~= nil then
    local fault = pattern_fault("app:channels(pattern)", pattern)
    if fault then return nil, fault, "EPATTERN" end
  end
  return arrays.mark(generation.server:channels(pattern))
end

--- One client by the id that the server gave it.
-- @function App:client
-- @tparam string id
-- @treturn sluice.Client|nil
function reading.client(self, id)
  local generation = phase.running(self, "client")
  if type(id) ~= "string" then
    caller.raise("app:client(id): the id is a string, not a %s", type(id))
  end
  if not generation.server:client(id) then return nil end
  return stream_handle.new(generation.runtime, id)
end

--- Send an event to one client, in a cluster also to one of another node.
-- @function App:send
-- @tparam string id
-- @tparam[opt="message"] string event
-- @param data a string, or what becomes JSON
-- @treturn boolean|nil true: it is handed over; or nil, message, code ("ENOTFOUND": there is none)
function reading.send(self, id, event, data)
  local generation = phase.running(self, "send")
  if type(id) ~= "string" then
    caller.raise("app:send(id, event, data): the id is a string, not a %s", type(id))
  end
  if event == nil then event = "message" end
  local text, message, code = stream_handle.event_text("app:send", event, data)
  if not text then return nil, message, code end
  return generation.runtime.notices:send(id, event, text)
end

--- Iterate over the clients as they are now; one that leaves while the loop waits is left out.
-- @function App:clients
-- @tparam[opt] table filter { channel = name, user = id }
-- @treturn function iterator over sluice.Client
function reading.clients(self, filter)
  local generation = phase.running(self, "clients")
  local o = options("app:clients()", filter, CLIENTS)
  check_user("app:clients()", o.user)
  if o.channel ~= nil then
    local good, message, code = channels.check(o.channel)
    if not good then failure.refuse("app:clients(): " .. message, code) end
  end
  local runtime = generation.runtime
  local list, i = runtime.server:clients(o.channel), 0
  return function()
    while list[i + 1] do
      i = i + 1
      local id = list[i]
      local entry = runtime.clients[id]
      local user = entry and entry.user
      local wanted = o.user == nil or user ~= nil and user.id == o.user
      if wanted and runtime.server:is_open(id) then return stream_handle.new(runtime, id) end
    end
  end
end

--- Apply the read rules again to one stream. A channel that is taken away is reported by a reset;
-- when none is left the stream ends with bye.
-- @tparam sluice.Generation generation
-- @tparam sluice.Client client
-- @tparam[opt] string why for whoever asks later: "after reload #3"
-- @treturn integer how many channels were taken away
function reading.recheck_one(generation, client, why)
  local server = generation.server
  local info = server:client(client.id)
  local taken = 0
  for _, channel in ipairs(info and info.channels or {}) do
    local good, rule = channels.may_read(generation, channel, client.user, client)
    if not good then
      generation.runtime.recorder:deed({ message = "denied", client = client.id, channel = channel,
        cause = "read", pattern = rule.pattern, where = rule.where, why = why })
      local followed, announced = server:unsubscribe(client.id, channel, "denied")
      if announced then stream_hooks.leave(generation.runtime, client, channel, "denied") end
      if followed then taken = taken + 1 end
    end
  end
  if taken > 0 and taken == #info.channels then server:close(client.id, "revoked") end
  return taken
end

--- Apply the read rules again to open streams; a stream that loses a channel gets a notice.
-- In a cluster every node is told to do the same.
-- @function App:recheck
-- @tparam[opt] string user_id only this user's streams
-- @treturn integer|nil how many channels were taken away from streams of this node; or nil,
--   message, code: of this node they were, and others were not told
function reading.recheck(self, user_id)
  local generation = phase.running(self, "recheck")
  check_user("app:recheck()", user_id)
  local why = "by app:recheck() " .. caller.place(generation.runtime.scheduler.current)
  local taken = 0
  for client in reading.clients(self, { user = user_id }) do
    taken = taken + reading.recheck_one(generation, client, why)
  end
  local told, message, code = generation.runtime.notices:tell("r", "recheck", nil,
    { user = user_id })
  if not told then return nil, message, code end
  return taken
end

-- The ids of the streams whose path matches.
function reading.of_pattern(runtime, pattern)
  local list, server = {}, runtime.server
  for _, id in ipairs(server:clients()) do
    local info = server:client(id)
    if info and core.match(pattern, info.path or "") then list[#list + 1] = id end
  end
  return list
end

--- Run the plans of open streams again: channels that a plan names are followed, others left.
-- In a cluster those of every node. A plan function is given the path, the user and client.meta;
-- query and headers only where a coroutine writes the stream.
-- @function App:replan
-- @tparam string pattern of paths
-- @treturn integer|nil how many streams of this node, done in slices; or nil, message, code
function reading.replan(self, pattern)
  local generation = phase.running(self, "replan")
  local fault = pattern_fault("app:replan(pattern)", pattern)
  if fault then return nil, fault, "EPATTERN" end
  local runtime = generation.runtime
  local list = reading.of_pattern(runtime, pattern)
  runtime.handover:replan(list)
  local told, message, code = runtime.notices:tell("r", "replan", nil, { pattern = pattern })
  if not told then return nil, message, code end
  return #list
end

return reading
