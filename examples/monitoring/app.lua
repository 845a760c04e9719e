--- This machine every ten seconds, and an alert when its processors stay busy for half a minute,
--- with one more when the app itself was held up.
---
---   sluice run examples/monitoring/app.lua
---   curl -N http://127.0.0.1:5121/api/system/monitoring
---
--- You see a system-metrics every ten seconds. Keep the processors busy: a system-alert comes
--- after 30 s, one only; a system-alert-cleared when they have rest again.
local sluice = require("sluice")
local app = sluice.app()
local system = require("sluice.system").new(app, {
  services = { "nginx.service", { name = "database", tcp = "127.0.0.1:5432" } },
})
local firing = app:state("alerts", {}) -- rule -> when it was first above; survives a reload

local RULES = {
  { field = "cpu", above = 90, clear = 80, hold = 30, category = "performance",
    message = "High CPU usage detected" },
  { field = "loopLagMs", above = 150, clear = 50, hold = 0, category = "performance",
    message = "The app was held up" },
}

app:channel("system/metrics", { history = "latest" })
app:channel("system/alerts", { history = 100, key = "id", rewind = "latest" })
app:stream("/api/system/monitoring", { channels = { "system/metrics", "system/alerts" } })

local function judge(rule, sample)
  local value, state = sample[rule.field], firing()[rule.field]
  local data = { id = rule.field, message = rule.message, severity = "warning", value = value,
    category = rule.category, timestamp = sample.timestamp }
  if not state then
    if value <= rule.above then return end
    state = { since = sluice.now() }
    firing()[rule.field] = state
  elseif value <= (state.told and rule.clear or rule.above) then
    firing()[rule.field] = nil
    if state.told then
      app:publish("system/alerts", "system-alert-cleared", data, { remove = true })
    end
    return
  end
  if not state.told and sluice.now() - state.since >= rule.hold then
    state.told = true
    app:publish("system/alerts", "system-alert", data)
  end
end

-- Also while nobody is connected: whoever comes later sees the alerts that are open.
app:every(10, { name = "measure" }, function()
  local sample = system:sample()
  app:publish("system/metrics", "system-metrics", sample)
  for _, rule in ipairs(RULES) do judge(rule, sample) end
end)

return app
