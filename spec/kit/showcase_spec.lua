--- The showcase in virtual time: what each of its streams has at once, who may ask, what is posted.
local kit = require("spec.support.kit")

local PATH = "examples/showcase/app.lua"
local ALL = "/api/showcase?match=7&device=boiler&document=welcome"

-- Of each stream, the events that are there when it opens.
local STREAMS = {
  ["/api/dashboard-metrics"] = { "metrics-update" },
  ["/api/notifications"] = { "notification" },
  ["/api/job-progress"] = { "progress" },
  ["/api/live-match/7"] = { "match-event", "commentary", "news" },
  ["/api/stock-prices"] = { "price-update" },
  ["/api/devices/boiler/telemetry"] = { "telemetry", "alert" },
  ["/api/documents/welcome/collaboration"] = { "user-joined", "cursor-move", "line-change" },
  ["/api/system/monitoring"] = { "system-metrics" },
}

describe("the showcase", function()
  local t

  after_each(kit.stop_all)

  it("has data for everybody at once, on each stream and on the one of all", function()
    t = kit.open(PATH, { flags = { demo = true } })
    t:advance(1)
    local all = t:connect(ALL)
    for path, events in pairs(STREAMS) do
      local one = t:connect(path)
      for _, event in ipairs(events) do
        one:wait_for(event, 0.1)
        all:wait_for(event, 0.1)
      end
    end
    assert.equal(50, t:connect("/api/stock-prices"):count("price-update"))
    assert.equal(1, t:connect("/api/stock-prices?symbols=NOVA"):count("price-update"))
    assert.same({}, t:log("error"))
  end)

  it("goes on over a reload, each feed once", function()
    t = kit.open(PATH, { flags = { demo = true } })
    local match = t:connect("/api/live-match/7")
    t:advance(30)
    assert(t:reload())
    t:advance(30)
    assert.near(21, match:count("match-event"), 2)
    local minutes = {}
    for i, event in ipairs(match:events("match-event")) do minutes[i] = event.data.minute - i end
    for _, off in ipairs(minutes) do assert.equal(0, off) end
  end)

  it("asks for a name without --demo, and gives it that user's streams", function()
    t = kit.open(PATH)
    for path in pairs(STREAMS) do assert.equal(401, t:connect(path).status, path) end
    assert.equal(401, t:connect(ALL).status)
    assert.equal(401, t:post("/api/process-batch", { json = { items = { "a" } } }).status)
    assert.equal(422, t:post("/session", { json = { name = "a/b" } }).status)
    local cookie = t:post("/session", { json = { name = "ann" } }).headers["Set-Cookie"]:match("^[^;]+")
    local ann = { headers = { Cookie = cookie } }
    assert.equal("ann", t:connect(ALL, ann):wait_for("user-joined", 1).data.userId)
    assert.equal(0, t:connect("/api/notifications", ann):count("notification"))
  end)

  it("takes batches, cursors, lines, and what was read", function()
    t = kit.open(PATH, { flags = { demo = true } })
    local all = t:connect(ALL)
    local answer = t:post("/api/process-batch", { json = { items = { "a", "b" } } })
    assert.equal(202, answer.status)
    all:wait_for("job-complete", 5, { jobId = answer.json.jobId })
    assert.equal(422, t:post("/api/process-batch", { json = { items = {} } }).status)
    assert.equal(202, t:post("/api/documents/welcome/cursor", { json = { line = 2, column = 3 } }).status)
    assert.same({ line = 2, column = 3 }, all:wait_for("cursor-move", 1, { userId = "alice" }).data.position)
    assert.equal(202, t:put("/api/documents/welcome/lines/2", { json = { text = "x" } }).status)
    all:wait_for("line-change", 1, { userId = "alice", text = "x" })
    assert.equal(403, t:put("/api/documents/soup/lines/2", { json = { text = "x" } }).status)
    assert.equal(422, t:put("/api/documents/welcome/lines/0", { json = { text = "x" } }).status)
    local id = all:wait_for("notification", 1).data.id
    assert.equal(200, t:post("/api/notifications/ack", { json = { ids = { id } } }).status)
    all:wait_for("notification-ack", 1, { id = id })
  end)
end)
