--- app:durable_stream: pages, long-polls and live readers of one log, in the form of Durable Streams.
local json = require("sluice.json")
local kit = require("spec.support.kit")

local APP = [[
app:channel("log/:id", { history = 1000, ttl = false })
app:channel("short/:id", { history = 3, ttl = false })
app:channel("none", { history = 0 })
app:channel("state", { history = "latest" })
app:channel("mine/:id", { history = 10, read = function(user, p) return user ~= nil and user.id == p.id end })
app:durable_stream("/json/:id", { channel = "log/:id", closes = { "done", "failed" } })
app:durable_stream("/text/:id", { channel = "log/:id", type = "text/plain; charset=utf-8", closes = "done" })
app:durable_stream("/bytes/:id", { channel = "log/:id", type = "image/png" })
app:durable_stream("/short/:id", "short/:id")
app:durable_stream("/some/:id", { channel = "log/:id", types = { "a" }, wait = 5 })
app:durable_stream("/none", function() return "none" end)
app:durable_stream("/state", function() return "state" end)
app:durable_stream("/mine/:id", "mine/:id")
app:durable_stream("/guarded/:id", function(req)
  if req.query.key == "k" then return true end
  return 401, "who are you"
end, "log/:id")
app:durable_stream("/by/:id", function(req)
  if req.params.id == "nobody" then return 404, "no such log" end
  return { channel = "log/" .. req.params.id, type = "text/html" }
end)
app:durable_stream("/wrong", function() end)
app:durable_stream("/user/:id", function(req) req.user = { id = "u", expires = sluice.time() + 3 } return true end,
  "log/:id")
app:cors("/json/**", { origins = { "https://a.example" } })
app:task("say", function(d) app:publish(d[1], d[2], d[3]) end)
app:post("/after/:seconds", function(req)
  app:after(tonumber(req.params.seconds), "say", req:json())
  return { ok = true }
end)
]]

local function next_offset(answer) return answer.headers["stream-next-offset"] end

