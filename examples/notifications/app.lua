--- Notifications: to one user on every device, until they are acknowledged; what is critical and
--- stays unread for ten seconds is escalated. Sign in under any name, as two users in two browsers.
---
---   SESSION_SECRET=$(openssl rand -hex 32) sluice run examples/notifications/app.lua
---   and open http://127.0.0.1:5121/. With PAGER_URL a webhook is asked, too.
--- Kill the server while somebody is offline: nothing is lost, and nothing comes twice.
--- Events: `notification`, `notification-ack`, `notification-dropped`, `escalation`.
local sluice = require("sluice")
local app = sluice.app()
local auth = require("sluice.auth").new(app, {
  session = { secret = sluice.env("SESSION_SECRET"), secure = false } }) -- over plain http, here

local function call(user, data)
  sluice.log.warn(("%s has not looked at '%s'"):format(user, data.message), { id = data.id })
end

local steps = { { after = 10, via = call } }
local pager = sluice.env("PAGER_URL", "")
if pager ~= "" then steps[2] = { after = 20, via = "webhook", url = pager } end

local inbox = require("sluice.inbox").new(app, { max = 200, escalate = { critical = steps } })

app:post("/session", auth:limit("sign-in", { rate = 10, per = 60, by = "ip" }), function(req)
  local name = req:json({ name = "string" }).name
  if not name:find("%S") or #name > 40 then return 422, "name: 1 to 40 bytes are expected" end
  return 200, { name = name }, auth:sign_in { id = name }
end)

app:guard("/api/**", auth:user())
auth:routes("/api/auth")
inbox:stream("/api/notifications")
inbox:routes("/api/notifications")

app:get("/api/me", function(req) return { name = req.user.id } end)

app:post("/api/messages", auth:limit("messages", { rate = 60, per = 60 }), function(req)
  local body = req:json { to = "string", message = "string",
    severity = { "info", "warning", "high", "critical", optional = true } }
  return sluice.receipt(inbox:send(body.to, { message = body.message, severity = body.severity,
    from = req.user.id, idempotency = req.headers["idempotency-key"] }))
end)

app:static("/look", "../look")
app:static("/", "public")

return app
