--- How the jobs of sluice.jobs run: each as a task that a reload closes at a checkpoint and begins
--- anew in the new code, at most `concurrency` at a time. In memory: a coroutine for each job that
--- runs.
local book = require("sluice.jobs.book")
local ends = require("sluice.jobs.ends")
local place = require("sluice.jobs.place")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")

local work = {}

local CANCELLED = setmetatable({}, { __tostring = function() return "the job is cancelled" end })
local TURN_SECONDS = 0.01

work.CANCELLED = CANCELLED

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
  local trace, places
  local ok, result, message, code = xpcall(fn, function(problem)
    if problem ~= CANCELLED then
      trace, places = debug.traceback(tostring(problem), 2), place.all(2)
    end
    return problem
  end, job, args)
  if ok then
    ends.succeed(self, row, result, message)
  elseif result ~= CANCELLED then
    ends.fail(self, row, result, trace, places)
  end
  return ok, result, message, code
end

--- Do a job in the coroutine that asks for it, as its own function does.
-- @return what fn returned; or nil, message, code when it is cancelled. What fn raises is raised
function work.attend(self, row, fn)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    row.running = nil
    if not row.outcome then ends.fail(self, row, problem or "it was closed before its end") end
  end })
  telling.note(self, row)
  local ok, result, message, code = call(self, row, fn, self:_job(row))
  if row.cancel then ends.decide(self, row) end
  ends.settle(self, row.id) -- before the answer
  if row.cancel then return nil, ("job '%s' was cancelled"):format(row.id), "ECONFLICT" end
  if not ok then error(result, 0) end
  return result, message, code
end

-- Run what a kind does. Guarded by a <close> variable, since a job that is ended for computing too
-- long, or closed, comes to no line behind this.
local function run_guarded(self, row, fn, job, args)
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    row.running = nil
    if problem ~= nil and not row.outcome then ends.fail(self, row, problem) end
    if row.cancel then ends.decide(self, row) end
    if row.outcome then land(self, row) end -- else a reload closes it: its task begins anew
  end })
  while true do
    local ok, _, code = self.book:save_work(row) -- how often it began is known before it begins
    if ok then break end
    ends.complain(self, "it cannot begin", code)
    sluice.sleep(1)
  end
  if row.cancel then return end
  telling.note(self, row)
  call(self, row, fn, job, args)
end

-- It ran, and waits for a place, or for its kind, once more.
local function wait_again(self, row)
  if row.status ~= "running" or row.outcome then return end
  row.status = "queued"
  telling.note(self, row)
end

--- What the task of a job does.
function work.run(self, id)
  -- who takes the book over starts what waits
  if not self.away.lead:will_have_book() then return end
  local s = self.book:ready()
  local row = s.rows[id]
  if not row or row.running or not row.flying then return end
  local fn = self.book.kinds[row.kind]
  if row.outcome or row.cancel or not fn then
    if row.cancel then ends.decide(self, row) end
    land(self, row)
    if not fn then
      wait_again(self, row)
      self.book:requeue()
    end
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
      row.flying, s.flying = true, s.flying + 1 -- in a cluster it may run before this goes on
      local armed = self.app:after(0, self.o.name .. ".run", { id = id },
        { id = ends.task_of(self, "run", id) })
      if not armed then
        if row.flying then row.flying, s.flying = nil, s.flying - 1 end
        return self.book:requeue()
      end
    end
  end
end

--- A job that was cancelled a while ago is closed where it waits.
function work.stop(self, data)
  if not self.away.lead:will_have_book() then return end
  local row = self.book:ready().rows[data.id]
  if row and row.attended and row.cancel then ends.decide(self, row) end -- it goes on for nobody
  if row and row.flying and row.cancel and not row.outcome then
    self.app:cancel(ends.task_of(self, "run", data.id), { running = true })
    if row.flying and not row.running then -- it had not begun
      ends.decide(self, row)
      land(self, row)
    end
  end
end

-- ---- After a start, after a reload, and once a second ------------------------------------------

--- What the store had is told again, and what was cancelled is at its end: what goes on at once,
-- what has ended by work.tell_ended.
function work.take_over(self, s)
  for _, row in pairs(s.rows) do
    if row.ended then
      row.outcome = { status = row.status }
      row.untold = not (self.away:is_shared() and telling.has_end(self, row)) or nil
    elseif row.holder and not row.cancel and self.away:holds(row) then
      self.away:catch_up(row)
      row.running, row.status = true, "running"
    elseif row.cancel or row.attended then
      if row.attended then self.away:catch_up(row) end
      ends.decide(self, row, { status = "failed", error = "the server ended before it" })
    else
      telling.say(self, row)
    end
  end
end

--- Tell the end of a job that the store had, unless that is done.
function work.tell_again(self, row)
  if not row.untold then return end
  row.untold = nil
  if not telling.end_of(self, row) then self.book.state().unsettled[row.id] = true end
end

--- Tell what had ended, in that order, and let others run in between.
function work.tell_ended(self)
  local s = self.book:ready()
  local turn = sluice.now()
  for i = s.ended.first, s.ended.last do
    local item = s.ended[i] -- nil: it was forgotten meanwhile
    local row = item and s.rows[item.id]
    if row then work.tell_again(self, row) end
    if sluice.now() - turn > TURN_SECONDS then
      sluice.sleep(0)
      turn = sluice.now()
    end
  end
end

--- After a reload: begin what the code before could not, because it had no jobs.
function work.adopt(self, swap)
  local s = self.book:ready()
  if s.generation ~= swap.previous then
    for id, row in pairs(s.rows) do
      if row.flying and not row.running then
        self.app:cancel(ends.task_of(self, "run", id))
        row.flying, s.flying = nil, s.flying - 1
        wait_again(self, row)
      end
    end
    self.book:requeue()
  end
  s.generation = swap.generation
  work.kick(self)
end

--- Once a second: what could not be saved or told, and what is to be forgotten.
function work.sweep(self)
  if not self.away:has_book() then return end
  local s = self.book:ready()
  for _, row in pairs(s.rows) do
    local is_open = not (row.unsaved or row.outcome or row.ended)
    if row.holder and is_open and not self.away:holds(row) then
      ends.fail(self, row, "its node ended before it")
    end
  end
  for id in pairs(s.unsettled) do ends.settle_soon(self, id) end
  self.book:forget()
  work.kick(self)
end

return work
