--- Drawn worlds of redis.stream: entries are trimmed and deleted, the stream is made anew, Redis restarts with older
--- data, a replica takes its place, connections break, its clock falls; the app is killed, reloaded, its disk full;
--- with nodes = 3 leaders die and sleep. What was written is kept in a book, and the judge looks at nothing else.
---   world.play(seed[, bug[, nodes[, steps]]]) -> nil, or what is wrong. A bug is { part, from, to }; steps(world) is
---   what happens in place of what is drawn
local copies = require("spec.support.source_copies")
local kit = require("spec.support.kit")
local model = require("spec.support.stream_model")
local sluice = require("sluice")

local stream_world = {}

local STEPS = 70
local MODULE = "spec_stream_model" -- by this name the app finds the server of its world
local APP = [[
local redis = require("copy.redis")
app:channel("orders", { durable = true, history = 100000 })
local heard = app:state("heard", {})
redis.stream(app, "redis://model", "orders", { start = "begin", batch = 4,
  gap = function(gap) require("spec_stream_model").told(gap) end,
  map = function(entry) return "orders", "order", { n = math.tointeger(tonumber(entry.fields.n)) } end })
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("orders", { limit = 10000 })) do list[i] = e.data.n end
  return { all = list }
end)
]]

-- ---- The judge -------------------------------------------------------------------------------------------------

