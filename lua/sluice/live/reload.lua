--- Reloading: load beside the live generation, check, migrate, swap, retire; or leave everything
-- as it was and report why. Requests are served one after the other, outside of any coroutine;
-- those that come while one waits are answered by the same reload. In memory: the sources of the
-- last three revisions, and counters.
local arrays = require("sluice.base.arrays")
local certificates = require("sluice.live.certificates")
local core = require("sluice.core")
local difference = require("sluice.live.difference")
local failure = require("sluice.base.failure")
local generation = require("sluice.live.generation")
local hooks = require("sluice.app.hooks")
local losses = require("sluice.live.losses")

local reload = {}

---@class sluice.Reloader
local Reloader = {}
Reloader.__index = Reloader

local REVISIONS_MAX = 3
local QUEUE_MAX = 64

--- Make the reloader of a runtime whose first generation is live.
-- @tparam sluice.Runtime runtime
-- @tparam string|nil path the app's file; nil for an app object, which has no source
-- @treturn sluice.Reloader
function reload.new(runtime, path)
  local live = runtime.generation
  return setmetatable({ runtime = runtime, path = path, queue = {}, entry = nil,
    revisions = { live.sources }, tried = live.sources, attempt = nil, touched = {},
    rolled_back = false, late = false, refused = false,
    totals = { ok = { swap = 0 }, failed = {} }, seconds = 0, last = nil }, Reloader)
end

