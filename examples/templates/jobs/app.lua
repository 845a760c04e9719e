--- NAME: long work with a bar, a stop button and an end; it survives a reload of the page and of
--- this file.
---
---   sluice run app.lua                                    and open http://127.0.0.1:5121/
---
--- Everybody is the same user here. sluice.auth has real ones: each then sees only his own jobs.
local sluice = require("sluice")
local app = sluice.app()
local jobs = require("sluice.jobs").new(app)

-- Stands for your work: what it does with one item. After a reload it goes on behind the last
-- checkpoint.
jobs:define("count", function(job, args)
  for i = (job.saved or 0) + 1, args.items do
    sluice.sleep(0.05)
    job:progress(i, { currentItem = "item " .. i })
    job:checkpoint(i)
  end
  return { counted = args.items }
end)

app:guard("/api/**", function(req)
  req.user = req.user or { id = "me" }
  return true
end)

jobs:stream("/api/job-events")
jobs:routes("/api/jobs")

app:post("/api/jobs", function(req)
  local body = req:json({ items = "integer" })
  if body.items < 1 or body.items > 10000 then return 422, "items: 1 to 10000" end
  local job, message, code, field = jobs:start("count",
    { owner = req.user.id, args = { items = body.items }, total = body.items })
  if not job then return nil, message, code, field end
  return 202, { jobId = job.id }
end)

app:static("/", "public")

return app
