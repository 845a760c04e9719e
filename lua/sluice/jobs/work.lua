--- How the jobs of sluice.jobs run: each as a task that a reload closes at a checkpoint and begins
--- anew in the new code, at most `concurrency` at a time. What becomes of a job is decided once, in
--- memory: whatever comes first, the end of its function, an error or jobs:cancel. That is saved,
--- and then told. In memory: a coroutine for each job that runs.
local book = require("sluice.jobs.book")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")

local work = {}

local STOP_SECONDS = 5 -- until a cancelled job that reaches no checkpoint is closed
local RESULT_MAX, ERROR_MAX = 1 << 20, 500
local CANCELLED = setmetatable({}, { __tostring = function() return "the job is cancelled" end })
local QUIET_SECONDS = 60
local END_SECONDS, END_LOOK = 2, 0.02

work.CANCELLED = CANCELLED

local function task_of(self, what, id) return ("%s.%s/%s"):format(self.o.name, what, id) end

-- ---- The end -----------------------------------------------------------------------------------

local function settle_soon(self, id)
  self.app:after(0, self.o.name .. ".settle", { id = id }, { id = task_of(self, "settle", id) })
end

--- Say what became of a job. The first one counts, and a cancelled one is cancelled.
function work.decide(self, row, outcome)
  if row.outcome or row.ended then return end
  if row.cancel then outcome = { status = "cancelled" } end
  row.outcome = outcome
  self.book.state().unsettled[row.id] = true
  settle_soon(self, row.id)
end

-- The first line of what was raised, without its place: that is in the log.
local function short(problem)
  if type(problem) == "table" then problem = problem.message end
  if type(problem) ~= "string" and type(problem) ~= "number" then problem = "it failed" end
  local text = tostring(problem):match("[^\n]*"):gsub("^[^%s:]+:%d+: ", "")
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  return #text <= ERROR_MAX and text or text:sub(1, utf8.offset(text, 0, ERROR_MAX + 1) - 1)
end

local function fail(self, row, problem, trace)
  sluice.log.error(("%s: job '%s' of kind '%s' failed: %s"):format(self.o.name, row.id, row.kind,
    trace or short(problem)))
  work.decide(self, row, { status = "failed", error = short(problem) })
end

local function succeed(self, row, result, message)
  if result == nil and type(message) == "string" then return fail(self, row, message) end
  if result == nil then return work.decide(self, row, { status = "success" }) end
  local text, why = telling.text(result, RESULT_MAX)
  if not text then return fail(self, row, "what it returned cannot be kept: " .. why) end
  work.decide(self, row, { status = "success", result = text })
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

local function complain(self, message, code)
  local now = sluice.now()
  if now - (self.complained or -QUIET_SECONDS) < QUIET_SECONDS then return end
  self.complained = now
  sluice.log.error(("%s: the end of a job waits: %s"):format(self.o.name, message), { code = code })
end

local function save_end(self, row)
  local copy = ended_row(row)
  local ok, message, code = self.book:save(copy)
  if not ok then
    if row.outcome.result and not telling.LATER[code] or code == "EFULL" then
      row.outcome = { status = "failed", error = "what it returned has no room in the store" }
    end
    complain(self, message, code)
    return false
  end
  for _, name in ipairs({ "status", "error", "result", "ended", "percentage" }) do
    row[name] = copy[name]
  end
  self.book:close(row)
  return true
end

--- Save and tell the end of a job. What fails is tried again by work.sweep.
function work.settle(self, id)
  local s = self.book:ready()
  local row = s.rows[id]
  if not row or not row.outcome or row.settling or not s.unsettled[id] then return end
  row.settling = true
  local _ <close> = setmetatable({}, { __close = function() row.settling = nil end })
  if not row.ended and not save_end(self, row) then return end
  if telling.finish(self, row) then s.unsettled[id] = nil end
end

-- ---- Running -----------------------------------------------------------------------------------

local function land(self, row)
  local s = self.book.state()
  if row.flying then s.flying = s.flying - 1 end
  row.flying = nil
  work.kick(self)
end

-- Call the function of a job, and decide what it says became of it.
-- @return as xpcall
local function call(self, row, fn, job, args)
  local trace
  local ok, result, message, code = xpcall(fn, function(problem)
    if problem ~= CANCELLED then trace = debug.traceback(tostring(problem), 2) end
    return problem
  end, job, args)
  if ok then
    succeed(self, row, result, message)
  elseif result ~= CANCELLED then
    fail(self, row, result, trace)
  end
  return ok, result, message, code
end

