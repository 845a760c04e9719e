--- app:task, app:after, app:at, app:cancel: later work as a name and plain data.
-- What is pending belongs to the runtime; the function that runs is the one that the current
-- generation defines under that name. What is durable is in the store too, from before add returns
-- until its run has ended, so that it runs at least once:
--
--      add ──▶ committed ──▶ pending ──▶ due: running ──▶ ended ──▶ deleted, retried until it is
--                               ▲             │
--                               └─────────────┘ a reload closed it, or the process died
--
-- While a write of an id is under way nothing of that id is armed (base/mirror knows what it has in
-- the end). In memory: one row per pending task, and per durable one that runs.
local core = require("sluice.core")
local defined_tasks = require("sluice.app.defined_tasks")
local json = require("sluice.json")
local mirror = require("sluice.base.mirror")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")

local tasks = { register = defined_tasks.register }

---@class sluice.Tasks
local Tasks = {}
Tasks.__index = Tasks

local AFTER = { id = options.STRING, durable = false, wait = true }
local CANCEL = { wait = true, running = false }
local PENDING_MAX = 100000 -- more are refused: EFULL
local ID_MAX = core.limits.PAIR_KEY_MAX -- bytes of a durable one's id: ETOOBIG
local SECONDS_MAX = 366 * 86400 * 10
local PARKED_SECONDS = 24 * 3600 -- how long a task waits for a generation that defines it
local DELETE_SECONDS = 10 -- until the end of a durable one is written again

--- The tasks of a runtime. `kept` has the durable ones by id, with the writes under way.
function tasks.new(runtime)
  return setmetatable({ runtime = runtime, pending = {}, count = 0, parked = {}, runs = {},
    kept = mirror.new() }, Tasks)
end

local function forget(self, row)
  if self.pending[row.id] ~= row then return false end
  self.pending[row.id] = nil
  self.count = self.count - 1
  self.parked[row] = nil
  if row.entry then self.runtime.scheduler:drop(row.entry) end
  return true
end

local function park(self, row)
  self.parked[row], row.entry = true, nil
  core.log("warn", ("task '%s' is due and this generation does not define it: kept %s")
    :format(row.task, row.durable and "until one does" or "for 24 h"))
  if row.durable then return end
  row.entry = self.runtime.scheduler:at(self.runtime.scheduler.now() + PARKED_SECONDS, function()
    core.log("warn", ("task '%s' was dropped: no generation defined it for 24 h"):format(row.task))
    forget(self, row)
  end)
end

local run

local function arm(self, row)
  row.entry = self.runtime.scheduler:at(row.at, function() run(self, row) end)
  self.pending[row.id] = row
  self.count = self.count + 1
end

-- Whether the store knows an id, or will.
local function is_kept(self, id)
  return self.kept.values[id] ~= nil or self.kept:is_pending(id)
end

local erase

-- What an id has is certain: do what is to be done with it.
local function go_on(self, id)
  local row = self.kept.values[id]
  if not row or row.running or self.kept:is_pending(id) or self.runtime.ended then return end
  if row.ended then
    local scheduler = self.runtime.scheduler
    scheduler:at(scheduler.now() + DELETE_SECONDS, function() erase(self, row) end)
    return
  end
  if not row.durable then self.kept.values[id] = nil end
  arm(self, row)
end

-- Give an id a row, or none: what it had is suspended, and comes back when the store refuses.
local function write(self, id, row, waits, what)
  local put = row and row.durable and row or {}
  local ticket, message, code = self.runtime.server:commit_task(id, put.task, put.text, put.due)
  if not ticket then return nil, message, code end
  local before = self.pending[id]
  if before then
    self.kept.values[id] = before
    forget(self, before)
  end
  local flight = self.kept:begin(id, row)
  local ok
  ok, message, code = self.runtime.stored:finish(ticket, waits, what, function(good)
    self.kept:settle(flight, good)
    go_on(self, id)
  end)
  if ok then return true end
  return nil, message, code
end

-- Delete a durable task that has ended, unless its id has another one meanwhile.
function erase(self, row)
  if self.kept.values[row.id] ~= row or self.kept:is_pending(row.id) then return end
  local what = not row.is_told and ("the end of task '%s'"):format(row.task) or nil
  row.is_told = true -- once, in the log
  if not write(self, row.id, nil, false, what) then go_on(self, row.id) end
end

-- A run that was closed. After a reload a durable one, and one with restart, begins anew in the new
-- code, with the same data; when the server stops, a durable one does so after the next start.
local function again(self, row, task, generation)
  local runtime = self.runtime
  if runtime.ended or row.closed or generation.phase ~= "retiring" then return end
  row.at, row.running = runtime.scheduler.now(), false
  if row.durable then
    if self.kept.values[row.id] == row then go_on(self, row.id) end
  elseif task.restart then
    if self.pending[row.id] or is_kept(self, row.id) then row.id = core.id() end
    arm(self, row)
  end
end

local function data_of(row)
  if not row.durable then return plain.copy(row.data) end
  if row.text == "" then return nil end
  return (json.decode(row.text))
end

function run(self, row)
  local generation = self.runtime.generation
  local task = generation.tasks[row.task]
  if not task then return park(self, row) end
  forget(self, row)
  row.running = true
  local function on_end(ok)
    self.runs[row] = nil
    if ok == nil then return again(self, row, task, generation) end
    row.running, row.ended = false, true
    if row.durable then erase(self, row) end
  end
  local fiber = self.runtime.scheduler:queue(generation, "task",
    ("task %s (%s)"):format(task.name, task.where), on_end, task.fn, data_of(row))
  fiber.restart = task.restart and row or nil
  self.runs[row] = fiber
