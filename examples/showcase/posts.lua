--- What the pages post: who they are, what they have read, messages, and a batch.
local sluice = require("sluice")

local ITEMS_MAX = 1000

-- The work of a batch, a quarter of a second an item; one that is called "broken" ends it.
local function process(job, args)
  for i, item in ipairs(args.items) do
    local name = tostring(type(item) == "table" and item.name or item)
    sluice.sleep(0.25)
    if name == "broken" then error("an item is broken", 0) end
    job:progress(i, { currentItem = name })
  end
end

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
  jobs:define("process-batch", tells(process, "progress", "job-complete", "job-failed"))
  app:post("/api/messages", often, tells(function(req)
    local body = req:json { to = "string", message = "string",
      severity = { "info", "warning", "high", "critical", optional = true } }
    return sluice.receipt(inbox:send(body.to, { message = body.message, severity = body.severity,
      from = req.user.id, idempotency = req.headers["idempotency-key"] }))
  end, "notification"))
  app:post("/api/process-batch", often, function(req)
    local items = req:json({ items = "array" }).items
    if #items == 0 or #items > ITEMS_MAX then return 422, "items: 1 to 1000 are expected" end
    local job, message, code, field = jobs:start("process-batch", { owner = req.user.id,
      args = { items = items }, total = #items, fields = { currentItem = "" } })
    if not job then return nil, message, code, field end
    return 202, { jobId = job.id }
  end)
end
