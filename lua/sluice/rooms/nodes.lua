--- Members over the nodes of a cluster. Each node publishes which users have streams of which room
--- there: a row each, which goes with the node (lease). Every node hears all rows, and so knows who
--- is in which room; the one that leads tells it (rooms/telling.lua). What is published is tried
--- again until it is heard. In memory: in app:state, a small table per row, in each node.
local keeper = require("sluice.base.keeper")
local sluice = require("sluice")

local nodes = {}

---@class sluice.RoomsNodes
local Nodes = {}
Nodes.__index = Nodes

local PAGE = 1000
local AGAIN_SECONDS = 6 -- until what was not heard is published again: a publish has failed by then
local KICKED_SECONDS = 10 -- until a leave is told, by when
local HERE, ROOM = "here", "room"

--- Whether the app is a node of a cluster.
Nodes.is_shared = keeper.is_shared

-- ---- What all nodes know ------------------------------------------------------------------------

local function take(self, row, value)
  local s = self.state()
  if s.mine[row] then s.mine[row].heard = true end
  if s.rows[row] or type(value) ~= "table" or type(value.room) ~= "string" then return end
  local room = s.rooms[value.room] or { n = 0, nth = 0, members = {} }
  s.rooms[value.room] = room
  local member = room.members[value.key]
  if not member then
    room.n, room.nth = room.n + 1, room.nth + 1
    member = { user = value.user, data = value.data, nth = room.nth, rows = {} }
    room.members[value.key] = member
  end
  member.rows[row], s.rows[row] = true, { room = value.room, key = value.key }
  s.touched[value.room] = true
end

local function drop(self, row)
  local s = self.state()
  local place, own = s.rows[row], s.mine[row]
  s.rows[row], s.gone[row] = nil, nil
  if own then own.heard, own.tried = nil, nil end -- this node was taken for dead, and lives
  if not place then return end
  local room = s.rooms[place.room]
  local member = room.members[place.key]
  member.rows[row] = nil
  if next(member.rows) == nil then room.members[place.key], room.n = nil, room.n - 1 end
  if room.n == 0 then s.rooms[place.room] = nil end
  s.touched[place.room] = true
end

local function note(self, event)
  local s = self.state()
  if event.event == ROOM then
    s.recorded[event.key], s.touched[event.key] = true, true
  elseif event.event == HERE then
    take(self, event.key, event.data)
  elseif event.removed then
    s.recorded[event.key] = nil
    drop(self, event.key)
  end
end

-- All that is published of an event name, by key; nil: Redis is away.
local function read(self, name)
  local out, rows, after = {}
  repeat
    rows = self.app:newest(self.channel, { event = name, limit = PAGE, after = after })
    for _, row in ipairs(rows or {}) do out[row.key], after = row.data, row.id end
  until not rows or #rows < PAGE
  return rows and out
end

--- Compare with all that is published.
function Nodes:look_through()
  local rows, recorded = read(self, HERE), read(self, ROOM)
  local s = self.state()
  s.is_unsure = not (rows and recorded)
  if s.is_unsure then return end
  for row in pairs(s.rows) do
    if not rows[row] then drop(self, row) end
  end
  for row, value in pairs(rows) do
    take(self, row, value)
    if value.node == s.node and not s.mine[row] then s.gone[row] = 0 end
  end
  for row, own in pairs(s.mine) do
    if not rows[row] then own.heard, own.tried = nil, nil end
  end
  s.recorded = {}
  for id in pairs(recorded) do s.recorded[id], s.touched[id] = true, true end
end

-- ---- What this node has ------------------------------------------------------------------------

--- The row of a member of this node, or nil.
function Nodes:own(id, key)
  local s = self.state()
  return s.mine[s.own[id] and s.own[id][key]]
end

local function publish(self, row, own)
  own.tried = sluice.now()
  self.app:publish(self.channel, HERE, { row = row, room = own.room, key = own.key, user = own.user,
    data = own.data, node = self.state().node }, { lease = true, wait = false })
