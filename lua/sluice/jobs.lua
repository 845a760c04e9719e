--- Jobs: long-running work with an owner, a bar and an end, which survives a reload and a crash.
---
---   local jobs = require("sluice.jobs").new(app)
---   jobs:define("import", function(job, args)
---     for i = (job.saved or 0) + 1, #args.rows do
---       import(args.rows[i])
---       job:progress(i)
---       job:checkpoint(i)
---     end
---   end)
---   jobs:stream("/api/progress", auth:user())
---   local job = jobs:start("import", { args = { rows = rows }, owner = id, total = #rows })
---
--- Channel `<name>/<owner>`: the newest event of each name and job. In memory: what
--- sluice/jobs/book.lua says.
local asked = require("sluice.jobs.asked")
local away = require("sluice.jobs.away")
local book = require("sluice.jobs.book")
local ends = require("sluice.jobs.ends")
local job = require("sluice.jobs.job")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local owned = require("sluice.base.owned")
local pages = require("sluice.jobs.pages")
local room = require("sluice.jobs.room")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")
local work = require("sluice.jobs.work")

---@class sluice.JobsModule
local jobs = {}

---@class sluice.Jobs
local Jobs = {}
Jobs.__index = Jobs
Jobs.__name = "sluice.Jobs"

local KNOWN = { name = "jobs", max_rate = 10, keep = 3600, concurrency = 8, queue = 1000,
  admin = options.NONE, durable = options.BOOLEAN }
local START = { id = options.NONE, args = options.TABLE, owner = options.NONE,
  total = options.NONE, fields = options.TABLE }
local LIST = { owner = options.NONE, status = options.NONE }
local KEEP_MAX, COUNT_MAX = 366 * 86400, 100000
local KEYS_MAX = 2 * COUNT_MAX + 2 * room.ENDED_MAX -- more than the jobs that are known
local SEGMENT, bad = asked.SEGMENT, asked.bad

function Jobs:_job(row, outside) return job.new(self, row, not outside) end

--- Say what is done for a kind of job. At the top level: after a reload or a crash a job goes on by
-- the name of its kind.
-- @tparam string kind
-- @tparam function fn fn(job, args): what it returns is the job's result; an error is its failure
function Jobs:define(kind, fn)
  if not owned.key(kind) or type(kind) ~= "string" then
    error("jobs:define(kind, fn): kind: " .. SEGMENT, 2)
  elseif type(fn) ~= "function" then
    error(("jobs:define(%q, fn): fn is a function, not a %s"):format(kind, type(fn)), 2)
  elseif self.book.is_ready then
    error(("jobs:define(%q) belongs at the top level of the app"):format(kind), 2)
  elseif self.book.kinds[kind] then
    error(("jobs:define(%q): this kind is defined already"):format(kind), 2)
  end
  self.book.kinds[kind] = fn
end

-- ---- Starting ----------------------------------------------------------------------------------

--- Start a job. Waits until it is on the disk. The same id again is the same job.
-- @tparam string kind
-- @tparam[opt] table given `id` (of the job; else a random one), `args` (plain data for its
--   function), `owner` (a user's id: who may see it; without, only those with the role `admin`),
--   `total` (of which `percentage` is a part), `fields` (more of all its events)
-- @treturn sluice.Job|nil or nil, message, code, field
function Jobs:start(kind, given)
  local o = options("jobs:start()", given, START)
  local known = self.book:find(o.id)
  if not self.book.kinds[kind] and not (known and known.kind == kind) then
    error(("jobs:start(%q): there is no jobs:define(%q, …)"):format(tostring(kind),
      tostring(kind)), 2)
  end
  if o.id == nil then o.id = sluice.id() end
  local id, message, code, field = self.away:call("start", kind, o)
  if not id then return nil, message, code, field end
  return self:_job(self.book:find(id), true)
end

--- A job whose work the caller does itself, as a handler does that takes an upload. It has an
-- owner, progress and an end as others; it ends with the caller, and has failed when that is
-- closed.
-- @tparam string kind need not be defined
-- @tparam table given as jobs:start
-- @tparam function fn fn(job): what it returns is the result of the job
-- @return what fn returned; or nil, message, code, field when the job cannot begin, or is
--   cancelled. What fn raises is raised
function Jobs:attend(kind, given, fn)
  local o = options("jobs:attend()", given, START)
  if type(kind) ~= "string" or not owned.key(kind) then
    error("jobs:attend(kind, options, fn): kind: " .. SEGMENT, 2)
  elseif type(fn) ~= "function" then
    error(("jobs:attend(%q, options, fn): fn is a function, not a %s"):format(kind, type(fn)), 2)
  end
  if not self.away:has_book() then return self.away:attend(kind, o, fn) end
  local row, message, code, field = asked.save_start(self, kind, o, "here")
  if not row then return nil, message, code, field end
  return work.attend(self, row, fn)
end

-- ---- Looking -----------------------------------------------------------------------------------

--- A job.
-- @tparam string id
-- @treturn sluice.Job|nil or nil, message, code
function Jobs:get(id)
  local row = self.book:find(id)
  if row then return self:_job(row, true) end
  return nil, "no such job", "ENOTFOUND"
end

--- The jobs that there are, the newest first.
-- @tparam[opt] table given `owner`; `status`: "queued", "running", "success", "failed", "cancelled"
-- @treturn {sluice.Job,...}
function Jobs:list(given)
  local o, list = options("jobs:list()", given, LIST), {}
  if o.owner ~= nil and not owned.key(o.owner) then return list end
  for i, row in ipairs(self.book:list(owned.key(o.owner), o.status)) do
    list[i] = self:_job(row, true)
  end
  return list
end

--- Cancel a job. One that waits ends at once, one that runs at its next progress, step or
-- checkpoint, or where it waits after five seconds. Waits until it is on the disk.
-- @tparam string id
-- @treturn boolean|nil true, also when it is cancelled already; or nil, message, code
function Jobs:cancel(id)
  return self.away:call("cancel", id)
end

--- The channel with the events of an owner's jobs, for a plan of one's own.
-- @tparam[opt] string owner nil: of the jobs that have none
-- @treturn string|nil or nil, message, code, field
function Jobs:channel(owner)
  if owner == nil then return telling.channel(self) end
  local key = owned.key(owner)
  if not key then return bad("owner", "an id of " .. SEGMENT) end
  return telling.channel(self, key)
end

-- ---- Making ------------------------------------------------------------------------------------

local function check(given)
  local o = options("jobs.new", given, KNOWN)
  local function need(good, text, ...)
    if not good then options.raise("jobs.new: " .. text:format(...)) end
  end
  need(o.name:find("^[%w_][%w_.-]*$") and #o.name <= 64,
    "name '%s' may hold letters, digits and _ . - only", o.name)
  need(o.max_rate > 0 and o.max_rate <= 50, "max_rate is a number of events a second, at most 50")
  need(o.keep >= 1 and o.keep <= KEEP_MAX, "keep is a number of seconds from 1 to %d", KEEP_MAX)
  for name, least in pairs({ concurrency = 1, queue = 0 }) do
    need(math.type(o[name]) == "integer" and o[name] >= least and o[name] <= COUNT_MAX,
      "%s is an integer from %d to %d", name, least, COUNT_MAX)
  end
  if o.admin == nil then o.admin = "Admin" end
  need(o.admin == false or type(o.admin) == "string", "admin is the name of a role, or false")
  return o
end

-- Where jobs are kept is decided when jobs.new runs: the app may say more below.
local function check_order(app)
  app:check(function()
    if not app:has_store() then return true end
    return false, "jobs.new stands above the stores and durable channels of this app: put it "
      .. "below them, or say durable = true or false"
  end)
end

local function register(self, app, o)
  local name, admin = o.name, o.admin
  local policy = { history = "latest", key = "jobId", ttl = false, durable = false,
    max_keys = KEYS_MAX }
  policy.read = function(user) return owned.may_see(user, nil, admin) end
  app:channel(name, policy)
  policy.read = function(user, p) return owned.may_see(user, p.owner, admin) end
  app:channel(name .. "/:owner", policy)
  app:task(name .. ".run", { restart = true }, function(d) work.run(self, d.id) end)
  app:task(name .. ".settle", function(d) ends.settle(self, d.id) end)
  app:task(name .. ".stop", function(d) work.stop(self, d) end)
  app:task(name .. ".tell", function(d) telling.due(self, d.id) end)
  app:every(1, { name = name .. ".sweep" }, function() work.sweep(self) end)
  app:on("start", function()
    if self.away:is_shared() then return end -- who leads begins
    self.book:ready().generation = 1
    work.kick(self)
    work.tell_ended(self)
  end)
  app:on("reload", function(swap)
    if self.away:is_shared() then return end
    work.adopt(self, swap)
    work.tell_ended(self)
  end)
  for _, pattern in ipairs({ name, name .. "/:owner" }) do
    app:on("subscribe", pattern, function(client) pages.look(self, client) end)
  end
end

--- Make jobs. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("jobs": its channels, state and store), `max_rate` (10: progress
--   events of a job a second), `keep` (3600: seconds for which a job that has ended is known),
--   `concurrency` (8: run at a time), `queue` (1000: wait beside them), `admin` ("Admin": the role
--   that sees all jobs; false: none), `durable` (whether the app has a store)
-- @treturn sluice.Jobs
function jobs.new(app, given)
  local o = check(given)
  if o.durable == nil then
    o.durable = app:has_store()
    if not o.durable then check_order(app) end
  end
  local self = setmetatable({ app = app, o = o, book = book.new(app, o) }, Jobs)
  self.away = away.new(app, self, { calls = asked.calls(self), cancelled = work.CANCELLED,
    begin = function(store, goes_on)
      self.book:begin(store, goes_on)
      work.kick(self)
      app:spawn(function() work.tell_ended(self) end)
    end })
  self.book.away = self.away
  self.book.loaded = function(s) work.take_over(self, s) end
  self.book.forgotten = function(row) telling.forget(self, row) end
  register(self, app, o)
  return self
end

Jobs.routes, Jobs.stream = pages.routes, pages.stream
names.lenient(Jobs, "jobs", Jobs, {})
return names.strict(jobs, "sluice.jobs", ".")
