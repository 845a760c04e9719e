--- Jobs with an owner, a bar and an end: batches, several at a time, and uploads. The owner sees
--- them on all pages, at once and live; after a reload and a kill -9 a batch goes on where it was;
--- other users do not learn that they exist.
---
---   sluice run examples/progress/app.lua --data /tmp/progress    and open http://127.0.0.1:5121/
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/job-progress
---   curl -H 'X-User: alice' --json '{"items":["a","b"]}' http://127.0.0.1:5121/api/process-batch
---   curl -H 'X-User: alice' -T README.md http://127.0.0.1:5121/api/files/readme?jobId=u1
---
--- Here a proxy in front names the user (X-User); whom it does not name is `you`. With --demo
--- batches start by themselves while somebody looks (robot.lua). The work is in batches.lua.
--- Events: `progress`, and the ends `job-complete`, `job-failed`, `job-cancelled`.
local sluice = require("sluice")
local app = sluice.app()
local jobs = require("sluice.jobs").new(app, { durable = true, concurrency = 3, queue = 100 })

app:guard("/api/**", function(req)
  req.user = req.user or { id = req.headers["x-user"] or "you" }
  return true
end)
jobs:stream("/api/job-progress") -- all jobs of this user; ?jobId= for one
jobs:routes("/api/jobs") -- list, look, cancel
require("batches")(app, jobs)
if sluice.is_demo() then require("robot")(app, jobs, "you") end
app:static("/look", "../look")
app:static("/", "public")

return app
