--- Streams that are opened by POST: the body says what is asked for.
local kit = require("spec.support.kit")

local APP = [[
  app:channel("room/:id", { history = 10, rewind = 2 })
  app:guard("/api/**", function(req) req.user = req.user or { id = "ann" } return true end)
  local runs = app:state("runs", { n = 0 })
  app:stream("/ask", { method = "POST" }, function(req)
    runs().n = runs().n + 1
    local body = req:json { room = "string" }
    if body.room == "none" then return 404, "no such room" end
    return { channels = { "room/" .. body.room } }
  end)
  app:stream("/both", "room/get")
  app:stream("/both", { method = "POST" }, "room/post")
  app:stream("/api/:id", { method = "POST", heartbeat = 20 }, "room/:id")
  app:stream("/write", { method = "POST" }, function(req, client)
    local body = req:json()
    client:subscribe("room/" .. body.room)
    client:send("begun", { room = body.room, resumed = client.resumed, method = req.method })
    while true do client:send("tick", { room = body.room }) sluice.sleep(1) end
  end)
  app:get("/runs", function() return { n = runs().n } end)
  app:post("/replan", function() app:replan("/ask") end)]]

describe("a stream by POST", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  local function ask(room, options)
    local given = { method = "POST", json = { room = room } }
    for name, value in pairs(options or {}) do given[name] = value end
    return t:connect("/ask", given)
  end

  it("is opened by what its body says, and follows as any other", function()
    local c, other = ask("a"), ask("b")
    assert.same({ 200, "text/event-stream" }, { c.status, c.headers["content-type"] })
    t:publish("room/a", "e", { n = 1 })
    assert.same({ n = 1 }, c:wait_for("e", 0).data)
    other:expect_none("e", 1)
  end)

  it("resumes from the id that the client brings", function()
    local c = ask("a")
    t:publish("room/a", "e", { n = 1 })
    c:wait_for("e", 0)
    c:drop()
    for n = 2, 4 do t:publish("room/a", "e", { n = n }) end
    c = c:reconnect()
    assert.is_true(c.hello.resumed)
    local seen = {}
    for i, e in ipairs(c:events("e")) do seen[i] = e.data.n end
    assert.same({ 2, 3, 4 }, seen)
  end)

  it("refuses with the app's status, and a body that does not fit", function()
    assert.same({ 404, "no such room" }, { ask("none").status, ask("none").json.error.message })
    local c = t:connect("/ask", { method = "POST", json = { hall = "a" } })
    assert.same({ 422, "room" }, { c.status, c.json.error.field })
    assert.equal(415, t:connect("/ask", { method = "POST", body = "room=a" }).status)
  end)

  it("is another route than a stream by GET of the same path", function()
    local get, post = t:connect("/both"), t:connect("/both", { method = "POST" })
    t:publish("room/get", "e", {})
    t:publish("room/post", "f", {})
    assert.same({ 1, 0 }, { get:count("e"), get:count("f") })
    assert.same({ 0, 1 }, { post:count("e"), post:count("f") })
    local answer = t:get("/ask")
    assert.same({ 405, "POST" }, { answer.status, answer.headers.allow:match("POST") })
    assert.falsy(answer.headers.allow:find("GET", 1, true))
  end)

  it("fills parameters in, and has guards and options", function()
    local c = t:connect("/api/x", { method = "POST" })
    assert.equal(20, c.hello.heartbeat)
    t:publish("room/x", "e", {})
    c:wait_for("e", 0)
  end)

  it("is written on by the new code after a reload, with its body", function()
    local c = t:connect("/write", { method = "POST", json = { room = "a" } })
    assert.same({ room = "a", method = "POST" }, c:wait_for("begun", 0).data)
    assert(t:reload())
    assert.same({ room = "a", method = "POST", resumed = "reload" }, c:wait_for("begun", 2).data)
    t:advance(3)
    assert.same({ room = "a" }, c:wait_for("tick", 2).data)
    assert.equal(0, c:count("bye"))
  end)

  it("has its body when its plan runs again", function()
    local c = ask("a")
    t:post("/replan")
    t:advance(1)
    assert.equal(2, t:get("/runs").json.n)
    t:publish("room/a", "e", {})
    c:wait_for("e", 0)
    assert.equal(0, c:count("bye"))
    assert.is_nil(t:last_error())
  end)

  it("is told apart by a reload: its path stays while the stream by GET goes", function()
    local get, post = t:connect("/both"), t:connect("/both", { method = "POST" })
    assert(t:reload(kit.source((APP:gsub('  app:stream%("/both", "room/get"%)\n', "")))))
    t:publish("room/post", "f", {})
    post:wait_for("f", 0)
    assert.same({ 405, 0 }, { t:get("/both").status, get:count("f") })
  end)

  it("names what is wrong with its options", function()
    local function refused(line, message)
      local ok, problem = pcall(kit.start, line)
      assert.falsy(ok)
      assert.truthy(tostring(problem):find(message, 1, true), tostring(problem))
    end
    refused('app:stream("/a", { method = "PUT" }, "a")', 'method is "GET" or "POST"')
    refused('app:stream("/a", { channels = { "a" }, method = "POST" })', "method")
    refused('app:stream("/a", { method = "POST" }, "a") app:post("/a", function() end)',
      "POST /a is registered already")
    local auth = 'local auth = require("sluice.auth").new(app, { keys = {}, durable = false })\n'
    refused(auth .. 'app:stream("/a", auth:user(), auth:idempotent(), { method = "POST" }, "a")',
      "auth:idempotent() is for handlers, and would guard the stream POST /a")
    refused(auth .. 'app:stream("/x/a", "a")\napp:guard("/x/**", auth:idempotent())',
      "auth:idempotent() is for handlers, and would guard the stream GET /x/a")
    assert.error_matches(function() t:connect("/ask", { method = "PUT" }) end, 'method is "GET" or "POST"')
    assert.error_matches(function() t:post("/ask", { method = "GET" }) end, "method")
  end)
end)
