--- From a stream request to an open stream: guards, plan, read rules, acceptance.
-- A stream URL never answers 5xx or 429, which would stop browsers permanently: the core says
-- 200 and bye in their place, without an id. A plan function that uses its client before it
-- returns opens the stream and writes it from its coroutine. streams.again runs the plan of
-- an open stream again (a reload, app:replan). In memory: the plans that run, with their requests.
local acceptance = require("sluice.requests.acceptance")
local answers = require("sluice.requests.answers")
local asked = require("sluice.requests.asked")
local budget = require("sluice.base.budget")
local channels = require("sluice.app.channels")
local codes = require("sluice.base.codes")
local failure = require("sluice.base.failure")
local feed = require("sluice.app.feed")
local plain = require("sluice.base.plain")
local plan = require("sluice.app.plan")
local plan_options = require("sluice.app.plan_options")
local request = require("sluice.requests.request")
local router = require("sluice.requests.router")
local show = require("sluice.base.show")
local stream_handle = require("sluice.app.stream_handle")
local stream_hooks = require("sluice.app.stream_hooks")

local streams = {}

--- The channels that an open stream follows, as a set.
function streams.followed(runtime, id)
  local info, set = runtime.server:client(id), {}
  for _, name in ipairs(info and info.channels or {}) do set[name] = true end
  return set
end

local ANSWERED = {} -- in place of a plan: it is open, or refused

-- Open now, because a plan function wants to write.
local function open_early(session, client)
  if session.refused then return nil end
  local id, again, code = acceptance.accept(session, { channels = {} }, client.meta, true)
  if not id or again == true then
    session.refused = true
    if not id then acceptance.refuse_open(session, again, code) end
    -- it is answered, or another run writes for the client that polls: this ends where it waits
    if session.req.method == "HEAD" or id or code ~= "ECLOSED" then
      session.runtime.scheduler:cancel(session.runtime.scheduler.current)
    end
    return nil
  end
  rawset(client, "id", id)
  local fiber = session.runtime.scheduler.current
  fiber.session = session
  session.runtime.writers[id] = fiber
  if session.generation.phase ~= "live" then session.runtime.handover:begin() end
  return id
end

-- What the plan function returned or raised when it was called alone.
local function result_of(session)
  local result = session.result
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

local function run_plan(session)
  local route, req = session.route, session.req
  if type(route.plan) ~= "function" then return route.checked end
  if route.kind == "feed" then return feed.run_plan(route, req) end
  local client = session.client
  if not client and route.takes_client then
    client = stream_handle.pending(session, open_early)
    session.client = client
  end
  local first, second, third
  if session.result then first, second, third = result_of(session)
  else first, second, third = route.plan(req, client) end
  local status = second == nil and acceptance.open_at_once(session, first)
  if status then return ANSWERED, status end
  local usual = plan.usual(first, req)
  if usual then return usual end
  if type(first) == "number" or first == nil and second ~= nil then
    return nil, first, second, third
  end
  if first == nil then
    if session.client_id or session.refused then return nil end
    error(route.where .. ": the plan function returned nothing: return a channel, a plan table, "
      .. "or a status", 0)
  end
  route.plan_name = route.plan_name or ("%s: the plan of %s"):format(route.where, route.pattern)
  local planned = plan.check(route.plan_name, first)
  if planned.compress ~= nil then
    error(("%s: compress is said before a request comes: app:stream(%q, { compress = %s }, fn)")
      :format(route.plan_name, route.pattern, show(planned.compress)), 0)
  end
  return planned
end

local function not_allowed(session, concrete)
  if #session.generation.readers == 0 then return nil end
  local client = session.client or stream_handle.pending(session)
  for _, entry in ipairs(concrete.channels) do
    local name = plan_options.name_of(entry)
    local good, rule = channels.may_read(session.generation, name, session.req.user, client)
    if not good then
      session.why_not = { cause = "read", channel = name, pattern = rule.pattern,
        where = rule.where }
      return codes.body(403, "not allowed: " .. name, "EDENIED")
    end
  end
end

