--- The server's own routes under /-/, which the core opens only to the Unix socket and to the
-- admin key: GET /-/metrics has figures, GET /-/routes what is served, GET /-/cluster how the
-- cluster stands, GET /-/explain why, GET /-/reload reports, POST /-/reload acts; the console's
-- page has a stream and a POST of its own. They belong to no generation, so they answer whatever
-- state the app is in. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local codes = require("sluice.base.codes")
local core = require("sluice.core")
local json = require("sluice.json")
local metrics = require("sluice.requests.metrics")
local query = require("sluice.base.query")
local repl = require("sluice.requests.repl")
local route_list = require("sluice.requests.route_list")

local control = {}

local JSON = { { "Content-Type", "application/json" } }

local function answer(runtime, id, status, body)
  local text, message = json.encode(body)
  if not text then
    status, text = 500, json.encode({ error = { code = "EJSON", message = message } })
  end
  runtime.server:respond(id, status, JSON, text)
end

local function refuse(runtime, id, status, code, message)
  answer(runtime, id, status, { error = { code = code, message = message } })
end

local function is_on(values, name)
  local value = values[name]
  return value ~= nil and value ~= "0" and value ~= "false"
end

-- With ?stored=1 also what the store has of channels: sluice check compares it with its app.
local function get_reload(runtime, id, raw)
  local status = runtime.reloader:status()
  if is_on(query.parse(raw.query_text) or {}, "stored") then
    local rows, left_out = runtime.server:stored()
    status.stored, status.stored_left_out = arrays.mark(rows), left_out
  end
  answer(runtime, id, 200, status)
end

local function post_reload(runtime, id, raw)
  local values = query.parse(raw.query_text) or {}
  local kind = is_on(values, "dry_run") and "dry_run" or is_on(values, "rollback") and "rollback"
    or "reload"
  local ok, message, code = runtime.reloader:request(kind, function(outcome)
    answer(runtime, id, outcome.ok and 200 or codes.STATUS[outcome.code] or 422, outcome)
  end)
  if not ok then refuse(runtime, id, 503, code, message) end
end

local function get_metrics(runtime, id, raw)
  local headers = query.headers(core.headers(raw.header_text or ""))
  local text, kind = metrics.text(runtime, headers.accept)
  runtime.server:respond(id, 200, { { "Content-Type", kind } }, text)
end

local function get_routes(runtime, id)
  answer(runtime, id, 200, { generation = runtime.generation.id,
    routes = route_list.of(runtime.generation) })
end

local function get_cluster(runtime, id)
  local look = runtime:figures().cluster
  if not look then return refuse(runtime, id, 404, "ENOTFOUND", "it serves alone: no --cluster") end
  answer(runtime, id, 200, look)
end

-- What the server takes for the address of a stream's reader: sluice doctor compares.
local function get_client(runtime, id, raw)
  local values = query.parse(raw.query_text) or {}
  local client = runtime.server:client(values.id or "")
  if not client then return refuse(runtime, id, 404, "ENOTFOUND", "no stream has this client") end
  answer(runtime, id, 200, { id = client.id, ip = client.ip, path = client.path,
    trustProxy = runtime.trust_proxy == true })
end

local function get_explain(runtime, id, raw)
  local values = query.parse(raw.query_text) or {}
  for _, kind in ipairs(runtime.explainer.KINDS) do
    if values[kind] and values[kind] ~= "" then
      local ok, message, code = runtime.explainer:explain(kind, values[kind], function(told)
        answer(runtime, id, 200, told)
      end, function()
        refuse(runtime, id, 500, "EINTERNAL", "it cannot be explained: see the log")
      end)
      if not ok then refuse(runtime, id, codes.status(code), code, message) end
      return
    end
  end
  refuse(runtime, id, 400, "EINVAL", "say what to explain: ?client=ID, ?channel=NAME or ?reset=ID")
end

-- Not with the admin key: a key may be read by others, a socket is opened by its user alone.
local function post_repl(runtime, id, raw)
  local values = query.parse(raw.query_text) or {}
  if raw.ip ~= "unix" then
    return refuse(runtime, id, 403, "EDENIED", "only over the Unix socket")
  end
  repl.run(runtime, { code = raw.body or "", session = values.session or "",
    line = math.tointeger(tonumber(values.line)) or 1, writes = is_on(values, "write"),
    as_json = is_on(values, "json") }, function(out)
    answer(runtime, id, 200, out)
  end)
end

local function open_console(runtime, id)
  runtime.console:open(id)
end

-- The key is told to who could read it anyway.
local function get_link(runtime, id, raw)
  if raw.ip ~= "unix" then
    return refuse(runtime, id, 403, "EDENIED", "only over the Unix socket")
  elseif not runtime.console.link then
    return refuse(runtime, id, 404, "ENOTFOUND", "the server has no admin key: give it --admin-key")
  end
  answer(runtime, id, 200, runtime.console.link)
end

local function publish_in_console(runtime, id, raw)
  runtime.console:publish(raw.ip, raw.body or "", function(status, body)
    answer(runtime, id, status, body)
  end)
end

control.ROUTES = {
  ["GET /-/metrics"] = { method = "GET", pattern = "/-/metrics", act = get_metrics, always = true },
  ["GET /-/cluster"] = { method = "GET", pattern = "/-/cluster", act = get_cluster, always = true },
  ["GET /-/client"] = { method = "GET", pattern = "/-/client", act = get_client },
  ["GET /-/routes"] = { method = "GET", pattern = "/-/routes", act = get_routes },
  ["GET /-/explain"] = { method = "GET", pattern = "/-/explain", act = get_explain },
  ["GET /-/reload"] = { method = "GET", pattern = "/-/reload", act = get_reload },
  ["POST /-/repl"] = { method = "POST", pattern = "/-/repl", act = post_repl },
  ["POST /-/reload"] = { method = "POST", pattern = "/-/reload", act = post_reload },
  ["GET /-/console/stream"] = { method = "GET", pattern = "/-/console/stream", kind = "stream",
    act = open_console },
  ["GET /-/console/link"] = { method = "GET", pattern = "/-/console/link", act = get_link },
  ["POST /-/console/publish"] = { method = "POST", pattern = "/-/console/publish",
    act = publish_in_console },
}

--- Add the routes to a snapshot, before those of the app.
-- @tparam table list
-- @tparam function id_of as in routes.for_core
function control.for_core(list, id_of)
  for name in pairs(control.ROUTES) do
    local route = control.ROUTES[name]
    table.insert(list, 1, { method = route.method, pattern = route.pattern,
      kind = route.kind or "handler", id = id_of(name) })
  end
end

--- Answer a request for a handler or a stream, if it is for one of these routes.
-- @tparam sluice.Runtime runtime
-- @tparam integer id
-- @tparam string name the route's
-- @tparam table raw
-- @treturn boolean
function control.request(runtime, id, name, raw)
  local route = control.ROUTES[name]
  if not route then return false end
  if not runtime.reloader and not route.always then
    refuse(runtime, id, 503, "EBUSY", "the server is starting")
  else
    route.act(runtime, id, raw)
  end
  return true
end

return control
