--- Devices: telemetry in with a device's key, out to its owner; alerts by limits and by silence.
---
---   sluice run examples/devices/app.lua
---   d1=http://127.0.0.1:5121/api/devices/d1
---   curl --json '{"limit":80}' $d1                 answers with the device's key
---   curl -N $d1/telemetry
---   curl -H 'X-Device-Key: <key>' --json '{"temperature":81}' $d1/telemetry
--- Kill the server: alerts and devices are there again.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local app = sluice.app()
local devices = app:store("devices") -- id -> { key (hashed), limit, owner }

local function owns(user, p)
  local device = devices:get(p.id or p.subject)
  return device ~= nil and device.owner == (user and user.id)
end

local alerts = require("sluice.alerts").new(app, { channel = "device/:subject/alerts",
  subject = "deviceId", read = owns })
local function digest(key) return crypto.hex(crypto.sha256(key)) end
local function limit(id) return (devices:get(id) or {}).limit end

alerts:rule("temperature", { field = "temperature", above = limit, severity = "high",
  clear = function(id) return limit(id) and limit(id) - 5 end, category = "heat", message = "Hot" })
alerts:rule("battery", { field = "battery", below = 15, clear = 20, message = "Battery low" })
alerts:silence("offline", { after = 20, message = "The device is silent" })

app:channel("device/:id", { history = "latest", read = owns })
app:stream("/api/devices/:id/telemetry", { channels = { "device/:id", "device/:id/alerts" } })

app:post("/api/devices/:id", function(req)
  local id, body, key = req.params.id, req:json { limit = "number" }, sluice.id()
  if devices:get(id) then return 422, "there is such a device already" end
  local name, message, code, field = alerts:channel(id)
  if not name then return nil, message, code, field end
  local row = { key = digest(key), limit = body.limit, owner = req.user and req.user.id }
  name, message, code = devices:set(id, row)
  if not name then return nil, message, code end
  return 201, { key = key }
end)

local function with_key(req)
  local device = devices:get(req.params.id)
  local key = digest(req.headers["x-device-key"] or "")
  if device and crypto.equal(key, device.key) then return true end
  return 401, "an unknown device, or not its key"
end

app:post("/api/devices/:id/telemetry", with_key, function(req)
  local id, t = req.params.id, req:json { temperature = "number", battery = "number?",
    status = "string?", location = "object?", sensors = "object?" }
  local ok, message, code = alerts:check(id, t)
  if not ok then return nil, message, code end
  return sluice.receipt(app:publish("device/" .. id, "telemetry", { deviceId = id,
    temperature = t.temperature, battery = t.battery, status = t.status, location = t.location,
    sensorData = t.sensors, timestamp = sluice.timestamp() }))
end)

return app
