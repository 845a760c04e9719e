--- How what sluice.alerts decided becomes events: a slot is saved, the event that was saved is
--- published, and the slot saved as told, by one coroutine at a time in all versions of the app.
--- What was saved and is not told is published again after a failure, a reload or a crash, with the
--- same idempotency key: each event is there once. In memory: nothing but the state.
local sluice = require("sluice")
local slots = require("sluice.alerts.slots")

local telling = {}

local WORKERS, SLICE, QUIET_SECONDS = 16, 100, 60
-- The disk, or whoever waits in front of it, may take the event later; other refusals are final.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ENOMEM = true }

-- A slot as it is now: what is saved of it, and then told.
local function snapshot(self, subject, name, slot)
  local age = slot.ended and sluice.now() - slot.ended
  return { subject = subject, rule = name, alert = slot.alert, say = slot.say, ack = slot.ack,
    told_ack = slot.told_ack, cleared = slot.cleared, next = slot.next,
    ended_at = self.store and age and sluice.time() - age or nil }
end

local function store(self, row)
  if not self.store then return true end
  local key = ("alert/%s/%s"):format(row.rule, row.subject)
  if row.alert or row.next or row.ended_at then return self.store:set(key, row) end
  return self.store:delete(key)
end

-- Several may save a slot at once: the store takes what is given to it in this order.
local function save(self, row, slot)
  local turn = slot.turn
  local ok, message, code = store(self, row)
  if ok == nil then return nil, message, code end
  slot.saved = math.max(slot.saved, turn)
  return true
end

-- The event that a row has to tell, and its data; nil when there is none.
local function next_event(self, row)
  local event, data = self.o.event, {}
  if row.say ~= "alert" and row.told_ack == false then
    return event .. "-ack", { id = row.alert.id, rule = row.alert.rule, user = row.ack.user,
      [self.o.subject] = row.alert[self.o.subject], timestamp = row.ack.timestamp }
  elseif not row.say then
    return nil
  end
  for field, value in pairs(row.alert) do data[field] = value end
  if row.say == "alert" then return event, data end
  data.value, data.reason = row.cleared.value, row.cleared.reason
  data.timestamp = row.cleared.timestamp
  return event .. "-cleared", data, true
end

-- What a row said has been told.
local function settle(self, s, row, slot)
  if row.say == "alert" then
    slot.say = nil
  elseif row.told_ack == false then
    slot.told_ack = true
  else
    slot.say, slot.alert, slot.ack, slot.told_ack, slot.cleared = nil, nil, nil, nil, nil
    if slot.ended then
      local rule = slots.rule_of(self, row.rule)
      slots.watch(s, rule, row.subject, slot.ended + rule.cooldown)
    end
  end
  slot.turn = slot.turn + 1
end

local function publish(self, row, event, data, is_end)
  local ok, message, code = self.app:publish(self.o.channel(row.subject), event, data,
    { idempotency = ("%s %s"):format(event, data.id), key = self.o.key and data.id or nil,
      remove = self.o.key and is_end or nil })
  if ok then return true end
  if LATER[code] then return nil, message, code end
  local text = "%s: '%s' of '%s' was refused: %s"
  sluice.log.error(text:format(self.o.name, event, row.subject, message),
    { code = code, id = data.id })
  return true -- for good: it counts as told
end

-- Save a slot as it is, unless the disk has it. A version of the app that keeps it in another way
-- than the one that has taken over leaves that to it.
local function save_now(self, s, subject, name, slot)
  local is_mine = self:is_current(s) or s.stored == (self.store ~= nil)
  if slot.saved == slot.turn or not is_mine then return true end
  return save(self, snapshot(self, subject, name, slot), slot)
end

-- One slot until nothing of it is left to tell. Only what is on the disk is told: it may change
-- while that is waited for.
local function work_off(self, s, subject, name, slot)
  while self:is_current(s) do
    slots.take_next(self, s, subject, name)
    if slot.saved == slot.turn and not slots.is_telling(slot) then
      if not (slot.alert or slot.mark or slot.ended) then slots.drop(s, subject, name) end
      return true
    end
    local row = snapshot(self, subject, name, slot)
    if slot.saved ~= slot.turn then
      local ok, message, code = save(self, row, slot)
      if not ok then return nil, message, code end
    end
    local event, data, is_end = next_event(self, row)
    if event then
      local ok, message, code = publish(self, row, event, data, is_end)
      if not ok then return nil, message, code end
      settle(self, s, row, slot)
    end
  end
  slots.push(s, subject, name) -- the rest is for the version that has taken over
  return save_now(self, s, subject, name, slot)
end

local function store_seen(self, s, subject)
  if not self.store then return true end
  if s.last[subject] == nil then return self.store:delete("seen/" .. subject) end
  return self.store:set("seen/" .. subject, true)
end

-- That a subject is known is kept, so that its silence is noticed after a restart, too.
local function save_seen(self, s, subject)
  local entry = s.seen[subject]
  if not entry then return true end
  local turn = entry.turn
  local ok, message, code = store_seen(self, s, subject)
  if ok == nil then
    slots.push(s, subject, false)
    return nil, message, code
  end
  entry.saved = math.max(entry.saved, turn)
  if entry.saved == entry.turn and s.seen[subject] == entry then s.seen[subject] = nil end
  return true
end

--- Save and publish what is to be told of a subject. Waits when that does; when somebody else is
-- at it, until what is decided now is saved.
-- @tparam string subject
-- @tparam string|boolean name of the rule; false: that the subject is known
-- @treturn boolean|nil true, or nil, message, code: it will be tried again
function telling.tell(self, subject, name)
  local s = self.state()
  if not name then return save_seen(self, s, subject) end
  local slot = slots.get(s, subject, name)
  if not slot then return true end
  if slot.flying then return save_now(self, s, subject, name, slot) end
  slot.flying = true -- for all versions of the app
  local is_done = false
  local _ <close> = setmetatable({}, { __close = function()
    slot.flying = nil
    if not is_done then slots.push(s, subject, name) end -- refused; or this coroutine is closed
  end })
  local ok, message, code = work_off(self, s, subject, name, slot)
  is_done = ok
  return ok, message, code
end

local function worker(self)
  local s, count = self.state(), 0
  local _ <close> = setmetatable({}, { __close = function() self.workers = self.workers - 1 end })
  while s.queue.first <= s.queue.last and self:is_current(s) do
    local queue = s.queue
    local item = queue[queue.first]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    local entry = slots.entry(s, item.subject, item.rule)
    if entry then entry.queued = nil end
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

return telling
