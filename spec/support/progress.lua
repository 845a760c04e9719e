--- An app with jobs that are made by hand, for mistakes that are planted into it (spec/kit/planted_spec).
local sluice = require("sluice")
local app = sluice.app()
local jobs = app:state("jobs", {}) -- id -> { owner, items, done, status }

app:guard("/api/**", function(req)
  local name = req.headers["x-user"]
  if name then req.user = { id = name } end
  return req.user and true or 401
end)

app:channel("jobs/:owner", { history = "latest", key = "jobId",
  read = function(user, p) return user ~= nil and user.id == p.owner end })
app:stream("/api/job-progress", function(req) return "jobs/" .. req.user.id end)

local function report(event, id, job)
  app:publish("jobs/" .. job.owner, event, { jobId = id, status = job.status,
    processed = job.done, total = #job.items, percentage = 100 * job.done // #job.items,
    currentItem = job.items[job.done] })
end

app:task("batch", { restart = true }, function(id)
  local job = jobs()[id]
  while job.status == "running" and job.done < #job.items do
    sluice.sleep(0.05) -- stands for the work on one item
    job.done = job.done + 1
    report("progress", id, job)
    sluice.checkpoint()
  end
  if job.status == "running" then job.status = "success" end
  report(job.status == "success" and "job-complete" or "job-cancelled", id, job)
end)

app:post("/api/jobs", function(req)
  local id, items = sluice.id(), req:json({ items = "array" }).items
  if #items == 0 then return 422, "nothing to do" end
  jobs()[id] = { owner = req.user.id, items = items, done = 0, status = "running" }
  app:after(0, "batch", id)
  return 202, { jobId = id }
end)

app:delete("/api/jobs/:id", function(req)
  local job = jobs()[req.params.id]
  if not job or job.owner ~= req.user.id then return 404, "no such job" end
  if job.status == "running" then job.status = "cancelled" end
  return 202, { status = job.status }
end)

return app