-- What guards decide before the plan: "answer", status, headers, text, or nil.
local function admit(session)
  local route, req = session.route, session.req
  if session.why or session.result then return nil end -- it has passed the guards already
  local status, body, headers, by = router.guard(session.generation, route, req, session.after)
  if not status then return nil end
  session.why_not = by and { cause = "guard", guard = by.n, where = by.where }
    or { cause = "limit", limit = "max_requests_per_user" } -- router.guard
  return "answer", answers.read("a guard of " .. route.name, status, body, headers)
end

-- Whether this is the next poll of a client that its function writes: who asks is known after the
-- guards, and the function has run.
local function is_claimed(session)
  if not session.polls then return false end
  local user = session.req.user
  local nothing = { channels = {}, expires = acceptance.expires_of(user) }
  return session.runtime.server:claim(session.id, nothing, user and user.id)
end

-- "answer", status, headers, text | "plan", concrete, meta | "answered", status | "ended"
local function decide(session)
  local route, req = session.route, session.req
  local verdict, code, list, text = admit(session)
  if verdict then return verdict, code, list, text end
  if is_claimed(session) then return "ended" end
  local planned, first, second, third = run_plan(session)
  if planned == ANSWERED then return "answered", first end
  if not planned then
    if first == nil and second == nil then return "ended" end
    session.why_not = { cause = "plan", text = type(second) == "string" and second or nil }
    return "answer", answers.read(route.title, first, second, third)
  end
  local concrete, message = plan.concrete(planned, req, planned == route.checked and req.params)
  if not concrete then
    session.why_not = { cause = "channel", text = message }
    return "answer", answers.read(route.name, 404, message)
  end
  local denied = not_allowed(session, concrete)
  if denied then return "answer", answers.read(route.name, 403, denied) end
  concrete.heartbeat = concrete.heartbeat or route.heartbeat
  if req.method == "HEAD" then return "plan", concrete end -- which the core never opens
  session.runtime.timers:warm_all(concrete.channels)
  return "plan", concrete, planned.meta
end

-- Apply the plan of a stream that is open already; app:replan also removes other channels.
local function extend(session, concrete)
  local runtime, id = session.runtime, session.client_id
  local followed = streams.followed(runtime, id)
  for _, entry in ipairs(concrete.channels) do
    local name = plan_options.name_of(entry)
    if not followed[name] then
      local ok, message, code = stream_handle.follow(session.client, entry)
      if not ok and code ~= "ECLOSED" then
        error(("%s: %s"):format(session.route.where, message), 0)
      end
    end
    followed[name] = nil
  end
  if session.why ~= "replan" then return 200 end
  for name in pairs(followed) do
    local _, announced = runtime.server:unsubscribe(id, name)
    if announced then stream_hooks.leave(runtime, session.client, name) end
  end
  return 200
end

local function open(session, concrete, meta)
  if session.client_id then return extend(session, concrete) end
  local id, message, code = acceptance.accept(session, concrete, meta)
  return id and 200 or acceptance.refuse_open(session, message, code)
end

local function act(session)
  local what, a, b, c = decide(session)
  if what == "plan" then return open(session, a, b) end
  if what == "answer" then return acceptance.refuse(session, a, b, c) end
  if what == "answered" then return a end
  if session.client_id then
    session.runtime.recorder:deed({ message = "closed", client = session.client_id,
      cause = "finished", route = session.route.name, where = session.route.where })
    session.runtime.server:close(session.client_id, "end")
  end
  return 200
end

local function serve(session)
  local runtime = session.runtime
  local fiber, ran = runtime.scheduler.current, session.ran
  if session.trace then fiber.trace = session.trace end
  if ran then fiber.children, fiber.held = ran.children, ran.held end
  if session.why then
    runtime.writers[session.client_id], fiber.session = fiber, session
  end
  local ok, status = failure.try(act, session)
  if not ok then
    local headers, text, problem
    status, headers, text, problem = answers.failed(session.route.name, status)
    session.why_not = problem and { cause = "plan_error", text = problem.message,
      traceback = problem.traceback } or { cause = "plan", text = "req:abort" }
    if problem then runtime:report(runtime.scheduler.current, problem) end
    budget.close_children(runtime.scheduler.current)
    acceptance.refuse(session, status, headers, text)
  end
  if #session.after > 0 then router.notify(runtime, session.route, session.after, status, nil) end
