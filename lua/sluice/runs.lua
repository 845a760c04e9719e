--- Long answers that many may watch: a model's words, a build's log. The function that gives one
--- runs apart from the request that started it, so a page may close, come back, or be opened twice.
---
---   local runs = require("sluice.runs").new(app)
---   runs:define("answer", function(run, args)
---     for event in run:from(client.events(URL, { json = args })) do run:text(event.data.text) end
---   end)
---   runs:stream("/api/runs", auth:user())
---
--- A channel `<name>/<id>/…` has all of a run, from its first byte to its end. In memory: what its
--- parts say (sluice/runs/), and `max_bytes` of each run's events.
local book = require("sluice.runs.book")
local ending = require("sluice.runs.ending")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local owned = require("sluice.base.owned")
local pages = require("sluice.runs.pages")
local run = require("sluice.runs.run")
local sluice = require("sluice")
local writer = require("sluice.runs.writer")

---@class sluice.RunsModule
local runs = {}

---@class sluice.Runs
local Runs = {}
Runs.__index = Runs
Runs.__name = "sluice.Runs"

local KNOWN = { name = "run", keep = 3600, coalesce = 0.03, max_bytes = 4 << 20, max_time = 3600,
  concurrency = 64, queue = 1000, admin = "Admin", durable = options.BOOLEAN,
  last = options.FUNCTION }
local START = { id = options.NONE, args = options.NONE, owner = options.NONE }
local LIST = { owner = options.NONE, status = options.STRING }
local ARGS_BYTES = 1 << 20
-- What a channel holds, and the bytes that an event counts at least (sluice/runs/writer.lua).
local NAME_MAX = 40 -- a channel's name has 128 bytes: this, an id of 64, a token of 22
local EVENTS_MAX, EVENT_LEAST = 1000000, 64

-- ---- From second to second, from version to version ---------------------------------------

local finish, view = ending.finish, ending.view

-- Once a second.
local function sweep(self)
  local kept = self.book
  local s = kept:ready()
  writer.sweep(kept, s)
  kept:sweep()
  local late = sluice.time() - kept.o.max_time
  for _, row in pairs(s.runs) do
    if row.status == "running" and row.started < late then
      finish(kept, row, "failed", { error = ("it took more than %g s"):format(kept.o.max_time),
        code = "ETIMEOUT" })
      self.app:cancel(kept:task_of(row), { running = true })
    end
  end
end

-- Functions that wait for their upstream go over to the new code at once; others do where they ask
-- next, or after five seconds where they wait.
local function hand_over(self)
  local kept = self.book
  for id, row in pairs(kept:ready().runs) do
    if row.status == "running" and kept:live(id).asks then
      kept:live(id).asks = nil
      self.app:cancel(kept:task_of(row), { running = true })
      kept:arm(row)
    end
  end
end

-- ---- Starting, stopping, looking -----------------------------------------------------------

--- Define a kind of run. At the top level: after a reload or a crash it is called again.
-- @tparam string kind
-- @tparam function fn fn(run, args) -> result; an error fails the run
function Runs:define(kind, fn)
  if type(kind) ~= "string" or kind == "" then
    error("runs:define(kind, fn): the kind is a string", 2)
  elseif type(fn) ~= "function" then
    error(("runs:define(%q, fn): fn is missing"):format(kind), 2)
  elseif self.book.kinds[kind] then
    error(("runs:define: there is a kind '%s' already"):format(kind), 2)
  end
  self.book.kinds[kind] = fn
  self.only = not self.is_several and kind or nil
  self.is_several = true
end

