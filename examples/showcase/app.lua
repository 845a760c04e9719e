--- All eight use cases, the chat and a hub in one app: a page of each, and one stream of all.
---
---   sluice run --demo examples/showcase/app.lua      (make run) and open http://127.0.0.1:5121/
---   curl -N 'http://127.0.0.1:5121/api/showcase?match=7&device=boiler&document=welcome'
---   curl -H 'X-API-Key: your-api-key' --json '{"message":"Hello"}' \
---     http://127.0.0.1:5121/api/sse/notification
---   curl --json '{"intervalSeconds":1}' http://127.0.0.1:5121/api/demo/start
---
--- With --demo the key your-api-key is valid, everybody is alice, and everything moves by itself
--- while somebody looks (games.lua, market.lua, house.lua, bob.lua). Without it, KEYS names a file
--- of keys, pages sign in, and strangers get 401. Change rules.lua while it runs. Nothing is kept
--- on the disk.
local sluice = require("sluice")
local app = sluice.app()
local rules = require("rules")
local is_demo = sluice.is_demo()

local DEMO_KEYS = { { id = "demo", roles = { "publisher", "Admin" }, -- printf %s KEY | sha256sum
  hash = "a2ae6a9ee724b61d83d3cb2ec4a4bfc5d72624008508511935f85a4227a92db6" } }

local function call(user, data)
  sluice.log.warn(("%s has not looked at '%s'"):format(user, data.message), { id = data.id })
end

local keys = is_demo and DEMO_KEYS or sluice.env("KEYS", "")
local with = {
  event_types = require("event_types").new(),
  auth = require("sluice.auth").new(app, { keys = keys ~= "" and keys or {}, durable = false,
    session = { secret = is_demo and "of a demo: everybody knows this secret"
      or sluice.env("SESSION_SECRET", sluice.id() .. sluice.id()),
      secure = sluice.env("SECURE", is_demo and "no" or "yes") ~= "no" } }),
  hub = require("sluice.hub").new(app),
  demo = require("sluice.demo").new(app),
  inbox = require("sluice.inbox").new(app, { max = 20, keep = 3600, durable = false,
    escalate = { critical = { { after = 10, via = call } } } }),
  jobs = require("sluice.jobs").new(app, { max_rate = 2, keep = 300, queue = 50,
    durable = false }),
  runs = require("sluice.runs").new(app, { keep = 600, max_bytes = 1 << 16, concurrency = 8,
    queue = 20, durable = false }),
  rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" }),
  system = require("sluice.system").new(app, { services = {
    { name = "ssh", tcp = sluice.env("SSH", "127.0.0.1:22") } } }),
  fleet = require("fleet").new(app, { durable = false }),
  health = require("sluice.alerts").new(app, { name = "health", channel = "system/alerts",
    event = "system-alert", rewind = "latest", durable = false }),
}
local tells = with.event_types.tells
for name, rule in pairs(rules.devices) do with.fleet.alerts:rule(name, rule) end
for name, rule in pairs(rules.system) do with.health:rule(name, rule) end
tells(call, "escalation")
tells(rules.devices.warm.message, "alert", "alert-cleared")
tells(rules.system["high-cpu"].message, "system-alert", "system-alert-cleared")

local parts = { "channels", "reloads", "code", "pages", "streams", "posts", "together", "lines",
  "chat", "measure", "lab" }
if is_demo then table.move({ "games", "market", "bob" }, 1, 3, #parts + 1, parts) end
for _, part in ipairs(parts) do require(part)(app, with) end
require("event_types").routes(app, with.event_types, require("types"))

return app
