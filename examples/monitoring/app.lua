--- This machine every ten seconds; an alert when its processors stay busy for half a minute, one
--- when a service does not run, and one when the app itself was held up.
---
---   sluice run examples/monitoring/app.lua        and open http://127.0.0.1:5121/
---   curl -N http://127.0.0.1:5121/api/system/monitoring
---
--- You see a system-metrics every ten seconds. Keep the processors busy: a system-alert comes
--- after 30 s, one only, and a system-alert-cleared when they have rest again.
local sluice = require("sluice")
local app = sluice.app()
local system = require("sluice.system").new(app, {
  services = { { name = "ssh", tcp = sluice.env("SSH", "127.0.0.1:22") } },
})
local alerts = require("sluice.alerts").new(app, { channel = "system/alerts",
  event = "system-alert", rewind = "latest" })

alerts:rule("high-cpu", { field = "cpu", above = 90, clear = 80, hold = 30,
  category = "performance", message = "High CPU usage detected" })
alerts:rule("held-up", { field = "loopLagMs", above = 150, clear = 50,
  category = "performance", message = "The app was held up" })
alerts:rule("service", { category = "services", message = "A service does not run",
  when = function(sample)
    for _, service in ipairs(sample.services) do
      if service.status == "stopped" then return true end
    end
    return false
  end })

app:channel("system/metrics", { history = 180, rewind = "all" }) -- half an hour
app:stream("/api/system/monitoring", { channels = { "system/metrics", "system/alerts" } })
alerts:routes("/api/alerts", function() return true end) -- here anybody may acknowledge
app:static("/look", "../look")
app:static("/", "public")

-- Also while nobody is connected: whoever comes later sees the alerts that are open.
app:every(10, { name = "measure" }, function()
  local sample = system:sample()
  app:publish("system/metrics", "system-metrics", sample)
  alerts:check("server", sample)
end)

return app
