--- What sluice.alerts knows of a subject and a rule: a slot, and the decisions about it.
---
---          holds for `hold`             told             holds no longer            told
---   none ─────────────────▶ say alert ─────▶ active ─────────────────▶ say cleared ─────▶ none
---
--- A decision is taken in one step, which also counts `turn` up and queues the slot;
--- sluice/alerts/telling.lua saves and publishes it. While something of a slot is to be told, a
--- verdict that changes it waits. All is plain data in the state of the app, which all versions of
--- its code share: `slots` by subject and rule (some 1.5 KiB each; only what holds or did a moment
--- ago), `last`, when each subject sent, with a place in the wheel of each silence (some 100
--- bytes), and a queue with at most one entry for each slot and subject.
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
  by_rule[name] = by_rule[name] or { turn = 0, saved = 0 }
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

--- What the queue says of a subject: the slot of a rule, or (false) whether the subject is known.
function slots.entry(s, subject, name)
  if name then return slots.get(s, subject, name) end
  return s.seen[subject]
end

--- Something of a slot is to be told by whoever comes next.
function slots.push(s, subject, name)
  local entry, queue = slots.entry(s, subject, name), s.queue
  if not entry or entry.queued then return end
  entry.queued = true
  queue.last = queue.last + 1
  queue[queue.last] = { subject = subject, rule = name }
end

--- A slot has changed: it is to be saved, and perhaps told.
function slots.note(s, subject, name)
  local slot = slots.get(s, subject, name)
  slot.turn = slot.turn + 1
  slots.push(s, subject, name)
end

--- A subject has become known, or is no longer.
function slots.note_seen(s, subject)
  local entry = s.seen[subject] or { turn = 0, saved = 0 }
  s.seen[subject] = entry
  entry.turn = entry.turn + 1
  slots.push(s, subject, false)
end

--- Whether something that was decided is not on the disk, as far as is known.
function slots.is_unsaved(s, subject, name)
  local entry = slots.entry(s, subject, name)
  return entry ~= nil and entry.saved ~= entry.turn
end

--- Whether something of a slot is to be told.
function slots.is_telling(slot) return slot.say ~= nil or slot.told_ack == false end

-- ---- Decisions: in one step, but for a message that waits -----------------------------

local function fire(self, s, slot, rule, subject, value)
  local text = rules.message(rule, value, subject)
  if slot.alert or slot.say or slots.get(s, subject, rule.name) ~= slot then return end
  local time = sluice.time()
  local began = time - (sluice.now() - (slot.mark or sluice.now()))
  slot.alert = { id = sluice.id(), rule = rule.name, [self.o.subject] = subject,
    severity = rule.severity, category = rule.category, message = text, value = value,
    since = sluice.timestamp(math.max(0, began)), timestamp = sluice.timestamp(time) }
  slot.say, slot.mark, slot.ended = "alert", nil, nil
  slots.note(s, subject, rule.name)
end

local function clear(s, slot, rule, subject, value, reason)
  slot.say, slot.mark = "cleared", nil
  slot.cleared = { value = value, reason = reason, timestamp = sluice.timestamp() }
  slot.ended = rule.cooldown > 0 and not reason and sluice.now() or nil
  if rule.after and s.last[subject] then
    slots.watch(s, rule, subject, s.last[subject] + rule.after)
  end
  slots.note(s, subject, rule.name)
end

-- A verdict waits until all before it is told. Only one that changes something then is kept.
local function put_off(s, slot, subject, name, verdict)
  if verdict.bad == slots.is_active(slot) then verdict = nil end
  local is_same = (verdict == nil) == (slot.next == nil)
  if is_same and not (verdict and verdict.reason) then return end
  slot.next = verdict
  slots.note(s, subject, name)
end

local function apply(self, s, subject, rule, bad, value, reason)
  local slot, now = slots.get(s, subject, rule.name), sluice.now()
  if bad then
    if slot and slot.alert then return end
    slot = slot or slots.add(s, subject, rule.name)
    slot.mark = slot.mark or rule.after and s.last[subject] or now
    local waits = now - slot.mark < rule.hold - EARLY
    local rests = slot.ended and now - slot.ended < rule.cooldown - EARLY
    if not waits and not rests then fire(self, s, slot, rule, subject, value) end
  elseif slot and slot.alert then
    clear(s, slot, rule, subject, value, reason)
  elseif slot then
    slot.mark = nil
    local is_busy = slot.ended or slot.flying or slot.saved ~= slot.turn
    if not is_busy then slots.drop(s, subject, rule.name) end
  end
end

--- Take a verdict over a subject. What it changes is noted, to be told.
function slots.decide(self, s, subject, rule, bad, value, reason)
  local slot = slots.get(s, subject, rule.name)
  if slot and (slots.is_telling(slot) or slot.next) then
    put_off(s, slot, subject, rule.name, { bad = bad, value = value, reason = reason })
  else
    apply(self, s, subject, rule, bad, value, reason)
  end
end

--- Take the verdict that has waited.
function slots.take_next(self, s, subject, name)
  local slot = slots.get(s, subject, name)
  local verdict = slot.next
  if not verdict or slots.is_telling(slot) then return end
  apply(self, s, subject, slots.rule_of(self, name), verdict.bad, verdict.value, verdict.reason)
  if slot.next == verdict then slot.next = nil end
  if slots.get(s, subject, name) == slot then slots.note(s, subject, name) end
end

slots.EARLY = EARLY
return slots
