--- The book of sluice.alerts: which subjects and rules it knows, over time, reloads and restarts.
--- In memory, for at most `max_subjects` subjects: what sluice/alerts/slots.lua keeps of each.
local slots = require("sluice.alerts.slots")
local sluice = require("sluice")
local telling = require("sluice.alerts.telling")
local wheel = require("sluice.alerts.wheel")

local book = {}

---@class sluice.alerts.Book
local Book = {}
Book.__index = Book

--- Of an app, at load.
-- @tparam sluice.App app
-- @tparam table o name, event, subject, channel (fn(subject)), key, max_subjects, durable
function book.new(app, o)
  local self = setmetatable({ app = app, o = o, rules = {}, limits = {}, silences = {}, workers = 0,
    flying = setmetatable({}, { __mode = "k" }),
    state = app:state(o.name, { slots = {}, last = {}, wheels = {}, count = 0,
      queue = { first = 1, last = 0 } }),
    store = o.durable and app:store(o.name) or nil }, Book)
  app:every(0.5, { name = o.name .. ".sweep" }, function() self:sweep() end)
  app:on("start", function() self:ready() end)
  app:on("reload", function() self:ready() end)
  return self
end

-- ---- Time ------------------------------------------------------------------------------

local function look_silence(self, s, rule, subject)
  local last, now = s.last[subject], sluice.now()
  if not last then return end
  local slot = slots.get(s, subject, rule.name)
  if last + rule.after > now then
    return slots.watch(s, rule, subject, last + rule.after)
  end
  if slot and slot.say then return slots.watch(s, rule, subject, now + 1) end
  if slots.decide(self, s, subject, rule, true) then slots.push(s, subject, rule.name) end
end

local function look_cooldown(s, rule, subject)
  local slot, now = slots.get(s, subject, rule.name), sluice.now()
  if not slot or not slot.ended or slot.alert then return end
  local till = slot.ended + rule.cooldown
  if till - slots.EARLY > now then return slots.watch(s, rule, subject, till) end
  slot.ended, slot.unsaved = nil, true
  slots.push(s, subject, rule.name)
end

--- Twice a second: who is silent, whose cooldown is over, what is still to be told.
function Book:sweep()
  local s = self:ready()
  for name, rule in pairs(self.rules) do
    local w = s.wheels[name]
    if w then
      wheel.turn(w, function() return s.wheels[name] == w end, function(subject)
        if rule.after then return look_silence(self, s, rule, subject) end
        look_cooldown(s, rule, subject)
      end)
    end
  end
  telling.kick(self)
end

--- A subject has sent: remember when. Nil, message, code when there is no room for it.
-- @treturn boolean|nil whether it is a new one
function Book:touch(s, subject)
  local watched = self.silences[1] ~= nil
  local is_new = s.last[subject] == nil
  if is_new and not s.slots[subject] and s.count >= self.o.max_subjects then
    return nil, ("%s: %d subjects are known already (max_subjects)"):format(self.o.name, s.count),
      "EFULL"
  end
  if not watched then return false end
  if is_new and not s.slots[subject] then s.count = s.count + 1 end
  s.last[subject] = sluice.now()
  if not is_new then return false end
  for _, rule in ipairs(self.silences) do
    if not slots.is_active(slots.get(s, subject, rule.name)) then
      slots.watch(s, rule, subject, s.last[subject] + rule.after)
    end
  end
  return true
end

--- Forget a subject; its alerts are cleared.
-- @treturn {string|boolean,...} what is to be told
function Book:forget(s, subject)
  local list = { false }
  if not slots.is_known(s, subject) then return {} end
  for _, w in pairs(s.wheels) do wheel.remove(w, subject) end
  local had_slots = s.slots[subject] ~= nil
  s.last[subject] = nil
  if not had_slots then s.count = s.count - 1 end
  for name, slot in pairs(s.slots[subject] or {}) do
    slot.ended, slot.mark, slot.unsaved = nil, nil, true
    if slot.alert then
      slots.decide(self, s, subject, slots.rule_of(self, name), false, nil, "forgotten")
    end
    list[#list + 1] = name
  end
  return list
end

-- ---- After a start or a reload -----------------------------------------------------------

-- Take over what was kept over a restart. The time that the server was down is nobody's silence.
local function load(self, s)
  local now, time = sluice.now(), sluice.time()
  for key in self.store:each("seen/") do
    local subject = key:sub(6)
    if not slots.is_known(s, subject) then s.count = s.count + 1 end
    s.last[subject] = now
  end
  for _, row in self.store:each("alert/") do
    local slot = slots.add(s, row.subject, row.rule)
    slot.alert, slot.say, slot.cleared = row.alert, row.say, row.cleared
    slot.ack, slot.told_ack = row.ack, row.told_ack
    if row.ended_at then slot.ended = now - math.max(0, time - row.ended_at) end
    if slot.say or slot.told_ack == false then slots.push(s, row.subject, row.rule) end
  end
end

-- The app has become durable: what is known goes into the store, and nothing else stays there.
local function store_all(self, s)
  for key in self.store:each("") do self.store:delete(key, { wait = false }) end
  for subject in pairs(s.last) do slots.push(s, subject, false) end
  for subject, by_rule in pairs(s.slots) do
    for name, slot in pairs(by_rule) do
      slot.unsaved = true
      slots.push(s, subject, name)
    end
  end
end

-- Alerts of rules that are gone are cleared: nobody else would.
local function end_removed(self, s)
  for subject, by_rule in pairs(s.slots) do
    for name, slot in pairs(by_rule) do
      if not self.rules[name] then
        slot.mark, slot.ended, slot.unsaved = nil, nil, true
        if slots.is_active(slot) then
          slots.decide(self, s, subject, slots.rule_of(self, name), false, nil, "removed")
        end
        slots.push(s, subject, name)
      end
    end
  end
end

local function forget_watched(self, s)
  for subject in pairs(s.last) do
    s.last[subject] = nil
    if not s.slots[subject] then s.count = s.count - 1 end
    if self.store then slots.push(s, subject, false) end
  end
end

local function build_wheels(self, s)
  s.wheels = {}
  for _, rule in ipairs(self.silences) do
    for subject, last in pairs(s.last) do
      if not slots.is_active(slots.get(s, subject, rule.name)) then
        slots.watch(s, rule, subject, last + rule.after)
      end
    end
  end
  for subject, by_rule in pairs(s.slots) do
    for name, slot in pairs(by_rule) do
      local rule = self.rules[name]
      if slot.ended and rule then slots.watch(s, rule, subject, slot.ended + rule.cooldown) end
    end
  end
end

--- The state, for the rules of this version of the app.
function Book:ready()
  local s = self.state()
  if self.is_ready then return s end
  self.is_ready = true
  if self.store and not s.loaded then
    load(self, s)
  elseif self.store and not s.stored then
    store_all(self, s)
  end
  s.loaded, s.stored = true, self.store ~= nil
  end_removed(self, s)
  if not self.silences[1] then forget_watched(self, s) end
  build_wheels(self, s)
  return s
end

--- Call visit(slot, subject, name) for each active alert; stops when it returns true.
function Book:each_active(visit)
  local s = self:ready()
  for subject, by_rule in pairs(s.slots) do
    for name, slot in pairs(by_rule) do
      if slots.is_active(slot) and visit(slot, subject, name) then return end
    end
  end
end

return book
