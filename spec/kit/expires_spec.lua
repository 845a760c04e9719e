--- req.user.expires: a stream ends when its user is over, by the clock of the thread that owns it.
local kit = require("spec.support.kit")

local APP = [[
  app:guard("/**", function(req)
    if not req.query["in"] then return true end
    req.user = { id = "alice", expires = sluice.time() + tonumber(req.query["in"]) }
    return true
  end)
  app:channel("log", { history = 100 })
  app:channel("values", { history = "latest", key = "k", max_rate = 1 })
  app:stream("/s", { channels = { "log", "values" } })
  app:stream("/late", function(req)
    sluice.sleep(tonumber(req.query.wait))
    return { channels = { "log" }, rewind = "all" }
  end)
  app:stream("/written", function(_, client)
    client:subscribe("log")
    for n = 1, 100 do client:send("tick", { n = n }) sluice.sleep(0.5) end
  end)
  app:stream("/plain", function() return { channels = { "log" }, control = false, heartbeat = 3600 } end)
  local ended = app:state("ended", {})
  app:on("disconnect", function(client, reason) table.insert(ended(), { client.user.id, reason }) end)]]

describe("a user who expires", function()
  local t
  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("ends the stream, within a second, and lets it come back", function()
    local c, other = t:connect("/s?in=7.5"), t:connect("/s")
    t:advance(7.4)
    t:publish("log", "e", { n = 1 })
    assert.equal(1, c:wait_for("e", 0).data.n)
    local bye = c:wait_for("bye", 1)
    assert.equal("expired", bye.data.reason)
    assert.is_true(bye.data.retry < 10000 and bye.id ~= "stop")
    assert.is_true(t:elapsed() >= 7.5 and t:elapsed() <= 8.5, t:elapsed())
    t:publish("log", "e", { n = 2 })
    t:advance(1)
    assert.same({ 1, 2 }, { c:count("e"), other:count("e") })
    assert.same({ { "alice", "expired" } }, t:state("ended"))
    local again = c:reconnect()
    assert.is_true(again.hello.resumed)
    assert.equal(2, again:wait_for("e", 0).data.n)
  end)

  it("is sent nothing that is held or pending by then", function()
    local c = t:connect("/s?in=1.2")
    t:publish("values", "v", { k = "a", n = 1 })
    t:advance(1)
    t:publish("values", "v", { k = "a", n = 2 })
    t:publish("values", "v", { k = "a", n = 3 }) -- the next tick is after the end
    t:advance(5)
    assert.equal("expired", c:wait_for("bye", 0).data.reason)
    for _, e in ipairs(c:events("v")) do assert.is_true(e.at <= c:events("bye")[1].at) end
    local last = c:events("v")[c:count("v")]
    assert.is_true(last.data.n <= 2, last.data.n)
  end)

  it("who reads nothing gets no more than what the socket has", function()
    local c = t:connect("/s?in=5", { buffer = 1000 })
    c:stall(60)
    for n = 1, 200 do t:publish("log", "e", { n = n, text = ("x"):rep(1000) }) end
    t:advance(10)
    for n = 201, 220 do t:publish("log", "e", { n = n }) end
    t:advance(60)
    for _, e in ipairs(c:events("e")) do assert.is_true(e.data.n <= 200) end
  end)

  it("is judged again when the plan arrives", function()
    t:publish("log", "e", {})
    for _, wait in ipairs({ 1, 5 }) do -- with a head of its own, and behind a late one
      local c = t:connect(("/late?in=%g&wait=%g"):format(wait - 0.5, wait))
      assert.is_nil(c.hello)
      assert.equal("expired", c:wait_for("bye", 0).data.reason)
      assert.equal(0, c:count("e"))
    end
    local c = t:connect("/late?in=6&wait=5")
    assert.equal(1, c:count("e"))
    c:wait_for("bye", 2)
    t:advance(1)
    assert.equal(3, #t:state("ended")) -- those that were refused have come and gone, too
    local over = t:connect("/s?in=-5")
    assert.equal("expired", over:wait_for("bye", 0).data.reason)
  end)

  it("ends streams that a coroutine writes, and plain ones", function()
    local written, plain = t:connect("/written?in=3.2"), t:connect("/plain?in=3.2")
    t:advance(10)
    assert.equal("expired", written:wait_for("bye", 0).data.reason)
    assert.equal(7, written:count("tick"))
    t:publish("log", "e", {})
    assert.equal(0, plain:count("e"))
    assert.same({}, t:log("error"))
  end)

  it("may be one of the far future, and is a number", function()
    local c = t:connect("/plain?in=1e9")
    t:advance(86400 * 26)
    t:publish("log", "e", {})
    c:wait_for("e", 0)
    t = kit.start [[
      app:guard("/**", function(req) req.user = { id = "a", expires = "tomorrow" } return true end)
      app:stream("/s", function() return "a" end)]]
    local ok, problem = pcall(t.connect, t, "/s")
    assert.is_false(ok)
    assert.matches('req.user.expires is a time in seconds since 1970, not "tomorrow"', tostring(problem), 1, true)
  end)
end)