--- Ask for a reload.
-- @tparam string kind "reload", "dry_run" or "rollback"
-- @tparam[opt] function done called with the outcome
-- @treturn boolean|nil true, or nil, message, code
function Reloader:request(kind, done)
  for _, job in ipairs(self.queue) do
    if job.kind == kind and kind ~= "rollback" then
      job[#job + 1] = done
      self:kick()
      return true
    end
  end
  if #self.queue >= QUEUE_MAX then return nil, "too many reloads wait", "EBUSY" end
  table.insert(self.queue, { kind = kind, done })
  self:kick()
  return true
end

--- Go on with what waits.
function Reloader:kick()
  if self.entry or #self.queue == 0 then return end
  self.entry = self.runtime.scheduler:at(core.now(), function()
    self.entry = nil
    self:step()
  end)
end

-- ---- One attempt -------------------------------------------------------------------------

local function count(self, result, phase, seconds)
  local row = self.totals[result]
  row[phase] = (row[phase] or 0) + 1
  self.seconds = seconds
end

-- Report a failure: the log has all that is known, and nothing else has changed.
local function fail(self, kind, problem, seconds)
  local live = self.runtime.generation
  local file, line = problem.message:match("^([^\n:]+):(%d+): ")
  local outcome = { ok = false, kind = kind, phase = problem.phase, message = problem.message,
    file = file, line = math.tointeger(tonumber(line)), traceback = problem.traceback,
    generation = live.id, seconds = seconds }
  if kind == "dry_run" then return outcome end
  count(self, "failed", problem.phase, seconds)
  self.refused = problem.phase == "store"
  core.log("error", ("%s failed in %s: %s; generation %d keeps serving"):format(kind, problem.phase,
    problem.message, live.id), { phase = problem.phase, file = file, line = outcome.line,
    traceback = problem.traceback, generation = live.id })
  self.runtime.recorder:reload(outcome)
  hooks.fire(self.runtime, "error", { where = "reload", phase = problem.phase, file = file,
    message = problem.message, traceback = problem.traceback, line = outcome.line,
    generation = live.id })
  return outcome
end

local function trouble(phase, message)
  local problem = failure.late(message)
  problem.phase = phase
  return problem
end

-- The sources to load: nil for those on the disk.
local function sources_for(self, kind)
  if not self.path then
    return nil, trouble("load", "this app was made in a program and has no file to reload")
  end
  if self.runtime.stopping then return nil, trouble("load", "the server is stopping") end
  if kind ~= "rollback" then return self.given end -- nil except in a test
  local given = self.revisions[#self.revisions - 1]
  if given then return given end
  return nil, trouble("load", "there is no earlier revision to go back to")
end

local function prepare(self, kind)
  local live = self.runtime.generation
  local given, problem = sources_for(self, kind)
  if problem then return nil, problem end
  local loaded, why, tried = generation.load(live.id + 1, self.path, nil, given)
  if kind ~= "dry_run" then -- after that what was saved is still to be loaded
    self.tried, self.attempt = tried.sources, { files = tried.files, missing = tried.missing,
      statics = tried.statics }
  end
  if not loaded then return nil, why end
  return self.runtime:prepare(loaded)
end

-- Keep the sources, the newest last; a reload that brought nothing new takes no place.
local function remember(self, kind, sources)
  if kind == "rollback" then return table.remove(self.revisions) end
  if difference.is_none(self.revisions[#self.revisions], sources) then return end
  table.insert(self.revisions, sources)
  if #self.revisions > REVISIONS_MAX then table.remove(self.revisions, 1) end
end

local function succeed(self, outcome, prepared, began)
  local runtime, live = self.runtime, self.runtime.generation
  local before = core.now()
  runtime:install(prepared)
  runtime:adopt()
  outcome.swap_seconds = core.now() - before
  self.refused = false
  remember(self, outcome.kind, prepared.generation.sources)
  self.rolled_back = outcome.kind == "rollback" -- the files on the disk are not the ones to load
  outcome.generation, outcome.previous = prepared.generation.id, live.id
  outcome.seconds = core.now() - began
  count(self, "ok", "swap", outcome.seconds)
  core.log("info", ("%s #%d in %.1f ms: %s"):format(outcome.kind, outcome.generation,
    outcome.seconds * 1000, difference.summary(outcome.difference, outcome.files,
      outcome.certificates)))
  runtime.recorder:reload(outcome)
  for _, note in ipairs(outcome.notes) do core.log("warn", note) end
  losses.note(outcome.notes, outcome.losses, true) -- the store has logged what it deleted
  outcome.losses = nil
  local files = arrays.mark(table.move(outcome.files, 1, #outcome.files, 1, {}))
  hooks.fire(runtime, "reload", { generation = outcome.generation, previous = live.id,
    files = files })
  return outcome
end

-- A dry run is no reload.
local function tell_manager(self, kind, what)
  local manager = self.runtime.manager
  if manager and kind ~= "dry_run" then manager[what](manager) end
end

local function conclude(self, kind, outcome, problem, began)
  outcome = outcome or fail(self, kind, problem, core.now() - began)
  if kind ~= "dry_run" then
    self.last, self.touched = outcome, {}
    self.runtime:files_changed()
  end
  tell_manager(self, kind, "reloaded")
  return outcome
end

-- What is answered while the disk does not answer.
local function pending(self, kind, message)
  return { ok = false, kind = kind, phase = "store", code = "ETIMEOUT", waits = true,
    message = message, generation = self.runtime.generation.id }
end

-- The disk does not answer: who asked is told, and the reload waits on.
local function be_late(self, kind)
  local outcome = pending(self, kind, ("the disk does not answer: what is durable changes, and "
    .. "the %s comes into force when the disk has taken that"):format(kind))
  self.late, self.last = true, outcome
  core.log("warn", ("%s; until then generation %d serves, and events of channels that become "
    .. "durable wait"):format(outcome.message, outcome.generation))
  return outcome
end

-- The store has answered: then the configuration is in force, or nothing has changed.
local function after_store(self, outcome, prepared, began, stored, why)
  local problem
  self.late = false
  if not stored then
    problem = trouble("store", "what is durable changes, and the store does not take it: " .. why)
  elseif self.runtime.stopping then
    problem = trouble("store", "the server is stopping")
  else
    self.runtime:migrate_again(prepared)
    outcome = succeed(self, outcome, prepared, began)
  end
  return conclude(self, outcome.kind, not problem and outcome, problem, began)
end

-- Make it current: the outcome; or nil while the store is asked, and `later` gets it.
local function go_live(self, outcome, prepared, began, later)
  local answer, message, code = self.runtime:configure(prepared)
  local problem
  if not answer then
    problem = trouble(code == "ESTORE" and "store" or "check", message)
  elseif answer == true then
    outcome = succeed(self, outcome, prepared, began)
  else
    self.runtime.stored:watch(answer, function(stored, why)
      later(after_store, outcome, prepared, began, stored, why)
    end, function() later(be_late, outcome.kind) end)
    return nil
  end
  return conclude(self, outcome.kind, not problem and outcome, problem, began)
end

--- Try once. Errors of the app's code are in the outcome, never raised.
-- @tparam string kind
-- @tparam function later called with a function that gives the outcome, and its arguments
-- @treturn table|nil nil: it comes later; or the outcome { ok, kind, generation, previous,
--   seconds, swap_seconds, difference, files, notes }
--   or { ok = false, kind, phase, message, file, line, traceback, generation, seconds }
--   or, while the disk does not answer, { ok = false, kind, phase, code = "ETIMEOUT",
--   waits = true, message, generation }: it comes into force later, or the log says why not
function Reloader:perform(kind, later)
  local began, live = core.now(), self.runtime.generation
  tell_manager(self, kind, "reloading")
  local read = kind ~= "dry_run" and certificates.read_again(self.runtime) or nil
  local outcome, prepared, problem = nil, prepare(self, kind)
  if prepared then
    outcome = { ok = true, kind = kind, generation = live.id, notes = arrays.mark(prepared.notes),
      certificates = read,
      files = difference.files(live.root, self.touched, live.sources, prepared.generation.sources),
      difference = difference.between(live.description, prepared.generation.description) }
    for _, kept in ipairs({ self.runtime.tasks, self.runtime.stores }) do
      for _, text in ipairs(kept:orphans(prepared.generation)) do
        table.insert(outcome.notes, text)
      end
    end
    outcome.losses = losses.find(self.runtime.server, prepared.generation.policies)
    outcome.seconds = core.now() - began
    if kind ~= "dry_run" then return go_live(self, outcome, prepared, began, later) end
    losses.note(outcome.notes, outcome.losses, false)
    outcome.losses = nil
  end
  return conclude(self, kind, outcome, problem, began)
end

-- Each is answered once: what comes after that is in the log.
local function answer(job, outcome)
  for i = 1, #job do
    local done = job[i]
    job[i] = nil
    done(outcome)
  end
end

-- The job that can be done now: while a generation retires, or the store is asked, only a dry
-- run, which makes none.
local function next_job(self)
  local waits = self.runtime.retirement:waits_for() or self.runtime.stored:waits_for()
  for i, job in ipairs(self.queue) do
    if not waits or job.kind == "dry_run" then return table.remove(self.queue, i) end
    if not job.reported then core.log("info", "reload waits for " .. waits) end
    job.reported = true
    if self.late then
      answer(job, pending(self, job.kind, ("the disk does not answer: this %s waits for the one "
        .. "before, which changes what is durable"):format(job.kind)))
    end
  end
end

function Reloader:step()
  local job = next_job(self)
  if not job then return end -- what it waits for calls kick
  local function report(fn, ...)
    local ok, outcome = failure.try(fn, self, ...)
    if not ok then -- a mistake in Sluice: the request is answered all the same
      outcome.phase = "swap"
      outcome = fail(self, job.kind, outcome, 0)
    end
    if not outcome then return end
    answer(job, outcome)
    self:kick()
  end
  report(self.perform, job.kind, report)
end

--- The state of reloading, for GET /-/reload.
-- @treturn table plain data
function Reloader:status()
  local live = self.runtime.generation
  local out = self.runtime:figures()
  out.path, out.waiting, out.last = self.path, #self.queue, self.last
  out.registered, out.revisions = live.description, #self.revisions
  return out
end

return reload
