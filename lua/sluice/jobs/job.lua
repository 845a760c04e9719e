--- One job of sluice.jobs, as its function and its app see it: fields that are always those of now,
-- and what the function says of its work. Keeps nothing in memory.
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")
local work = require("sluice.jobs.work")

local job = {}

---@class sluice.Job
local Job = {}

local SAVED_MAX, STEP_MAX = 65536, 200
local TURN_SECONDS, TURN_CALLS = 0.01, 1000 -- a job that never waits lets others run that often
local MOST = 2 ^ 53

local function decoded(text)
  if text == nil then return nil end
  return (sluice.json.decode(text))
end

-- The fields that a job has, by name.
local FIELDS = { result = function(row) return decoded(row.result) end,
  saved = function(row) return decoded(row.saved) end,
  args = function(row, jobs) return decoded(jobs.book:args_of(row)) end,
  cancelled = function(row) return row.cancel == true or row.status == "cancelled" end }
for _, name in ipairs({ "id", "kind", "owner", "status", "processed", "total", "percentage",
  "error", "attempt", "created", "ended" }) do
  FIELDS[name] = function(row) return row[name] end
end

local listed = {}
for name in pairs(FIELDS) do listed[#listed + 1] = name end
local refuse = names.refuser(Job, "job", ":", listed)

local meta = { __name = "sluice.Job" }

function meta.__index(self, name)
  local read = FIELDS[name]
  if read then return read(rawget(self, "_row"), rawget(self, "_jobs")) end
  local method = Job[name]
  if method ~= nil then return method end
  return refuse(self, name)
end

function meta.__newindex(_, name)
  error(("job.%s is read only: job:progress(), job:step() and job:checkpoint() change a job")
    :format(tostring(name)), 2)
end

--- Make one.
-- @tparam sluice.Jobs jobs
-- @tparam table row
-- @tparam boolean inside it is for the function that does the work
function job.new(jobs, row, inside)
  return setmetatable({ _jobs = jobs, _row = row, _inside = inside, _calls = 0,
    _turn = sluice.now() }, meta)
end

-- Whether a job goes on; its own function is ended when it is cancelled.
local function go_on(self)
  local row = self._row
  if row.cancel and self._inside then error(work.CANCELLED, 0) end
  if not (row.cancel or row.outcome or row.ended) then return true end
  return nil, ("job '%s' is over"):format(row.id), "ECONFLICT"
end

local function wait_a_turn() sluice.sleep(0) end

-- Others run now and then, also when the function computes without a pause. Where nobody may wait,
-- they do not.
local function give_way(self)
  if not self._inside then return end
  local calls = self._calls + 1
  rawset(self, "_calls", calls)
  if calls % TURN_CALLS ~= 0 and sluice.now() - self._turn < TURN_SECONDS then return end
  pcall(wait_a_turn)
  rawset(self, "_turn", sluice.now())
end

local function encoded(what, value, most)
  local text, message = telling.text(value, most)
  if not text then options.raise("%s: %s", what, message) end
  return text
end

local function is_count(value)
  return type(value) == "number" and value >= 0 and value <= MOST
end

-- "3.0" is shown as 3.
local function whole(value) return math.tointeger(value) or value end

local function advance(row, processed)
  row.processed = math.max(row.processed, whole(processed))
  if not row.total then return end
  local part = row.total > 0 and row.processed / row.total or 1
  row.percentage = math.max(row.percentage or 0, math.floor(math.min(1, part) * 100))
end

--- Say how much is done: never less than before. Pages are told at most `max_rate` times a second.
-- Ends the function when the job is cancelled. May let others run.
-- @tparam number processed
-- @tparam[opt] table fields more of the event: { currentItem = "a" }; `total` becomes the job's
-- @treturn boolean|nil true; or nil, message, code when the job is over (outside of its function)
function Job:progress(processed, fields)
  local row = self._row
  if not is_count(processed) then
    error("job:progress(processed): a number from 0 is expected, not "
      .. (type(processed) == "string" and ("%q"):format(processed) or tostring(processed)), 2)
  elseif fields ~= nil and type(fields) ~= "table" then
    error("job:progress(processed, fields): fields are a table, not a " .. type(fields), 2)
  end
  local total, text = row.total, row.fields
  if fields then
    text = encoded("job:progress(processed, fields)", fields, telling.FIELDS_MAX)
    if next(fields) ~= nil and text:sub(1, 1) ~= "{" then
      error("job:progress(processed, fields): fields have names", 2)
    elseif fields.total ~= nil and not is_count(fields.total) then
      error("job:progress(processed, { total }): a number from 0 is expected", 2)
    end
    total = fields.total and whole(fields.total) or total
    if next(fields) == nil then text = nil end
  end
  if row.away then return self._jobs.away:say(self, "progress", processed, fields) end
  local ok, message, code = go_on(self)
  if not ok then return nil, message, code end
  row.total, row.fields = total, text
  advance(row, processed)
  telling.note(self._jobs, row)
  give_way(self)
  return true
end

--- Say what is being done: the field `step` of the events from here on.
-- @tparam string name
-- @treturn boolean|nil as progress
function Job:step(name)
  if type(name) ~= "string" or name == "" or #name > STEP_MAX or not utf8.len(name) then
    error(("job:step(name): a text of 1 to %d bytes of UTF-8 is expected"):format(STEP_MAX), 2)
  end
  if self._row.away then return self._jobs.away:say(self, "step", name) end
  local ok, message, code = go_on(self)
  if not ok then return nil, message, code end
  self._row.step = name
  telling.note(self._jobs, self._row)
  give_way(self)
  return true
end

-- Save a checkpoint. The work waits until the disk takes it: what comes next would be done twice.
local function save(self, row)
  while true do
    local ok, message, code = self._jobs.book:save_work(row)
    if ok then return end
    if not telling.LATER[code] or code == "EFULL" then options.raise(message) end
    sluice.log.warn(("%s: job '%s' waits at its checkpoint: %s"):format(self._jobs.o.name, row.id,
      message), { code = code })
    sluice.sleep(1)
    go_on(self)
  end
end

--- Say that all so far is done: from here the job goes on, with job.saved, after a reload or a
-- crash. Waits until it is on the disk. A reload takes over here, and nowhere between.
-- @param data plain data: what the function needs to go on
-- @treturn boolean|nil as progress
function Job:checkpoint(data)
  local row, jobs_book = self._row, self._jobs.book
  if data == nil then error("job:checkpoint(data): what job.saved shall be is missing", 2) end
  local text = encoded("job:checkpoint(data)", data, SAVED_MAX)
  if row.away then return self._jobs.away:say(self, "checkpoint", data) end
  local ok, message, code = go_on(self)
  if not ok then return nil, message, code end
  jobs_book:change(row, { saved = text })
  save(self, row)
  if self._inside then sluice.checkpoint() end
  give_way(self)
  return true
end

--- End the job: as jobs:cancel.
function Job:cancel() return self._jobs:cancel(self._row.id) end

--- What its owner is shown of a job, in answers.
function job.show(row)
  local data = telling.data_of(row)
  data.owner, data.attempt, data.error = row.owner, row.attempt, row.error
  data.result = decoded(row.result)
  data.created = sluice.timestamp(row.created)
  data.ended = row.ended and sluice.timestamp(row.ended) or nil
  return data
end

return job
