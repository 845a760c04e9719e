--- Streams of a room that come and go: the hooks that make members of their users. Keeps nothing
--- in memory; a pending timer for each member without a stream.
local sluice = require("sluice")
local presence = require("sluice.rooms.presence")

local streams = {}

local FIELDS_MAX = 32768 -- bytes of what the app gives to a member, as JSON
local NAME_MAX = 256 -- bytes of a user's name
local BY_RIGHT = { denied = true, expired = true, revoked = true } -- ends that have no grace
local key_of = presence.key_of

local function named(user, data)
  if data.userName ~= nil then return data end
  local name = user.name
  if type(name) ~= "string" or not utf8.len(name) then name = tostring(user.id) end
  if #name > NAME_MAX then name = name:sub(1, utf8.offset(name, 0, NAME_MAX + 1) - 1) end
  data.userName = name
  return data
end

-- The fields that the app gives to a member; none when that fails.
local function ask(self, client)
  if not self.member_fields then return {} end
  local ok, given = xpcall(self.member_fields, debug.traceback, client)
  local message = given
  if ok then
    message = ("a table is expected, not a %s"):format(type(given))
    if type(given) == "table" then
      local text, why = sluice.json.encode(given)
      if text and #text <= FIELDS_MAX then return (sluice.json.decode(text)) end
      message = why or ("%d bytes are more than %d"):format(#text, FIELDS_MAX)
    end
  end
  sluice.log.error(("rooms.new: member() gave no fields, '%s' joins without: %s"):format(
    tostring(client.user.id), message))
  return {}
end

-- A stream of somebody who is a member already: no user-joined tells it how many there are.
local function greet(self, client, id)
  local room = self.who:room(id)
  if room and room.n <= self.who.counts_above then
    client:send("presence-count", { [self.who.field] = id, activeUsers = room.n })
  end
end

-- A stream of a member; false: it is no member of this node.
local function stay(self, client, id, key, member)
  if not self.nodes:is_shared() then
    if member.streams[client.id] then return true end
    self.who:stay(id, key, member, client)
  else
    local own = self.nodes:own(id, key)
    if own and own.streams[client.id] then return true end
    if own then self.nodes:stay(own, client) else self.book(id, key, client, member.data) end
  end
  greet(self, client, id)
end

-- What the app is asked may take a while. When a reload closes this meanwhile, the member joins
-- without.
local function arrive(self, client, id)
  local user = client.user
  local key = key_of(user)
  if not key then return end
  local member = self.who:find(id, key)
  if member then return stay(self, client, id, key, member) end
  local own = self.nodes:own(id, key)
  if own then return self.nodes:stay(own, client) end
  local data = {}
  local _ <close> = setmetatable({}, { __close = function()
    self.book(id, key, client, named(user, data))
  end })
  for name, value in pairs(ask(self, client)) do data[name] = value end
end

-- The last stream of a member has ended: it leaves after the grace.
local function part(self, id, key, member, grace)
  local state = self.who.state()
  state.nth = state.nth + 1
  member.leaving = state.nth
  local timer = grace > 0 and self.app:after(grace, self.who.name .. ".left",
    { id = id, key = key, leaving = member.leaving }, { id = self.who:timer_of(id, key) })
  if not timer then self.who:leave(id, key, "gone") end
end

-- When the server stops nobody leaves: all are told to come back.
local function go(self, client, id, reason)
  if self.is_stopping then return end
  local key, is_shared = key_of(client.user), self.nodes:is_shared()
  local member = key and (is_shared and self.nodes:own(id, key) or self.who:find(id, key))
  if not (member and member.streams and member.streams[client.id]) then return end
  member.streams[client.id] = nil
  if next(member.streams) then return end
  local grace = BY_RIGHT[reason] and 0 or self.grace
  if is_shared then return self.nodes:go(member, grace) end
  part(self, id, key, member, grace)
end

local function is_gone(self, d)
  local member = self.who:find(d.id, d.key)
  if self.is_stopping then return end
  if member and member.leaving == d.leaving then self.who:leave(d.id, d.key, "gone") end
end

-- Ids of the rooms that open streams follow.
local function rooms_in_use(self)
  local ids, before = {}, self.who.name .. "/"
  for client in self.app:clients() do
    for _, channel in ipairs(client._channels or {}) do
      local id = channel:sub(1, #before) == before and channel:sub(#before + 1)
      if id and self.who:has_name(id) then ids[id] = true end
    end
  end
  return ids
end

-- The code before did not have these rooms: who is there joins, and who left meanwhile goes.
local function recount(self)
  local gone, state = {}, self.who.state()
  for _, own in pairs(state.mine) do
    for client in pairs(own.streams) do
      if not self.app:client(client) then
        gone[#gone + 1] = { id = client, user = { id = own.user }, room = own.room }
      end
    end
  end
  for id, room in pairs(state.rooms) do
    for _, member in pairs(room.members) do
      for client in pairs(member.streams or {}) do
        if not self.app:client(client) then
          gone[#gone + 1] = { id = client, user = { id = member.user }, room = id }
        end
      end
    end
  end
  for _, client in ipairs(gone) do go(self, client, client.room) end
  for id in pairs(rooms_in_use(self)) do
    local channel = self.who:channel(id)
    for client in self.app:clients({ channel = channel }) do arrive(self, client, id) end
  end
end

--- Register the hooks, the task and the timer.
-- @tparam sluice.App app
-- @tparam sluice.Presence who
-- @tparam sluice.RoomsNodes nodes
-- @tparam table o the options of rooms: `grace`, `member`
function streams.register(app, who, nodes, o)
  local self = { app = app, who = who, nodes = nodes, grace = o.grace, member_fields = o.member }
  local name = who.name
  function self.book(...)
    local book = nodes:is_shared() and nodes or who
    book:join(...)
  end
  app:task(name .. ".left", function(d) is_gone(self, d) end)
  app:on("subscribe", name .. "/:id", function(client, _, p) arrive(self, client, p.id) end)
  app:on("unsubscribe", name .. "/:id", function(client, _, p, reason)
    go(self, client, p.id, reason)
  end)
  app:on("stop", function() self.is_stopping = true end)
  app:on("start", function() self.who.state().generation = 1 end)
  app:on("reload", function(swap)
    local state = self.who.state()
    local before = state.generation
    state.generation = swap.generation
    if before ~= swap.previous then recount(self) end
  end)
end

return streams
