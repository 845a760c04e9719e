--- What sluice.alerts knows of a subject and a rule: a slot, and the decisions about it.
---
---          holds for `hold`             told             holds no longer            told
---   none ─────────────────▶ say alert ─────▶ active ─────────────────▶ say cleared ─────▶ none
---
--- A decision is taken in one step; sluice/alerts/telling.lua saves and publishes it. While
--- something of a slot is to be told, its newest verdict waits. All is plain data in the state of
--- the app: `slots` by subject and rule (some 1.5 KiB each; only what holds or did a moment ago),
--- and `last`, when each subject sent, with a place in the wheel of each silence (some 100 bytes).
local rules = require("sluice.alerts.rules")
local sluice = require("sluice")
local wheel = require("sluice.alerts.wheel")

local slots = {}

local EARLY = 0.001 -- clocks are no finer

--- Whether there is an alert that is not being cleared.
function slots.is_active(slot)
  return slot ~= nil and slot.alert ~= nil and slot.say ~= "cleared"
end

--- Whether something of a subject is in memory.
function slots.is_known(s, subject) return s.last[subject] ~= nil or s.slots[subject] ~= nil end

--- The slot of a subject and a rule, or nil.
function slots.get(s, subject, name)
  local by_rule = s.slots[subject]
  return by_rule and by_rule[name]
end

--- The same, made when it is missing.
function slots.add(s, subject, name)
  if not slots.is_known(s, subject) then s.count = s.count + 1 end
  local by_rule = s.slots[subject] or {}
  s.slots[subject] = by_rule
  by_rule[name] = by_rule[name] or {}
  return by_rule[name]
end

--- Nothing is to be remembered of a subject and a rule.
function slots.drop(s, subject, name)
  local by_rule = s.slots[subject]
  if not by_rule then return end
  by_rule[name] = nil
  if next(by_rule) ~= nil then return end
  s.slots[subject] = nil
  if s.last[subject] == nil then s.count = s.count - 1 end
end

--- Look at a subject for a rule at a time.
function slots.watch(s, rule, subject, at)
  local w = s.wheels[rule.name]
  if not w then
    w = wheel.new(sluice.now())
    s.wheels[rule.name] = w
  end
  wheel.add(w, subject, at)
end

--- A rule by name; one that is gone has no hold and no cooldown.
function slots.rule_of(self, name)
  return self.rules[name] or { name = name, hold = 0, cooldown = 0 }
end

--- Something of a slot is to be told by whoever comes next.
function slots.push(s, subject, name)
  local queue = s.queue
  queue.last = queue.last + 1
  queue[queue.last] = { subject = subject, rule = name }
end

-- ---- Decisions: in one step, but for a message that waits -----------------------------

local function fire(self, s, slot, rule, subject, value)
  local text = rules.message(rule, value, subject)
  if slot.alert or slot.say or slots.get(s, subject, rule.name) ~= slot then return false end
  local time = sluice.time()
  local began = time - (sluice.now() - (slot.mark or sluice.now()))
  slot.alert = { id = sluice.id(), rule = rule.name, [self.o.subject] = subject,
    severity = rule.severity, category = rule.category, message = text, value = value,
    since = sluice.timestamp(math.max(0, began)), timestamp = sluice.timestamp(time) }
  slot.say, slot.mark, slot.ended = "alert", nil, nil
  return true
end

local function clear(s, slot, rule, subject, value, reason)
  slot.say, slot.mark = "cleared", nil
  slot.cleared = { value = value, reason = reason, timestamp = sluice.timestamp() }
  slot.ended = rule.cooldown > 0 and not reason and sluice.now() or nil
  if rule.after and s.last[subject] then
    slots.watch(s, rule, subject, s.last[subject] + rule.after)
  end
  return true
end

--- Take a verdict over a subject.
-- @treturn boolean whether there is something to tell
function slots.decide(self, s, subject, rule, bad, value, reason)
  local slot, now = slots.get(s, subject, rule.name), sluice.now()
  if slot and (slot.say or slot.told_ack == false) then
    slot.next = { bad = bad, value = value, reason = reason }
    return false
  end
  if bad then
    if slot and slot.alert then return false end
    slot = slot or slots.add(s, subject, rule.name)
    slot.mark = slot.mark or rule.after and s.last[subject] or now
    local waits = now - slot.mark < rule.hold - EARLY
    local rests = slot.ended and now - slot.ended < rule.cooldown - EARLY
    return not waits and not rests and fire(self, s, slot, rule, subject, value)
  elseif not slot then
    return false
  elseif slot.alert then
    return clear(s, slot, rule, subject, value, reason)
  end
  slot.mark = nil
  if not slot.ended then slots.drop(s, subject, rule.name) end
  return false
end

slots.EARLY = EARLY
return slots
