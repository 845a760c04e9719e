--- Jobs on a real server: each item is done once over reloads and kill -9, and a page that comes back sees the end.
--- (All else in virtual time: spec/kit/jobs_spec.lua and jobs_random_spec.lua.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local ITEMS = 100

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("done", { history = 1000, rewind = "all", durable = true })
local jobs = require("sluice.jobs").new(app)
app:guard("/**", function(req) req.user = { id = req.headers["x-user"] or "ann" } return true end)
jobs:define("batch", function(job, args)
  for i = (job.saved or 0) + 1, args.n do
    sluice.sleep(0.02)
    assert(app:publish("done", "item", { i = i }, { idempotency = job.id .. "/" .. i }))
    job:progress(i)
    job:checkpoint(i)
  end
  return { n = args.n }
end)
app:stream("/done", "done")
jobs:stream("/progress/:id")
jobs:routes("/jobs")
app:post("/start", function()
  return { jobId = assert(jobs:start("batch", { id = "a", args = { n = %d }, owner = "ann", total = %d })).id }
end)
return app
]]

describe("a job on a real server", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  local function start()
    return server.start { app = APP:format(ITEMS, ITEMS), args = { "--data", folder .. "/data" } }
  end

  local function look(s) return json.decode(http.get(s.port, "/jobs/a").body) end

  local function wait_until(s, n)
    deadline.eventually(function() return look(s).processed >= n end, 30, n .. " items")
  end

  it("does each item once over four reloads and a kill -9, and tells its end to who comes back", function()
    local s = start()
    assert.equal(200, http.post(s.port, "/start").status)
    for n = 1, 4 do
      wait_until(s, n * 10)
      s.signal("HUP")
    end
    wait_until(s, 50)
    s.kill()
    s = start()
    local c = sse.connect(s.port, "/progress/a")
    assert.is_true(json.decode(c:wait_for("progress", 5).data).processed >= 50)
    local done = json.decode(c:wait_for("job-complete", 60).data)
    assert.same({ "success", ITEMS, 100 }, { done.status, done.processed, done.percentage })
    assert.equal("stop", json.decode(c:wait_for("bye", 5).data).reason)
    assert.equal(204, http.get(s.port, "/progress/a", { ["Last-Event-ID"] = "stop" }).status)
    assert.equal(404, http.get(s.port, "/jobs/a", { ["X-User"] = "bob" }).status)
    local items = sse.connect(s.port, "/done")
    for i = 1, ITEMS do assert.equal(i, json.decode(items:wait_for("item", 5).data).i) end
    assert.is_true(look(s).attempt >= 3)
  end)
end)
