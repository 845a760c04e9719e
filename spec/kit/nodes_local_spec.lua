--- Channels of one node, shared = false: what they are to clients, publishers and reloads, alone and among nodes.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local SOURCE = [[
  app:channel("news", { history = 100 })
  app:channel("price", { history = "latest", key = "k" })
  app:channel("load", { history = "latest", key = "k", shared = false })
  app:channel("calm", { history = "latest", key = "k", shared = false, max_rate = 1 })
  app:channel("blip", { history = 0, shared = false })
  app:channel("pip", { history = 0, shared = false, batch = 0.5 })
  app:channel("heard", { history = 0, shared = false })
  local heard = app:state("heard", { list = {} })
  app:on("heard", "heard", function(event) table.insert(heard().list, event.data.n) end)
  app:get("/heard", function() return heard().list end)
  app:stream("/all", { channels = { "news", "price", "load", "blip" } })
  app:stream("/own", { channels = { "load", "blip" } })
  app:stream("/calm", "calm")
  app:stream("/pip", "pip")
  local function publish(to, req, opts) return sluice.receipt(app:publish(to, to, req:json(), opts)) end
  app:post("/p/:channel", function(req) return publish(req.params.channel, req) end)
  app:post("/once/:channel", function(req) return publish(req.params.channel, req, { idempotency = "k1" }) end)
  app:post("/lease/:channel", function(req) return publish(req.params.channel, req, { lease = true }) end)
  app:post("/update/:channel", function(req) return publish(req.params.channel, req, { update = true }) end)
  app:delete("/load/:key", function(req) return sluice.receipt(app:remove("load", req.params.key)) end)
  app:get("/load/:key", function(req) return { value = app:latest("load", req.params.key) } end)
  app:get("/newest", function() return app:newest("load") end)
  app:get("/history", function() return app:history("blip") end)
  app:get("/stats", function() return app:stats("load") end)
  app:post("/mixed", function()
    for n = 1, 3 do
      app:publish("blip", "blip", { n = n })
      app:publish("load", "load", { k = "a", n = n })
    end
    return {}
  end)
  app:post("/word/:id", function(req)
    app:publish("load", "load", { k = "a", n = 1 })
    app:send(req.params.id, "word", { n = 2 })
    app:publish("load", "load", { k = "b", n = 3 })
    return {}
  end)]]

local has_nodes = require("sluice.core").build().libraries.hiredis
local t

local function start(n) t = testing.start({ source = kit.source(SOURCE) }, { nodes = n }) end

local function post(n, channel, data) return (n and t:node(n) or t):post("/p/" .. channel, { json = data }) end

local function values(c, name)
  local list = {}
  for i, e in ipairs(c:events(name)) do list[i] = e.data.n end
  return list
end

local function loads(source)
  local ok, problem = pcall(function() testing.start({ source = kit.source(source) }):stop() end)
  return ok, type(problem) == "table" and problem.message or problem
end

-- ---- Alone, and as the only node ------------------------------------------------------------------

