--- Jobs with an owner, a bar and an end: a batch, and an upload. The owner sees them on all pages,
--- at once and live; after a reload and a kill -9 a batch goes on where it was; other users do not
--- learn that they exist.
---
---   sluice run examples/progress/app.lua --data /tmp/progress
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/job-progress
---   curl -H 'X-User: alice' --json '{"items":["a","b"]}' http://127.0.0.1:5121/api/process-batch
---   curl -H 'X-User: alice' -T README.md http://127.0.0.1:5121/api/files/readme?jobId=u1
---
--- Here a proxy in front names the user (X-User). Bars are `progress`, ends are `job-complete`,
--- `job-failed` and `job-cancelled`. An item is a text, or has a name.
local sluice = require("sluice")
local app = sluice.app()
local jobs = require("sluice.jobs").new(app, { durable = true })

local function name_of(item) return tostring(type(item) == "table" and item.name or item) end

jobs:define("process-batch", function(job, args)
  for i = (job.saved or 0) + 1, #args.items do
    sluice.sleep(0.05) -- stands for the work on one item
    job:progress(i, { currentItem = name_of(args.items[i]) })
    job:checkpoint(i)
  end
  return { processed = #args.items }
end)

app:guard("/api/**", function(req)
  local name = req.headers["x-user"]
  if name then req.user = { id = name } end
  return req.user and true or 401
end)
jobs:stream("/api/job-progress") -- all jobs of this user; ?jobId= for one
jobs:routes("/api/jobs") -- list, look, cancel

app:post("/api/process-batch", function(req)
  local items = req:json({ items = "array" }).items
  if #items == 0 then return 422, "nothing to do" end
  local job, message, code, field = jobs:start("process-batch",
    { args = { items = items }, owner = req.user.id, total = #items,
      fields = { currentItem = "" } })
  if not job then return nil, message, code, field end
  return 200, { jobId = job.id }
end)

app:put("/api/files/:name", { body = "stream", max = 1 << 30 }, function(req)
  local about = { id = req.query.jobId, owner = req.user.id,
    total = tonumber(req.headers["content-length"]), fields = { currentItem = req.params.name } }
  return jobs:attend("upload", about, function(job)
    local file <close> = assert(io.tmpfile()) -- stands for the place where files are kept
    local bytes = 0
    for piece in req:chunks() do
      assert(file:write(piece))
      bytes = bytes + #piece
      job:progress(bytes)
    end
    return { bytes = bytes }
  end)
end)

return app
