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