describe("a durable stream", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  local function get(path, headers) return t:get(path, { headers = headers }) end
  local function publish(name, ...)
    for _, data in ipairs { ... } do assert(t:publish(name, "a", data)) end
  end

  describe("in pages", function()
    it("has the data of all events as JSON, and says where to go on", function()
      publish("log/x", { n = 1 }, "two\nlines", "[3, \n 3]", "true")
      local all = get("/json/x")
      assert.equal(200, all.status)
      assert.same({ { n = 1 }, "two\nlines", { 3, 3 }, true }, all.json)
      assert.equal("application/json", all.headers["content-type"])
      assert.equal("true", all.headers["stream-up-to-date"])
      assert.is_nil(all.headers["stream-closed"])
      assert.is_nil(all.headers["stream-cursor"])
      assert.equal(all.body, get("/json/x?offset=-1").body)
      local empty = get("/json/x?offset=" .. next_offset(all))
      assert.same({ 200, "[]", "true", next_offset(all) },
        { empty.status, empty.body, empty.headers["stream-up-to-date"], next_offset(empty) })
      publish("log/x", 5)
      assert.equal("[5]", get("/json/x?offset=" .. next_offset(all)).body)
    end)

    it("has text and bytes one behind the other", function()
      publish("log/x", "one ", "two\n", "", "three")
      local page = get("/text/x")
      assert.same({ "one two\nthree", "text/plain; charset=utf-8" }, { page.body, page.headers["content-type"] })
      publish("log/b", "AAEC/w==", "SGVs\nbG8=", "")
      page = get("/bytes/b")
      assert.same({ "\0\1\2\255Hello", "image/png" }, { page.body, page.headers["content-type"] })
    end)

    it("says what is no base64, and gives what goes before it", function()
      for _, wrong in ipairs { "SGVsbG8", "SGVsbG9=", "S===", "not base64", "SGVs=bG8", "*AAA" } do
        local name = "log/w" .. #wrong .. wrong:byte(1)
        publish(name, "SGVsbG8=", wrong, "AAAA")
        local path = "/bytes/" .. name:sub(5)
        local page = get(path)
        assert.same({ 200, "Hello" }, { page.status, page.body }, wrong)
        assert.is_nil(page.headers["stream-up-to-date"])
        assert.equal(500, get(path .. "?offset=" .. next_offset(page)).status, wrong)
      end
    end)

    it("takes for JSON what is JSON", function()
      local texts = { "0", "-0", "01", "1.", ".5", "1e5", "1e", "-", "+1", "1E+2", "1.5e-3", '"a',
        '"\\u12g4"', '"\\u1234"',
        '"\\x"', '"tab\there"', "nul", "null", "null x", "[1,]", "[,1]", "[]", "{}", "{,}", '{"a":1,}',
        '{"a" : 1 , "b":[{}]}',
        '{"a"}', "{1:2}", "[1 2]", "[[]", "[]]", ("["):rep(64) .. ("]"):rep(64), ("["):rep(65) .. ("]"):rep(65), "NaN",
        " 1 ", "'a'", "tru", "truee", '"a" "b"', "[1,2", "é", '"é"', "// 1", '{"a":{"b":[1,{"c":null}]},"d":"\\\\"}' }
      for i, text in ipairs(texts) do
        publish("log/j" .. i, text)
        local value = json.decode(text)
        local want = value ~= nil and text or json.encode(text)
        assert.same(json.decode("[" .. want .. "]"), get("/json/j" .. i).json, text)
      end
    end)

    it("leaves the events out that its types do not name, and goes on behind them", function()
      publish("log/x", 1)
      t:publish("log/x", "b", 2)
      local page = get("/some/x")
      assert.equal("[1]", page.body)
      assert.equal(next_offset(get("/json/x")), next_offset(page))
      assert.equal("[2]", get("/json/x?types=b").body)
    end)

    it("of a large log is one of several", function()
      for i = 1, 40 do publish("log/x", ("%03d"):format(i) .. ("x"):rep(20000)) end
      local offset, got, pages = "-1", {}, 0
      repeat
        local page = get("/json/x?offset=" .. offset)
        for _, text in ipairs(page.json) do got[#got + 1] = tonumber(text:sub(1, 3)) end
        assert.is_true(#page.body <= 256 * 1024 + 66000)
        pages, offset = pages + 1, next_offset(page)
      until page.headers["stream-up-to-date"]
      assert.equal(40, #got)
      for i = 1, 40 do assert.equal(i, got[i]) end
      assert.is_true(pages > 2)
    end)

    it("begins at the end when it is asked for now", function()
      publish("log/x", 1)
      local page = get("/json/x?offset=now")
      assert.same({ "[]", "no-store", "true" },
        { page.body, page.headers["cache-control"], page.headers["stream-up-to-date"] })
      assert.is_nil(page.headers.etag)
      publish("log/x", 2)
      assert.equal("[2]", get("/json/x?offset=" .. next_offset(page)).body)
      assert.equal("", get("/text/x?offset=now").body)
    end)

    it("has offsets that sort as text, also in a log that had no events", function()
      local list = { next_offset(get("/json/x")) }
      for i = 1, 12 do
        publish("log/x", i)
        publish("log/other", i)
        list[#list + 1] = next_offset(get("/json/x"))
      end
      for i = 2, #list do assert.is_true(list[i - 1] < list[i]) end
      assert.equal("[1]", get("/json/x?offset=" .. list[1]).body:sub(1, 2) .. "]")
    end)
  end)

  describe("is asked", function()
    it("in ways that make sense, else 400", function()
      publish("log/x", 1)
      local offset = next_offset(get("/json/x"))
      for _, query in ipairs { "offset=", "offset=1", "offset=-2", "offset=NOW", "offset=" .. offset .. "0",
        "offset=" .. offset:sub(1, -2), "offset=" .. offset:upper(), "offset=a,b", "offset=a%20b",
        "offset=-1&offset=-1",
        "offset=" .. offset:gsub("_", "-"), "live=long-poll", "live=sse", "offset=-1&live=true", "offset=-1&live=",
        "offset=" .. ("9"):rep(3000) } do
        local answer = get("/json/x?" .. query)
        assert.equal(400, answer.status, query)
        assert.truthy(answer.json.error.message:find("^[ol]"), query)
      end
      assert.equal(200, get("/json/x?other=1").status)
    end)

    it("by those who may", function()
      publish("mine/u", 1)
      assert.equal(403, get("/mine/u").status)
      assert.equal(403, get("/mine/u?offset=-1&live=sse").status)
      assert.equal(401, get("/guarded/x").status)
      local mine = t:get("/guarded/x?key=k")
      assert.same({ 200, "private, no-cache", "same-origin" }, { mine.status, mine.headers["cache-control"],
        mine.headers["cross-origin-resource-policy"] })
      assert.equal(404, get("/by/nobody").status)
      publish("log/x", "<b>", "</b>")
      assert.same({ "<b></b>", "text/html" }, { get("/by/x").body, get("/by/x").headers["content-type"] })
      assert.equal(500, get("/wrong").status)
      assert.truthy(t:last_error():find("the plan function returned nothing", 1, true))
    end)

    it("of a log with a history", function()
      for _, path in ipairs { "/none", "/state" } do
        assert.equal(500, get(path).status)
        assert.equal(500, get(path .. "?offset=-1&live=sse").status)
        assert.equal(500, get(path .. "?offset=-1&live=long-poll").status)
      end
    end)

    it("by pages of other origins that app:cors names", function()
      publish("log/x", 1)
      local answer = get("/json/x", { Origin = "https://a.example" })
      assert.equal("https://a.example", answer.headers["access-control-allow-origin"])
      for name in ("Stream-Next-Offset Stream-Cursor Stream-Up-To-Date Stream-Closed ETag"):gmatch("%S+") do
        assert.truthy(answer.headers["access-control-expose-headers"]:find(name, 1, true))
      end
      local live = t:connect("/json/x?offset=-1&live=sse", { headers = { Origin = "https://a.example" } })
      assert.equal("https://a.example", live.headers["access-control-allow-origin"])
      assert.truthy(live.headers["access-control-expose-headers"])
    end)

    it("again, with the tag of the answer before", function()
      publish("log/x", 1, 2)
      local first = get("/json/x")
      assert.equal("no-cache", first.headers["cache-control"]) -- what is trimmed meanwhile is never its beginning again
      local same = get("/json/x", { ["If-None-Match"] = first.headers.etag })
      assert.same({ 304, "" }, { same.status, same.body })
      publish("log/x", 3)
      local new = get("/json/x", { ["If-None-Match"] = first.headers.etag })
      assert.same({ 200, "[1,2,3]" }, { new.status, new.body })
      assert.equal("public, max-age=60, stale-while-revalidate=300",
        get("/json/x?offset=" .. next_offset(first)).headers["cache-control"])
      local tags = {}
      for _, path in ipairs { "/json/x", "/json/y", "/text/x", "/some/x", "/json/x?offset=" .. next_offset(first),
        "/json/x?types=b" } do
        local tag = get(path).headers.etag
        assert.is_nil(tags[tag], path)
        tags[tag] = true
      end
    end)
  end)

  describe("by long-poll", function()
    it("answers at once when something is there, and else with the next", function()
      publish("log/x", 1)
      local first = get("/json/x?offset=-1&live=long-poll")
      assert.same({ 200, "[1]" }, { first.status, first.body })
      assert.truthy(first.headers["stream-cursor"]:find("^%d+$"))
      t:post("/after/3", { json = { "log/x", "a", "later" } })
      local before = t:elapsed()
      local second = get("/json/x?offset=" .. next_offset(first) .. "&live=long-poll")
      assert.same({ 200, '["later"]', "true" }, { second.status, second.body, second.headers["stream-up-to-date"] })
      assert.is_true(t:elapsed() - before >= 3 and t:elapsed() - before < 4)
      t:post("/after/3", { json = { "log/x", "a", "more" } })
      assert.equal('["more"]', get("/json/x?offset=now&live=long-poll").body)
    end)

    it("says after 25 seconds that nothing came; or sooner, by wait", function()
      for path, seconds in pairs { ["/json/x"] = 25, ["/some/x"] = 5 } do
        publish("log/x", 1)
        local offset, before = next_offset(get(path)), t:elapsed()
        local answer = get(path .. "?offset=" .. offset .. "&live=long-poll")
        assert.same({ 204, "", "true", offset, "no-store" }, { answer.status, answer.body,
          answer.headers["stream-up-to-date"], next_offset(answer), answer.headers["cache-control"] })
        assert.truthy(answer.headers["stream-cursor"])
        local took = t:elapsed() - before
        assert.is_true(took >= seconds and took < seconds + 1, took)
      end
    end)

    it("does not wait for events that its types leave out", function()
      t:post("/after/2", { json = { "log/x", "b", "other" } })
      t:post("/after/4", { json = { "log/x", "a", "mine" } })
      assert.equal('["mine"]', get("/some/x?offset=now&live=long-poll").body)
    end)

    it("gives out no cursor twice", function()
      publish("log/x", 1)
      local cursor = get("/json/x?offset=-1&live=long-poll").headers["stream-cursor"]
      for _ = 1, 5 do
        local new = get("/json/x?offset=-1&live=long-poll&cursor=" .. cursor).headers["stream-cursor"]
        assert.is_true(tonumber(new) > tonumber(cursor))
        cursor = new
      end
      assert.equal(200, get("/json/x?offset=-1&live=long-poll&cursor=what").status)
    end)

    it("ends when its user is no longer who they said", function()
      local before = t:elapsed()
      assert.equal(401, get("/user/x?offset=now&live=long-poll").status)
      assert.is_true(t:elapsed() - before <= 4)
    end)
  end)

  describe("live", function()
    local function follow(path) return t:connect(path .. "&live=sse") end
    local function control(c) return c:wait_for("control", 1).data end

    it("has an event data for what comes together, and behind each an event control", function()
      publish("log/x", { n = 1 }, { n = 2 })
      local c = follow("/json/x?offset=-1")
      assert.equal("text/event-stream", c.headers["content-type"])
      assert.same({ { n = 1 }, { n = 2 } }, c:wait_for("data", 1).data)
      local said = control(c)
      assert.same({ next_offset(get("/json/x")), true }, { said.streamNextOffset, said.upToDate })
      assert.truthy(said.streamCursor:find("^%d+$"))
      publish("log/x", "three\nlines")
      assert.same({ "three\nlines" }, c:wait_for("data", 1).data)
      assert.equal(next_offset(get("/json/x")), control(c).streamNextOffset)
      assert.equal(0, #c:events("hello"))
    end)

    it("begins with a control event when there is nothing", function()
      local c = follow("/json/x?offset=-1")
      local said = control(c)
      assert.same({ next_offset(get("/json/x")), true }, { said.streamNextOffset, said.upToDate })
    end)

    it("has text as lines, and bytes as base64", function()
      publish("log/x", "one\n two", "\nthree")
      local c = follow("/text/x?offset=-1")
      assert.equal("one\n two", c:wait_for("data", 1).text)
      control(c)
      assert.equal("\nthree", c:wait_for("data", 1).text)
      assert.is_nil(c.headers["stream-sse-data-encoding"])
      publish("log/b", "AAEC/w==")
      c = follow("/bytes/b?offset=-1")
      assert.equal("base64", c.headers["stream-sse-data-encoding"])
      assert.equal("AAEC/w==", c:wait_for("data", 1).text)
    end)

    it("goes on from each offset that it was told", function()
      for i = 1, 30 do publish("log/x", i) end
      local c = follow("/text/x?offset=-1")
      c:wait_for("control", 1, { upToDate = true })
      local offsets = {}
      for _, e in ipairs(c:events("control")) do offsets[#offsets + 1] = e.data.streamNextOffset end
      assert.is_true(#offsets >= 30)
      for i = 1, 29 do
        local rest = get("/json/x?offset=" .. offsets[i]).json
        assert.equal(30 - i, #rest)
        assert.equal(i + 1, rest[1])
      end
    end)

    it("shows itself to the app as any stream does, and pages do not", function()
      local d = kit.start([[
        app:channel("log", { history = 10 })
        app:durable_stream("/log", "log")
        local seen = app:state("seen", {})
        app:on("connect", function(client) table.insert(seen(), "connect") end)
        app:on("disconnect", function(client) table.insert(seen(), "disconnect") end)
        app:on("subscribe", "log", function(client) table.insert(seen(), "subscribe") end)
      ]])
      d:get("/log")
      d:get("/log?offset=now&live=long-poll")
      assert.same({}, d:state("seen"))
      local c = d:connect("/log?offset=now&live=sse")
      d:settle()
      assert.same({ "connect", "subscribe" }, d:state("seen"))
      c:close()
      d:settle()
      assert.same({ "connect", "subscribe", "disconnect" }, d:state("seen"))
    end)

    it("stays open over a reload", function()
      local c = follow("/json/x?offset=now")
      control(c)
      assert.is_true(t:reload(kit.source(APP .. "-- again")))
      publish("log/x", 1)
      assert.same({ 1 }, c:wait_for("data", 1).data)
    end)
  end)

  describe("that an event closes", function()
    it("says so with the last page", function()
      publish("log/x", 1)
      local open = next_offset(get("/json/x"))
      t:publish("log/x", "done", { n = "last" })
      local page = get("/json/x")
      assert.same({ '[1,{"n":"last"}]', "true" }, { page.body, page.headers["stream-closed"] })
      local last = get("/json/x?offset=" .. next_offset(page))
      assert.same({ 200, "[]", "true" }, { last.status, last.body, last.headers["stream-closed"] })
      assert.equal("true", get("/json/x?offset=now").headers["stream-closed"])
      assert.is_nil(get("/some/x").headers["stream-closed"])
      assert.truthy(page.headers.etag ~= get("/json/x?offset=" .. open).headers.etag)
    end)

    it("has no message of an event without data", function()
      publish("log/x", "1")
      t:publish("log/x", "done", "")
      assert.same({ "[1]", "1" }, { get("/json/x").body, get("/text/x").body })
      publish("log/y", "1")
      t:publish("log/y", "failed", "null")
      assert.equal("[1]", get("/json/y").body)
    end)

    it("is not waited for", function()
      t:publish("log/x", "done", "")
      local before = t:elapsed()
      local answer = get("/json/x?offset=now&live=long-poll")
      assert.same({ 204, "true" }, { answer.status, answer.headers["stream-closed"] })
      assert.is_true(t:elapsed() - before < 1)
      t:post("/after/2", { json = { "log/y", "done", "" } })
      answer = get("/json/y?offset=now&live=long-poll")
      assert.same({ 204, "true" }, { answer.status, answer.headers["stream-closed"] })
      assert.is_true(t:elapsed() - before < 4)
    end)

    it("ends its live readers", function()
      local c = t:connect("/json/x?offset=now&live=sse")
      c:wait_for("control", 1)
      t:publish("log/x", "done", { last = true })
      assert.same({ { last = true } }, c:wait_for("data", 1).data)
      local said = c:wait_for("control", 1).data
      assert.same({ true, nil }, { said.streamClosed, said.streamCursor })
      t:settle()
      assert.is_true(c.exchange.ended)
      local again = t:connect("/json/x?offset=" .. said.streamNextOffset .. "&live=sse")
      assert.is_true(again:wait_for("control", 1).data.streamClosed)
    end)
  end)

  describe("that has lost something", function()
    it("answers 410 to a reader who is behind, however it reads", function()
      publish("short/x", 1)
      local old = next_offset(get("/short/x"))
      publish("short/x", 2, 3, 4)
      assert.equal("[2,3,4]", get("/short/x?offset=" .. old).body)
      publish("short/x", 5)
      for _, live in ipairs { "", "&live=long-poll", "&live=sse" } do
        local answer = get("/short/x?offset=" .. old .. live)
        assert.same({ 410, "ETRIMMED" }, { answer.status, answer.json.error.code })
      end
      assert.equal("[3,4,5]", get("/short/x").body)
    end)

    it("by a restart answers 410 to offsets from before it", function()
      publish("log/x", 1)
      local old = next_offset(get("/json/x"))
      t:restart()
      for _, live in ipairs { "", "&live=long-poll", "&live=sse" } do
        assert.equal(410, get("/json/x?offset=" .. old .. live).status)
      end
    end)

    it("answers 410 to an offset that it has not given yet", function()
      local offset = next_offset(get("/json/x"))
      assert.equal(410, get("/json/x?offset=" .. offset:sub(1, -2) .. "9").status)
    end)
  end)

  it("is refused when it makes no sense", function()
    for text, message in pairs {
      ['app:durable_stream("/x")'] = "the channel is missing",
      ['app:durable_stream("x", "log")'] = "starts with a slash",
      ['app:durable_stream("/x", 7)'] = "a channel, a table or a function is expected",
      ['app:durable_stream("/x", {})'] = "needs channel",
      ['app:durable_stream("/x", { channel = "log", tipe = "a/b" })'] = "tipe",
      ['app:durable_stream("/x", { channel = "log", type = "json" })'] = "type is a media type",
      ['app:durable_stream("/x", { channel = "log", type = "a/b\\n" })'] = "type is a media type",
      ['app:durable_stream("/x", { channel = "log", closes = 7 })'] = "closes is the name",
      ['app:durable_stream("/x", { channel = "log", closes = "bye" })'] = "closes: 'bye'",
      ['app:durable_stream("/x", { channel = "log", wait = 0 })'] = "wait is a number of seconds",
      ['app:durable_stream("/x", "log/:id")'] = "no path parameter :id",
      ['app:durable_stream("/x", "log/*")'] = "is a pattern",
      ['app:durable_stream("/x", "log") app:stream("/x", "log")'] = "registered already",
      ['app:durable_stream("/x", "log") app:channel("log", { history = 0 })'] = "'log', which has history = 0: a feed",
      ['app:durable_stream("/x/:id", "a/:id") app:channel("a/*", { history = "latest" })'] = "'a/:id', a state channel",
      ['app:channel("**", { key = "k", rewind = "latest" }) app:durable_stream("/x", "log")'] = "'log', a keyed log",
    } do
      local ok, problem = pcall(kit.start, text)
      assert.is_false(ok, text)
      assert.truthy(tostring(problem):find(message, 1, true), text .. ": " .. tostring(problem))
    end
  end)
end)
