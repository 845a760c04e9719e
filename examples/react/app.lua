--- The server behind eight React components: a stream for each of them, and one for all, since over
--- HTTP/1.1 a browser opens six connections to a host.
---
---   sluice run --demo examples/react/app.lua     and `npm run dev` in this folder
---   make react                                   or all of it, built, behind HTTP/2
---
--- With --demo everybody is alice; feed.lua plays a match, a market and a boiler, bob.lua somebody
--- else. Without it pages sign in, and until then all streams answer 401. Nothing is written to the
--- disk here.
local sluice = require("sluice")
local app = sluice.app()
local alerts = require("sluice.alerts")

local auth = require("sluice.auth").new(app, { durable = false, session = {
  secret = sluice.env("SESSION_SECRET", sluice.id() .. sluice.id()),
  secure = sluice.env("SECURE", "") ~= "" } })
local system = require("sluice.system").new(app, {
  services = { { name = "ssh", tcp = "127.0.0.1:22" } } })
local inbox = require("sluice.inbox").new(app, { max = 20, durable = false })
local jobs = require("sluice.jobs").new(app, { durable = false })
local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" })
local heat = alerts.new(app, { name = "heat", channel = "device/:subject/alerts",
  subject = "deviceId", rewind = 5, durable = false })
heat:rule("hot", { field = "temperature", above = 80, clear = 75, severity = "high",
  category = "heat", message = "The boiler is hot" })
local health = alerts.new(app, { name = "health", channel = "system/alerts",
  event = "system-alert", rewind = "latest", durable = false })
health:rule("high-cpu", { field = "cpu", above = 90, clear = 80, hold = 30,
  category = "performance", message = "The processors are busy" })
health:rule("service", { category = "services", message = "A service does not run",
  when = function(sample) return sample.services[1].status == "stopped" end })

app:channel("metrics", { history = 60, rewind = "all" })
app:channel("match/:id", { history = 200, rewind = "all" })
app:channel("prices", { history = "latest", key = "symbol", max_rate = 4 })
app:channel("device/:id", { history = "latest" })
app:channel("text/:id", { history = 1000, key = "line", rewind = "latest" })
app:channel("system/metrics", { history = "latest" })

app:every(1, { name = "measure", while_subscribed = "metrics" }, function()
  app:publish("metrics", "metrics-update", system:sample())
end)
app:every(5, { name = "monitor", while_subscribed = "system/metrics" }, function()
  local sample = system:sample()
  app:publish("system/metrics", "system-metrics", sample)
  health:check("server", sample)
end)

require("streams")(app, auth, inbox, jobs, rooms)
require("posts")(app, inbox, jobs, rooms)
if sluice.is_demo() then
  require("feed")(app, heat)
  require("bob")(app, inbox, jobs, rooms)
end
local pages = sluice.env("PAGES", "") -- what `npm run build` made
if pages ~= "" then app:static("/", pages) end

return app
