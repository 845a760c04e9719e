--- Events with a ttl of their own, in virtual time: when it is over no stream gets them any more,
--- and no loss is reported.
local kit = require("spec.support.kit")

local APP = [[
  app:channel("log", { history = 100, rewind = "all" })
  app:channel("short", { history = 3, rewind = "all" })
  app:channel("prices", { history = "latest", key = "k" })
  app:channel("rated", { history = "latest", key = "k", max_rate = 1 })
  app:channel("keyed", { history = 100, key = "k", rewind = "latest" })
  for _, name in ipairs({ "log", "short", "prices", "rated", "keyed" }) do app:stream("/" .. name, name) end
  app:stream("/all", { channels = { "log", "prices", "keyed" } })
  app:stream("/late", function(req, client)
    client:send("begun", {})
    client:subscribe("log", { rewind = "all" })
    sluice.sleep(1000)
  end)
  app:get("/latest/:channel", function(req)
    return { data = app:latest(req.params.channel, req.query.k, req.query.event) }
  end)
  app:get("/history/:channel", function(req)
    local list = sluice.json.array()
    for i, row in ipairs(app:history(req.params.channel)) do list[i] = row.data.n end
    return list
  end)
]]

local function numbers(stream, event)
  local list = {}
  for i, e in ipairs(stream:events(event or "e")) do list[i] = e.data.n end
  return list
end