end

-- The coroutine of a session has ended; as a scheduler's on_end.
local function on_end(session, ok)
  local runtime = session.runtime
  if session.id then runtime.opening[session.id] = nil end
  if session.handed then return end
  if session.client_id then runtime.writers[session.client_id] = nil end
  if ok == nil and runtime.exit_code and session.client_id then return end -- the drain sends bye
  if ok ~= true and not runtime.ended then acceptance.refuse(session, 500, {}, nil) end
end

local function start(session)
  local runtime, id = session.runtime, session.id
  local fiber = runtime.scheduler:start(session.generation, "stream", session.route.title,
    function(ok) on_end(session, ok) end, serve, session)
  if id and not fiber.ended then runtime.opening[id], session.fiber = fiber, fiber end
end

local function new_session(runtime, generation, route, id, req)
  return { runtime = runtime, generation = generation, route = route, id = id,
    trace = rawget(req, "traceparent"), polls = rawget(req, "_names_client"), req = req,
    after = {} }
end

--- The core does not open a stream with what its plan function returned.
function streams.refuse(runtime, generation, route, id, req, message, code, limit)
  acceptance.refuse_at_once(new_session(runtime, generation, route, id, req), message, code, limit)
end

--- Serve a stream with what its plan function returned, or raised, in a coroutine of its own
-- (requests/direct.lua).
-- @tparam sluice.Runtime runtime
-- @tparam sluice.Generation generation
-- @tparam table route
-- @tparam integer id the request
-- @tparam sluice.Request req
-- @tparam {n=integer,...} result true and what it returned; false and a failure; or nothing: it was
--   cancelled
-- @tparam table fiber the coroutine: what it has made is closed with that of the session
-- @tparam boolean waited
function streams.go_on(runtime, generation, route, id, req, result, fiber, waited)
  local session = new_session(runtime, generation, route, id, req)
  session.result, session.ran, session.fiber = result, fiber, waited and fiber or nil
  if result[1] == nil then return on_end(session) end
  start(session)
end

--- The core's "stream".
-- @tparam sluice.Runtime runtime
-- @tparam integer id the request
-- @tparam table route
-- @tparam table raw
function streams.request(runtime, id, route, raw)
  start(new_session(runtime, runtime.generation, route, id, request.new(raw)))
end

--- Run the plan of an open stream again, with the code of the current generation.
-- @tparam sluice.Runtime runtime
-- @tparam string id the client
-- @tparam table|nil before the session of the coroutine that wrote the stream
-- @tparam string why "reload" or "replan": becomes client.resumed
-- @treturn string|nil its path, when there is no stream for that: it was ended
function streams.again(runtime, id, before, why)
  local info = runtime.server:client(id)
  if not info or not runtime.server:want_close(id) then return end
  local route, params = runtime:route_of(info.path, info.route)
  -- it comes back: to 404, or to where it was in a log
  if not route or route.kind == "feed" then
    runtime.recorder:deed({ message = "closed", client = id, cause = "route", path = info.path })
    return runtime.server:close(id, "end") and info.path
  end
  local entry = runtime.clients[id]
  local req = asked.again(before and before.req or entry and entry.asked, info, params)
  if before and before.route.name ~= route.name then req.params = params end
  req.user = entry and entry.user
  local meta = before and before.client and rawget(before.client, "meta") or entry and entry.meta
  local client = stream_handle.new(runtime, id, { resumed = why, user = req.user, ip = info.ip,
    path = info.path, params = req.params, meta = meta and plain.clean_copy(meta, "meta") or {} })
  if before then runtime:remember(id, req.user, client.meta, true, entry and entry.asked) end
  start({ runtime = runtime, generation = runtime.generation, route = route, req = req, after = {},
    client_id = id, client = client, why = why })
end

return streams
