--- Who is in a room, told to everybody in it, and what they show each other for a moment.
---
---   local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" })
---   rooms:stream("/api/documents/:id/collaboration", auth:user())
---   rooms:send(id, req.user, "cursor-move", { line = 3, column = 9 })
---
--- To follow the channel `<name>/<id>` is to be in the room; `<name>/<id>/live` has the newest of
--- each member. In memory: what its parts say (sluice/rooms/).
local sluice = require("sluice")
local names = require("sluice.base.names")
local nodes = require("sluice.rooms.nodes")
local options = require("sluice.base.options")
local presence = require("sluice.rooms.presence")
local streams = require("sluice.rooms.streams")
local telling = require("sluice.rooms.telling")

---@class sluice.RoomsModule
local rooms = {}

---@class sluice.Rooms
local Rooms = {}
Rooms.__index = Rooms
Rooms.__name = "sluice.Rooms"

local KNOWN = { name = "room", field = "roomId", grace = 5, max_rate = 20, max_members = 500,
  counts_above = 200, read = options.FUNCTION, member = options.FUNCTION }
local HISTORY, LIVE_TTL = 1000, 10
local GRACE_MAX, MEMBERS_MAX = 3600, 1000000
local TOLD_MAX = 9999 -- max_keys of a channel, less the number of all
local OWN = { ["user-joined"] = true, ["user-left"] = true, ["presence-count"] = true,
  removed = true }
local FIELDS = { id = true, userId = true, userName = true, activeUsers = true, reason = true }
local key_of = presence.key_of

--- The name of a room's channel, for a plan of one's own.
-- @tparam string id
-- @tparam[opt] string kind "live": what members show each other
-- @treturn string
function Rooms:channel(id, kind)
  return self.who:channel(id, kind)
end

-- Guard of a stream: somebody with an id, who is in the room or finds a place in it.
local function admit(self, req)
  if not req.user then return 401, "sign in first" end
  local key = key_of(req.user)
  if not key then
    return 403, "this user can be in no room: an id is UTF-8 of 1 to 256 bytes, or an integer"
  end
  if self.who:is_full(req.params.id, key) then return 503, "this room is full" end
  return true
end

--- Register a stream that enters the room of its path's `:id`. At the top level.
-- @tparam string path "/api/documents/:id/collaboration"
-- @param ... guards, asked first; and last, a table with more options of the plan: its `channels`
--   are followed, too
function Rooms:stream(path, ...)
  local list = table.pack(...)
  local given = type(list[list.n]) == "table" and list[list.n] or {}
  if list.n > 0 and list[list.n] == given then list.n = list.n - 1 end
  local plan, more = {}, given.channels or {}
  for name, value in pairs(given) do plan[name] = value end
  if type(more) ~= "table" then more = { more } end
  plan.channels = table.move(more, 1, #more, 3, { self:channel(":id"),
    self:channel(":id", "live") })
  list[list.n + 1] = function(req) return admit(self, req) end
  list[list.n + 2] = plan
  self.app:stream(path, table.unpack(list, 1, list.n + 2))
end

-- The data of an event of the app's; or nil, message, code, field.
local function own_data(event, data, fields)
  if OWN[event] then
    return nil, ("event: '%s' is sent by the room itself"):format(event), "EBADFIELD", "event"
  elseif data ~= nil and (type(data) ~= "table" or data[1] ~= nil) then
    return nil, "data: an object is expected", "EBADFIELD", "data"
  end
  local out = {}
  for name, value in pairs(data or {}) do out[name] = value end
  for name, value in pairs(fields) do out[name] = value end
  return out
end

-- A room's id as text, one segment of a channel's name; or nil, message, code.
local function room_id(self, id)
  local text = (type(id) == "string" or math.type(id) == "integer") and tostring(id)
  if text and self.who:has_name(text) then return text end
  return nil, "a room's id is one segment of a channel's name: 1 to 64 letters, digits and "
    .. "_ . @ + = ~ : -", "ECHANNEL"
end

-- Whether the read rule lets a member go on: its right may end while it has no stream.
local function may_send(self, id, user, member)
  if not self.read then return true end
  local own = self.nodes:is_shared() and self.nodes:own(id, key_of(user)) or member
  local client = next(own.streams or {})
  local ok, answer = pcall(self.read, user, { id = tostring(id) },
    client and self.app:client(client))
  if not ok then
    sluice.log.error(("rooms:send: the read rule failed, which means no: %s"):format(
      tostring(answer)))
  end
  return ok and answer == true
end

--- What a member shows the others: the newest of each event name and member, for ten seconds.
-- @tparam string id
-- @tparam sluice.User user req.user
-- @tparam string event
-- @tparam[opt] table data gets the room, `id` and `userId`, whatever it says of these
-- @treturn true|nil and how many streams get it; or nil, message, code, field
function Rooms:send(id, user, event, data)
  local member = self.who:find(id, key_of(user))
  if not (member and may_send(self, id, user, member)) then
    return nil, "you are not in this room", "EDENIED"
  end
  local out, message, code, field = own_data(event, data,
    { [self.field] = tostring(id), id = member.user, userId = member.user })
  if not out then return nil, message, code, field end
  return self.app:publish(self:channel(id, "live"), event, out)
