--- What makes events: a timer, a change (a burst is one event), the machine, a user, an operator.
---
---   OPERATOR_KEY=secret sluice run examples/triggers/app.lua
---   curl -N http://127.0.0.1:5121/api/sse/connect
---   curl -X PATCH --json '{"status":"paid"}' http://127.0.0.1:5121/api/orders/7
---   curl -H 'X-API-Key: secret' --json '{"startTime":"3"}' http://127.0.0.1:5121/api/maintenance
local sluice = require("sluice")
local app = sluice.app()
local hub = require("sluice.hub").new(app)
local system = require("sluice.system").new(app)
local alerts = require("sluice.alerts").new(app)
local key = sluice.env("OPERATOR_KEY")
local orders = app:state("orders", {}) -- id -> { status, updatedAt }

local function operator(req)
  if req.headers["x-api-key"] == key then return true end
  return 401, "the operator's key is missing"
end

hub:routes("/api/sse", { publish = operator, admin = operator })

-- 1 a timer, which no reload starts twice or delays
app:every(30, { name = "heartbeat" }, function() hub:heartbeat() end)

-- 2 a change: the last one of a burst is published, once
app:task("order-changed", function(id)
  hub:data_update { id = id, type = "order", changes = orders()[id] }
end)

app:patch("/api/orders/:id", function(req)
  local id, status = req.params.id, req:json({ status = "string" }).status
  orders()[id] = { status = status, updatedAt = sluice.timestamp() }
  app:after(0.05, "order-changed", id, { id = "order/" .. id }) -- the same id: begins again
  return 202, { status = status }
end)

-- 3 the machine: one alert for as long as the load lasts
alerts:rule("high-cpu", { field = "cpu", above = 90, clear = 80, hold = 30, severity = "high",
  category = "performance", message = "High CPU usage detected" })
app:every(10, { name = "health" }, function() alerts:check("server", system:sample()) end)
app:on("published", "alerts", function(event)
  if event.event == "alert" then hub:alert(event.data) end
end)

-- 4 a user
app:post("/api/announcements", function(req)
  return sluice.receipt(hub:notification(req:json { message = "string" }))
end)

-- 5 an operator, who can take it back while it is not due
app:task("maintenance", function(start) hub:maintenance { startTime = start } end)
app:post("/api/maintenance", operator, function(req)
  local body = req:json { startTime = "string", after = "number?" }
  app:after(body.after or 0, "maintenance", body.startTime, { id = "maintenance" })
  return 202, { startTime = body.startTime }
end)
app:delete("/api/maintenance", operator, function()
  return app:cancel("maintenance") and 204 or 404
end)
return app
