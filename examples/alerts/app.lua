--- Alerts by rules that change while all pages stay connected.
---
---   sluice run examples/alerts/app.lua         and open http://127.0.0.1:5121/
---
--- Change 90 to 50 in rules.lua and save: the alerts fire, the page's connection counter
--- stands still. Break the file: the page shows the error, and the figures go on.
local sluice = require("sluice")
local rules = require("rules")
local app = sluice.app()

local GATES = { "North gate", "Mill pond", "South gate" }
local active = app:state("active", {}) -- by id; survives a reload, as locals do not

app:channel("gates", { history = "latest", key = "gate" })
app:channel("alerts", { history = 100, key = "id", rewind = "latest", ttl = false })
app:channel("reload", { history = "latest" })
app:stream("/api/alerts", { channels = { "gates", "alerts", "reload" } })
app:static("/look", "../look")
app:static("/", "public")

app:check(function()
  for _, rule in ipairs(rules) do
    assert(type(rule.above) == "number", rule.name .. ": above is a number")
  end
end)

local function judge(sample, rule)
  local id, value = sample.gate .. "/" .. rule.name, sample[rule.field]
  local data = { id = id, gate = sample.gate, message = rule.message, severity = rule.severity,
    category = rule.category, value = value, limit = rule.above, unit = rule.unit }
  if value > rule.above and not active()[id] then
    active()[id] = true
    app:publish("alerts", "alert", data)
  elseif active()[id] and value <= rule.above then
    active()[id] = nil
    app:publish("alerts", "alert-cleared", data, { remove = true })
  end
end

app:every(0.5, { name = "measure", while_subscribed = "gates" }, function()
  for i, gate in ipairs(GATES) do
    local wave = math.sin(sluice.time() / (5 + i) + i)
    local sample = { gate = gate, level = 70 + 12 * wave, flow = 6 + 3 * wave }
    for _, rule in ipairs(rules) do judge(sample, rule) end
    sample.limit = rules[1] and rules[1].above
    app:publish("gates", "gate", sample)
  end
end)

app:on("reload", function(report)
  app:publish("reload", "reload", { ok = true, generation = report.generation })
end)

app:on("error", function(report)
  if report.where ~= "reload" then return end
  app:publish("reload", "reload", { ok = false, generation = report.generation,
    phase = report.phase, message = report.message })
end)

return app
