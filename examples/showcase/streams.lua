--- Eight streams, the same as one, and who may ask. All need a user.
local sluice = require("sluice")
local walk = require("walk")

local ALICE = { id = "alice", name = "Alice" }
local OWN_GUARDS = { "^/api/sse/", "^/api/demo/" } -- these say themselves who may ask

local function visitor(req)
  for _, path in ipairs(OWN_GUARDS) do
    if req.path:find(path) then return true end
  end
  if sluice.is_demo() then req.user = req.user or ALICE end
  if req.user then return true end
  return 401, "sign in first"
end

-- Six symbols and the index are enough for a page that shows everything.
local PRICES = { "prices", keys = { "ACME", "BOLT", "IRIS", "NOVA", "TIDE", "WAVE", "SLX" } }

-- The channels of all streams for one user; what is not named is left out.
local function all_of(user, query, with)
  local list = { "metrics", with.inbox:channel(user), with.jobs:channel(user), "news", PRICES,
    "system/metrics", "system/alerts", "hub", "hub/user/" .. user, "reload",
    "chat/" .. user }
  local function add(named, ...)
    if not named then return end
    for _, name in ipairs { ... } do list[#list + 1] = name:format(named) end
  end
  add(query.match, "match/%s/events", "match/%s/commentary")
  local device = with.fleet:get(query.device or "")
  add(device and device.owner == user and query.device, "device/%s", "device/%s/alerts")
  add(query.document, "doc/%s", "doc/%s/live", "doc/%s/text", "text/%s")
  return list
end

return function(app, with)
  local auth = with.auth
  app:guard("/api/**", auth:optional(), visitor)
  local listener = sluice.is_demo() and auth:optional() or auth:user()
  local tells = with.event_types.tells
  tells(with.fleet.report, "telemetry")
  tells(with.fleet.alerts.ack, "alert-ack")
  tells(nil, "dataUpdate")
  with.hub:routes("/api/sse", { connect = listener, publish = auth:role("publisher"),
    admin = auth:role("Admin") })
  with.demo:routes("/api/demo")

  app:stream("/api/dashboard-metrics", "metrics")
  with.inbox:stream("/api/notifications")
  with.jobs:stream("/api/job-progress")
  app:stream("/api/live-match/:id", { channels = { "match/:id/events", "match/:id/commentary",
    "news" } })
  app:get("/api/symbols", function() return walk.names() end)
  app:stream("/api/stock-prices", { channels = { "prices" }, query = { keys = "symbols" } })
  app:stream("/api/system/monitoring", { channels = { "system/metrics", "system/alerts" } })
  app:stream("/api/showcase", { compress = "auto" }, function(req)
    return { channels = all_of(req.user.id, req.query, with) }
  end)
end
