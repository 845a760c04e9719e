--- Rates and batches, in virtual time: what a reader gets, when, and never more often.
local kit = require("spec.support.kit")

local MARKET = [[
  app:channel("prices", { history = "latest", key = "symbol" })
  app:channel("alerts", { history = 100, rewind = "all" })
  app:stream("/market", { channels = { "prices", "alerts" }, query = { keys = "symbols" } })
  app:stream("/slow", { channels = { { "prices", max_rate = 2 }, "alerts" } })
  app:stream("/asked", function() return { channels = { "prices" }, max_rate = 5 } end)
  app:post("/set/:id", function(req)
    return sluice.receipt(app:client(req.params.id):set(req:json()))
  end)
]]

local SYMBOLS = 50
local START = 1000 -- the wall clock when a test begins

local function begin(source) return kit.start(source, { now = START }) end

--- Publish `per_second` prices for some seconds, symbol after symbol, in steps of 5 ms. What
--- was published when, by symbol.
local function trade(t, seconds, per_second)
  local told, n = {}, 0
  for _ = 1, math.floor(seconds * 200 + 0.5) do
    for _ = 1, per_second // 200 do
      local symbol = "S" .. n % SYMBOLS
      n = n + 1
      told[symbol] = told[symbol] or {}
      table.insert(told[symbol], { n = n, at = t:elapsed() })
      t:publish("prices", "price", { symbol = symbol, n = n })
    end
    t:advance(0.005)
  end
  return told
end

--- The prices that a stream got from event `from` on, by symbol.
local function received(stream, from)
  local got = {}
  for i, event in ipairs(stream:events("price")) do
    local symbol = event.data.symbol
    if i >= (from or 1) then
      got[symbol] = got[symbol] or {}
      table.insert(got[symbol], { n = event.data.n, at = event.at - START })
    end
  end
  return got
end

