--- Eight streams, the same as one, and who may ask. All need a user.
local sluice = require("sluice")

return function(app, auth, inbox, jobs, rooms)
  app:guard("/api/**", auth:optional(), function(req)
    if sluice.is_demo() then req.user = req.user or { id = "alice", name = "Alice" } end
    if req.user then return true end
    return 401, "sign in first"
  end)
  app:post("/session", auth:limit("sign-in", { rate = 10, per = 60, by = "ip" }), function(req)
    local name = req:json({ name = "string" }).name
    if not name:find("^%w+$") or #name > 40 then return 422, "name: 1 to 40 letters and digits" end
    return 200, { name = name }, auth:sign_in { id = name, name = name }
  end)

  app:stream("/api/dashboard-metrics", "metrics")
  inbox:stream("/api/notifications")
  jobs:stream("/api/job-progress")
  app:stream("/api/live-match/:id", "match/:id")
  app:stream("/api/stock-prices", { channels = { "prices" }, query = { keys = "symbols" } })
  app:stream("/api/devices/:id/telemetry", { channels = { "device/:id", "device/:id/alerts" } })
  rooms:stream("/api/documents/:id/collaboration", { channels = { "text/:id" } })
  app:stream("/api/system/monitoring", { channels = { "system/metrics", "system/alerts" } })

  app:stream("/api/all", function(req)
    local user, match, device, document = req.user.id, req.query.match or "none",
      req.query.device or "none", req.query.document or "none"
    return { channels = { "metrics", inbox:channel(user), jobs:channel(user), "match/" .. match,
      "prices", "device/" .. device, "device/" .. device .. "/alerts", rooms:channel(document),
      rooms:channel(document, "live"), "text/" .. document, "system/metrics", "system/alerts" } }
  end)
end
