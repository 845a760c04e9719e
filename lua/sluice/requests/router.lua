--- From a request to its answer: guards, handler, answer, and the functions of guards that get
-- the answer. A handler runs as one coroutine and finishes even when its client has disconnected:
-- only the answer is dropped. In memory: the coroutines that run.
local answers = require("sluice.requests.answers")
local budget = require("sluice.base.budget")
local codes = require("sluice.base.codes")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local patterns = require("sluice.base.patterns")
local pieces = require("sluice.requests.pieces")
local request = require("sluice.requests.request")

local router = {}

local function guard_mistake(route, asked, got)
  if type(got) == "function" then
    local text = "guard #%d of %s returned a function: write auth:user(), with the parentheses"
    error(text:format(asked.n, route.name), 0)
  end
  local text = "guard #%d of %s returned %s: return true to go on, or a status"
  error(text:format(asked.n, asked.where, tostring(got)), 0)
end

-- A text beside true is what "return fine and true or 404, message" leaves, and is no mistake.
local function guard_surplus(asked, got)
  error(("guard #%d of %s returned true and a %s: only a function of the answer may follow true")
    :format(asked.n, asked.where, type(got)), 0)
end

local function find_guards(generation, route)
  local list = {}
  for _, guards in ipairs(generation.guards) do
    if patterns.may_overlap(guards.pattern, route.pattern) then
      local pattern = not patterns.covers(guards.pattern, route.pattern) and guards.pattern or nil
      for n, fn in ipairs(guards) do
        list[#list + 1] = { fn = fn, n = n, where = guards.where, pattern = pattern }
      end
    end
  end
  for n, fn in ipairs(route.guards) do list[#list + 1] = { fn = fn, n = n, where = route.where } end
  return list
end

--- The guards that may apply to a route: the app's, then its own.
-- @tparam sluice.Generation generation
-- @tparam table route
-- @treturn {table,...} { fn, n, where, pattern }; `pattern`: only paths that match it are guarded
function router.guards_of(generation, route)
  local guards = route.all_guards or find_guards(generation, route)
  route.all_guards = guards
  return guards
end

-- The path as guards see it. "/files//secret" names the same file as "/files/secret", so a guard
-- must match both.
local function path_of(req)
  return (req.path:gsub("//+", "/"))
end

-- Who the user is is known when the guards have run.
local function over_limit(generation, req)
  local user = rawget(req, "user")
  local id = type(user) == "table" and user.id
  local wait = id and generation.server:ask(tostring(id))
  if wait then return 429, "too many requests", { ["Retry-After"] = wait } end
end

--- Run the guards of a route.
-- @tparam sluice.Generation generation
-- @tparam table route
-- @tparam sluice.Request req
-- @tparam table after filled with the functions that get the answer
-- @return nil when all agreed, else the refusal: status, body, headers, and which guard it was; nil
--   instead of that when the user is over a limit
function router.guard(generation, route, req, after)
  local guards = router.guards_of(generation, route)
  if #guards == 0 and rawget(req, "user") == nil then return nil end -- nobody to ask
  local look, path = generation.runtime.after_guard, nil
  for _, asked in ipairs(guards) do
    if asked.pattern then path = path or path_of(req) end
    if not asked.pattern or core.match(asked.pattern, path) then
      local answer, second, third = asked.fn(req)
      if look then look(req, asked) end
      if type(answer) == "number" then return answer, second, third, asked end
      if answer ~= true then guard_mistake(route, asked, answer) end
      if type(second) == "function" then after[#after + 1] = second
      elseif second ~= nil and type(second) ~= "string" then guard_surplus(asked, second) end
    end
  end
  return over_limit(generation, req)
end

-- Headers as the app writes them: values by name, or lists of values.
local function by_name(list)
  local map = {}
  for _, pair in ipairs(list or {}) do
    local name, value = pair[1], pair[2]
    local before = map[name]
    if type(before) == "table" then before[#before + 1] = value
    else map[name] = before and { before, value } or value end
  end
  return map
end

--- Pass the answer to the functions that guards returned.
function router.notify(runtime, route, after, status, body, headers)
  for i = #after, 1, -1 do
    local ok, problem = failure.part(after[i], status, body, by_name(headers))
    if not ok then
      runtime:report(runtime.scheduler.current, problem, route.name .. ": after the answer")
    end
  end
end

--- Send an answer. One that the core refuses to write is a mistake of the app: 500.
function router.respond(runtime, id, route, status, headers, text)
  local ok, message, code = runtime.server:respond(id, status, headers, text)
  if ok or code == "ECLOSED" then return end
  local fiber = runtime.scheduler.current
  runtime:report(fiber, failure.late(message), route.title)
  runtime.server:respond(id, answers.failed(route.title, failure.late(message)))
end

local FILE = "file" -- instead of a status: the core has the file

local function answer(generation, route, req, after)
  local status, body, headers = router.guard(generation, route, req, after)
  if status then return answers.read("a guard of " .. route.name, status, body, headers) end
  if route.body_max then rawget(req, "_pieces"):open() end
  if route.files and route.files[req.path] then return FILE end
  return answers.read(route.title, route.handler(req))
end

-- When a reload has removed or added the file meanwhile the answer is 404.
local function respond_file(runtime, id, route, after)
  if #after > 0 then router.notify(runtime, route, after, 200) end
  local ok, _, code = runtime.server:respond_file(id)
  if not ok and code ~= "ECLOSED" then
    router.respond(runtime, id, route, answers.read(route.title, 404, "not found"))
  end
end

local function serve(runtime, generation, route, id, req)
  runtime.scheduler.current.trace = rawget(req, "traceparent")
  local after = {}
  local ok, status, headers, text = failure.try(answer, generation, route, req, after)
  if not ok then
    local problem
    status, headers, text, problem = answers.failed(route.name, status)
    if problem then runtime:report(runtime.scheduler.current, problem) end
    budget.close_children(runtime.scheduler.current)
  end
  if status == FILE then return respond_file(runtime, id, route, after) end
  if #after > 0 then router.notify(runtime, route, after, status, text, headers) end
  router.respond(runtime, id, route, status, headers, text)
end

--- The core's "request".
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam table route
-- @tparam table raw
function router.request(runtime, id, route, raw)
  local generation = runtime.generation
  local upload = route.body_max and pieces.new(runtime, id, route, raw.pieces) or nil
  local function on_end(ok)
    if upload then upload:close() end
    if ok == true then return end
    -- a cancelled or failed coroutine answers too, or the client would wait for a timeout
    local why = runtime.exit_code and "the server is stopping"
      or generation.phase == "retiring" and "a reload ended the handler after its time to finish"
    if ok == nil and why then
      local body = codes.body(503, why)
      return runtime.server:respond(id, answers.read(route.name, 503, body))
    end
    runtime.server:respond(id, answers.failed(route.name, failure.late("ended")))
  end
  runtime.scheduler:start(generation, "request", route.title, on_end,
    serve, runtime, generation, route, id, request.new(raw, upload))
end

return router
