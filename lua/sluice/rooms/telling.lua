--- What a room is told in a cluster, by the node that leads: it compares who is there with what the
--- room's channel says, and publishes the difference, one event after the other. So whoever leads
--- next goes on where the one before was. Rooms that something was told of are recorded beside the
--- rows of the nodes. In memory, while it leads: whom each room was told of.
local presence = require("sluice.rooms.presence")
local sluice = require("sluice")

local telling = {}

local LOOK_SECONDS, COUNT_SECONDS, AGAIN_SECONDS = 0.05, 1, 1
local TOLD_MAX = 10000
local LATER = { EBUSY = true, EFULL = true, ELOOP = true, ENOMEM = true, ETIMEOUT = true,
  ESTORE = true }

-- Whom a room was told of, or nil: Redis is away.
local function load(self, id)
  local channel = self.who:channel(id)
  local rows = self.app:newest(channel, { event = "user-joined", limit = TOLD_MAX })
  if not rows then return nil end
  local told = { keys = {}, n = #rows, counted = nil }
  for _, row in ipairs(rows) do told.keys[row.key] = row.data.userId end
  local last = self.app:latest(channel, presence.COUNT, "presence-count")
  told.counted = type(last) == "table" and last.activeUsers or nil
  return told
end

-- Whether it is said, or never will be.
local function say(self, id, event, data, opts)
  local ok, message, code = self.app:publish(self.who:channel(id), event, data, opts)
  if ok then return true end
  if LATER[code] then return false end
  sluice.log.error(("room '%s': '%s' of '%s' was not published: %s"):format(id, event,
    data.userId or "", message))
  return true
end

local function members_of(self, id)
  local room = self.who:room(id)
  return room and room.members or {}, room and room.n or 0
end

-- How many a page is to be told there are, which has been told of so many.
local function shown(self, n, told) return n > self.who.counts_above and n or told end

-- Tell that one has left; nil: nobody has.
local function tell_left(self, id, told)
  local members, n = members_of(self, id)
  for key, user in pairs(told.keys) do
    if not members[key] then
      local data = self.who:data_of(id, { user = user }, shown(self, n, told.n - 1),
        self.nodes:reason_of(id, key))
      if not say(self, id, "user-left", data, { remove = true }) then return false end
      told.keys[key], told.n = nil, told.n - 1
      self.app:remove(self.who:channel(id, "live"), key, { update = true, wait = false })
      return true
    end
  end
end

-- Who joined first of those that the room was not told of.
local function first_untold(members, told)
  local first, key_of_first
  for key, member in pairs(members) do
    if told.keys[key] == nil and not (first and first.nth < member.nth) then
      first, key_of_first = member, key
    end
  end
  return key_of_first, first
end

-- Tell that one has joined, of those that are to be told by name; nil: all are.
local function tell_joined(self, id, told)
  local members, n = members_of(self, id)
  if told.n >= self.who.counts_above or told.n >= n then return nil end
  local key, member = first_untold(members, told)
  if not key then return nil end
  local data = self.who:data_of(id, member, shown(self, n, told.n + 1))
  if not say(self, id, "user-joined", data) then return false end
  told.keys[key], told.n = member.user, told.n + 1
  return true
end

-- Tell how many are in a large room, once more when it is large no longer.
local function tell_count(self, id, told)
  local _, n = members_of(self, id)
  local is_large = n > self.who.counts_above
  if is_large and told.counted == n or not (is_large or told.counted) then return nil end
  local data = { [self.who.field] = id, activeUsers = n }
  if not say(self, id, "presence-count", data, { key = presence.COUNT, remove = not is_large }) then
    return false
  end
  told.counted = is_large and n or nil
end

local function record(self, id)
  if self.state().recorded[id] then return true end
  local ok = self.app:publish(self.nodes.channel, "room", { row = id })
  self.state().recorded[id] = ok and true or nil
  return ok
end

-- Nothing is left to say of an empty room.
local function forget(self, id)
  if not self.state().recorded[id] then return true end
  local ok = self.app:remove(self.nodes.channel, id)
  if ok then self.state().recorded[id] = nil end
  return ok
end

-- Tell all that is to be told of a room; false: not now.
local function bring(self, id)
  local told = self.told[id] or load(self, id)
  self.told[id] = told
  if not told or not record(self, id) then return false end
  local more
  repeat
    self.state().touched[id] = nil
    more = tell_left(self, id, told)
    if more == nil then more = tell_joined(self, id, told) end
  until not more
  if more == false then return false end
  local _, n = members_of(self, id)
  self.large[id] = (n > self.who.counts_above or told.counted) and true or nil
  if n > 0 or told.n > 0 or told.counted then return true end
  self.told[id] = nil
  return forget(self, id)
end

local function is_over(self) return self.state().edition ~= self.edition end

local function bring_all(self)
  local list = {}
  for id in pairs(self.state().touched) do list[#list + 1] = id end
  table.sort(list)
  for _, id in ipairs(list) do
    if is_over(self) then return end
    if not bring(self, id) then
      self.state().touched[id] = true
      return sluice.sleep(AGAIN_SECONDS)
    end
  end
end

local function count_all(self)
  if sluice.now() - self.counted_at < COUNT_SECONDS then return end
  self.counted_at = sluice.now()
  for id in pairs(self.large) do
    if self.told[id] and tell_count(self, id, self.told[id]) == nil then
      self.state().touched[id] = true -- it may be empty
    end
  end
end

-- As long as this node leads, and this version of the app runs.
local function work(self)
  local s = self.state()
  local _ <close> = setmetatable({}, { __close = function() s.works = nil end })
  -- what the one before has told is heard before this
  if not self.app:tell(self.nodes.channel .. ".lead") then return end
  self.told, self.large, self.counted_at = {}, {}, sluice.now()
  for id in pairs(s.rooms) do s.touched[id] = true end
  for id in pairs(s.recorded) do s.touched[id] = true end
  while not is_over(self) do
    bring_all(self)
    count_all(self)
    sluice.sleep(LOOK_SECONDS)
  end
end

--- Make it. At load.
-- @tparam sluice.App app
-- @tparam sluice.Presence who
-- @tparam sluice.RoomsNodes nodes
function telling.register(app, who, nodes)
  local self = { app = app, who = who, nodes = nodes, state = who.state, edition = nil }
  app:every(1, { name = who.name .. ".look" }, function()
    if not nodes:is_shared() then return who:look() end
    local s = self.state()
    if not self.edition then self.edition, s.edition = s.edition + 1, s.edition + 1 end
    local may = s.is_unsure == false and not s.works -- it has seen all, and no version before runs
    if not may then return end
    s.works = true
    if not app:spawn(function() work(self) end) then s.works = nil end
  end)
end

return telling
