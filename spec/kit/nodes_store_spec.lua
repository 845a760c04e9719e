--- app:store in a cluster: one for all nodes, read without asking Redis, written in one order.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("app:store in a cluster", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  local box, odd = app:store("box"), app:store("no channel's name")
  local function answer(ok, message, code)
    if not ok then return nil, message, code end
    return { ok = ok }
  end
  app:channel("news", { history = 5 })
  app:stream("/any", function(req) return { channels = { req.query.channel } } end)
  app:stream("/both/:a/:b", { channels = { ":a/:b" } })
  app:post("/set/:key", function(req) return answer(box:set(req.params.key, req:json())) end)
  app:post("/later/:key", function(req)
    return { set = box:set(req.params.key, req:json(), { wait = false }), is = box:get(req.params.key) }
  end)
  app:post("/delete/:key", function(req) return answer(box:delete(req.params.key)) end)
  app:post("/add/:key", function(req) return answer(box:add(req.params.key, req:json())) end)
  app:post("/cas/:key", function(req)
    local o = req:json()
    return answer(box:cas(req.params.key, o.old, o.new))
  end)
  app:get("/get/:key", function(req)
    local value, message, code = box:get(req.params.key)
    if code then return nil, message, code end
    return { value = value }
  end)
  app:get("/all", function(req)
    local list = {}
    for key, value in box:each(req.query.prefix) do list[#list + 1] = key .. "=" .. tostring(value) end
    return { list = table.concat(list, " ") }
  end)
  app:post("/odd", function() return answer(odd:set(("k"):rep(257), 1)) end)
  app:get("/odd", function() odd:set("k", { 1, 2 }) return { value = odd:get("k") } end)
  local function count()
    local ok
    repeat
      local n = box:get("n")
      ok = box:cas("n", n, (n or 0) + 1)
    until ok
  end
  app:post("/race", function()
    for _ = 1, 10 do app:spawn(count) end
    return {}
  end)
]]

local t

local function start(n, options)
  options = options or {}
  options.nodes = n
  t = testing.start({ source = kit.source(SOURCE) }, options)
end

local function post(n, path, data) return t:node(n):post(path, { json = data or {} }) end
local function get(n, key) return t:node(n):get("/get/" .. key).json.value end