local function bad(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

local function read_start(self, kind, o)
  if not self.book.kinds[kind] then
    return bad("kind", ("there is no kind '%s' of runs"):format(tostring(kind):sub(1, 64)))
  end
  local id = o.id == nil and sluice.id() or owned.key(o.id)
  if not id then return bad("id", "1 to 64 letters, digits and _ . @ + = ~ : - are expected") end
  local owner = o.owner
  if type(owner) == "table" then owner = owner.id end
  if owner ~= nil then
    owner = owned.key(owner)
    if not owner then return bad("owner", "this user's id can be in no channel's name") end
  end
  if o.args == nil then return id, owner end
  local args, message, code = sluice.json.encode(o.args)
  if not args then return nil, "args: " .. message, code, "args" end
  if #args > ARGS_BYTES then return bad("args", ("more than %d bytes"):format(ARGS_BYTES)) end
  return id, owner, args
end

-- The run that has this id already; or nil, message, code.
local function join(self, row, kind, owner)
  if row.owner ~= owner then return nil, "no such run", "ENOTFOUND" end
  if row.kind ~= kind then
    return nil, ("id: run '%s' is of kind '%s'"):format(row.id, row.kind), "ECONFLICT", "id"
  end
  local ok, message, code = self.book.settle(row)
  if not ok then return nil, message, code end
  return view(row)
end

--- Start a run, or join the one that has this id. Waits until it is on the disk, when runs are
-- stored.
-- @tparam string kind
-- @tparam[opt] table given `id` (one that names this run), `args` (what the function gets), `owner`
--   (a user, or an id: who may see and stop it)
-- @treturn table|nil { id, kind, owner, status, … }; or nil, message, code, field
function Runs:start(kind, given)
  local o = options("runs:start()", given, START)
  local id, owner, args, field = read_start(self, kind, o)
  if not id then return nil, owner, args, field end
  local known = self.book:get(id)
  if known then return join(self, known, kind, owner) end
  local row, message, code = self.book:add(id, kind, owner, args)
  if not row then return nil, message, code end
  return view(row)
end

--- Stop a run: its upstream is closed, its function ends where it waits, who watches gets
-- `run-stopped`. One that has ended stays as it is.
-- @tparam string id
-- @treturn boolean|nil whether it was going on; or nil, message, code
function Runs:stop(id)
  local row = self.book:get(id)
  if not row then return nil, "no such run", "ENOTFOUND" end
  local settled, message, code = self.book.settle(row)
  if not settled then return nil, message, code end
  if not finish(self.book, row, "stopped") then return false end
  self.app:cancel(self.book:task_of(row), { running = true })
  return true
end

--- What is known of a run.
-- @tparam string id
-- @treturn table|nil { id, kind, owner, status, result, error, code, created, started, ended }; or
--   nil, message, code. status is "waiting", "running", "complete", "failed" or "stopped"
function Runs:get(id)
  local row = self.book:get(id)
  if not row then return nil, "no such run", "ENOTFOUND" end
  return view(row)
end

--- Runs, the newest first.
-- @tparam[opt] table given only those of an `owner`, or with a `status`
-- @treturn {table,...} as get
function Runs:list(given)
  local o = options("runs:list()", given, LIST)
  local owner = type(o.owner) == "table" and o.owner.id or o.owner
  local out = sluice.json.array()
  if owner ~= nil and not owned.key(owner) then return out end
  for _, row in ipairs(self.book:list(owner ~= nil and owned.key(owner) or nil)) do
    if not o.status or row.status == o.status then out[#out + 1] = view(row) end
  end
  return out
end

--- The name of a run's channel, for a plan of one's own.
-- @tparam string id
-- @treturn string|nil nil, message, code: there is no such run
function Runs:channel(id)
  local row = self.book:get(id)
  if not row then return nil, "no such run", "ENOTFOUND" end
  return self.book:channel(row)
end

-- ---- Making --------------------------------------------------------------------------------

local function check(given)
  local o = options("runs.new", given, KNOWN)
  local function need(good, text, ...)
    if not good then options.raise("runs.new: " .. text:format(...)) end
  end
  need(o.name:find("^[%w_][%w_.-]*$"), "name '%s' may hold letters, digits and _ . - only", o.name)
  need(#o.name <= NAME_MAX, "name '%s' has more than %d bytes", o.name, NAME_MAX)
  for name, most in pairs({ keep = 30 * 86400, max_time = 30 * 86400, coalesce = 10 }) do
    need(o[name] > 0 and o[name] <= most, "%s is a number of seconds above 0, at most %d", name,
      most)
  end
  for name, most in pairs({ max_bytes = 1 << 30, concurrency = 100000, queue = 100000 }) do
    need(math.type(o[name]) == "integer" and o[name] >= (name == "queue" and 0 or 1)
      and o[name] <= most, "%s is a whole number, at most %d", name, most)
  end
  return o
end

local function register(self, o)
  local app, kept, name = self.app, self.book, o.name
  local most = math.min(EVENTS_MAX, o.max_bytes // EVENT_LEAST + 10)
  local function row_of(params)
    local row = kept:get(params.id)
    return row and row.token == params.token and row or nil
  end
  app:channel(name .. "/:id/:token", {
    history = { count = most, bytes = 2 * o.max_bytes + (1 << 20) }, rewind = "all",
    ttl = o.max_time + o.keep + 60, durable = o.durable,
    read = function(user, params)
      local row = row_of(params)
      return row ~= nil and not row.is_new and owned.may_see(user, row.owner, o.admin)
    end })
  app:task(name .. ".run", { restart = true }, function(id)
    run.call(kept, id, function(row, status, fields) return finish(kept, row, status, fields) end)
  end)
  app:task(name .. ".write", function(id) writer.on_timer(kept, id) end)
  app:every(1, { name = name .. ".sweep" }, function() sweep(self) end)
  app:on("start", function() kept:ready() end)
  app:on("reload", function() hand_over(self) end)
  app:on("subscribe", name .. "/:id/:token", function(client, _, params)
    local row = row_of(params)
    if client.meta[name] == params.id and (not row or row.told) then client:stop() end
  end)
end

-- Where runs are kept is decided when runs.new runs: the app may say more below.
local function check_order(app)
  app:check(function()
    if not app:has_store() then return true end
    return false, "runs.new stands above the stores and durable channels of this app: put it "
      .. "below them, or say durable = true or false"
  end)
end

--- Make runs. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("run": its channels' names begin with it), `keep` (3600: seconds
--   for which what has ended can be read), `coalesce` (0.03: seconds for which text is collected),
--   `max_bytes` (4 MiB: of one run), `max_time` (3600 seconds), `concurrency` (64: that go on at a
--   time), `queue` (1000: that wait for that), `admin` ("Admin": the role that sees all), `durable`
--   (whether the app has a store), `last` (fn(run) -> event, data: one more event before the end)
-- @treturn sluice.Runs
function runs.new(app, given)
  local o = check(given)
  if o.durable == nil then
    o.durable = app:has_store()
    if not o.durable then check_order(app) end
  end
  local self = setmetatable({ app = app, book = book.new(app, o), admin = o.admin }, Runs)
  self.book.on_told = function(row)
    row.told = true
    self.book:shrink(row)
    owned.stop_streams(app, self.book:channel(row), o.name, row.id)
  end
  register(self, o)
  return self
end

Runs.routes, Runs.stream = pages.routes, pages.stream
names.lenient(Runs, "runs", Runs, {})
return names.strict(runs, "sluice.runs", ".")
