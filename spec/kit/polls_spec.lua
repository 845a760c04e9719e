--- Long-polls: what answers them, that a client stays one over all of them, and what a client that is cut,
--- forges or changes something gets.
local json = require("sluice.json")
local kit = require("spec.support.kit")

local APP = [[
app:channel("log", { history = 1000 })
app:channel("short", { history = 3 })
app:channel("prices", { history = "latest", key = "symbol" })
app:channel("closed", { history = 10, slow = "close" })
app:channel("private/:user", { history = 10, read = function(user, p) return user and user.id == p.user end })
app:stream("/log", "log")
app:stream("/short", "short")
app:stream("/prices", "prices")
app:stream("/both", { channels = { "log", "prices" } })
app:stream("/rooms/:room", { channels = { "room/:room" } })
app:stream("/plain", { channels = { "short" }, control = false })
app:stream("/mine", function(req)
  if not req.user then return 401 end
  return "private/" .. req.user.id
end)
app:stream("/late", function() sluice.sleep(4); return "log" end)
app:stream("/busy", function() return 503 end)
app:stream("/broken", function() error("the plan is broken") end)
app:stream("/written", function(req, client)
  for i = 1, 3 do
    client:send("part", { i = i })
    sluice.sleep(1)
  end
  client:stop("done", {})
end)
app:stream("/greets", function(req, client) client:send("hi", {}); sluice.sleep(1); return "log" end)
app:stream("/small", { channels = { "log" }, compress = "auto" })
app:stream("/post", { method = "POST" }, "log")
app:cors("/log", { origins = { "https://a.example" } })
local said = app:state("said", { list = {} })
local function say(text) local l = said().list; l[#l + 1] = text end
app:on("connect", function(client) say("connect") end)
app:on("disconnect", function(client, reason) say("disconnect " .. reason) end)
app:on("subscribe", "log", function(client) say("subscribe") end)
app:on("unsubscribe", "log", function(client) say("unsubscribe") end)
app:post("/clients/:op", function(req)
  for client in app:clients() do
    if req.params.op == "stop" then client:stop("last", { n = 1 })
    elseif req.params.op == "close" then client:close("moved")
    elseif req.params.op == "send" then client:send("own", { n = 1 })
    elseif req.params.op == "more" then client:subscribe("short")
    elseif req.params.op == "less" then client:unsubscribe("log") end
  end
  return 204
end)
]]

describe("a long-poll", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  local function said() return table.concat(t:state("said").list, ", ") end

  --- One poll in JSON, of a client that has this answer.
  local function poll(path, before, options)
    local query = { "mode=poll" }
    if before and type(before.poll) == "string" then query[#query + 1] = "poll=" .. before.poll end
    if before and type(before.cursor) == "string" then query[#query + 1] = "lastEventId=" .. before.cursor end
    options = options or {}
    options.headers = options.headers or {}
    options.headers.accept = options.headers.accept or "application/json"
    local mark = path:find("?", 1, true) and "&" or "?"
    local r = t:get(path .. mark .. table.concat(query, "&"), options)
    return r.json, r
  end

  local function numbers(answer)
    local list = {}
    for _, e in ipairs(answer.events) do list[#list + 1] = json.decode(e.data).n end
    return table.concat(list, " ")
  end

  local function publish(channel, n) return (t:publish(channel, "e", { n = n, symbol = "s" .. n % 2 })) end

  --- A client that has been here: it got the first event.
  local function begin(path, channel, options)
    local first = poll(path, nil, options)
    publish(channel or "log", 1)
    local answer = poll(path, first, options)
    assert.equal("1", numbers(answer))
    return answer
  end

  it("waits for news for 25 s, and is answered empty with its cursor", function()
    local answer, r = poll("/log")
    assert.near(25, t:elapsed(), 0.2)
    assert.equal(200, r.status)
    assert.equal("application/json", r.headers["content-type"])
    assert.equal("no-store, no-transform", r.headers["cache-control"])
    assert.equal(tostring(#r.body), r.headers["content-length"])
    assert.same({}, answer.events)
    assert.truthy(answer.cursor and answer.hello.client)
    assert.near(50, select(2, poll("/log", answer)) and t:elapsed(), 0.3)
  end)

  it("is answered at once when there is something, and once more only by what is new", function()
    local answer = begin("/log")
    publish("log", 2)
    publish("log", 3)
    local now = t:elapsed()
    answer = poll("/log", answer)
    assert.equal("2 3", numbers(answer))
    assert.near(now, t:elapsed(), 0.1)
    assert.is_nil(answer.hello)
    assert.equal(answer.events[2].id, answer.cursor)
    assert.equal("", numbers(poll("/log", answer)))
    assert.near(now + 25, t:elapsed(), 0.3)
  end)

  it("has the text of a stream in its other form", function()
    local id = publish("log", 1)
    publish("log", 2)
    local r = t:get("/log?mode=poll&lastEventId=" .. id)
    assert.equal("text/event-stream", r.headers["content-type"])
    local c = t:connect("/log", { last_event_id = id })
    local body = r.body
    assert.equal(":ok\nretry: 500\nevent: hello\n", body:sub(1, 28))
    local e = c:events("e")[1]
    assert.truthy(body:find(("\nevent: e\ndata: %s\nid: %s\n"):format(e.text, e.id), 1, true))
    assert.truthy(body:find("\npoll: [%w.]+\n\n$"))
    assert.equal(#body, tonumber(r.headers["content-length"]))
  end)

  it("chooses its form by Accept", function()
    publish("log", 1)
    local id = publish("log", 2)
    local function kind(accept, query)
      local r = t:get("/log" .. (query or "?mode=poll"), { headers = { accept = accept },
        last_event_id = id:gsub("%d+$", "0") })
      return r.status, r.headers["content-type"], r.headers["content-length"] ~= nil
    end
    assert.same({ 200, "text/event-stream", true }, { kind("text/event-stream") })
    assert.same({ 200, "text/event-stream", true }, { kind("*/*") })
    assert.same({ 200, "application/json", true }, { kind("application/json, text/plain, */*") })
    assert.same({ 200, "application/json", true }, { kind("application/json", "") })
    assert.same({ 200, "text/event-stream", false }, { kind("application/json, */*", "") })
    assert.same({ 200, "text/event-stream", false }, { kind("*/*", "?mode=stream") })
    assert.equal(406, (kind("text/html")))
    assert.equal(406, (kind("application/json;q=0", "")))
    assert.equal(406, t:post("/post", { headers = { accept = "application/json" }, body = "" }).status)
  end)

  it("is never compressed, and says so", function()
    publish("log", 1)
    local options = { headers = { ["Accept-Encoding"] = "gzip" } }
    local answer, r = poll("/small", { cursor = publish("log", 2):gsub("%d+$", "0") }, options)
    assert.truthy(answer.hello)
    assert.is_nil(r.headers["content-encoding"])
    assert.equal("Accept", r.headers.vary)
    r = t:get("/small", { headers = { accept = "text/html", ["Accept-Encoding"] = "gzip" } })
    assert.equal(406, r.status)
    assert.is_nil(r.headers.vary)
  end)

  it("is one client over all polls: hooks run once, presence stays, and ends 50 s after the last", function()
    local answer = begin("/log")
    for n = 2, 6 do
      publish("log", n)
      t:advance(40)
      answer = poll("/log", answer)
      assert.equal(tostring(n), numbers(answer))
    end
    assert.equal("connect, subscribe", said())
    t:advance(49)
    assert.equal("connect, subscribe", said())
    t:advance(2)
    assert.equal("connect, subscribe, unsubscribe, disconnect gone", said())
    publish("log", 7)
    local late = poll("/log", answer) -- a newcomer, which resumes
    assert.equal("7", numbers(late))
    assert.is_true(late.hello.resumed)
  end)

  it("repeats an answer that never arrived", function()
    local answer = begin("/both")
    publish("log", 2)
    publish("prices", 1)
    t:post("/clients/send")
    local lost, raw = poll("/both", answer)
    assert.equal("2", numbers(lost))
    assert.equal(2, #lost.state)
    local _, again = poll("/both", answer)
    assert.equal(raw.body, again.body)
    publish("log", 3)
    local _, third = poll("/both", answer)
    assert.equal(raw.body, third.body)
    assert.equal("3", numbers(poll("/both", lost)))
    assert.equal("connect, subscribe", said())
  end)

  it("goes on where a client was cut in the middle of an answer", function()
    local answer = begin("/both")
    publish("prices", 1)
    for n = 2, 5 do publish("log", n) end
    local lost = poll("/both", answer)
    local rest = poll("/both", { poll = answer.poll, cursor = lost.events[2].id })
    assert.equal("4 5", numbers(rest))
    assert.is_true(rest.hello.resumed)
    assert.equal(answer.poll:match("%.(%w+)%.%w+$"), rest.hello.client)
    assert.equal(1, #rest.state)
    assert.equal("connect, subscribe", said())
  end)

  it("keeps what the app has changed, also for a client that was cut", function()
    local answer = begin("/log")
    t:post("/clients/more")
    t:post("/clients/less")
    publish("short", 2)
    publish("log", 3)
    local lost = poll("/log", answer)
    assert.equal("2", numbers(lost))
    publish("short", 4)
    lost = poll("/log", { poll = lost.poll, cursor = answer.cursor }) -- an id that it had left
    assert.equal("2 4", numbers(lost))
    assert.equal("connect, subscribe, unsubscribe", said())
  end)

  it("gives states what is new", function()
    publish("prices", 1)
    publish("prices", 2)
    local answer = poll("/prices")
    assert.equal(2, #answer.state)
    publish("prices", 3)
    publish("prices", 5)
    answer = poll("/prices", answer)
    assert.equal(1, #answer.state)
    assert.equal(5, json.decode(answer.state[1].data).n)
    local now = t:elapsed()
    assert.same({}, poll("/prices", answer).state)
    assert.near(now + 25, t:elapsed(), 0.3)
  end)

  it("reports what was lost, between two polls too", function()
    local answer = begin("/short", "short")
    for n = 2, 9 do publish("short", n) end
    answer = poll("/short", answer) -- it lags, as a stream may
    assert.equal("2 3 4 5 6 7 8 9", numbers(answer))
    for n = 1, 4200 do publish("short", n) end
    answer = poll("/short", answer)
    assert.equal("slow", answer.reset[1].reason)
    assert.truthy(numbers(answer):find("^105 106 107 ")) -- 4096 are kept for it
    local gone = poll("/short", { cursor = answer.cursor:gsub("%d+$", "2") })
    assert.equal("trimmed", gone.reset[1].reason)
    t:restart()
    publish("short", 1)
    local other = poll("/short", answer)
    assert.equal("epoch", other.reset[1].reason)
    assert.equal("1", numbers(other))
  end)

  it("takes a token of another user, path, plan, process, or none at all for a newcomer's", function()
    local answer = begin("/log")
    local function is_new(path, before, options)
      publish("log", 2)
      local got = poll(path, before, options)
      assert.truthy(got.hello, path)
      assert.not_equal(answer.poll:match("%.(%w+)%.%w+$"), got.hello.client)
    end
    is_new("/both", answer)
    is_new("/log?types=e", answer)
    for _, token in ipairs { "x", "", "0.1", "0.1.2.3", answer.poll .. "x", answer.poll:sub(1, -2),
      answer.poll:gsub("%.%d+%.", ".9."), answer.poll:gsub("^0", "9"), ("9"):rep(200),
      (answer.poll:gsub("%w$", function(c) return c == "0" and "1" or "0" end)) } do
      is_new("/log", { poll = token, cursor = answer.cursor })
    end
    local mine = poll("/mine", nil, { user = "alice" })
    assert.equal(401, select(2, poll("/mine", mine)).status)
    publish("private/bob", 1)
    local bob = poll("/mine", mine, { user = "bob" })
    assert.not_equal(mine.hello.client, bob.hello.client)
    publish("private/alice", 2)
    assert.is_nil(poll("/mine", mine, { user = "alice" }).hello)
    t:restart()
    is_new("/log", answer)
  end)

  it("lets the newest of two polls of a client wait", function()
    local c = t:connect("/log", { mode = "poll" })
    publish("log", 1)
    c:wait_for("e")
    local second = t:connect("/log", { mode = "poll", token = c.token, last_event_id = c:last_id() })
    publish("log", 2)
    assert.equal(2, second:wait_for("e").data.n)
    assert.equal(1, c:count("e"))
    assert.equal("connect, subscribe", said())
    assert.is_nil(second.hello)
  end)

  it("brings bye, and the answers after it are those of a stream", function()
    local answer = begin("/log")
    t:post("/clients/stop")
    assert.equal("connect, subscribe, unsubscribe, disconnect stop", said())
    local last = poll("/log", answer)
    assert.equal("stop", last.bye.reason)
    assert.same({ { event = "last", data = '{"n":1}' } }, last.state)
    assert.equal("stop", last.cursor)
    assert.equal(json.null, last.poll)
    assert.equal("stop", poll("/log", answer).bye.reason) -- that one was lost
    assert.equal(204, select(2, poll("/log", last)).status)
    answer = begin("/log")
    t:post("/clients/close")
    publish("log", 2)
    last = poll("/log", answer)
    assert.equal("moved", last.bye.reason)
    assert.equal("2", numbers(poll("/log", last)))
  end)

  it("of a stream without control events is turned away when its client has another id, and comes anew", function()
    local first = publish("short", 1)
    publish("short", 2)
    local answer = poll("/plain", { cursor = first })
    assert.equal("2", numbers(answer))
    local last, r = poll("/plain", { poll = answer.poll, cursor = first })
    assert.same({ 200, "", json.null }, { r.status, numbers(last), last.poll })
    assert.equal("2", numbers(poll("/plain", last)))
  end)

  it("is refused as a stream is", function()
    assert.equal("overload", poll("/busy").bye.reason)
    assert.equal("error", poll("/broken").bye.reason)
    assert.equal(401, select(2, poll("/mine")).status)
    assert.equal("", numbers(poll("/late")))
    local id = publish("short", 1)
    for n = 2, 9 do publish("short", n) end
    assert.equal(410, select(2, poll("/plain", { cursor = id })).status)
    assert.equal(204, t:get("/log?mode=poll", { last_event_id = "stop" }).status)
    assert.equal("https://a.example", select(2, poll("/log", nil, { headers = { origin = "https://a.example" } }))
      .headers["access-control-allow-origin"])
  end)

  it("is what its function writes, once", function()
    local c = t:connect("/written", { mode = "poll" })
    t:advance(10)
    local list = {}
    for _, e in ipairs(c:events()) do list[#list + 1] = e.event end
    assert.equal("hello part part part done bye", table.concat(list, " "))
    assert.equal("connect, disconnect stop", said())
  end)

  it("goes on over a reload", function()
    local c = t:connect("/log", { mode = "poll" })
    publish("log", 1)
    c:wait_for("e")
    assert.is_true(t:reload(kit.source(APP .. "\n-- again")))
    publish("log", 2)
    assert.equal(2, c:wait_for("e").data.n)
    assert.equal(1, c:count("hello"))
    assert.equal("connect, subscribe", said())
  end)

  it("ends when the app stops", function()
    local answer = begin("/log")
    local c = t:connect("/log", { mode = "poll" })
    publish("log", 2)
    c:wait_for("e")
    t:stop()
    assert.equal(0, #answer.reset)
    assert.equal("drain", c.received[#c.received].data.reason)
  end)

  it("gives at most so much in one answer, and the rest at once", function()
    local answer = begin("/log")
    for n = 2, 400 do t:publish("log", "e", { n = n, text = ("x"):rep(1000) }) end
    local all, answers, now = 0, 0, t:elapsed()
    while all < 399 do
      local raw
      answer, raw = poll("/log", answer)
      assert.is_true(#raw.body < 120000)
      all, answers = all + #answer.events, answers + 1
    end
    assert.is_true(answers > 3)
    assert.near(now, t:elapsed(), 0.5)
  end)

  it("ends when its user is no longer who they said", function()
    t:stop()
    t = kit.start [[
      app:channel("log", { history = 10 })
      app:stream("/log", function(req)
        req.user = { id = "a", expires = sluice.time() + 60 }
        return "log"
      end)
      local why = app:state("why", {})
      app:on("disconnect", function(client, reason) why().reason = reason end)
    ]]
    local answer = poll("/log")
    t:advance(20)
    answer = poll("/log", answer) -- and is, for a minute from then on
    assert.is_nil(answer.bye)
    t:advance(20)
    answer = poll("/log", answer)
    assert.is_nil(answer.bye)
    t:advance(40)
    assert.equal("expired", t:state("why").reason)
    assert.equal("expired", poll("/log", answer).bye.reason)
  end)

  describe("is judged each time:", function()
    before_each(function()
      t:stop()
      t = kit.start [[
        local out = app:state("out", { runs = 0 })
        local function signed(req)
          local name = req.headers["X-User"]
          if not name or out()[name] then return 401, "sign in first" end
          req.user = { id = name }
          return true
        end
        local function may(user, p) return user ~= nil and (user.id == p.user or p.user == "all") end
        app:channel("mail/:user", { history = 100, read = function(user, p)
          return may(user, p) and not out()["no " .. p.user]
        end })
        app:stream("/mail", signed, function(req) return "mail/" .. req.user.id end)
        app:stream("/two", signed, function(req)
          return { channels = { "mail/" .. req.user.id, "mail/all" } }
        end)
        app:stream("/written", signed, function(req, client)
          out().runs = out().runs + 1
          for i = 1, 9 do
            client:send("secret", { of = req.user.id, i = i })
            sluice.sleep(10)
          end
          client:stop()
        end)
        app:stream("/signs", function(req, client)
          out().runs = out().runs + 1
          req.user = { id = req.headers["X-User"] }
          for i = 1, 9 do
            client:send("secret", { of = req.user.id, i = i })
            sluice.sleep(10)
          end
        end)
        app:post("/end/:reason", function(req)
          for client in app:clients() do client:close(req.params.reason) end
          return 204
        end)
        app:post("/out/:name", function(req) out()[req.params.name] = true; return 204 end)
        app:post("/deny/:channel", function(req)
          out()["no " .. req.params.channel] = true
          app:recheck()
          if req.query.again then out()["no " .. req.params.channel] = false end
          return 204
        end)
      ]]
    end)

    local function as(name) return { headers = { ["X-User"] = name } } end

    local function status(path, before, name) return select(2, poll(path, before, as(name))).status end

    --- Who was told what a function wrote.
    local function told(answer)
      local list = {}
      for i, e in ipairs(answer.state) do list[i] = json.decode(e.data).of .. json.decode(e.data).i end
      return table.concat(list, " ")
    end

    it("what a function writes is for the one who asked for it", function()
      local ann = poll("/written", nil, as("ann"))
      assert.equal("ann1", told(ann))
      assert.equal(401, status("/written", ann, nil))
      assert.equal("bob1", told(poll("/written", ann, as("bob"))))
      assert.equal("ann2", told(poll("/written", ann, as("ann"))))
      assert.equal(2, t:state("out").runs)
      t:post("/out/ann")
      assert.equal(401, status("/written", ann, "ann"))
    end)

    it("a function that says itself who asks goes on, and begins for another", function()
      local ann = poll("/signs", nil, as("ann"))
      assert.equal("bob1", told(poll("/signs", ann, as("bob"))))
      local second = poll("/signs", ann, as("ann"))
      assert.equal("ann2", told(second))
      assert.is_nil(second.hello)
      assert.equal("ann3", told(poll("/signs", second, as("ann"))))
    end)

    for _, reason in ipairs { "stop", "moved", "denied", "revoked", "expired" } do
      it("of a client that has ended, too: " .. reason, function()
        local ann = begin("/mail", "mail/ann", as("ann"))
        publish("mail/ann", 2)
        poll("/mail", ann, as("ann")) -- lost
        t:post("/end/" .. reason)
        local bob = poll("/mail", ann, as("bob"))
        assert.equal("", numbers(bob))
        assert.is_nil(bob.bye)
        assert.equal(401, status("/mail", ann, nil))
        t:post("/out/ann")
        assert.equal(401, status("/mail", ann, "ann"))
      end)
    end

    for _, reason in ipairs { "denied", "revoked", "expired" } do
      it("nothing is given again to one that was ended by right: " .. reason, function()
        local ann = begin("/mail", "mail/ann", as("ann"))
        publish("mail/ann", 2)
        assert.equal("2", numbers(poll("/mail", ann, as("ann")))) -- lost
        t:post("/end/" .. reason)
        for _ = 1, 2 do
          local last = poll("/mail", ann, as("ann"))
          assert.equal("", numbers(last))
          assert.equal(reason, last.bye.reason)
          assert.equal(reason == "denied" and "stop" or ann.cursor, last.cursor)
          assert.equal(json.null, last.poll)
        end
      end)
    end

    it("nothing of a channel that was denied meanwhile is given again", function()
      local ann = begin("/two", "mail/ann", as("ann"))
      publish("mail/all", 2)
      publish("mail/ann", 3)
      assert.equal("2 3", numbers(poll("/two", ann, as("ann")))) -- lost
      t:post("/deny/all?again=1")
      assert.equal("3", numbers(poll("/two", ann, as("ann")))) -- it has one channel less, until it asks anew
      t:post("/deny/all")
      assert.equal(403, status("/two", ann, "ann"))
    end)
  end)

  describe("whose answer was lost", function()
    it("hears of the stop, after that answer", function()
      local answer = begin("/log")
      publish("log", 2)
      local lost, raw = poll("/log", answer)
      t:post("/clients/stop")
      local _, again = poll("/log", answer)
      assert.equal(raw.body, again.body)
      local last = poll("/log", lost)
      assert.equal("stop", last.bye.reason)
      assert.equal("stop", last.cursor)
      assert.equal("stop", poll("/log", lost).bye.reason)
      assert.equal("connect, subscribe, unsubscribe, disconnect stop", said())
    end)

    it("hears of the stop after the rest of an answer that was cut", function()
      local answer = begin("/log")
      for n = 2, 5 do publish("log", n) end
      local lost = poll("/log", answer)
      t:post("/clients/stop")
      local cut = { poll = answer.poll, cursor = lost.events[2].id }
      local rest = poll("/log", cut)
      assert.equal("4 5", numbers(rest))
      assert.equal("4 5", numbers(poll("/log", cut)))
      assert.equal("stop", poll("/log", rest).bye.reason)
      local odd = poll("/log", { poll = answer.poll, cursor = answer.cursor:gsub("%d+$", "1") })
      assert.equal("stop", odd.bye.reason)
    end)

    it("comes back where it was moved to with the id that it has", function()
      local answer = begin("/log")
      publish("log", 2)
      local lost = poll("/log", answer)
      t:post("/clients/close")
      assert.equal("2", numbers(poll("/log", answer)))
      local last = poll("/log", lost)
      assert.equal("moved", last.bye.reason)
      publish("log", 3)
      assert.equal("3", numbers(poll("/log", last)))
    end)

    it("gets what it was sent after one that was cut", function()
      local answer = begin("/log")
      publish("log", 2)
      publish("log", 3)
      local lost = poll("/log", answer)
      t:post("/clients/send")
      local cut = { poll = answer.poll, cursor = lost.events[1].id }
      local rest, raw = poll("/log", cut)
      assert.equal("3", numbers(rest))
      assert.same({ { event = "own", data = '{"n":1}' } }, rest.state)
      t:post("/clients/send")
      publish("log", 4)
      for _ = 1, 2 do
        local _, again = poll("/log", cut)
        assert.equal(raw.body, again.body)
      end
      local next = poll("/log", rest)
      assert.equal("4", numbers(next))
      assert.equal(1, #next.state)
      assert.equal("connect, subscribe", said())
    end)

    it("keeps its place until it is told what a function that writes follows", function()
      local id = t:publish("log", "n", 1)
      for n = 2, 4 do t:publish("log", "n", n) end
      local answer = poll("/greets", { cursor = id })
      assert.same({ "hi", id }, { answer.state[1].event, answer.cursor })
      t:advance(2)
      answer = poll("/greets", answer)
      assert.equal("unknown_id", answer.reset[1].reason)
      assert.not_equal(id, answer.cursor)
    end)
  end)
end)
