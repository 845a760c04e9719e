--- What the pages post: a batch, cursors, lines, and what they have read.
local sluice = require("sluice")

-- The work of a batch, a quarter of a second an item.
local function process(job, args)
  for i, item in ipairs(args.items) do
    sluice.sleep(0.25)
    job:progress(i, { currentItem = tostring(item) })
  end
end

return function(app, inbox, jobs, rooms)
  inbox:routes("/api/notifications")
  jobs:routes("/api/jobs")
  jobs:define("process-batch", process)
  app:post("/api/process-batch", function(req)
    local items = req:json({ items = "array" }).items
    if #items == 0 or #items > 1000 then return 422, "items: 1 to 1000 are expected" end
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
    if not rooms:has(id, req.user.id) then return 403, "you are not in this document" end
    return sluice.receipt(app:publish("text/" .. id, "line-change", { documentId = id, line = line,
      text = req:json({ text = "string" }).text, userId = req.user.id }))
  end)
end
