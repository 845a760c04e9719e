--- From a stream request to an open stream: guards, plan, read rules, acceptance.
-- A stream URL never answers 5xx or 429, which would stop browsers for good: the core says
-- 200 and bye in their place, without an id. A plan function that uses its client before it returns opens
-- the stream and writes it from its coroutine. In memory: nothing but what runs.
local answers = require("sluice.answers")
local channels = require("sluice.channels")
local codes = require("sluice.codes")
local failure = require("sluice.failure")
local hooks = require("sluice.hooks")
local plan = require("sluice.plan")
local request = require("sluice.request")
local router = require("sluice.router")
local stream_client = require("sluice.stream_client")

local streams = {}

-- Tell core and runtime about a stream; returns its id, or nil, message, code.
local function accept(session, concrete, meta)
  local runtime, req = session.runtime, session.req
  local user = req.user
  local id, message, code = runtime.server:accept(session.id, concrete, { user = user and user.id })
  if not id then return nil, message, code end
  session.client_id = id
  runtime:remember(id, user, meta)
  return id
end

-- Open now, because a plan function wants to write.
local function open_early(session, client)
  if session.refused then return nil end
  local id = accept(session, { channels = {} }, client.meta)
  if not id then session.refused = true return nil end
  rawset(client, "id", id)
  session.runtime.writers[id] = session.runtime.scheduler.current
  return id
end

local function run_plan(session)
  local route, req = session.route, session.req
  if type(route.plan) ~= "function" then return route.checked end
  local client = stream_client.pending(session.runtime,
    function(self) return open_early(session, self) end, req)
  session.client = client
  local first, second, third = route.plan(req, client)
  if type(first) == "number" or first == nil and second ~= nil then
    return nil, first, second, third
  end
  if first == nil then
    if session.client_id or session.refused then return nil end
    error(route.where .. ": the plan function returned nothing: return a channel, a plan table, "
      .. "or a status", 0)
  end
  return plan.check(("%s: the plan of %s"):format(route.where, route.pattern), first)
end

local function not_allowed(session, concrete)
  local client = session.client or stream_client.pending(session.runtime, function() return nil end,
    session.req)
  for _, entry in ipairs(concrete.channels) do
    if not channels.may_read(session.generation, entry[1], session.req.user, client) then
      return codes.body(403, "not allowed: " .. entry[1], "EDENIED")
    end
  end
end

-- "answer", status, headers, text | "plan", concrete, meta | "ended"
local function decide(session)
  local route, req = session.route, session.req
  if not router.is_segment(route, req.params) then
    return "answer", answers.read(route.name, 404, "not found")
  end
  local status, body, headers = router.guard(session.generation, route, req, session.after)
  if status then
    return "answer", answers.read("a guard of " .. route.name, status, body, headers)
  end
  local planned, first, second, third = run_plan(session)
  if not planned then
    if first == nil and second == nil then return "ended" end
    return "answer", answers.read(route.title, first, second, third)
  end
  local concrete, message = plan.concrete(planned, req)
  if not concrete then return "answer", answers.read(route.name, 404, message) end
  local denied = not_allowed(session, concrete)
  if denied then return "answer", answers.read(route.name, 403, denied) end
  if req.method == "HEAD" then
    return "answer", answers.read(route.name, 200, nil, { ["Content-Type"] = "text/event-stream" })
  end
  concrete.heartbeat = concrete.heartbeat or route.heartbeat
  for _, entry in ipairs(concrete.channels) do session.runtime.timers:warm(entry[1]) end
  return "plan", concrete, planned.meta
end

local function refuse(session, status, headers, text)
  if session.client_id then
    session.runtime.server:close(session.client_id, status >= 500 and "error" or "denied")
  else
    router.respond(session.runtime, session.id, session.route, status, headers, text)
  end
  return status
end

-- The plan of a stream that a plan function has opened already.
local function extend(session, concrete)
  local runtime, id = session.runtime, session.client_id
  for _, entry in ipairs(concrete.channels) do
    local ok, message, code = runtime.server:subscribe(id, entry)
    if ok then
      hooks.fire_channel(runtime, "subscribe", session.client, entry[1])
    elseif code ~= "ECLOSED" then
      error(("%s: %s"):format(session.route.where, message), 0)
    end
  end
  return 200
end

local function open(session, concrete, meta)
  if session.client_id then return extend(session, concrete) end
  local id, message, code = accept(session, concrete, meta)
  if id or code == "ECLOSED" then return 200 end
  local status = codes.status(code)
  return refuse(session, answers.read(session.route.name, status,
    codes.body(status, message, code)))
end

local function act(session)
  local what, a, b, c = decide(session)
  if what == "plan" then return open(session, a, b) end
  if what == "answer" then return refuse(session, a, b, c) end
  if session.client_id then session.runtime.server:close(session.client_id) end
  return 200
end

local function serve(session)
  local runtime = session.runtime
  local ok, status = xpcall(act, failure.catch, session)
  if not ok then
    local headers, text, problem
    local where = session.route.name
    status, headers, text, problem = answers.failed(where, status)
    if problem then runtime:report(runtime.scheduler.current, problem) end
    refuse(session, status, headers, text)
  end
  if #session.after > 0 then router.tell(runtime, session.route, session.after, status, nil) end
end

--- The core's "stream".
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam table route
-- @tparam table raw
function streams.request(runtime, id, route, raw)
  local session = { runtime = runtime, generation = runtime.generation, route = route, id = id,
    req = request.new(raw), after = {} }
  local function on_end(ok)
    runtime.opening[id] = nil
    if session.client_id then runtime.writers[session.client_id] = nil end
    if ok ~= true and not runtime.ended then refuse(session, 500, {}, nil) end
  end
  local fiber = runtime.scheduler:start(session.generation, "stream", route.title, on_end,
    serve, session)
  if not fiber.ended then runtime.opening[id] = fiber end
end

return streams
