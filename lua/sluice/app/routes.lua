--- Routes as an app registers them, and as the core needs them.
-- In memory: the routes of one generation.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local feed = require("sluice.app.feed")
local handlers_only = require("sluice.base.handlers_only")
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local plan = require("sluice.app.plan")
local plan_options = require("sluice.app.plan_options")

local routes = {}

local ROUTES_MAX = 10000
local BODY_MOST = 1 << 53

--- Check the pattern of a route, guard or rule; raises.
-- @tparam string what the method
-- @tparam string path
function routes.check_path(what, path)
  if type(path) ~= "string" then
    caller.raise("app:%s(path, …): the path comes first: a string that starts with a slash, not %s",
      what, path == nil and "nothing" or "a " .. type(path))
  elseif path:sub(1, 1) ~= "/" then
    caller.raise("app:%s(path, …): the path is a string that starts with a slash", what)
  end
  local ok, message = core.check_pattern(path)
  if not ok then caller.raise("app:%s(%q): %s", what, path, message) end
  if path:find("^/%-/") then
    caller.raise("app:%s(%q): paths under /-/ belong to the server", what, path)
  end
end

local check_path = routes.check_path

local function check_guards(path, guards)
  for i = 1, guards.n do
    if type(guards[i]) ~= "function" then
      caller.raise("guard #%d of %s is a %s: a guard is a function", i, path, type(guards[i]))
    end
  end
end

-- The path has been checked.
local function add(generation, method, path, guards)
  check_guards(path, guards)
  local key, where = method .. " " .. patterns.shape(path), caller.where()
  local old = generation.route_shapes[key]
  if old then caller.raise("%s %s is registered already (%s)", method, path, old.where) end
  if #generation.routes >= ROUTES_MAX then caller.raise("more than %d routes", ROUTES_MAX) end
  local route = { name = method .. " " .. path, method = method, pattern = path, where = where,
    guards = table.move(guards, 1, guards.n, 1, {}) }
  route.title = ("%s (%s)"):format(route.name, where)
  generation.route_shapes[key] = route
  generation.route_named[route.name] = route
  table.insert(generation.routes, route)
  return route
end

local WITH_BODY = { post = true, put = true, patch = true }

-- The largest body of a route that takes it in pieces; raises.
local function read_body_options(what, path, given)
  local named = ("app:%s(%q)"):format(what, path)
  local o = options(named, given, { body = options.NONE, max = options.NONE })
  if not WITH_BODY[what] then
    caller.raise("%s: options are for app:post, app:put and app:patch: a %s has no body to take",
      named, what:upper())
  elseif o.body ~= "stream" then
    caller.raise('%s: body is "stream", or the options are left out', named)
  end
  local max = math.type(o.max) and math.tointeger(o.max)
  if not max or max < 1 or max > BODY_MOST then
    caller.raise("%s: max is the largest body that is let in: bytes, from 1", named)
  end
  return max
end

--- Register a handler: app:get and its like.
-- @tparam sluice.Generation generation
-- @tparam string what "get"
-- @tparam string path
-- @param ... guards, options ({ body = "stream", max = bytes }), then the handler
function routes.handler(generation, what, path, ...)
  check_path(what, path)
  local list = table.pack(...)
  local handler = list[list.n]
  if type(handler) ~= "function" then
    caller.raise("app:%s(%q, …): the last argument is the handler: a function, not %s", what, path,
      list.n == 0 and "nothing" or "a " .. type(handler))
  end
  list.n = list.n - 1
  local body_max
  if list.n > 0 and type(list[list.n]) == "table" then
    body_max = read_body_options(what, path, list[list.n])
    list.n = list.n - 1
  end
  local route = add(generation, what:upper(), path, list)
  route.handler, route.body_max = handler, body_max
end

-- Whether a plan function has a parameter for the client: one that it does not take is not made.
local function takes_client(given)
  if type(given) ~= "function" then return false end
  local info = debug.getinfo(given, "u")
  return info.nparams > 1 or info.isvararg
end

