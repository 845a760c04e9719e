--- What one node of a cluster tells all: app:tell, rights that change, what is revoked; and who missed it.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("what nodes tell each other", function() pending("built without hiredis") end)
  return
end

local t

local function start(n, text) t = testing.start({ source = kit.source(text) }, { nodes = n }) end

local TELL = [[
  app:channel("news", { history = 1000 })
  local seen = app:state("seen", { list = {}, missed = 0 })
  app:on("told", function(event)
    local s = seen()
    if event.missed then s.missed = s.missed + 1
    else s.list[#s.list + 1] = event.name .. ":" .. tostring(event.data) .. (event.own and "!" or "") end
  end)
  app:post("/tell", function(req)
    local ok, message, code = app:tell(req:json().name, req:json().data)
    if not ok then return nil, message, code end
    return { told = ok }
  end)
  app:get("/figures", function() return app:stats().cluster end)
]]

local function tell(n, name, data) return t:node(n):post("/tell", { json = { name = name, data = data } }) end
local function seen(n) return t:node(n):state("seen") end

--- An entry as another program would write it, some numbers behind the last one.
local function add(skipped, ...)
  local redis = t.place.cluster.network.redis
  local number = math.tointeger(redis:call("HGET", "sluice:{test}:m", "seq") + skipped + 1)
  redis:call("XADD", "sluice:{test}:f", "0-" .. number, ...)
  redis:call("HSET", "sluice:{test}:m", "seq", number)
  t:advance(2)
end

describe("what nodes tell each other", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("is heard by every node, in one order", function()
    start(3, TELL)
    for i = 1, 6 do assert.equal(200, tell(i % 3 + 1, "n", i).status) end
    local function bare(n) return (table.concat(seen(n).list, " "):gsub("!", "")) end
    assert.equal("n:1 n:2 n:3 n:4 n:5 n:6", bare(1))
    assert.same({ bare(1), bare(1) }, { bare(2), bare(3) })
    assert.equal("n:1 n:2 n:3! n:4 n:5 n:6!", table.concat(seen(1).list, " "))
  end)

  it("is heard by the app where there is no cluster", function()
    t = testing.start({ source = kit.source(TELL) })
    assert.equal(200, t:post("/tell", { json = { name = "x" } }).status)
    assert.same({ "x:true!" }, t:state("seen").list)
  end)

  it("is told once or not at all, whatever breaks", function()
    start(2, TELL)
    t:partition(1)
    assert.equal(504, tell(1, "a", 1).status)
    assert.equal(503, tell(1, "b", 1).status)
    t:heal()
    t:advance(5)
    assert.equal(200, tell(1, "c", 2).status)
    local _, n = table.concat(seen(2).list, " "):gsub("a:1", "")
    assert.is_true(n <= 1)
    assert.equal(n + 1, #seen(2).list)
    assert.equal(0, seen(2).missed)
  end)

  it("and a node has missed, that node is told of", function()
    start(2, TELL)
    tell(1, "a", 1)
    add(3, "k", "x")
    assert.same({ 1, 1 }, { seen(1).missed, seen(2).missed })
    t:redis { restart = true }
    t:advance(5)
    tell(1, "b", 2)
    assert.same({ 2, "a:1 b:2" }, { seen(2).missed, table.concat(seen(2).list, " ") })
  end)

  it("survives what is no notice", function()
    start(2, TELL)
    add(0, "k", "a", "c", "", "e", "x", "n", "other.1", "d", "{no json")
    add(0, "k", "a", "c", "", "e", "x", "n", "other.1", "d", '"no list"')
    add(0, "k", "a", "c", "", "e", "", "n", "other.1", "d", "[1]")
    add(0, "k", "a", "c", "somewhere", "e", "x", "n", "other.1", "d", "[1]")
    add(0, "k", "r", "c", "", "e", "unheard-of", "n", "other.1", "d", "{}")
    add(0, "k", "r", "c", "", "e", "replan", "n", "other.1", "d", '{"pattern":7}')
    add(0, "k", "q", "c", "", "e", "x", "n", "other.1", "d", "[1]")
    tell(1, "fine", 1)
    for n = 1, 2 do
      assert.equal(1, #seen(n).list)
      local figures = t:node(n):get("/figures").json
      assert.same({ 4, 2, 0 }, { figures.bad_notices, figures.bad_entries, figures.holes })
    end
  end)
end)

local RIGHTS = [[
  local may = app:state("may", { yes = true })
  app:channel("secret/*", { history = 10, read = function(user) return may().yes end })
  app:stream("/s/:id", function(req) return { channels = { "secret/" .. req.params.id, may().more } } end)
  app:post("/recheck", function() return { taken = app:recheck() } end)
  app:post("/replan", function() return { n = app:replan("/s/*") } end)
]]

describe("rights that change on one node", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("are applied to the streams of all", function()
    start(3, RIGHTS)
    local list = {}
    for n = 1, 3 do list[n] = t:node(n):connect("/s/a") end
    for n = 1, 3 do t:node(n):state("may").yes = false end
    assert.equal(1, t:node(2):post("/recheck").json.taken)
    for n = 1, 3 do assert.equal("revoked", list[n]:wait_for("bye", 5).data.reason) end
  end)

  it("run the plans of all again", function()
    start(2, RIGHTS)
    local c = t:node(1):connect("/s/a")
    for n = 1, 2 do t:node(n):state("may").more = "secret/b" end
    assert.equal(0, t:node(2):post("/replan").json.n)
    t:advance(1)
    t:node(2):publish("secret/b", "x", { n = 1 })
    c:wait_for("x", 5, { n = 1 })
  end)
end)

local AUTH = [[
  local auth = require("sluice.auth").new(app, { session = { secret = ("secret "):rep(6) }, durable = false })
  app:channel("log", { history = 20 })
  app:stream("/s", auth:user(), { channels = { "log" } })
  app:post("/in/:id", function(req) return 204, nil, auth:sign_in { id = req.params.id } end)
  app:post("/revoke", function(req)
    local n, _, code = auth:revoke(req:json())
    return { n or code }
  end)
  app:post("/out", auth:user(), function(req) return 204, nil, auth:sign_out(req) end)
]]

describe("what is revoked on one node", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  local function signed_in(id)
    local cookie = t:post("/in/" .. id).headers["Set-Cookie"]:match("^[^;]+")
    return { headers = { Cookie = cookie } }
  end

  it("is on all: streams end, and none opens", function()
    start(3, AUTH)
    local alice, bob = signed_in("alice"), signed_in("bob")
    local a, b = t:node(2):connect("/s", alice), t:node(2):connect("/s", bob)
    assert.same({ 0 }, t:node(1):post("/revoke", { json = { user = "alice" } }).json)
    assert.equal("revoked", a:wait_for("bye", 1).data.reason)
    for n = 1, 3 do
      assert.equal(401, t:node(n):connect("/s", alice).status)
      assert.equal(200, t:node(n):connect("/s", bob).status)
    end
    assert.equal(0, b:count("bye"))
    t:node(3):post("/out", bob)
    assert.equal("revoked", b:wait_for("bye", 1).data.reason)
  end)

  it("and a node was not told in time, is said", function()
    start(2, AUTH)
    local alice = signed_in("alice")
    local here, there = t:connect("/s", alice), t:node(2):connect("/s", alice)
    t:partition(1)
    t:advance(6)
    assert.same({ "EBUSY" }, t:post("/revoke", { json = { user = "alice" } }).json)
    assert.equal("revoked", here:wait_for("bye", 1).data.reason)
    assert.equal(0, there:count("bye"))
    t:heal()
    t:advance(5)
    assert.same({ 0 }, t:post("/revoke", { json = { user = "alice" } }).json)
    assert.equal("revoked", there:wait_for("bye", 1).data.reason)
  end)
end)

local SEND = [[
  app:channel("news", { history = 5 })
  app:stream("/s", { channels = { "news" } })
  app:post("/send/:id", function(req)
    local ok, message, code = app:send(req.params.id, "whisper", req:json())
    if not ok then return nil, message, code end
    return { ok = ok }
  end)
]]

describe("app:send", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  local function send(n, id, data) return t:node(n):post("/send/" .. id, { json = data }) end

  it("reaches a client of any node, and no other", function()
    start(3, SEND)
    t:advance(2)
    local list = {}
    for n = 1, 3 do list[n] = t:node(n):connect("/s") end
    for n = 1, 3 do
      assert.equal(200, send(n % 3 + 1, list[n].hello.client, { n = n }).status)
      assert.equal(200, send(n, list[n].hello.client, "to itself").status)
    end
    for n = 1, 3 do
      list[n]:wait_for("whisper", 5, { n = n })
      assert.equal(2, list[n]:count("whisper"))
    end
  end)

  it("says that there is none when its node is dead, or knows better", function()
    start(2, SEND)
    t:advance(2)
    local here, there = t:connect("/s").hello.client, t:node(2):connect("/s").hello.client
    assert.not_equal(here:sub(1, 2), there:sub(1, 2))
    assert.equal(404, send(1, here:sub(1, 15) .. (here:sub(16) == "a" and "b" or "a"), {}).status)
    assert.equal(200, send(1, there:sub(1, 15) .. (there:sub(16) == "a" and "b" or "a"), {}).status)
    assert.equal(404, send(1, "x", {}).status)
    assert.equal(404, send(1, ("1"):rep(16), {}).status)
    t:node(2):crash()
    assert.equal(200, send(1, there, {}).status)
    t:advance(12)
    assert.equal(404, send(1, there, {}).status)
  end)

  it("works where there is no cluster", function()
    t = testing.start({ source = kit.source(SEND) })
    local c = t:connect("/s")
    assert.equal(200, t:post("/send/" .. c.hello.client, { json = { n = 1 } }).status)
    c:wait_for("whisper", 5, { n = 1 })
    assert.equal(404, t:post("/send/nobody", { json = {} }).status)
  end)
end)
