--- One spec, three places: in virtual time, on a server of its own, and on one that runs already.
local server = require("spec.support.server")
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local greeting = sluice.env("GREETING", "hello")
app:channel("news", { history = 10 })
app:stream("/news", "news")
app:stream("/closed", function() return 403, "members only" end)
app:stream("/bad", function() error("the plan is broken") end)
app:get("/greeting", function() return { greeting, #sluice.id() } end)
app:post("/news", function(req)
  return sluice.receipt(app:publish("news", "story", req:json { text = "string" }))
end)
app:every(0.2, function() app:publish("news", "tick", {}) end)
return app
]]

-- What is true wherever the app is.
local function common(t)
  assert.same({ "hello", 22 }, t:get("/greeting").json)
  local a, b = t:connect("/news"), t:connect("/news")
  assert.same({ 200, a.hello.client }, { a.status, a.id })
  local response = t:post("/news", { json = { text = "first" } })
  assert.same({ 202, 2 }, { response.status, response.json.subscribers })
  assert.equal(response.json.id, a:wait_for("story").id)
  assert.received(b, "story", { text = "first" })
  assert.not_received(b, "story", { text = "second" })
  assert.equal("text", t:post("/news", { json = {} }).json.error.field)
  assert.equal(415, t:post("/news").status)
  a:wait_for("tick")
  a:drop()
  t:post("/news", { json = { text = "second" } })
  assert.equal("second", b:wait_for("story", 5, { text = "second" }).data.text)
  a = a:reconnect()
  assert.is_true(a.hello.resumed)
  assert.equal("second", a:wait_for("story").data.text)
  b:expect_none("story", 0.3)
  local refused = t:connect("/closed")
  assert.same({ 403, "members only" }, { refused.status, refused.json.error.message })
  assert.error_matches(function() t:connect("/bad") end, "GET /bad failed")
  assert.error_matches(function() a:wait_for("nothing", 0.1) end, "no 'nothing' within 0.1 seconds on /news")
  a:close()
  b:close()
end

describe("one spec", function()
  local t
  after_each(function()
    if t then t:stop() end
    t = nil
    server.stop_all()
  end)

  for place, sockets in pairs { ["in virtual time"] = false, ["on a server of its own"] = true } do
    it("passes " .. place, function()
      t = testing.start({ source = APP }, { sockets = sockets, flags = { drain = 0.1 } })
      common(t)
      assert.is_true(t:reload((APP:gsub('"story"', '"tale"'))))
      local c = t:connect("/news")
      t:post("/news", { json = { text = "third" } })
      assert.equal("third", c:wait_for("tale").data.text)
      local ok, message = t:reload("local x = = 1")
      assert.is_nil(ok)
      assert.truthy(message:find("app.lua:1: unexpected symbol near '='", 1, true), message)
      assert.is_true(t:reload(APP))
      t:restart()
      assert.equal("drain", c:wait_for("bye", 1).data.reason)
      c = c:reconnect()
      assert.same({ 200, false }, { c.status, c.hello.resumed })
      t:kill()
      assert.error_matches(function() c:wait_for("bye", 1) end, "the connection has ended")
      assert.equal(200, c:reconnect().status)
      assert.truthy(table.concat(t:log(), "\n"):find("generation 2 keeps serving", 1, true))
    end)
  end

  it("passes on a server that runs already", function()
    t = testing.remote(server.start({ app = APP }).url)
    common(t)
    assert.error_matches(function() t:reload() end, "needs a server that this test started")
    assert.error_matches(function() t:restart() end, "needs a server that this test started")
  end)

  it("is told what needs the inside", function()
    t = testing.start({ source = APP }, { sockets = true, env = { GREETING = "hi" }, flags = { heartbeat = 5 } })
    assert.equal("hi", t:get("/greeting").json[1])
    assert.equal(5, t:connect("/news").hello.heartbeat)
    for name, call in pairs {
      ["t:advance()"] = function() t:advance(1) end,
      ["t:publish()"] = function() t:publish("news", "story", {}) end,
      ["t:state()"] = function() t:state("x") end,
      ["t:seed()"] = function() t:seed(1) end,
      ["t:http()"] = function() t:http("http://x", {}) end,
      ["t:requests()"] = function() t:requests() end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.truthy(message:find(name .. " needs the app in this process", 1, true), message)
    end
    assert.error_matches(function() t:get("/greeting", { user = "alice" }) end, "sign in with headers")
    assert.error_matches(function() testing.start({ source = APP }, { sockets = true, now = 1 }) end, "the real clock")
    assert.error_matches(function() testing.start({ source = "x = = 1" }, { sockets = true }) end,
      "unexpected symbol near '='")
    assert.error_matches(function() testing.remote("https://x") end, "http://host:port is expected")
  end)

  it("has no user that a header of the world could bring", function()
    t = testing.start({ source = [[
      local app = require("sluice").app()
      app:get("/me", function(req) return { user = req.user or "nobody" } end)
      return app]] }, { sockets = true })
    assert.same({ user = "nobody" }, t:get("/me", { headers = { ["X-Sluice-Test-User"] = "1" } }).json)
  end)
end)
