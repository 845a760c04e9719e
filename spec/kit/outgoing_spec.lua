--- Other servers in the kit: answered by the test, recorded, and never reached.
local kit = require("spec.support.kit")

-- What sluice.http and sluice.client ask, once their arguments are checked.
local ASK = [[
  local process = require("sluice.base.process")
  local function ask(o)
    o.method, o.headers = o.method or "GET", o.headers or {}
    return process.outgoing(o)
  end
  app:post("/hook", function(req)
    local answer, message, code = ask { method = "POST", url = "http://pager/hook", body = req.body }
    if not answer then return nil, message, code end
    return 200, { status = answer.status, body = answer.body, type = answer.headers["content-type"] }
  end)
  app:get("/feed", function(req)
    return ask({ url = "http://feed", headers = { ["last-event-id"] = req.query.after } }).body
  end)
]]

describe("another server", function()
  after_each(kit.stop_all)

  it("answers what the test says, and is recorded", function()
    local t = kit.start(ASK)
    t:http("http://pager/hook", { status = 201, json = { ok = true } })
    t:advance(2)
    local r = t:post("/hook", { json = { n = 1 } })
    assert.same({ status = 201, body = '{"ok":true}', type = "application/json" }, r.json)
    local sent = t:requests()
    assert.equal(1, #sent)
    assert.same({ "POST", "http://pager/hook", { n = 1 }, 1780000002 },
      { sent[1].method, sent[1].url, sent[1].json, sent[1].at })
    t:http("http://pager/hook", function(request)
      if request.json.n > 1 then return nil, "it is down", "ECLOSED" end
      return { body = "n is " .. request.json.n }
    end)
    assert.equal("n is 1", t:post("/hook", { json = { n = 1 } }).json.body)
    assert.equal("it is down", t:post("/hook", { json = { n = 2 } }).json.error.message)
    assert.equal(3, #t:requests())
  end)

  it("shows each attempt as it was sent", function()
    local t = kit.start([[
      local http = require("sluice.http")
      app:post("/go", function()
        http.post("http://hook", { json = {}, retries = 1, sign = { secret = "a secret of at least 24 bytes" } })
      end)]])
    local seen = {}
    t:http("http://hook", function(request)
      seen[#seen + 1] = request.headers["webhook-timestamp"]
      return { status = 503, headers = { ["Retry-After"] = "3" } }
    end)
    t:post("/go")
    t:advance(5)
    local sent = t:requests()
    assert.same(seen, { sent[1].headers["webhook-timestamp"], sent[2].headers["webhook-timestamp"] })
    assert.equal(3, seen[2] - seen[1])
  end)

  -- The times of all attempts since the first one, for one row of options and answers.
  local function attempts(o, answer)
    local t = kit.start([[
      local http = require("sluice.http")
      app:post("/go", function(req)
        local o = req:json()
        o.url = "http://hook"
        local answer, message, code = http.request(o)
        return { status = answer and answer.status, code = code }
      end)]])
    t:http("http://hook", answer)
    t:post("/go", { json = o })
    local times = {}
    for i, sent in ipairs(t:requests()) do times[i] = sent.at - t:requests()[1].at end
    t:stop()
    return times
  end

  it("is asked again only where that does no harm", function()
    local function fails(result)
      if type(result) == "number" then return { status = result } end
      return function() return nil, "no", result end
    end
    local twice = { ECONNECT = true, [425] = true, [429] = true, [503] = true } -- whatever was asked
    for _, result in ipairs { "ECONNECT", "EUPSTREAM", "ETIMEOUT", "EINVAL", "ETOOBIG", 200, 304, 400, 404, 408, 410,
      425, 429, 500, 501, 502, 503, 504 } do
      local passes = twice[result] or result == "EUPSTREAM" or result == "ETIMEOUT" or result == 408
        or result == 500 or result == 502 or result == 504
      for _, row in ipairs {
        { { method = "GET" }, passes }, { { method = "PUT", body = "" }, passes },
        { { method = "POST" }, twice[result] }, { { method = "PATCH", body = "" }, twice[result] },
        { { method = "POST", headers = { ["idempotency-key"] = "k" } }, passes },
        { { method = "POST", sign = { secret = "a secret of at least 24 bytes" } }, passes },
        { { method = "POST", idempotent = true }, passes }, { { method = "GET", idempotent = false }, twice[result] },
      } do
        row[1].retries = 1
        assert.equal(row[2] and 2 or 1, #attempts(row[1], fails(result)), ("%s %s"):format(row[1].method, result))
      end
    end
  end)

  it("is not asked again once a redirect has said that it was acted upon", function()
    for _, row in ipairs { { 303, nil, 1 }, { 302, nil, 1 }, { 301, nil, 1 }, { 307, nil, 3 }, { 308, nil, 3 },
      { 303, true, 3 } } do
      for _, last in ipairs { { status = 503 }, function() return nil, "no", "ECONNECT" end } do
        local t = kit.start([[
          local http = require("sluice.http")
          app:post("/go", function(req) http.request(req:json()) end)]])
        t:http("http://shop/pay", { status = row[1], headers = { location = "http://shop/done" } })
        t:http("http://shop/done", last)
        t:post("/go", { json = { url = "http://shop/pay", json = 1, retries = 2, idempotent = row[2] } })
        t:advance(100)
        local n = 0
        for _, sent in ipairs(t:requests()) do n = n + (sent.url == "http://shop/pay" and 1 or 0) end
        assert.equal(row[3], n, row[1])
        t:stop()
      end
    end
  end)

  it("follows only what keeps method, body and server, when it is told to", function()
    local t = kit.start([[
      local http = require("sluice.http")
      app:post("/go", function(req)
        local o = req:json()
        o.strict_redirects = true
        local answer, message = http.request(o)
        return { status = answer and answer.status, message = message }
      end)]])
    t:http("http://a/there", { status = 200 })
    t:http("http://b/", { status = 200 })
    for _, row in ipairs { { 301, "http://a/there", 301 }, { 302, "http://a/there", 302 },
      { 303, "http://a/there", 303 }, { 307, "http://a/there", 200 }, { 308, "http://A/there", 200 },
      { 307, "http://b/", 307 }, { 308, "https://a/there", 308 }, { 308, "http://a:81/there", 308 } } do
      t:http("http://A/there", { status = 200 })
      t:http("http://a/", { status = row[1], headers = { location = row[2] } })
      assert.same({ status = row[3] }, t:post("/go", { json = { url = "http://a/", json = 1 } }).json, row[2])
      local sent = t:requests()[#t:requests()]
      assert.same({ "POST", "1" }, { sent.method, sent.body })
    end
  end)

  it("is asked again after a random time that grows, or when it says, by a deadline", function()
    local times = attempts({ retries = 6 }, { status = 503 })
    assert.equal(7, #times)
    local sum = 0
    for i = 2, 7 do
      local pause = times[i] - times[i - 1]
      assert.is_true(pause >= 0 and pause <= math.min(2 ^ (i - 2), 30), i .. ": " .. pause)
      sum = sum + pause
    end
    assert.is_true(sum > 5, "no pauses")
    local function says(text) return { status = 503, headers = { ["Retry-After"] = text } } end
    assert.same({ 0, 3 }, attempts({ retries = 1 }, says("3")))
    assert.same({ 0, 30 }, attempts({ retries = 1 }, says("3600")))
    assert.same({ 0, 7 }, attempts({ retries = 1 }, says("Thu, 28 May 2026 20:26:47 GMT")))
    assert.same({ 0, 0 }, attempts({ retries = 1 }, says("Sun, 06 Nov 1994 08:49:37 GMT")))
    assert.is_true(attempts({ retries = 1 }, says("soon"))[2] <= 1)
    assert.same({ 0, 3, 6 }, attempts({ retries = 9, deadline = 8 }, says("3")))
  end)

  it("takes mail, and refuses it as the test says", function()
    local t = kit.start([[
      local mail = require("sluice.mail")
      app:post("/go", function(req)
        local sent, message, code, refused = mail.send(req:json())
        if not sent then return 502, { message = message, code = code, refused = refused } end
        return 200, sent
      end)]], { env = { SMTP_URL = "smtp://user:p%40ss@mail.test:587", SMTP_FROM = "a@b.org" } })
    local o = { to = { "x@y.org", "z@y.org" }, subject = "s", text = "t", id = "n7", retries = 2 }
    assert.same({ id = "<n7@b.org>", accepted = { "x@y.org", "z@y.org" }, refused = {} },
      t:post("/go", { json = o }).json)
    local sent = t:mails()[1]
    assert.same({ "a@b.org", { "x@y.org", "z@y.org" }, "s", "t", "n7", "user", "smtp://mail.test:587" },
      { sent.from, sent.to, sent.subject, sent.text, sent.id, sent.user, sent.url })
    t:mail { refused = { ["x@y.org"] = "550 nobody", ["z@y.org"] = "450 later" } }
    local r = t:post("/go", { json = o })
    assert.equal("EUPSTREAM", r.json.code)
    assert.same({ { address = "x@y.org", status = 550, message = "nobody" },
      { address = "z@y.org", status = 450, message = "later" } }, r.json.refused)
    assert.same({ { "x@y.org", "z@y.org" }, { "z@y.org" }, { "z@y.org" } },
      { t:mails()[2].to, t:mails()[3].to, t:mails()[4].to })
    t:mail { status = 554, message = "spam" }
    assert.same({ "EREFUSED", 5 }, { t:post("/go", { json = o }).json.code, #t:mails() })
    t:mail(function(mail) return nil, "it is down " .. mail.id, "ECONNECT" end)
    assert.equal("mail.test:587: it is down n7", t:post("/go", { json = o }).json.message)
    assert.equal(8, #t:mails())
    assert.error_matches(function() t:mail("no") end, "or a function")
  end)

  it("fails the test when it has no answer", function()
    local t = kit.start(ASK)
    assert.error_matches(function() t:post("/hook", { json = {} }) end,
      'the app asked for POST http://pager/hook, and the test has no answer for it: t:http%("http://pager/hook"')
    t:http("http://pager/hook", {})
    assert.equal(200, t:post("/hook", { json = {} }).status)
    assert.error_matches(function() t:http("http://x", "text") end, "or a function")
  end)

  it("may have its answers before the app starts", function()
    local source = [[
      local process = require("sluice.base.process")
      local got = app:state("got", {})
      app:service("ask", function()
        got().status = process.outgoing({ url = "http://early" }).status
        sluice.sleep(9)
      end)]]
    local t = kit.start(source, { http = { ["http://early"] = { status = 299 } } })
    assert.same({ status = 299 }, t:state("got"))
    assert.error_matches(function() kit.start(source) end, "the app asked for GET http://early")
  end)

  it("is a feed of events that goes on where the asker was", function()
    local t = kit.start(ASK)
    local events = { { event = "price", data = { n = 1 } } }
    t:http("http://feed", { events = events })
    assert.equal('retry: 500\n\nevent: price\ndata: {"n":1}\nid: 1\n\n', t:get("/feed").body)
    events[2] = { data = "two\nlines" }
    assert.equal("retry: 500\n\nevent: message\ndata: two\ndata: lines\nid: 2\n\n", t:get("/feed?after=1").body)
    assert.equal("retry: 500\n\n", t:get("/feed?after=2").body)
  end)

  local found = pcall(require, "sluice.client");
  (found and it or pending)("is asked by sluice.http and read by sluice.client", function()
    local feed = { events = { { event = "price", data = { symbol = "A", price = 1 } } } }
    local t = kit.start([[
      local http, client = require("sluice.http"), require("sluice.client")
      app:channel("prices", { history = "latest", key = "symbol" })
      app:stream("/prices", "prices")
      app:post("/hook", function(req)
        local answer, message, code = http.post("http://pager/hook", { json = req:json() })
        if not answer then return nil, message, code end
        return 200, { status = answer.status, body = answer.json() }
      end)
      app:service("feed", function()
        for event in client.events("http://feed/prices") do
          if event.event == "price" then app:publish("prices", "price", event.data) end
        end
      end)]], { http = { ["http://feed/prices"] = feed } })
    t:http("http://pager/hook", { status = 201, json = { ok = true } })
    assert.same({ status = 201, body = { ok = true } }, t:post("/hook", { json = { n = 1 } }).json)
    assert.equal(1, t:requests()[#t:requests()].json.n)
    local c = t:connect("/prices")
    c:wait_for("price", 2, { price = 1 })
    table.insert(feed.events, { event = "price", data = { symbol = "A", price = 2 } })
    c:wait_for("price", 60, { price = 2 })
    for _ = 1, 3 do assert(t:reload()) end
    table.insert(feed.events, { event = "price", data = { symbol = "A", price = 3 } })
    c:wait_for("price", 60, { price = 3 })
    t:advance(60)
    assert.equal(1, #t:connect("/prices"):events("price"))
  end)
end)
