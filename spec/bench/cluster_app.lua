--- The app of the benchmark's row CLUSTER: publishers that wait for each answer, and channels of one user each.
local sluice = require("sluice")
local app = sluice.app()

local TEXT = '{"n":100000,"t":1000000000,"pad":"' .. ("x"):rep(160) .. '"}'
local QUIET = 3600 -- no heartbeat while something else is measured

app:channel("fan/*", { history = 1000, ttl = 3600 })
app:channel("user/*", { history = 10, ttl = 3600 })
app:stream("/s/to/:name", { channels = { "fan/:name" }, heartbeat = QUIET })
app:stream("/s/user/:id", { channels = { "user/:id" }, heartbeat = QUIET })

local function publish(job, i)
  local began = sluice.now()
  local channel = job.each and "user/" .. i or "fan/one"
  local id, message = app:publish(channel, "tick", TEXT)
  if not id then error(message) end
  job.last = id
  job.took[#job.took + 1] = (sluice.now() - began) * 1e6
end

-- So many events of so many publishers, into one channel or (each=1) into one for each event.
app:post("/publishers", function(req)
  local publishers, events = req:number("publishers", 1, 1024) // 1, req:number("events", 1, 1e6) // 1
  local job = { left = publishers, next = 0, took = {}, each = req.query.each }
  local began = sluice.now()
  for _ = 1, publishers do
    app:spawn(function()
      while job.next < events do
        job.next = job.next + 1
        publish(job, job.next)
      end
      job.left = job.left - 1
    end)
  end
  while job.left > 0 do sluice.sleep(0.005) end
  local seconds = sluice.now() - began
  table.sort(job.took)
  return { seconds = seconds, p50 = job.took[#job.took // 2 + 1], p99 = job.took[math.ceil(#job.took * 0.99)],
    last = job.last }
end)

app:get("/ready", function() return 204 end)

return app
