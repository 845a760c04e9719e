--- app:after, app:at and app:cancel in a cluster: what is pending is in a store of all nodes, under
-- its id, and runs on the node that leads, at the time of Redis' clock. It is deleted when its run
-- has ended; who leads next runs what was not: at least once. A notice tells of what has changed,
-- and now and then the store is looked through, for what nobody could tell of any more.
-- In memory, of the node that leads: one row for each that is pending or runs.
local core = require("sluice.core")
local json = require("sluice.json")
local plain = require("sluice.base.plain")
local shared_stores = require("sluice.live.shared_stores")

local shared_tasks = {}

---@class sluice.SharedTasks
local Tasks = {}
Tasks.__index = Tasks

local STORE = shared_stores.TASKS
local PENDING_MAX = 100000 -- more are refused: EFULL
local LOOK_SECONDS = 60 -- between two looks through the store
local AGAIN_SECONDS = 1 -- until what Redis did not take is tried again

function shared_tasks.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, ended = {}, looker = nil, counted_at = nil,
    count = 0 }, Tasks)
end

-- In a coroutine of its own: of who leads, or of nobody.
local function spawn(self, what, is_lent, fn)
  local runtime = self.runtime
  if is_lent then runtime.leadership:lend("cluster") end
  return runtime.scheduler:queue(runtime.generation, "spawn", what, nil, fn)
end

-- ---- On any node -----------------------------------------------------------------------------

-- Tell who leads that an id has changed.
local function tell(self, id, how, waits)
  local function fn() self.runtime.notices:tell("d", "task", id, how) end
  if waits then fn() else spawn(self, "the notice of a task", false, fn) end
end

-- Whether there is room for one more; counted once a second.
local function has_room(self)
  local now = self.runtime.scheduler.now()
  if not self.counted_at or now - self.counted_at >= 1 then
    self.count, self.counted_at = self.runtime.stores:count(STORE), now
  end
  self.count = self.count + 1
  return self.count <= PENDING_MAX
end

-- Whether the one of a text is.
local function is_durable(text)
  local value = text and json.decode(text)
  return type(value) == "table" and value.durable == true
end

--- As live tasks have it (app/tasks.lua); options are read.
function Tasks:add(seconds, task, data, o)
  local stores, id, text = self.runtime.stores, o.id or core.id(), ""
  local message, code
  if id == "" then return nil, "the id of a task is empty", "EINVAL" end
  if data ~= nil then
    text, message, code = plain.text(data, "data")
    if not text then return nil, message, code end
  end
  local before
  before, message, code = stores:read(STORE, id) -- and Redis' clock is known
  if code then return nil, message, code end
  if not before and not has_room(self) then
    return nil, ("%d tasks are pending already"):format(PENDING_MAX), "EFULL"
  end
  local _, now = self.runtime.server:cluster_leads()
  local value = json.encode({ task = task, data = text, due = now + seconds, durable = o.durable,
    mark = core.id() })
  local ok
  local waits = o.wait and self.runtime.scheduler:can_wait()
  ok, message, code = stores:write(("task '%s'"):format(task), STORE, id, value, waits, nil,
    not (o.durable or is_durable(before)))
  if not ok then return nil, message, code end
  tell(self, id, {}, waits)
  return id
end

--- Forget one, wherever it waits; with running, a run of it is closed.
function Tasks:cancel(id, o)
  local stores = self.runtime.stores
  local text, message, code = stores:read(STORE, id)
  if code then return nil, message, code end
  if text == nil then return false end
  local ok
  local waits = o.wait and self.runtime.scheduler:can_wait()
  ok, message, code = stores:write("the end of a task", STORE, id, nil, waits, nil,
    not is_durable(text))
  if not ok then return nil, message, code end
  tell(self, id, { running = o.running }, waits)
  return true
end

-- ---- On the node that leads --------------------------------------------------------------------

local function drop(self, row)
  if self.rows[row.id] == row then self.rows[row.id] = nil end
  if row.entry then self.runtime.scheduler:drop(row.entry) end
  row.entry = nil
end

local run

local function arm(self, row)
  row.entry = self.runtime.scheduler:at(row.at, function() run(self, row) end)
