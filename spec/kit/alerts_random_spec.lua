--- Random rules and samples, while the app reloads with other rules and the process dies. A model that knows
--- nothing of the module says which alerts begin and end, from the times of the samples alone; what a page is
--- sent must be that, each excursion with one alert and one clear. A second world acts while saves are in flight: what
--- was answered must be there after a kill, and what is active must be what the events say. Mistakes that are planted
--- into the module are all found. SEED= repeats one world.
local kit = require("spec.support.kit")
local worlds = require("spec.support.worlds")

local STEPS, SUBJECTS = 60, { "a", "b", "c" }
local EDGE = 0.1 -- seconds around a deadline in which nothing is sent: either answer would be right

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

-- By name, so that a seed always gives the same world.
local function sorted(rules)
  local list, at = {}, 0
  for name in pairs(rules) do list[#list + 1] = name end
  table.sort(list)
  return function()
    at = at + 1
    return list[at], rules[list[at]]
  end
end

-- ---- The rules of a version ------------------------------------------------------------

local function draw_limit()
  local above, limit = chance(2), math.random(3, 7)
  return { above = above, limit = limit, hold = pick { 0, 0, 5, 12 }, cooldown = pick { 0, 8, 40, 90 },
    clear = chance(2) and limit + (above and -1 or 1) * math.random(0, 3) or nil }
end

local function draw_rules()
  local rules = {}
  for _, name in ipairs { "r1", "r2", "r3" } do
    if not chance(4) then rules[name] = draw_limit() end
  end
  for _, name in ipairs { "s1", "s2" } do
    if not chance(3) then rules[name] = { after = pick { 6, 14, 33 } } end
  end
  return rules
end

local function source_of(rules, durable, module)
  local lines = { ([[
    local alerts = require(%q).new(app, { history = 5000, rewind = "all", durable = %s })
    alerts:stream("/alerts")
    app:post("/:id", function(req)
      assert(alerts:check(req.params.id, req:json()))
      return 204
    end)]]):format(module, durable) }
  for name, rule in sorted(rules) do
    if rule.after then
      lines[#lines + 1] = ("alerts:silence(%q, { after = %g })"):format(name, rule.after)
    else
      lines[#lines + 1] = ("alerts:rule(%q, { field = %q, %s = %d, clear = %s, hold = %g, cooldown = %g })"):format(
        name, name, rule.above and "above" or "below", rule.limit, tostring(rule.clear), rule.hold, rule.cooldown)
    end
  end
  return kit.source(table.concat(lines, "\n"))
end

-- ---- The model: by rule and subject, what has been and what is -------------------------

local Model = {}
Model.__index = Model

local function cell_of(self, name, subject)
  local id = name .. " " .. subject
  self.cells[id] = self.cells[id] or { name = name, subject = subject, events = {} }
  return self.cells[id]
end

local function note(cell, event)
  cell.events[#cell.events + 1] = event
  cell.on = event == "alert"
end

-- The nearest moment at which it matters whether something comes before or after it.
function Model:is_edge(now)
  for name, rule in pairs(self.rules) do
    for _, subject in ipairs(SUBJECTS) do
      local cell = cell_of(self, name, subject)
      local heard = self.heard[subject]
      local silent = rule.after and heard and now - heard - rule.after
      if silent and silent > -EDGE and silent < 1 + EDGE and not cell.on then return true end
      local held = cell.since and rule.hold and now - cell.since - rule.hold
      local rested = cell.ended and rule.cooldown and now - cell.ended - rule.cooldown
      if held and math.abs(held) < EDGE or rested and math.abs(rested) < EDGE then return true end
    end
  end
  return false
end

function Model:pass(now)
  for name, rule in pairs(self.rules) do
    for _, subject in ipairs(SUBJECTS) do
      local cell, heard = cell_of(self, name, subject), self.heard[subject]
      if rule.after and heard and not cell.on and now - heard > rule.after then note(cell, "alert") end
      local is_over = cell.ended and now - cell.ended > rule.cooldown
      if is_over then cell.ended = nil end -- for good, though another version has a longer one
    end
  end
end

function Model:sample(now, subject, sample)
  local watched = false
  for name, rule in pairs(self.rules) do
    local cell, v = cell_of(self, name, subject), sample[name]
    watched = watched or rule.after ~= nil
    if rule.after then
      if cell.on then note(cell, "alert-cleared") end
    elseif type(v) == "number" then
      local limit = cell.on and rule.clear or rule.limit
      local out = v ~= limit and (v > limit) == rule.above
      if not out then
        cell.since = nil
        if cell.on then
          note(cell, "alert-cleared")
          cell.ended = rule.cooldown > 0 and now or nil
        end
      elseif not cell.on then
        cell.since = cell.since or now
        local rests = cell.ended and now - cell.ended < rule.cooldown
        if now - cell.since >= rule.hold and not rests then
          note(cell, "alert")
          cell.since, cell.ended = nil, nil
        end
      end
    end
  end
  if watched then self.heard[subject] = now end
end

function Model:reload(rules)
  for _, cell in pairs(self.cells) do
    if not rules[cell.name] then
      cell.since, cell.ended = nil, nil
      if cell.on then note(cell, "alert-cleared") end
    end
  end
  self.rules = rules
  if not rules.s1 and not rules.s2 then self.heard = {} end
end

function Model:kill(now)
  for _, cell in pairs(self.cells) do cell.since = nil end
  for subject in pairs(self.heard) do self.heard[subject] = now end
end

-- ---- A world -----------------------------------------------------------------------------

-- What the page of a newcomer shows; nil, and what is wrong with it.
local function compare(t, model)
  local got, open, ids = {}, {}, {}
  for _, e in ipairs(t:connect("/alerts"):events()) do
    if e.event:find("^alert") then
      local id = e.data.rule .. " " .. e.data.subject
      got[id] = got[id] or {}
      table.insert(got[id], e.event)
      if e.event == "alert" then
        if ids[e.data.id] then return nil, "an id comes again: " .. e.data.id end
        ids[e.data.id], open[id] = true, e.data.id
      elseif open[id] ~= e.data.id then
        return nil, "a clear of another alert: " .. id
      end
    end
  end
  for id, cell in pairs(model.cells) do
    local have, want = table.concat(got[id] or {}, " "), table.concat(cell.events, " ")
    if have ~= want then return nil, ("%s: expected '%s', got '%s'"):format(id, want, have) end
    got[id] = nil
  end
  if next(got) then return nil, "events of nobody: " .. next(got) end
  return true
end

local function draw_sample(model)
  local sample = {}
  for name, rule in sorted(model.rules) do
    local v = pick { math.random(0, 10), math.random(0, 10), "8", true }
    if not rule.after and not chance(4) then sample[name] = v end
  end
  return sample
end

local function step(t, model, durable, module)
  while model:is_edge(t:elapsed()) do t:advance(0.3) end
  model:pass(t:elapsed())
  local what = math.random(20)
  if what <= 2 then
    model:reload(chance(2) and model.rules or draw_rules())
    assert(t:reload(source_of(model.rules, durable, module)))
    t:advance(1.2) -- who was silent for long is noticed
  elseif what <= 4 and durable then
    t:kill()
    model:kill(t:elapsed())
  elseif what <= 7 then
    t:advance(pick { 5, 20, 50 })
  else
    local subject, sample = pick(SUBJECTS), draw_sample(model)
    local before = t:elapsed()
    assert.equal(204, t:post("/" .. subject, { json = sample }).status)
    model:sample(before, subject, sample)
    t:advance(pick { 0, 1, 3 })
  end
end

-- Nil when all was as the model says, else what was not.
local function play(seed, files, module)
  math.randomseed(seed)
  local durable = seed % 3 ~= 0
  local model = setmetatable({ rules = draw_rules(), cells = {}, heard = {} }, Model)
  local t = kit.whole(source_of(model.rules, durable, module), { files = files, seed = seed, waits = seed % 2 == 0 })
  local wrong
  for n = 1, STEPS do
    step(t, model, durable, module)
    if n % 20 == 0 then
      t:advance(1.2)
      while model:is_edge(t:elapsed()) do t:advance(0.3) end
      model:pass(t:elapsed())
      local ok, why = compare(t, model)
      wrong = not ok and ("step %d: %s"):format(n, why) or nil
      if wrong then break end
    end
  end
  kit.stop_all()
  return wrong
end

-- ---- A world whose disk is slow ------------------------------------------------------------

local SLOW = [[
  local alerts = require(%q).new(app, { history = 100000, rewind = "all", durable = true })
  %s
  alerts:rule("low", { field = "t", below = 30 })
  alerts:rule("nap", { when = function(sample)
    if sample.nap then sluice.sleep(sample.nap) end
    return sample.t > 70
  end })
  alerts:silence("off", { after = 8 })
  alerts:stream("/alerts")
  app:post("/s/:id", function(req) return alerts:check(req.params.id, req:json()) and 204 or 503 end)
  app:post("/later/:id", function(req)
    local sample = req:json()
    app:spawn(function() alerts:check(req.params.id, sample) end)
  end)
  app:post("/ack/:id", function(req)
    local ok, _, code = alerts:ack(req.params.id, "ops")
    return ok and 204 or code == "ENOTFOUND" and 404 or 503
  end)
  app:post("/later-ack/:id", function(req) app:spawn(function() alerts:ack(req.params.id, "bob") end) end)
  app:get("/active", function() return alerts:active() end)]]

local function slow_source(world, module)
  local hot = world.is_hot and 'alerts:rule("hot", { field = "t", above = 50 })' or ""
  return kit.source(SLOW:format(module, hot))
end

-- `known`: the last value of a subject that was answered and after which none was sent.
local function slow_sample(t, world)
  local subject, v = pick(SUBJECTS), math.random(0, 100)
  if chance(2) then
    world.known[subject] = nil
    local nap = chance(4) and math.random(1, 3) or nil
    if nap then world.napping[subject] = math.max(world.napping[subject] or 0, t:elapsed() + nap) end
    return t:post("/later/" .. subject, { json = { t = v, nap = nap } })
  end
  local is_alone = t:elapsed() > (world.napping[subject] or -1)
  local status = t:post("/s/" .. subject, { json = { t = v } }).status
  world.known[subject] = status == 204 and is_alone and { v = v, hot = world.is_hot } or nil
end

local function slow_ack(t, world)
  local list = t:get("/active").json
  if #list == 0 then return end
  local id = pick(list).id
  if chance(3) then return t:post("/later-ack/" .. id) end
  local is_done = t:post("/ack/" .. id).status == 204 or t:post("/ack/" .. id).status == 204
  if is_done then world.acked[#world.acked + 1] = id end
end

local function slow_step(t, world, module)
  local what = math.random(20)
  if what <= 11 then
    slow_sample(t, world)
  elseif what <= 14 then
    slow_ack(t, world)
  elseif what == 15 then
    if chance(2) then world.is_hot = not world.is_hot end
    for _, known in pairs(world.known) do known.hot = known.hot and world.is_hot end
    assert(t:reload(slow_source(world, module)))
  elseif what == 16 then
    t:kill()
  elseif what <= 18 then
    t:disk { commit = pick { 0.002, 0.3, 1, 2.5 } }
  else
    local fault = pick { "full", "hung" }
    t:disk { [fault] = true }
    for _ = 1, 3 do pick { slow_sample, slow_ack }(t, world) end
    local is_killed = chance(3)
    if not is_killed and chance(2) then assert(t:reload(slow_source(world, module))) end
    if not is_killed then t:advance(pick { 0, 1, 7 }) end
    t:disk { [fault] = false }
    if is_killed then t:kill() end
  end
  t:advance(pick { 0, 0, 0.1, 0.4, 1, 3 })
end

-- The alerts that the events leave open, by id, and those that were acknowledged; nil, and what is wrong.
local function read_events(t)
  local open, by_id, acks = {}, {}, {}
  for _, e in ipairs(t:connect("/alerts"):events()) do
    if e.event:find("^alert") then
      local id, where = e.data.id, e.data.rule .. " " .. e.data.subject
      if e.event == "alert" then
        if open[where] or by_id[id] then return nil, "an alert too many: " .. where end
        open[where], by_id[id] = id, true
      elseif open[where] ~= id then
        return nil, ("%s of no open alert: %s"):format(e.event, where)
      elseif e.event == "alert-ack" then
        if acks[id] then return nil, "acknowledged twice: " .. where end
        acks[id] = true
      else
        open[where] = nil
      end
    end
  end
  return open, acks
end

local function slow_fault(t, world)
  local open, acks = read_events(t)
  if not open then return acks end
  local active = {}
  for _, alert in ipairs(t:get("/active").json) do
    local where = alert.rule .. " " .. alert.subject
    active[where] = true
    if open[where] ~= alert.id then return "active, but not told: " .. where end
    if acks[alert.id] ~= (alert.acknowledged and true) then return "acknowledged and not told: " .. where end
    if alert.rule == "hot" and not world.is_hot then return "its rule is gone: " .. where end
  end
  for where in pairs(open) do
    if not active[where] then return "told, but not active: " .. where end
  end
  for _, id in ipairs(world.acked) do
    if not acks[id] then return "answered, but not acknowledged: " .. id end
  end
  for subject, known in pairs(world.known) do
    local want = { low = known.v < 30, nap = known.v > 70 }
    if world.is_hot and known.hot then want.hot = known.v > 50 end
    for rule, is_on in pairs(want) do
      local where = rule .. " " .. subject
      if is_on ~= (active[where] or false) then return "answered, but lost: " .. where end
    end
  end
end

-- The process dies while an alert that has just been told is taken back.
local function die_within(t, world)
  local subject = pick(SUBJECTS)
  t:disk { commit = 0.002 }
  world.known[subject] = nil
  t:post("/later/" .. subject, { json = { t = 50 } })
  t:advance(4)
  t:disk { commit = 1 }
  t:post("/later/" .. subject, { json = { t = 95 } })
  t:advance(2.5)
  t:post("/later/" .. subject, { json = { t = 50 } })
  local c, till = t:connect("/alerts"), t:elapsed() + 8
  local before = c:count("alert-cleared")
  while c:count("alert-cleared") == before and t:elapsed() < till do t:advance(0.05) end
  t:kill()
end

local function play_slow(seed, files, module)
  math.randomseed(seed)
  local world = { is_hot = true, known = {}, napping = {}, acked = {} }
  local t = kit.whole(slow_source(world, module), { files = files, seed = seed, waits = seed % 2 == 0 })
  local wrong
  for _ = 1, 3 do
    for _ = 1, STEPS / 4 do slow_step(t, world, module) end
    die_within(t, world)
    t:disk { commit = 0.002 }
    t:advance(12)
    wrong = slow_fault(t, world)
    if wrong then break end
  end
  kit.stop_all()
  return wrong
end

local MISTAKES = {
  { "rules", "if firing and rule.clear ~= nil then", "if false then", seed = 6 },
  { "rules", "return sign * v > sign * limit", "return sign * v >= sign * limit", seed = 4 },
  { "slots", "local rests = ", "local rests = false and ", seed = 7 },
  { "slots", "local waits = ", "local waits = false and " },
  { "slots", "id = sluice.id()", 'id = "same" .. subject .. rule.name' },
  { "slots", "if rule.after and s.last[subject] then", "if false then", seed = 2 },
  { "telling", "ended_at = self.store and", "ended_at = false and", seed = 7 },
  { "telling", 'return self.store:set("seen/" .. subject, true)', "return true" },
  { "book", "if not self.rules[name] then", "if false then" },
  { "book", "if last + rule.after > now then", "if false then", seed = 2 },
  { "book", 'self.store:each("alert/")', 'self.store:each("x/")' },
  { "book", "if not slots.is_active(slots.get(s, subject, rule.name)) then\n        ", "if false then\n" },
  { "book", "if not self.silences[1] then forget_watched(s) end", "", seed = 3 },
  { "book", "  s.last[subject] = sluice.now()\n", "  s.last[subject] = s.last[subject] or sluice.now()\n" },
  { "wheel", "w.done = w.done + 1", "w.done = till", seed = 2 },
}

local SLOW_MISTAKES = {
  { "telling", "if slot.flying then return save_now(self, s, subject, name, slot) end", "" },
  { "telling", "if slot.flying then return save_now(self, s, subject, name, slot) end",
    "if slot.flying then return true end", seed = 6 },
  { "slots", "slot.turn = slot.turn + 1\n  slots.push(s, subject, name)", "slot.turn = slot.turn + 1" },
  { "asked", "  if not slot.ack then\n", "  if slot.ack then return true end\n  if not slot.ack then\n" },
}

describe("random alerts", function()
  after_each(kit.stop_all)

  it("begin and end once per excursion, as an independent model says", function()
    worlds.hold(function(seed) return play(seed, nil, "sluice.alerts") end, 12, 2000)
  end)

  it("are there after a kill as they were answered, and told, while the disk is slow", function()
    worlds.hold(function(seed) return play_slow(seed, nil, "sluice.alerts") end, 6, 2000)
  end)

  it("show each mistake that is planted into the module", function()
    worlds.show(play, MISTAKES, worlds.copies("alerts"), 40)
  end)

  it("show each mistake that only a slow disk shows", function()
    worlds.show(play_slow, SLOW_MISTAKES, worlds.copies("alerts"), 12)
  end)
end)
