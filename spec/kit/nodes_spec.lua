--- Several nodes in a test: each its own server, one clock, one simulated Redis with faults (doc/testing.md).
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("nodes of a test", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  app:channel("news", { history = 100 })
  app:channel("price", { history = "latest", key = "k" })
  app:channel("calm", { history = "latest", key = "k" })
  app:channel("board", { history = 50, key = "k", rewind = "latest" })
  app:stream("/s", { channels = { "news", "price" } })
  app:stream("/all", { channels = { "news", "price", "calm", "board" } })
  local seen = app:state("seen", { n = 0 })
  app:post("/news", function(req)
    seen().n = seen().n + 1
    sluice.log.info("a post")
    return sluice.receipt(app:publish("news", "story", req:json()))
  end)
  app:post("/price", function(req) return sluice.receipt(app:publish("price", "p", req:json())) end)
  app:post("/burst", function()
    for n = 1, 100 do app:publish("news", "story", { n = n }, { wait = false }) end
    return {}
  end)
  app:get("/seen", function() return seen() end)]]

local t

local function start(n, options)
  options = options or {}
  options.nodes = n
  t = testing.start({ source = kit.source(SOURCE) }, options)
end

local function post(n, number) return t:node(n):post("/news", { json = { n = number } }) end

local function numbers(c)
  local list = {}
  for i, e in ipairs(c:events("story")) do list[i] = e.data.n end
  return list
end

local function raises(message, fn, ...)
  local ok, problem = pcall(fn, ...)
  assert.is_false(ok)
  problem = type(problem) == "table" and problem.message or problem
  assert.truthy(problem:find(message, 1, true), problem)
end