end

--- An event for everybody in a room, in order with those who join and leave. Who was away for a
-- moment gets it on coming back; who comes later does not.
-- @tparam string id
-- @tparam string event
-- @tparam[opt] table data gets the room
-- @treturn string|nil id, subscribers, false; or nil, message, code, field
function Rooms:publish(id, event, data)
  local text, why, what = room_id(self, id)
  if not text then return nil, why, what end
  local out, message, code, field = own_data(event, data, { [self.field] = text })
  if not out then return nil, message, code, field end
  return self.app:publish(self:channel(text), event, out, { key = presence.NOTHING, remove = true })
end

--- Who is in a room, in the order of joining, each as in its `user-joined`.
-- @tparam string id
-- @treturn {table,...}
function Rooms:members(id)
  local list, out, room = {}, sluice.json.array(), self.who:room(id)
  for _, member in pairs(room and room.members or {}) do list[#list + 1] = member end
  table.sort(list, function(a, b) return a.nth < b.nth end)
  for i, member in ipairs(list) do out[i] = self.who:data_of(tostring(id), member, room.n) end
  return out
end

--- How many are in a room.
-- @tparam string id
-- @treturn integer
function Rooms:count(id)
  local room = self.who:room(id)
  return room and room.n or 0
end

--- Whether a user is in a room.
-- @tparam string id
-- @param user_id
-- @treturn boolean
function Rooms:has(id, user_id)
  return (self.who:find(id, key_of({ id = user_id }))) and true or false
end

--- Put a user out of a room: its streams that follow the room end with `bye revoked`. A `read`
-- rule, or a guard, keeps it out from then on.
-- @tparam string id
-- @param user_id
-- @treturn true|nil or nil, message, code
function Rooms:kick(id, user_id)
  local text, message, code = room_id(self, id)
  if not text then return nil, message, code end
  local key, n = key_of({ id = user_id }), 0
  if self.nodes:is_shared() and self.who:find(text, key) then return self.nodes:kick(text, key) end
  for client in self.app:clients({ channel = self:channel(text) }) do
    if key and key_of(client.user) == key then
      client:close("revoked")
      n = n + 1
    end
  end
  if self.who:find(text, key) then
    self.who:leave(text, key, "kicked")
  elseif n == 0 then
    return nil, "this user is not in this room", "ENOTFOUND"
  end
  return true
end

--- The rooms that somebody is in.
-- @treturn {table,...} { [field] = id, activeUsers = n }, by id
function Rooms:list()
  local out = sluice.json.array()
  for id, room in pairs(self.who.state().rooms) do
    if room.n > 0 then out[#out + 1] = { [self.field] = id, activeUsers = room.n } end
  end
  table.sort(out, function(a, b) return a[self.field] < b[self.field] end)
  return out
end

local function check(given)
  local o = options("rooms.new", given, KNOWN)
  local function need(good, text, ...)
    if not good then options.raise("rooms.new: " .. text:format(...)) end
  end
  need(o.name:find("^[%w_][%w_.-]*$"), "name '%s' may hold letters, digits and _ . - only", o.name)
  need(o.field ~= "" and not FIELDS[o.field], "field: '%s' is a field of the rooms' own", o.field)
  need(o.grace >= 0 and o.grace <= GRACE_MAX, "grace is a number of seconds from 0 to %d",
    GRACE_MAX)
  for name, most in pairs({ max_members = MEMBERS_MAX, counts_above = TOLD_MAX }) do
    need(math.type(o[name]) == "integer" and o[name] >= 1 and o[name] <= most,
      "%s is an integer from 1 to %d", name, most)
  end
  return o
end

--- Make rooms. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("room": its channels' names begin with it), `field` ("roomId":
--   the field with the room's id), `grace` (5: seconds without a stream until a member has left),
--   `max_rate` (20: of each member's values a second), `max_members` (500), `counts_above` (200: so
--   many are told by name), `read` (who may enter), `member` (fn(client) -> more fields of
--   user-joined)
-- @treturn sluice.Rooms
function rooms.new(app, given)
  local o = check(given)
  local who = presence.new(app, o)
  local over = nodes.new(app, who)
  local self = setmetatable({ app = app, who = who, nodes = over, field = o.field, read = o.read },
    Rooms)
  app:channel(self:channel(":id"), { history = HISTORY, key = "userId", rewind = "latest",
    durable = false, read = o.read })
  app:channel(self:channel(":id", "live"), { history = "latest", key = "userId", ttl = LIVE_TTL,
    max_rate = o.max_rate, durable = false, read = o.read })
  streams.register(app, who, over, o)
  telling.register(app, who, over)
  return self
end

names.lenient(Rooms, "rooms", Rooms, {})
return names.strict(rooms, "sluice.rooms", ".")
