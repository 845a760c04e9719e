--- How the jobs of sluice.jobs end. What becomes of a job is decided once, in memory: whatever
--- comes first, the end of its function, an error or a cancel that is on the disk. That is saved,
--- and then told. In memory: an outcome for each job whose end is not saved yet.
local book = require("sluice.jobs.book")
local place = require("sluice.jobs.place")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")

local ends = {}

local STOP_SECONDS = 5 -- until a cancelled job that reaches no checkpoint is closed
local RESULT_MAX, ERROR_MAX = 1 << 20, 500
local QUIET_SECONDS = 60
local END_SECONDS, END_LOOK = 2, 0.02

--- The id of a task of a job.
function ends.task_of(self, what, id) return ("%s.%s/%s"):format(self.o.name, what, id) end

-- ---- The end -----------------------------------------------------------------------------------

--- Settle a job in a task of its own.
function ends.settle_soon(self, id)
  local name = self.o.name .. ".settle"
  self.app:after(0, name, { id = id }, { id = ends.task_of(self, "settle", id) })
end

--- Say what became of a job. The first one counts, and a cancelled one is cancelled.
function ends.decide(self, row, outcome)
  if row.outcome or row.ended then return end
  if row.cancel then outcome = { status = "cancelled" } end
  self.book:change(row, { outcome = outcome })
  self.book.state().unsettled[row.id] = true
  ends.settle_soon(self, row.id)
end

-- The first line of what was raised, without its place: that is in the log.
local function short(problem, places)
  if type(problem) == "table" then problem = problem.message end
  if type(problem) ~= "string" and type(problem) ~= "number" then problem = "it failed" end
  local text = place.strip(tostring(problem), places):match("[^\n]*")
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  return #text <= ERROR_MAX and text or text:sub(1, utf8.offset(text, 0, ERROR_MAX + 1) - 1)
end

--- A job has failed.
function ends.fail(self, row, problem, trace, places)
  local text = short(problem, places)
  sluice.log.error(("%s: job '%s' of kind '%s' failed: %s"):format(self.o.name, row.id, row.kind,
    trace or text))
  ends.decide(self, row, { status = "failed", error = text })
end

--- The function of a job has returned.
function ends.succeed(self, row, result, message)
  if result == nil and type(message) == "string" then return ends.fail(self, row, message) end
  if result == nil then return ends.decide(self, row, { status = "success" }) end
  local text, why = telling.text(result, RESULT_MAX)
  if not text then return ends.fail(self, row, "what it returned cannot be kept: " .. why) end
  ends.decide(self, row, { status = "success", result = text })
end

-- A row as it is when it has ended.
local function ended_row(row)
  local copy, outcome = {}, row.outcome
  for name, value in pairs(row) do copy[name] = value end
  copy.status, copy.error, copy.result = outcome.status, outcome.error, outcome.result
  copy.ended, copy.saved = sluice.time(), nil
  if outcome.status == "success" then copy.percentage = 100 end
  return copy
end

--- The disk does not take what it is to remember: the log says so, now and then.
function ends.complain(self, message, code)
  local now = sluice.now()
  if now - (self.complained or -QUIET_SECONDS) < QUIET_SECONDS then return end
  self.complained = now
  sluice.log.error(("%s: the end of a job waits: %s"):format(self.o.name, message), { code = code })
end

-- Only what a function returned may be left out for want of room.
local function save_end(self, row)
  self.book:forget()
  local copy = ended_row(row)
  local ok, message, code = self.book:save(copy)
  if not ok then
    if row.outcome.result and (not telling.LATER[code] or code == "EFULL") then
      self.book:change(row, { outcome = { status = "failed",
        error = "what it returned has no room in the store" } })
    end
    ends.complain(self, message, code)
    return false
  end
  local values = {}
  for _, name in ipairs({ "status", "error", "result", "ended", "percentage" }) do
    values[name] = copy[name]
  end
  self.book:close(row, values)
  return true
end

--- Save and tell the end of a job. What fails is tried again by ends.sweep.
function ends.settle(self, id)
  if not self.away.lead:will_have_book() then return end
  local s = self.book:ready()
  local row = s.rows[id]
  if not row or not row.outcome or row.settling or not s.unsettled[id] then return end
  row.settling = true
  local _ <close> = setmetatable({}, { __close = function() row.settling = nil end })
  if not row.ended and not save_end(self, row) then return end
  if telling.finish(self, row) then s.unsettled[id] = nil end
end

-- ---- Cancelling --------------------------------------------------------------------------------

-- An end is being saved: wait until it is certain.
local function wait_for_end(row)
  for _ = 1, END_SECONDS / END_LOOK do
    if row.ended then return true end
    sluice.sleep(END_LOOK)
  end
  return false
end

-- What a cancel of a job says that has, or is about to have, an end.
local function answer_ended(row)
  if not row.ended and not wait_for_end(row) then
    return nil, ("job '%s' has ended, which the disk does not take"):format(row.id), "EBUSY"
  end
  return nil, ("job '%s' has ended already"):format(row.id), "ECONFLICT"
end

-- Nothing is cancelled before the disk has it: a cancel that is refused changes nothing.
local function save_cancel(self, row)
  row.cancelling = true
  local _ <close> = setmetatable({}, { __close = function() row.cancelling = nil end })
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  copy.cancel = true
  return self.book:save(copy)
end

--- End a job: at its next progress, step or checkpoint, or soon where it waits. Waits for the disk.
function ends.cancel(self, row)
  book.wait_for_cancel(row)
  if row.cancel then return true end
  if row.outcome or row.ended then return answer_ended(row) end
  local ok, message, code = save_cancel(self, row)
  if not ok then return nil, message, code end
  if row.outcome or row.ended then return answer_ended(row) end -- that came first
  row.cancel = true
  if row.flying or row.running then
    self.app:after(STOP_SECONDS, self.o.name .. ".stop", { id = row.id, attempt = row.attempt },
      { id = ends.task_of(self, "stop", row.id) })
  else
    ends.decide(self, row)
  end
  return true
end

return ends
