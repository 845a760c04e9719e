--- sluice.outbox in virtual time: delivered at least once, over failures, reloads, restarts and kills; what
--- dies, and what becomes of it. (Random faults against a model: outbox_random_spec.lua.)
local kit = require("spec.support.kit")

local APP = [[
local outbox = require("sluice.outbox").new(app, { %s })
app:post("/hook", function(req)
  local id, message, code = outbox:webhook(req:json())
  if not id then return nil, message, code end
  return 202, { id = id, duplicate = message }
end)
app:post("/mail", function(req)
  local id, message, code = outbox:mail(req:json())
  if not id then return nil, message, code end
  return 202, { id = id }
end)
app:post("/replay", function() return 200, { n = outbox:replay() } end)
outbox:routes("/outbox", function() return true end)
outbox:stream("/died", function() return true end)
]]
local URL = "http://hook.test/a"
local ENV = { env = { SMTP_URL = "smtp://mail.test:587", SMTP_FROM = "a@b.org" } }

local t

local function source(options) return kit.source(APP:format(options or "durable = true")) end

local function start(options)
  t = kit.start(APP:format(options or "durable = true"), ENV)
  return t
end

local function post(o)
  o = o or {}
  o.url = o.url or URL
  local answer = t:post("/hook", { json = o })
  assert.equal(202, answer.status, answer.body)
  return answer.json.id
end

local function sent() return #t:requests() end
local function stats() return t:get("/outbox").json end
local function dead() return t:get("/outbox/dead").json end

