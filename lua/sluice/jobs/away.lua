--- sluice.jobs on the nodes of a cluster: the one that leads has the book and runs the jobs. Others
--- read what is stored, hand it what they are asked, and do the work of what is attended there,
--- with a value that goes with the node (lease): when that is gone, the job has failed.
--- In memory: what sluice/base/leader.lua says.
local leader = require("sluice.base.leader")
local owned = require("sluice.base.owned")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")

local away = {}

---@class sluice.JobsAway
local Away = {}
Away.__index = Away

local HOLDER, HELD_SECONDS = "holder", 5 -- until a new job is held
local SAY_SECONDS = 0.1 -- between two calls that say how far it is
local SHOWN = { "processed", "total", "percentage", "step" }

function Away:is_shared() return self.lead:is_shared() end

--- Whether the book of all jobs is on this node.
function Away:has_book() return self.lead:has_book() end

function Away:call(...) return self.lead:call(...) end

local function store(self) return self.jobs.book.durable or self.lead.kept end

-- ---- Reading what is stored --------------------------------------------------------------------

--- How far a job was told to be: that is stored with each checkpoint, and published with each
-- progress.
-- @treturn string|nil its status then
function Away:catch_up(row)
  local last = self.app:latest(telling.channel(self.jobs, row.owner), row.id, "progress")
  if not last then return nil end
  for _, name in ipairs(SHOWN) do row[name] = last[name] end
  row.fields = sluice.json.encode(last)
  return last.status
end

local function read(self, row)
  row.away = true
  if not row.ended then row.status = self:catch_up(row) or row.status end
  return row
end

--- The row of an id, or nil.
function Away:find(id)
  local row = id and store(self):get("job/" .. id)
  return row and read(self, row) or nil
end

--- All rows, by number.
function Away:rows()
  local list = {}
  for _, row in store(self):each("job/") do list[#list + 1] = read(self, row) end
  return list
end

--- The args of a job, as text.
function Away:args_of(row) return store(self):get("args/" .. row.id) end

-- ---- What is attended on another node ----------------------------------------------------------

--- Whether somebody still does the work of an attended job.
function Away:holds(row)
  if sluice.time() - row.created < HELD_SECONDS then return true end
  return self.app:latest(self.lead.kept.channel, row.id, HOLDER) ~= nil
end

-- Say it to the node that leads; false: not now, it was said a moment ago.
local function pass(self, job, method, ...)
  local now = sluice.now()
  local waits = job._inside and method == "progress" and now - (job._said or 0) < SAY_SECONDS
  rawset(job, "_last", waits and table.pack(method, ...) or nil)
  if waits then return true end
  rawset(job, "_said", now)
  return self:call("job", job.id, method, ...)
end

--- What a job's function says on another node than that of the book.
-- @return as the method
function Away:say(job, method, ...)
  local ok, message, code = pass(self, job, method, ...)
  if not ok and job._inside then error(self.cancelled, 0) end
  return ok, message, code
end

local function hold(self, id)
  self.app:publish(self.lead.kept.channel, HOLDER, { row = id }, { lease = true, wait = false })
end

-- What became of it, said to the book.
local function finish(self, job, ended)
  local last = job._last
  if last then self:call("job", job.id, table.unpack(last, 1, last.n)) end
  local is_cancelled = self:call("attended", job.id, ended)
  self.app:remove(self.lead.kept.channel, job.id, { wait = false })
  return is_cancelled
end

--- Do a job in the coroutine that asks for it.
-- @return as work.attend
function Away:attend(kind, o, fn)
  local id, message, code, field = self:call("attend", kind, o)
  if not id then return nil, message, code, field end
  hold(self, id)
  local job, ended = self.jobs:_job(self:find(id)), { error = "it was closed before its end" }
  local _ <close> = setmetatable({}, { __close = function()
    if ended then self.app:spawn(function() finish(self, job, ended) end) end
  end })
  local ok, result, why, what = pcall(fn, job)
  local given = ok and { result = result, message = why }
    or { error = result ~= self.cancelled and tostring(result) or nil }
  ended = nil
  local is_cancelled = finish(self, job, given)
  if is_cancelled then return nil, ("job '%s' was cancelled"):format(id), "ECONFLICT" end
  if not ok then error(result, 0) end
  return result, why, what
end

-- ---- Told to all -------------------------------------------------------------------------------

--- A job has ended: the streams of it alone end on all nodes.
function Away:over(row)
  if not self:is_shared() then return end
  self.app:spawn(function()
    self.app:tell(self.name, { channel = telling.channel(self.jobs, row.owner), id = row.id })
  end)
end

--- Make it. At load.
-- @tparam sluice.App app
-- @tparam sluice.Jobs jobs
-- @tparam table o `calls`, `begin` (fn(store, goes_on)), `cancelled`: what ends a function
function away.new(app, jobs, o)
  local self = setmetatable({ app = app, jobs = jobs, name = jobs.o.name .. ".over",
    cancelled = o.cancelled }, Away)
  self.lead = leader.new(app, jobs.o.name, { keeps = true, calls = o.calls,
    begin = function(goes_on) o.begin(store(self), goes_on) end })
  app:on("told", function(event)
    if event.name == self.name and not event.own then
      owned.stop_streams(app, event.data.channel, "job", event.data.id)
    end
  end)
  return self
end

return away
