--- The app in the kit: requests with users, publishing, state, reload, restart, crash, log.
local core = require("sluice.core")
local kit = require("spec.support.kit")
local process = require("spec.support.process")
local testing = require("sluice.testing")

describe("a request of the kit", function()
  local t

  before_each(function()
    t = kit.start [[
      app:guard("/api/**", function(req)
        if not req.user then return 401, "sign in" end
        return true
      end)
      app:get("/api/me", function(req) return { user = req.user, header = req.headers["x-sluice-test-user"] } end)
      app:get("/echo/:p", function(req) return { p = req.params.p, q = req.query.q, h = req.headers["X-Own"] } end)
      app:post("/json", function(req) return 201, req:json { n = "integer" }, { ["X-Was"] = "here" } end)
      app:put("/text", function(req) return req.body end)
      app:patch("/text", function(req) return #req.body .. " bytes" end)
      app:delete("/text", function() end)
      app:get("/error", function() error("on purpose") end)
      app:get("/slow", function() sluice.sleep(20) return "late" end)
      app:get("/large", function() return ("x"):rep(300000) end)
      app:post("/large", function(req) return #req.body .. "" end)]]
  end)
  after_each(kit.stop_all)

  it("goes on behind a guard that returns true and a text, and not behind true and a table", function()
    local app = kit.start [[
      app:get("/fine", function() return true, "no such thing" end, function() return "here" end)
      app:get("/odd", function() return true, {} end, function() return "here" end)]]
    assert.equal("here", app:get("/fine").body)
    assert.is_nil(app:last_error())
    assert.equal(500, app:get("/odd").status)
    assert.matches("returned true and a table: only a function of the answer", app:last_error(), 1, true)
  end)

  it("may be of a demo, when the test says so", function()
    local source = 'local demo = sluice.is_demo()\napp:get("/", function() return { demo, sluice.is_demo() } end)'
    local shown = kit.start(source, { flags = { demo = true } })
    local plain = kit.start(source)
    assert.same({ true, true }, shown:get("/").json)
    assert.same({ false, false }, plain:get("/").json)
    assert(shown:reload())
    assert.same({ true, true }, shown:get("/").json)
    assert.has_error(function() kit.start(source, { flags = { demo = true, host = "0.0.0.0" } }) end)
  end)

  it("has answers with status, headers, body and JSON", function()
    local r = t:get("/echo/a%20b?q=1", { headers = { ["X-Own"] = "mine" } })
    assert.same({ 200, { p = "a b", q = "1", h = "mine" } }, { r.status, r.json })
    r = t:post("/json", { json = { n = 1 } })
    assert.same({ 201, { n = 1 }, '{"n":1}', "here" }, { r.status, r.json, r.body, r.headers["x-was"] })
    assert.equal("n", t:post("/json", { json = { n = "1" } }).json.error.field)
    assert.equal(415, t:post("/json", { body = "{}" }).status)
    assert.equal("text", t:put("/text", { body = "text" }).body)
    assert.equal("4 bytes", t:patch("/text", { body = "text" }).body)
    assert.same({ 204, "" }, { t:delete("/text").status, t:delete("/text").body })
    assert.same({ 404, 404 }, { t:get("/nowhere").status, t:post("/nowhere").status })
    assert.equal(300000, #t:get("/large").body)
    assert.equal("60000", t:post("/large", { body = ("x"):rep(60000) }).body)
    assert.equal(413, t:post("/large", { body = ("x"):rep(70000) }).status)
  end)

  it("has answers whose headers are read in any case", function()
    local r = t:post("/json", { json = { n = 1 } })
    assert.same({ "here", "here", "here" }, { r.headers["X-Was"], r.headers["x-was"], r.headers["X-WAS"] })
    assert.is_nil(r.headers["X-Else"])
  end)

  it("comes from a user, as a guard would have left it", function()
    assert.same({ id = "alice", name = "alice", roles = {} }, t:get("/api/me", { user = "alice" }).json.user)
    local r = t:get("/api/me", { user = { id = "b", roles = { "Admin" }, team = 5 } }).json
    assert.same({ id = "b", name = "b", roles = { Admin = true }, team = 5 }, r.user)
    assert.is_nil(r.header)
    assert.equal(401, t:get("/api/me").status)
    assert.equal(401, t:get("/api/me", { headers = { ["X-Sluice-Test-User"] = "1" } }).status)
    assert.error_matches(function() t:get("/api/me", { user = {} }) end, "user is a name")
  end)

  it("says which guard put another user in the place of its own", function()
    t:stop()
    t = kit.start [[
      app:guard("/api/**", function() return true end, function(req)
        req.user = req.headers["X-Key"] and { id = "key" } or nil
        if not req.user then return 401, "sign in" end
        return true
      end)
      app:get("/api/me", function(req) return req.user end)
      app:get("/api/closed", function() return 403 end)
      app:stream("/api/mine", function(req) return "news/" .. req.user.id end)
      app:guard("/more/**", function(req)
        if req.user then req.user = { id = req.user.id, team = 5 } end
        return req.user and true or 401
      end)
      app:get("/more/me", function(req) return req.user end)
      app:guard("/none/**", function(req) req.user = nil return true end)
      app:stream("/none/mine", function(req) return "news/" .. req.user.id end)]]
    local text = "guard #%d of app.lua:%d put %s in place of the test's user 'alice': "
      .. "write req.user = req.user or …"
    local function raises(wanted, call)
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.truthy(message:find(wanted, 1, true), message)
    end
    raises("/api/me answered 401: " .. text:format(2, 3, "no user"),
      function() t:get("/api/me", { user = "alice" }) end)
    raises("/api/mine answered 401: " .. text:format(2, 3, "no user"),
      function() t:connect("/api/mine", { user = "alice" }) end)
    raises("index a nil value (field 'user')\n  app.lua:17: in plan\n" .. text:format(1, 16, "no user"),
      function() t:connect("/none/mine", { user = "alice" }) end)
    local key = { user = "alice", headers = { ["X-Key"] = "1" } }
    assert.same({ 403, text:format(2, 3, "another user") },
      { t:get("/api/closed", key).status, t:get("/api/closed", key).error })
    local c = t:connect("/api/mine", key)
    raises(text:format(2, 3, "another user"), function() c:wait_for("story", 0) end)
    -- whoever was given nobody, or is the same one, is told nothing
    assert.same({ 401, nil }, { t:get("/api/me").status, t:get("/api/me").error })
    assert.equal(401, t:connect("/api/mine").status)
    local me = t:get("/more/me", { user = "alice" })
    assert.same({ { id = "alice", team = 5 }, nil }, { me.json, me.error })
  end)

  it("shows what a handler raised", function()
    local r = t:get("/error")
    assert.same({ 500, "EINTERNAL" }, { r.status, r.json.error.code })
    assert.truthy(r.error:find("on purpose\n  app.lua:13: in", 1, true), r.error)
    assert.truthy(t:log("error")[1]:find("GET /error.*on purpose"))
    assert.same({}, t:log("warn"))
  end)

  it("takes as long as its handler sleeps", function()
    assert.equal("late", t:get("/slow").body)
    assert.near(20, t:elapsed(), 0.001)
  end)

  it("has no options but those that are known", function()
    for _, call in ipairs { t.get, t.post, t.connect } do
      assert.error_matches(function() call(t, "/error", { usr = "alice" }) end,
        "/error: unknown option 'usr', did you mean 'user'%?")
      assert.error_matches(function() call(t, "/error", "alice") end, "/error: options must be a table, got string")
    end
  end)

  it("is judged before it makes a test pass for a wrong reason", function()
    t:stop()
    t = kit.start [[
      app:stream("/s", "s")
      app:get("/n", function() return 42 end)
      app:get("/e", function() error("", 0) end)]]
    local c = t:connect("/s")
    for wanted, call in pairs {
      ["t:advance(seconds): a number of seconds from 0 is expected, not nil"] = function() t:advance() end,
      ["t:advance(seconds): a number of seconds from 0 is expected, not -5"] = function() t:advance(-5) end,
      ["t:wait(seconds, fn): a function is expected, not nil"] = function() t:wait(1) end,
      ["t:log(level): there is no \"warning\", did you mean 'warn'? (known: debug, info, warn, error)"] =
        function() t:log("warning") end,
      ["t:reload(source): a string is expected, not 5"] = function() t:reload(5) end,
      ["t:state(name): a string is expected, not nil"] = function() t:state() end,
      ["c:wait_for(event, timeout, match): timeout: a number of seconds from 0 is expected, not \"5\""] =
        function() c:wait_for("x", "5") end,
      ["c:expect_none(event, seconds): a number of seconds from 0 is expected, not \"5\""] =
        function() c:expect_none("x", "5") end,
      ["c:events(event): a string is expected, not 5"] = function() c:count(5) end,
      ["t:advance(seconds): a number of seconds from 0 is expected, not \"x\""] = function() t:advance("x") end,
      ["t:advance(seconds): a number of seconds from 0 is expected, not inf"] = function() t:advance(math.huge) end,
      ["t:last_error(after): a number is expected, not \"x\""] = function() t:last_error("x") end,
      ["t.connect was called without t: write t:connect(…) with a colon"] = function() t.connect("/s") end,
      ["t.log was called without t: write t:log(…) with a colon"] = function() t.log("warn") end,
      ["t.settle was called without t: write t:settle(…) with a colon"] = function() t.settle() end,
      ["c.wait_for was called without c: write c:wait_for(…) with a colon"] = function() c.wait_for("x", 5) end,
      ["c.drop was called without c: write c:drop(…) with a colon"] = function() c.drop() end,
      ["c.close was called without c: write c:close(…) with a colon"] = function() c.close() end,
      ["c:wait_for(event, timeout, match): timeout: a number of seconds from 0 is expected, not { n = 1 }"] =
        function() c:wait_for("x", { n = 1 }, 5) end,
      ["t.get was called without t: write t:get(…) with a colon"] = function() t.get("/n") end,
      ["c.count was called without c: write c:count(…) with a colon"] = function() c.count("x") end,
      ["POST /n: body: a string is expected, not 5"] = function() t:post("/n", { body = 5 }) end,
      ["POST /n: json: data is a function: JSON cannot carry it"] = function() t:post("/n", { json = print }) end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok, wanted)
      assert.truthy(message:find("app_spec.lua:%d+: " .. wanted:gsub("%p", "%%%0") .. "$"), message)
    end
    assert.error(function() assert.received(c) end) -- hello is none that an app sent
    assert.not_received(c)
    t:publish("s", "x", "text")
    assert.received(c)
    assert.equal("text", c:wait_for("x", 0, "text").data)
    -- what begins with the route's name does not repeat it, and a line without words has some
    t:get("/n")
    t:get("/e")
    assert.same({ "GET /n (app.lua:4): 42 is no status for an answer (200 to 599)",
      "GET /e (app.lua:5): an error without a message" }, t:log("error"))
    assert.matches("^GET /e %(app.lua:5%)", t:last_error())
    t:stop()
    for _, call in ipairs { t.get, t.restart, t.kill, t.reload } do
      assert.error_matches(function() call(t, "/n") end, "this test was stopped")
    end
  end)

  it("cannot smuggle", function()
    assert.error_matches(function() t:get("/a b") end, "no blanks")
    assert.error_matches(function() t:get("/a", { headers = { x = "a\r\nb: c" } }) end, "cannot be sent")
  end)
end)

describe("t:publish", function()
  after_each(kit.stop_all)

  it("is told at its own line that the name of an event is missing", function()
    local t = kit.start [[
      app:stream("/s", "s")
      app:post("/:method", function(req)
        local client = app:clients()()
        client[req.params.method](client, { n = 1 })
      end)]]
    local _, message = pcall(function() t:publish("s", { n = 1 }) end)
    assert.matches("app_spec.lua:%d+: app:publish%(channel, event, data%): the event is a string, not a table: "
      .. 'write app:publish%("s", "message", data%)$', message)
    t:connect("/s")
    for _, method in ipairs { "send", "stop" } do
      assert.equal(("POST /:method (app.lua:4): app.lua:6: client:%s(event, data): the event is a string, not a "
        .. 'table: write client:%s("message", data)'):format(method, method),
        t:post("/" .. method).error:match("^[^\n]*"))
    end
    assert.matches("app.lua:6: client:unsubscribe%(channel%): the channel is a string, not a table",
      t:post("/unsubscribe").error)
  end)

  it("returns what app:publish returns, and runs its hooks", function()
    local t = kit.start [[
      app:channel("s", { history = "latest" })
      app:transform("t", function(event) event.data.seen = true return event.data end)
      app:on("published", "t", function(event) app:publish("s", "copy", event.data) end)
      app:stream("/all", { channels = { "t", "s" } })]]
    local c = t:connect("/all")
    local id, subscribers = t:publish("t", "e", { n = 1 })
    assert.same({ 1, id }, { subscribers, c:wait_for("e", 0).id })
    assert.is_true(c:wait_for("copy", 0).data.seen)
    assert.is_true((t:publish("s", "e", {})))
    assert.equal("ECHANNEL", select(3, t:publish("bad name", "e", {})))
    assert.equal("ECHANNEL", select(3, t:publish("t/*", "e", {})))
  end)
end)

describe("an app in the kit", function()
  local COUNT = [[
    local state = app:state("count", { n = 0 })
    app:channel("counts", { history = 100 })
    app:stream("/counts", "counts")
    app:every(1, function()
      state().n = state().n + 1
      app:publish("counts", "count", { n = state().n })
    end)
    app:on("stop", function() sluice.sleep(0.5) app:publish("counts", "stopping", {}) end)
    app:get("/version", function() return { 1 } end)]]

  after_each(kit.stop_all)

  it("is reloaded from another source, and keeps its state and its streams", function()
    local t = kit.start(COUNT)
    local c = t:connect("/counts")
    t:advance(3)
    assert.is_true(t:reload((kit.source(COUNT):gsub("return { 1 }", "return { 2 }"))))
    assert.same({ 2 }, t:get("/version").json)
    t:advance(3)
    assert.equal(6, t:state("count").n)
    assert.equal(6, c:count("count"))
    assert.is_true(t:reload())
    assert.same({ 2 }, t:get("/version").json)
  end)

  it("tells who was away while a reload took away what it missed", function()
    local app = 'app:channel("m", { history = %s, key = "k" }) app:stream("/m", "m")'
    local t = kit.start(app:format(100))
    local c = t:connect("/m")
    for n = 1, 6 do t:publish("m", "e", { k = "a", n = n }) end
    local first = c:wait_for("e", 0).id
    c:close()
    for _, history in ipairs { '"latest"', "100", "2" } do
      assert.is_true(t:reload(kit.source(app:format(history))))
      c = t:connect("/m", { last_event_id = first })
      assert.is_false(c:wait_for("hello", 0).data.resumed)
      assert.equal("trimmed", c:wait_for("reset", 0).data.reason, history)
      c:close()
    end
  end)

  it("is left as it was by a reload that fails, also when it starts again", function()
    local t = kit.start(COUNT)
    local ok, message, outcome = t:reload("local x = = 1")
    assert.same({ nil, "app.lua:1: unexpected symbol near '='", "load" }, { ok, message, outcome.phase })
    assert.same({ 1 }, t:get("/version").json)
    t:restart()
    assert.same({ 1 }, t:get("/version").json)
  end)

  it("is stopped as by SIGTERM: hooks, bye, end", function()
    local t = kit.start(COUNT)
    local c = t:connect("/counts")
    t:advance(2)
    t:restart()
    c:wait_for("stopping", 0)
    assert.equal("drain", c:wait_for("bye", 0).data.reason)
    assert.is_true(t:elapsed() >= 2.5 and t:elapsed() < 9)
    assert.equal(0, t:state("count").n)
    local again = c:reconnect()
    assert.same({ false, "epoch" }, { again.hello.resumed, again:events("reset")[1].data.reason })
    t:advance(1)
    assert.equal(1, again:count("count"))
  end)

  it("is killed without a word", function()
    local t = kit.start(COUNT)
    local c = t:connect("/counts")
    t:advance(2)
    t:kill()
    assert.same({ 0, 0 }, { c:count("stopping"), c:count("bye") })
    assert.equal(2, t:elapsed())
    assert.error_matches(function() c:wait_for("bye") end, "the connection has ended")
    assert.equal(200, c:reconnect().status)
  end)

  it("has files beside it, and a folder on the disk", function()
    local source = 'local rules = require("lib.rules")\napp:get("/v", function() return { rules.v } end)'
    local t = kit.start(source, { files = { ["lib/rules.lua"] = "return { v = 7 }" } })
    assert.same({ 7 }, t:get("/v").json)
    t:stop()
    local folder = process.temp_dir()
    local function write(v)
      local text = 'require("v")\napp:get("/v", function() return { require("v") } end)'
      process.write_file(folder .. "/app.lua", kit.source(text))
      process.write_file(folder .. "/v.lua", "return " .. v)
    end
    write(1)
    t = kit.open(folder .. "/app.lua")
    assert.same({ 1 }, t:get("/v").json)
    write(2)
    assert.same({ 1 }, t:get("/v").json)
    assert.is_true(t:reload())
    assert.same({ 2 }, t:get("/v").json)
    process.remove_dir(folder)
  end)

  it("may be an object that the spec made", function()
    local sluice = require("sluice")
    local app = sluice.app()
    app:get("/hello", function() return { at = sluice.time() } end)
    local t <close> = testing.start(app)
    assert.same({ at = 1780000000 }, t:get("/hello").json)
    assert.truthy(select(2, t:reload()):find("no file to reload", 1, true))
  end)

  it("is told its environment and its settings, and no others", function()
    local source = 'local secret = sluice.env("SECRET")\n'
      .. 'app:get("/env", function() return { secret, os.getenv("PATH") or "none", sluice.env("B", "b") } end)\n'
      .. 'app:post("/env", function() end)'
    local t = kit.start(source, { env = { SECRET = "s", SLUICE_MAX_BODY = "10" }, flags = { heartbeat = 3 } })
    assert.same({ "s", "none", "b" }, t:get("/env").json)
    assert.equal(3, kit.start('app:stream("/s", "s")', { flags = { heartbeat = 3 } }):connect("/s").hello.heartbeat)
    assert.equal(413, t:post("/env", { body = ("x"):rep(11) }).status)
    assert.error_matches(function() kit.start(source) end, "the environment variable SECRET is not set")
    assert.error_matches(function() kit.start("", { flags = { nothing = 1 } }) end, "flags: unknown option 'nothing'")
    assert.error_matches(function() kit.start("", { sed = 1 }) end, "unknown option 'sed'")
    assert.error_matches(function() testing.start("nowhere.lua") end, "there is no such file")
    assert.near(os.time(), core.time(), 5) -- a start that failed holds nothing
  end)

  it("shows its log and its state", function()
    local t = kit.start [[
      app:state("s", { list = {} })
      app:on("start", function() sluice.log.warn("careful", { n = 1 }) sluice.log.info("fine") end)]]
    assert.same({ "careful" }, t:log("warn"))
    assert.same({ "careful", "fine" }, t:log())
    assert.same({ list = {} }, t:state("s"))
    assert.error_matches(function() t:state("other") end, "no state 'other'")
    assert.error_matches(function() t:store("s") end, "the app has no store 's'")
  end)

  it("stops by os.exit, which ends no test: the rest of its coroutine does not run", function()
    local t = kit.start [[
      app:channel("told", { history = 10 })
      app:stream("/s", "told")
      app:get("/exit", function() pcall(os.exit, 3) app:publish("told", "after", {}) end)
      app:get("/sorted", function() table.sort({ 2, 1 }, function() os.exit(4) end) end)
      app:on("stop", function() app:publish("told", "stopping", {}) end)]]
    local c = t:connect("/s")
    assert.equal(503, t:get("/exit").status)
    c:wait_for("stopping", 1)
    assert.equal(0, c:count("after"))
    assert.same({ "os.exit(3) at app.lua:5 in GET /exit (app.lua:5): the server stops" }, t:log("warn"))
    assert.equal(503, t:get("/sorted").status)
    assert.same({}, t:log("error"))
  end)

  it("closes its coroutines when it stops, and leaves nothing behind", function()
    collectgarbage()
    local before = core.alive()
    local closed = {}
    package.loaded["spec.closed"] = closed
    do
      local t = kit.start [[
        local closed = require("spec.closed")
        app:stream("/s", function(req, client)
          local _ <close> = setmetatable({}, { __close = function() closed.writer = true end })
          client:send("a", {})
          while true do sluice.sleep(1) end
        end)
        app:service("loop", function()
          local _ <close> = setmetatable({}, { __close = function() closed.service = true end })
          while true do sluice.sleep(1) end
        end)]]
      local c = t:connect("/s")
      t:advance(5)
      c:count()
      t:stop()
    end
    package.loaded["spec.closed"] = nil
    assert.same({ writer = true, service = true }, closed)
    collectgarbage()
    collectgarbage()
    assert.same(before, core.alive())
  end)
end)
