--- What the pages post: who they are, what they have read, messages, batches and files.
local sluice = require("sluice")

local function sign_in_by_name(app, auth)
  app:post("/session", auth:limit("sign-in", { rate = 10, per = 60, by = "ip" }), function(req)
    local name = req:json({ name = "string" }).name
    if not name:find("^%w+$") or #name > 40 then return 422, "name: 1 to 40 letters and digits" end
    return 200, { name = name }, auth:sign_in { id = name, name = name }
  end)
  auth:routes("/api/auth")
  app:get("/api/me", function(req) return { name = req.user.id } end)
end

return function(app, with)
  local auth, inbox, jobs, tells = with.auth, with.inbox, with.jobs, with.event_types.tells
  local often = auth:limit("posts", { rate = 60, per = 60 })
  sign_in_by_name(app, auth)
  tells(nil, "notification-ack", "notification-dropped")
  inbox:routes("/api/notifications")
  tells(nil, "system-alert-ack")
  with.health:routes("/api/alerts", function() return true end)
  tells(nil, "job-cancelled")
  jobs:routes("/api/jobs")
  app:guard("/api/process-batch", often)
  tells(nil, "progress", "job-complete", "job-failed")
  require("batches")(app, jobs, { upload = 1 << 20 })
  app:post("/api/messages", often, tells(function(req)
    local body = req:json { to = "string", message = "string",
      severity = { "info", "warning", "high", "critical", optional = true } }
    return sluice.receipt(inbox:send(body.to, { message = body.message, severity = body.severity,
      from = req.user.id, idempotency = req.headers["idempotency-key"] }))
  end, "notification"))
end
