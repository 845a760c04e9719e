--- Turns what guards, handlers and plans return into status, headers and body.
--   nothing (204) | status[, body[, headers]] | body (200) | nil, message, code
-- Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local codes = require("sluice.base.codes")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local show = require("sluice.base.show")

local answers = {}

-- The disk may have room again soon, and a user fewer streams; a client that asks at once only adds
-- to the queue.
local RETRY = { ESTORE = { ["Retry-After"] = "5" }, ERATE = { ["Retry-After"] = "20" } }

local NO_BODY = { [204] = true, [304] = true }

local function check_status(where, status)
  local whole = math.tointeger(status)
  if not whole or whole < 200 or whole > 599 then
    error(("%s: %s is no status for an answer (200 to 599)"):format(where, show(status)), 0)
  end
  return whole
end

local function add_header(where, list, name, value)
  local text = core.text_of(value)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    error(("%s: '%s' is no header name"):format(where, tostring(name)), 0)
  end
  if (type(value) ~= "string" and type(value) ~= "number") or text:find("[%z\1-\8\10-\31\127]") then
    error(("%s: the value of header '%s' holds what a header must not"):format(where, name), 0)
  end
  list[#list + 1] = { name, text }
end

-- A map of names to values or lists of values, as a list of pairs; and whether it has a type.
local function read_headers(where, headers)
  local list, typed = {}, false
  if headers == nil then return list, typed end
  if type(headers) ~= "table" then
    error(("%s: headers are a table, not a %s"):format(where, type(headers)), 0)
  end
  for name, value in pairs(headers) do
    local values = type(value) == "table" and value or { value }
    for _, one in ipairs(values) do add_header(where, list, name, one) end
    if type(name) == "string" and name:lower() == "content-type" then typed = true end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list, typed
end

local function read_body(where, status, body)
  if body == nil or NO_BODY[status] then return nil end
  if type(body) == "string" then
    if status < 400 then return body, "text/plain; charset=utf-8" end
    body = codes.body(status, body)
  end
  local kind, is_constant = type(body), body == json.null or arrays.is_marked(body)
  if kind == "function" or kind == "thread" or kind == "userdata" and not is_constant then
    error(("%s returned a %s as the body: a table or a string is expected"):format(where,
      kind), 0)
  end
  local text, message = json.encode(body)
  if not text then error(("%s: the body cannot be JSON: %s"):format(where, message), 0) end
  return text, "application/json"
end

local function build(where, status, body, headers)
  status = check_status(where, status)
  local list, typed = read_headers(where, headers)
  local text, kind = read_body(where, status, body)
  if kind and not typed then table.insert(list, 1, { "Content-Type", kind }) end
  return status, list, text
end

--- Read what a handler returned; a field may follow nil, message, code. Raises when the app
-- made a mistake.
-- @tparam string where the route, for messages
-- @treturn integer status
-- @treturn {{string,string},...} headers
-- @treturn string|nil body
function answers.read(where, first, second, third, field)
  if first == nil then
    if second == nil then return 204, {}, nil end
    local status = codes.status(third)
    -- the log has the error: a client gets no names of files and no lines
    local message = third == "EINTERNAL" and "internal error" or tostring(second)
    return build(where, status, codes.body(status, message, third, field), RETRY[third])
  end
  if type(first) == "number" then return build(where, first, second, third) end
  if type(first) == "table" or type(first) == "string" then return build(where, 200, first) end
  error(("%s returned a %s: return nothing, a status, status and body, or a table"):format(where,
    type(first)), 0)
end

--- The answer for an error: the one that req:abort chose, else 500.
-- @tparam string where
-- @tparam sluice.Failure problem
-- @treturn integer status
-- @treturn table headers
-- @treturn string|nil body
-- @treturn sluice.Failure|nil what to log
function answers.failed(where, problem)
  if problem.status then
    local ok, status, headers, text = failure.try(build, where, problem.status,
      problem.body, problem.headers)
    if ok then return status, headers, text, nil end
    problem = status
  end
  local status, headers, text = build(where, 500, codes.body(500, "internal error"))
  return status, headers, text, problem
end

return answers
