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
app:stream("/api/figures", { channels = { "figures", alerts:channel("here") } })
alerts:routes("/api/alerts", anybody)

-- Samples may come from anywhere: this machine here, devices by the POST below.
app:every(2, { name = "measure" }, function()
  local sample = system:sample()
  app:publish("figures", "figures", { cpu = sample.cpu, memory = sample.memory })
  alerts:check("here", sample)
end)

app:post("/api/samples", anybody, function(req)
  local sample = req:json({ cpu = "number?", memory = "number?" })
  local ok, message, code, field = alerts:check("here", sample)
  if not ok then return nil, message, code, field end
  return 204
end)

app:static("/", "public")

return app
