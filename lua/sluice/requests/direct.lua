--- Opens streams directly: what a plan function returns goes to the core in one step, and there is
-- no session. It is so for a route without guards whose function takes no client, and for a
-- request that asks for nothing but the stream; a function that waits, fails or returns more than
-- channels is served by requests/streams.lua. Keeps nothing in memory.
local core = require("sluice.core")
local request = require("sluice.requests.request")
local router = require("sluice.requests.router")
local streams = require("sluice.requests.streams")

local direct = {}

local is_spare = core.is_spare

--- The routes whose streams may be opened so.
-- @tparam sluice.Generation generation
-- @tparam {[integer]=string,...} names of routes, by the core's numbers
-- @treturn {[integer]=table,...}
function direct.routes(generation, names)
  local found = {}
  if #generation.readers > 0 then return found end
  for _, timer in ipairs(generation.timers) do
    if timer.channel then return found end -- it may have to run before a stream opens
  end
  for id, name in ipairs(names) do
    local route = generation.route_named[name]
    local calls = route and route.kind == "stream" and type(route.plan) == "function"
    if calls and not route.takes_client and #router.guards_of(generation, route) == 0 then
      found[id] = route
    end
  end
  return found
end

-- It waits, failed, or returned something else: it has a fiber of its own, and then a session.
local function go_on(runtime, route, id, req, fiber, ...)
  local waits, generation = false, fiber.generation
  local function ended(...)
    streams.go_on(runtime, generation, route, id, req, table.pack(...), fiber, waits)
  end
  runtime.scheduler:adopt(fiber, ended, ...)
  waits = not fiber.ended
  if waits then runtime.opening[id] = fiber end
end

local function settle(runtime, route, id, req, fiber, alive, ok, first, ...)
  local scheduler, opened, message, code, limit = runtime.scheduler, nil, nil, nil, nil
  if ok == true and is_spare(fiber.co) then
    opened, message, code, limit = runtime.server:open(id, first, route.heartbeat, req)
    if opened then scheduler:keep_plan(fiber) end
  end
  if opened == nil then
    go_on(runtime, route, id, req, fiber, alive, ok, first, ...)
  elseif not opened then
    streams.refuse(runtime, fiber.generation, route, id, req, message, code, limit)
  end
end

-- No tail call: a traceback names the plan.
local function plan_of(route, req)
  local first, second, third = route.plan(req)
  return first, second, third
end

--- The core's "stream", of a request that asks for nothing else.
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam integer route_id
-- @tparam table raw
-- @treturn boolean false: it is none of those, and nothing was done
function direct.request(runtime, id, route_id, raw)
  local generation = runtime.generation
  local route = generation.direct[route_id]
  if not route then return false end
  if runtime.identify then runtime.identify(raw) end
  if raw.user ~= nil then return false end -- a test's
  local req = request.new(raw)
  settle(runtime, route, id, req, runtime.scheduler:run_plan(generation, route.title,
    rawget(req, "traceparent"), plan_of, route, req))
  return true
end

return direct
