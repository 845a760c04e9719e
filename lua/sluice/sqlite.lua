--- Read the SQLite database of another program. The coroutine waits; nothing else does: each file
--- has a thread of its own.
---
---   local db = assert(sqlite.open("shop.db"))
---   local rows, message, code = db:query("SELECT * FROM orders WHERE shop = ?", 7)
---
--- Takes no app: it registers nothing. A file belongs to the generation that opened it, and is
--- closed with it. In memory: the rows of an answer, at most `max_rows` and `max_bytes`.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local process = require("sluice.base.process")
local show = require("sluice.base.show")
local transfer = require("sluice.out.transfer")

---@class sluice.Sqlite
local sqlite = {}

---@class sluice.Database
local Database = {}
Database.__index = Database
Database.__name = "sluice.Database"

local KNOWN = { timeout = 10, busy = 5, max_rows = 10000, max_bytes = 8388608 }
local RANGES = { timeout = { 0.001, 3600 }, busy = { 0, 3600 }, max_rows = { 1, 10000000 },
  max_bytes = { 1024, 1 << 30 } }
local WHOLE = { max_rows = true, max_bytes = true }
local LOOK = "SELECT count(*) AS n FROM sqlite_schema"
local GRACE_SECONDS = 2 -- a disk that hangs stops no statement: then the wait ends without it
local PLAIN = { string = true, number = true, boolean = true, ["nil"] = true }

-- ---- Checks ------------------------------------------------------------------------------

local function check_options(given)
  local o = options("sqlite.open()", given, KNOWN)
  for name, range in pairs(RANGES) do
    local n = o[name]
    if not (n >= range[1] and n <= range[2]) or WHOLE[name] and not math.tointeger(n) then
      caller.raise("sqlite.open(): %s is a %s from %s to %s, not %s", name,
        WHOLE[name] and "whole number" or "number", core.text_of(range[1]),
        core.text_of(range[2]), core.text_of(n))
    end
  end
  return o
end

local function check_value(place, value)
  if not PLAIN[type(value)] and value ~= json.null then
    caller.raise("db:query(): the value %s is a string, number, boolean, nil or json.null, "
      .. "not a %s", place, type(value))
  end
end

-- Values by name are one table; all others stand in their places.
local function check_values(first, ...)
  local n = select("#", ...)
  if type(first) ~= "table" then
    check_value("1", first)
    for i = 1, n do check_value(tostring(i + 1), (select(i, ...))) end
    return nil
  end
  if n > 0 then caller.raise("db:query(): a table of values by name stands alone") end
  for name, value in pairs(first) do
    if type(name) ~= "string" then
      caller.raise("db:query(): values by name are { id = 7 } for :id; a list is given as "
        .. "arguments: db:query(sql, a, b)")
    end
    check_value("of " .. name, value)
  end
  return first
end

-- ---- Waiting -----------------------------------------------------------------------------

-- What is left when the coroutine ends early, too.
local function forget(question)
  local runtime = question.runtime
  runtime.scheduler:drop(question.guard)
  if runtime.questions[question.ticket] then
    runtime.questions[question.ticket] = nil
    pcall(runtime.server.sql_cancel, runtime.server, question.ticket) -- it may be gone at the end
  end
end

local function wait(self, runtime, ticket, what)
  local scheduler = runtime.scheduler
  local fiber = scheduler.current
  local question <close> = setmetatable({ runtime = runtime, ticket = ticket },
    { __close = forget })
  question.guard = scheduler:at(scheduler.now() + self.limits.timeout + GRACE_SECONDS, function()
    scheduler:resume(fiber, nil, ("'%s': the disk does not answer"):format(self.path), "ETIMEOUT")
  end)
  runtime.questions[ticket] = fiber
  return scheduler:wait(what)
end

local function ask(self, what, sql, values, ...)
  local runtime = transfer.runtime(what)
  if self.closed then
    return nil, ("'%s' is closed: a file that is opened belongs to one version of the app")
      :format(self.path), "ECLOSED"
  end
  if not self.id then
    local id, message, code = runtime.server:sql_open(self.path, self.limits)
    if not id then return nil, message, code end
    self.id, self.server = id, runtime.server
  end
  local ticket, message, code = runtime.server:sql_ask(self.id, sql, values, ...)
  if not ticket then return nil, message, code end
  return wait(self, runtime, ticket, what)
end

-- ---- Files -------------------------------------------------------------------------------

local function new(path, limits, generation)
  local self = setmetatable({ path = path, limits = limits, id = nil, server = nil,
    closed = false }, Database)
  generation.databases = generation.databases or setmetatable({}, { __mode = "k" })
  generation.databases[self] = true
  return self
end

--- Open a database file to read it: at the top level of the app, or where a coroutine may wait.
-- @tparam string path
-- @tparam[opt] table given `timeout` (10: seconds for an answer), `busy` (5: seconds to wait while
--   another program has the file locked), `max_rows` (10000), `max_bytes` (8 MiB)
-- @treturn sluice.Database|nil or nil, message, code: "ECONNECT" (it is not there, or cannot be
--   opened), "EUPSTREAM" (no database, or a damaged one), "EBUSY", "ETIMEOUT", "EFULL"
function sqlite.open(path, given)
  if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
    caller.raise("sqlite.open(path): the path of a file is expected, not %s",
      show(path))
  end
  local limits = check_options(given)
  if process.loading then
    local quick = { timeout = limits.timeout, busy = 0, max_rows = 1, max_bytes = KNOWN.max_bytes }
    local ok, message, code = core.sql_look(path, quick)
    if not ok and code ~= "EBUSY" then return nil, message, code end
    return new(path, limits, process.loading)
  end
  local runtime = transfer.runtime("sqlite.open()")
  local self = new(path, limits, runtime.scheduler.current.generation)
  local ok, message, code = ask(self, "sqlite.open()", LOOK)
  if ok then return self end
  self:close()
  return nil, message, code
end

--- Run one statement that reads, and wait for all of its rows.
-- @tparam string sql
-- @param ... values for its `?` in their order, or one table of values by name for `:name`
-- @treturn table|nil rows: a list of tables by column (NULL is json.null); or nil, message, code:
--   "EINVAL" (the statement or its values are wrong), "EDENIED" (it would not only read),
--   "ETOOBIG", "ETIMEOUT", "EBUSY", "ECONNECT", "EUPSTREAM", "EFULL", "ECLOSED"
function Database:query(sql, ...)
  if type(sql) ~= "string" then
    caller.raise("db:query(sql, …): a statement is expected, not a %s", type(sql))
  end
  local rows, message, code
  local by_name = check_values(...)
  if by_name then
    rows, message, code = ask(self, "db:query()", sql, by_name)
  else
    rows, message, code = ask(self, "db:query()", sql, nil, ...)
  end
  if not rows then return nil, message, code end
  return json.array(rows)
end

--- Close the file. A statement that runs is ended ("ECLOSED"). A reload closes what the version
--- before has opened.
function Database:close()
  if self.closed then return end
  self.closed = true
  if self.id then pcall(self.server.sql_close, self.server, self.id) end -- it may be gone
end

Database.__close = Database.close
Database.__gc = Database.close

names.strict(Database, "db", ":", { "id", "server", "path", "closed" })
return names.strict(sqlite, "sqlite", ".")
