--- auth:idempotent over the nodes of a cluster, and limits that count over all of them.
local claims = require("sluice.auth.claims")
local kit = require("spec.support.kit")
local sluice = require("sluice")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("auth over nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  local auth = require("sluice.auth").new(app, { failures = { rate = 4, per = 60, counted = "cluster" }, keys = {
    { id = "ops", hash = require("sluice.crypto").hex(require("sluice.crypto").sha256("key of ops")) } } })
  app:channel("ran", { history = 1000 })
  auth:routes("/auth")
  app:stream("/s", auth:user(), { channels = { "ran" } })
  app:get("/me", auth:user(), function(req) return { id = req.user.id } end)
  app:post("/orders", auth:user(), auth:idempotent(), function(req)
    local v = req:json({ v = "any" }).v
    app:publish("ran", "ran", { v = v, by = app:stats().cluster.slot })
    if v == "fail" then return 503, "later" end
    if v == "large" then return 200, ("x"):rep(70000) end
    if v == "long" then sluice.sleep(200) end
    if v == "cut" or v == "cut, fail" then require("sluice.http").post("http://other.example/", { body = v }) end
    if v == "cut, fail" then return 503, "later" end
    return 201, { v = v }, { Location = "/orders/1" }
  end)
  app:get("/ran", function() return { n = #app:history("ran", { limit = 100 }) } end)
  app:post("/each", auth:limit("each", { rate = 3, per = 60, by = "ip" }), function() return 204 end)
  local all = auth:limit("all", { rate = 3, per = 60, by = "ip", counted = "cluster" })
  app:post("/all", all, function() return 204 end)
  local ten = auth:limit("ten", { rate = 3, per = 10, by = "ip", counted = "cluster" })
  app:post("/ten", ten, function() return 204 end)]]

local t

local function start(n, more, source)
  more = more or {}
  more.nodes = n
  t = testing.start({ source = kit.source(source or SOURCE) }, more)
  t:advance(4)
end

local function order(n, key, v)
  return t:node(n):post("/orders", { json = { v = v }, headers = { ["X-API-Key"] = "key of ops",
    ["Idempotency-Key"] = key } })
end

local function ran(n) return t:node(n or 1):get("/ran").json.n end

local function try(n, path, key)
  return t:node(n):post(path, { headers = key and { ["X-API-Key"] = key } or {} }).status
end

local function try_json(n, path)
  return t:node(n):post(path, { headers = { ["X-API-Key"] = "key of ops" } }).json
end

-- A store as all nodes have it.
local function new_store()
  local rows = {}
  return { rows = rows, get = function(_, key) return rows[key] end, each = function() return pairs(rows) end,
    delete = function(_, key) rows[key] = nil end, cas = function(_, key, old, row)
      if rows[key] ~= old then return nil, "another value", "ECONFLICT" end
      rows[key] = row
      return true
    end }
end