end

-- What makes a row durable; nil, message, code when it cannot be.
local function make_durable(self, row, seconds, data)
  if row.id == "" or #row.id > ID_MAX then
    return nil, ("the id of a durable task has 1 to %d bytes, not %d"):format(ID_MAX, #row.id),
      row.id == "" and "EINVAL" or "ETOOBIG"
  end
  row.due, row.text = core.time() + seconds, ""
  if data ~= nil then
    local text, message, code = plain.text(data, "data")
    if not text then return nil, message, code end
    row.text = text
  end
  if self.runtime.stored.is_open then return true end
  local opened, message = self.runtime.stored:open() -- the first of an app without a store
  return opened, message, "ESTORE"
end

--- Run a task later.
-- @tparam string name "after" or "at", for messages
-- @tparam number seconds from now
-- @tparam string task
-- @param data
-- @tparam table|nil opts { id = string, durable = false, wait = true }
-- @tparam sluice.Generation generation whose code asks
-- @treturn string|nil the id, or nil, message, code
function Tasks:add(name, seconds, task, data, opts, generation)
  defined_tasks.check(generation, name, seconds, task, data)
  local what = "app:" .. name .. "()"
  local o = options(what, opts, AFTER)
  if seconds > SECONDS_MAX then
    return nil, ("%s: %g seconds from now are more than ten years"):format(what, seconds), "EINVAL"
  end
  seconds = math.max(0, seconds)
  if self.shared then return self.shared:add(seconds, task, data, o) end
  local row = { id = o.id or core.id(), task = task, durable = o.durable,
    at = self.runtime.scheduler.now() + seconds }
  if o.durable then
    local good, message, code = make_durable(self, row, seconds, data)
    if not good then return nil, message, code end
  else
    row.data = plain.copy(data)
  end
  local before = self.pending[row.id]
  if not before and self.count >= PENDING_MAX then
    return nil, ("%d tasks are pending already"):format(PENDING_MAX), "EFULL"
  end
  if o.durable or is_kept(self, row.id) then
    if o.wait then self.runtime.stored:need_wait(what .. " of a durable task") end
    local ok, message, code = write(self, row.id, row, o.wait, ("task '%s'"):format(task))
    return ok and row.id, message, code
  end
  if before then forget(self, before) end
  arm(self, row)
  return row.id
end

-- Close the runs of an id; whether there was one. One that closes itself ends where it waits next.
local function close_runs(self, id)
  local list = {}
  for row, fiber in pairs(self.runs) do
    if row.id == id then list[#list + 1] = { row = row, fiber = fiber } end
  end
  for _, run_of in ipairs(list) do
    run_of.row.closed = true
    self.runtime.scheduler:cancel(run_of.fiber)
  end
  return list[1] ~= nil
end

--- Forget a pending task. A durable one that runs is not run again.
-- @tparam string id
-- @tparam table|nil opts { wait = true, running = false }: running = true closes one that runs
-- @treturn boolean|nil whether there was one; or nil, message, code: it is still there
function Tasks:cancel(id, opts)
  local o = options("app:cancel()", opts, CANCEL)
  if self.shared then return self.shared:cancel(id, o) end
  local row = self.pending[id]
  if not is_kept(self, id) then
    local was_running = o.running and close_runs(self, id)
    return row ~= nil and forget(self, row) or was_running
  end
  row = self.kept.values[id]
  if not row or row.ended then return false end
  if o.wait then self.runtime.stored:need_wait("app:cancel() of a durable task") end
  local was_pending = not row.running
  local ok, message, code = write(self, id, nil, o.wait, ("the end of task '%s'"):format(row.task))
  if not ok then return nil, message, code end
  return o.running and close_runs(self, id) or was_pending
end

--- What the store has when the server starts: what is late runs at once.
-- @tparam {table,...} rows { id, name, data, due }
function Tasks:load(rows)
  local now, time = self.runtime.scheduler.now(), core.time()
  for _, stored in ipairs(rows) do
    local row = { id = stored.id, task = stored.name, text = stored.data, due = stored.due,
      durable = true, at = now + math.max(0, stored.due - time) }
    self.kept.values[row.id] = row
    arm(self, row)
  end
end

--- What is pending and a generation does not define: sentences for the log.
function Tasks:orphans(generation)
  local counts, list = {}, {}
  for _, row in pairs(self.pending) do
    if not generation.tasks[row.task] then
      local key = (row.durable and "durable " or "") .. ("task '%s'"):format(row.task)
      counts[key] = (counts[key] or 0) + 1
    end
  end
  for name, n in pairs(counts) do
    local limit = name:find("^durable") and "until it is defined again"
      or "for 24 h after it is due, or until it is defined again"
    list[#list + 1] = ("%s is pending (%d) and no longer defined: kept %s"):format(name, n, limit)
  end
  table.sort(list)
  return list
end

--- Take over a new generation: parked tasks that it defines run now.
function Tasks:adopt(generation)
  if self.shared and next(generation.tasks) then self.shared:begin() end
  for row in pairs(self.parked) do
    if generation.tasks[row.task] then
      self.parked[row] = nil
      if row.entry then self.runtime.scheduler:drop(row.entry) end
      row.entry = self.runtime.scheduler:at(self.runtime.scheduler.now(),
        function() run(self, row) end)
    end
  end
end

return tasks
