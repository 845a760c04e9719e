--- app:publish and the methods that look.
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local function load(text)
  local head = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'
  return rehearsal.load(head .. (text or "") .. "\nreturn app")
end

describe("publish", function()
  it("answers id, subscribers; true for a state; nil, message, code for a refusal", function()
    local t = load([[
      app:channel("s", { history = "latest" })
      app:stream("/a", function() return "a" end)]])
    t:connect("/a")
    t:inside(function()
      local id, n = t.app:publish("a", "x", { n = 1 })
      assert.matches("^%l%w+%-1$", id)
      assert.equal(1, n)
      assert.same({ true, 0 }, { t.app:publish("s", "x", { n = 1 }) })
      assert.equal("ECHANNEL", select(3, t.app:publish("a b", "x", {})))
      assert.equal("ECHANNEL", select(3, t.app:publish(nil, "x", {})))
      assert.equal("EBADFIELD", select(3, t.app:publish("a", "hello", {})))
      assert.equal("EJSON", select(3, t.app:publish("a", "x", { f = print })))
    end)
    assert.equal(2, #t.server.published)
  end)

  it("sends texts as they are and tables as JSON; event and data have defaults", function()
    local t = load()
    t:inside(function()
      t.app:publish("a", "x", "raw text")
      t.app:publish("a", nil, { 1, 2 })
      t.app:publish("a")
      t.app:publish("a", "n", 5)
    end)
    assert.same({ "x raw text", "message [1,2]", "message {}", "n 5" }, t:events("a"))
  end)

  it("takes the key from the field that the channel names", function()
    local t = load([[app:channel("p", { history = "latest", key = "symbol" })]])
    t:inside(function()
      t.app:publish("p", "x", { symbol = "AAPL" })
      t.app:publish("p", "x", { symbol = 7.0 })
      t.app:publish("p", "x", "text", { key = "K" })
      assert.same({ nil, "the data has no field 'symbol', which is the key of channel 'p'", "EKEY", "symbol" },
        { t.app:publish("p", "x", { price = 1 }) })
      assert.equal("EKEY", select(3, t.app:publish("p", "x", "text")))
    end)
    local keys = {}
    for i, row in ipairs(t.server.published) do keys[i] = row.key end
    assert.same({ "AAPL", "7", "K" }, keys)
  end)

  it("removes a key with an event, and by itself", function()
    local t = load([[app:channel("p", { history = 10, key = "id", rewind = "latest" })]])
    t:inside(function()
      t.app:publish("p", "left", { id = "a" }, { remove = true })
      t.app:remove("p", "b")
    end)
    local a, b = t.server.published[1], t.server.published[2]
    assert.same({ "a", true }, { a.key, a.remove })
    assert.same({ "removed", '{"key":"b"}', "b", true }, { b.event, b.text, b.key, b.remove })
  end)

  it("gives an event a time after which it is withdrawn, but no removal", function()
    local t = load("")
    t:inside(function()
      t.app:publish("p", "x", {}, { ttl = 1.5 })
      assert.matches("app:publish%(%): a removal has no ttl: give the value that it removes one",
        select(2, pcall(t.app.publish, t.app, "p", "x", {}, { ttl = 1, remove = true })))
      for _, ttl in ipairs({ 0, -1, 0 / 0, math.huge, "5", false }) do
        assert.matches("ttl is a number", select(2, pcall(t.app.publish, t.app, "p", "x", {},
          { ttl = ttl })))
      end
    end)
    assert.equal(1.5, t.server.published[1].ttl)
    assert.equal(1, #t.server.published)
  end)

  it("answers the same id for the same idempotency key, per channel, for a day", function()
    local t = load()
    t:inside(function()
      local first = t.app:publish("a", "x", {}, { idempotency = "k" })
      local again, subscribers, duplicate = t.app:publish("a", "y", { other = 1 }, { idempotency = "k" })
      assert.equal(first, again)
      assert.equal(0, subscribers)
      assert.is_true(duplicate)
      assert.are_not.equal(first, (t.app:publish("b", "x", {}, { idempotency = "k" })))
      assert.equal("EJSON", select(3, t.app:publish("a", "x", { print }, { idempotency = "new" })))
      assert.is_false(select(3, t.app:publish("a", "x", {}, { idempotency = "new" })))
      assert.is_false(select(3, t.app:publish("a", "x", {}, { idempotency = ("k"):rep(1024) })))
      assert.equal("ETOOBIG", select(3, t.app:publish("a", "x", {}, { idempotency = ("k"):rep(1025) })))
    end)
    t:advance(86401)
    t:inside(function() assert.is_false(select(3, t.app:publish("a", "x", {}, { idempotency = "k" }))) end)
    assert.equal(5, #t.server.published)
  end)

  it("is rewritten or refused by transforms, in order; they must not wait", function()
    local t = load([[
      app:transform("d/:id", function(event, p) event.data.id = p.id return event.data end)
      app:transform("d/*", function(event)
        if event.data.bad then return nil, "too bad", "EBADFIELD" end
        if event.data.none then return nil end
        if event.data.wait then sluice.sleep(1) end
        return { data = event.data }
      end)]])
    t:inside(function()
      assert.truthy(t.app:publish("d/7", "x", {}))
      assert.same({ nil, "too bad", "EBADFIELD" }, { t.app:publish("d/7", "x", { bad = true }) })
      assert.same({ nil, "refused", "EDENIED" }, { t.app:publish("d/7", "x", { none = true }) })
      local id, message, code = t.app:publish("d/7", "x", { wait = true })
      assert.is_nil(id)
      assert.matches("the transform of channel 'd/7' failed: app.lua:7: sluice.sleep%(%) cannot wait in app:transform",
        message)
      assert.equal("EINTERNAL", code)
    end)
    assert.same({ 'x {"data":{"id":"7"}}' }, t:events("d/7"))
  end)

  it("checks the fields of a declared event type and writes empty lists as lists", function()
    local t = load([[app:event_type("order", { fields = { id = "string", items = "array", note = "string?" } })]])
    t:inside(function()
      local data = { id = "1", items = {} }
      assert.truthy(t.app:publish("a", "order", data))
      assert.is_nil(getmetatable(data.items))
      assert.same({ nil, "order: id is missing", "EBADFIELD", "id" }, { t.app:publish("a", "order", { items = {} }) })
      assert.same("string", t.app:event_types().order.fields.id)
    end)
    assert.matches('"items":%[%]', t:events("a")[1])
  end)

  it("raises for unknown options", function()
    local t = load([[app:get("/option", function() app:publish("a", "x", {}, { id = 1 }) end)]])
    t:get("/option")
    assert.matches("app:publish%(%): unknown option 'id'", rehearsal.logged("error")[1])
  end)

  it("looks a channel up once", function()
    local t = load()
    local asked = 0
    local policy = t.server.policy
    t.server.policy = function(...) asked = asked + 1 return policy(...) end
    t:inside(function() for _ = 1, 100 do t.app:publish("a", "x", "y") end end)
    assert.equal(1, asked)
  end)

  it("forgets look-ups above 10,000 channels", function()
    local t = load()
    t:inside(function() for i = 1, 10100 do t.app:publish("c/" .. i, "x", "y") end end)
    assert.is_true(t.generation.how_count <= 10000)
  end)
end)

describe("an app", function()
  it("reads latest and history back as data", function()
    local t = load()
    t:inside(function()
      assert.is_nil(t.app:latest("a"))
      t.app:publish("a", "x", { n = 1 })
      local id = t.app:publish("a", "x", "text")
      assert.same({ "text", id }, { t.app:latest("a") })
      local list = t.app:history("a", { limit = 5 })
      assert.same({ n = 1 }, list[1].data)
      assert.equal("text", list[2].data)
      assert.same({}, t.app:history("none"))
      assert.same({ "a" }, t.app:channels("*"))
      assert.equal(0, t.app:stats("a").subscribers)
      assert.matches("limit is an integer", select(2, pcall(t.app.history, t.app, "a", { limit = 0.5 })))
      assert.matches("unknown option 'lmit'", select(2, pcall(t.app.history, t.app, "a", { lmit = 1 })))
    end)
  end)

  it("makes an answer of what publish returned", function()
    local t = load([[
      app:post("/ok", function() return sluice.receipt(app:publish("a", "x", {})) end)
      app:post("/bad", function() return sluice.receipt(app:publish("a b", "x", {})) end)]])
    assert.same({ 202, "e-1" }, { t:post("/ok").status, t:post("/ok").body:match('"id":"(.-)"') and "e-1" })
    assert.equal(400, t:post("/bad").status)
  end)
end)
