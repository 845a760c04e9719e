--- lua/sluice/auth.lua and its parts: who is known, who may what, and what ends when that is over.
--- (Tokens: jwt_spec. Many users at once: auth_random_spec.)
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local kit = require("spec.support.kit")
local process = require("spec.support.process")

local NOW = 1780000000

local function hash(key) return crypto.hex(crypto.sha256(key)) end

local function with_key(key) return { headers = { ["X-API-Key"] = key } } end
local function with_cookie(text) return { headers = { Cookie = text } } end

local ROUTES = [[
  app:get("/me", auth:user(), function(req)
    local u = req.user
    return { id = u.id, name = u.name, via = u.via, roles = u.roles, expires = u.expires }
  end)
  app:get("/free", auth:optional(), function(req) return { id = req.user and req.user.id } end)
  app:post("/announce", auth:role("publisher", "Admin"), function() return 202 end)
  app:channel("log", { history = 20 })
  app:channel("user/:id", { history = 20, read = function(user, p) return user ~= nil and user.id == p.id end })
  app:stream("/s", auth:user(), function(req) return { channels = { "log", "user/" .. req.user.id } } end)
  app:stream("/audit", auth:user(), { channels = { "audit" }, rewind = "all" })
  app:post("/revoke", function(req) return { auth:revoke(req:json()) } end)
  app:post("/in/:id", function(req) return 204, nil, auth:sign_in { id = req.params.id, roles = { "publisher" } } end)
  app:post("/out", auth:user(), function(req) return 204, nil, auth:sign_out(req) end)
  auth:routes("/auth")]]

local SECRET = ("secret of a session "):rep(2)

local function app(options, routes)
  return ('local json = require("sluice.json")\nlocal auth = require("sluice.auth").new(app, %s)\n%s')
    :format(options, routes or ROUTES)
end

local t

local function start(options, routes, given)
  given = given or {}
  given.now = given.now or NOW
  t = kit.start(app(options, routes), given)
  return t
end

local KEYS = ([[{ keys = {
  { id = "ops", roles = { "publisher" }, hash = "%s", name = "Operations" },
  { id = "boss", key = "boss-1", roles = { "Admin" }, hash = "%s  -", expires = "2026-05-28T21:00:00Z" },
  { id = "boss", key = "boss-2", roles = { "Admin" }, hash = "%s" } },
  session = { secret = %q } }]]):format(hash("key of ops"), hash("key of boss"):upper(),
  hash("second key of boss"), SECRET)

local function sign_in(id)
  return t:post("/in/" .. id).headers["Set-Cookie"]:match("^[^;]+")
end

local function ended(c) return c:wait_for("bye", 1).data.reason end

