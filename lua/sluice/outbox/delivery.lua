--- How the letters of an outbox are delivered: by coroutines, as many at once as the queue lets,
--- and what comes of an attempt. Keeps nothing in memory beside the state of sluice.outbox.book.
local letters = require("sluice.outbox.letters")
local queue = require("sluice.outbox.queue")
local retry = require("sluice.out.retry")
local sluice = require("sluice")

local delivery = {}

local PAUSE_MIN, NOTE_SECONDS = 1, 10

local function tell_end(self, letter, ok)
  if not self.o.on_end then return end
  local fine, problem = pcall(self.o.on_end, letter, ok)
  if not fine then
    sluice.log.error(("%s: on_end raised: %s"):format(self.o.name, tostring(problem)))
  end
end

local function drop_oldest_dead(self, s)
  local oldest, at
  for id, row in pairs(s.rows) do
    local may_go = row.dead and not row.ended and not row.owes
    if may_go and (not at or row.died < at) then oldest, at = id, row.died end
  end
  if not oldest then return end
  sluice.log.warn(("%s: more than %d dead letters: the oldest is dropped"):format(self.o.name,
    self.o.max_dead), { id = oldest })
  s.told.dropped = s.told.dropped + 1
  self:delete(s, oldest, s.rows[oldest])
end

-- Tell the app that a letter has died, and note that it was told.
local function tell_death(self, s, id, row, letter)
  if row.owes == "death" then
    self.app:publish(self.o.name, "dead-letter", { id = id, via = letter.via,
      target = letter.target, attempts = letter.attempts, error = letter.error,
      code = letter.code, timestamp = sluice.timestamp(letter.died) })
    tell_end(self, letter, false)
  end
  if s.rows[id] ~= row or row.ended or not row.owes then return end -- dropped, or replayed
  row.owes, letter.told = "note", true
  if self:note(id, row, letter) then
    if row.owes == "note" then row.owes = nil end
  elseif row.owes then
    self:wait(s, row, sluice.now() + NOTE_SECONDS)
  else
    row.letter = nil -- replayed meanwhile, and that is kept
  end
  if s.dead > self.o.max_dead then drop_oldest_dead(self, s) end
end

local function tell_delivery(self, s, id, row, letter)
  letter.error, letter.code, letter.status = nil, nil, nil -- of an attempt before
  tell_end(self, letter, true)
  if s.rows[id] == row and not row.ended then return self:delete(s, id, row) end
end

local function bury(self, s, id, row, letter)
  letter.died = sluice.time()
  self:note(id, row, letter)
  if s.rows[id] ~= row or row.dead or row.ended then return end
  row.dead, row.died, s.dead, s.told.died = true, letter.died, s.dead + 1, s.told.died + 1
  row.owes = "death"
  sluice.log.warn(("%s: a %s to %s is given up after %d attempts: %s"):format(self.o.name,
    letter.via, letter.target, letter.attempts, letter.error), { id = id, code = letter.code })
  return tell_death(self, s, id, row, letter)
end

-- An attempt has ended: delivered, due again, or dead.
local function settle(self, s, id, row, letter, result)
  if s.rows[id] ~= row or row.ended then return end -- dropped meanwhile, another may have its id
  if result.ok then
    s.told.delivered, row.owes = s.told.delivered + 1, "delivery"
    return tell_delivery(self, s, id, row, letter)
  end
  letter.error, letter.code, letter.status = result.error, result.code, result.status
  if not result.again or letter.attempts > self.o.retries then
    return bury(self, s, id, row, letter)
  end
  local pause = result.asked or retry.pause(letter.attempts, self.o.backoff, self.o.backoff_max)
  pause = math.max(pause, PAUSE_MIN)
  s.told.retried = s.told.retried + 1
  letter.due = sluice.time() + pause
  local at = sluice.now() + pause
  self:note(id, row, letter)
  self:wait(s, row, at)
end

local function step(self, s, id, row)
  if row.ended then return self:delete(s, id, row) end
  local letter = self:read(id, row)
  if not letter then return self:forget(s, id, row) end
  if row.owes == "delivery" then return tell_delivery(self, s, id, row, letter) end
  if row.owes then return tell_death(self, s, id, row, letter) end
  letter.attempts, letter.died = letter.attempts + 1, nil
  return settle(self, s, id, row, letter, letters.attempt(self.o, letter))
end

-- Go on with one, in a coroutine that a reload may close: then it is due again at once. So it is
-- when it was replayed while its death was told.
local function work(self, s, id, row)
  local done = false
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    queue.release(s.queue, row)
    if s.rows[id] ~= row or done and (row.dead or row.at > sluice.now()) then return end
    pcall(self.wait, self, s, row, sluice.now() + (problem and NOTE_SECONDS or 0))
  end })
  step(self, s, id, row)
  done = true
end

-- Whether a letter that was ready still is: it may have been dropped, and come again.
local function is_ready(row)
  return row and row.queued and not row.flying and not row.saving
    and (row.ended or row.owes or not row.dead)
end

--- Begin what is ready, as many as may be under way.
function delivery.kick(self, s)
  while true do
    local id = queue.take(s.queue, self.o.concurrency)
    if not id then return end
    local row = s.rows[id]
    if is_ready(row) then
      queue.hold(s.queue, row)
      local ok = self.lead:spawn(function()
        work(self, s, id, row)
        delivery.kick(self, s)
      end)
      if not ok then return queue.release(s.queue, row) end -- too many coroutines: it stays due
    elseif row then
      row.queued = nil
    end
  end
end

-- When a row is due that nobody looks after, on the monotonic clock; nil: never.
local function due_of(self, row, now, time)
  if row.saving or row.flying or row.queued then return nil end
  if row.ended or row.owes or not row.dead then return row.at end
  return now + row.died + self.o.keep - time
end

--- Begin what is due, drop what was kept for long enough, and come back for the next.
function delivery.sweep(self)
  if not self.lead:will_have_book() then return end
  local s, now, time = self:ready(), sluice.now(), sluice.time()
  local next_row, next_at
  s.next = nil
  for id, row in pairs(s.rows) do
    local at = due_of(self, row, now, time)
    if at and at <= now then
      if row.dead and not (row.ended or row.owes) then
        s.told.dropped, row.ended = s.told.dropped + 1, true
      end
      queue.push(s.queue, id, row)
    elseif at and (not next_at or at < next_at) then
      next_row, next_at = row, at
    end
  end
  if next_row then self:wait(s, next_row, next_at) end
  delivery.kick(self, s)
end

return delivery