local function symbols_of(got)
  local list = {}
  for symbol in pairs(got) do list[#list + 1] = symbol end
  table.sort(list)
  return list
end

--- No window of one second holds more than `rate` events of one symbol.
local function assert_no_more(got, rate)
  for symbol, events in pairs(got) do
    for i = rate + 1, #events do
      local span = events[i].at - events[i - rate].at
      assert(span > 1 - 1e-4, ("%s: %d events within %.4f s, until %.4f"):format(symbol, rate + 1, span, events[i].at))
    end
  end
end

--- What is newest was there within `seconds` after its publish.
local function assert_fresh(t, told, got, seconds)
  for symbol, events in pairs(told) do
    local i, stop = 1, t:elapsed()
    for _, event in ipairs(events) do
      local list = got[symbol] or {}
      while list[i] and list[i].n < event.n do i = i + 1 end
      local late = (list[i] and list[i].at or math.huge) - event.at
      if event.at + seconds < stop then
        assert(late <= seconds + 1e-4, ("%s %d came %.4f s late"):format(symbol, event.n, late))
      end
    end
  end
end

describe("max_rate", function()
  after_each(kit.stop_all)

  it("holds in every window of one second, and the newest comes within a period", function()
    local t = begin(MARKET)
    local c = t:connect("/market?max_rate=2")
    local told = trade(t, 10, 2000)
    t:advance(0.5)
    local got = received(c)
    assert.equal(SYMBOLS, #symbols_of(got))
    assert_no_more(got, 2)
    assert_fresh(t, told, got, 0.5)
    for symbol, events in pairs(told) do
      assert.equal(events[#events].n, got[symbol][#got[symbol]].n)
      assert.is_true(#got[symbol] >= 19, symbol)
    end
  end)

  it("gives a newcomer the newest at once, and the next no sooner than a period later", function()
    local t = begin(MARKET)
    trade(t, 1.037, 2000)
    local c = t:connect("/market?max_rate=2")
    assert.same({ prices = SYMBOLS }, c.hello.state)
    assert.equal(2, c.hello.max_rate)
    assert.equal(SYMBOLS, c:count("price"))
    trade(t, 3, 2000)
    assert_no_more(received(c), 2)
    assert.equal(SYMBOLS * 7, c:count("price"))
  end)

  it("is for exactly the keys that were asked for", function()
    local t = begin(MARKET)
    local c = t:connect("/market?max_rate=2&symbols=S3,S7,S49")
    local told = trade(t, 3, 2000)
    t:advance(0.5)
    local got = received(c)
    assert.same({ "S3", "S49", "S7" }, symbols_of(got))
    assert_no_more(got, 2)
    assert_fresh(t, { S3 = told.S3, S7 = told.S7, S49 = told.S49 }, got, 0.5)
  end)

  it("leaves the events of logs alone", function()
    local t = begin(MARKET)
    local c = t:connect("/slow")
    assert.equal(2, c.hello.max_rate)
    trade(t, 0.2, 2000)
    local before = c:count("price")
    for n = 1, 5 do
      t:publish("alerts", "alert", { n = n })
      assert.equal(n, c:wait_for("alert", 0).data.n)
    end
    assert.equal(before, c:count("price"))
  end)

  it("is the lowest of what channel, plan, entry and client say", function()
    local t = begin([[
      app:channel("prices", { history = "latest", key = "symbol", max_rate = 10 })
      app:stream("/plain", "prices")
      app:stream("/plan", { channels = { "prices" }, max_rate = 5 })
      app:stream("/entry", { channels = { { "prices", max_rate = 2 } }, max_rate = 5 })
      app:stream("/written", function() return { channels = { "prices" }, max_rate = 5 } end)]])
    local rates = {}
    for i, path in ipairs({ "/plain", "/plain?max_rate=50", "/plain?max_rate=1", "/plan", "/plan?max_rate=20", "/entry",
      "/entry?max_rate=3", "/entry?max_rate=1", "/written", "/written?max_rate=7", "/written?max_rate=2" }) do
      rates[i] = t:connect(path).hello.max_rate
    end
    assert.same({ 10, 10, 1, 5, 5, 2, 2, 1, 5, 5, 2 }, rates)
    assert.equal(t:connect("/plan?max_rate=3").hello.max_rate, 2) -- no class between 2 and 5: never more than asked
    for _, path in ipairs({ "/plain", "/written" }) do -- the core reads the first itself
      for text, rate in pairs({ ["%2B2e%2B0"] = 2, ["2."] = 2, ["5e-1"] = 0.5, [".1"] = 0.1, ["1E0"] = 1 }) do
        assert.equal(rate, t:connect(path .. "?max_rate=" .. text).hello.max_rate, path .. text)
      end
      for _, text in ipairs({ "", "nan", "-1", "0", "0.016", "1e400", "0e999", "0x10", "1_0", "2,5", "+", ".", "1e",
        "1e+", ".e1", "1.2.3", "2e1e1", "%202" }) do
        assert.equal(422, t:get(path .. "?max_rate=" .. text).status, path .. text)
      end
    end
  end)

  it("changes by client:set", function()
    local t = begin(MARKET)
    local c = t:connect("/market")
    trade(t, 0.5, 2000)
    assert.equal(0.5 * 2000, c:count("price"))
    assert.equal(202, t:post("/set/" .. c.id, { json = { max_rate = 2 } }).status)
    local from = c:count("price") + 1
    local told = trade(t, 3, 2000)
    t:advance(0.5)
    local got = received(c, from)
    assert_no_more(got, 2)
    assert_fresh(t, told, got, 0.5)
    assert.equal(202, t:post("/set/" .. c.id, { json = { max_rate = 10, keys = { "S1" } } }).status)
    from = c:count("price") + 1
    told = trade(t, 3, 2000)
    t:advance(0.1)
    got = received(c, from)
    assert.same({ "S1" }, symbols_of(got))
    assert_no_more(got, 10)
    assert_fresh(t, { S1 = told.S1 }, got, 0.1)
  end)

  it("changes by a reload, for open streams too", function()
    local function source(rate)
      return kit.source(([[
        app:channel("prices", { history = "latest", key = "symbol", max_rate = %s })
        app:stream("/market", "prices")]]):format(rate))
    end
    local t = begin([[
      app:channel("prices", { history = "latest", key = "symbol" })
      app:stream("/market", "prices")]])
    local c = t:connect("/market")
    assert.is_nil(c.hello.max_rate)
    for _, rate in ipairs({ 2, 10, 1, 50 }) do
      assert.is_true(t:reload(source(rate)))
      local from = c:count("price") + 1
      local told = trade(t, 2.5, 2000)
      t:advance(1 / rate)
      local got = received(c, from)
      assert_no_more(got, rate)
      assert_fresh(t, told, got, 1 / rate)
    end
    assert.is_true(t:reload(source("false")))
    t:advance(1)
    local before = c:count("price")
    trade(t, 0.5, 2000)
    assert.equal(before + 1000, c:count("price"))
  end)

  it("is flushed by client:stop before bye", function()
    local t = begin(MARKET .. [[
      app:post("/stop/:id", function(req)
        app:publish("prices", "price", { symbol = "S1", n = 4 })
        app:publish("alerts", "alert", { n = 1 })
        app:client(req.params.id):stop()
      end)]])
    local c = t:connect("/market?max_rate=0.1")
    for n = 1, 3 do t:publish("prices", "price", { symbol = "S1", n = n }) end
    t:advance(1)
    assert.equal(0, c:count("price"))
    t:post("/stop/" .. c.id)
    assert.equal("stop", c:wait_for("bye", 0).data.reason)
    local names = {}
    for i, event in ipairs(c:events()) do names[i] = event.event end
    assert.same({ "hello", "alert", "price", "bye" }, names)
    assert.equal(4, c:events("price")[1].data.n)
  end)
end)

describe("a batch", function()
  after_each(kit.stop_all)

  local FEED = [[
    app:channel("feed", { history = 1000, rewind = "all", batch = 0.5 })
    app:channel("state", { history = "latest", key = "k", batch = 0.1 })
    app:channel("other", { history = 100 })
    app:stream("/feed", { channels = { "feed", "other" } })
    app:stream("/state", "state")
    app:post("/stop/:id", function(req) app:client(req.params.id):stop() end)
  ]]

  it("brings all events of a log, in order, with ids, in one piece a tick", function()
    local t = begin(FEED)
    local c = t:connect("/feed")
    local ids = {}
    for n = 1, 100 do
      ids[n] = t:publish("feed", "line", { n = n })
      t:advance(0.033)
    end
    t:advance(0.5)
    local moments = {}
    for n, event in ipairs(c:events("line")) do
      assert.equal(n, event.data.n)
      assert.equal(ids[n], event.id)
      local at = ("%.3f"):format(event.at - START)
      if moments[#moments] ~= at then moments[#moments + 1] = at end
    end
    assert.equal(100, c:count("line"))
    assert.is_true(#moments <= 8, table.concat(moments, " "))
    for i = 2, #moments do assert.is_true(moments[i] - moments[i - 1] > 0.5 - 1e-3, table.concat(moments, " ")) end
  end)

  it("does not hold back what a newcomer is to get", function()
    local t = begin(FEED)
    for n = 1, 10 do t:publish("feed", "line", { n = n }) end
    local c = t:connect("/feed")
    assert.equal(10, c:count("line"))
    assert.equal(10, c.hello.replay)
  end)

  it("goes along when another log of the stream has news, so that ids only rise", function()
    local t = begin(FEED)
    local c = t:connect("/feed")
    for n = 1, 40 do
      t:publish("feed", "line", { n = n })
      t:advance(0.01)
      t:publish("other", "note", { n = n })
      assert.same({ n, n }, { c:count("line"), c:count("note") })
    end
    local last = 0
    for i, event in ipairs(c:events()) do
      local number = tonumber(event.id:match("%-(%d+)$"))
      assert.is_true(i == 1 or number > last)
      last = number
    end
  end)

  it("is resumed exactly when the stream was cut while it was collected", function()
    local t = begin(FEED)
    local c = t:connect("/feed")
    for n = 1, 20 do
      t:publish("feed", "line", { n = n })
      t:advance(0.033)
    end
    assert.is_true(c:count("line") > 0 and c:count("line") < 20)
    local back = c:reconnect()
    assert.is_true(back.hello.resumed)
    local seen = {}
    for _, stream in ipairs({ c, back }) do
      for _, event in ipairs(stream:events("line")) do seen[#seen + 1] = event.data.n end
    end
    for n = 1, 20 do assert.equal(n, seen[n]) end
    assert.equal(20, #seen)
  end)

  it("of a state brings the newest of each key", function()
    local t = begin(FEED)
    local c = t:connect("/state")
    for n = 1, 300 do
      t:publish("state", "v", { k = "k" .. n % 3, n = n })
      t:advance(0.01)
    end
    t:advance(0.1)
    assert.is_true(c:count("v") >= 3 * 28 and c:count("v") <= 3 * 31, tostring(c:count("v")))
    assert.equal(300, c:events("v")[c:count("v")].data.n)
  end)

  it("is flushed by client:stop before bye", function()
    local t = begin(FEED)
    local c = t:connect("/feed")
    for n = 1, 3 do t:publish("feed", "line", { n = n }) end
    assert.equal(0, c:count("line"))
    t:post("/stop/" .. c.id)
    assert.equal("stop", c:wait_for("bye", 0).data.reason)
    assert.equal(3, c:count("line"))
    assert.equal("bye", c:events()[#c:events()].event)
  end)
end)
