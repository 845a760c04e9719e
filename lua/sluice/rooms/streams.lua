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

-- What the app is asked may take a while. When a reload closes this meanwhile, the member joins
-- without.
local function arrive(self, client, id)
  local user = client.user
  local key = key_of(user)
  local member, room = self.who:find(id, key)
  if not key then return end
  if not member then
    local data = {}
    local _ <close> = setmetatable({}, { __close = function()
      self.who:join(id, key, client, named(user, data))
    end })
    for name, value in pairs(ask(self, client)) do data[name] = value end
    return
  end
  if member.streams[client.id] then return end
  self.who:stay(id, key, member, client)
  if room.n <= self.who.counts_above then -- no user-joined tells this stream how many there are
    client:send("presence-count", { [self.who.field] = id, activeUsers = room.n })
  end
end

-- When the server stops nobody leaves: all are told to come back.
local function go(self, client, id, reason)
  if self.is_stopping then return end
  local key = key_of(client.user)
  local member = self.who:find(id, key)
  if not (member and member.streams[client.id]) then return end
  member.streams[client.id] = nil
  if next(member.streams) then return end
  local state = self.who.state()
  state.nth = state.nth + 1
  member.leaving = state.nth
  local timer = self.grace > 0 and not BY_RIGHT[reason]
    and self.app:after(self.grace, self.who.name .. ".left",
      { id = id, key = key, leaving = member.leaving }, { id = self.who:timer_of(id, key) })
  if not timer then self.who:leave(id, key, "gone") end
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
  local gone = {}
  for id, room in pairs(self.who.state().rooms) do
    for _, member in pairs(room.members) do
      for client in pairs(member.streams) do
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
-- @tparam table o the options of rooms: `grace`, `member`
function streams.register(app, who, o)
  local self = { app = app, who = who, grace = o.grace, member_fields = o.member }
  local name = who.name
  app:task(name .. ".left", function(d) is_gone(self, d) end)
  app:every(1, { name = name .. ".look" }, function() self.who:look() end)
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
