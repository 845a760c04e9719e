--- From a request to its answer: guards, handler, answer, what guards want to see of it.
-- A handler runs as one coroutine and finishes even when its client has gone: work that
-- was begun is done, only the answer goes nowhere. In memory: nothing but what runs.
local core = require("sluice.core")
local answers = require("sluice.answers")
local failure = require("sluice.failure")
local patterns = require("sluice.patterns")
local request = require("sluice.request")

local router = {}

local function guard_mistake(route, n, got)
  if type(got) == "function" then
    local text = "guard #%d of %s returned a function: write auth:user(), with the parentheses"
    error(text:format(n, route.name), 0)
  end
  local text = "guard #%d of %s returned %s: return true to go on, or a status"
  error(text:format(n, route.where, tostring(got)), 0)
end

-- The guards of a route: the app's that cover this path, then its own. 'path' is made from
-- the pattern and the decoded parameters, so that no spelling of a URL slips past.
local function guards_of(generation, route, req)
  if not route.covering then
    route.covering = {}
    for _, guard in ipairs(generation.guards) do
      if patterns.may_meet(guard.pattern, route.pattern) then
        table.insert(route.covering, guard)
      end
    end
  end
  if #route.covering == 0 then return route.guards end
  local list, path = {}, patterns.fill(route.pattern, req.params) or req.path
  for _, guard in ipairs(route.covering) do
    if core.match(guard.pattern, path) then table.move(guard, 1, #guard, #list + 1, list) end
  end
  return table.move(route.guards, 1, #route.guards, #list + 1, list)
end

--- Ask the guards of a route.
-- @tparam sluice.Generation generation
-- @tparam table route
-- @tparam sluice.Request req
-- @tparam table after filled with the functions that want to see the answer
-- @return nil when all agreed, else the refusal: status, body, headers
function router.guard(generation, route, req, after)
  for n, guard in ipairs(guards_of(generation, route, req)) do
    local answer, second, third = guard(req)
    if answer == true then
      if second ~= nil then after[#after + 1] = second end
    elseif type(answer) == "number" then
      return answer, second, third
    else
      guard_mistake(route, n, answer)
    end
  end
  return nil
end

--- Tell the guards that asked for it what was answered.
function router.tell(runtime, route, after, status, body)
  for i = #after, 1, -1 do
    local ok, problem = xpcall(after[i], failure.catch, status, body)
    if not ok then
      runtime:report(runtime.scheduler.current, problem, route.name .. ": after the answer")
    end
  end
end

-- A ":name" is one segment, whatever a URL's escapes say.
local function is_segment(route, params)
  for _, name in ipairs(route.parameters) do
    local value = params[name]
    if value and value:find("[/%c]") then return false end
  end
  return true
end

local function answer(generation, route, req, after)
  if not is_segment(route, req.params) then return answers.read(route.name, 404, "not found") end
  local status, body, headers = router.guard(generation, route, req, after)
  if status then return answers.read("a guard of " .. route.name, status, body, headers) end
  return answers.read(("%s (%s)"):format(route.name, route.where), route.handler(req))
end

local function serve(runtime, generation, route, id, req)
  local after = {}
  local ok, status, headers, text = xpcall(answer, failure.catch, generation, route, req, after)
  if not ok then
    local problem
    status, headers, text, problem = answers.failed(route.name, status)
    if problem then runtime:report(runtime.scheduler.current, problem) end
  end
  if #after > 0 then router.tell(runtime, route, after, status, text) end
  runtime.server:respond(id, status, headers, text)
end

router.is_segment = is_segment

--- The core's "request".
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam table route
-- @tparam table raw
function router.request(runtime, id, route, raw)
  local generation = runtime.generation
  local function on_end(ok)
    -- a cancelled or broken coroutine answers too, or the client waits for its time-out
    if ok ~= true then
      runtime.server:respond(id, answers.failed(route.name, failure.catch("ended")))
    end
  end
  runtime.scheduler:start(generation, "request", ("%s (%s)"):format(route.name, route.where),
    on_end,
    serve, runtime, generation, route, id, request.new(raw))
end

return router
