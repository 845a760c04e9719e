--- How the letters of an outbox are delivered: by coroutines, as many at once as the queue lets,
--- and what comes of an attempt. Keeps nothing in memory beside the state of sluice.outbox.book.
local letters = require("sluice.outbox.letters")
local queue = require("sluice.outbox.queue")
local retry = require("sluice.out.retry")
local sluice = require("sluice")

local delivery = {}

local PAUSE_MIN = 1

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
    if row.dead and not row.ended and (not at or row.died < at) then oldest, at = id, row.died end
  end
  if not oldest then return end
  sluice.log.warn(("%s: more than %d dead letters: the oldest is dropped"):format(self.o.name,
    self.o.max_dead), { id = oldest })
  s.told.dropped = s.told.dropped + 1
  self:delete(s, oldest, s.rows[oldest])
end

local function bury(self, s, id, row, letter)
  letter.died = sluice.time()
  local ok, message = self:write(id, row, letter)
  if not ok then
    sluice.log.error(("%s: a dead letter could not be kept: %s"):format(self.o.name, message))
  end
  if s.rows[id] ~= row or row.dead or row.ended then return end
  row.dead, row.died, s.dead, s.told.died = true, letter.died, s.dead + 1, s.told.died + 1
  sluice.log.warn(("%s: a %s to %s is given up after %d attempts: %s"):format(self.o.name,
    letter.via, letter.target, letter.attempts, letter.error), { id = id, code = letter.code })
  self.app:publish(self.o.name, "dead-letter", { id = id, via = letter.via,
    target = letter.target, attempts = letter.attempts, error = letter.error, code = letter.code,
    timestamp = sluice.timestamp() })
  tell_end(self, letter, false)
  if s.dead > self.o.max_dead then drop_oldest_dead(self, s) end
end

-- An attempt has ended: delivered, due again, or dead.
local function settle(self, s, id, row, letter, result)
  if result.ok then
    s.told.delivered = s.told.delivered + 1
    tell_end(self, letter, true)
    return self:delete(s, id, row)
  end
  if s.rows[id] ~= row or row.ended then return end -- dropped meanwhile
  letter.error, letter.code, letter.status = result.error, result.code, result.status
  if not result.again or letter.attempts > self.o.retries then
    return bury(self, s, id, row, letter)
  end
  local pause = result.asked or retry.pause(letter.attempts, self.o.backoff, self.o.backoff_max)
  pause = math.max(pause, PAUSE_MIN)
  s.told.retried = s.told.retried + 1
  letter.due = sluice.time() + pause
  local ok, message = self:write(id, row, letter)
  if not ok then
    sluice.log.error(("%s: an attempt could not be noted: %s"):format(self.o.name, message))
  end
  self:wait(s, row, sluice.now() + pause)
end

-- Deliver one, in a coroutine that a reload may close: then it is due again at once.
local function work(self, s, id, row)
  local _ <close> = setmetatable({}, { __close = function()
    queue.release(s.queue, row)
    if s.rows[id] == row and not row.settled then pcall(self.wait, self, s, row, sluice.now()) end
    row.settled = nil
  end })
  if row.ended then
    row.settled = true
    return self:delete(s, id, row)
  end
  local letter = self:read(id, row)
  if not letter then
    row.settled = true
    return self:forget(s, id, row)
  end
  letter.attempts = letter.attempts + 1
  local result = letters.attempt(self.o, letter)
  row.settled = true
  settle(self, s, id, row, letter, result)
end

-- Whether a letter that was ready still is: it may have been dropped, and come again.
local function is_ready(row)
  return row and row.queued and not row.flying and not row.saving and (row.ended or not row.dead)
end

--- Begin what is ready, as many as may be under way.
function delivery.kick(self, s)
  while true do
    local id = queue.take(s.queue, self.o.concurrency)
    if not id then return end
    local row = s.rows[id]
    if is_ready(row) then
      queue.hold(s.queue, row)
      local ok = self.app:spawn(function()
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
  if row.ended or not row.dead then return row.at end
  return now + row.died + self.o.keep - time
end

--- Begin what is due, drop what was kept for long enough, and come back for the next.
function delivery.sweep(self)
  local s, now, time = self:ready(), sluice.now(), sluice.time()
  local next_row, next_at
  s.next = nil
  for id, row in pairs(s.rows) do
    local at = due_of(self, row, now, time)
    if at and at <= now then
      if row.dead and not row.ended then s.told.dropped, row.ended = s.told.dropped + 1, true end
      queue.push(s.queue, id, row)
    elseif at and (not next_at or at < next_at) then
      next_row, next_at = row, at
    end
  end
  if next_row then self:wait(s, next_row, next_at) end
  delivery.kick(self, s)
end

return delivery
