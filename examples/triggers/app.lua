--- What makes events: a timer, a change (a burst of them is one event), a user, an operator.
---
---   OPERATOR_KEY=secret sluice run examples/triggers/app.lua
---   curl -N http://127.0.0.1:5121/api/events
---   curl -X PATCH --json '{"status":"paid"}' http://127.0.0.1:5121/api/orders/7
---   curl -H 'X-API-Key: secret' --json '{"startTime":"3"}' http://127.0.0.1:5121/api/maintenance
local sluice = require("sluice")
local app = sluice.app()
local key = sluice.env("OPERATOR_KEY")
local orders = app:state("orders", {}) -- id -> { status, changes = number since the last event }
local BURST = 0.05

app:channel("events", { history = 100 })
app:stream("/api/events", "events")

-- 1 a timer, which no reload starts twice or delays
app:every(30, { name = "heartbeat" }, function()
  app:publish("events", "heartbeat", { timestamp = sluice.timestamp() })
end)

-- 2 a change: the last one of a burst is published, once
app:task("order-changed", function(id)
  local order = orders()[id]
  app:publish("events", "order-changed",
    { id = id, status = order.status, changes = order.changes })
  order.changes = 0
end)

app:patch("/api/orders/:id", function(req)
  local id, status = req.params.id, req:json({ status = "string" }).status
  local order = orders()[id] or { changes = 0 }
  orders()[id] = order
  order.status, order.changes = status, order.changes + 1
  app:after(BURST, "order-changed", id, { id = "order/" .. id }) -- the same id: begins again
  return 202, { status = status }
end)

-- 3 a user
app:post("/api/announcements", function(req)
  return sluice.receipt(app:publish("events", "announcement", req:json { message = "string" }))
end)

-- 4 an operator, who can take it back while it is not due
app:task("maintenance", function(data) app:publish("events", "maintenance", data) end)

local function operator(req)
  if req.headers["x-api-key"] == key then return true end
  return 401, "the operator's key is missing"
end

app:post("/api/maintenance", operator, function(req)
  local body = req:json { startTime = "string", after = "number?" }
  app:after(body.after or 0, "maintenance", { startTime = body.startTime }, { id = "maintenance" })
  return 202, { startTime = body.startTime }
end)
app:delete("/api/maintenance", operator, function()
  return app:cancel("maintenance") and 204 or 404
end)

return app