end

local function remove(self, row)
  self.state().gone[row] = sluice.now()
  self.app:remove(self.channel, row, { wait = false })
end

--- One more stream of a member of this node, which may have been about to leave.
function Nodes.stay(_, own, client)
  own.streams[client.id], own.leave_at = true, nil
end

--- A user's stream is there, and none was on this node.
-- @tparam table data the fields of a new member
function Nodes:join(id, key, client, data)
  local s = self.state()
  if not self.app:client(client.id) then return end -- it left while others were asked
  local own = self:own(id, key)
  if own then return self:stay(own, client) end
  if self.who:is_full(id, key) then return client:close("overload") end
  s.node, s.nth = s.node or sluice.id(), s.nth + 1
  local row = ("%s/%s/%d"):format(id, s.node, s.nth)
  own = { room = id, key = key, user = client.user.id, data = data,
    streams = { [client.id] = true } }
  s.own[id] = s.own[id] or {}
  s.own[id][key], s.mine[row] = row, own
  publish(self, row, own)
end

--- A member of this node is not here any more.
function Nodes:leave(id, key)
  local s = self.state()
  local row = s.own[id] and s.own[id][key]
  if not row then return end
  s.mine[row], s.own[id][key] = nil, nil
  if next(s.own[id]) == nil then s.own[id] = nil end
  remove(self, row)
end

--- Its last stream has ended.
-- @tparam number grace seconds
function Nodes:go(own, grace)
  if grace == 0 then return self:leave(own.room, own.key) end
  own.leave_at = sluice.now() + grace
end

--- Each second: whose grace is over, and what was not heard.
function Nodes:look()
  local s, now = self.state(), sluice.now()
  if s.is_unsure then self:look_through() end
  if not s.works then s.touched = {} end -- another node tells
  for row, own in pairs(s.mine) do
    if own.leave_at and own.leave_at <= now then
      self:leave(own.room, own.key)
    elseif not own.heard and now - (own.tried or 0) >= AGAIN_SECONDS then
      publish(self, row, own)
    end
  end
  for row, tried in pairs(s.gone) do
    if now - tried >= AGAIN_SECONDS then remove(self, row) end
  end
  for name, at in pairs(s.kicked) do
    if now - at >= KICKED_SECONDS then s.kicked[name] = nil end
  end
end

-- ---- Who is put out ----------------------------------------------------------------------------

-- Whether and why somebody is about to leave: known on all nodes before the rows go.
local function kick(self, id, key)
  self.state().kicked[("%s/%s"):format(id, key)] = sluice.now()
  for client in self.app:clients({ channel = self.who:channel(id) }) do
    if self.who.key_of(client.user) == key then client:close("revoked") end
  end
  self:leave(id, key)
end

--- Put a user out of a room, on all nodes.
-- @treturn true|nil or nil, message, code
function Nodes:kick(id, key)
  return self.app:tell(self.channel, { room = id, key = key })
end

--- Why a member that is not there any more has left; it is told once.
function Nodes:reason_of(id, key)
  local s, name = self.state(), ("%s/%s"):format(id, key)
  local was_kicked = s.kicked[name]
  s.kicked[name] = nil
  return was_kicked and "kicked" or "gone"
end

--- Make one. At load.
-- @tparam sluice.App app
-- @tparam sluice.Presence who
function nodes.new(app, who)
  local self = setmetatable({ app = app, who = who, state = who.state,
    channel = who.name .. ".here" }, Nodes)
  keeper.shared(app, self.channel)
  app:on("heard", self.channel, function(event)
    if not self:is_shared() then return end
    if event.missed then self:look_through() else note(self, event) end
  end)
  app:on("told", function(event)
    if event.name == self.channel then kick(self, event.data.room, event.data.key) end
  end)
  app:every(1, { name = who.name .. ".nodes", per = "node" }, function()
    if self:is_shared() then self:look() end
  end)
  return self
end

return nodes
