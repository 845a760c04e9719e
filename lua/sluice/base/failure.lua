--- What is kept of an error: its message and traceback, or the answer that a handler chose to
-- end with (req:abort). Made by the message handler of every coroutine.
local budget = require("sluice.base.budget")
local caller = require("sluice.base.caller")
local codes = require("sluice.base.codes")
local names = require("sluice.base.names")
local process = require("sluice.base.process")
local show = require("sluice.base.show")

local failure = {}

local Failure = { __name = "sluice.Failure" }
Failure.__index = Failure
Failure.__tostring = function(self) return self.message end

-- The text of what was raised; for an object, after the position that raised it. Its __tostring
-- is the app's code, and may itself use up the budget.
local function text_of(problem, place)
  if type(problem) == "string" then return problem end
  local meta = getmetatable(problem)
  local message = type(problem) == "table" and rawget(problem, "message")
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local ok, text = budget.call("__tostring of an error", tostring, problem)
    if ok then message = text elseif budget.tripped() then return text end
  end
  return place .. (type(message) == "string" and message or show(problem))
end

--- The message handler for xpcall. An object that was raised has no position in its text: the
-- line that raised it is added.
-- @param problem what was raised
-- @treturn table with `message` and `traceback`, or `status`, `body` and `headers`
function failure.catch(problem)
  if getmetatable(problem) == Failure then return problem end
  if process.runtime then budget.hold_children(process.runtime.scheduler.current) end
  local where = type(problem) ~= "string" and caller.where() or "?"
  local message = text_of(problem, where == "?" and "" or where .. ": ")
  message = names.explain(message, 2)
  return setmetatable({ message = message, traceback = caller.traceback(message) }, Failure)
end

--- The same for an error caught elsewhere, whose stack is gone.
function failure.late(problem)
  if getmetatable(problem) == Failure then return problem end
  return setmetatable({ message = text_of(problem, "") }, Failure)
end

local function settle(ok, problem, ...)
  -- when memory runs out the message handler is not called
  if not ok then return false, failure.late(problem) end
  return true, problem, ...
end

--- Call a function of the app.
-- @treturn boolean whether it returned
-- @return its results, or a sluice.Failure
function failure.try(fn, ...)
  return settle(xpcall(fn, failure.catch, ...))
end

local function settle_part(ok, problem, ...)
  if not ok and budget.tripped() then error(problem, 0) end
  return ok, problem, ...
end

--- Call a function of the app as one of several, of which others go on when it fails. They do
-- not when the budget of all of them is used up: that is raised.
-- @return as failure.try
function failure.part(fn, ...)
  return settle_part(failure.try(fn, ...))
end

--- The failure that ends a request with an answer.
function failure.abort(status, body, headers)
  return setmetatable({ message = "the request was ended with " .. status, status = status,
    body = body, headers = headers }, Failure)
end

--- Raise an error that answers a request with a code's status, and is an ordinary error elsewhere:
-- for functions whose result is used at once, as in `for … in`, so that nil would say nothing.
-- @tparam string message
-- @tparam string code
-- @tparam[opt] integer status another than the code's
function failure.refuse(message, code, status)
  status = status or codes.status(code)
  local where = caller.where()
  error(setmetatable({ message = ("%s: %s"):format(where, message), status = status, code = code,
    body = codes.body(status, message, code), traceback = caller.traceback(message) }, Failure), 0)
end

--- Fields for a log line.
function failure.fields(problem, fields)
  fields = fields or {}
  fields.traceback = problem.traceback
  return fields
end

return failure
