--- How what sluice.alerts decided becomes events: a slot is saved, its event published, and saved
--- as told. What was saved and is not told is published again after a failure, a reload or a crash,
--- with the same idempotency key: each event is there once.
--- In memory: a queue of what is to be told, at most one entry per slot and subject.
local sluice = require("sluice")
local slots = require("sluice.alerts.slots")

local telling = {}

local WORKERS, SLICE, QUIET_SECONDS = 16, 100, 60
-- The disk, or whoever waits in front of it, may take the event later; other refusals are final.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ENOMEM = true }

local function save(self, subject, name, slot)
  slot.unsaved = nil
  if not self.store then return true end
  local key = ("alert/%s/%s"):format(name, subject)
  if not slot.alert and not slot.ended then return self.store:delete(key) end
  local age = slot.ended and sluice.now() - slot.ended
  return self.store:set(key, { subject = subject, rule = name, alert = slot.alert, say = slot.say,
    ack = slot.ack, told_ack = slot.told_ack, cleared = slot.cleared,
    ended_at = age and sluice.time() - age or nil })
end

-- The event that a slot has to tell, and its data; nil when there is none.
local function next_event(self, slot)
  local event, data = self.o.event, {}
  if slot.say ~= "alert" and slot.told_ack == false then
    return event .. "-ack", { id = slot.alert.id, rule = slot.alert.rule, user = slot.ack.user,
      [self.o.subject] = slot.alert[self.o.subject], timestamp = slot.ack.timestamp }
  elseif not slot.say then
    return nil
  end
  for field, value in pairs(slot.alert) do data[field] = value end
  if slot.say == "alert" then return event, data end
  data.value, data.reason = slot.cleared.value, slot.cleared.reason
  data.timestamp = slot.cleared.timestamp
  return event .. "-cleared", data, true
end

local function settle(self, s, subject, name, slot)
  if slot.say == "alert" then
    slot.say = nil
  elseif slot.told_ack == false then
    slot.told_ack = true
  else
    slot.say, slot.alert, slot.ack, slot.told_ack, slot.cleared = nil, nil, nil, nil, nil
    if slot.ended then
      local rule = slots.rule_of(self, name)
      slots.watch(s, rule, subject, slot.ended + rule.cooldown)
    end
  end
  slot.unsaved = true
  local verdict = slot.next
  if not verdict or slot.say or slot.told_ack == false then return end
  slot.next = nil
  slots.decide(self, s, subject, slots.rule_of(self, name), verdict.bad, verdict.value,
    verdict.reason)
end

local function publish(self, subject, slot, event, data, is_end)
  local ok, message, code = self.app:publish(self.o.channel(subject), event, data,
    { idempotency = ("%s %s"):format(event, data.id), key = self.o.key and data.id or nil,
      remove = self.o.key and is_end or nil })
  if ok then return true end
  if LATER[code] then return nil, message, code end
  local text = "%s: '%s' of '%s' was refused: %s"
  sluice.log.error(text:format(self.o.name, event, subject, message),
    { code = code, id = slot.alert.id })
  return true -- for good: it counts as told
end

-- One slot until nothing of it is left to tell.
local function work_off(self, s, subject, name)
  local slot = slots.get(s, subject, name)
  while slot and (slot.unsaved or slot.say or slot.told_ack == false) do
    local ok, message, code = save(self, subject, name, slot)
    if not ok then return nil, message, code end
    local event, data, is_end = next_event(self, slot)
    if event then
      ok, message, code = publish(self, subject, slot, event, data, is_end)
      if not ok then return nil, message, code end
      settle(self, s, subject, name, slot)
    end
  end
  local is_over = slot and not slot.alert and not slot.mark and not slot.ended
  if is_over and slots.get(s, subject, name) == slot then
    slots.drop(s, subject, name)
  end
  return true
end

-- That a subject is known is kept, so that its silence is noticed after a restart, too.
local function save_seen(self, s, subject)
  if not self.store then return true end
  if s.last[subject] == nil then return self.store:delete("seen/" .. subject) end
  return self.store:set("seen/" .. subject, true)
end

--- Save and publish what is to be told of a subject. Waits when that does.
-- @tparam string subject
-- @tparam string|boolean name of the rule; false: that the subject is known
-- @treturn boolean|nil true, or nil, message, code: it will be tried again
function telling.tell(self, subject, name)
  local s = self.state()
  if not name then
    local ok, message, code = save_seen(self, s, subject)
    if not ok then slots.push(s, subject, false) end
    return ok, message, code
  end
  local slot = slots.get(s, subject, name)
  if not slot or self.flying[slot] then return true end
  self.flying[slot] = true
  local flying, is_done = self.flying, false
  local _ <close> = setmetatable({}, { __close = function()
    flying[slot] = nil
    slot.unsaved = slot.unsaved or not is_done or nil
    if not is_done then slots.push(s, subject, name) end -- refused; or this coroutine is closed
  end })
  local ok, message, code = work_off(self, s, subject, name)
  is_done = ok
  return ok, message, code
end

local function worker(self)
  local s, count = self.state(), 0
  local _ <close> = setmetatable({}, { __close = function() self.workers = self.workers - 1 end })
  while s.queue.first <= s.queue.last do
    local queue = s.queue
    local item = queue[queue.first]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    local ok, message, code = telling.tell(self, item.subject, item.rule)
    if not ok then
      local now = sluice.now()
      if now - (self.complained or -QUIET_SECONDS) >= QUIET_SECONDS then
        self.complained = now
        sluice.log.error(("%s: what is to be told waits: %s"):format(self.o.name, message),
          { code = code, waiting = queue.last - queue.first + 1 })
      end
      return
    end
    count = count + 1
    if count % SLICE == 0 then sluice.sleep(0) end
  end
end

--- Have told what waits, by coroutines of their own.
function telling.kick(self)
  local queue = self.state().queue
  local wanted = math.min(WORKERS, queue.last - queue.first + 1)
  while self.workers < wanted do
    if not self.app:spawn(function() worker(self) end) then return end
    self.workers = self.workers + 1
  end
end

--- Tell it later, without waiting.
function telling.tell_later(self, subject, name)
  slots.push(self.state(), subject, name)
  telling.kick(self)
end

return telling