describe("app:store in a cluster", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("is one for all nodes, and for one that comes later", function()
    start(3)
    assert.equal(200, post(1, "/set/a", { n = 1 }).status)
    for n = 1, 3 do assert.same({ n = 1 }, get(n, "a")) end
    post(2, "/set/b", "x")
    post(3, "/delete/a")
    for n = 1, 3 do assert.same({ nil, "x" }, { get(n, "a"), get(n, "b") }) end
    t:node(2):crash()
    post(1, "/set/c", 3)
    t:node(2):restart()
    assert.same({ "x", 3 }, { get(2, "b"), get(2, "c") })
    assert.equal("b=x c=3", t:node(2):get("/all").json.list)
    assert.equal("c=3", t:node(3):get("/all?prefix=c").json.list)
    t:advance(3600)
    assert.equal("b=x c=3", t:node(1):get("/all").json.list)
  end)

  it("shows at once what it writes, also where nobody waits", function()
    start(2)
    assert.same({ set = true, is = 5 }, post(1, "/later/a", 5).json)
    assert.equal(5, get(2, "a"))
    assert.same({ 1, 2 }, t:get("/odd").json.value)
    assert.equal(413, post(1, "/odd").status)
  end)

  it("compares and sets in one step", function()
    start(3)
    assert.equal(200, post(1, "/add/a", { x = 1 }).status)
    assert.equal(422, post(2, "/add/a", { x = 2 }).status)
    assert.equal(422, post(2, "/cas/a", { old = { x = 2 }, new = 3 }).status)
    assert.equal(200, post(2, "/cas/a", { old = { x = 1 }, new = 3 }).status)
    assert.equal(3, get(3, "a"))
    assert.equal(200, post(3, "/cas/a", { old = 3 }).status)
    assert.is_nil(get(1, "a"))
    assert.equal(200, post(1, "/add/a", "again").status)
  end)

  it("lets one win of those who do it at once", function()
    start(3)
    t:redis { latency = 0.02 }
    for n = 1, 3 do post(n, "/race") end
    t:advance(30)
    assert.equal(30, get(1, "n"))
  end)

  it("is no channel that a client may follow", function()
    start(1)
    post(1, "/set/secret", 1)
    assert.equal(403, t:connect("/any?channel=sluice:store/box").status)
    assert.equal(403, t:connect("/both/sluice:store/box").status)
    t:reload()
    assert.equal(403, t:connect("/both/sluice:store/box").status)
    assert.equal(200, t:connect("/both/a/box").status)
  end)

  it("is read while Redis is away, and written when it is back", function()
    start(2)
    post(1, "/set/a", 1)
    t:partition(1)
    t:advance(10)
    assert.equal(1, get(1, "a"))
    assert.equal(503, post(1, "/set/a", 2).status)
    assert.equal(1, get(1, "a"))
    assert.equal(200, post(2, "/set/a", 3).status)
    t:heal()
    t:advance(5)
    assert.equal(3, get(1, "a"))
    t:node(2):crash()
    t:partition(2)
    t:node(2):restart()
    t:advance(6)
    local answer = t:node(2):get("/get/a")
    assert.same({ 503, "store 'box' is not here: Redis is away" }, { answer.status, answer.json.error.message })
  end)

  it("loses what Redis has lost, on all nodes", function()
    start(2)
    post(1, "/set/a", 1)
    post(1, "/set/a", 2)
    t:redis { restart = true, lose = 1 }
    t:advance(5)
    assert.same({ 1, 1 }, { get(1, "a"), get(2, "a") })
  end)

  it("is kept as --cluster-durable says, or refused", function()
    start(2, { flags = { cluster_durable = "aof" } })
    assert.equal(200, post(1, "/set/a", 1).status)
    t:redis { restart = true }
    t:advance(2)
    assert.same({ 1, 1 }, { get(1, "a"), get(2, "a") })
    t:redis { fsync = "everysec" }
    t:advance(2)
    for _, path in ipairs { "/set/a", "/add/b", "/delete/a" } do
      local r = post(1, path, 2)
      assert.same({ 503, "ESTORE" }, { r.status, r.json.error.code })
      assert.truthy(r.json.error.message:find("does not vouch", 1, true))
    end
    assert.same({ 1, 1 }, { get(1, "a"), get(2, "a") })
    assert.same({ set = true, is = 3 }, post(2, "/later/a", 3).json)
    t:settle()
    assert.equal(1, get(2, "a")) -- it went back
    assert.truthy(table.concat(t:node(2):log("error"), "\n"):find("key 'a' of store 'box' was not stored", 1, true))
    assert.equal("a=1", t:node(2):get("/all").json.list)
    t:redis { fsync = "always" }
    t:advance(2)
    assert.equal(200, post(1, "/cas/a", { old = 1, new = 4 }).status)
    assert.equal(4, get(2, "a"))
  end)

  it("is kept also where a channel is durable, and nobody has said more", function()
    t = testing.start({ source = kit.source('app:channel("d", { durable = true })\n' .. SOURCE) }, { nodes = 1 })
    assert.equal(200, post(1, "/set/a", 1).status)
    t:redis { fsync = "everysec" }
    t:advance(2)
    assert.equal(503, post(1, "/set/a", 2).status)
  end)

  it("is as Redis has it, where nobody has said when it is kept", function()
    start(1)
    t:redis { fsync = "everysec" }
    t:advance(2)
    assert.equal(200, post(1, "/set/a", 1).status)
    assert.has_error(function() start(1, { flags = { cluster_durable = "wait:1" } }) end,
      "testing.start: flags: cluster_durable is aof in a test, whose Redis has no replicas")
  end)

  it("adds and compares on one machine, too", function()
    t = testing.start({ source = kit.source(SOURCE) })
    assert.equal(200, t:post("/add/a", { json = 1 }).status)
    assert.equal(422, t:post("/add/a", { json = 1 }).status)
    assert.equal(422, t:post("/cas/a", { json = { old = 2, new = 3 } }).status)
    assert.equal(200, t:post("/cas/a", { json = { old = 1, new = { 3 } } }).status)
    assert.equal(200, t:post("/cas/a", { json = { old = { 3 } } }).status)
    assert.is_nil(t:get("/get/a").json.value)
  end)
end)
