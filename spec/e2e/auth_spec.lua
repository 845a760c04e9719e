--- sluice.auth on real sockets: many streams of one user end together and others go on, a password is
--- hashed while the app answers, a file of keys is read again, and a secret is in no log.
local crowd = require("spec.support.crowd")
local crypto = require("sluice.crypto")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")

local MANY = os.getenv("SLUICE_SPEC_FULL") and 900 or 200

local APP = [[
local auth = require("sluice.auth").new(app, { keys = "keys.json", failures = false,
  session = { secret = ("a secret for a spec "):rep(2), secure = false } })
app:channel("log", { history = 10 })
app:stream("/s", auth:user(), "log")
app:get("/me", auth:user(), function(req) return { id = req.user.id } end)
app:post("/in/:id", function(req) return 204, nil, auth:sign_in { id = req.params.id } end)
app:post("/revoke/:id", function(req)
  local from = core.now()
  local n = assert(auth:revoke { user = req.params.id })
  return { n = n, seconds = core.now() - from }
end)
app:post("/hash", function() return { hash = assert(auth:hash("correct horse")) } end)]]

local function rows(...)
  local list = {}
  for i, name in ipairs({ ... }) do list[i] = { id = name, hash = crypto.hex(crypto.sha256("key of " .. name)) } end
  return json.encode(list)
end

describe("auth, on sockets,", function()
  local s

  before_each(function() s = live.start(APP, { files = { ["keys.json"] = rows("ops", "kim") } }) end)
  after_each(live.stop_all)

  local function cookie_of(id)
    local answer = http.post(s.port, "/in/" .. id, "", {})
    return { Cookie = answer.headers["set-cookie"]:match("^[^;]+") }
  end

  local function status(headers) return http.get(s.port, "/me", headers).status end

  it("ends all streams of a user and no other, and keeps that over kill -9", function()
    local alice, bob = cookie_of("alice"), cookie_of("bob")
    local all = crowd.connect(s.port, "/s", MANY, { headers = alice })
    local others = crowd.connect(s.port, "/s", 20, { headers = bob })
    local from = deadline.now()
    local answer = json.decode(http.post(s.port, "/revoke/alice", "", {}).body)
    assert.equal(MANY, answer.n)
    all:wait_for('"revoked"', 5)
    local _, took = deadline.since(from)
    assert.is_true(took < 5, took)
    s.publish("log", { n = 1 })
    others:wait_for('"n":1', 5)
    all:read(0.2)
    for _, m in ipairs(all) do assert.is_nil(crowd.text(m):find('"n":1', 1, true)) end
    assert.same({ 401, 200 }, { status(alice), status(bob) })
  end)

  it("hashes aside: streams and requests go on", function()
    local hashing = {}
    for i = 1, 4 do hashing[i] = live.post_later(s, "/hash") end
    local slowest = 0
    for _ = 1, 20 do
      local from = deadline.now()
      assert.equal(401, status({}))
      local _, took = deadline.since(from)
      slowest = math.max(slowest, took)
    end
    for _, c in ipairs(hashing) do
      local hash = json.decode(c:response(20).body).hash
      assert.is_true(crypto.verify("correct horse", hash))
      c:close()
    end
    assert.is_true(slowest < 2, slowest)
  end)

  it("reads its keys again, and logs none", function()
    local ops, kim = { ["X-API-Key"] = "key of ops" }, { ["X-API-Key"] = "key of kim" }
    assert.same({ 200, 200 }, { status(ops), status(kim) })
    local all = crowd.connect(s.port, "/s", 10, { headers = kim })
    process.write_file(s.folder .. "/keys.json", rows("ops"))
    all:wait_for('"revoked"', 5)
    assert.same({ 200, 401 }, { status(ops), status(kim) })
    local cookie = cookie_of("alice")
    assert.equal(401, status({ ["X-API-Key"] = "a wrong key" }))
    assert.equal(401, http.get(s.port, "/me?ticket=a-wrong-ticket", {}).status)
    s.wait_log("not let in: the ticket is unknown")
    for _, secret in ipairs({ "key of", "wrong key", "wrong%-ticket", cookie.Cookie:match("=(.*)%.") }) do
      assert.is_nil(s.log():find(secret), secret)
    end
  end)
end)
