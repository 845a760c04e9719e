--- All together: the dashboard's page, and a hub to which whoever has a key can post.
---
---   sluice run --demo examples/showcase/app.lua      (make run) and open http://127.0.0.1:5121/
---   curl -N http://127.0.0.1:5121/api/sse/connect
---   curl -H 'X-API-Key: your-api-key' --json '{"message":"Hello"}' \
---     http://127.0.0.1:5121/api/sse/notification
---   curl --json '{"intervalSeconds":1}' http://127.0.0.1:5121/api/demo/start
---   curl -N http://127.0.0.1:5121/api/showcase
---
--- With --demo the key your-api-key is valid, anyone may listen, the page is signed in as alice,
--- and after a start events of all kinds come by themselves. Without it, KEYS names a file of keys,
--- and strangers get 401.
local sluice = require("sluice")
local app = sluice.app()
local is_demo = sluice.is_demo()

local DEMO_KEYS = { { id = "demo", roles = { "publisher", "Admin" }, -- printf %s KEY | sha256sum
  hash = "a2ae6a9ee724b61d83d3cb2ec4a4bfc5d72624008508511935f85a4227a92db6" } }

local keys = is_demo and DEMO_KEYS or sluice.env("KEYS", "")
local auth = require("sluice.auth").new(app, {
  keys = keys ~= "" and keys or {},
  session = { secret = is_demo and "of a demo: everybody knows this secret"
    or sluice.env("SESSION_SECRET", sluice.id() .. sluice.id()), secure = not is_demo },
  durable = not is_demo, -- a demo leaves nothing behind
})
local hub = require("sluice.hub").new(app)
local system = require("sluice.system").new(app)
local listener = is_demo and auth:optional() or auth:user()

hub:routes("/api/sse", { connect = listener, publish = auth:role("publisher"),
  admin = auth:role("Admin") })
app:every(30, { name = "heartbeat" }, function() hub:heartbeat() end)

app:channel("metrics", { history = 300, rewind = "all" })
app:stream("/api/dashboard-metrics", listener, "metrics")
app:every(1, { while_subscribed = "metrics" }, function()
  app:publish("metrics", "metrics-update", system:sample())
end)

-- One stream with all kinds of events: their names differ.
local demo = require("sluice.demo").new(app)
demo:routes("/api/demo")
demo:use_cases("showcase")
app:channel("showcase", { history = 100, rewind = 10 })
app:stream("/api/showcase", listener, { channels = { "showcase", "hub" } })

app:get("/", function()
  local headers = is_demo and auth:sign_in({ id = "alice", name = "Alice" }) or {}
  headers.Location = "/index.html"
  return 302, nil, headers
end)
app:static("/look", "../look")
app:static("/", "../dashboard/public")

app:on("start", function()
  if is_demo then sluice.log.warn("the key your-api-key is valid, and pages are alice's") end
end)

return app
