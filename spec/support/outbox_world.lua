--- Drawn worlds of postgres.listen: transactions that are long, roll back, commit in another order; a server that
--- crashes, is promoted, breaks connections; notifications that are lost; an app that is killed, reloaded, whose disk
--- is full; with nodes = 3 leaders that die and sleep. What was written is kept in a book, and the judge looks at
--- nothing else.
---   world.play(seed[, bug[, nodes]]) -> nil, or what is wrong. A bug is { part, from, to }
local copies = require("spec.support.source_copies")
local kit = require("spec.support.kit")
local model = require("spec.support.outbox_model")
local sluice = require("sluice")

local outbox_world = {}

local STEPS = 60
local MODULE = "spec_outbox_model" -- by this name the app finds the server of its world
local APP = [[
local postgres = require("copy.postgres")
app:channel("rows", { durable = true, history = 100000 })
postgres.listen(app, "postgresql://model/shop", { start = "begin", batch = 4 })
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("rows", { limit = 10000 })) do list[i] = e.data.n end
  return { all = list }
end)
]]

-- ---- The judge -------------------------------------------------------------------------------------------------

--- What is wrong with the numbers that were published, or nil. The book has, by number, when its row was inserted and
--- when that was committed (nil: never), which transaction wrote it, and whether the server forgot it.
function outbox_world.judge(book, published)
  local seen, latest, last_of = {}, 0, {}
  for _, n in ipairs(published) do
    local row = book[n]
    if seen[n] then return ("row %d came twice"):format(n) end
    if not (row and row.committed) then return ("row %s was never committed"):format(n) end
    if row.committed < latest then return ("row %d came behind one that was written after its commit"):format(n) end
    if n < (last_of[row.tx] or 0) then return ("row %d came behind the next one of its transaction"):format(n) end
    seen[n], latest, last_of[row.tx] = true, math.max(latest, row.inserted), n
  end
  for n, row in ipairs(book) do
    if row.committed and not row.gone and not seen[n] then return ("row %d is missing"):format(n) end
  end
end

-- ---- The world -------------------------------------------------------------------------------------------------

local World = {}
World.__index = World

function World:tick()
  self.time = self.time + 1
  return self.time
end

function World:chance(p) return self.random() < p end

function World:insert(tx)
  local n = #self.book + 1
  self.book[n] = { inserted = self:tick(), tx = tx }
  self.pg:insert(tx, n, tx.at)
  tx.numbers[#tx.numbers + 1] = n
end

function World:write()
  local tx = self.pg.begin()
  tx.at, tx.numbers = self.t.place:time(), {}
  for _ = 1, self.random(3) do self:insert(tx) end
  self.txs[#self.txs + 1] = tx
end

-- One of the transactions that are open.
function World:finish()
  local tx = table.remove(self.txs, self.random(#self.txs))
  if self:chance(0.25) then return self.pg:rollback(tx) end
  self.pg:commit(tx, { late = self:chance(0.2), quiet = self:chance(0.3) })
  local at = self:tick()
  for _, n in ipairs(tx.numbers) do self.book[n].committed = at end
end

function World:break_server()
  local dice = self.random()
  if dice < 0.3 then
    self.pg:cut()
    return
  end
  local lost = dice < 0.65 and self.pg:crash() or dice < 0.8 and self.pg:restart() or self.pg:promote(self.random(0, 6))
  for _, n in ipairs(lost) do self.book[n].gone = true end
  self.txs = {}
  if self:chance(0.7) then -- who was quick is there before the source
    for _ = 1, self.random(3) do self:write() end
    self:finish()
  end
end

function World:break_app()
  local t = self.t
  if self.nodes then
    local node = t:node(self.random(self.nodes))
    local dice = self.random(4)
    if node.place.down then node:restart() return end
    if dice == 1 then node:crash()
    elseif dice == 2 then node:freeze(self.random(12))
    elseif dice == 3 then node:restart()
    else t:redis { restart = true } end
    return
  end
  t:disk { full = false, early = self:chance(0.5) }
  t[({ "kill", "cut", "restart", "kill" })[self.random(4)]](t)
end

-- A disk that takes nothing for a while, and a kill soon after: between a batch of which nothing was stored and the
-- next try.
function World:strike()
  local t = self.t
  t:disk { full = true }
  for _ = 1, 3 do self:write() end
  while self.txs[1] do self:finish() end
  t:advance(self.random() * 2)
  t:disk { full = false, commit = 0.002 }
  t:advance(self.random() * 5)
  t:kill()
end

function World:step()
  local dice, t = self.random(), self.t
  if dice < 0.3 then self:write()
  elseif dice < 0.62 and self.txs[1] then self:finish()
  elseif dice < 0.7 and self.txs[1] then self:insert(self.txs[self.random(#self.txs)])
  elseif dice < 0.76 then self.pg:flush()
  elseif dice < 0.84 then self:break_server()
  elseif dice < 0.92 then self:break_app()
  elseif dice < 0.95 then self.pg.away = not self.pg.away if self.pg.away then self.pg:cut() end
  elseif not self.nodes and dice < 0.96 then assert(t:reload())
  elseif not self.nodes and dice < 0.975 then self:strike()
  elseif not self.nodes then t:disk { full = dice < 0.985, commit = self:chance(0.5) and 0.05 or 0.002 } end
  t:advance(self:chance(0.6) and self.random(0, 40) / 1000 or self.random() * (self.nodes and 3 or 1))
end

-- All is well, for a while; then what is there.
function World:look()
  local t = self.t
  self.pg.away = false
  for n = 1, self.nodes or 0 do if t:node(n).place.down then t:node(n):restart() end end
  if not self.nodes then t:disk { full = false } end
  while self.txs[1] do self:finish() end
  t:advance(self.nodes and 30 or 12)
  return t:get("/all").json.all
end

local function new(seed, bug, nodes)
  local random = copies.dice(seed)
  local self = setmetatable({ pg = model.new(random), random = random, book = {}, txs = {}, time = 0, nodes = nodes },
    World)
  package.loaded[MODULE] = self.pg
  self.t = kit.start(APP, { files = copies.make("postgres", { "sources/outbox" }, "database", MODULE, bug),
    seed = seed, nodes = nodes })
  self.pg.sleep, self.pg.now = sluice.sleep, function() return math.floor(self.t.place:time()) end
  return self
end

function outbox_world.play(seed, bug, nodes)
  local self = new(seed, bug, nodes)
  local ok, fault = pcall(function()
    for _ = 1, STEPS do self:step() end
    return outbox_world.judge(self.book, self:look())
  end)
  kit.stop_all()
  package.loaded[MODULE] = nil
  if ok then return fault end
  error(fault, 0)
end

return outbox_world
