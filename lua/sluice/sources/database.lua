--- One connection to PostgreSQL as the coroutine of a source sees it. A thread of its own has it,
--- and nothing else waits. In memory: the rows of an answer.
local transfer = require("sluice.out.transfer")

local database = {}

---@class sluice.sources.Database
local Database = {}
Database.__index = Database

local WHAT = "a source of PostgreSQL"
local SECONDS = 20
local LIMITS = { timeout = SECONDS, busy = 0, max_rows = 1000, max_bytes = 64 << 20 }

local forget = { __close = function(question)
  local runtime, ticket = question.runtime, question.ticket
  if not runtime.questions[ticket] then return end
  runtime.questions[ticket] = nil
  pcall(runtime.server.sql_cancel, runtime.server, ticket) -- it may be gone at the end
end }

local function ask(self, sql, ...)
  local runtime = self.runtime
  local ticket, message = runtime.server:sql_ask(self.id, sql, nil, ...)
  if not ticket then return nil, message end
  local scheduler = runtime.scheduler
  local _ <close> = setmetatable({ runtime = runtime, ticket = ticket }, forget)
  runtime.questions[ticket] = scheduler.current
  return scheduler:wait(WHAT)
end

--- Run one statement, and wait for its rows. The first one connects.
-- @tparam string sql with $1, $2 … for its values
-- @tparam string ... values
-- @treturn {table,...}|nil rows by column, all texts; or nil, message
function Database:ask(sql, ...)
  return ask(self, sql, ...)
end

--- Wait for a notification.
-- @tparam integer ms at most
-- @treturn boolean|nil whether there was one; or nil, message
function Database:wait(ms)
  local rows, message = ask(self, "", ms)
  if not rows then return nil, message end
  return #rows > 0
end

--- Close it.
function Database:close()
  if self.closed then return end
  self.closed = true
  pcall(self.runtime.server.sql_close, self.runtime.server, self.id) -- it may be gone at the end
end

Database.__close = Database.close
Database.__gc = Database.close

--- Open one; nothing is sent before it is asked.
-- @tparam string url
-- @treturn sluice.sources.Database|nil or nil, message
function database.open(url)
  local runtime = transfer.runtime(WHAT)
  local id, message = runtime.server:sql_open(url, LIMITS, true)
  if not id then return nil, message end
  return setmetatable({ runtime = runtime, id = id, closed = false }, Database)
end

return database