--- Register a stream: app:stream(path[, guard…][, opts], plan).
function routes.stream(generation, path, ...)
  local list = table.pack(...)
  local given = list[list.n]
  check_path("stream", path)
  if given == nil then caller.raise("app:stream(%q, …): the plan is missing", path) end
  list.n = list.n - 1
  local opts
  if list.n > 0 and type(list[list.n]) == "table" then
    opts = plan_options.check(("app:stream(%q)"):format(path), "route", list[list.n])
    list.n = list.n - 1
  end
  local what = ("the plan of %s"):format(path)
  local checked
  if type(given) ~= "function" then checked = plan.check(what, given) end
  local route = add(generation, opts and opts.method or "GET", path, list)
  if checked then plan.check_templates(what, checked, path) end
  route.kind, route.plan, route.checked = "stream", given, checked
  route.takes_client = takes_client(given)
  route.heartbeat = opts and opts.heartbeat
  route.compress = opts and opts.compress
  if route.compress == nil and checked then route.compress = checked.compress end
end

--- Register a feed: app:durable_stream(path[, guard…], plan).
function routes.durable_stream(generation, path, ...)
  local list = table.pack(...)
  local given = list[list.n]
  check_path("durable_stream", path)
  if given == nil then caller.raise("app:durable_stream(%q, …): the channel is missing", path) end
  list.n = list.n - 1
  local what = ("app:durable_stream(%q)"):format(path)
  local checked
  if type(given) ~= "function" then checked = feed.check(what, given) end
  local route = add(generation, "GET", path, list)
  if checked then plan.check_templates(what, checked, path) end
  route.kind, route.plan, route.checked = "feed", given, checked
end

-- A stream has no answer that could be kept, and a body in pieces cannot be compared. Guards of
-- app:guard may be registered behind it.
local function check_guards_fit(generation, route)
  local what = route.body_max and "%s: %s looks at the whole body, and would guard %s (%s), "
    .. "whose body comes in pieces" or "%s: %s is for handlers, and would guard the stream %s (%s)"
  local function check(guards, where)
    for _, fn in ipairs(guards) do
      if handlers_only[fn] then
        error(what:format(where, handlers_only[fn], route.name, route.where), 0)
      end
    end
  end
  check(route.guards, route.where)
  for _, guards in ipairs(generation.guards) do
    if patterns.may_overlap(guards.pattern, route.pattern) then check(guards, guards.where) end
  end
end

--- Register guards for all routes under a pattern: app:guard.
function routes.guard(generation, pattern, ...)
  check_path("guard", pattern)
  local guards = table.pack(...)
  if guards.n == 0 then caller.raise("app:guard(%q, …): a guard is missing", pattern) end
  check_guards(pattern, guards)
  guards.pattern, guards.where = pattern, caller.where()
  table.insert(generation.guards, guards)
end

--- Whether the I/O threads may answer a stream without Lua: its plan is constant, it has no guard,
-- no read rule applies, and no timer waits for its first subscriber.
-- @tparam sluice.Generation generation
-- @tparam table route
-- @treturn boolean
function routes.is_constant(generation, route)
  if not route.checked or #route.guards > 0 then return false end
  for _, guard in ipairs(generation.guards) do
    if patterns.may_overlap(guard.pattern, route.pattern) then return false end
  end
  for _, entry in ipairs(route.checked.channels) do
    if channels.has_rule(generation, entry[1]) then return false end
    for _, timer in ipairs(generation.timers) do
      if timer.channel and patterns.may_overlap(timer.channel, entry[1]) then return false end
    end
  end
  return true
end

--- The routes for the core, most specific first.
-- @tparam sluice.Generation generation
-- @tparam function id_of gives the number that stands for a route's name, in all generations
-- @treturn table
function routes.for_core(generation, id_of)
  local order, list = {}, {}
  for i, route in ipairs(generation.routes) do order[route] = i end
  local sorted = table.move(generation.routes, 1, #generation.routes, 1, {})
  table.sort(sorted, function(a, b)
    local first = patterns.before(a.pattern, b.pattern)
    if first ~= nil then return first end
    return order[a] < order[b]
  end)
  generation.sorted_routes = sorted
  for i, route in ipairs(sorted) do
    local streams = route.kind == "stream" or route.kind == "feed"
    if streams or route.body_max then check_guards_fit(generation, route) end
    local constant = streams and routes.is_constant(generation, route)
    list[i] = { method = route.method, pattern = route.pattern, kind = route.kind or "handler",
      id = id_of(route.name), heartbeat = route.heartbeat, body_max = route.body_max,
      compress = route.compress or nil, plan = constant and route.checked or nil }
  end
  return list
end

return routes
