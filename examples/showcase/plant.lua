--- Plays devices while the server runs with --demo: each sends a reading every two seconds while
--- somebody follows it, and rules.lua says what is an alert.
local sluice = require("sluice")
local walk = require("walk")

local function round(value, parts) return math.floor(value * parts + 0.5) / parts end

local function read(app, heat, device, row)
  row.beat = row.beat + 1
  local degrees = round(device.middle + 10 * math.cos(row.beat / 6), 10)
  local battery = 100 - row.beat // 30 % 100
  heat:check(device.id, { temperature = degrees, battery = battery })
  app:publish("device/" .. device.id, "telemetry", { deviceId = device.id, status = "online",
    battery = battery, location = device.location, timestamp = sluice.timestamp(),
    sensorData = { temperature = degrees, pressure = round(1.6 + degrees / 200, 100),
      flow = round(12 + walk.draw(row), 10) } })
end

return function(app, with)
  local readings = app:state("readings", {})
  with.event_types.tells(read, "telemetry")

  for i, device in ipairs(with.devices) do
    local channel = "device/" .. device.id
    app:every(2, { name = channel, while_subscribed = channel }, function()
      local all = readings()
      all[device.id] = all[device.id] or { beat = 10 * (i - 1), random = i }
      read(app, with.heat, device, all[device.id])
    end)
  end
end
