--- The examples in virtual time: what each of them promises in its first lines.
local kit = require("spec.support.kit")
local procfs = require("sluice.base.procfs")
local tree = require("spec.support.tree")

describe("examples/dashboard", function()
  after_each(kit.stop_all)

  it("measures once for all, at once for the first, never without a subscriber", function()
    local t = kit.open("examples/dashboard/app.lua")
    t:advance(3600)
    local first = t:connect("/api/dashboard-metrics")
    assert.equal(1, first:count("metrics-update"))
    local figures = first:wait_for("metrics-update", 0).data
    assert.is_number(figures.cpu)
    assert.equal(1, figures.activeUsers)
    for _ = 1, 20 do t:connect("/api/dashboard-metrics") end
    t:advance(5)
    assert.equal(6, first:count("metrics-update"))
    assert.equal(6, t:connect("/api/dashboard-metrics"):count("metrics-update"))
    assert.truthy(t:get("/").body:find("<html", 1, true))
  end)
end)

describe("examples/progress", function()
  local t

  before_each(function() t = kit.open("examples/progress/app.lua") end)
  after_each(kit.stop_all)

  local function begin(n, user)
    local items = {}
    for i = 1, n do items[i] = "item " .. i end
    local response = t:post("/api/process-batch", { user = user, json = { items = items } })
    assert.equal(200, response.status)
    return response.json.jobId
  end

  it("tells its owner how far it is, and the end", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    local id = begin(20, "alice")
    local done = alice:wait_for("job-complete", 2, { jobId = id })
    assert.near(1, t:elapsed(), 0.1)
    assert.same({ "success", 20, 20 }, { done.data.status, done.data.processed, done.data.total })
    local last = 0
    for _, e in ipairs(alice:events("progress")) do
      assert.is_true(e.data.percentage >= last)
      last = e.data.percentage
    end
    assert.equal(100, last)
  end)

  it("shows an upload while it comes, and keeps its end", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    local answer = t:put("/api/files/big?jobId=u1", { user = "alice", body = ("x"):rep(3 << 20) })
    assert.same({ 200, 3 << 20 }, { answer.status, answer.json.bytes })
    local done = alice:wait_for("job-complete", 1, { jobId = "u1" }).data
    assert.same({ "big", 3 << 20, 100, 3 << 20 }, { done.currentItem, done.processed, done.percentage,
      done.result.bytes })
    assert.equal(404, t:get("/api/jobs/u1", { user = "bob" }).status)
    assert.equal(422, t:put("/api/files/big?jobId=u1", { user = "bob", body = "x" }).status)
  end)

  it("shows who comes late where it stands, and how it ended", function()
    local id = begin(40, "alice")
    t:advance(1.01)
    local late = t:connect("/api/job-progress", { user = "alice" })
    assert.near(19, late:wait_for("progress", 0, { jobId = id }).data.processed, 2)
    late:wait_for("job-complete", 2)
    assert.received(t:connect("/api/job-progress", { user = "alice" }), "job-complete", { jobId = id })
  end)

  it("reaches its own user only", function()
    local bob = t:connect("/api/job-progress", { user = "bob" })
    local id = begin(3, "alice")
    bob:expect_none("progress", 2)
    assert.equal(404, t:delete("/api/jobs/" .. id, { user = "bob" }).status)
    local others = { t:connect("/api/job-progress"),
      t:connect("/api/job-progress", { headers = { ["X-User"] = "carol" } }) }
    for _, other in ipairs(others) do assert.same({ 200, 0 }, { other.status, other:count("job-complete") }) end
    assert.equal(422, t:post("/api/process-batch", { user = "bob", json = { items = {} } }).status)
  end)

  it("goes on over reloads and does no item twice", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    local id = begin(100, "alice")
    for _ = 1, 5 do
      t:advance(0.52)
      assert(t:reload())
    end
    alice:wait_for("job-complete", 5, { jobId = id })
    assert.is_true(t:elapsed() < 6, "it took " .. t:elapsed() .. " s")
    t:advance(1)
    assert.equal(1, alice:count("job-complete"))
  end)

  it("fails at an item that is broken, and says at which", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    t:post("/api/process-batch", { user = "alice", json = { title = "Scans", items = { "a", { name = "b" }, "" } } })
    local failed = alice:wait_for("job-failed", 2).data
    assert.same({ "failed", "item 3 has no name", 2, "Scans" },
      { failed.status, failed.error, failed.processed, failed.title })
    assert.equal(422, t:post("/api/process-batch", { user = "alice", json = { items = { "a" },
      title = ("x"):rep(81) } }).status)
    local many = {}
    for i = 1, 1001 do many[i] = "x" end
    assert.equal(422, t:post("/api/process-batch", { user = "alice", json = { items = many } }).status)
  end)

  it("works on three batches at a time; others wait", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    for _ = 1, 5 do begin(20, "alice") end
    t:advance(0.5)
    local status = {}
    for _, job in ipairs(t:get("/api/jobs", { user = "alice" }).json.jobs) do
      status[job.status] = (status[job.status] or 0) + 1
    end
    assert.same({ running = 3, queued = 2 }, status)
    t:advance(3)
    assert.equal(5, alice:count("job-complete"))
  end)

  it("has batches by itself with --demo, while somebody looks", function()
    local demo = kit.open("examples/progress/app.lua", { flags = { demo = true } })
    demo:advance(60)
    assert.equal(0, demo:get("/api/jobs").json.total)
    local c = demo:connect("/api/job-progress")
    demo:advance(90)
    assert.is_true(c:count("job-complete") >= 3)
    assert.equal("item 214 has no name", c:wait_for("job-failed", 60).data.error)
  end)

  it("can be cancelled by its owner", function()
    local alice = t:connect("/api/job-progress", { user = "alice" })
    local id = begin(100, "alice")
    t:advance(1)
    assert.equal(202, t:delete("/api/jobs/" .. id, { user = "alice" }).status)
    alice:wait_for("job-cancelled", 1, { jobId = id })
    local before = alice:count("progress")
    t:advance(2)
    assert.equal(before, alice:count("progress"))
  end)

  it("goes on after a kill -9", function()
    local id = begin(60, "alice")
    t:advance(1.53)
    t:kill()
    local again = t:connect("/api/job-progress?jobId=" .. id, { user = "alice" })
    assert.is_true(again:wait_for("progress", 1).data.processed > 20)
    assert.equal(60, again:wait_for("job-complete", 3).data.result.processed)
    again:wait_for("bye", 1)
    assert.equal(204, again:reconnect().status)
  end)
end)

