--- What the pages post: who they are, what they have read, messages, a batch, cursors and lines.
local sluice = require("sluice")

local ITEMS_MAX, TEXT_MAX = 1000, 500

-- The work of a batch, a quarter of a second an item.
local function process(job, args)
  for i, item in ipairs(args.items) do
    sluice.sleep(0.25)
    job:progress(i, { currentItem = tostring(type(item) == "table" and item.name or item) })
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
  local auth, inbox, jobs, rooms = with.auth, with.inbox, with.jobs, with.rooms
  local often = auth:limit("posts", { rate = 60, per = 60 })
  sign_in_by_name(app, auth)
  inbox:routes("/api/notifications")
  with.health:routes("/api/alerts", function() return true end)
  jobs:routes("/api/jobs")
  jobs:define("process-batch", process)
  app:post("/api/messages", often, function(req)
    local body = req:json { to = "string", message = "string",
      severity = { "info", "warning", "high", "critical", optional = true } }
    return sluice.receipt(inbox:send(body.to, { message = body.message, severity = body.severity,
      from = req.user.id, idempotency = req.headers["idempotency-key"] }))
  end)
  app:post("/api/process-batch", often, function(req)
    local items = req:json({ items = "array" }).items
    if #items == 0 or #items > ITEMS_MAX then return 422, "items: 1 to 1000 are expected" end
    local job, message, code, field = jobs:start("process-batch", { owner = req.user.id,
      args = { items = items }, total = #items, fields = { currentItem = "" } })
    if not job then return nil, message, code, field end
    return 202, { jobId = job.id }
  end)
  app:post("/api/documents/:id/cursor", function(req)
    local position = req:json({ line = "integer", column = "integer" })
    return sluice.receipt(rooms:send(req.params.id, req.user, "cursor-move", { position = {
      line = position.line, column = position.column } }))
  end)
  app:put("/api/documents/:id/lines/:line", function(req)
    local id, line = req.params.id, tonumber(req.params.line:match("^[1-9]%d?$"))
    if not line then return 422, "a line from 1 to 99 is expected" end
    local text = req:json({ text = "string" }).text
    if #text > TEXT_MAX then return 422, "text: at most 500 bytes are expected" end
    if not rooms:has(id, req.user.id) then return 403, "you are not in this document" end
    return sluice.receipt(app:publish("text/" .. id, "line-change", { documentId = id, line = line,
      text = text, userId = req.user.id }))
  end)
end
