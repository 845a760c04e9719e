--- NAME: rules over the figures of this machine; an alert until it is over, acknowledged on a page.
---
---   sluice run app.lua                                    and open http://127.0.0.1:5121/
---
--- Change a limit in rules.lua and save: pages stay connected, and the new one counts.
local sluice = require("sluice")
local app = sluice.app()
local alerts = require("sluice.alerts").new(app, { rewind = "latest" })
local system = require("sluice.system").new(app)

for name, rule in pairs(require("rules")) do alerts:rule(name, rule) end

-- Who may look and acknowledge: everybody, until sluice.auth says who is who.
local function anybody(req)
  req.user = req.user or { id = "operator" }
  return true
end

app:channel("figures", { history = "latest" })
app:stream("/api/figures", { channels = { "figures", alerts:channel("here"),
  alerts:channel("elsewhere") } })
alerts:routes("/api/alerts", anybody)

-- All in per cent, as the limits in rules.lua: system:sample() tells memory in MB.
app:every(2, { name = "measure" }, function()
  local sample = system:sample()
  local figures = { cpu = sample.cpu, memory = 100 * sample.memory / sample.memoryTotal }
  app:publish("figures", "figures", figures)
  alerts:check("here", figures)
end)

-- Samples of another machine: alerts of their own, which end by its samples alone.
app:post("/api/samples", anybody, function(req)
  local sample = req:json({ cpu = "number?", memory = "number?" })
  local ok, message, code, field = alerts:check("elsewhere", sample)
  if not ok then return nil, message, code, field end
  return 204
end)

app:static("/", "public")

return app