describe("an event with a ttl of its own", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  local function publish(channel, n, ttl, key)
    return (t:publish(channel, "e", { k = key, n = n }, ttl and { ttl = ttl }))
  end

  local function latest(channel, query)
    local data = t:get("/latest/" .. channel .. (query or "")).json.data
    return data and data.n
  end

  local function history(channel) return t:get("/history/" .. channel).json end

  it("is live as any other, and is replayed until its time is over", function()
    local c = t:connect("/log")
    publish("log", 1)
    publish("log", 2, 5)
    publish("log", 3)
    assert.same({ 1, 2, 3 }, numbers(c))
    t:advance(4.998)
    local before = t:connect("/log")
    assert.same({ 1, 2, 3 }, numbers(before))
    assert.equal(3, before.hello.replay)
    t:advance(0.002)
    local after = t:connect("/log")
    assert.same({ 1, 3 }, numbers(after))
    assert.equal(2, after.hello.replay)
    assert.same({ 1, 3 }, history("log"))
    assert.equal(0, after:count("reset"))
  end)

  it("is left out of a resume, without a reset", function()
    local c = t:connect("/log")
    publish("log", 1)
    c:drop()
    publish("log", 2, 5)
    publish("log", 3)
    publish("log", 4, 5)
    t:advance(5)
    local back = c:reconnect()
    assert.is_true(back.hello.resumed)
    assert.same({ 1, { 3 }, 0 }, { back.hello.replay, numbers(back), back:count("reset") })
    local again = back:reconnect({ last_event_id = c:last_id() })
    assert.same({ true, { 3 } }, { again.hello.resumed, numbers(again) })
  end)

  it("is no loss when it leaves the history, as another one is", function()
    local c = t:connect("/short")
    publish("short", 1)
    c:drop()
    publish("short", 2, 5)
    t:advance(5)
    for n = 3, 5 do publish("short", n) end
    local back = c:reconnect()
    assert.is_true(back.hello.resumed)
    assert.same({ { 3, 4, 5 }, 0 }, { numbers(back), back:count("reset") })
    c = back
    c:drop()
    publish("short", 6, 5) -- this one is not over when it goes
    for n = 7, 9 do publish("short", n) end
    back = c:reconnect()
    assert.is_false(back.hello.resumed)
    assert.equal("trimmed", back:wait_for("reset", 0).data.reason)
  end)

  it("is skipped for a reader that is behind", function()
    local c = t:connect("/log", { buffer = 4096 })
    c:stall(20)
    local pad = ("x"):rep(1000)
    for n = 1, 60 do t:publish("log", "e", { n = n, pad = pad }, n > 40 and n <= 50 and { ttl = 5 } or nil) end
    t:advance(30)
    local got = numbers(c)
    assert.equal(50, #got)
    assert.same({ 40, 51, 60 }, { got[40], got[41], got[50] })
    assert.equal(0, c:count("reset"))
  end)

  it("leaves no value of its key in a state, and takes none of others", function()
    publish("prices", 1, nil, "a")
    publish("prices", 2, nil, "b")
    publish("prices", 3, 5, "a")
    assert.same({ 3, 3, 2 }, { latest("prices"), latest("prices", "?k=a"), latest("prices", "?k=b") })
    local c = t:connect("/prices")
    assert.same({ 2, 3 }, numbers(c))
    t:advance(5)
    assert.same({ 2, nil, 2 }, { latest("prices"), latest("prices", "?k=a"), latest("prices", "?k=b") })
    assert.same({ 2 }, history("prices"))
    local after = t:connect("/prices")
    assert.same({ { prices = 1 }, { 2 } }, { after.hello.state, numbers(after) })
    publish("prices", 4, nil, "a")
    assert.same({ 4, 4 }, { latest("prices", "?k=a"), latest("prices") })
    assert.same({ 2, 4 }, numbers(after))
  end)

  it("gives way to other event names of its key in app:latest", function()
    t:publish("prices", "bid", { k = "a", n = 1 })
    t:publish("prices", "ask", { k = "a", n = 2 }, { ttl = 1 })
    assert.same({ 2, 1, 2 }, { latest("prices", "?k=a"), latest("prices", "?k=a&event=bid"),
      latest("prices", "?k=a&event=ask") })
    t:advance(1)
    assert.same({ 1, 1, nil }, { latest("prices", "?k=a"), latest("prices", "?k=a&event=bid"),
      latest("prices", "?k=a&event=ask") })
  end)

  it("is not sent by a tick that comes too late for it", function()
    local c = t:connect("/rated")
    publish("rated", 1, 0.2, "a")
    publish("rated", 2, nil, "b")
    t:advance(3)
    assert.same({ 2 }, numbers(c))
    publish("rated", 3, 30, "a")
    t:advance(1)
    assert.same({ 2, 3 }, numbers(c))
  end)

  it("is withdrawn from a keyed log, from its newest per key and from its history", function()
    publish("keyed", 1, nil, "a")
    local c = t:connect("/keyed")
    publish("keyed", 2, 5, "b")
    publish("keyed", 3, nil, "c")
    publish("keyed", 4, 5, "a")
    assert.same({ 1, 2, 3, 4 }, numbers(c))
    assert.same({ 2, 3, 4 }, numbers(t:connect("/keyed")))
    c:drop()
    t:advance(5)
    local newcomer = t:connect("/keyed")
    assert.same({ 1, { 3 } }, { newcomer.hello.replay, numbers(newcomer) })
    local back = t:connect("/keyed", { last_event_id = c:events("e")[1].id })
    assert.same({ true, 1, { 3 } }, { back.hello.resumed, back.hello.replay, numbers(back) })
    assert.same({ 1, 3 }, history("keyed"))
    assert.same({ 3, nil }, { latest("keyed"), latest("keyed", "?k=b") })
  end)

  it("is not among what client:subscribe brings to an open stream", function()
    publish("log", 1)
    publish("log", 2, 5)
    t:advance(5)
    publish("log", 3, 5)
    local c = t:connect("/late")
    assert.same({ 1, 3 }, numbers(c))
  end)

  it("does not outlive its channel's ttl, and survives a reload with its own", function()
    t:publish("log", "e", { n = 1 }, { ttl = 1e300 })
    publish("log", 2, 1e-9)
    publish("log", 3, 100)
    assert.is_true(t:reload(kit.source(APP)))
    t:advance(99)
    assert.same({ 1, 3 }, numbers(t:connect("/log")))
    t:advance(1)
    assert.same({ 1 }, numbers(t:connect("/log")))
    t:advance(700)
    assert.same({}, numbers(t:connect("/log")))
  end)
end)

describe("a channel whose events do not age", function()
  after_each(kit.stop_all)

  local function app(options)
    return ([[
      app:channel("room", { history = 100, key = "k", rewind = "latest"%s })
      app:channel("values", { history = "latest", key = "k"%s })
      app:channel("mail", { history = 100, rewind = "all"%s })
      app:channel("empty/:x", { history = 0%s })
      app:stream("/all", { channels = { "room", "values", "mail" } })
      app:get("/channels", function() return app:channels() end)
    ]]):format(options, options, options, options)
  end

  local function publish_all(t)
    for _, channel in ipairs({ "room", "values", "mail" }) do t:publish(channel, "e", { k = "a", n = channel }) end
  end

  local function newcomer(t)
    local stream, list = t:connect("/all"), {}
    for i, e in ipairs(stream:events("e")) do list[i] = e.data.n end
    table.sort(list)
    stream:close()
    return list
  end

  it("still has them after an hour; with the default only the newest of a keyed log stay", function()
    local t, plain = kit.start(app(", ttl = false")), kit.start(app(""))
    for _, one in ipairs({ t, plain }) do
      publish_all(one)
      one:advance(3600)
    end
    assert.same({ "mail", "room", "values" }, newcomer(t))
    assert.same({ "room" }, newcomer(plain))
  end)

  it("begins and stops to do so at a reload", function()
    local t = kit.start(app(""))
    publish_all(t)
    t:advance(300)
    assert.is_true(t:reload(kit.source(app(", ttl = false"))))
    t:advance(3600)
    assert.same({ "mail", "room", "values" }, newcomer(t))
    assert.is_true(t:reload(kit.source(app(""))))
    t:advance(120)
    assert.same({ "room" }, newcomer(t))
  end)

  it("goes when all that a keyed log has is withdrawn", function()
    local t = kit.start(app(""))
    t:publish("room", "e", { k = "a", n = "room" }, { ttl = 30 })
    t:advance(2000)
    assert.is_nil(t:get("/channels").json["room"])
    assert.same({}, newcomer(t))
  end)

  it("is dropped when it is empty and has not been used for 600 s", function()
    local t = kit.start(app(", ttl = false"))
    for i = 1, 3 do t:publish("empty/" .. i, "e", {}) end
    publish_all(t)
    t:advance(590)
    assert.equal(6, #t:get("/channels").json)
    t:advance(120)
    local left = t:get("/channels").json
    table.sort(left)
    assert.same({ "mail", "room", "values" }, left)
  end)

  it("is refused another word for it", function()
    for _, text in ipairs({ "0", "math.huge", "true", "-1", '"5"' }) do
      assert.has_error(function() kit.start(app(", ttl = " .. text)) end)
    end
  end)
end)
