--- Streams in the kit: what was received, waiting for more, being cut, stalled, and back.
local kit = require("spec.support.kit")

local NEWS = [[
  app:channel("news", { history = 10 })
  app:channel("private/:user", { history = 10, read = function(user, p) return user and user.id == p.user end })
  app:stream("/news", "news")
  app:stream("/mine/:user", "private/:user")
  app:stream("/bad", function() error("the plan is broken") end)
  app:stream("/guarded", function() return nil end, "news")
  app:stream("/closed", function() return 403, "members only" end)
  app:stream("/who", function(req) if req.user then return "news" end return 401 end)
  app:on("disconnect", function(client, reason) app:publish("news", "left", { reason = reason }) end)
  app:post("/news/:event", function(req)
    return sluice.receipt(app:publish("news", req.params.event, req:json()))
  end)
]]

describe("a stream of the kit", function()
  local t

  before_each(function() t = kit.start(NEWS) end)
  after_each(kit.stop_all)

  local function publish(event, data) assert.equal(202, t:post("/news/" .. event, { json = data }).status) end

  it("is open when connect returns", function()
    local c = t:connect("/news")
    assert.equal(200, c.status)
    assert.equal(c.hello.client, c.id)
    assert.equal("text/event-stream", c.headers["content-type"])
    assert.equal(1, select(2, t:publish("news", "a", {})))
    assert.equal("a", c:wait_for("a", 0).event)
  end)

  it("is open too when it is plain, and says no hello", function()
    t:stop()
    t = kit.start [[
      app:channel("log", { history = 5, rewind = "all" })
      app:stream("/plain", { channels = { "log" }, control = false })
      app:stream("/function", function() sluice.sleep(1) return { channels = { "log" }, control = false } end)
      app:stream("/late", function() sluice.sleep(3) return { channels = { "log" }, control = false } end)
      app:post("/stop", function() for c in app:clients() do c:stop("done", {}) end end)]]
    for seconds, path in pairs { [3] = "/late", [0] = "/plain", [1] = "/function" } do
      local before = t:elapsed()
      local c = t:connect(path)
      assert.same({ 200, nil, seconds }, { c.status, c.hello, t:elapsed() - before })
      t:publish("log", "word", {})
      assert.equal("word", c:wait_for(nil, 0).event)
      c:close()
    end
    local c = t:connect("/plain", { last_event_id = "nonsense" })
    assert.same({ 410, "ETRIMMED" }, { c.status, c.json.error.code })
    assert.error_matches(function() t:connect("/plain", { user = "alice" }) end, "has no guard")
    c = t:connect("/plain")
    t:post("/stop")
    assert.equal("stop", c:wait_for("done", 0).id)
    assert.equal(204, c:reconnect().status)
  end)

  it("has a cursor for each event name", function()
    local c = t:connect("/news")
    publish("alert", { n = 1 })
    publish("note", { n = 2 })
    publish("alert", { n = 3 })
    assert.equal(2, c:wait_for("note").data.n)
    assert.equal(1, c:wait_for("alert").data.n)
    assert.equal(3, c:wait_for("alert").data.n)
    assert.error(function() c:wait_for("alert", 0.5) end)
    assert.equal(2, c:count("alert"))
    assert.same({ "hello", "alert", "note", "alert" },
      { c:events()[1].event, c:events()[2].event, c:events()[3].event, c:events()[4].event })
  end)

  it("waits for data that fit, in parts or by a function", function()
    local c = t:connect("/news")
    for n = 1, 5 do publish("step", { n = n, deep = { even = n % 2 == 0 } }) end
    assert.equal(2, c:wait_for("step", { deep = { even = true } }).data.n)
    assert.equal(4, c:wait_for("step", 1, function(data) return data.n > 3 end).data.n)
    assert.error_matches(function() c:wait_for("step", 0, { n = 1 }) end, "no 'step' that fits within 0 seconds")
  end)

  it("says when something came", function()
    local c = t:connect("/news")
    t:advance(2.5)
    publish("a", {})
    assert.near(1780000002.5, c:wait_for("a").at, 0.001)
    assert.equal(c:events("a")[1].id, c:last_id())
  end)

  it("shows everything that it received when a wait fails", function()
    local c = t:connect("/news")
    t:advance(1.5)
    publish("note", { z = 1, a = { 1, 2 } })
    local ok, message = pcall(function() c:wait_for("alert", 3) end)
    assert.is_false(ok)
    assert.truthy(message:find("^spec/kit/stream_spec.lua:%d+: no 'alert' within 3 seconds on /news %(status 200%)"),
      message)
    assert.truthy(message:find("0.000  hello", 1, true), message)
    assert.truthy(message:find('\n       1%.500  note +%S+%-1 +{"a":%[1,2%],"z":1}'), message)
  end)

  it("adds the log's last error to that", function()
    t:stop()
    t = kit.start [[
      app:stream("/news", "news")
      app:every(1, function() error("the timer is broken") end)]]
    local _, message = pcall(t:connect("/news").wait_for, t:connect("/news"), "tick", 2)
    assert.truthy(message:find("the timer is broken\n  app.lua:4", 1, true), message)
  end)

  it("fails at once when the stream has ended", function()
    local c = t:connect("/news")
    c:drop()
    local before = t:elapsed()
    assert.error_matches(function() c:wait_for("a", 100) end, "and the connection has ended")
    assert.equal(before, t:elapsed())
  end)

  it("expects none since what was waited for, and for a while", function()
    local c = t:connect("/news")
    publish("note", {})
    assert.error_matches(function() c:expect_none("note") end, "unexpected 'note'")
    c:expect_none("note") -- that one was reported
    publish("note", {})
    publish("end", {})
    c:wait_for("end")
    c:expect_none("note", 10)
    assert.near(12, t:elapsed(), 0.001)
  end)

  it("is a status and a body when it was refused", function()
    local c = t:connect("/closed")
    assert.same({ 403, "members only" }, { c.status, c.json.error.message })
    assert.is_nil(c.hello)
    assert.equal(404, t:connect("/nowhere").status)
    assert.same({ 401, 200 }, { t:connect("/who").status, t:connect("/who", { user = "alice" }).status })
    assert.error_matches(function() c:wait_for("a") end, "no 'a' on /closed: the answer was 403: members only")
  end)

  it("proves nothing by what did not come when it was refused", function()
    t:stop()
    t = kit.start(NEWS .. 'app:get("/page", function() return "a page" end)')
    for path, answer in pairs { ["/closed"] = "403: members only", ["/who"] = "401",
      ["/nowhere"] = "404: there is nothing here", ["/page"] = "200: a page" } do
      local c = t:connect(path)
      for name, call in pairs {
        wait_for = function() c:wait_for("alert", 0) end,
        expect_none = function() c:expect_none("alert", 0) end,
        events = function() c:events() end,
        count = function() assert.equal(0, c:count("alert")) end,
        stall = function() c:stall() end,
        reconnect = function() c:reconnect() end,
        not_received = function() assert.not_received(c, "alert") end,
      } do
        local ok, message = pcall(call)
        assert.is_false(ok, name .. " passes on " .. path)
        message = type(message) == "table" and tostring(message.message) or message
        assert.truthy(message:find(("%s: the answer was %s"):format(path, answer), 1, true), message)
      end
      assert.truthy(c:transcript():find(answer, 1, true))
      c:close()
    end
  end)

  it("proves nothing by what did not come when it had ended, or was not read", function()
    local c, stalled = t:connect("/news"), t:connect("/news")
    c:drop()
    assert.error_matches(function() c:expect_none("a", 10) end, "no 'a' can come where the stream has ended")
    stalled:stall(5)
    assert.error_matches(function() stalled:expect_none("a", 3) end, "no 'a' is read by a stall")
    stalled:expect_none("a", 3)
    t:stop()
    t = kit.start [[ app:stream("/brief", function(req, client) client:send("a") sluice.sleep(2) end) ]]
    c = t:connect("/brief")
    c:expect_none("b", 1)
    assert.error_matches(function() c:expect_none("b", 10) end, "no 'b' can come where the stream has ended")
    assert.equal(2, t:elapsed())
  end)

  it("waits for whatever comes next, but for what the server says itself", function()
    local c = t:connect("/news", { last_event_id = "nonsense" })
    assert.equal(1, c:count("reset"))
    for n, event in ipairs { "note", "alert", "note" } do publish(event, { n = n }) end
    t:publish("news", nil, "without a name")
    assert.equal(1, c:wait_for("note").data.n)
    assert.equal(2, c:wait_for().data.n)
    assert.equal("message", c:wait_for(nil, 0, function(data) return type(data) == "string" end).event)
    assert.equal(3, c:wait_for("note", 0).data.n) -- passed over, not taken
    assert.error_matches(function() c:wait_for() end, "no event within 5 seconds on /news")
    assert.error_matches(function() c:wait_for(5) end, "an event's name is a string, not a number")
    c:expect_none()
    publish("note", {})
    assert.error_matches(function() c:expect_none() end, "unexpected 'note'")
  end)

  it("tests a message to everybody in six lines", function()
    t:stop()
    t = kit.start [[
      app:stream("/api/sse/connect", "everybody")
      app:post("/api/sse/notification", function(req)
        return sluice.receipt(app:publish("everybody", "notification", req:json()))
      end)]]
    local client = t:connect("/api/sse/connect")
    local sent = t:post("/api/sse/notification", { json = { message = "lunch is ready" } })
    local received = client:wait_for()
    assert.equal(202, sent.status)
    assert.equal("notification", received.event)
    assert.equal("lunch is ready", received.data.message)
  end)

  it("has no names but its own, and so has a client", function()
    t:stop()
    t = kit.start [[
      app:stream("/plan", function(req, client) client:sent("a") end)
      app:stream("/news", "news")
      app:on("connect", function(client) return client.user or client.resumed or client.nickname end)
      app:get("/own", function(req) return { own = req.own or "unset", user = req.user or "nobody" } end)]]
    assert.error_matches(function() t:connect("/plan") end, "client has no 'sent': did you mean client:send%?")
    local c = t:connect("/news")
    local told = t:log("error")[2]
    assert.truthy(told:find("app.lua:5: client has no 'nickname' (it has: close, id, ip, meta, ", 1, true), told)
    assert.same({ own = "unset", user = "nobody" }, t:get("/own").json)
    assert.error_matches(function() c:wait_fro("a") end, "c has no 'wait_fro': did you mean c:wait_for%?")
    assert.error_matches(function() return t.conect end, "t has no 'conect': did you mean t:connect%?")
    assert.error_matches(function() require("sluice.testing").strat() end, "testing has no 'strat': did you mean")
    assert.same({}, { c.error, c.json, t:connect("/nowhere").hello })
  end)

  it("raises what a plan or a guard raised, with its traceback", function()
    assert.error_matches(function() t:connect("/bad") end, "the plan is broken\n  app.lua:7: in")
    assert.error_matches(function() t:connect("/guarded") end, "guard #1 of app.lua:8 returned nil")
  end)

  it("refuses a user for a stream without a guard or rule", function()
    assert.error_matches(function() t:connect("/news", { user = "alice" }) end, "has no guard")
  end)

  it("is let in by read rules as its user", function()
    assert.equal(200, t:connect("/mine/alice", { user = "alice" }).status)
    assert.equal(403, t:connect("/mine/alice", { user = { id = "bob", roles = { "admin" } } }).status)
    assert.equal(403, t:connect("/mine/alice").status)
  end)

  it("is sent nothing without a key when it asks for keys", function()
    t:stop()
    t = kit.start [[
      app:channel("prices", { history = "latest", key = "symbol" })
      app:channel("alerts", { history = 10 })
      app:stream("/market", { channels = { "prices", "alerts" } })]]
    local c = t:connect("/market?keys=A")
    t:publish("prices", "price", { symbol = "A" })
    t:publish("alerts", "alert", {})
    t:publish("alerts", "alert", {}, { key = "A" })
    assert.same({ 1, 1 }, { c:count("price"), c:count("alert") })
  end)

  it("has no id in hello when every log is reset: the last reset brings it", function()
    t:publish("news", "a", {})
    local c = t:connect("/news", { last_event_id = "nonsense" })
    local hello, reset = c:events()[1], c:events()[2]
    assert.same({ "hello", "reset" }, { hello.event, reset.event })
    assert.equal("", hello.id) -- what a browser has before the first id
    assert.truthy(reset.id:find("^%w+%-%d+$"))
  end)

  it("is noticed by the server when it is cut", function()
    local a, b = t:connect("/news"), t:connect("/news")
    a:drop()
    assert.equal("gone", b:wait_for("left", 0).data.reason)
    assert.equal(1, b:count("left"))
  end)

  it("comes back as a browser does, and misses nothing", function()
    local c = t:connect("/news")
    publish("a", { n = 1 })
    c:wait_for("a")
    c:drop()
    publish("a", { n = 2 })
    local again = c:reconnect()
    assert.is_true(again.hello.resumed)
    assert.equal(2, again:wait_for("a", 0).data.n)
    assert.equal(1, again:count("a"))
    assert.equal(c.status, 200)
  end)

  it("is told to stay away by a bye that says so", function()
    t:stop()
    t = kit.start [[
      app:stream("/once", function(req, client) client:send("only", {}) client:stop() end) ]]
    local c = t:connect("/once")
    c:wait_for("only")
    c:wait_for("bye", 0)
    assert.equal(204, c:reconnect().status)
  end)

  it("can stop reading for a while: the server keeps its place", function()
    local slow, quick = t:connect("/news"), t:connect("/news")
    slow:stall(10)
    for n = 1, 200 do t:publish("news", "big", { n = n, pad = ("x"):rep(2000) }) end
    assert.equal(200, quick:count("big"))
    t:advance(9.5)
    assert.equal(0, slow:count("big"))
    t:advance(1)
    assert.equal(200, slow:count("big"))
    assert.equal(0, slow:count("reset"))
  end)

  it("is told what it missed when it stopped reading for too much", function()
    local slow = t:connect("/news")
    slow:stall(10)
    for n = 1, 200 do t:publish("news", "big", { n = n, pad = ("x"):rep(40000) }) end
    t:advance(11)
    assert.equal("slow", slow:wait_for("reset", 0).data.reason)
    assert.equal(200, slow:events("big")[slow:count("big")].data.n)
    assert.is_true(slow:count("big") < 200)
  end)

  it("is closed when it stopped reading for too long", function()
    local slow, quick = t:connect("/news"), t:connect("/news")
    slow:stall()
    for n = 1, 20 do t:publish("news", "big", { n = n, pad = ("x"):rep(2000) }) end
    assert.near(20, quick:wait_for("left", 30).at - 1780000000, 1.5)
  end)

  it("takes ids and headers of one's own", function()
    t:publish("news", "a", { n = 1 })
    local first = t:connect("/news", { last_event_id = "nonsense" })
    assert.equal("reset", first:events()[2].event)
    local ids = t:get("/nowhere", { headers = { ["X-Any"] = "1" } })
    assert.equal(404, ids.status)
  end)
end)

describe("assert.received", function()
  after_each(kit.stop_all)

  it("finds an event that fits, and says what came instead", function()
    local t = kit.start [[ app:stream("/s", "s") ]]
    local c = t:connect("/s")
    t:publish("s", "progress", { percentage = 50, item = "a" })
    assert.received(c, "progress")
    assert.received(c, "progress", { percentage = 50 })
    assert.not_received(c, "progress", { percentage = 60 })
    assert.not_received(c, "alert")
    local ok, problem = pcall(function() assert.received(c, "progress", { percentage = 60 }) end)
    assert.is_false(ok)
    local text = type(problem) == "table" and problem.message or tostring(problem)
    assert.truthy(text:find('progress {"percentage":60}', 1, true), text)
    assert.truthy(text:find('{"item":"a","percentage":50}', 1, true), text)
    assert.error(function() assert.not_received(c, "progress") end)
  end)
end)