--- What an app sees is the same without a cluster.
local function behave(nodes)
  before_each(function() start(nodes) end)
  after_each(function() t:stop() end)

  it("give their events no id", function()
    local c = t:connect("/all")
    post(nil, "news", { n = 1 })
    local shared = c:wait_for("news").id
    assert.equal(13, #shared:match("^(%w+)%-%d+$"))
    local receipt = post(nil, "blip", { n = 2 })
    assert.equal(202, receipt.status)
    assert.is_nil(receipt.json.id)
    assert.equal(1, receipt.json.subscribers)
    assert.equal(shared, c:wait_for("blip").id) -- as in a browser: the one that came last
    post(nil, "load", { k = "a", n = 3 })
    assert.equal(shared, c:wait_for("load").id)
  end)

  it("keep the order in which they were published, and a message its place among them", function()
    local c = t:connect("/own")
    t:post("/mixed")
    assert.same({ 1, 2, 3 }, values(c, "blip"))
    assert.equal(3, c:wait_for("load", 5, { n = 3 }).data.n)
    t:post("/word/" .. c.id)
    local order = {}
    for _, e in ipairs(c:events()) do
      if e.event == "word" or e.event == "load" then order[#order + 1] = e.event .. e.data.n end
    end
    assert.equal("load1 word2 load3", table.concat(order, " ", #order - 2))
  end)

  it("give all values to whoever comes, also with an id, and never a reset", function()
    post(nil, "load", { k = "a", n = 1 })
    local c = t:connect("/all")
    assert.equal(1, c:wait_for("load").data.n)
    post(nil, "news", { n = 2 })
    c:wait_for("news")
    c:drop()
    post(nil, "load", { k = "a", n = 3 })
    post(nil, "load", { k = "b", n = 4 })
    post(nil, "blip", { n = 5 })
    post(nil, "news", { n = 6 })
    local d = c:reconnect()
    assert.is_true(d.hello.resumed)
    assert.same({ 3, 4 }, values(d, "load"))
    assert.same({ 6 }, values(d, "news"))
    assert.same({}, values(d, "blip"))
    assert.equal(0, d:count("reset"))
  end)

  it("are read by an app, and lose what is removed", function()
    post(nil, "load", { k = "a", n = 1 })
    post(nil, "load", { k = "b", n = 2 })
    local c = t:connect("/own")
    assert.equal(1, t:get("/load/a").json.value.n)
    assert.equal(2, #t:get("/newest").json)
    assert.same({}, t:get("/history").json)
    assert.equal(1, t:get("/stats").json.subscribers)
    t:delete("/load/a")
    assert.equal("a", c:wait_for("removed").data.key)
    assert.is_nil(t:get("/load/a").json.value)
    assert.same({ 2 }, values(t:connect("/own"), "load"))
    assert.equal(404, t:post("/update/load", { json = { k = "a", n = 3 } }).status)
    assert.equal(202, t:post("/update/load", { json = { k = "b", n = 4 } }).status)
  end)

  it("have rates and batches", function()
    local c, d = t:connect("/calm"), t:connect("/pip")
    t:advance(2)
    for n = 1, 5 do
      post(nil, "calm", { k = "a", n = n })
      post(nil, "pip", { n = n })
    end
    t:advance(2)
    local last = values(c, "calm")
    assert.is_true(#last < 5)
    assert.equal(5, last[#last])
    assert.same({ 1, 2, 3, 4, 5 }, values(d, "pip"))
  end)

  it("are heard where they are published to", function()
    post(nil, "heard", { n = 1 })
    post(nil, "heard", { n = 2 })
    assert.same({ 1, 2 }, t:get("/heard").json)
  end)

  it("reach clients that poll, each once", function()
    local c = t:connect("/own", { mode = "poll" })
    for n = 1, 4 do
      post(nil, "blip", { n = n })
      post(nil, "load", { k = "a", n = n })
      assert.equal(n, c:wait_for("load", 5, { n = n }).data.n)
    end
    assert.same({ 1, 2, 3, 4 }, values(c, "blip"))
    assert.same({ 1, 2, 3, 4 }, values(c, "load"))
    assert.equal(0, c:count("reset"))
  end)

  it("take no idempotency key and no lease", function()
    local answer = t:post("/once/load", { json = { k = "a" } })
    assert.equal("EINVAL", answer.json.error.code)
    assert.truthy(answer.json.error.message:find("idempotency needs a shared channel", 1, true))
    answer = t:post("/lease/load", { json = { k = "a" } })
    assert.equal("EINVAL", answer.json.error.code)
    assert.truthy(answer.json.error.message:find("leave lease = true out", 1, true))
    assert.is_nil(t:get("/load/a").json.value)
  end)
end

describe("channels of one node, without a cluster,", function() behave(nil) end)
if has_nodes then describe("channels of one node, as the only one,", function() behave(1) end) end

-- ---- Declaring ------------------------------------------------------------------------------------

describe("shared = false", function()
  local function refused(source, words)
    local ok, message = loads(source)
    assert.is_false(ok, source)
    assert.truthy(message:find(words, 1, true), message)
    assert.truthy(message:find("channel 'a/:x'", 1, true), message)
  end

  it("is not for what has ids, and says where and what to do", function()
    local needs = "does not go with shared = false"
    refused('app:channel("a/:x", { shared = false })', "'a/~' is a log with a history of 100 events, which " .. needs)
    refused('app:channel("a/:x", { history = 5, shared = false })', "history = 5 " .. needs)
    refused('app:channel("a/:x", { history = { count = 0 }, shared = false })', needs)
    refused('app:channel("a/:x", { history = "latest", durable = true, shared = false })',
      "durable = true " .. needs .. ": a channel of one node is in its memory only")
    refused('app:channel("a/:x", { history = 0, rewind = 1, shared = false })', "rewind " .. needs)
    refused('app:channel("a/:x", { history = 0, ttl = 1, shared = false })', "ttl has no use")
    refused('app:channel("a/:x", { history = 0, shared = 1 })', "shared is true or false")
    refused([[app:channel("a/**", { durable = true, history = "latest" })
      app:channel("a/:x", { shared = false })]], "is durable, because of 'a/**' (app.lua:3), which " .. needs .. ": ")
    refused([[app:channel("a/:x", { history = 0, shared = false })
      app:channel("a/b", { history = 9 })]], "'a/b' is a log with a history of 9 events, because of 'a/b'")
    refused([[app:channel("a/:x", { history = "latest", shared = false })
      app:channel("a/b", { history = 9, key = "k", rewind = "latest" })]], "'a/b' is a keyed log, because of 'a/b'")
  end)

  it("is what patterns come to", function()
    assert.is_true(loads [[app:channel("a/**", { history = "latest" }) app:channel("a/:x", { shared = false })]])
    assert.is_true(loads [[app:channel("a/:x", { history = 0, shared = false })
      app:channel("a/b", { history = 9, shared = true })]])
    assert.is_true(loads [[app:channel("a/:x", { history = "latest", ttl = 5, max_rate = 1, shared = false })]])
  end)
end)

-- ---- Reloading ------------------------------------------------------------------------------------

local function with(news, price, load, blip)
  local source = SOURCE
  local function put(name, policy)
    local n
    source, n = source:gsub('app:channel%("' .. name .. '", %b{}%)', policy and
      ('app:channel("%s", %s)'):format(name, policy) or "%0")
    assert(n == 1)
  end
  put("news", news)
  put("price", price)
  put("load", load)
  put("blip", blip)
  return kit.source(source)
end

local LOCAL = '{ history = "latest", key = "k", shared = false }'
local SHARED = '{ history = "latest", key = "k" }'

local function reload(nodes)
  before_each(function() start(nodes) end)
  after_each(function() t:stop() end)

  local function all(source)
    for n = 1, nodes or 1 do
      local ok, message = (nodes and t:node(n) or t):reload(source)
      assert.is_true(ok, message)
    end
  end

  it("a state that becomes one of this node is told to be emptied", function()
    post(nil, "price", { k = "a", n = 1 })
    local c = t:connect("/all")
    assert.equal(1, c:wait_for("price").data.n)
    all(with(nil, LOCAL))
    assert.equal("price", c:wait_for("reset").data.channel)
    assert.equal("trimmed", c:events("reset")[1].data.reason)
    assert.equal(json.null, c:events("reset")[1].data.oldest)
    post(nil, "price", { k = "b", n = 2 })
    c:wait_for("price", 5, { n = 2 })
    local d = t:connect("/all")
    assert.same({ 2 }, values(d, "price"))
    assert.equal(1, c:count("reset"))
  end)

  it("a log that becomes one of this node has lost its history, and no reader of now misses anything", function()
    post(nil, "news", { n = 1 })
    local c, away = t:connect("/all"), t:connect("/all")
    post(nil, "news", { n = 2 })
    away:wait_for("news", 5, { n = 2 })
    away:drop()
    post(nil, "news", { n = 3 })
    c:wait_for("news", 5, { n = 3 })
    all(with("{ history = 0, shared = false }"))
    post(nil, "news", { n = 4 })
    assert.equal(c:events("news")[2].id, c:wait_for("news", 5, { n = 4 }).id)
    assert.equal(0, c:count("reset"))
    all(with())
    post(nil, "news", { n = 5 })
    assert.not_equal(c:events("news")[2].id, c:wait_for("news", 5, { n = 5 }).id)
    assert.equal(0, c:count("reset"))
    local d = away:reconnect()
    d:wait_for("news", 5, { n = 5 })
    if nodes then -- Redis has kept what was of all nodes
      assert.same({ 3, 5 }, values(d, "news"))
      assert.equal(0, d:count("reset"))
    else
      assert.equal("trimmed", d:events("reset")[1].data.reason)
      assert.same({ 5 }, values(d, "news"))
    end
  end)

  it("a state that becomes one of all", function()
    post(nil, "load", { k = "a", n = 1 })
    local c = t:connect("/all")
    c:wait_for("load")
    all(with(nil, nil, SHARED))
    assert.equal("load", c:wait_for("reset").data.channel)
    post(nodes, "load", { k = "b", n = 2 })
    c:wait_for("load", 5, { n = 2 })
    local d = t:connect("/all")
    d:wait_for("load")
    assert.same({ 2 }, values(d, "load"))
    assert.equal(1, c:count("reset"))
    all(with())
    c:wait_for("reset")
    post(nil, "load", { k = "a", n = 3 })
    assert.same({ 3 }, values(t:connect("/own"), "load"))
  end)

  it("that is refused changes nothing", function()
    post(nil, "load", { k = "a", n = 1 })
    local c = t:connect("/all")
    c:wait_for("load")
    local ok, message = t:reload(with(nil, nil, "{ history = 5, shared = false }"))
    assert.is_nil(ok)
    message = type(message) == "table" and message.message or message
    assert.truthy(message:find("history = 5 does not go with shared = false", 1, true), message)
    post(nil, "load", { k = "a", n = 2 })
    c:wait_for("load", 5, { n = 2 })
    assert.equal(0, c:count("reset"))
  end)
end

describe("a reload of what is shared, without a cluster:", function() reload(nil) end)
if not has_nodes then return end
describe("a reload of what is shared, on two nodes:", function() reload(2) end)

-- ---- Among nodes ----------------------------------------------------------------------------------

describe("channels of one node, among others,", function()
  before_each(function() start(3) end)
  after_each(function() t:stop() end)

  it("are seen there alone", function()
    local here, there = t:connect("/all"), t:node(2):connect("/all")
    post(2, "load", { k = "a", n = 2 })
    post(2, "blip", { n = 3 })
    assert.equal(2, there:wait_for("load").data.n)
    assert.equal(3, there:wait_for("blip").data.n)
    post(1, "news", { n = 4 })
    here:wait_for("news")
    there:wait_for("news")
    assert.equal(0, here:count("load") + here:count("blip"))
    assert.equal(2, t:node(2):get("/load/a").json.value.n)
    assert.is_nil(t:node(3):get("/load/a").json.value)
    assert.equal(0, t:elapsed())
  end)

  it("give a client that hops the values of the node where it is", function()
    for n = 1, 3 do post(n, "load", { k = "a", n = n }) end
    local c = t:connect("/all")
    assert.same({ 1 }, values(c, "load"))
    post(1, "news", { n = 7 })
    c:wait_for("news")
    for n = 2, 3 do
      c:drop()
      post(1, "news", { n = 10 + n })
      c = c:hop(n)
      c:wait_for("news")
      assert.is_true(c.hello.resumed)
      assert.same({ n }, values(c, "load"))
      assert.same({ 10 + n }, values(c, "news"))
      assert.equal(0, c:count("reset"))
    end
  end)

  it("that a timer of the leader publishes to are named in the log", function()
    t:stop()
    t = testing.start({ source = kit.source [[
      app:channel("own", { history = 0, shared = false })
      app:channel("mine", { history = 0, shared = false })
      app:every(1, function() app:publish("own", "x", {}) end)
      app:every(1, { per = "node" }, function() app:publish("mine", "x", {}) end)]] }, { nodes = 2 })
    t:advance(12)
    local said = {}
    for n = 1, 2 do
      for _, line in ipairs(t:node(n):log("warn")) do
        said[#said + 1] = line:match("^channel '(%w+)' is of this node alone .*give its timer .* per = \"node\"$")
      end
    end
    assert.same({ "own" }, said)
  end)

  it("go on while Redis is away", function()
    local c = t:connect("/all")
    post(1, "load", { k = "a", n = 1 })
    c:wait_for("load")
    t:partition(1)
    t:advance(8)
    assert.equal(503, post(1, "news", { n = 1 }).status)
    local before = t:elapsed()
    assert.equal(202, post(1, "load", { k = "a", n = 2 }).status)
    assert.equal(202, post(1, "blip", { n = 3 }).status)
    assert.equal(before, t:elapsed())
    c:wait_for("load", 5, { n = 2 })
    c:wait_for("blip")
    local d = t:connect("/own")
    assert.same({ 2 }, values(d, "load"))
    assert.equal(2, t:get("/load/a").json.value.n)
    t:heal()
    t:advance(8)
    post(2, "news", { n = 4 })
    c:wait_for("news", 10, { n = 4 })
    assert.equal(0, c:count("reset"))
    assert.equal(2, c:count("load"))
  end)

  it("are not touched when Redis has lost something", function()
    local c = t:connect("/all")
    post(1, "load", { k = "a", n = 1 })
    post(1, "news", { n = 2 })
    c:wait_for("news")
    t:redis { lose = 1, restart = true }
    t:advance(5)
    assert.equal("news", c:wait_for("reset", 10).data.channel)
    post(1, "load", { k = "a", n = 3 })
    post(1, "blip", { n = 4 })
    c:wait_for("blip")
    assert.same({ 1, 3 }, values(c, "load"))
    assert.equal(1, c:count("reset"))
  end)

  -- What is called when a node hears this from its Redis, before it does.
  local function before_hearing(place, text, fn)
    local server = place.server
    local function hear(_, lane, bytes)
      if fn and bytes:find(text, 1, true) then fn = fn() end
      return server:redis_hear(lane, bytes)
    end
    place.server = setmetatable({ redis_hear = hear }, { __index = function(_, name)
      return function(_, ...) return server[name](server, ...) end
    end })
  end

  it("are of all of them after two reloads before their cluster's thread has a turn, and all comes once", function()
    local place, taken = t:node(1).place, {}
    local runtime = place.runtime
    local configure = runtime.configure
    function runtime.configure(self, prepared)
      taken[#taken + 1] = prepared.snapshot
      return configure(self, prepared)
    end
    assert.is_true((t:node(1):reload(with("{ history = 0, shared = false }"))))
    assert.is_true((t:node(1):reload(with())))
    local c, reloads = t:connect("/all"), 0
    post(2, "news", { n = 1 })
    c:wait_for("news", 5, { n = 1 })
    before_hearing(place, "two", function()
      for i, snapshot in ipairs(taken) do
        assert(runtime.server:configure(snapshot))
        reloads = i
      end
    end)
    post(2, "news", { n = 2, text = "two" })
    t:advance(3)
    post(2, "news", { n = 3 })
    c:wait_for("news", 5, { n = 3 })
    assert.equal(2, reloads)
    assert.same({ 1, 2, 3 }, values(c, "news"))
    assert.equal(0, c:count("reset"))
  end)

  it("are of all of them again after a reload of each, and nothing that came meanwhile is missed", function()
    local a, b = t:connect("/all"), t:node(2):connect("/all")
    post(1, "blip", { n = 1 })
    a:wait_for("blip")
    local source = with(nil, nil, nil, "{ history = 50 }")
    assert.is_true((t:node(1):reload(source)))
    post(1, "blip", { n = 2 })
    a:wait_for("blip", 5, { n = 2 })
    assert.is_true((t:node(2):reload(source)))
    post(1, "blip", { n = 3 })
    b:wait_for("blip", 5, { n = 3 })
    a:wait_for("blip", 5, { n = 3 })
    assert.same({ 1, 2, 3 }, values(a, "blip"))
    assert.equal(0, a:count("reset") + b:count("reset"))
  end)
end)