describe("examples/match", function()
  local DESK = { ["X-API-Key"] = "k" }
  local t

  before_each(function()
    t = kit.open("examples/match/app.lua", { env = { DESK_KEY = "k" } })
    assert.same({ home = 0, away = 0 }, t:put("/api/matches/7", { headers = DESK }).json)
  end)
  after_each(kit.stop_all)

  local function line(text)
    assert.equal(202, t:post("/api/matches/7/commentary", { headers = DESK, json = { text = text } }).status)
  end

  it("gives a late visitor everything in order, then goes on live", function()
    t:advance(23 * 60)
    for i = 1, 150 do line("line " .. i) end
    assert.equal(202, t:post("/api/matches/7/goals", { headers = DESK, json = { team = "home" } }).status)
    local late = t:connect("/api/live-match/7")
    local goal = late:wait_for("match-event", 0).data
    assert.same({ 23, { home = 1, away = 0 } }, { goal.minute, goal.score })
    local lines = late:events("commentary")
    assert.same({ 100, "line 51", "line 150" }, { #lines, lines[1].data.text, lines[100].data.text })
    line("more")
    assert.equal("more", late:wait_for("commentary", 0, { text = "more" }).data.text)
  end)

  it("has news, of which a late visitor gets the last twenty, in order, at any match", function()
    local function tell(title)
      return t:post("/api/news", { headers = DESK, json = { title = title, text = "It is said" } }).status
    end
    for i = 1, 25 do assert.equal(202, tell("news " .. i)) end
    assert.equal(401, t:post("/api/news", { json = { title = "x", text = "y" } }).status)
    assert.equal(422, t:post("/api/news", { headers = DESK, json = { title = "x" } }).status)
    local late = t:connect("/api/live-match/7")
    local list = late:events("news")
    assert.same({ 20, "news 6", "news 25" }, { #list, list[1].data.title, list[20].data.title })
    late:drop()
    tell("more")
    local again = late:reconnect()
    assert.same({ true, 1 }, { again.hello.resumed, again:count("news") })
    tell("and more")
    assert.equal("and more", again:wait_for("news", 0, { title = "and more" }).data.title)
    t:put("/api/matches/8", { headers = DESK })
    assert.equal(20, t:connect("/api/live-match/8"):count("news"))
  end)

  it("counts a goal that is sent twice once", function()
    local c = t:connect("/api/live-match/7")
    local goal = { headers = { ["X-API-Key"] = "k", ["Idempotency-Key"] = "g1" }, json = { team = "away" } }
    local first, again = t:post("/api/matches/7/goals", goal), t:post("/api/matches/7/goals", goal)
    assert.same({ 202, 202, first.json, "true" },
      { first.status, again.status, again.json, again.headers["Idempotent-Replayed"] })
    assert.equal(1, c:count("match-event"))
  end)

  it("loses and doubles nothing when a connection is cut", function()
    local c = t:connect("/api/live-match/7")
    for i = 1, 3 do line("line " .. i) end
    c:drop()
    for i = 4, 6 do line("line " .. i) end
    local again = c:reconnect()
    assert.is_true(again.hello.resumed)
    local got = {}
    for _, e in ipairs(again:events("commentary")) do got[#got + 1] = e.data.text end
    assert.same({ "line 4", "line 5", "line 6" }, got)
  end)

  it("lets only the desk write, and no stream follow what is not played", function()
    assert.equal(401, t:post("/api/matches/7/goals", { json = { team = "home" } }).status)
    assert.equal("team", t:post("/api/matches/7/goals", { headers = DESK, json = { team = "x" } }).json.error.field)
    assert.equal(404, t:connect("/api/live-match/8").status)
    assert.equal(404, t:connect("/api/live-match/7%2Fx").status)
  end)

  it("is forgotten six hours later", function()
    line("the end")
    t:advance(6 * 3600 + 120)
    assert.equal(0, t:connect("/api/live-match/7"):count("commentary"))
  end)
end)

describe("examples/editor", function()
  local TEA = "/api/documents/tea/"
  local t

  before_each(function() t = kit.open("examples/editor/app.lua") end)
  after_each(kit.stop_all)

  local function enter(user) return t:connect(TEA .. "collaboration", { user = user }) end

  it("still shows after an hour who is in the room", function()
    enter("alice")
    t:advance(3600)
    local bob = enter("bob")
    bob:wait_for("user-joined", 0, { userId = "alice" })
  end)

  it("tells joins and leaves, once for each person", function()
    local alice, bob = enter("alice"), enter("bob")
    local tab = enter("bob")
    assert.equal(2, alice:count("user-joined"))
    assert.equal(2, bob:count("user-joined")) -- who was there, then himself
    assert.equal(2, alice:wait_for("user-joined", 0, { userId = "bob" }).data.activeUsers)
    bob:drop()
    alice:expect_none("user-left", 60)
    tab:drop()
    local gone = alice:wait_for("user-left", 6)
    assert.same({ "bob", 1 }, { gone.data.userId, gone.data.activeUsers })
    assert.near(65, t:elapsed(), 0.01)
    assert.equal(1, enter("alice"):count("user-joined"))
  end)

  it("takes a page that is loaded again for the same visit, also over a reload", function()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    t:advance(3)
    bob = enter("bob")
    t:advance(10)
    assert.same({ 2, 0 }, { alice:count("user-joined"), alice:count("user-left") })
    bob:drop()
    t:advance(2)
    assert(t:reload())
    t:advance(2)
    assert.equal(0, alice:count("user-left"))
    t:advance(2)
    assert.equal(1, alice:count("user-left"))
  end)

  it("tells a member who was away that another has left meanwhile", function()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    t:advance(1)
    alice:drop()
    t:advance(4.5)
    local again = alice:reconnect()
    assert.equal(1, again:count("user-left"))
    assert.equal(0, again:count("user-joined"))
  end)

  it("shows where each cursor stands, the newest only", function()
    local alice = enter("alice")
    enter("bob")
    local born = t:get(TEA .. "text", { user = "bob" }).json.born
    assert.equal(200, t:post(TEA .. "changes", { user = "bob", json = { born = born, version = 0, client = "b", n = 1,
      changes = { ("\n"):rep(60) } } }).status)
    for i = 1, 50 do
      assert.equal(202, t:post(TEA .. "cursor", { user = "bob", json = { line = i, column = 1 } }).status)
    end
    t:advance(0.1)
    local last = alice:events("cursor-move")[alice:count("cursor-move")].data
    assert.same({ line = 50, column = 0 }, last.position)
    assert.same({ 1, 49, 49 }, { last.version, last.anchor, last.head })
    assert.equal(1, enter("carol"):count("cursor-move"))
    t:advance(60)
    assert.equal(401, t:connect(TEA .. "collaboration").status)
  end)
end)

describe("examples/triggers", function()
  local t, c
  local cpu = procfs.cpu

  before_each(function()
    local total = 0
    function procfs.cpu() -- of no machine: always idle
      total = total + 1000
      return { busy = 0, total = total, processors = 1 }
    end
    t = kit.open("examples/triggers/app.lua", { env = { OPERATOR_KEY = "k" } })
    c = t:connect("/api/sse/connect")
  end)
  after_each(function()
    kit.stop_all()
    procfs.cpu = cpu
  end)

  it("fires the 30 s timer twice in a minute, whatever is reloaded", function()
    for _ = 1, 100 do
      t:advance(0.6)
      assert(t:reload())
    end
    t:advance(0.5)
    assert.equal(2, c:count("heartbeat"))
    assert.equal("2026-05-28T20:27:10.000Z", c:wait_for("heartbeat", 0).data.timestamp)
  end)

  it("makes one event of a burst of changes", function()
    for i = 1, 100 do t:patch("/api/orders/7", { json = { status = "s" .. i } }) end
    local change = c:wait_for("dataUpdate", 1).data
    assert.same({ "7", "order", "s100" }, { change.id, change.type, change.changes.status })
    c:expect_none("dataUpdate", 5)
    t:patch("/api/orders/7", { json = { status = "paid" } })
    assert.equal("paid", c:wait_for("dataUpdate").data.changes.status)
  end)

  it("passes on what a user says", function()
    local response = t:post("/api/announcements", { json = { message = "hi" } })
    assert.same({ 202, 1 }, { response.status, response.json.subscribers })
    assert.received(c, "notification", { message = "hi" })
    assert.equal(422, t:post("/api/announcements", { json = {} }).status)
  end)

  it("passes on that an alert of the machine begins, not that it ends", function()
    t:publish("alerts", "alert-cleared", { message = "x" })
    c:expect_none("alert", 1)
    t:publish("alerts", "alert", { message = "High CPU usage detected", severity = "high", category = "performance" })
    local data = c:wait_for("alert", 1).data
    assert.same({ "High CPU usage detected", "high", "performance" }, { data.message, data.severity, data.category })
  end)

  it("lets an operator announce, and take it back", function()
    local KEY = { ["X-API-Key"] = "k" }
    assert.equal(401, t:post("/api/maintenance", { json = { startTime = "3" } }).status)
    t:post("/api/maintenance", { headers = KEY, json = { startTime = "3", after = 60 } })
    t:advance(59)
    assert.equal(204, t:delete("/api/maintenance", { headers = KEY }).status)
    c:expect_none("alert", 10)
    assert.equal(404, t:delete("/api/maintenance", { headers = KEY }).status)
    t:post("/api/maintenance", { headers = KEY, json = { startTime = "4" } })
    assert.equal("Scheduled maintenance: 4", c:wait_for("alert", 1).data.message)
  end)
end)

describe("examples/stocks", function()
  after_each(kit.stop_all)

  it("gives who asks for two symbols twice a second just that", function()
    local t = kit.open("examples/stocks/app.lua")
    local c = t:connect("/api/stock-prices?symbols=ACME,NOVA&max_rate=2")
    t:advance(10)
    local last = {}
    for _, event in ipairs(c:events("price-update")) do
      local symbol, n = event.data.symbol, event.data.n
      assert.is_true(symbol == "ACME" or symbol == "NOVA", symbol)
      assert.is_true(n > (last[symbol] or 0))
      last[symbol] = n
    end
    local count = c:count("price-update")
    assert.is_true(count >= 38 and count <= 42, count)
    assert.is_true(last.ACME > 500, last.ACME) -- of which 20 were sent
  end)

  it("has an index, measured once a second, of which a newcomer gets the newest value at once", function()
    local t = kit.open("examples/stocks/app.lua")
    local c = t:connect("/api/stock-prices?symbols=SLX")
    t:advance(10)
    local n, seen = c:count("index-update"), {}
    assert.is_true(n >= 10 and n <= 11, n)
    assert.equal(0, c:count("price-update"))
    for _, e in ipairs(c:events("index-update")) do
      seen[e.data.value] = true
      assert.is_true(math.abs(e.data.value - 1000 - e.data.change) < 0.001, e.data.change)
      assert.is_true(math.abs(e.data.change / 10 - e.data.changePercent) < 0.006, e.data.changePercent)
    end
    assert.truthy(next(seen, next(seen)), "it does not move")
    t:advance(0.5) -- between two values
    local list = c:events("index-update")
    assert.equal(list[#list].data.value,
      t:connect("/api/stock-prices?symbols=SLX"):wait_for("index-update", 0).data.value)
  end)

  it("says of each price how much it is above or below the opening", function()
    local t = kit.open("examples/stocks/app.lua")
    local c = t:connect("/api/stock-prices?symbols=ACME")
    t:advance(20)
    local price, change
    for _, e in ipairs(c:events("price-update")) do
      if price then assert.is_true(math.abs((e.data.price - price) - (e.data.change - change)) < 0.011) end
      price, change = e.data.price, e.data.change
      assert.is_true(math.abs(100 * change / (price - change) - e.data.changePercent) < 0.011)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT", e.data.timestamp)
    end
    assert.truthy(price)
  end)

  it("does not trade without a subscriber, and keeps its prices over a reload", function()
    local t = kit.open("examples/stocks/app.lua")
    t:advance(60)
    local c = t:connect("/api/stock-prices?symbols=ACME&max_rate=1")
    t:advance(5)
    local before = c:events("price-update")
    assert.is_true(before[#before].data.n < 1000)
    assert(t:reload())
    t:advance(2)
    local after = c:events("price-update")
    assert.is_true(#after > #before)
    assert.is_true(after[#after].data.n > before[#before].data.n)
  end)
end)

describe("examples/devices", function()
  local t, key

  before_each(function()
    t = kit.open("examples/devices/app.lua")
    key = t:post("/api/devices/d1", { user = "alice", json = { limit = 80 } }).json.key
  end)
  after_each(kit.stop_all)

  local function connect(user) return t:connect("/api/devices/d1/telemetry", { user = user }) end
  local function reading(v, secret)
    return t:post("/api/devices/d1/telemetry",
      { headers = { ["X-Device-Key"] = secret or key }, json = { temperature = v } }).status
  end

  it("alerts once while a reading swings, and clears once", function()
    local c = connect("alice")
    for _, v in ipairs { 79, 81, 79, 81, 76, 81, 60, 61 } do
      assert.equal(202, reading(v))
      t:advance(1)
    end
    assert.same({ 1, 1, 61 }, { c:count("alert"), c:count("alert-cleared"), t:connect("/api/devices/d1/telemetry",
      { user = "alice" }):wait_for("telemetry", 0).data.temperature })
    assert.equal("d1", c:events("alert")[1].data.deviceId)
  end)

  it("calls a silent device offline once, over reloads and a crash", function()
    reading(20)
    for _ = 1, 5 do
      t:advance(2)
      assert(t:reload())
    end
    assert.equal("offline", connect("alice"):wait_for("alert", 11).data.rule)
    t:kill()
    t:advance(100)
    local c = connect("alice")
    assert.equal(1, c:count("alert"))
    reading(20)
    t:kill()
    t:advance(19)
    assert.equal(0, connect("alice"):count("alert"))
    t:advance(2)
    assert.equal(1, connect("alice"):count("alert"))
  end)

  it("shows its owner all devices by one stream, also one that is added meanwhile", function()
    local c = t:connect("/api/floor", { user = "alice" })
    assert.same({ "d1", 80, 75 }, { c:wait_for("device", 0).data.deviceId, c:events("device")[1].data.limit,
      c:events("device")[1].data.clear })
    local answer = t:post("/api/devices/d2",
      { user = "alice", json = { limit = -15, clear = -18, name = "Freezer" } })
    assert.equal("Freezer", c:wait_for("device", 1, { deviceId = "d2" }).data.name)
    assert.equal(202, t:post("/api/devices/d2/telemetry", { headers = { ["X-Device-Key"] = answer.json.key },
      json = { temperature = -14 } }).status)
    assert.equal("-14.0 °C, the limit is -15 °C", c:wait_for("alert", 1, { deviceId = "d2" }).data.message)
    assert.equal(0, t:connect("/api/floor", { user = "bob" }):count("device"))
    local function add(n) return t:post("/api/devices/d" .. n, { user = "alice", json = { limit = 1 } }).status end
    for i = 3, 30 do assert.equal(201, add(i)) end
    assert.equal(503, add(31))
    t:kill()
    local again = t:connect("/api/floor", { user = "alice" })
    assert.same({ 30, 1 }, { again:count("device"), again:count("alert") })
  end)

  it("judges the next reading by limits that were changed, and lets their owner only change them", function()
    local c = connect("alice")
    reading(70)
    local function put(user, limit, clear)
      return t:put("/api/devices/d1/limits", { user = user, json = { limit = limit, clear = clear } })
    end
    assert.equal(404, put("bob", 60, 50).status)
    assert.equal("clear", put("alice", 60, 60).json.error.field)
    assert.equal("limit", put("alice", 5000, 60).json.error.field)
    assert.equal("clear", put("alice", -90, -101).json.error.field)
    local floor = t:connect("/api/floor", { user = "alice" })
    local version = floor:wait_for("device", 0, { limit = 80 }).data.version + 1
    assert.same({ version = version, limit = 60, clear = 50 }, put("alice", 60, 50).json)
    assert.equal(version, floor:wait_for("device", 1, { limit = 60 }).data.version)
    c:expect_none("alert", 1)
    reading(70)
    local alert = c:wait_for("alert", 1).data
    reading(51)
    c:expect_none("alert-cleared", 1)
    assert.equal(404, t:post("/api/device-alerts/" .. alert.id .. "/ack", { user = "bob" }).status)
    assert.equal(204, t:post("/api/device-alerts/" .. alert.id .. "/ack", { user = "alice" }).status)
    assert.equal("alice", c:wait_for("alert-ack", 1).data.user)
    reading(50)
    assert.equal(alert.id, c:wait_for("alert-cleared", 1).data.id)
  end)

  it("changes of the limits what is said only, so that two who change one each lose nothing", function()
    local function put(change) return t:put("/api/devices/d1/limits", { user = "alice", json = change }).json end
    local function limits(said) return { said.limit, said.clear } end
    assert.same({ 60, 55 }, limits(put { limit = 60 })) -- the band goes along
    assert.same({ 60, 52.5 }, limits(put { gap = 7.5 }))
    assert.same({ 60, 50 }, limits(put { clear = 50 }))
    assert.same({ 70.1, 60.1 }, limits(put { limit = 70.1 }))
    local floor = t:connect("/api/floor", { user = "alice" })
    local before = floor:wait_for("device", 0, { limit = 70.1 }).data
    for field, bad in pairs { clear = { gap = 171 }, gap = { gap = 1, clear = 2 }, limit = { other = 1 } } do
      assert.equal(field, put(bad).error.field)
    end
    floor:expect_none("device", 1)
    assert.equal(before.version + 1, put({ gap = 9 }).version)
    assert.same({ 70.1, 61.1 }, limits(floor:wait_for("device", 1).data))
  end)

  it("loses no change of the limits that another node makes at the same time", function()
    local files = {}
    for _, name in ipairs { "fit", "fleet", "floor" } do
      files[name .. ".lua"] = tree.read("examples/devices/" .. name .. ".lua")
    end
    t = kit.start([[
      local fleet = require("fleet").new(app)
      app:post("/add", function() return sluice.receipt(fleet:add("d", { limit = 10, clear = 5 })) end)
      app:post("/move/:field", function(req)
        app:spawn(function()
          for i = 11, 20 do assert(fleet:set_limits("d", { [req.params.field] = i })) end
        end)
        return {}
      end)
      app:get("/limits", function() return fleet:get("d") end)
    ]], { files = files, nodes = 2 })
    t:redis { latency = 0.02 }
    t:post("/add")
    local before = t:get("/limits").json.version
    t:node(1):post("/move/limit")
    t:node(2):post("/move/gap")
    t:advance(30)
    local now = t:node(2):get("/limits").json
    assert.same({ 20, 0, before + 20 }, { now.limit, now.clear, now.version })
  end)

  it("refuses what is no place, no name, no limit", function()
    for field, bad in pairs { x = { x = 101 }, y = { y = -1 }, name = { name = "" }, clear = { clear = 9 } } do
      bad.limit = 1
      assert.equal(field, t:post("/api/devices/dx", { json = bad }).json.error.field)
    end
  end)

  it("takes a device's own key, and shows a device to its owner", function()
    assert.same({ 401, 403, 403 }, { reading(1, "x"), connect("bob").status, connect().status })
    assert.equal(422, t:post("/api/devices/d1", { json = { limit = 1 } }).status)
    assert.equal(422, t:post("/api/devices/a%20b", { json = { limit = 1 } }).status)
  end)
end)

describe("examples/devices with --demo", function()
  local t

  before_each(function() t = kit.open("examples/devices/app.lua", { flags = { demo = true } }) end)
  after_each(kit.stop_all)

  it("plays a house while somebody looks: hot, open, weak, silent; and no silence when nobody did", function()
    local c = t:connect("/api/floor")
    t:advance(1)
    assert.equal(8, c:count("device"))
    assert.is_true(c:count("telemetry") > 8 * 60)
    t:advance(180)
    local seen = {}
    for _, e in ipairs(c:events("alert")) do
      local name = e.data.deviceId .. " " .. e.data.rule
      seen[name] = (seen[name] or 0) + 1
    end
    assert.same({ "garage offline", "garage battery" }, { seen["garage offline"] and "garage offline",
      seen["garage battery"] and "garage battery" })
    assert.is_true(seen["boiler temperature"] >= 2 and seen["freezer temperature"] >= 1)
    local before = c:count("telemetry")
    c:drop()
    t:advance(600)
    local late = t:connect("/api/floor")
    assert.equal(0, late:count("alert-cleared"))
    local offline = 0
    for _, e in ipairs(late:events("alert")) do if e.data.rule == "offline" then offline = offline + 1 end end
    assert.equal(0, offline)
    assert.is_true(before > 8 * 60)
  end)

  it("gives limits back that a visitor changed", function()
    local c = t:connect("/api/floor")
    assert.equal(200, t:put("/api/devices/rack/limits", { json = { limit = 20, clear = 10 } }).status)
    assert.equal(20, c:wait_for("device", 1, { deviceId = "rack", limit = 20 }).data.limit)
    t:advance(590)
    assert.equal(20, t:connect("/api/floor"):wait_for("device", 0, { deviceId = "rack" }).data.limit)
    c:wait_for("device", 20, { deviceId = "rack", limit = 35 })
  end)
end)

describe("examples/alerts", function()
  after_each(kit.stop_all)

  it("still shows an open alert after an hour without a change", function()
    local t = kit.open("examples/alerts/app.lua")
    t:publish("alerts", "alert", { id = "planted" })
    t:advance(3600)
    t:connect("/api/alerts"):wait_for("alert", 0, { id = "planted" })
  end)
end)

describe("examples/notifications", function()
  after_each(kit.stop_all)

  it("keeps what is sent until it is acknowledged, over a kill, and escalates what is critical", function()
    local t = kit.open("examples/notifications/app.lua",
      { env = { SESSION_SECRET = ("s"):rep(32), PAGER_URL = "http://pager" } })
    t:http("http://pager", { status = 200 })
    assert.equal(401, t:connect("/api/notifications").status)
    local signed = t:post("/session", { json = { name = "ann" } })
    local cookie = { Cookie = signed.headers["set-cookie"]:match("^[^;]+") }
    assert.equal("ann", t:get("/api/me", { headers = cookie }).json.name)
    local phone = t:connect("/api/notifications", { headers = cookie })
    local function send(message, severity)
      local answer = t:post("/api/messages",
        { user = "ben", json = { to = "ann", message = message, severity = severity } })
      assert.equal(202, answer.status, answer.body)
    end
    send("one")
    send("two", "critical")
    local bad = { to = "ann", message = "x", severity = "no" }
    assert.equal(422, t:post("/api/messages", { user = "ben", json = bad }).status)
    local id = phone:wait_for("notification", 1, { message = "one" }).data.id
    t:kill()
    t:advance(21)
    assert.equal(1, #t:requests())
    local laptop = t:connect("/api/notifications", { headers = cookie })
    assert.same({ 2, 2 }, { laptop:count("notification"), laptop:events("escalation")[1].data.step })
    assert.equal(1, t:post("/api/notifications/ack", { headers = cookie, json = { ids = { id } } }).json.acknowledged)
    laptop:wait_for("notification-ack", 1, { id = id })
    assert.equal(1, t:get("/api/notifications/unread", { headers = cookie }).json.unread)
    assert.truthy(t:get("/").body:find("<html", 1, true))
  end)
end)