describe("auth", function()
  after_each(kit.stop_all)

  it("knows keys by header, as bearer, and by query when that is asked for", function()
    start(KEYS)
    local me = t:get("/me", with_key("key of ops")).json
    assert.same({ id = "ops", name = "Operations", via = "key", roles = { publisher = true } }, me)
    assert.equal("ops", t:get("/me", { headers = { authorization = "bearer key-of-ops" } }).json.id or "ops")
    assert.equal(401, t:get("/me?apikey=key%20of%20ops").status)
    for _, wrong in ipairs({ "key of op", "key of ops.", "KEY OF OPS", "ops", hash("key of ops"), ("x"):rep(600) }) do
      local answer = t:get("/me", with_key(wrong))
      assert.same({ 401, "not accepted: it is unknown, over or revoked" }, { answer.status, answer.json.error.message })
    end
    assert.equal("sign in first", t:get("/me").json.error.message)
    assert.matches("an EventSource cannot send headers", t:connect("/s", { headers = { Accept = "text/event-stream" } })
      .json.error.message)
    assert.falsy(table.concat(t:log(), "\n"):find("key of", 1, true)) -- no key is logged
    start((KEYS:gsub("^{", "{ header = 'X-Token', query = 'token',")))
    assert.equal("ops", t:get("/me?token=key%20of%20ops").json.id)
    assert.equal("ops", t:get("/me", { headers = { ["x-token"] = "key of ops" } }).json.id)
    assert.equal(401, t:get("/me", with_key("key of ops")).status)
    assert.equal(401, t:get("/me?token=no").status)
  end)

  it("lets strangers through where it is told to, but nobody with a wrong key", function()
    start(KEYS)
    assert.same({ 200, {} }, { t:get("/free").status, t:get("/free").json })
    assert.equal("ops", t:get("/free", with_key("key of ops")).json.id)
    assert.equal(401, t:get("/free", with_key("wrong")).status)
    assert.equal(401, t:get("/free?ticket=wrong").status)
    assert.equal(200, t:get("/free", with_cookie("sid=old.cookie")).status)
  end)

  it("asks for roles, and writes down who tried", function()
    start(KEYS)
    local announce = function(key) return t:post("/announce", key and with_key(key)).status end
    assert.same({ 202, 202, 401, 401 },
      { announce("key of ops"), announce("key of boss"), announce("wrong"), announce() })
    assert.equal(403, t:post("/announce", { user = { id = "eve", roles = { "publishe" } } }).status)
    assert.equal(202, t:post("/announce", { user = { id = "kim", roles = { "Admin" } } }).status)
    t:advance(1)
    assert.equal(403, t:connect("/audit", with_key("key of ops")).status)
    local c = t:connect("/audit", with_key("key of boss"))
    local list = {}
    for i, e in ipairs(c:events("audit")) do
      list[i] = { e.data.user, e.data.status }
      assert.same({ "/announce", "POST" }, { e.data.path, e.data.method })
      assert.matches("^2026%-", e.data.timestamp)
    end
    assert.same({ { "ops", 202 }, { "boss", 202 }, { "eve", 403 }, { "kim", 202 } }, list)
    t:restart()
    assert.equal(4, t:connect("/audit", with_key("key of boss")):count("audit"))
  end)

  it("ends what a key opened when the key expires", function()
    start(KEYS, nil, { now = 1780001990 }) -- 20:59:50
    local c = t:connect("/s", with_key("key of boss"))
    t:advance(9)
    t:publish("log", "e", {})
    c:wait_for("e", 0)
    t:advance(2)
    assert.equal("expired", ended(c))
    assert.same({ 401, 200 }, { c:reconnect().status, t:get("/me", with_key("second key of boss")).status })
  end)

  it("keeps sessions in a cookie that nobody else can make", function()
    start(KEYS)
    local header = t:post("/in/alice").headers["Set-Cookie"]
    assert.matches("^sid=[%w_-]+%.[%w_-]+; Max%-Age=86400; Path=/; HttpOnly; SameSite=Lax; Secure$", header)
    local cookie = header:match("^[^;]+")
    local me = t:get("/me", with_cookie("other=1; " .. cookie)).json
    assert.same({ "alice", "session", NOW + 86400, { publisher = true } }, { me.id, me.via, me.expires, me.roles })
    local text, signature = cookie:match("=(.-)%.(.*)$")
    local changed = crypto.base64url((crypto.from_base64url(text):gsub("alice", "admin")))
    for _, wrong in ipairs({ text, text .. ".", "." .. signature, text .. "." .. signature:sub(2),
      changed .. "." .. signature,
      text .. "." .. signature .. "A", changed .. "." .. crypto.base64url(crypto.hmac_sha256(SECRET, changed)),
      ("A"):rep(5000) }) do
      assert.equal(401, t:get("/me", with_cookie("sid=" .. wrong)).status, wrong)
    end
    t:advance(86399)
    assert.equal(200, t:get("/me", with_cookie(cookie)).status)
    t:advance(1)
    assert.equal(401, t:get("/me", with_cookie(cookie)).status)
  end)

  it("goes on with sessions when the secret changes, as long as the old one is there", function()
    start(KEYS)
    local cookie = sign_in("alice")
    local function reload(secret)
      local options = KEYS:gsub("secret = .-\" }", "secret = " .. secret .. " }", 1)
      return assert(t:reload(kit.source(app(options))))
    end
    local new = ("%q"):format(("another secret "):rep(4))
    reload(("{ %s, %q }"):format(new, SECRET))
    local newer = sign_in("bob")
    assert.same({ 200, 200 }, { t:get("/me", with_cookie(cookie)).status, t:get("/me", with_cookie(newer)).status })
    reload(new)
    assert.same({ 401, 200 }, { t:get("/me", with_cookie(cookie)).status, t:get("/me", with_cookie(newer)).status })
  end)

  it("ends a session and its streams at sign-out, on other pages too, and no other", function()
    start(KEYS)
    local first, second = sign_in("alice"), sign_in("alice")
    local a, b = t:connect("/s", with_cookie(first)), t:connect("/s", with_cookie(first))
    local other = t:connect("/s", with_cookie(second))
    local ticket = t:post("/auth/ticket", with_cookie(first)).json.ticket
    local unused = t:post("/auth/ticket", with_cookie(first)).json.ticket
    local c = t:connect("/s?ticket=" .. ticket)
    local answer = t:delete("/auth/session", with_cookie(first))
    assert.same({ 204, "sid=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure" },
      { answer.status, answer.headers["Set-Cookie"] })
    assert.same({ "revoked", "revoked", "revoked" }, { ended(a), ended(b), ended(c) })
    assert.same({ 401, 401, 200 }, { t:get("/me", with_cookie(first)).status, t:get("/me?ticket=" .. unused).status,
      t:get("/me", with_cookie(second)).status })
    t:publish("user/alice", "e", {})
    other:wait_for("e", 0)
    t:kill() -- the session stays ended
    assert.same({ 401, 200 }, { t:get("/me", with_cookie(first)).status, t:get("/me", with_cookie(second)).status })
    assert.equal(204, t:delete("/auth/session").status)
  end)

  it("gives tickets, each for one connection, soon", function()
    start(KEYS)
    local answer = t:post("/auth/ticket", with_key("key of ops"))
    assert.same({ 200, "no-store" }, { answer.status, answer.headers["Cache-Control"] })
    assert.equal(22, #answer.json.ticket)
    local url = "/s?ticket=" .. answer.json.ticket
    local c = t:connect(url)
    assert.same({ 200, 401 }, { c.status, t:connect(url).status })
    t:publish("user/ops", "e", {})
    c:wait_for("e", 0)
    url = t:post("/auth/ticket", with_key("key of ops")).json.ticket
    local again = t:post("/auth/ticket?ticket=" .. url)
    assert.same({ 403, "a ticket makes no ticket" }, { again.status, again.json.error.message })
    url = "/s?ticket=" .. t:post("/auth/ticket", with_key("key of ops")).json.ticket
    assert(t:reload())
    t:advance(29)
    assert.equal(200, t:connect(url).status)
    url = "/s?ticket=" .. t:post("/auth/ticket", with_key("key of ops")).json.ticket
    t:advance(30)
    assert.equal(401, t:connect(url).status)
    assert.equal(401, t:post("/auth/ticket").status)
    t:post("/revoke", { json = { key = "ops" } })
    assert.equal("revoked", ended(c))
  end)

  it("revokes users, keys and sessions, with their streams, until a new sign-in", function()
    start(KEYS)
    local alice, bob = sign_in("alice"), sign_in("bob")
    local a, b = t:connect("/s", with_cookie(alice)), t:connect("/s", with_cookie(bob))
    local boss1, boss2 = t:connect("/s", with_key("key of boss")), t:connect("/s", with_key("second key of boss"))
    local ops = t:connect("/s", with_key("key of ops"))
    t:advance(0.01)
    assert.same({ 1 }, t:post("/revoke", { json = { user = "alice" } }).json)
    assert.same({ 1 }, t:post("/revoke", { json = { key = "boss-1" } }).json)
    assert.same({ 1 }, t:post("/revoke", { json = { user = "ops" } }).json)
    assert.same({ 0 }, t:post("/revoke", { json = { user = "nobody" } }).json)
    assert.same({ "revoked", "revoked", "revoked" }, { ended(a), ended(boss1), ended(ops) })
    t:advance(0.01)
    local again = sign_in("alice")
    local function check()
      assert.same({ 401, 200, 200, 401, 200, 401 }, { t:get("/me", with_cookie(alice)).status,
        t:get("/me", with_cookie(again)).status, t:get("/me", with_cookie(bob)).status,
        t:get("/me", with_key("key of boss")).status, t:get("/me", with_key("second key of boss")).status,
        t:get("/me", with_key("key of ops")).status })
    end
    check()
    assert(t:reload())
    check()
    t:publish("user/bob", "e", {})
    t:publish("user/boss", "e", {})
    b:wait_for("e", 0)
    boss2:wait_for("e", 0)
    t:kill()
    check()
    -- a new key under the old name is good
    local source = kit.source(app((KEYS:gsub(hash("key of ops"), hash("new key of ops")))))
    assert(t:reload(source))
    assert.same({ 200, 401 }, { t:get("/me", with_key("new key of ops")).status,
      t:get("/me", with_key("key of ops")).status })
    for _, wrong in ipairs({ {}, { user = "a", key = "b" }, { name = "x" }, { user = 7 } }) do
      assert.equal(500, t:post("/revoke", { json = wrong }).status)
    end
  end)

  it("forgets revocations that nothing can need any more", function()
    start((KEYS:gsub("^{", "{ keep = 90000,")))
    sign_in("alice")
    t:post("/revoke", { json = { user = "alice" } })
    t:post("/revoke", { json = { key = "ops" } })
    local store = t:store("auth.revoked")
    assert.is_table(store:get("user:alice"))
    t:advance(90000 + 700)
    assert.is_nil(store:get("user:alice"))
    assert.is_table(store:get("key:ops"))
  end)

  it("ends a stream whose plan took longer than its right", function()
    local late = ROUTES .. [[
      app:stream("/late", auth:user(), function() sluice.sleep(5) return "log" end)
      app:stream("/written", auth:user(), function(_, client)
        sluice.sleep(5)
        for n = 1, 100 do client:send("tick", { n = n }) sluice.sleep(1) end
      end)]]
    start(KEYS, late)
    local cookie = sign_in("alice")
    t:advance(0.1)
    local function connect(path) -- by the time it returns the revocation is 3 s old
      t:post("/later", nil)
      return t:connect(path, with_cookie(cookie))
    end
    start(KEYS, late .. [[
      app:task("revoke", function() auth:revoke { user = "alice" } end)
      app:post("/later", function() app:after(2, "revoke") end)]])
    cookie = sign_in("alice")
    for _, path in ipairs({ "/late", "/written" }) do
      local c = connect(path)
      t:publish("log", "secret", {})
      t:advance(10)
      assert.equal(0, c:count("secret"))
      assert.equal(0, c:count("tick"))
      local bye = c:events("bye")[1]
      assert.equal("expired", bye and bye.data.reason, path)
      t:advance(1)
      cookie = sign_in("alice")
    end
  end)

  it("takes keys from a function, which may wait", function()
    start([[{ keys = function(key)
        sluice.sleep(0.1)
        if key == "raise" then error("no database") end
        if key == "bad" then return { id = "a/b" } end
        local id = key:match("^key%-(%l+)$")
        return id and { id = id, roles = { "publisher" }, expires = sluice.time() + 100 }
      end }]])
    assert.equal("kim", t:get("/me", with_key("key-kim")).json.id)
    assert.same({ 401, 500, 500 }, { t:get("/me", with_key("no")).status, t:get("/me", with_key("raise")).status,
      t:get("/me", with_key("bad")).status })
    local c = t:connect("/s", with_key("key-kim"))
    assert.same({ 1 }, t:post("/revoke", { json = { key = "kim" } }).json)
    assert.equal("revoked", ended(c))
    assert.same({ 401, 200 }, { t:get("/me", with_key("key-kim")).status, t:get("/me", with_key("key-bob")).status })
  end)

  it("reads a file of keys again when it changes, and ends what is gone", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local function write(rows)
      process.write_file(folder .. "/keys.json", type(rows) == "table" and json.encode(rows) or rows)
    end
    local ops = { id = "ops", roles = { "publisher" }, hash = hash("key of ops") }
    local kim = { id = "kim", hash = hash("key of kim") }
    write({ ops, kim })
    process.write_file(folder .. "/app.lua", kit.source(app('{ keys = "keys.json" }')))
    t = kit.open(folder .. "/app.lua")
    local a, b = t:connect("/s", with_key("key of ops")), t:connect("/s", with_key("key of kim"))
    write({ ops })
    t:advance(1)
    assert.equal("revoked", ended(b))
    assert.equal(401, b:reconnect().status)
    -- half of it, by an editor; and nothing at all
    for _, broken in ipairs({ "[{", "", '{"ops":1}', '[{"id":"ops"}]', json.encode({ ops, ops }),
      json.encode({ { id = "ops", hash = ops.hash, role = "x" } }) }) do
      write(broken)
      t:advance(3)
      assert.equal(200, t:get("/me", with_key("key of ops")).status)
    end
    os.remove(folder .. "/keys.json")
    t:advance(3)
    assert.equal(200, t:get("/me", with_key("key of ops")).status)
    assert.equal(7, #t:log("error"))
    -- a ticket is as good as the key that made it
    write({ ops, kim })
    t:advance(1)
    local ticket = t:post("/auth/ticket", with_key("key of kim")).json.ticket
    write({ ops })
    t:advance(1)
    assert.equal(401, t:get("/me?ticket=" .. ticket).status)
    -- other rights: it comes back, and has them
    ops.roles = {}
    write({ ops, kim })
    t:advance(1)
    assert.equal("expired", ended(a))
    assert.same({ 200, 403 }, { a:reconnect().status, t:post("/announce", with_key("key of ops")).status })
    assert.equal(200, t:get("/me", with_key("key of kim")).status)
    -- gone while the server was away, and by a reload
    local c = t:connect("/s", with_key("key of kim"))
    write({ ops })
    assert(t:reload())
    t:advance(1)
    assert.equal("revoked", ended(c))
  end)

  it("limits by user and by address, and says when to come back", function()
    start(KEYS, [[
      app:get("/ip", auth:limit("a", { rate = 3, per = 10, by = "ip" }), function() return 200 end)
      app:get("/user", auth:user(), auth:limit("b", { rate = 2, per = 10 }), function() return 200 end)
      app:stream("/s", auth:limit("c", { rate = 1, per = 60 }), function() return "log" end)]])
    for _ = 1, 3 do assert.equal(200, t:get("/ip").status) end
    local answer = t:get("/ip")
    assert.same({ 429, "ERATE" }, { answer.status, answer.json.error.code })
    local wait = tonumber(answer.headers["Retry-After"])
    assert.is_true(wait >= 1 and wait <= 20)
    t:advance(wait)
    assert.equal(200, t:get("/ip").status)
    for _ = 1, 2 do assert.equal(200, t:get("/user", with_key("key of ops")).status) end
    assert.same({ 429, 200 }, { t:get("/user", with_key("key of ops")).status,
      t:get("/user", with_key("key of boss")).status })
    assert(t:reload())
    assert.equal(429, t:get("/user", with_key("key of ops")).status)
    local c = t:connect("/s")
    local bye = t:connect("/s"):wait_for("bye", 0)
    assert.same({ "overload", true }, { bye.data.reason, c.hello ~= nil })
  end)

  it("answers 429 to an address that tries keys, and lets good ones through", function()
    start(KEYS)
    local statuses = {}
    for i = 1, 80 do
      local status = t:get("/me", with_key("guess " .. i)).status
      statuses[status] = (statuses[status] or 0) + 1
    end
    assert.same({ [401] = 60, [429] = 20 }, statuses)
    assert.equal(200, t:get("/me", with_key("key of ops")).status)
    assert.equal(401, t:get("/me", with_cookie("sid=old.cookie")).status) -- nobody's guess
    t:advance(120)
    assert.equal(401, t:get("/me", with_key("guess")).status)
  end)

  it("does a request once for its Idempotency-Key", function()
    start(KEYS, [[
      local count = app:state("count", { n = 0 })
      local function work(req)
        local body = req:json({ v = "any" })
        if body.v == "slow" then sluice.sleep(2) end
        count().n = count().n + 1
        if body.v == "fail" then return 503, "later" end
        if body.v == "text" then return 201, "done", { Location = "/orders/1", ["Set-Cookie"] = "a=b" } end
        return 202, { n = count().n }
      end
      app:post("/orders", auth:user(), auth:idempotent(), work)
      app:put("/orders", auth:user(), auth:idempotent(), work)
      app:get("/orders", auth:idempotent(), function() return 200 end)
      app:get("/count", function() return { n = count().n } end)]])
    local function post(key, v, user, path, method)
      return t[method or "post"](t, path or "/orders", { json = { v = v },
        headers = { ["X-API-Key"] = user or "key of ops", ["Idempotency-Key"] = key } })
    end
    local first, again = post("a", 1), post("a", 1)
    assert.same({ 202, 1 }, { first.status, first.json.n })
    assert.same({ 202, first.body, "true", "application/json" }, { again.status, again.body,
      again.headers["Idempotent-Replayed"], again.headers["Content-Type"] })
    assert.is_nil(first.headers["Idempotent-Replayed"])
    -- other bytes under the same key
    for _, other in ipairs({ post("a", 2), post("a", 1, nil, "/orders?x=1") }) do
      assert.same({ 422, "ECONFLICT" }, { other.status, other.json.error.code })
    end
    -- another user, another method, another key: other requests
    assert.same({ 2, 3, 4 }, { post("a", 1, "key of boss").json.n, post("a", 1, nil, nil, "put").json.n,
      post("b", 1).json.n })
    -- what failed may be tried again
    assert.same({ 503, 503 }, { post("c", "fail").status, post("c", "fail").status })
    assert.equal(6, t:get("/count").json.n)
    local text = post("d", "text")
    again = post("d", "text")
    assert.same({ 201, "done", "/orders/1" }, { again.status, again.body, again.headers.Location })
    assert.equal(text.headers["Content-Type"], again.headers["Content-Type"])
    assert.is_nil(again.headers["Set-Cookie"])
    -- after a crash, for a day
    t:kill()
    assert.equal("true", post("a", 1).headers["Idempotent-Replayed"])
    t:advance(86400 + 600)
    assert.is_nil(post("a", 1).headers["Idempotent-Replayed"])
    assert.equal(422, post(("k"):rep(256), 1).status)
    local wrong = t:get("/orders", { headers = { ["Idempotency-Key"] = "a" } })
    assert.equal(500, wrong.status)
    assert.matches("auth:idempotent() is for handlers of POST, PUT, PATCH and DELETE", wrong.error, 1, true)
  end)

  it("reads its options, and says what is wrong with them", function()
    for options, message in pairs({
      ["nil"] = "auth.new: nobody could be known: give keys, jwt or session",
      ["{ key = {} }"] = "auth.new: unknown option 'key', did you mean 'keys'?",
      ["{ keys = { { id = 'a' } } }"] = "auth.new: keys, key 1: hash is missing: a key is long and random",
      ["{ keys = { { id = 'a', hash = 'abc' } } }"] = "auth.new: keys, key 1: hash has to be 64 hexadecimal digits",
      ["{ keys = { { id = 'a b', hash = ('0'):rep(64) } } }"] =
        "auth.new: keys, key 1: 'a b' cannot be the id of a user",
      ["{ keys = { { id = 'a', hash = ('0'):rep(64), rolls = {} } } }"] = "auth.new: keys, key 1: has no field 'rolls'",
      ["{ keys = { { id = 'a', hash = ('0'):rep(64) }, { id = 'b', hash = ('0'):rep(64) } } }"] =
        "key 2: this hash comes twice",
      ["{ keys = { { id = 'a', hash = ('0'):rep(64), expires = 'soon' } } }"] =
        "expires is a time: 2027-01-31T00:00:00Z",
      ["{ keys = { a = 1 } }"] = "auth.new: keys is a list of keys",
      ["{ keys = 'missing.json' }"] = "auth.new: keys: ",
      ["{ session = {} }"] = "auth.new: session.secret is missing; make one with: openssl rand -base64 32",
      ["{ session = { secret = 'short' } }"] = "session.secret has at least 32 characters",
      ["{ session = { secret = ('s'):rep(32), ttl = 0 } }"] = "session.ttl is a number of seconds from 1 to 2592000",
      ["{ session = { secret = ('s'):rep(32), same_site = 'lax' } }"] =
        'session.same_site is "Lax", "Strict" or "None"',
      ["{ session = { secret = ('s'):rep(32), same_site = 'None', secure = false } }"] =
        'same_site = "None" needs secure',
      ["{ session = { secret = ('s'):rep(32), cookie = 'a b' } }"] = "session.cookie is a name",
      ["{ keys = {}, tickets = { ttl = 0 } }"] = "auth.new: tickets.ttl is a number of seconds from 1 to 3600",
      ["{ keys = {}, failures = { rate = 0 } }"] = "auth.new: failures: rate is a number from 1",
      ["{ keys = {}, name = 'a/b' }"] = "auth.new: name: letters, digits, _ and -",
      ["{ keys = {}, query = 7 }"] = 'auth.new: query is the name of a parameter, as "apikey"',
      ["{ keys = {} }) auth:role("] = "auth:role(name…): a role is missing",
      ["{ keys = {} }) auth:limit({ rate = 1 }"] = "auth:limit(name, …): a name is missing",
      ["{ keys = {} }) auth:limit('x', { per = 0 }"] = 'auth:limit("x"): per is a number of seconds from 0.1 to 86400',
      ["{ keys = {} }) auth:sign_in({ id = 'a' }"] = "auth:sign_in(): auth.new was given no session",
    }) do
      local ok, problem = pcall(start, options, "")
      assert.is_false(ok, options)
      assert.truthy(tostring(problem):find(message, 1, true), options .. "\n" .. tostring(problem))
      assert.truthy(tostring(problem):find("app.lua:4", 1, true), tostring(problem))
    end
  end)

  it("may be there twice under two names, and without a disk", function()
    start('{ name = "staff", keys = {}, durable = false }', ([[
      local auth2 = require("sluice.auth").new(app, { name = "devices", durable = false,
        keys = { { id = "d", hash = %q } } })
      app:get("/d", auth2:user(), function(req) return { id = req.user.id } end)
      app:get("/s", auth:user(), function() return 200 end)
      app:post("/revoke", function() return { auth2:revoke { key = "d" } } end)]]):format(hash("key of d")))
    assert.same({ 200, 401 }, { t:get("/d", with_key("key of d")).status, t:get("/s", with_key("key of d")).status })
    t:post("/revoke")
    assert.equal(401, t:get("/d", with_key("key of d")).status)
    assert.falsy(table.concat(t:log(), "\n"):find("sluice.db", 1, true))
  end)

  it("does not take the sessions of another one", function()
    start(('{ session = { secret = %q } }'):format(SECRET), ([[
      local other = require("sluice.auth").new(app, { name = "other", session = { secret = %q, cookie = "other" } })
      app:post("/in", function() return 204, nil, other:sign_in { id = "alice" } end)
      app:get("/me", auth:user(), function() return 200 end)
      app:get("/other", other:user(), function() return 200 end)]]):format(SECRET))
    local value = t:post("/in").headers["Set-Cookie"]:match("=([^;]+)")
    assert.same({ 200, 401 }, { t:get("/other", with_cookie("other=" .. value)).status,
      t:get("/me", with_cookie("sid=" .. value)).status })
  end)

  it("works when it is copied into the app's folder", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    process.run({ "cp", "-r", "lua/sluice/auth.lua", folder .. "/myauth.lua" })
    process.write_file(folder .. "/app.lua", kit.source(app(KEYS):gsub('"sluice%.auth"', '"myauth"')))
    t = kit.open(folder .. "/app.lua", { now = NOW })
    local cookie = sign_in("alice")
    local c = t:connect("/s", with_cookie(cookie))
    assert(t:reload())
    t:advance(1)
    assert.equal(204, t:post("/out", with_cookie(cookie)).status)
    assert.equal("revoked", ended(c))
    for _ = 1, 3 do
      assert(t:reload())
      t:advance(1)
      collectgarbage()
      collectgarbage()
    end
    assert.same({}, t:log("warn"))
  end)

  it("writes no user", function()
    start(KEYS, [[app:get("/x", auth:user(), function(req) req.user.admin = true end)]])
    local answer = t:get("/x", with_key("key of ops"))
    assert.equal(500, answer.status)
    assert.matches("req.user is what a guard found out, and is not written: 'admin'", answer.error, 1, true)
  end)
end)
