--- Drawn worlds of an app:store with --cluster-durable, on three nodes of the test kit: nodes write keys, die, sleep
--- and are cut off; Redis stops writing to its disk first, restarts, and loses what it has not there. Then all is well
--- for a while.
--- The judge knows when each write began and how it was answered, and nothing of what Sluice notes itself: all nodes
--- have the same, nothing that was acknowledged is lost, and nothing that was surely not stored is there.
---   kept.play(seed) -> nil, or what is wrong
local dice = require("spec.support.dice")
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local kept = {}

local World = {}
World.__index = World

local NODES, STEPS, KEYS = 3, 60, 4
local SEEN_SECONDS = 4 -- by then all nodes have looked at the settings of Redis
local QUIET_SECONDS = 60

local SOURCE = kit.source [[
  local box = app:store("box")
  local said = app:state("said", {})
  app:channel("news", { history = 50 })
  app:post("/news", function() app:publish("news", "e", {}, { wait = false }) return 202 end)
  app:post("/write", function(req)
    local w = req:json()
    app:spawn(function()
      local ok, _, code
      if w.compares then ok, _, code = box:cas(w.key, (box:get(w.key)), w.n)
      else ok, _, code = box:set(w.key, w.n) end
      said()[w.n] = { code = ok and "OK" or code, at = sluice.time() }
    end)
    return 202
  end)
  app:get("/get/:key", function(req) return { n = box:get(req.params.key) } end)]]

local ACTS = { write = 60, news = 10, flip = 6, restart = 5, crash = 3, start = 14, sleep = 5, part = 3, heal = 8,
  latency = 3 }
local NAMES = {}
for name in pairs(ACTS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

function World:pick(list) return list[self.random(#list)] end

function World:up()
  local list = {}
  for n = 1, NODES do
    if not self.places[n].down and not self.places[n]:is_asleep() then list[#list + 1] = n end
  end
  return list[1] and self:pick(list)
end

-- What an app has heard of its writes goes with it.
local function gather(self, n)
  if self.places[n].down then return end
  for number, answer in pairs(self.t:node(n):state("said")) do self.writes[number].answer = answer end
end

-- ---- What happens ------------------------------------------------------------------------------------------------

local acts = {}

function acts.write(self)
  local n = self:up()
  if not n then return end
  local number = #self.writes + 1
  local key = "k" .. self.random(KEYS)
  self.writes[number] = { key = key, began = self.t.place:time() }
  self.t:node(n):post("/write", { json = { key = key, n = number, compares = self.random(4) == 1 } })
end

function acts.news(self)
  local n = self:up()
  if n then self.t:node(n):post("/news") end
end

function acts.start(self)
  for n = 1, NODES do if self.places[n].down then self.t:node(n):restart() end end
end

function acts.heal(self) self.t:heal() end

-- What a node does not know yet of the settings it may still vouch for: so nobody sleeps, and they are seen first.
function acts.flip(self)
  if self.before then
    self.t:redis { fsync = "always" }
    self.before = nil
    return
  end
  acts.heal(self)
  for n = 1, NODES do
    if self.places[n]:is_asleep() then return end
  end
  self.t:redis { fsync = "everysec" }
  self.t:advance(SEEN_SECONDS)
  self.before = self.net.redis:losable()
end

function acts.restart(self)
  local most = self.before and math.min(self.net.redis:losable() - self.before, 8) or 0
  self.t:redis { restart = self:pick { true, 0.5, 3 }, lose = most > 0 and self.random(most) or nil }
  if self.before then self.before = 0 end
end

function acts.crash(self)
  local n = self:up()
  if not n then return end
  gather(self, n)
  self.t:node(n):crash()
end

function acts.sleep(self)
  local n = not self.before and self:up()
  if n then self.t:node(n):freeze(self:pick { 1, 6, 14 }) end
end

function acts.part(self)
  if not self.before then self.t:partition(self.random(NODES)) end
end

function acts.latency(self) self.t:redis { latency = self:pick { 0, 0.005, 0.3 } } end

local function act(self)
  local total = 0
  for _, name in ipairs(NAMES) do total = total + ACTS[name] end
  local at = self.random(total)
  for _, name in ipairs(NAMES) do
    at = at - ACTS[name]
    if at <= 0 then return acts[name](self) end
  end
end

-- ---- The judge ---------------------------------------------------------------------------------------------------

local NEVER = { EBUSY = true, ECONFLICT = true } -- surely not stored

-- When a write has surely happened, or never will.
local function ended(write)
  local is_known = write.answer and write.answer.code ~= "ETIMEOUT"
  return is_known and write.answer.at or math.huge
end

local function judge_key(self, key, number)
  local write = self.writes[number]
  if number and (not write or write.key ~= key) then return "has what nobody wrote there" end
  local code = write and write.answer and write.answer.code
  if NEVER[code] then return ("has write %d, which got %s"):format(number, code) end
  local over = write and ended(write) or -math.huge
  for i, other in ipairs(self.writes) do
    local is_lost = other.key == key and other.answer and other.answer.code == "OK" and other.began > over
    if is_lost then return ("has write %s, and not %d, which was acknowledged"):format(tostring(number), i) end
  end
end

local function judge(self)
  for k = 1, KEYS do
    local key, values = "k" .. k, {}
    for n = 1, NODES do
      gather(self, n)
      local r = self.t:node(n):get("/get/" .. key)
      if r.status ~= 200 then return ("node %d does not read: %s"):format(n, r.body) end
      values[n] = r.json.n
    end
    for n = 2, NODES do
      if values[n] ~= values[1] then
        return ("%s is %s on node %d and %s on node 1"):format(key, tostring(values[n]), n, tostring(values[1]))
      end
    end
    local wrong = judge_key(self, key, values[1])
    if wrong then return key .. " " .. wrong end
  end
end

-- ---- A run -------------------------------------------------------------------------------------------------------

local function run(self)
  for step = 1, STEPS do
    self.step = step
    act(self)
    self.t:advance(self:pick { 0, 0, 0.05, 0.5, 2 })
  end
  acts.heal(self)
  self.t:redis { latency = 0, fsync = "always" }
  acts.start(self)
  self.t:advance(QUIET_SECONDS)
  for n = 1, NODES do gather(self, n) end
  return judge(self)
end

function kept.play(seed)
  local t = testing.start({ source = SOURCE }, { nodes = NODES, seed = seed, flags = { cluster_durable = "aof" } })
  local self = setmetatable({ random = dice(seed), t = t, writes = {}, places = t.place.cluster.nodes,
    net = t.place.cluster.network, before = nil, step = 0 }, World)
  t:advance(6)
  local ok, wrong = xpcall(run, debug.traceback, self)
  pcall(t.stop, t)
  return (not ok or wrong) and ("step %d: %s"):format(self.step, wrong) or nil
end

return kept
