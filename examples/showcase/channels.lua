--- What the channels keep, and which devices there are.
local DEVICES = {
  { id = "boiler", middle = 73, location = { room = "Boiler room", x = 12, y = 70 } },
  { id = "turbine", middle = 68, location = { room = "Turbine hall", x = 38, y = 62 } },
  { id = "pump-1", middle = 42, location = { room = "Pumps", x = 62, y = 74 } },
  { id = "pump-2", middle = 44, location = { room = "Pumps", x = 72, y = 74 } },
  { id = "cooling", middle = 24, location = { room = "Cooling", x = 86, y = 30 } },
  { id = "server-room", middle = 26, location = { room = "Server room", x = 52, y = 18 } },
}
for i, device in ipairs(DEVICES) do -- of a hall in Munich, in metres from its corner
  device.location.latitude = 48.137 + i / 1e5
  device.location.longitude = 11.575 + i / 1e5
end

return function(app, with)
  with.devices = DEVICES
  app:channel("match/:id/events", { history = 200, rewind = "all" })
  app:channel("match/:id/commentary", { history = 60, rewind = "all" })
  app:channel("news", { history = 20, rewind = "all" })
  app:channel("prices", { history = "latest", key = "symbol", max_rate = 4 })
  app:channel("device/:id", { history = "latest" })
  app:get("/api/devices", function()
    local list = {}
    for i, device in ipairs(DEVICES) do
      list[i] = { deviceId = device.id, location = device.location }
    end
    return { devices = list }
  end)
end
