--- A live dashboard: this machine's figures, measured once a second for all pages together,
--- and not at all while no page is open. The last five minutes are kept, so the curves are there
--- immediately.
---
---   sluice run examples/dashboard/app.lua      and open http://127.0.0.1:5121/
---
--- Stop the server and start it again: the page waits, comes back and says what happened.
local sluice = require("sluice")
local app = sluice.app()
local system = require("sluice.system").new(app)

app:channel("metrics", { history = 300, rewind = "all" })
app:stream("/api/dashboard-metrics", "metrics")
app:static("/look", "../look")
app:static("/", "public")

app:every(1, { while_subscribed = "metrics" }, function()
  local sample = system:sample()
  sample.activeUsers = math.max(1, sample.activeUsers) -- the first one is still connecting
  app:publish("metrics", "metrics-update", sample)
end)

return app