describe("claims of idempotency keys", function()
  local store, one, two

  before_each(function()
    store = new_store()
    local function new()
      local state = { untold = {}, n = 0 }
      return claims.new(store, { keep = 100, running = 10 }, function() return state end)
    end
    one, two = new(), new()
  end)

  -- Redis is away while a function runs.
  local function away(fn)
    local cas = store.cas
    function store.cas() return nil, "Redis is away", "EBUSY" end
    fn()
    store.cas = cas
  end

  it("are of one node, until it says what was answered, or that nothing was", function()
    local claim = one:take("k", "bytes")
    local mine, other = two:take("k", "others")
    assert.same({ nil, "bytes", true }, { mine, other.bytes, other.running ~= nil })
    assert.is_true(one:finish("k", claim, nil))
    claim = two:take("k", "bytes")
    assert.is_true(two:finish("k", claim, { at = claim.at, bytes = "bytes", status = 200 }))
    mine, other = one:take("k", "bytes")
    assert.same({ nil, 200 }, { mine, other.status })
  end)

  it("are another's when their node has died, which says nothing of them any more", function()
    local claim = one:take("k", "bytes")
    claim.at = claim.at - 9
    assert.is_nil((two:take("k", "bytes")))
    claim.at = claim.at - 2
    local second = two:take("k", "bytes")
    assert.is_table(second)
    assert.is_true(one:finish("k", claim, { at = claim.at, bytes = "bytes", status = 200 }))
    assert.equal(second, store.rows.k)
  end)

  it("go when they are old, and the oldest of too many", function()
    for i = 1, 9 do
      local claim = one:take("k" .. i, "bytes")
      one:finish("k" .. i, claim, { at = claim.at - i * 12, bytes = "bytes", status = 200 })
    end
    one:trim(4)
    local left = {}
    for key in pairs(store.rows) do left[#left + 1] = key end
    table.sort(left)
    assert.same({ "k1", "k2", "k3", "k4" }, left)
  end)

  it("are kept for as long as it runs, also over a loss of Redis, and no longer", function()
    local claim = one:take("k", "bytes")
    for _ = 1, 3 do
      claim.at = claim.at - 9
      store.rows.k.at = claim.at
      one:look()
      assert.is_true(claim.at > sluice.time() - 1 and store.rows.k.at == claim.at)
    end
    store.rows.k = nil
    claim.at = claim.at - 9
    one:look()
    assert.is_nil((two:take("k", "bytes")))
    assert.is_true(one:finish("k", claim, nil))
    claim.at = claim.at - 9
    one:look()
    assert.is_nil(store.rows.k)
  end)

  it("run out when their coroutine was ended from outside", function()
    one:take("k", "bytes").at = sluice.time() - 9
    local row = { at = store.rows.k.at, bytes = "bytes", running = store.rows.k.running }
    store.rows.k = row
    collectgarbage()
    one:look()
    assert.equal(row, store.rows.k)
  end)

  it("end later when Redis is away, and this node knows it until then", function()
    local answered, failed = one:take("a", "bytes"), one:take("f", "bytes")
    local row = { at = answered.at, bytes = "bytes", status = 200 }
    away(function()
      assert.is_true(one:finish("a", answered, row))
      assert.is_true(one:finish("f", failed, nil))
      one:look()
      assert.same({ nil, row }, { one:take("a", "bytes") })
      assert.same({ n = 3, [3] = "Redis is away" }, table.pack(one:take("f", "bytes")))
    end)
    assert.is_nil((two:take("a", "bytes")))
    assert.is_nil((two:take("f", "bytes")))
    one:look()
    assert.same({ row, 0 }, { store.rows.a, one.state().n })
    assert.is_table(two:take("f", "bytes"))
  end)

  it("that could not be given back are taken again here, once", function()
    local claim = one:take("k", "bytes")
    away(function() one:finish("k", claim, nil) end)
    local again = one:take("k", "other bytes")
    assert.is_table(again)
    assert.is_nil((one:take("k", "other bytes")))
    one:look()
    assert.equal(again, store.rows.k)
  end)

  it("are not kept for another time without end", function()
    local list = {}
    for i = 1, 257 do list[i] = one:take("k" .. i, "bytes") end
    away(function()
      for i = 1, 256 do assert.is_true(one:finish("k" .. i, list[i], nil)) end
      assert.same({ nil, "Redis is away" }, { one:finish("k257", list[257], nil) })
    end)
    one:look()
    assert.same({ 0, list[257] }, { one.state().n, store.rows.k257 })
    assert.is_nil(next(store.rows, next(store.rows)))
  end)

  it("are nobody's while nobody can be asked", function()
    function store.get() return nil, "Redis is away", "EBUSY" end
    assert.same({ n = 3, [3] = "Redis is away" }, table.pack(one:take("k", "bytes")))
  end)
end)

describe("auth over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  describe("does a request once for its Idempotency-Key", function()
    it("whichever node it comes to again", function()
      start(3)
      local first = order(1, "a", 1)
      assert.same({ 201, 1 }, { first.status, first.json.v })
      for n = 1, 3 do
        local again = order(n, "a", 1)
        assert.same({ 201, first.body, "true", "/orders/1" }, { again.status, again.body,
          again.headers["Idempotent-Replayed"], again.headers.Location })
        local other = order(n, "a", 2)
        assert.same({ 422, "ECONFLICT" }, { other.status, other.json.error.code })
      end
      assert.equal(1, ran())
      assert.is_nil(order(2, "b", 1).headers["Idempotent-Replayed"])
      assert.equal(2, ran())
    end)

    it("also when that node has died, or all have", function()
      start(2)
      order(1, "a", 1)
      t:node(1):crash()
      assert.equal("true", order(2, "a", 1).headers["Idempotent-Replayed"])
      t:node(2):crash()
      for n = 1, 2 do t:node(n):restart() end
      assert.equal("true", order(1, "a", 1).headers["Idempotent-Replayed"])
      assert.equal("true", order(2, "a", 1).headers["Idempotent-Replayed"])
    end)

    it("but what failed, or is too large to be kept, runs again at any node", function()
      start(2)
      for i, v in ipairs { "fail", "large" } do
        for n = 1, 2 do assert.is_nil(order(n, "key" .. i, v).headers["Idempotent-Replayed"]) end
      end
      assert.equal(4, ran())
    end)

    it("and runs nothing while nobody can say whether it has run", function()
      start(2)
      order(1, "a", 1)
      t:partition(2)
      t:advance(10)
      assert.equal("true", order(2, "a", 1).headers["Idempotent-Replayed"]) -- it knows
      local before = t:elapsed()
      local answer = order(2, "b", 1)
      assert.same({ 503, "EBUSY", "1" }, { answer.status, answer.json.error.code, answer.headers["Retry-After"] })
      assert.is_true(t:elapsed() - before <= 5)
      t:heal()
      t:advance(10)
      assert.equal(1, ran())
      assert.equal(201, order(2, "b", 1).status)
      assert.equal(2, ran())
    end)
  end)

  it("holds the key of a request that runs for longer than that of a node that died", function()
    start(2)
    assert.equal(504, order(1, "a", "long").status) -- it waits no longer, and the handler runs
    t:advance(110)
    assert.equal(409, order(2, "a", "long").status)
    t:advance(60)
    local again = order(2, "a", "long")
    assert.same({ 201, "true" }, { again.status, again.headers["Idempotent-Replayed"] })
    assert.equal(1, ran(2))
  end)

  describe("finishes what ends while Redis is away", function()
    -- Node 1 is cut off as its handler runs; for how long after its answer?
    local function cut(v, seconds)
      start(3)
      t:http("http://other.example/", function()
        t:partition(1)
        return { status = 204 }
      end)
      local first = order(1, "a", v)
      t:advance(seconds)
      return first
    end

    for _, seconds in ipairs { 1, 100, 300 } do
      it(("with an answer, %d seconds long"):format(seconds), function()
        local first = cut("cut", seconds)
        assert.equal(201, first.status)
        local again = order(1, "a", "cut")
        assert.same({ first.body, "true" }, { again.body, again.headers["Idempotent-Replayed"] })
        assert.equal(422, order(1, "a", 2).status)
        t:heal()
        t:advance(15)
        for n = 1, 3 do
          again = order(n, "a", "cut")
          assert.same({ first.body, "true" }, { again.body, again.headers["Idempotent-Replayed"] }, n)
        end
        assert.equal(1, ran(2))
        t:advance(300)
        assert.equal("true", order(2, "a", "cut").headers["Idempotent-Replayed"])
      end)
    end

    it("without one: the key is free at once", function()
      assert.equal(503, cut("cut, fail", 1).status)
      assert.equal(503, order(1, "a", "cut, fail").status)
      t:heal()
      t:advance(15)
      assert.equal(201, order(2, "a", 1).status)
      assert.equal("true", order(1, "a", 1).headers["Idempotent-Replayed"])
      assert.equal(2, ran(2))
    end)

    it("also after a reload", function()
      local first = cut("cut", 1)
      t:node(1):reload(kit.source(SOURCE))
      t:heal()
      t:advance(15)
      for n = 1, 3 do assert.equal(first.body, order(n, "a", "cut").body) end
      assert.equal(1, ran(2))
    end)
  end)

  describe("tickets", function()
    local function ticket(n) return try_json(n, "/auth/ticket").ticket end

    it("open one connection, at whichever node, once, and only for a while", function()
      start(3, nil, (SOURCE:gsub("rate = 4,", "rate = 1000,")))
      local function open(n, text) return t:node(n):get("/me?ticket=" .. text).status end
      for made = 1, 3 do
        for used = 1, 3 do
          local text = ticket(made)
          assert.equal(200, open(used, text), made .. " made it, " .. used .. " takes it")
          for n = 1, 3 do assert.equal(401, open(n, text), "it is used up") end
        end
      end
      local late = ticket(1)
      t:advance(31)
      for n = 1, 3 do assert.equal(401, open(n, late)) end
      for _, guess in ipairs { "x", ("y"):rep(22), ("z"):rep(300), "a%2Fb", "a.b" } do
        assert.equal(401, open(2, guess), guess)
      end
      assert.equal(200, open(2, ticket(3)))
    end)

    it("are told apart from Redis being away", function()
      start(2)
      t:partition(2)
      t:advance(10)
      assert.equal(503, t:node(2):post("/auth/ticket", { headers = { ["X-API-Key"] = "key of ops" } }).status)
      local made = ticket(1)
      assert.equal(503, t:node(2):get("/me?ticket=" .. made).status)
      assert.equal("overload", t:node(2):connect("/s?ticket=" .. made):wait_for("bye").data.reason)
      t:heal()
      t:advance(10)
      assert.equal(200, t:node(2):get("/me?ticket=" .. made).status)
      assert.equal(200, t:node(1):get("/me?ticket=" .. ticket(2)).status)
    end)
  end)

  describe("limits", function()
    it("count by node, or by all that there are", function()
      start(3)
      for n = 1, 3 do
        for _ = 1, 3 do assert.equal(204, try(n, "/each")) end
        assert.equal(429, try(n, "/each"))
        assert.equal(204, try(n, "/all"))
      end
      for n = 1, 3 do assert.equal(429, try(n, "/all")) end
      t:advance(121)
      for n = 1, 3 do assert.equal(204, try(n, "/all")) end
      assert.equal(429, try(1, "/all"))
    end)

    -- What each node says to who asks now: seconds until it lets them through.
    local function waits(nodes, path)
      local list = {}
      for n = 1, nodes do
        local r = t:node(n):post(path)
        assert.equal(429, r.status)
        list[n] = tonumber(r.headers["Retry-After"])
      end
      return list
    end

    it("say the same time to try again on every node, which lets through then", function()
      start(3)
      t:redis { latency = 1 }
      math.randomseed(5)
      local refused = 0
      while refused < 8 do
        if try(math.random(3), "/ten") == 204 then
          t:advance(2.5 + math.random()) -- all have heard of it
        else
          refused = refused + 1
          local said = waits(3, "/ten")
          assert.same({ said[1], said[1] }, { said[2], said[3] })
          t:advance(said[1] - 1)
          assert.same({ 1, 1, 1 }, waits(3, "/ten"))
          t:advance(1)
          assert.equal(204, try(math.random(3), "/ten"))
          t:advance(2.5)
        end
      end
    end)

    it("count what is told late where it was, so that nobody waits for it longer", function()
      start(2)
      t:advance((60 - t.place:time() % 60 + 54) % 60)
      t:partition(2)
      for _ = 1, 3 do assert.equal(204, try(2, "/all")) end
      t:advance(7) -- the next window
      t:heal()
      t:advance(12)
      local said = waits(2, "/all")
      assert.equal(said[2], said[1])
      t:advance(said[1])
      assert.equal(204, try(1, "/all"))
    end)

    it("of failures count over all nodes", function()
      start(2)
      for n = 1, 4 do
        assert.equal(401, try(n % 2 + 1, "/orders", "guess " .. n))
        t:advance(0.1)
      end
      for n = 1, 2 do assert.equal(429, try(n, "/orders", "guess")) end
    end)

    it("go on with what a node knows while Redis is away, and are told afterwards", function()
      start(2)
      assert.equal(204, try(1, "/all"))
      t:partition(2)
      t:advance(7)
      local before = t:elapsed()
      for _ = 1, 2 do assert.equal(204, try(2, "/all")) end
      assert.equal(429, try(2, "/all"))
      assert.equal(before, t:elapsed())
      t:heal()
      t:advance(20)
      assert.equal(429, try(1, "/all"))
    end)

    it("name an option that is wrong", function()
      for options, message in pairs {
        ["counted = 'all'"] = 'auth:limit("x"): counted is "node"',
        ["cluster = true"] = "auth:limit(\"x\"): unknown option 'cluster'",
      } do
        local ok, why = pcall(testing.start, { source = kit.source(
          "require('sluice.auth').new(app, { keys = {} }):limit('x', { " .. options .. " })") })
        assert.is_false(ok)
        assert.truthy(tostring(why.message or why):find(message, 1, true), tostring(why.message or why))
      end
    end)
  end)
end)
