--- What an app's rules do, to the second: who may read, what a newcomer gets, what is refused,
--- hooks, timers, tasks, services, and what is closed when a client goes.
local kit = require("spec.support.kit")

local function names(events)
  local list = {}
  for i, e in ipairs(events) do list[i] = e.event end
  return list
end

describe("an app's streams", function()
  local t

  before_each(function()
    t = kit.start [[
      app:guard("/mine/**", function(req)
        if not req.query.user then return 401, "sign in" end
        req.user = { id = req.query.user }
        return true
      end)
      app:channel("user/:id", { history = 10, read = function(user, p) return user ~= nil and user.id == p.id end })
      app:channel("prices", { history = "latest", key = "symbol" })
      app:channel("log", { history = 5 })
      app:stream("/static", { channels = { "log", "prices" } })
      app:stream("/plan", function(req) return { channels = { "log" }, rewind = "all", heartbeat = 1 } end)
      app:stream("/mine/:id", "user/:id")
      app:stream("/teapot", function() return 403, "no" end)
      app:stream("/prices", { channels = { "prices" }, query = { keys = "symbols" } })
      app:post("/publish/*channel", function(req)
        local body = req:json()
        return sluice.receipt(app:publish(req.params.channel, body.event, body.data, body.options))
      end)
      app:get("/latest/*channel", function(req) return { (app:latest(req.params.channel)) } end)
      app:get("/history/*channel", function(req) return app:history(req.params.channel) end)]]
  end)
  after_each(kit.stop_all)

  it("give a newcomer what rewind says, and the newest of each key of a state", function()
    for n = 1, 7 do t:publish("log", "line", { n = n }) end
    t:publish("prices", "price", { symbol = "A", v = 1 })
    t:publish("prices", "price", { symbol = "A", v = 2 })
    t:publish("prices", "price", { symbol = "B", v = 3 })
    local lines = t:connect("/plan"):events("line")
    assert.same({ 5, 3, 7 }, { #lines, lines[1].data.n, lines[5].data.n })
    local c = t:connect("/static")
    assert.same({ "hello", "price", "price" }, names(c:events()))
    assert.equal(c:events()[1].id, c:events()[3].id) -- a state's event brings no id of its own
    assert.same({ 2, 3 }, { c:wait_for("price", 0).data.v, c:wait_for("price", 0).data.v })
    c = t:connect("/prices?symbols=B")
    assert.same({ 1, 3 }, { c:count("price"), c:wait_for("price", 0).data.v })
    t:publish("prices", "price", { symbol = "A", v = 4 })
    c:expect_none("price")
    assert.same({ symbol = "A", v = 4 }, t:get("/latest/prices").json[1])
    local rows = t:get("/history/log").json
    assert.same({ 5, 7 }, { #rows, rows[5].data.n })
  end)

  it("say once of a read rule that it answered what is not true", function()
    t = kit.start [[
      app:channel("a", { read = function() return { id = 1 } end })
      app:channel("b", { read = function() return nil end })
      app:stream("/a", "a")
      app:stream("/b", "b")]]
    for _ = 1, 3 do assert.same({ 403, 403 }, { t:connect("/a").status, t:connect("/b").status }) end
    assert.same({ "read rule of 'a' (app.lua:3) returned { id = 1 }, which means no: only true allows reading" },
      t:log("warn"))
  end)

  it("ask guards and read rules", function()
    assert.equal(401, t:connect("/mine/alice").status)
    assert.equal(403, t:connect("/mine/alice?user=bob").status)
    assert.equal(403, t:connect("/teapot").status)
    local c = t:connect("/mine/alice?user=alice")
    t:publish("user/bob", "note", { n = 0 })
    t:publish("user/alice", "note", { n = 1 })
    assert.equal(1, c:wait_for("note", 0).data.n)
    assert.equal(1, c:count("note"))
  end)

  it("lose what their reader may no longer read, and say so", function()
    t:stop()
    t = kit.start [[
      local members = app:state("members", { alice = true, bob = true })
      app:guard("/**", function(req) return req.user and true or 401 end)
      app:channel("doc", { read = function(user) return members()[user.id] == true end })
      app:stream("/doc", "doc")
      app:stream("/both", { channels = { "doc", "open" } })
      app:delete("/members/:id", function(req)
        members()[req.params.id] = nil
        return { app:recheck(req.params.id) }
      end)]]
    local doc, both, bob = t:connect("/doc", { user = "alice" }), t:connect("/both", { user = "alice" }),
      t:connect("/doc", { user = "bob" })
    assert.same({ 2 }, t:delete("/members/alice", { user = "bob" }).json)
    assert.equal("revoked", doc:wait_for("bye", 0).data.reason)
    assert.same({ "doc", "denied" }, { both:wait_for("reset", 0).data.channel, both:events("reset")[1].data.reason })
    t:publish("doc", "line", {})
    t:publish("open", "line", { open = true })
    assert.same({ 1, 1 }, { both:count("line"), bob:count("line") })
    assert.is_true(both:wait_for("line", 0).data.open)
    assert.same({ 403, 200 }, { doc:reconnect().status, t:connect("/doc", { user = "bob" }).status })
    t:state("members").bob = nil
    assert(t:reload()) -- asks again, too
    t:advance(2)
    assert.equal("revoked", bob:wait_for("bye", 0).data.reason)
  end)

  it("refuse what is no event", function()
    local function publish(channel, event, data)
      return t:post("/publish/" .. channel, { json = { event = event, data = data } }).status
    end
    assert.equal(400, publish("a%20b", "x", {}))
    assert.equal(422, publish("a", "hello", {}))
    assert.equal(422, publish("prices", "price", { v = 1 }))
    assert.equal(413, publish("a", "x", { text = ("x"):rep(65100) }))
    assert.equal(202, publish("a", "x", {}))
  end)
end)

describe("what an app does by itself", function()
  after_each(kit.stop_all)

  it("hooks: connect, subscribe, unsubscribe, disconnect, published, start, stop", function()
    local t = kit.start [[
      local function say(text) sluice.log.info(text) end
      app:stream("/m/:id", function(req) return "m/" .. req.params.id end)
      app:on("start", function() say("start") end)
      app:on("stop", function(reason) say("stop " .. reason) end)
      app:on("connect", function(c) say("connect " .. c.path .. " " .. c.ip) end)
      app:on("disconnect", function(c, reason) say("disconnect " .. c.path .. " " .. reason) end)
      app:on("subscribe", "m/:id", function(c, name, p) say("subscribe " .. name .. " " .. p.id) end)
      app:on("unsubscribe", "m/:id", function(c, name, p)
        say("unsubscribe " .. name)
        app:publish("m/all", "left", { id = p.id })
      end)
      app:on("published", "m/*", function(e) say("published " .. e.event .. " " .. tostring(e.data.id)) end)]]
    t:connect("/m/7"):close()
    t:stop()
    assert.same({ "start", "connect /m/7 127.0.0.1", "subscribe m/7 7", "unsubscribe m/7", "published left 7",
      "disconnect /m/7 gone", "stop exit" }, t:log())
  end)

  it("timers, tasks and services", function()
    local t = kit.start [[
      app:stream("/t", { channels = { "t" } })
      app:channel("t", { history = 100, rewind = "all" })
      app:every(0.05, function() app:publish("t", "every", { at = sluice.now() }) end)
      app:task("later", function(data) app:publish("t", "task", data) end)
      app:service("feed", function()
        app:publish("t", "service", {})
        app:after(0.1, "later", { n = 7 })
        sluice.sleep(60)
      end)]]
    local c = t:connect("/t")
    assert.equal(1, c:count("service"))
    assert.same({ n = 7 }, c:wait_for("task").data)
    assert.near(0.1, t:elapsed(), 1e-3)
    t:advance(60)
    assert.is_true(math.abs(c:count("every") - 1202) <= 1, c:count("every") .. " ticks in 60.1 s")
    local list = c:events("every")
    assert.near(0.05 * (#list - 1), list[#list].data.at - list[1].data.at, 0.01) -- no drift
    t:advance(2)
    assert.equal(2, c:count("service")) -- it returned, and came back
  end)

  it("measures once for all, at once for the first, never without a subscriber", function()
    local t = kit.start [[
      local n = app:state("n", { runs = 0 })
      app:channel("m", { history = "latest" })
      app:stream("/m", "m")
      app:every(30, { while_subscribed = "m" }, function()
        n().runs = n().runs + 1
        app:publish("m", "figures", { runs = n().runs })
      end)]]
    t:advance(3600)
    assert.equal(0, t:state("n").runs)
    local a, b = t:connect("/m"), t:connect("/m")
    assert.same({ 1, 1 }, { a:wait_for("figures", 0).data.runs, b:wait_for("figures", 0).data.runs })
    t:advance(30)
    assert.same({ 2, 2, 2 }, { t:state("n").runs, a:count("figures"), b:count("figures") })
    a:close()
    b:close()
    t:advance(3600)
    assert.equal(2, t:state("n").runs)
  end)

  it("runs <close> variables of a stream's coroutine when its client goes", function()
    local t = kit.start [[
      app:stream("/w", function(req, client)
        local _ <close> = setmetatable({}, { __close = function() sluice.log.info("CLOSED") end })
        while true do client:send("tick", {}) sluice.sleep(0.02) end
      end)]]
    local c = t:connect("/w")
    c:wait_for("tick")
    assert.same({}, t:log())
    c:close()
    assert.same({ "CLOSED" }, t:log())
  end)
end)

describe("the answer of a refused publish", function()
  after_each(kit.stop_all)

  it("names the field that is missing or wrong", function()
    local t = kit.start [[
      app:channel("keyed", { history = "latest", key = "symbol" })
      app:event_type("order", { fields = { id = "string" } })
      app:post("/orders", function(req) return sluice.receipt(app:publish("orders", "order", req:json())) end)
      app:post("/plain", function(req) return app:publish("orders", "order", req:json()) end)
      app:post("/keyed", function(req) return sluice.receipt(app:publish("keyed", "price", req:json())) end)]]
    for path, wanted in pairs { ["/orders"] = { "EBADFIELD", "id" }, ["/plain"] = { "EBADFIELD", "id" },
      ["/keyed"] = { "EKEY", "symbol" } } do
      local response = t:post(path, { json = { id = 5 } })
      assert.same({ 422, wanted[1], wanted[2] }, { response.status, response.json.error.code,
        response.json.error.field }, path)
    end
  end)
end)
