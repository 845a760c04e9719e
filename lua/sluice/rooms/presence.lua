--- Who is in which room: decided, written down and published in one step, which waits for nothing,
--- so that the state, the events and the numbers in them never differ. What cannot be published is
--- tried again each second. In memory: in app:state, a small table per member.
local segment = require("sluice.base.segment")
local sluice = require("sluice")

local presence = {}

---@class sluice.Presence
local Presence = {}
Presence.__index = Presence

local KEY_MAX = 256 -- bytes of a user's id, which is a key
local CHANNEL_MAX = 128 -- bytes of the names of a room's channels
local LATER = { EBUSY = true, EFULL = true, ELOOP = true, ENOMEM = true } -- worth another try

presence.NOTHING, presence.COUNT = "\0", "\1" -- keys that no user has

--- A user's id as the key of a member; nil when it cannot be one.
function presence.key_of(user)
  local id = type(user) == "table" and user.id
  if math.type(id) == "integer" then return tostring(id) end
  local is_key = type(id) == "string" and id ~= "" and #id <= KEY_MAX and not id:find("%c")
    and utf8.len(id)
  return is_key and id or nil
end

--- A room that somebody is in, or of which something is left to say; or nil.
function Presence:room(id) return self.state().rooms[tostring(id)] end

--- A member and its room; nil for what is not there.
function Presence:find(id, key)
  local room = self:room(id)
  return room and key and room.members[key], room
end

-- A room is looked at each second while something is left to say of it.
local function watch(self, id) self.state().watched[id] = true end

--- What is told of a member.
function Presence:data_of(id, member, count, reason)
  local data = {}
  if not reason then
    for name, value in pairs(member.data) do data[name] = value end
  end
  data[self.field], data.id, data.userId = id, member.user, member.user
  data.activeUsers, data.reason = count, reason or data.reason
  return data
end

-- Whether it is said, or never will be.
local function tell(self, id, room, event, data, remove)
  local ok, message, code = self.app:publish(self:channel(id), event, data,
    { wait = false, remove = remove })
  if ok then return true end
  local again = LATER[code] == true
  if not (again and room.is_late) then
    sluice.log.error(("room '%s': '%s' of '%s' was not published%s: %s"):format(id, event,
      data.userId, again and ", and is tried again" or "", message))
  end
  room.is_late = room.is_late or again
  return not again
end

-- Members that are not told are a list in no order; each knows its place.
local function hold(room, key, member)
  member.place = #room.untold + 1
  room.untold[member.place] = key
end

local function let_go(room, member)
  local last = table.remove(room.untold)
  if member.place <= #room.untold then
    room.untold[member.place] = last
    room.members[last].place = member.place
  end
  member.place = nil
end

-- Tell of members, while there is room for more names and any is left.
local function tell_joined(self, id, room)
  while room.told < self.counts_above and #room.untold > 0 do
    local member = room.members[room.untold[#room.untold]]
    if not tell(self, id, room, "user-joined", self:data_of(id, member, room.n)) then break end
    let_go(room, member)
    room.told = room.told + 1
  end
  if #room.untold > 0 or room.n > self.counts_above then watch(self, id) end
end

-- Tell of members that left and were told of.
local function tell_left(self, id, room)
  for key, left in pairs(room.owed) do
    local data = self:data_of(id, left, room.n, left.reason)
    if not tell(self, id, room, "user-left", data, true) then return watch(self, id) end
    room.owed[key], room.told = nil, room.told - 1
  end
end

local function say(self, id, room)
  room.is_late = room.is_late and (next(room.owed) ~= nil or #room.untold > 0)
  tell_left(self, id, room)
  tell_joined(self, id, room)
  if room.n == 0 and next(room.owed) == nil and not room.counted then
    self.state().rooms[id] = nil
  end
end

--- The id of the timer that ends a member's grace.
function Presence:timer_of(id, key) return ("%s.left/%s/%s"):format(self.name, id, key) end

--- One more stream of a member, which may have been about to leave.
function Presence:stay(id, key, member, client)
  if member.leaving then
    self.app:cancel(self:timer_of(id, key))
    member.leaving = nil
  end
  member.streams[client.id] = true
end

--- Whether there is no place for somebody who is not in it.
function Presence:is_full(id, key)
  local member, room = self:find(id, key)
  return not member and room ~= nil and room.n >= self.max_members
end

--- Somebody's stream is there.
-- @tparam table data the fields of a new member
function Presence:join(id, key, client, data)
  if not self.app:client(client.id) then return end -- it left while others were asked
  local member, room = self:find(id, key)
  if member then return self:stay(id, key, member, client) end
  if self:is_full(id, key) then return client:close("overload") end
  room = room or { n = 0, changes = 0, told = 0, nth = 0, members = {}, untold = {}, owed = {} }
  self.state().rooms[id] = room
  room.n, room.nth, room.changes = room.n + 1, room.nth + 1, room.changes + 1
  member = { user = client.user.id, data = data, nth = room.nth, streams = { [client.id] = true } }
  room.members[key] = member
  if room.owed[key] then
    room.owed[key] = nil -- nobody was told of the leave
  else
    hold(room, key, member)
  end
  say(self, id, room)
end

--- A member has left.
function Presence:leave(id, key, reason)
  local member, room = self:find(id, key)
  self.app:cancel(self:timer_of(id, key))
  room.members[key], room.n, room.changes = nil, room.n - 1, room.changes + 1
  if member.place then
    let_go(room, member)
  else
    room.owed[key] = { user = member.user, reason = reason }
  end
  say(self, id, room)
  self.app:remove(self:channel(id, "live"), key, { update = true, wait = false })
end

-- Publish how many are in a large room, in order with joins and leaves; once more when it is large
-- no longer, and no newcomer gets it then.
local function count(self, id, room)
  local is_large = room.n > self.counts_above
  if not (is_large or room.counted) then return false end
  if not (is_large and room.counted == room.changes) then
    local ok = self.app:publish(self:channel(id), "presence-count",
      { [self.field] = id, activeUsers = room.n },
      { key = presence.COUNT, remove = not is_large, wait = false })
    if not ok then return true end
  end
  room.counted = is_large and room.changes or nil
  return is_large
end

--- Each second: rooms of which something is left to say.
function Presence:look()
  local watched = self.state().watched
  for id in pairs(watched) do
    local room = self:room(id)
    local goes_on = room and count(self, id, room)
    if room then say(self, id, room) end
    if not (goes_on or room and (#room.untold > 0 or next(room.owed))) then watched[id] = nil end
  end
end

--- The name of a room's channel.
function Presence:channel(id, kind)
  return ("%s/%s%s"):format(self.name, id, kind and "/" .. kind or "")
end

--- Whether a text can be a room's id.
function Presence:has_name(id)
  return segment.fits(id) and #self:channel(id, "live") <= CHANNEL_MAX
end

--- Make one.
-- @tparam sluice.App app
-- @tparam table o the options of rooms
function presence.new(app, o)
  return setmetatable({ app = app, name = o.name, field = o.field, max_members = o.max_members,
    counts_above = o.counts_above,
    key_of = presence.key_of,
    -- from `rows` on: of a cluster (rooms/nodes.lua)
    state = app:state(o.name, { rooms = {}, watched = {}, nth = 0, rows = {}, mine = {}, own = {},
      gone = {}, touched = {}, recorded = {}, kicked = {}, edition = 0 }) }, Presence)
end

return presence
