--- The showcase in virtual time: what each of its streams has at once, who may ask, what is posted, and
--- what is said of its events.
local kit = require("spec.support.kit")

local PATH = "examples/showcase/app.lua"
local ALL = "/api/showcase?match=7&device=boiler&document="

-- Of each stream, the events that are there when it opens.
local STREAMS = {
  ["/api/dashboard-metrics"] = { "metrics-update" },
  ["/api/notifications"] = { "notification" },
  ["/api/job-progress"] = { "progress" },
  ["/api/live-match/7"] = { "match-event", "commentary", "news" },
  ["/api/stock-prices"] = { "price-update" },
  ["/api/devices/boiler/telemetry"] = { "telemetry", "alert" },
  ["/api/documents/tea/collaboration"] = { "user-joined", "cursor-move", "line-change" },
  ["/api/documents/welcome/collaboration"] = { "user-joined", "cursor-move" },
  ["/api/system/monitoring"] = { "system-metrics" },
}

local PAGES = { "dashboard", "notifications", "progress", "match", "stocks", "devices", "editor", "monitoring", "chat" }
local KEY = { ["X-API-Key"] = "your-api-key" }
local CONTROL = { hello = true, sync = true, reset = true, bye = true, removed = true }

describe("the showcase", function()
  local t

  after_each(kit.stop_all)

  local function demo(options)
    options = options or {}
    options.flags = { demo = true }
    t = kit.open(PATH, options)
    return t
  end

  it("has data for everybody at once, on each stream and on the one of all", function()
    demo()
    t:advance(1)
    for path, events in pairs(STREAMS) do
      local one, all = t:connect(path), t:connect(ALL .. (path:match("documents/(%l+)") or "tea"))
      for _, event in ipairs(events) do
        one:wait_for(event, 0.1)
        all:wait_for(event, 0.1)
      end
    end
    assert.equal(50, t:connect("/api/stock-prices"):count("price-update"))
    assert.equal(50, #t:get("/api/symbols").json)
    assert.equal(1, t:connect("/api/stock-prices?symbols=NOVA"):count("price-update"))
    assert.same({}, t:log("error"))
  end)

  it("has limits of a device that are newer than all before, also after a restart that forgot them", function()
    demo()
    local function rack() return t:connect("/api/floor"):wait_for("device", 0, { deviceId = "rack" }).data end
    local first = rack()
    t:advance(1)
    local said = t:put("/api/devices/rack/limits", { json = { limit = 20, clear = 10 } }).json
    assert.same({ first.version + 1, 20 }, { said.version, rack().limit })
    t:kill()
    local again = rack()
    assert.equal(first.limit, again.limit)
    assert.is_true(again.version > said.version)
  end)

  it("goes on over a reload, each feed once", function()
    demo()
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
    assert.equal(401, t:connect(ALL .. "welcome").status)
    assert.equal(401, t:post("/api/process-batch", { json = { items = { "a" } } }).status)
    assert.equal(422, t:post("/session", { json = { name = "a/b" } }).status)
    local cookie = t:post("/session", { json = { name = "ann" } }).headers["Set-Cookie"]:match("^[^;]+")
    local ann = { headers = { Cookie = cookie } }
    assert.equal("ann", t:connect(ALL .. "welcome", ann):wait_for("user-joined", 1).data.userId)
    assert.equal(0, t:connect("/api/notifications", ann):count("notification"))
  end)

  it("takes batches, cursors, lines, and what was read", function()
    demo()
    local all = t:connect(ALL .. "tea")
    local answer = t:post("/api/process-batch", { json = { items = { "a", "b" } } })
    assert.equal(200, answer.status)
    all:wait_for("job-complete", 5, { jobId = answer.json.jobId })
    assert.equal(422, t:post("/api/process-batch", { json = { items = {} } }).status)
    assert.equal(202, t:post("/api/documents/tea/lines/2/cursor", { json = { column = 3 } }).status)
    assert.same({ line = 2, column = 3 }, all:wait_for("cursor-move", 1, { userId = "alice" }).data.position)
    assert.equal(202, t:put("/api/documents/tea/lines/2", { json = { text = "x" } }).status)
    all:wait_for("line-change", 1, { userId = "alice", text = "x" })
    assert.equal(404, t:put("/api/documents/soup/lines/2", { json = { text = "x" } }).status)
    assert.equal(422, t:put("/api/documents/tea/lines/0", { json = { text = "x" } }).status)
    all:drop()
    t:advance(6)
    assert.equal(403, t:put("/api/documents/tea/lines/2", { json = { text = "y" } }).status)
    all = t:connect(ALL .. "tea")
    local id = all:wait_for("notification", 1).data.id
    assert.equal(200, t:post("/api/notifications/ack", { json = { ids = { id } } }).status)
    all:wait_for("notification-ack", 1, { id = id })
  end)

  it("has each example's page, with what it asks for, at its name", function()
    demo()
    for _, name in ipairs(PAGES) do
      local page = t:get("/" .. name .. "/")
      assert.equal(200, page.status, name)
      for file in page.body:gmatch('="([%w._-]+%.%l+)"') do
        assert.equal(200, t:get(("/%s/%s"):format(name, file)).status, file)
      end
    end
    for _, path in ipairs { "/look/look.css", "/look/page.js", "/sluice.js", "/index.html", "/api/me", "/api/jobs",
      "/api/alerts", "/api/chat", "/api/documents/welcome/text", "/api/demo/status", "/api/sse/event-types" } do
      assert.equal(200, t:get(path).status, path)
    end
    assert.equal("alice", t:get("/api/me").json.name)
    assert.same({}, t:log("error"))
  end)

  -- Everything that a person can cause, and what comes by itself within two minutes.
  local function cause_all(all)
    local other = t:connect("/api/documents/welcome/collaboration", { headers = { ["X-User"] = "carol" } })
    local tab = t:connect("/api/documents/welcome/collaboration")
    for i = 1, 25 do t:post("/api/messages", { json = { to = "alice", message = "m" .. i, severity = "info" } }) end
    local done = t:post("/api/process-batch", { json = { items = { "a" } } }).json.jobId
    t:post("/api/process-batch", { json = { items = { "" } } })
    local stopped = t:post("/api/process-batch", { json = { items = { "a", "b", "c" } } }).json.jobId
    t:delete("/api/jobs/" .. stopped)
    for _, id in ipairs { "ask", "long", "stop" } do
      local asked = { role = "user", content = id == "long" and ("x"):rep(40000) or "What is a sluice?" }
      assert.equal(202, t:post("/api/chat", { json = { id = id, messages = { asked } } }).status)
    end
    t:delete("/api/chat/stop")
    t:put("/api/documents/tea/lines/2", { json = { text = "milk" } })
    t:post("/api/sse/data-update", { headers = KEY, json = { id = "1", type = "order" } })
    all:wait_for("job-complete", 5, { jobId = done })
    local device, system = all:wait_for("alert", 5), all:wait_for("system-alert", 5)
    assert.equal(204, t:post(("/api/device-alerts/%s/ack"):format(device.data.id)).status)
    assert.equal(204, t:post(("/api/alerts/%s/ack"):format(system.data.id)).status)
    t:post("/api/notifications/ack", { json = { ids = { all:wait_for("notification", 1).data.id } } })
    other:drop()
    t:advance(60)
    return tab
  end

  it("lists every type of event that its stream brings, and no other", function()
    local procfs, ticks, is_busy = require("sluice.base.procfs"), 0, true
    local cpu = procfs.cpu
    finally(function() procfs.cpu = cpu end)
    function procfs.cpu()
      ticks = ticks + 100
      return { busy = is_busy and ticks or 0, total = ticks, processors = 1 }
    end
    demo()
    local all, lines, listed, seen = t:connect(ALL .. "welcome"), t:connect(ALL .. "tea"), {}, {}
    local tab = cause_all(all)
    is_busy = false
    t:advance(60)
    assert(t:reload())
    t:advance(1)
    for _, c in ipairs { all, lines, tab } do
      for _, event in ipairs(c:events()) do seen[event.event] = true end
    end
    for name in pairs(CONTROL) do seen[name] = nil end
    for _, info in ipairs(t:get("/api/event-types").json) do
      listed[info.name] = true
      assert.is_boolean(info.automatic)
      assert.is_true(#info.description > 0 and #info.example > 0, info.name)
    end
    assert.same(listed, seen)
  end)

  it("bounds what a visitor can leave", function()
    demo()
    t:connect(ALL .. "welcome")
    local counts = {}
    local function post(path, body)
      local status = t:post(path, { json = body }).status
      counts[path .. " " .. status] = (counts[path .. " " .. status] or 0) + 1
      return status
    end
    for i = 1, 70 do post("/api/messages", { to = "alice", message = "m" .. i }) end
    assert.equal(60, counts["/api/messages 202"])
    assert.equal(10, counts["/api/messages 429"])
    assert.is_true(#t:get("/api/notifications/unread").json.notifications <= 21) -- and what is said of the rest
    for i = 1, 25 do
      post("/api/chat", { id = "c" .. i, messages = { { role = "user", content = "?" } } })
    end
    assert.equal(20, counts["/api/chat 202"])
    assert.equal(5, counts["/api/chat 429"])
    for i = 1, 30 do t:get(("/api/documents/d%d/text"):format(i)) end
    assert.is_true(#t:get("/api/documents/welcome/text").json.text > 0)
  end)
end)
