--- publish(…, { idempotency = key }) on durable channels: the same key on the same channel within 24 hours answers
--- the first id, whatever happened in between.
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log/*", { history = 100, durable = true })
app:channel("state", { history = "latest", durable = true })
app:channel("alerts", { history = 100, key = "n", rewind = "latest", durable = true })
app:channel("memory", { history = 100 })
app:stream("/log", "log/a")
local seen = app:state("seen", { hooks = 0 })
app:on("published", "log/a", function() seen().hooks = seen().hooks + 1 end)
app:post("/order/*channel", function(req)
  local b = req:json()
  return sluice.receipt(app:publish(req.params.channel, "e", { n = b.n }, { idempotency = b.key }))
end)
app:post("/both", function(req)
  local out = {}
  for i = 1, 2 do
    app:spawn(function()
      local id, message, again = app:publish("log/a", "e", { n = i }, { idempotency = "both" })
      out[i] = id and { id = id, again = again } or { code = again }
    end)
  end
  sluice.sleep(req:json().seconds)
  return out
end)
app:get("/history", function() return app:history("log/a", { limit = 100 }) end)
return app
]]

describe("an idempotency key of a durable channel", function()
  local t
  before_each(function() t = testing.start { source = APP } end)
  after_each(function() t:stop() end)

  local function order(key, n, channel)
    return t:post("/order/" .. (channel or "log/a"), { json = { key = key, n = n or 1 } })
  end
  local function stored() return #t:get("/history").json end

  it("answers the first id for a day, over kills and restarts, and publishes once", function()
    local first = order("k").json
    assert.same({ 202, false }, { order("other").status, first.duplicate })
    for _, how in ipairs({ "settle", "kill", "restart", "cut" }) do
      t[how](t)
      t:advance(3600)
      local again = order("k", 2)
      assert.same({ 202, first.id, true }, { again.status, again.json.id, again.json.duplicate }, how)
    end
    assert.equal(2, stored())
    assert.are_not.equal(first.id, order("k", 1, "log/b").json.id)
    t:advance(86400)
    local new = order("k").json
    assert.is_false(new.duplicate)
    assert.are_not.equal(first.id, new.id)
  end)

  it("holds while the first is still queued", function()
    for _, seconds in ipairs({ 0.002, 1 }) do
      t:disk { commit = seconds }
      local out = t:post("/both", { json = { seconds = 3 } }).json
      assert.equal(out[1].id, out[2].id)
      t:disk { commit = 0.002 }
    end
    assert.equal(1, stored())
  end)

  it("is free again when the first was refused", function()
    order("warm")
    t:disk { full = true }
    assert.equal("ESTORE", order("k", ("x"):rep(30000)).json.error.code)
    t:disk { full = false }
    assert.is_false(order("k").json.duplicate)
    assert.is_true(order("k").json.duplicate)
  end)

  it("is known when the first was answered ETIMEOUT and is stored after all, and its hooks ran", function()
    t:disk { commit = 8 }
    assert.equal("ETIMEOUT", order("k").json.error.code)
    assert.equal(0, t:state("seen").hooks)
    t:advance(5)
    t:disk { commit = 0.002 }
    assert.equal(1, t:state("seen").hooks)
    assert.is_true(order("k").json.duplicate)
    t:kill()
    assert.is_true(order("k").json.duplicate)
    assert.equal(1, stored())
  end)

  local function without() return (APP:gsub(", durable = true", "")) end

  it("is known when a reload takes its channel out of the store, and puts it back", function()
    local first = order("k").json
    assert.is_true(t:reload(without()))
    assert.same({ first.id, true }, { order("k").json.id, order("k").json.duplicate })
    local second = order("k2").json
    assert.is_false(second.duplicate)
    assert.is_true(t:reload(APP))
    assert.same({ second.id, true }, { order("k2").json.id, order("k2").json.duplicate })
  end)

  it("holds for what is queued behind such a reload", function()
    order("before")
    t:disk { commit = 0.5 }
    local done = {}
    local app = t.place.runtime.generation.app
    local function publish(key, n, update)
      done[#done + 1] = t.place:run("publish", app.publish, app, update and "alerts" or "log/a", "e", { n = n },
        { idempotency = key, update = update })
    end
    publish("first", 1)
    t.place.texts["app.lua"] = without()
    t.place.runtime.reloader:request("reload", function(outcome) done.outcome = outcome end)
    t.place.runtime:turn()
    t:settle()
    for _, key in ipairs({ "before", "first", "new", "new" }) do publish(key, 2) end
    publish(nil, 3, true) -- there is no 3 to update
    t:wait(10, function() return done.outcome and done[6]() end)
    assert.is_true(done.outcome.ok)
    local answers = {}
    for i, results in ipairs(done) do answers[i] = results()[4] end
    assert.same({ false, true, true, false, true, "ENOTFOUND" }, answers)
    t:disk { commit = 0.002 }
    assert.equal(done[4]()[2], done[5]()[2])
  end)

  it("of a state has no id, and is known", function()
    local first = order("k", 1, "state")
    assert.same({ 202, false }, { first.status, first.json.duplicate })
    t:kill()
    assert.is_true(order("k", 2, "state").json.duplicate)
  end)

  it("is one of a channel in memory, until that is over", function()
    local first = order("k", 1, "memory").json
    assert.same({ id = first.id, duplicate = true, subscribers = 0 }, order("k", 2, "memory").json)
    t:kill()
    assert.is_false(order("k", 1, "memory").json.duplicate)
  end)
end)