describe("an outbox", function()
  after_each(kit.stop_all)

  it("delivers a webhook once, with its id, and forgets it", function()
    for _, options in ipairs { "durable = true", "durable = false" } do
      start(options)
      t:http(URL, { status = 204 })
      local id = post { json = { n = 1 }, headers = { ["X-Key"] = "k" } }
      t:advance(1)
      local r = t:requests()[1]
      assert.same({ "POST", { n = 1 }, id, "k", "application/json" },
        { r.method, r.json, r.headers["webhook-id"], r.headers["X-Key"], r.headers["content-type"] })
      t:advance(86400)
      assert.equal(1, sent())
      assert.same({ pending = 0, dead = 0, delivered = 1, retried = 0, died = 0, dropped = 0 }, stats())
      t:stop()
    end
  end)

  it("signs with a secret that it does not keep", function()
    start('durable = true, secret = function(letter) return "a secret of 24 bytes for " .. letter.data.shop end')
    t:http(URL, { status = 503 })
    local id = post { json = {}, data = { shop = 7 } }
    t:advance(20)
    local first, second = table.unpack(t:requests())
    assert.equal(id, first.headers["webhook-id"])
    assert.truthy(first.headers["webhook-signature"]:find("^v1,"))
    assert.is_true(second.headers["webhook-timestamp"] > first.headers["webhook-timestamp"])
    for _, text in t:store("outbox"):each("") do
      assert.falsy(require("sluice.json").encode(text):find("a secret", 1, true))
    end
  end)

  it("tries again for hours, more and more rarely, or when it is told to", function()
    start()
    t:http(URL, { status = 500 })
    post()
    t:advance(7 * 86400)
    assert.equal(13, sent())
    local list = t:requests()
    for i = 2, 13 do
      local pause = list[i].at - list[i - 1].at
      assert.is_true(pause >= 1 and pause <= math.min(5 * 2 ^ (i - 2), 21600) + 1, i .. ": " .. pause)
    end
    t:http(URL, { status = 503, headers = { ["Retry-After"] = "3600" } })
    post()
    t:advance(3500)
    assert.equal(14, sent())
    t:advance(200)
    assert.equal(15, sent())
  end)

  it("has dead letters, which are listed, replayed and dropped", function()
    start("durable = true, retries = 2")
    local c = t:connect("/died")
    t:http(URL, { status = 500 })
    t:http("http://gone.test/", { status = 410 })
    local id = post { json = { n = 1 }, data = { order = 7 } }
    local gone = post { url = "http://gone.test/" }
    assert.same({ gone, "it answered 410", 1 }, (function(e) return { e.id, e.error, e.attempts } end)(
      c:wait_for("dead-letter", 10).data))
    c:wait_for("dead-letter", 60, { id = id, via = "webhook", target = "hook.test", attempts = 3 })
    local page = dead()
    assert.same({ 2, id, gone }, { page.total, page.letters[1].id, page.letters[2].id })
    assert.same({ { order = 7 }, 500, "EUPSTREAM" },
      { page.letters[1].data, page.letters[1].status, page.letters[1].code })
    t:http(URL, { status = 200 })
    local before = sent()
    assert.equal(202, t:post("/outbox/dead/" .. id .. "/replay").status)
    t:advance(1)
    assert.same({ before + 1, id }, { sent(), t:requests()[before + 1].headers["webhook-id"] })
    assert.equal(404, t:post("/outbox/dead/" .. id .. "/replay").status)
    assert.equal(204, t:delete("/outbox/dead/" .. gone).status)
    assert.equal(404, t:delete("/outbox/dead/" .. gone).status)
    assert.equal(0, dead().total)
    t:http(URL, { status = 400 })
    for _ = 1, 3 do post() end
    t:advance(1)
    t:http(URL, { status = 200 })
    assert.equal(3, t:post("/replay").json.n)
    t:advance(1)
    assert.same({ 0, 0 }, { stats().pending, stats().dead })
  end)

  it("delivers after a reload, a restart and a kill, each with the same id", function()
    start()
    t:http(URL, { status = 500 })
    local id = post()
    for _, act in ipairs { "reload", "restart", "kill", "cut" } do
      t:advance(30)
      local before = sent()
      t[act](t)
      t:http(URL, { status = 500 })
      t:advance(400)
      if act == "reload" then assert.is_true(sent() > before, act) end
      for i = 1, sent() do assert.equal(id, t:requests()[i].headers["webhook-id"]) end
    end
    t:http(URL, { status = 200 })
    t:advance(86400)
    assert.same({ 0, 0, 1 }, { stats().pending, stats().dead, stats().delivered })
    t:kill()
    t:advance(86400)
    assert.same({ 0, 0, 0 }, { stats().pending, stats().dead, stats().delivered })
  end)

  it("keeps its letters when the app becomes durable, and dead letters over a restart", function()
    start("durable = false")
    t:http(URL, { status = 500 })
    t:http("http://gone.test/", { status = 410 })
    post()
    local gone = post { url = "http://gone.test/" }
    t:advance(2)
    assert(t:reload(source("durable = true")))
    t:advance(2)
    t:kill()
    t:http(URL, { status = 200 })
    assert.same({ 1, gone }, { dead().total, dead().letters[1].id })
    t:advance(86400)
    assert.same({ 0, 1 }, { stats().pending, stats().dead })
    t:advance(31 * 86400)
    assert.equal(0, dead().total)
  end)

  it("takes a letter that is there already only once, and refuses what cannot be one", function()
    start()
    t:http(URL, { status = 500 })
    local first = t:post("/hook", { json = { url = URL, id = "order-7" } }).json
    local second = t:post("/hook", { json = { url = URL, id = "order-7" } }).json
    assert.same({ { id = "order-7", duplicate = false }, { id = "order-7", duplicate = true } }, { first, second })
    assert.equal(1, stats().pending)
    for code, o in pairs { EINVAL = { url = "ftp://x" }, EBADFIELD = { url = URL, id = "a b" } } do
      assert.equal(code, t:post("/hook", { json = o }).json.error.code)
    end
    assert.equal("EBADFIELD", t:post("/hook", { json = { url = URL, headers = { A = "b\r\nC: d" } } }).json.error.code)
    assert.equal("EBADFIELD", t:post("/mail", { json = { to = "no", text = "x" } }).json.error.code)
    assert.truthy(t:post("/hook", { json = { ulr = URL } }).error:find("did you mean 'url'", 1, true))
    assert.equal(1, stats().pending)
  end)

  it("is full at its limits, and drops the oldest of too many dead letters", function()
    start("durable = true, max = 2, max_dead = 3")
    t:http(URL, { status = 500 })
    post()
    post()
    assert.equal("EFULL", t:post("/hook", { json = { url = URL } }).json.error.code)
    t:http(URL, { status = 410 })
    t:advance(60)
    assert.equal(2, dead().total)
    local ids = {}
    for i = 1, 3 do
      ids[i] = post()
      t:advance(2)
    end
    local page = dead()
    assert.same({ 3, ids[3], ids[2], ids[1] },
      { page.total, page.letters[1].id, page.letters[2].id, page.letters[3].id })
    assert.equal(2, stats().dropped)
    t:kill()
    assert.equal(3, dead().total)
  end)

  it("refuses what the disk does not take, and is whole afterwards", function()
    start()
    t:http(URL, { status = 200 })
    t:disk { full = true }
    assert.equal("ESTORE", t:post("/hook", { json = { url = URL } }).json.error.code)
    t:advance(30)
    assert.same({ 0, 0 }, { sent(), stats().pending })
    t:disk { full = false }
    t:advance(10)
    post()
    t:advance(1)
    assert.same({ 1, 0 }, { sent(), stats().pending })
  end)

  it("sends a mail to whom it is not yet sent, with one id", function()
    start()
    t:mail(function()
      if #t:mails() == 1 then return { refused = { ["x@y.org"] = "451 later", ["z@y.org"] = "550 nobody" } } end
      return #t:mails() == 2 and { status = 421, message = "busy" } or {}
    end)
    local to = { "ann@y.org", "x@y.org", "z@y.org" }
    local id = t:post("/mail", { json = { to = to, subject = "s", text = "t" } }).json.id
    t:advance(60)
    t:kill()
    t:advance(3600)
    local list = t:mails()
    assert.same({ { "ann@y.org", "x@y.org", "z@y.org" }, { "x@y.org" }, { "x@y.org" } },
      { list[1].to, list[2].to, list[3].to })
    assert.equal(3, #list)
    for i = 1, 3 do
      assert.equal(id, list[i].id)
      assert.equal(list[1].raw:match("Date: [^\r]+"), list[i].raw:match("Date: [^\r]+"))
    end
    assert.same({ 0, 0 }, { stats().pending, stats().dead })
    t:mail { status = 550, message = "no" }
    t:post("/mail", { json = { to = "x@y.org", text = "t" } })
    t:advance(1)
    assert.same({ "EREFUSED", 1, "mail" }, (function(l) return { l.code, l.attempts, l.via } end)(dead().letters[1]))
  end)

  it("tells each end to the app", function()
    t = kit.start([[
      local ended = app:state("ended", { list = {} })
      local outbox = require("sluice.outbox").new(app, { durable = true, retries = 0,
        on_end = function(letter, ok)
          table.insert(ended().list, { letter.data.n, ok, letter.error })
          error("oops")
        end })
      app:post("/go", function()
        outbox:webhook { url = "http://hook.test/a", data = { n = 1 } }
        outbox:webhook { url = "http://hook.test/b", data = { n = 2 } }
      end)]])
    t:http(URL, { status = 200 })
    t:http("http://hook.test/b", function() return nil, "it is down", "ECONNECT" end)
    t:post("/go")
    t:advance(60)
    assert.same({ { 1, true }, { 2, false, "it is down" } }, t:state("ended").list)
    assert.truthy(t:log("error")[1]:find("outbox: on_end raised: .*oops"))
  end)

  it("takes no redirect for a delivery but one that is followed whole", function()
    start("durable = true, retries = 1")
    t:http("http://hook.test/there", { status = 200 })
    t:http("http://else.test/", { status = 200 })
    for _, row in ipairs { { 301, "http://hook.test/there" }, { 302, "http://hook.test/there" },
      { 303, "http://hook.test/there" }, { 307, "http://else.test/" }, { 308, "https://hook.test/a" } } do
      t:http(URL, { status = row[1], headers = { location = row[2] } })
      local id, before = post { json = 1 }, sent()
      t:advance(60)
      for i = before + 1, sent() do assert.same({ URL, "POST" }, { t:requests()[i].url, t:requests()[i].method }) end
      local letter = dead().letters[1]
      assert.same({ id, 2, row[1], ("it answered %d, which leads to %s"):format(row[1], row[2]) },
        { letter.id, letter.attempts, letter.status, letter.error })
      assert.equal(0, stats().delivered)
    end
    t:http(URL, { status = 308, headers = { location = "http://hook.test/there" } })
    local id = post { json = 1 }
    t:advance(1)
    local last = t:requests()[sent()]
    assert.same({ "http://hook.test/there", "POST", "1", id },
      { last.url, last.method, last.body, last.headers["webhook-id"] })
    assert.equal(1, stats().delivered)
  end)

  local TELLS = [[
    local http = require("sluice.http")
    local outbox = require("sluice.outbox").new(app, { durable = true, retries = 1, concurrency = 2,
      on_end = function(letter, ok)
        sluice.sleep(3)
        http.post("http://told.test/", { json = { id = letter.id, ok = ok, error = letter.error, code = letter.code } })
      end })
    app:post("/hook", function(req) return 202, { id = outbox:webhook(req:json()) } end)
    app:post("/slow", function() sluice.sleep(5) return 200 end)
    outbox:routes("/outbox", function() return true end)]]

  it("tells each end although the server was killed or the app replaced while it did", function()
    for _, act in ipairs { "kill", "restart", "reload" } do
      local told = {}
      t = kit.start(TELLS)
      local function connect()
        t:http("http://gone.test/", { status = 410 })
        t:http(URL, { status = 200 })
        t:http("http://told.test/", function(r)
          table.insert(told, r.json.id .. " " .. tostring(r.json.ok))
          return { status = 200 }
        end)
      end
      connect()
      post { url = "http://gone.test/", id = "dead" }
      post { id = "well" }
      t:advance(1)
      assert.same({}, told)
      if act == "reload" then assert(t:reload(kit.source(TELLS .. " -- again"))) else t[act](t) end
      connect()
      t:advance(10)
      table.sort(told)
      assert.same({ "dead false", "well true" }, told, act)
      assert.same({ 0, 1 }, { stats().pending, stats().dead }, act)
      t:kill()
      connect()
      t:advance(86400)
      assert.equal(2, #told, act)
      t:stop()
    end
  end)

  it("begins what is replayed while its end is told when that is done, and forgets the error", function()
    local told = {}
    t = kit.start(TELLS)
    t:http("http://told.test/", function(r)
      told[#told + 1] = r.json
      return { status = 200 }
    end)
    t:http(URL, { status = 410 })
    post { id = "a" }
    t:advance(1)
    t:http(URL, { status = 200 })
    assert.equal(202, t:post("/outbox/dead/a/replay").status)
    t:advance(2.5)
    assert.equal(2, #t:requests() - #told)
    t:advance(3)
    assert.same({ { id = "a", ok = false, error = "it answered 410", code = "EUPSTREAM" }, { id = "a", ok = true } },
      told)
    assert.same({ 0, 0 }, { stats().pending, stats().dead })
  end)

  it("delivers a letter that takes the id of one that was dropped on its way", function()
    for _, options in ipairs { "true", "false" } do
      t = kit.start(([[
        local outbox = require("sluice.outbox").new(app, { durable = %s, concurrency = 1, on_end = function() end,
          secret = function() sluice.sleep(2) return "a secret of at least 24 bytes" end })
        app:post("/hook", function(req) return 202, { id = outbox:webhook(req:json()) } end)
        outbox:routes("/outbox", function() return true end)]]):format(options))
      t:http(URL, { status = 200 })
      post { id = "x", json = "old" }
      t:advance(1)
      assert.equal(204, t:delete("/outbox/dead/x").status)
      post { id = "x", json = "new" }
      t:advance(6)
      assert.equal("new", t:requests()[sent()].json)
      assert.same({ 0, 1, 1 }, { stats().pending, stats().delivered, stats().dropped })
      t:stop()
    end
  end)

  it("counts attempts and waits while the disk takes nothing", function()
    start("durable = true, retries = 3, backoff = 30")
    t:http(URL, { status = 500, headers = { ["Retry-After"] = "20" } })
    local id = post()
    t:advance(1)
    t:disk { full = true }
    t:advance(90)
    assert.same({ 4, 0, 1 }, { sent(), stats().pending, stats().dead })
    assert.equal(4, dead().letters[1].attempts)
    assert.equal("ESTORE", t:post("/outbox/dead/" .. id .. "/replay").json.error.code)
    assert.same({ 4, id }, { dead().letters[1].attempts, dead().letters[1].id })
    t:disk { full = false }
    t:advance(30)
    t:kill()
    t:http(URL, { status = 500 })
    t:advance(3600)
    assert.same({ 0, 1 }, { stats().pending, stats().dead })
  end)

  it("is refused at load where its options make no sense", function()
    for part, options in pairs { ["retries is an integer"] = "retries = -1", ["sign.secret"] = 'secret = "short"',
      ["unknown option 'retry'"] = "retry = 1", ["backoff is a number"] = "backoff = 0", ["mail: unknown option"] =
      "mail = { to = 1 }", ["webhook: unknown option"] = "webhook = { url = 1 }", ["name 'a b'"] = 'name = "a b"' } do
      assert.error_matches(function() start(options) end, part)
    end
    assert.error_matches(function()
      kit.start('local o = require("sluice.outbox").new(app)\no:routes("/x")')
    end, "a guard is missing")
    assert.error_matches(function()
      kit.start('require("sluice.outbox").new(app)\napp:store("s")')
    end, "stands above the stores")
  end)
end)
