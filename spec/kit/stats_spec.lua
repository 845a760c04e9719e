--- app:stats, client:stats and app:slowest in virtual time: what is counted, where, and how far
--- readers are behind.
local kit = require("spec.support.kit")

local APP = [[
app:channel("log", { history = 10 })
app:channel("tight", { history = 10, slow = "close" })
app:channel("prices", { history = "latest", key = "symbol" })
app:channel("user/:id", { history = 2 })
app:stream("/log", { channels = { "log", "prices" } })
app:stream("/mine", function(req) return "user/" .. req.query.id end)
app:stream("/keys", { channels = { { "prices", keys = { "A" } } } })
app:get("/stats", function(req) return app:stats(req.query.channel) end)
app:get("/slowest", function(req)
  local out = {}
  for i, row in ipairs(app:slowest(req.query.n and math.tointeger(tonumber(req.query.n)))) do
    row.path, row.own, row.client = row.client.path, row.client:stats(), nil
    out[i] = row
  end
  return sluice.json.array(out)
end)
app:delete("/user/:id", function(req)
  for c in app:clients() do c:unsubscribe("user/" .. req.params.id) end
end)]]

local REPORT = 0.25 -- seconds after which everything is told

describe("figures", function()
  local t

  local function stats(channel)
    local answer = t:get("/stats" .. (channel and "?channel=" .. channel or ""))
    if answer.status == 200 then return answer.json end
    return nil, answer.json.error.message, answer.json.error.code
  end

  local function slowest(n) return t:get("/slowest" .. (n and "?n=" .. n or "")).json end

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("of a channel: what was published, held and delivered, in events and bytes", function()
    local a, b = t:connect("/log"), t:connect("/log")
    for n = 1, 12 do t:publish("log", "line", { n = n }) end
    t:advance(REPORT)
    local figures = stats("log")
    local bytes = 0
    for n = 1, 12 do
      local e = a:wait_for("line", 0, { n = n })
      bytes = bytes + #("event: line\nid: %s\ndata: %s\n\n"):format(e.id, e.text)
    end
    assert.equal(12, b:count("line"))
    assert.same({ "log", 2, 12, 10, 24 },
      { figures.kind, figures.subscribers, figures.published, figures.held, figures.delivered })
    assert.same({ bytes, 2 * bytes }, { figures.published_bytes, figures.delivered_bytes })
    assert.same({ 0, 0, 0, 0, 0, 0 }, { figures.conflated, figures.dropped, figures.resets, figures.behind,
      figures.lag_events, figures.lag_bytes })
    assert.equal(a:last_id(), figures.last)
    -- what a newcomer is sent from the history counts, also where it asks for it by an id
    local first = a:events("line")[8].id
    t:connect("/log", { last_event_id = first })
    t:advance(REPORT)
    assert.equal(24 + 4, stats("log").delivered)
  end)

  it("of a state: what a newer value replaced was not delivered", function()
    local c = t:connect("/log")
    c:stall(5)
    for n = 1, 200 do t:publish("prices", "price", { symbol = "A", n = n, pad = ("x"):rep(1000) }) end
    t:advance(6)
    assert.equal(200, c:events("price")[c:count("price")].data.n)
    t:advance(REPORT)
    local figures = stats("prices")
    assert.same({ "state", 200, 1 }, { figures.kind, figures.published, figures.held })
    assert.equal(c:count("price"), figures.delivered)
    assert.equal(200 - c:count("price"), figures.conflated)
    assert.is_true(figures.conflated > 100)
    assert.is_nil(figures.last)
  end)

  it("count resets by their reasons, also on channels that have no events", function()
    local c = t:connect("/log")
    local id = t:publish("log", "line", {})
    for _ = 1, 20 do t:publish("log", "line", {}) end
    local epoch = id:match("^(.-)%-")
    t:connect("/log", { last_event_id = id })
    t:connect("/log", { last_event_id = "some-thing" })
    t:connect("/log", { last_event_id = epoch .. "-999" })
    t:connect("/mine?id=7", { last_event_id = "aaaaaaaaaaaaa-1" })
    t:advance(REPORT)
    local figures, whole = stats("log"), stats()
    local zero = { trimmed = 0, slow = 0, restart = 0, epoch = 0, future = 0, unknown_id = 0,
      denied = 0, failover = 0 }
    local function with(reasons) return setmetatable(reasons, { __index = zero }) end
    for word in pairs(zero) do
      assert.equal(with({ trimmed = 1, unknown_id = 1, future = 1 })[word], figures.reset_reasons[word], word)
      assert.equal(with({ trimmed = 1, unknown_id = 1, future = 1, epoch = 1 })[word], whole.reset_reasons[word], word)
    end
    assert.same({ 3, 4 }, { figures.resets, whole.resets })
    figures = stats("user/7")
    assert.same({ 1, 1, 1, 0 }, { figures.subscribers, figures.resets, figures.reset_reasons.epoch, figures.published })
    assert.equal(0, c:count("reset"))
  end)

  it("of a channel without use are zeros", function()
    assert.same({ "log", 0, 0, 0 }, { stats("user/8").kind, stats("user/8").subscribers,
      stats("user/8").published, stats("user/8").held })
    assert.same({ "state", 0, 0, 0 }, { stats("prices").kind, stats("prices").subscribers,
      stats("prices").published, stats("prices").held })
  end)

  it("of a channel are forgotten with it, and the server's stay", function()
    local c = t:connect("/mine?id=7", { last_event_id = "aaaaaaaaaaaaa-1" })
    t:advance(REPORT)
    assert.equal(1, stats("user/7").resets)
    c:drop()
    t:advance(REPORT)
    assert.equal(0, stats("user/7").resets)
    t:publish("user/7", "note", {})
    t:advance(REPORT)
    assert.equal(0, stats("user/7").resets)
    assert.equal(1, stats("user/7").published)
    t:advance(1300)
    assert.equal(0, stats("user/7").published)
    assert.same({ 1, 1 }, { stats().resets, stats().published })
  end)

  it("list the streams that lag, by how much and for how long, and none when all have caught up", function()
    local good, slow, slower = t:connect("/log"), t:connect("/log"), t:connect("/log?a=b")
    slow:stall(7)
    slower:stall(15)
    assert.same({}, slowest())
    for n = 1, 1000 do t:publish("log", "line", { n = n, pad = ("x"):rep(1000) }) end
    t:advance(4)
    assert.equal(1000, good:count("line"))
    local figures, list = stats("log"), slowest()
    assert.same({ 2, 2 }, { figures.behind, #list })
    assert.is_true(figures.lag_events > 500 and figures.lag_events < 1000)
    for _, row in ipairs(list) do
      assert.equal("log", row.channel)
      assert.is_true(row.behind_for >= 3.9 and row.behind_for <= 4.5, row.behind_for)
      assert.is_true(row.lag_events >= figures.lag_events and row.lag_bytes >= figures.lag_bytes)
      assert.same(row.own.lag_events, row.lag_events)
      assert.is_true(row.bytes > 5000 and row.events > 5)
    end
    -- what it was given and what it still has to be sent is everything: each event is 1 of 1000
    assert.equal(1000, list[1].events + figures.lag_events)
    assert.equal(1, #slowest(1))
    t:advance(4)
    list = slowest()
    assert.same({ 1, 1 }, { stats("log").behind, #list })
    assert.is_true(list[1].behind_for >= 8)
    assert.same({ 1000, 1 }, { slow:count("line"), stats().behind })
    t:advance(8)
    assert.same({}, slowest())
    figures = stats("log")
    assert.same({ 0, 0, 0, 3000 }, { figures.behind, figures.lag_events, figures.lag_bytes, figures.delivered })
    assert.equal(1000, slower:count("line"))
  end)

  it("measure a reader with a filter by what it wants", function()
    local c = t:connect("/keys")
    c:stall(10)
    for n = 1, 100 do
      for _, symbol in ipairs { "A", "B", "C" } do
        t:publish("prices", "price", { symbol = symbol, n = n, pad = ("x"):rep(1000) })
      end
    end
    t:advance(1)
    assert.same({ 1, 1 }, { stats("prices").lag_events, stats("prices").behind })
    t:advance(10)
    assert.same({ 0, 0 }, { stats("prices").lag_events, stats("prices").behind })
  end)

  it("are refused when the question makes no sense", function()
    assert.equal(500, t:get("/slowest?n=0").status)
    assert.truthy(t:get("/slowest?n=1001").error:find("app:slowest(n): n is an integer from 1 to 1000", 1, true))
  end)
end)