--- What is wrong with the numbers that were published, or nil. The book has, by number: `there`, whether it is in the
--- stream in the end; `gone`, when it was trimmed or dropped; and `odd`, that its id was not by the clock. `gaps` has
--- the times when something was told, and how many were said to be lost; `how`: "calm" when nothing may be told,
--- "old" of a Redis 6, which does not count what it had; "new" of a later one, beside an app that was not killed. What
--- Redis forgot before anyone read it nobody can tell, nor what an old one trimmed before anything of it was read.
function stream_world.judge(book, published, gaps, how)
  local seen, last = {}, 0
  for _, n in ipairs(published) do
    if not book[n] then return ("number %s was never written"):format(n) end
    if seen[n] then return ("number %d came twice"):format(n) end
    if n < last and not gaps[1] then return ("number %d came late"):format(n) end
    seen[n], last = true, n
  end
  for n, row in ipairs(book) do
    local told = gaps[1] and (how == "old" or gaps[#gaps].at > (not row.odd and row.gone or row.added))
    if row.there and not seen[n] and not (row.odd and told) then return ("number %d is missing"):format(n) end
    local can_tell = how ~= "old" or n > (published[1] or math.huge)
    if row.gone and not (seen[n] or told) and can_tell then
      return ("nobody was told that number %d is lost"):format(n)
    end
  end
  local said = 0
  for _, gap in ipairs(gaps) do
    if gap.lost and gap.lost < 1 then return gap.lost .. " were said to be lost" end
    said = math.max(said, gap.lost or 0)
  end
  if how == "new" and said > #book - #published then return said .. " were said to be lost, and fewer were" end
  if how == "calm" and gaps[1] then return "a loss was told, and there was none" end
end

-- ---- The world -------------------------------------------------------------------------------------------------

local World = {}
World.__index = World

function World:chance(p) return self.random() < p end

function World:tick()
  self.time = self.time + 1
  return self.time
end

function World:add(id)
  local n = #self.book + 1
  if self.redis:add(n, id) then self.book[n] = { added = self:tick(), odd = id and id[1] < 1000 } end
end

-- Numbers that nobody can read any more.
function World:gone(list)
  local at = self:tick()
  for _, n in ipairs(list) do self.book[n].gone = self.book[n].gone or at end
end

function World:write()
  local r = self.redis
  for _ = 1, self.random(4) do
    local last = r.stream and r.stream.last or { 0, 0 }
    if self.wild and r.stream and self:chance(0.15) then self:add { last[1], last[2] + self.random(3) }
    elseif self.wild and not r.is_old and not r.stream and self:chance(0.4) then self:add { self.random(40), 1 }
    else self:add() end
  end
end

local ends = {}

-- Older data come back: what was trimmed may be there again.
function World:forget()
  local r = self.redis
  local there, ever = r:forget(math.min(#r.past - 1, self.random(0, 6)))
  for n, row in ipairs(self.book) do
    if there[n] or not ever[n] then row.gone = nil end
  end
end

function ends.restart(self)
  if self.wild then self:forget() end
  self.redis:restart()
end
function ends.promote(self)
  self:forget()
  self.redis:promote()
  if self:chance(0.5) then self.redis.skew = -self.random(2000) end
end
function ends.swap(self)
  self:forget()
  self.redis:swap()
  if self:chance(0.5) then self.redis.skew = -self.random(2000) end
end
-- While the source looks: one that is made anew behind its back, and then trimmed to exactly the number of entries
-- that it had read, is taken for the old one, and nothing in Redis tells them apart.
function ends.drop(self)
  if next(self.redis.connections) then self:gone(self.redis:drop()) end
end
function ends.trim(self) self:gone(self.redis:trim(self.random(0, 6))) end
function ends.remove(self)
  local n = self.redis:remove(self.random(4))
  if n then self.book[n].removed = true end
end
function ends.cut(self) self.redis:cut() end
function ends.away(self)
  self.redis.away = not self.redis.away
  if self.redis.away then self.redis:cut() end
end

local WILD = { "restart", "promote", "swap", "drop", "trim", "trim", "trim", "remove", "cut", "away" }
local TAME = { "drop", "trim", "trim", "trim", "remove", "cut", "away" }
local CALM = { "restart", "cut", "away" }

function World:break_server()
  local list = self.tame and TAME or self.wild and WILD or CALM
  ends[list[self.random(#list)]](self)
  if self:chance(0.5) then self:write() end -- who is quick is there before the source
end

function World:break_app()
  local t = self.t
  if not self.nodes then
    t:disk { full = false, early = self:chance(0.5) }
    t[({ "kill", "cut", "restart", "kill" })[self.random(4)]](t)
    return
  end
  local node, dice = t:node(self.random(self.nodes)), self.random(4)
  if node.place.down then node:restart()
  elseif dice == 1 then node:crash()
  elseif dice == 2 then node:freeze(self.random(12))
  elseif dice == 3 then node:restart()
  else t:redis { restart = true } end
end

function World:step()
  local dice, t = self.random(), self.t
  if dice < 0.55 then self:write()
  elseif dice < 0.8 then self:break_server()
  elseif self.tame then t:disk { commit = self:chance(0.5) and 0.05 or 0.002 }
  elseif dice < 0.92 then self:break_app()
  elseif not self.nodes and dice < 0.95 then assert(t:reload())
  elseif not self.nodes then t:disk { full = dice < 0.97, commit = self:chance(0.5) and 0.05 or 0.002 } end
  t:advance(self:chance(0.6) and self.random(0, 40) / 1000 or self.random() * (self.nodes and 3 or 1.5))
end

-- All is well, for a while; then what is there.
function World:look()
  local t = self.t
  self.redis.away = false
  for n = 1, self.nodes or 0 do if t:node(n).place.down then t:node(n):restart() end end
  if not self.nodes then t:disk { full = false } end
  t:advance(self.nodes and 30 or 12)
  local there = self.redis:numbers()
  for n, row in ipairs(self.book) do row.there = there[n] end
  return t:get("/all").json.all
end

local function new(seed, bug, nodes)
  local random = copies.dice(seed)
  local self = setmetatable({ redis = model.new(random), random = random, book = {}, gaps = {}, time = 0, nodes = nodes,
    wild = seed % 4 ~= 0, tame = not nodes and seed % 4 == 1 }, World)
  self.redis.is_old = self.wild and seed % 5 == 0
  self.redis.told = function(gap) self.gaps[#self.gaps + 1] = { at = self:tick(), lost = gap.lost } end
  self.redis.sleep, self.redis.now = sluice.sleep, function() return 1780000000 end
  package.loaded[MODULE] = self.redis
  self.t = kit.start(APP, { files = copies.make("redis", { "sources/stream", "sources/stream_state" }, "connection",
    MODULE, bug), seed = seed, nodes = nodes })
  self.redis.now = function() return self.t.place:time() end
  self.t:advance(nodes and 5 or 1) -- what went before the source was there first is no loss
  return self
end

local function draw(self)
  for _ = 1, STEPS do self:step() end
end

function stream_world.play(seed, bug, nodes, steps)
  local self = new(seed, bug, nodes)
  local ok, fault = pcall(function()
    (steps or draw)(self)
    local how = not self.wild and "calm" or self.redis.is_old and "old" or self.tame and "new" or nil
    return stream_world.judge(self.book, self:look(), self.gaps, how)
  end)
  kit.stop_all()
  package.loaded[MODULE] = nil
  if ok then return fault end
  error(fault, 0)
end

return stream_world
