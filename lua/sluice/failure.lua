--- What is kept of an error: message and traceback, or an answer that a handler chose to
-- end with (req:abort). Made by the message handler of every coroutine.
local caller = require("sluice.caller")
local codes = require("sluice.codes")
local guard = require("sluice.guard")
local names = require("sluice.names")
local process = require("sluice.process")

local failure = {}

local Failure = { __name = "sluice.Failure" }
Failure.__index = Failure
Failure.__tostring = function(self) return self.message end

--- The message handler for xpcall.
-- @param problem what was raised
-- @treturn table with `message` and `traceback`, or `status`, `body` and `headers`
function failure.catch(problem)
  if getmetatable(problem) == Failure then return problem end
  if process.runtime then guard.hold_children(process.runtime.scheduler.current) end
  local message = type(problem) == "table" and rawget(problem, "message") or problem
  message = names.explain(tostring(message), 2)
  return setmetatable({ message = message, traceback = caller.traceback(message) }, Failure)
end

local function settle(ok, problem, ...)
  -- without memory the message handler was not asked
  if not ok then return false, failure.catch(problem) end
  return true, problem, ...
end

--- Call a function of the app.
-- @treturn boolean whether it returned
-- @return its results, or a sluice.Failure
function failure.try(fn, ...)
  return settle(xpcall(fn, failure.catch, ...))
end

--- The failure that ends a request with an answer.
function failure.abort(status, body, headers)
  return setmetatable({ message = "the request was ended with " .. status, status = status,
    body = body, headers = headers }, Failure)
end

--- Raise what answers a request with a code's status, and is an error like others elsewhere:
-- for functions whose result is used at once, as in `for … in`, so that nil would say nothing.
-- @tparam string message
-- @tparam string code
function failure.refuse(message, code)
  local status = codes.status(code)
  local where = caller.where()
  error(setmetatable({ message = ("%s: %s"):format(where, message), status = status,
    body = codes.body(status, message, code), traceback = caller.traceback(message) }, Failure), 0)
end

--- Fields for a log line.
function failure.fields(problem, fields)
  fields = fields or {}
  fields.traceback = problem.traceback
  return fields
end

return failure
