--- What an owner gets of a fleet: rules of the alerts, streams, and what one may change.
local floor = {}

function floor.rules(self)
  local function limit(id) return (self:get(id) or {}).limit end
  local function clear(id) return (self:get(id) or {}).clear end
  self.alerts:rule("temperature", { field = "temperature", above = limit, clear = clear,
    severity = "high", category = "heat",
    message = function(value, id)
      return ("%.1f °C, the limit is %g °C"):format(value, limit(id))
    end })
  self.alerts:rule("battery", { field = "battery", below = 15, clear = 20, category = "power",
    message = function(value) return ("Battery at %.0f %%"):format(value) end })
  self.alerts:silence("offline", { after = 20, category = "silence",
    message = "Silent for 20 seconds" })
end

function floor.routes(app, self, owns)
  app:stream("/api/floor", function(req)
    local owner = req.user and req.user.id
    local channels, followed = { self:channel(owner) }, {}
    for _, id in ipairs(self:list(owner)) do
      followed[id] = true
      channels[#channels + 1] = { "device/" .. id, rewind = "all" }
      channels[#channels + 1] = self.alerts:channel(id)
    end
    return { channels = channels, meta = { devices = followed } }
  end)
  app:on("subscribe", "devices/:owner", function(client)
    for _, id in ipairs(self:list(client.user and client.user.id)) do self:follow(client, id) end
  end)
  app:stream("/api/devices/:id/telemetry", { channels = { "device/:id", "device/:id/alerts" } })
  app:put("/api/devices/:id/limits", function(req)
    local change = req:json { limit = "number?", clear = "number?", gap = "number?" }
    if not owns(req.user, req.params) then return 404, "no such device" end
    local device, message, code, field = self:set_limits(req.params.id, change)
    if not device then return nil, message, code, field end
    return { version = device.version, limit = device.limit, clear = device.clear }
  end)
  self.alerts:routes("/api/device-alerts", function() return true end) -- `owns` decides
end

return floor