describe("nodes of a test", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, durable in ipairs { "true", "false" } do
    it("read anew what nobody has followed for long, durable = " .. durable, function()
      t = testing.start({ source = kit.source(([[
        app:channel("kept/:id", { history = 10, key = "id", rewind = "latest", ttl = false, durable = %s })
        app:post("/set/:n", function(req) app:publish("kept/a", "v", { id = "x", n = req.params.n }) return 204 end)
        app:get("/n", function() return { n = (app:latest("kept/a", "x") or {}).n } end)]]):format(durable)) },
        { nodes = 2 })
      t:advance(1)
      t:node(1):post("/set/1")
      assert.equal("1", t:node(2):get("/n").json.n)
      t:advance(1300) -- more than any ttl
      t:node(1):post("/set/2")
      for n = 1, 2 do assert.equal("2", t:node(n):get("/n").json.n) end
    end)
  end

  it("share what they publish, with the same ids, and nothing else", function()
    start(3)
    local a, b = t:connect("/s"), t:node(3):connect("/s")
    local receipt = post(2, 7)
    local e, f = a:wait_for("story"), b:wait_for("story")
    assert.equal(202, receipt.status)
    assert.equal(receipt.json.id, e.id)
    assert.equal(e.id, f.id)
    assert.equal(0, t:get("/seen").json.n)
    assert.equal(1, t:node(2):get("/seen").json.n)
    assert.equal(1, t:node(2):state("seen").n)
    assert.equal(0, t:elapsed())
  end)

  it("publish for a test", function()
    start(2)
    local c = t:connect("/s")
    local id, subscribers = t:node(2):publish("news", "story", { n = 1 })
    assert.equal(id, c:wait_for("story").id)
    assert.equal(0, subscribers) -- of that node
    assert.equal(1, select(2, t:publish("news", "story", { n = 2 })))
  end)

  it("have logs of their own", function()
    start(2)
    post(2, 1)
    assert.equal("a post", t:node(2):log("info")[2])
    for _, node in ipairs { t, t:node(1) } do
      assert.equal(1, #node:log("info"))
      assert.truthy(node:log("info")[1]:find("^cluster: live"))
    end
  end)

  it("take a client that hops, which gets each event once", function()
    start(2)
    local c = t:connect("/s")
    for n = 1, 3 do post(1, n) end
    c:drop()
    for n = 4, 6 do post(2, n) end
    local d = c:hop(2)
    assert.is_true(d.hello.resumed)
    assert.same({ 4, 5, 6 }, numbers(d))
    assert.same({ 7 }, { post(1, 7) and d:wait_for("story", 5, { n = 7 }).data.n })
    assert.equal(0, d:count("reset"))
  end)

  it("die and come back, while others go on", function()
    start(3)
    local c = t:node(2):connect("/s")
    post(2, 1)
    t:node(2):crash()
    raises("since it was killed", t.node(t, 2).get, t:node(2), "/seen")
    post(3, 2)
    t:advance(5)
    c = c:hop(1)
    assert.same({ 2 }, numbers(c))
    t:node(2):restart()
    assert.equal(0, t:node(2):get("/seen").json.n)
    assert.equal(202, post(2, 3).status)
    c:wait_for("story", 5, { n = 3 })
    t:node(1):stop()
    t:advance(1)
    c = c:hop(3)
    post(2, 4)
    c:wait_for("story", 5, { n = 4 })
    assert.equal(0, c:count("reset"))
  end)

  it("stand still while their process does", function()
    start(2)
    local c = t:node(2):connect("/s")
    t:node(2):freeze(30)
    post(1, 1)
    c:expect_none("story", 29)
    c:wait_for("story", 5, { n = 1 })
    c:expect_none("reset", 5)
  end)

  it("are frozen where they are cut off, and go on exactly", function()
    start(2)
    local c = t:connect("/s")
    t:partition(1)
    for n = 1, 3 do post(2, n) end
    c:expect_none("story", 20)
    assert.equal(503, post(1, 4).status)
    t:heal()
    t:advance(5)
    assert.same({ 1, 2, 3 }, numbers(c))
    assert.equal(0, c:count("reset"))
  end)

  it("tell of what Redis has lost, and of nothing else", function()
    start(2)
    local c, d = t:connect("/s"), t:node(2):connect("/s")
    for n = 1, 3 do post(1, n) end
    t:redis { restart = 2, lose = 2 }
    for _, one in ipairs { c, d } do
      one:wait_for("reset", 10, { channel = "news", reason = "failover" })
      post(2, 4)
      one:wait_for("story", 5, { n = 4 })
    end
    c:drop()
    t:redis { promote = true }
    t:advance(5)
    local back = c:hop(2)
    back:wait_for("reset", 5, { channel = "news", reason = "failover" })
    back:expect_none("story")
  end)

  it("tell once of what is lost, and of a state when it has gone back", function()
    start(3)
    local streams, values = {}, {}
    for n = 1, 3 do streams[n] = t:node(n):connect("/all") end
    t:publish("calm", "e", { k = "a", n = 9 })
    for n = 1, 4 do
      for _, channel in ipairs { "news", "price", "board" } do
        t:node(n % 3 + 1):publish(channel, channel, { k = "a" .. n % 2, n = n })
      end
    end
    t:advance(3)
    t:redis { restart = 2, lose = 3 }
    t:advance(10)
    for _, c in ipairs(streams) do
      local told = {}
      for i, e in ipairs(c:events("reset")) do told[i] = e.data.channel .. " " .. e.data.reason end
      table.sort(told)
      assert.same({ "board failover", "news failover", "price failover" }, told)
      for _, name in ipairs { "price", "board" } do
        for _, e in ipairs(c:events(name)) do values[e.data.k] = e.data.n end
        assert.same({ a0 = 2, a1 = 3 }, values)
      end
    end
  end)

  it("tell of nothing when Redis writes each event to its disk first", function()
    start(2)
    t:redis { fsync = "always" }
    t:advance(11)
    local c = t:connect("/s")
    post(2, 1)
    t:redis { restart = 3 }
    post(2, 2)
    c:wait_for("story", 10, { n = 2 })
    assert.equal(0, c:count("reset"))
    raises("a restart loses nothing", t.redis, t, { restart = true, lose = 1 })
  end)

  it("are told of what an isolated Redis has acknowledged, when it is healed", function()
    start(2)
    local c, d = t:connect("/s"), t:node(2):connect("/s")
    post(1, 1)
    t:redis { promote = true, isolated = { 2 } }
    t:advance(3)
    assert.equal(202, post(2, 2).status) -- by the old one
    assert.equal(202, post(1, 3).status)
    assert.same({ { 1, 3 }, { 1, 2 } }, { numbers(c), numbers(d) })
    assert.equal(0, d:count("reset"))
    t:heal()
    d:wait_for("reset", 10, { channel = "news", reason = "failover" })
    d:wait_for("story", 5, { n = 3 })
    c:wait_for("reset", 5)
    c:wait_for("reset", 5)
    c:expect_none("reset", 5)
    assert.same({ { 1, 3 }, 2 }, { numbers(c), c:count("reset") }) -- of the promotion, and of what it never saw
    raises("write promote = true", t.redis, t, { restart = true, isolated = { 2 } })
  end)

  it("wait for a Redis that does not answer, and store once what they said", function()
    start(2)
    local c = t:connect("/s")
    t:redis { pause = 4 }
    assert.equal(202, post(2, 1).status)
    t:advance(10)
    assert.same({ 1 }, numbers(c))
  end)

  it("are refused by a Redis without memory", function()
    start(2)
    t:redis { full = true }
    local answer = post(2, 1)
    assert.same({ 503, "EFULL" }, { answer.status, answer.json.error.code })
    t:redis { full = false }
    assert.equal(202, post(2, 1).status)
  end)

  it("are told to the log when nobody waits for them, without flooding it", function()
    start(2)
    t:redis { full = true }
    assert.equal(200, t:node(1):post("/burst").status)
    t:advance(1.5)
    assert.equal(200, t:node(1):post("/burst").status)
    t:advance(0.1)
    local lines, more = 0, 0
    for _, line in ipairs(t:log("error")) do
      if line:find("an event of channel 'news' was not stored: ", 1, true) then lines = lines + 1 end
      more = more + (tonumber(line:match("(%d+) more were not stored")) or 0)
    end
    assert.same({ 20, 90 }, { lines, more })
  end)

  it("have the latency that one gives", function()
    start(2)
    t:redis { latency = 0.25 }
    local c, began = t:connect("/s"), t:elapsed()
    post(2, 1)
    assert.is_true(t:elapsed() - began >= 0.25)
    c:wait_for("story")
  end)

  it("agree on a state", function()
    start(2)
    local c = t:connect("/s")
    for n = 1, 4 do t:node(n % 2 + 1):post("/price", { json = { k = "x", n = n } }) end
    c:wait_for("p", 1, { n = 4 })
    assert.equal(4, t:node(2):connect("/s"):wait_for("p", 1).data.n)
  end)

  it("reload by themselves", function()
    start(2)
    assert.is_true((t:node(2):reload(kit.source('app:get("/seen", function() return { n = -1 } end)'))))
    assert.equal(0, t:get("/seen").json.n)
    assert.equal(-1, t:node(2):get("/seen").json.n)
  end)

  it("keep what is durable, where Redis does", function()
    t = testing.start({ source = kit.source([[
      app:channel("d", { durable = true })
      app:post("/d", function()
        local id, message, code = app:publish("d", "x", 1)
        if not id then return nil, message, code end
        return { id = id }
      end)]]) }, { nodes = 2 })
    assert.equal(200, t:post("/d").status)
    t:redis { restart = true }
    assert.equal(200, t:node(2):post("/d").status)
    t:redis { fsync = "everysec" }
    t:advance(2)
    local r = t:post("/d")
    assert.same({ 503, "ESTORE" }, { r.status, r.json.error.code })
    t:redis { fsync = "always" }
    t:advance(2)
    assert.equal(200, t:post("/d").status)
  end)

  it("say which mistake a test makes", function()
    start(2)
    raises("no node of a cluster has a disk", t.disk, t, { full = true })
    raises("there is no node 3 (nodes: 1 to 2)", t.node, t, 3)
    raises("the numbers of nodes", t.partition, t)
    raises("write restart = true", t.redis, t, { lose = 1 })
    raises("lose = 1, and there are 0 that can be lost", t.redis, t, { restart = true, lose = 1 })
    raises("pause is true, false or a number of seconds, not", t.redis, t, { pause = "x" })
    raises("did you mean", t.redis, t, { restrat = true })
    local alone = kit.start("")
    raises("needs a cluster: testing.start(app, { nodes = 2 })", alone.redis, alone, {})
    raises("t:kill() starts it again", alone.crash, alone)
    kit.stop_all()
    raises("nodes is a whole number from 1 to 16", testing.start, { source = "" }, { nodes = 0 })
    raises("each node loads the app", testing.start, require("sluice").app(), { nodes = 2 })
    raises("needs the app in this process", testing.start, { source = "" }, { nodes = 2, sockets = true })
  end)
end)