end

-- Delete what has ended, unless its id has another one meanwhile. It did run: also for who leads no
-- more.
local function erase(self, row)
  drop(self, row)
  self.ended[row.text] = true
  spawn(self, "the end of a task", false, function()
    while true do
      local ok, _, code = self.runtime.stores:write("the end of a task", STORE, row.id, nil, true,
        { text = row.text }, not row.durable)
      if ok or code == "ECONFLICT" then break end
      self.runtime.scheduler:sleep(AGAIN_SECONDS)
    end
    self.ended[row.text] = nil
  end)
end

-- A run was closed: by a reload, or because this node does not lead any more, or stops.
local function closed(self, row, task)
  local runtime = self.runtime
  if row.token ~= runtime.leadership.token or runtime.stopping or runtime.ended then return end
  if row.closed or not (task.restart or row.durable) then return erase(self, row) end
  row.running, row.at = false, runtime.scheduler.now()
  arm(self, row)
end

local function data_of(row)
  if row.data == "" then return nil end
  return (json.decode(row.data))
end

function run(self, row)
  local runtime = self.runtime
  row.entry = nil
  if not runtime.leadership:allows("cluster") then return end
  local generation = runtime.generation
  local task = generation.tasks[row.task]
  if not task then
    row.parked = true
    return core.log("warn", ("task '%s' is due and this generation does not define it: kept "
      .. "until one does"):format(row.task))
  end
  row.running, row.token = true, runtime.leadership.token
  runtime.leadership:lend("cluster")
  row.fiber = runtime.scheduler:queue(generation, "task", ("task %s (%s)"):format(task.name,
    task.where), function(ok)
      row.fiber = nil
      if ok == nil then closed(self, row, task) else erase(self, row) end
    end, task.fn, data_of(row))
  row.fiber.restart = task.restart and row or nil
end

-- An id has this text.
local function take(self, id, text)
  local before = self.rows[id]
  if self.ended[text] or before and before.text == text then return end
  local value = json.decode(text)
  if type(value) ~= "table" or type(value.due) ~= "number" then return end
  if before then drop(self, before) end
  local _, now = self.runtime.server:cluster_leads()
  local row = { id = id, text = text, task = value.task, data = value.data,
    durable = value.durable, at = self.runtime.scheduler.now() + math.max(0, value.due - now) }
  self.rows[id] = row
  arm(self, row)
end

local function look(self)
  local ids, texts = self.runtime.stores:list(STORE, "")
  if not ids then return false end
  local seen = {}
  for i, id in ipairs(ids) do
    seen[id] = true
    take(self, id, texts[i])
  end
  for id, row in pairs(self.rows) do
    if not seen[id] and not row.running then drop(self, row) end
  end
  return true
end

--- This node leads, or there is another generation.
function Tasks:begin()
  local runtime = self.runtime
  if self.looker then runtime.scheduler:cancel(self.looker) end
  self.looker = nil
  if not runtime.leadership:allows("cluster") then return end
  for _, row in pairs(self.rows) do
    if row.parked and runtime.generation.tasks[row.task] then
      row.parked = false
      arm(self, row)
    end
  end
  self.looker = spawn(self, "tasks of the cluster", true, function()
    while true do
      runtime.scheduler:sleep(look(self) and LOOK_SECONDS or AGAIN_SECONDS)
    end
  end)
end

--- It leads no more.
function Tasks:rest()
  for _, row in pairs(self.rows) do
    if row.entry then self.runtime.scheduler:drop(row.entry) end
  end
  self.rows = {}
end

--- A node has told that an id has changed.
function Tasks:hear(id, how)
  if not self.runtime.leadership:allows("cluster") then return end
  spawn(self, "a task that has changed", true, function()
    local text, _, code = self.runtime.stores:read(STORE, id)
    if code then return end
    if text then return take(self, id, text) end
    local row = self.rows[id]
    if not row then return end
    if row.fiber and how.running then
      row.closed = true
      self.runtime.scheduler:cancel(row.fiber)
    elseif not row.running then
      drop(self, row)
    end
  end)
end

--- Some notices were missed.
function Tasks:missed() self:begin() end

return shared_tasks
