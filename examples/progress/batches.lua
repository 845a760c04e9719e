--- Two kinds of jobs: a batch of items, which goes on at its last checkpoint, and an upload.
---
---   require("batches")(app, jobs, { seconds = 0.25, upload = 1 << 20 })
---
--- An item is a text, or an object with a name; without a name it is broken, and the batch fails.
local sluice = require("sluice")

local ITEMS_MAX, TITLE_MAX = 1000, 80

local function name_of(item) return tostring(type(item) == "table" and item.name or item) end

-- `seconds` stand for the work on one item.
local function work_on(seconds)
  return function(job, args)
    for i = (job.saved or 0) + 1, #args.items do
      local name = name_of(args.items[i])
      sluice.sleep(seconds)
      if name == "" then return nil, ("item %d has no name"):format(i) end
      job:progress(i, { currentItem = name })
      job:checkpoint(i)
    end
    return { processed = #args.items }
  end
end

local function start(jobs, req)
  local body = req:json { items = "array", title = "string?" }
  local items, title = body.items, body.title or "Batch"
  if #items == 0 or #items > ITEMS_MAX then
    return 422, ("items: 1 to %d are expected"):format(ITEMS_MAX)
  end
  if #title > TITLE_MAX then return 422, ("title: up to %d bytes"):format(TITLE_MAX) end
  local job, message, code, field = jobs:start("process-batch", { args = { items = items },
    owner = req.user.id, total = #items, fields = { title = title, currentItem = "" } })
  if not job then return nil, message, code, field end
  return 200, { jobId = job.id }
end

-- The place where files are kept is a temporary one here.
local function upload(jobs, req)
  local name = req.params.name
  local about = { id = req.query.jobId, owner = req.user.id,
    total = tonumber(req.headers["content-length"]),
    fields = { title = name, currentItem = name } }
  return jobs:attend("upload", about, function(job)
    local file <close> = assert(io.tmpfile())
    local bytes = 0
    for piece in req:chunks() do
      assert(file:write(piece))
      bytes = bytes + #piece
      job:progress(bytes)
    end
    return { bytes = bytes }
  end)
end

return function(app, jobs, options)
  local o = options or {}
  jobs:define("process-batch", work_on(o.seconds or 0.05))
  app:post("/api/process-batch", function(req) return start(jobs, req) end)
  app:put("/api/files/:name", { body = "stream", max = o.upload or 1 << 30 },
    function(req) return upload(jobs, req) end)
end
