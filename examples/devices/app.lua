--- Devices: telemetry in with a key of each device, out to its owner on a floor plan; alerts by
--- limits that the owner changes on the page, and by silence.
---
---   sluice run --demo examples/devices/app.lua       and open http://127.0.0.1:5121/
---   d1=http://127.0.0.1:5121/api/devices/d1
---   curl --json '{"limit":80,"name":"Stove","x":40,"y":60}' $d1    answers with the device's key
---   curl -N $d1/telemetry
---   curl -H 'X-Device-Key: <key>' --json '{"temperature":81}' $d1/telemetry
--- Kill the server: alerts and devices are there again. With --demo a house of eight devices moves
--- while somebody looks (house.lua). What belongs to an owner is in fleet.lua.
--- Events: `device`, `telemetry`, `alert`, `alert-cleared`, `alert-ack`.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local app = sluice.app()
local fleet = require("fleet").new(app)

local function digest(key) return crypto.hex(crypto.sha256(key)) end

app:post("/api/devices/:id", function(req)
  local about, key = req:json { limit = "number", clear = "number?", name = "string?",
    x = "number?", y = "number?" }, sluice.id()
  about.key, about.owner = digest(key), req.user and req.user.id
  local ok, message, code, field = fleet:add(req.params.id, about)
  if not ok then return nil, message, code, field end
  return 201, { key = key }
end)

local function with_key(req)
  local device = fleet:get(req.params.id)
  local key = digest(req.headers["x-device-key"] or "")
  if device and crypto.equal(key, device.key) then return true end
  return 401, "an unknown device, or not its key"
end

app:post("/api/devices/:id/telemetry", with_key, function(req)
  return sluice.receipt(fleet:report(req.params.id, req:json { temperature = "number",
    battery = "number?", status = "string?", location = "object?", sensors = "object?" }))
end)

if sluice.is_demo() then require("house")(app, fleet) end
app:static("/look", "../look")
app:static("/", "public")

return app