--- Do a job in the coroutine that asks for it, as its own function does.
-- @return what fn returned; or nil, message, code when it is cancelled. What fn raises is raised
function work.attend(self, row, fn)
  row.running, row.status, row.attempt = true, "running", 1
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    row.running = nil
    if not row.outcome then fail(self, row, problem or "it was closed before its end") end
  end })
  telling.note(self, row)
  local ok, result, message, code = call(self, row, fn, self:_job(row))
  if row.cancel then work.decide(self, row) end
  work.settle(self, row.id) -- before the answer
  if row.cancel then return nil, ("job '%s' was cancelled"):format(row.id), "ECONFLICT" end
  if not ok then error(result, 0) end
  return result, message, code
end

-- Run what a kind does. Guarded by a <close> variable, since a job that is ended for computing too
-- long, or closed, comes to no line behind this.
local function run_guarded(self, row, fn, job, args)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    row.running = nil
    if problem ~= nil and not row.outcome then fail(self, row, problem) end
    if row.cancel then work.decide(self, row) end
    if row.outcome then land(self, row) end -- else a reload closes it: its task begins anew
  end })
  while true do
    local ok, _, code = self.book:save(row) -- how often it began is known before it begins
    if ok then break end
    complain(self, "it cannot begin", code)
    sluice.sleep(1)
  end
  if row.cancel then return end
  telling.note(self, row)
  call(self, row, fn, job, args)
end

--- What the task of a job does.
function work.run(self, id)
  local s = self.book:ready()
  local row = s.rows[id]
  if not row or row.running or not row.flying then return end
  local fn = self.book.kinds[row.kind]
  if row.outcome or row.cancel or not fn then
    if row.cancel then work.decide(self, row) end
    if not fn then row.status = "queued" end
    land(self, row)
    if not fn then self.book:requeue() end
    return
  end
  row.running, row.status, row.attempt = true, "running", row.attempt + 1
  run_guarded(self, row, fn, self:_job(row), sluice.json.decode(s.args[id]))
end

--- Start what waits while there are places.
function work.kick(self)
  local s = self.book.state()
  while s.flying < self.o.concurrency do
    local id = book.pop(s)
    if not id then return end
    local row = s.rows[id]
    if row and s.kinds[row.kind] and not (row.flying or row.outcome or row.unsaved) then
      local armed = self.app:after(0, self.o.name .. ".run", { id = id },
        { id = task_of(self, "run", id) })
      if not armed then return self.book:requeue() end
      row.flying, s.flying = true, s.flying + 1
    end
  end
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

--- End a job: at its next progress, step or checkpoint, or soon where it waits. Waits for the disk.
function work.cancel(self, row)
  if row.outcome or row.ended then
    if not row.ended and not wait_for_end(row) then
      return nil, ("job '%s' has ended, which the disk does not take"):format(row.id), "EBUSY"
    elseif row.status == "cancelled" then
      return true
    end
    return nil, ("job '%s' has ended already"):format(row.id), "ECONFLICT"
  end
  row.cancel = true
  if row.flying or row.running then
    self.app:after(STOP_SECONDS, self.o.name .. ".stop", { id = row.id, attempt = row.attempt },
      { id = task_of(self, "stop", row.id) })
  else
    work.decide(self, row)
  end
  return self.book:save(row)
end

--- A job that was cancelled a while ago is closed where it waits.
function work.stop(self, data)
  local row = self.book:ready().rows[data.id]
  if row and row.attended and row.cancel then work.decide(self, row) end -- it goes on for nobody
  if row and row.flying and row.cancel and not row.outcome then
    self.app:cancel(task_of(self, "run", data.id), { running = true })
    if row.flying and not row.running then -- it had not begun
      work.decide(self, row)
      land(self, row)
    end
  end
end

-- ---- After a start, after a reload, and once a second ------------------------------------------

--- What the store had: it is told again, and what was cancelled is at its end.
function work.take_over(self, s)
  for _, row in pairs(s.rows) do
    if row.ended then
      row.outcome = { status = row.status }
      s.unsettled[row.id] = true
      if telling.finish(self, row) then s.unsettled[row.id] = nil end
    elseif row.cancel or row.attended then
      work.decide(self, row, { status = "failed", error = "the server ended before it" })
    else
      telling.say(self, row)
    end
  end
end

--- After a reload: begin what the code before could not, because it had no jobs.
function work.adopt(self, swap)
  local s = self.book:ready()
  if s.generation ~= swap.previous then
    for id, row in pairs(s.rows) do
      if row.flying and not row.running then
        self.app:cancel(task_of(self, "run", id))
        row.flying, s.flying = nil, s.flying - 1
      end
    end
    self.book:requeue()
  end
  s.generation = swap.generation
  work.kick(self)
end

--- Once a second: what could not be saved or told, and what is to be forgotten.
function work.sweep(self)
  local s = self.book:ready()
  for id in pairs(s.unsettled) do settle_soon(self, id) end
  self.book:forget()
  work.kick(self)
end

return work
