--- The book of sluice.alerts: which subjects and rules it knows, over time, reloads and restarts.
--- In memory, for at most `max_subjects` subjects: what sluice/alerts/slots.lua keeps of each.
local leader = require("sluice.base.leader")
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
    state = app:state(o.name, { slots = {}, last = {}, seen = {}, wheels = {}, count = 0,
      edition = 0, queue = { first = 1, last = 0 } }),
    store = o.durable and app:store(o.name) or nil }, Book)
  -- In a cluster the node that leads has it; the others read what is stored.
  local calls = {}
  for name, fn in pairs(o.calls) do calls[name] = function(...) return fn(self, ...) end end
  self.lead = leader.new(app, o.name, { keeps = not o.durable, calls = calls,
    begin = function(goes_on) self:begin(goes_on) end })
  app:every(0.5, { name = o.name .. ".sweep" }, function()
    if self.lead:has_book() then self:sweep() end
  end)
  local function ready()
    if not self.lead:is_shared() then self:ready() end
  end
  app:on("start", ready)
  app:on("reload", ready)
  return self
end

--- Where it is kept; nil: in memory.
function Book:kept() return self.store or self.lead:is_shared() and self.lead.kept or nil end

--- This node leads: it takes over what is stored.
function Book:begin(goes_on)
  local s = self.state()
  self.store = self:kept()
  if goes_on then return self:ready() end
  local edition = s.edition
  for name in pairs(s) do s[name] = nil end
  s.slots, s.last, s.seen, s.wheels, s.count, s.edition = {}, {}, {}, {}, 0, edition
  s.queue, self.is_ready = { first = 1, last = 0 }, false
  self:ready()
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
  slots.decide(self, s, subject, rule, true)
end

local function look_cooldown(s, rule, subject)
  local slot, now = slots.get(s, subject, rule.name), sluice.now()
  if not slot or not slot.ended or slot.alert then return end
  local till = slot.ended + rule.cooldown
  if till - slots.EARLY > now then return slots.watch(s, rule, subject, till) end
  slot.ended = nil
  slots.note(s, subject, rule.name)
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

--- A subject has sent: remember when.
-- @treturn boolean|nil true; or nil, message, code when there is no room for it
function Book:touch(s, subject)
  local watched = self.silences[1] ~= nil
  local is_new = s.last[subject] == nil
  if is_new and not s.slots[subject] and s.count >= self.o.max_subjects then
    return nil, ("%s: %d subjects are known already (max_subjects)"):format(self.o.name, s.count),
      "EFULL"
  end
  if not watched or is_new and not self:is_current(s) then return true end
  if is_new and not s.slots[subject] then s.count = s.count + 1 end
  s.last[subject] = sluice.now()
  if not is_new then return true end
  slots.note_seen(s, subject)
  for _, rule in ipairs(self.silences) do
    if not slots.is_active(slots.get(s, subject, rule.name)) then
      slots.watch(s, rule, subject, s.last[subject] + rule.after)
    end
  end
  return true
end

--- End what is known of a subject and a rule.
function Book:finish(s, subject, name, reason)
  local slot = slots.get(s, subject, name)
  slot.mark, slot.ended, slot.next = nil, nil, nil
  if slots.is_active(slot) then
    slots.decide(self, s, subject, slots.rule_of(self, name), false, nil, reason)
  end
  slots.note(s, subject, name)
end

--- Forget a subject; its alerts are cleared.
-- @treturn {string|boolean,...} what is to be told
function Book:forget(s, subject)
  local list = {}
  if not slots.is_known(s, subject) then return {} end
  for _, w in pairs(s.wheels) do wheel.remove(w, subject) end
  local had_slots = s.slots[subject] ~= nil
  s.last[subject] = nil
  if not had_slots then s.count = s.count - 1 end
  slots.note_seen(s, subject)
  for name in pairs(s.slots[subject] or {}) do
    self:finish(s, subject, name, "forgotten")
    list[#list + 1] = name
  end
  list[#list + 1] = false
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
    slot.ack, slot.told_ack, slot.next = row.ack, row.told_ack, row.next
    if row.ended_at then slot.ended = now - math.max(0, time - row.ended_at) end
    if slots.is_telling(slot) or slot.next then slots.push(s, row.subject, row.rule) end
  end
end

-- The app has become durable: what is known goes into the store, and nothing else stays there.
local function store_all(self, s)
  for key in self.store:each("") do self.store:delete(key, { wait = false }) end
  for subject in pairs(s.last) do slots.note_seen(s, subject) end
  for subject, by_rule in pairs(s.slots) do
    for name in pairs(by_rule) do slots.note(s, subject, name) end
  end
end

-- Alerts of rules that are gone are cleared: nobody else would.
local function end_removed(self, s)
  for subject, by_rule in pairs(s.slots) do
    for name in pairs(by_rule) do
      if not self.rules[name] then self:finish(s, subject, name, "removed") end
    end
  end
end

local function forget_watched(s)
  for subject in pairs(s.last) do
    s.last[subject] = nil
    if not s.slots[subject] then s.count = s.count - 1 end
    slots.note_seen(s, subject)
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

--- Whether no newer version of the app has taken over. An older one may still be in a handler.
function Book:is_current(s) return self.edition == s.edition end

--- Whether a rule is still there in the version that has taken over.
function Book:is_alive(s, rule) return self:is_current(s) or s.rules[rule.name] ~= nil end

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
  self.edition, s.edition, s.rules = s.edition + 1, s.edition + 1, {}
  for name in pairs(self.rules) do s.rules[name] = true end
  end_removed(self, s)
  if not self.silences[1] then forget_watched(s) end
  build_wheels(self, s)
  return s
end

-- The same on a node that has not the book.
local function each_stored(self, visit)
  for _, row in self:kept():each("alert/") do
    if slots.is_active(row) and visit(row, row.subject, row.rule) then return end
  end
end

--- Call visit(slot, subject, name) for each active alert; stops when it returns true.
function Book:each_active(visit)
  if not self.lead:has_book() then return each_stored(self, visit) end
  local s = self:ready()
  for subject, by_rule in pairs(s.slots) do
    for name, slot in pairs(by_rule) do
      if slots.is_active(slot) and visit(slot, subject, name) then return end
    end
  end
end

return book
