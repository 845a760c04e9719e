--- What the book of sluice.alerts is asked: to check a sample, to forget a subject, to note who has
--- seen an alert. In a cluster the node that leads does it for all. Keeps nothing in memory.
local rules = require("sluice.alerts.rules")
local slots = require("sluice.alerts.slots")
local sluice = require("sluice")
local telling = require("sluice.alerts.telling")

local asked = {}

-- Tell all that a list names and what is not on the disk; the first failure is returned, the
-- others are tried all the same.
local function tell_all(kept, subject, list)
  local failed, message, code
  for _, name in ipairs(list) do
    local ok, why, what = telling.tell(kept, subject, name)
    if not ok and not failed then failed, message, code = true, why, what end
  end
  if failed then return nil, message, code end
  return true
end

-- Judge a sample by all rules, and then decide: what is stopped in between decides nothing.
local function judge(kept, s, subject, sample)
  local bads, values = {}, {}
  for i, rule in ipairs(kept.limits) do
    local firing = slots.is_active(slots.get(s, subject, rule.name))
    bads[i], values[i] = rules.judge(rule, sample, subject, firing)
  end
  for i, rule in ipairs(kept.limits) do
    if bads[i] ~= nil and kept:is_alive(s, rule) then
      slots.decide(kept, s, subject, rule, bads[i], values[i])
    end
  end
  for _, rule in ipairs(kept.silences) do slots.decide(kept, s, subject, rule, false) end
end

-- What is known of a subject and not on the disk, whoever decided it.
local function list_unsaved(kept, s, subject)
  local list = {}
  if slots.is_unsaved(s, subject, false) then list[1] = false end
  for _, group in ipairs({ kept.limits, kept.silences }) do
    for _, rule in ipairs(group) do
      if slots.is_unsaved(s, subject, rule.name) then list[#list + 1] = rule.name end
    end
  end
  return list
end

--- Check a sample against all rules.
-- @treturn boolean|nil true, or nil, message, code
function asked.check(kept, subject, sample, waits)
  local s = kept:ready()
  local has_room, why, what = kept:touch(s, subject)
  if not has_room then return nil, why, what end
  judge(kept, s, subject, sample)
  if waits then return tell_all(kept, subject, list_unsaved(kept, s, subject)) end
  telling.kick(kept)
  return true
end

--- Find an active alert: its slot, subject and rule, or nil.
function asked.find(kept, id)
  local found = {}
  kept:each_active(function(slot, subject, name)
    if slot.alert.id ~= id then return false end
    found.slot, found.subject, found.name = slot, subject, name
    return true
  end)
  return found.slot, found.subject, found.name
end

--- Acknowledge an alert.
-- @treturn boolean|nil true, or nil, message, code
function asked.ack(kept, id, user)
  local slot, subject, name = asked.find(kept, id)
  if not slot then
    local text = rules.is_text(id, 64) and ("'%s'"):format(id) or "this id"
    return nil, ("no alert with %s is active"):format(text), "ENOTFOUND"
  end
  if not slot.ack then
    slot.ack, slot.told_ack = { user = user, timestamp = sluice.timestamp() }, false
    slots.note(kept.state(), subject, name)
  end
  return tell_all(kept, subject, { name })
end

--- Forget a subject.
-- @treturn boolean|nil true, or nil, message, code
function asked.forget(kept, subject)
  return tell_all(kept, subject, kept:forget(kept:ready(), subject))
end

return asked
