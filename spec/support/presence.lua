--- People who come and go in rooms at random, and a judge of what pages are told of it. The judge knows
--- who has which streams since when, and nothing of how rooms are made.
---
---   local world = presence.new(t, seed, { rooms =, users =, grace =, slow = })
---   world:step()     one thing happens, or time passes
---   world:settle()   all is quiet: what pages, newcomers and the app say is what is the case
--- The app under test has the stream /room/:id, POST /kick/:id/:user and GET /who/:id { count, members }.
local tree = require("spec.support.tree")

local presence = {}

local World = {}
World.__index = World

local WATCHER = "watcher" -- has a page in each room, and never leaves
local NEAR = 0.011 -- seconds

function presence.new(t, seed, options)
  local self = setmetatable({ t = t, seed = seed, rooms = options.rooms, users = options.users, grace = options.grace,
    slow = options.slow or 0, state = seed % 2147483647, streams = {}, pages = {}, moments = {}, done = {} }, World)
  self:begin()
  return self
end

function World:random(n)
  self.state = (self.state * 48271 + 11) % 2147483647
  return self.state // 7 % n + 1
end

function World:fail(text, ...)
  error(("seed %d: %s\nafter: %s"):format(self.seed, text:format(...),
    table.concat(self.done, ", ", math.max(1, #self.done - 12))), 0)
end

local function key(room, user) return room .. " " .. user end

-- What is known of a user in a room: since when it has streams, or has none, and when it was put out.
function World:moment(room, user)
  local k = key(room, user)
  self.moments[k] = self.moments[k] or { streams = 0, came = {}, went = {}, kicked = {} }
  return self.moments[k]
end

function World:now() return self.t.place:time() end

function World:watch(room)
  local c = self.t:connect("/room/" .. room, { user = WATCHER })
  if c.status ~= 200 then self:fail("the watcher gets %d in %s", c.status, room) end
  self.pages[room] = { c = c, seen = 0, set = {}, n = 0 }
end

-- A new process: nobody is anywhere.
function World:begin()
  self.streams, self.moments = {}, {}
  for _, room in ipairs(self.rooms) do self:watch(room) end
end

function World:enter(room, user)
  local c, node = self.t:connect("/room/" .. room, { user = user })
  if c.status ~= 200 then self:fail("%s gets %d in %s", user, c.status, room) end
  local m = self:moment(room, user)
  m.streams = m.streams + 1
  if m.streams == 1 then m.came[#m.came + 1] = self:now() end
  table.insert(self.streams, { c = c, room = room, user = user, node = node })
end

local function forget(self, i)
  local s = self.streams[i]
  table.remove(self.streams, i)
  local m = self:moment(s.room, s.user)
  m.streams = m.streams - 1
  return s, m
end

function World:drop(i)
  local s, m = forget(self, i)
  s.c:drop()
  if m.streams == 0 then m.went[#m.went + 1] = self:now() end
end

-- A page is loaded again: its stream ends, and another one opens.
function World:refresh(i)
  local s = self.streams[i]
  self:drop(i)
  if self:random(2) == 1 then self.t:advance(self:random(5) / 10) end
  self:enter(s.room, s.user)
end

function World:kick(room, user)
  local answer = self.t:post(("/kick/%s/%s"):format(room, user))
  if answer.status ~= 204 and answer.status ~= 404 then self:fail("a kick answers %d", answer.status) end
  local m = self:moment(room, user)
  m.kicked[#m.kicked + 1] = self:now()
  for i = #self.streams, 1, -1 do
    local s = self.streams[i]
    if s.room == room and s.user == user then
      forget(self, i)
      s.c:close()
    end
  end
end

--- The streams that were on a node, as t:connect says it second, are gone.
function World:lose(node)
  for i = #self.streams, 1, -1 do
    if self.streams[i].node == node then forget(self, i) end
  end
end

function World:kill()
  self:look()
  self.t:kill()
  self:begin()
end

function World:one(list) return list[self:random(#list)] end

--- One thing happens.
function World:step()
  local what, room, user = self:random(100), self:one(self.rooms), self:one(self.users)
  local n = #self.streams
  if what <= 30 or n == 0 then
    self.done[#self.done + 1] = ("%s enters %s"):format(user, room)
    self:enter(room, user)
  elseif what <= 58 then
    local i = self:random(n)
    self.done[#self.done + 1] = ("%s leaves %s"):format(self.streams[i].user, self.streams[i].room)
    self:drop(i)
  elseif what <= 70 then
    self.done[#self.done + 1] = "a refresh"
    self:refresh(self:random(n))
  elseif what <= 73 then
    self.done[#self.done + 1] = ("%s is put out of %s"):format(user, room)
    self:kick(room, user)
  elseif what <= 76 then
    self.done[#self.done + 1] = "a reload"
    assert(self.t:reload())
  elseif what <= 78 and self:random(2) == 1 then
    self.done[#self.done + 1] = "a kill"
    self:kill()
  else
    local seconds = self:random(30) / 10
    self.done[#self.done + 1] = ("%g s"):format(seconds)
    self.t:advance(seconds)
  end
end

local function has_near(list, at)
  for i = #list, 1, -1 do
    if math.abs(list[i] - at) <= NEAR then return true end
  end
  return false
end

-- The moment must be one at which that had to be told.
function World:judge_time(room, e)
  if self.slow > 0 or e.data.userId == WATCHER then return end
  local m = self:moment(room, e.data.userId)
  if e.event == "user-joined" then
    if not has_near(m.came, e.at) then self:fail("%s joined %s and did not come then", e.data.userId, room) end
  elseif e.data.reason == "kicked" then
    if not has_near(m.kicked, e.at) then self:fail("%s was not put out of %s", e.data.userId, room) end
  elseif not has_near(m.went, e.at - self.grace) then
    self:fail("%s left %s at %.2f, and had not gone %g s before", e.data.userId, room, e.at, self.grace)
  end
end

local function size(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end

local function apply(self, room, page, e)
  local user = e.data.userId
  if e.event == "user-joined" then
    if page.set[user] then self:fail("%s joined %s twice", user, room) end
    page.set[user] = true
  else
    if not page.set[user] then self:fail("%s left %s and was not there", user, room) end
    page.set[user] = nil
  end
  if e.data.activeUsers ~= size(page.set) then
    self:fail("%s of %s in %s says %d, and there are %d", e.event, user, room, e.data.activeUsers, size(page.set))
  end
  self:judge_time(room, e)
end

--- Judge what the pages got since the last look.
function World:look()
  for _, room in ipairs(self.rooms) do
    local page = self.pages[room]
    local list = page.c:events()
    for i = page.seen + 1, #list do
      local e = list[i]
      if e.event == "user-joined" or e.event == "user-left" then apply(self, room, page, e) end
      if e.event == "reset" or e.event == "bye" then self:fail("the watcher of %s got %s", room, e.event) end
    end
    page.seen = #list
  end
end

local function text_of(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

function World:there(room)
  local set = { [WATCHER] = true }
  for _, s in ipairs(self.streams) do
    if s.room == room then set[s.user] = true end
  end
  return set
end

--- Let all of it end, and compare everything with everything.
function World:settle()
  self.t:advance(self.grace + 3 * self.slow + 1.5)
  self:look()
  for _, room in ipairs(self.rooms) do
    local there = text_of(self:there(room))
    local function same(who, set)
      if text_of(set) ~= there then self:fail("%s of %s: %s; there are %s", who, room, text_of(set), there) end
    end
    same("the page", self.pages[room].set)
    local answer = self.t:get("/who/" .. room).json
    local listed = {}
    for _, member in ipairs(answer.members) do listed[member.userId] = true end
    same("the list", listed)
    if answer.count ~= size(listed) then self:fail("count of %s: %d, and there are %s", room, answer.count, there) end
    local newcomer, seen = self.t:connect("/room/" .. room, { user = WATCHER }), {}
    for _, e in ipairs(newcomer:events()) do
      if e.event == "user-joined" then seen[e.data.userId] = true end
      if e.event == "user-left" then self:fail("a newcomer to %s is told who left", room) end
      if e.event == "presence-count" then seen.n = e.data.activeUsers end
    end
    local n = seen.n
    seen.n = nil
    same("a newcomer", seen)
    if self.slow == 0 and n ~= size(seen) then self:fail("a newcomer to %s hears of %s", room, tostring(n)) end
    newcomer:drop()
  end
  if #self.t:log("error") > 0 then self:fail("the log says %s", self.t:log("error")[1]) end
  -- what is over is not judged again, and what pages got need not be kept
  for _, m in pairs(self.moments) do m.came, m.went, m.kicked = {}, {}, {} end
end

--- The module as a user's copy, by file, with a bug in one of them.
function presence.files(bug)
  local out, planted = {}, not bug
  for name, path in pairs { my_rooms = "rooms", my_presence = "rooms/presence", my_streams = "rooms/streams",
    my_nodes = "rooms/nodes", my_telling = "rooms/telling" } do
    local text = tree.read("lua/sluice/" .. path .. ".lua")
    text = text:gsub('"sluice%.rooms%.(%l+)"', '"my_%1"')
    if bug then
      local at, till = text:find(bug[1], 1, true)
      if at then text, planted = text:sub(1, at - 1) .. bug[2] .. text:sub(till + 1), true end
    end
    out[name .. ".lua"] = text
  end
  assert(planted, "there is no place for the bug: " .. (bug and bug[1] or ""))
  return out
end

return presence
