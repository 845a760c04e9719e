--- sluice.runs in virtual time: what readers see, who may, what is refused, upstreams that fail, places to go on from.
--- (Random worlds with an adversary: runs_random_spec.lua. Real sockets: spec/e2e/runs_spec.lua.)
local kit = require("spec.support.kit")
local pieces = require("sluice.runs.pieces")

local APP = [[
local client = require("sluice.client")
local runs = require("sluice.runs").new(app, { %s })
%s
runs:stream("/s")
runs:routes("/r")
app:post("/start/:kind", function(req)
  local run, message, code, field = runs:start(req.params.kind, req:json())
  if not run then return nil, message, code, field end
  return run
end)
]]
local SAY = [[
runs:define("say", function(run, args)
  for i = 1, args.n or 3 do
    run:text("w" .. i .. " ")
    sluice.sleep(args.pause or 0.01)
  end
  return { n = args.n }
end)
]]
local ASK = [[
runs:define("ask", function(run)
  for event in run:from(client.events("http://up/a")) do
    if event.text == "[DONE]" then return end
    run:text(event.text)
  end
  error("the model broke off", 0)
end)
]]

local t

local function source(kinds, options) return kit.source(APP:format(options or "", kinds)) end

local function start(kinds, options, more)
  t = kit.whole(source(kinds, options), more)
  return t
end

local function post(body, user)
  local answer = t:post("/r", { user = user or "alice", json = body })
  assert.equal(202, answer.status, answer.body)
  return answer.json
end

local function watch(id, user, last) return t:connect("/s/" .. id, { user = user or "alice", last_event_id = last }) end

-- The text that a stream was sent, and its other events in order.
local function read(c)
  local text, others = {}, {}
  for _, e in ipairs(c:events()) do
    if e.event == "text" then
      text[#text + 1] = e.data.text
    elseif e.event ~= "hello" then
      others[#others + 1] = e.event
    end
  end
  return table.concat(text), table.concat(others, " ")
end

local function last_of(c, event)
  local list = c:events(event)
  return list[#list].data
end

local function body(...)
  local parts = { "retry: 100\n\n" }
  for _, part in ipairs { ... } do parts[#parts + 1] = part end
  return { body = table.concat(parts), headers = { ["Content-Type"] = "text/event-stream" } }
end

describe("runs", function()
  after_each(kit.stop_all)

  it("show a reader everything, whenever it comes, and end its stream", function()
    start(SAY)
    post { id = "one", args = { n = 5 } }
    local early = watch("one")
    t:advance(0.03)
    local middle = watch("one")
    t:advance(5)
    local late = watch("one")
    t:advance(1)
    for _, c in ipairs { early, middle, late } do
      local text, others = read(c)
      assert.same({ "w1 w2 w3 w4 w5 ", "run-complete bye" }, { text, others })
      assert.equal("stop", last_of(c, "bye").reason)
    end
    local done = last_of(early, "run-complete")
    assert.same({ "one", "say", "complete", 5 }, { done.id, done.kind, done.status, done.result.n })
    assert.equal(204, t:connect("/s/one", { user = "alice", last_event_id = "stop" }).status)
    local again = watch("one", "alice", early:events("text")[1].id)
    t:advance(1)
    assert.equal("w2 w3 w4 w5 ", (read(again)))
  end)

  it("send text of the same moment as one event, and not more often than coalesce says", function()
    start([[runs:define("fast", function(run)
      for i = 1, 1000 do
        run:text("x")
        sluice.sleep(0.001)
      end
    end)]], "coalesce = 0.1")
    post { id = "one" }
    local c = watch("one")
    t:advance(3)
    assert.equal(1000, #(read(c)))
    local list = c:events("text")
    assert.is_true(#list >= 9 and #list <= 13, #list .. " events")
  end)

  it("send an event behind the text before it", function()
    start [[runs:define("mixed", function(run)
      run:text("a")
      run:emit("tool", { name = "search" })
      run:text("b")
      run:emit("raw", "as it is")
    end)]]
    post { id = "one" }
    t:advance(1)
    local names = {}
    for _, e in ipairs(watch("one"):events()) do names[#names + 1] = e.event end
    assert.equal("hello text tool text raw run-complete bye", table.concat(names, " "))
    assert.equal("as it is", watch("one"):events("raw")[1].data)
  end)

  it("tear no character, and replace what is none", function()
    start [[runs:define("bytes", function(run, args)
      for byte in ("a\u{20AC}\u{1F600}\xFFb\xED\xA0\x80c\u{E9}"):gmatch(".") do
        run:text(byte)
        sluice.sleep(0.05)
      end
      run:text("\xE2\x82")
    end)]]
    post { id = "one" }
    local c = watch("one")
    t:advance(5)
    assert.equal("a\u{20AC}\u{1F600}\u{FFFD}b\u{FFFD}\u{FFFD}\u{FFFD}c\u{E9}\u{FFFD}", (read(c)))
  end)

  it("start and stream by POST, join by name, and start nothing for who comes back", function()
    start(SAY)
    local function open(given) return t:connect("/s", { method = "POST", user = "alice", json = given.json or {},
      headers = given.headers, last_event_id = given.last }) end
    local c = open { json = { id = "one", n = 4 } }
    local other = open { headers = { ["Idempotency-Key"] = "two" }, json = { args = { n = 1 } } }
    t:advance(0.015)
    local joined = open { json = { id = "one", n = 4 } }
    t:advance(2)
    assert.same({ "w1 w2 w3 w4 ", "w1 w2 w3 w4 ", "w1 " }, { (read(c)), (read(joined)), (read(other)) })
    assert.equal(2, t:get("/r", { user = "alice" }).json.total)
    local back = open { json = { id = "one" }, last = c:events("text")[1].id }
    t:advance(1)
    assert.equal((read(c)):sub(4), (read(back)))
    assert.equal(404, open({ json = { id = "three" }, last = c:events("text")[1].id }).status)
    assert.equal(422, open({ json = { n = 1 } }).status)
    assert.equal(422, open({ json = { n = 1 }, last = "x" }).status)
    for _, query in ipairs {
      "lastEventId=x", "lastEventId=", "last_event_id=x", "last_event_id=", "Last-Event-ID=x" } do
      local given = { method = "POST", user = "alice", json = { id = "four" } }
      assert.equal(404, t:connect("/s?" .. query, given).status)
    end
    assert.equal(404, open({ json = { id = "four" }, headers = { ["Last-Event-ID"] = "" } }).status)
    assert.equal(2, t:get("/r", { user = "alice" }).json.total)
  end)

  it("are there for their owner only, and for the role that sees all", function()
    start(SAY)
    post { id = "one" }
    assert.equal(401, t:connect("/s/one").status)
    assert.equal(401, t:get("/r").status)
    for _, user in ipairs { "bob", { id = "alice2" }, { id = "x", roles = { Other = true } } } do
      assert.equal(404, watch("one", user).status)
      assert.equal(404, t:connect("/s", { method = "POST", user = user, json = { id = "one" } }).status)
      assert.equal(404, t:post("/r", { user = user, json = { id = "one" } }).status)
      assert.equal(404, t:get("/r/one", { user = user }).status)
      assert.equal(404, t:delete("/r/one", { user = user }).status)
      assert.equal(404, watch("one", user, "x-1").status)
      assert.equal(0, t:get("/r", { user = user }).json.total)
    end
    assert.same(t:get("/r/nothing", { user = "bob" }).json, t:get("/r/one", { user = "bob" }).json)
    local admin = { id = "root", roles = { Admin = true } }
    t:advance(1)
    assert.equal("w1 w2 w3 ", (read(watch("one", admin))))
    assert.equal(1, t:get("/r?owner=alice", { user = admin }).json.total)
    assert.equal(403, t:get("/r?owner=alice", { user = "bob" }).status)
  end)

  it("close the function of one that is stopped where it waits, and end once", function()
    start [[
      local log = app:state("log", { list = {} })
      runs:define("long", function(run)
        local _ <close> = setmetatable({}, { __close = function() table.insert(log().list, "closed") end })
        run:text("begun")
        pcall(sluice.sleep, 1000)
        table.insert(log().list, "went on")
      end)
      app:get("/log", function() return log().list end)]]
    post { id = "one" }
    local c = watch("one")
    t:advance(1)
    assert.equal(204, t:delete("/r/one", { user = "alice" }).status)
    t:advance(1)
    local text, others = read(c)
    assert.same({ "begun", "run-stopped bye" }, { text, others })
    assert.equal(204, t:delete("/r/one", { user = "alice" }).status)
    t:advance(2000)
    assert.same({ "closed" }, t:get("/log").json)
    assert.equal("begun", (read(watch("one"))))
  end)

  it("fail with the message of an error, and the log has the place", function()
    start [[
      runs:define("raise", function(run) error("no such model", 0) end)
      runs:define("coded", function(run) error({ message = "too many", code = "ERATE" }) end)
      runs:define("broken", function(run) return nil + 1 end)
      runs:define("endless", function(run) while true do end end)
      runs:define("odd", function(run) return function() end end)]]
    for kind, want in pairs { raise = "no such model EINTERNAL", coded = "too many ERATE",
      broken = "attempt to perform arithmetic on a nil value EINTERNAL" } do
      post { id = kind, kind = kind }
      t:advance(1)
      local failed = last_of(watch(kind), "run-failed")
      assert.equal(want, failed.error .. " " .. failed.code)
    end
    for _, kind in ipairs { "endless", "odd" } do
      post { id = kind, kind = kind }
      t:advance(1)
      assert.equal("run-failed bye", select(2, read(watch(kind))))
    end
    local found = false
    for _, line in ipairs(t:log("error")) do
      found = found or tostring(line.message or line):find("app.lua:%d+: attempt to perform arithmetic") ~= nil
    end
    assert.is_true(found)
  end)

  it("refuse what makes no sense, by name", function()
    start(SAY .. [[runs:define("other", function() end)]])
    local function refused(given, user) return t:post("/r", { user = user or "alice", json = given }) end
    assert.equal("kind: which kind of run is missing", refused({ n = 1 }).json.error.message)
    assert.equal("kind", refused({ kind = "nothing" }).json.error.field)
    for _, id in ipairs { "", "a/b", "a b", ("x"):rep(65), ":id", 1.5, true, {} } do
      local answer = refused { kind = "say", id = id }
      assert.same({ 422, "id" }, { answer.status, answer.json.error.field })
    end
    assert.equal(422, refused({ 1, 2 }).status)
    assert.equal(202, refused({ kind = "say", id = 7 }).status)
    assert.equal("7", t:get("/r/7", { user = "alice" }).json.id)
    assert.same({ 422, "id" }, { refused({ kind = "other", id = "7" }).status,
      refused({ kind = "other", id = "7" }).json.error.field })
    assert.equal(403, refused({ kind = "say" }, { id = "no segment" }).status)
  end)

  it("refuse mistakes at load and in functions", function()
    for code, want in pairs {
      ['require("sluice.runs").new(app, { keep = -1 })'] = "keep is a number of seconds above 0",
      ['require("sluice.runs").new(app, { name = "a/b" })'] = "may hold letters",
      ['require("sluice.runs").new(app, { queue = 1.5 })'] = "queue is a whole number",
      ['require("sluice.runs").new(app, { coalesc = 1 })'] = "did you mean 'coalesce'",
      ['local r = require("sluice.runs").new(app) r:define("a", print) r:define("a", print)'] = "there is a kind 'a'",
      ['local r = require("sluice.runs").new(app) r:define("a")'] = "fn is missing",
      ['require("sluice.runs").new(app) require("sluice.runs").new(app)'] = "declared twice",
      ['require("sluice.runs").new(app) app:store("s")'] = "stands above the stores",
    } do
      local ok, message = pcall(kit.start, code)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(want, 1, true), tostring(message))
    end
    start [[runs:define("wrong", function(run, args)
      local ok, message = pcall(run[args.method], run, table.unpack(args.with))
      error(message, 0)
    end)]]
    local function message(method, ...)
      local id = post({ method = method, with = { ... } }).id
      t:advance(1)
      return last_of(watch(id), "run-failed").error
    end
    assert.matches("a string is expected", message("text", 7))
    assert.matches("letters, digits", message("emit", "a b", 1))
    assert.matches("event of Sluice's own", message("emit", "run-complete", 1))
    assert.matches("event of Sluice's own", message("emit", "hello", 1))
    assert.matches("data is missing", message("checkpoint"))
    assert.matches("another iterator", message("from", 7))
  end)

  it("wait for a place, in order, and are refused when too many wait", function()
    start(SAY, "concurrency = 2, queue = 2")
    for i = 1, 4 do post { id = "r" .. i, n = 10 } end
    local answer = t:post("/r", { user = "alice", json = { n = 1 } })
    assert.equal(503, answer.status)
    assert.equal("waiting", t:get("/r/r3", { user = "alice" }).json.status)
    assert.equal(204, t:delete("/r/r3", { user = "alice" }).status)
    post { id = "r5", n = 1 }
    assert.equal(503, t:post("/r", { user = "alice", json = { n = 1 } }).status)
    t:advance(5)
    assert.equal("run-stopped bye", select(2, read(watch("r3"))))
    for _, id in ipairs { "r1", "r2", "r4" } do
      assert.equal("complete", t:get("/r/" .. id, { user = "alice" }).json.status)
    end
  end)

  it("fail when they say too much or take too long", function()
    start([[
      runs:define("much", function(run) while true do run:text(("x"):rep(1000)) sluice.sleep(0.1) end end)
      runs:define("long", function() sluice.sleep(1000) end)]], "max_bytes = 20000, max_time = 30")
    post { id = "much", kind = "much" }
    post { id = "long", kind = "long" }
    t:advance(40)
    local c = watch("much")
    assert.equal("ETOOBIG", last_of(c, "run-failed").code)
    local n = #(read(c)) -- of 1,000 bytes with 64 for each event
    assert.is_true(n >= 17000 and n <= 20000, n)
    assert.equal("ETIMEOUT", last_of(watch("long"), "run-failed").code)
  end)

  it("fail when they say too much for one event of a loop, and hold no more meanwhile", function()
    start([[
      local emitted = app:state("emitted", { n = 0 })
      runs:define("flood", function(run)
        for _ in run:from(function() return { id = "1" } end) do
          for i = 1, 1000 do
            run:emit("part", ("x"):rep(1000))
            emitted().n = i
          end
        end
      end)]], "max_bytes = 20000")
    post { id = "flood", kind = "flood" }
    t:advance(1)
    assert.equal("ETOOBIG", last_of(watch("flood"), "run-failed").code)
    assert.equal(18, t:state("emitted").n) -- 1,000 bytes, and 64 for each event
  end)

  it("fail with a text that an event has room for, and that names no place in memory", function()
    start [[
      runs:define("long", function() error(("x"):rep(200000)) end)
      runs:define("code", function() error({ message = "no", code = ("x"):rep(70000) }) end)
      runs:define("odd", function() error({}) end)]]
    for _, kind in ipairs { "long", "code", "odd" } do post { id = kind, kind = kind } end
    t:advance(1)
    assert.equal(("x"):rep(1000), last_of(watch("long"), "run-failed").error)
    local failed = last_of(watch("code"), "run-failed")
    assert.same({ "no", "EINTERNAL" }, { failed.error, failed.code })
    assert.equal("an error that is no text", last_of(watch("odd"), "run-failed").error)
  end)

  it("are forgotten when keep is over", function()
    start(SAY, "keep = 60")
    post { id = "one" }
    t:advance(50)
    assert.equal("w1 w2 w3 ", (read(watch("one"))))
    t:advance(20)
    assert.equal(404, watch("one").status)
    assert.equal(0, t:get("/r", { user = "alice" }).json.total)
    post { id = "one" }
    t:advance(1)
  end)

  it("send a long history to a newcomer, event by event", function()
    start [[runs:define("many", function(run)
      for i = 1, 5000 do
        run:emit("n", { i = i })
        if i % 100 == 0 then sluice.sleep(0.01) end
      end
    end)]]
    post { id = "one" }
    t:advance(60)
    local c = watch("one")
    t:advance(5)
    local list = c:events("n")
    assert.equal(5000, #list)
    for i, e in ipairs(list) do assert.equal(i, e.data.i) end
  end)
end)

describe("the upstream of a run", function()
  after_each(kit.stop_all)

  it("is asked again when it refuses at first, as it says", function()
    start(ASK)
    local n = 0
    t:http("http://up/a", function()
      n = n + 1
      if n < 3 then return { status = 429, headers = { ["Retry-After"] = "7" } } end
      return body("data: hello\n\ndata: [DONE]\n\n")
    end)
    post { id = "one" }
    local c = watch("one")
    t:advance(6)
    assert.equal("run-waiting", select(2, read(c)))
    local wait = last_of(c, "run-waiting")
    assert.is_true(wait.seconds >= 7 and wait.seconds <= 10)
    assert.matches("429", wait.error)
    t:advance(30)
    assert.same({ "hello", "run-waiting run-waiting run-complete bye" }, { read(c) })
    assert.equal(3, #t:requests())
  end)

  it("is not asked again for what cannot succeed, and not for ever", function()
    start(ASK)
    t:http("http://up/a", { status = 401 })
    post { id = "one" }
    t:advance(1)
    assert.matches("answered 401", last_of(watch("one"), "run-failed").error)
    assert.equal(1, #t:requests())
    t:http("http://up/a", { status = 503 })
    post { id = "two" }
    t:advance(300)
    assert.same({ "EUPSTREAM", 6 }, { last_of(watch("two"), "run-failed").code, #t:requests() })
  end)

  it("is not asked twice for an answer without ids", function()
    start(ASK)
    t:http("http://up/a", body("data: hel\n\n"))
    post { id = "one" }
    t:advance(60)
    assert.same({ "hel", "run-failed bye" }, { read(watch("one")) })
    assert.equal("the model broke off", last_of(watch("one"), "run-failed").error)
    assert.equal(1, #t:requests())
  end)

  it("goes on behind its last id", function()
    start(ASK)
    t:http("http://up/a", function(request)
      local from = tonumber(request.headers["last-event-id"] or 0)
      if from == 0 then return body("id: 1\ndata: a\n\n", "id: 2\ndata: b\n\nid: 3\ndata: c") end
      assert.equal(2, from)
      return body("id: 3\ndata: c\n\nid: 4\ndata: [DONE]\n\n")
    end)
    post { id = "one" }
    t:advance(60)
    assert.same({ "abc", "run-complete bye" }, { read(watch("one")) })
  end)

  it("is not asked again when its newest event has no id, though one before had", function()
    start(ASK)
    t:http("http://up/a", body("id: 1\ndata: a\n\ndata: b\n\n"))
    post { id = "one" }
    t:advance(60)
    assert.same({ "ab", "run-failed bye" }, { read(watch("one")) })
    assert.equal(1, #t:requests())
  end)

  it("goes on behind an id that came after the events, in a block of its own", function()
    start(ASK)
    t:http("http://up/a", function(request)
      if not request.headers["last-event-id"] then return body("id: 1\ndata: a\n\ndata: b\n\nid: 2\n\n") end
      assert.equal("2", request.headers["last-event-id"])
      return body("id: 3\ndata: c\n\nid: 4\ndata: [DONE]\n\n")
    end)
    post { id = "one" }
    t:advance(60)
    assert.same({ "abc", "run-complete bye" }, { read(watch("one")) })
  end)

  it("is asked again when it said, however many reloads come before", function()
    start(ASK)
    local n = 0
    t:http("http://up/a", function()
      n = n + 1
      if n == 1 then return { status = 429, headers = { ["Retry-After"] = "20" } } end
      return body("data: hello\n\ndata: [DONE]\n\n")
    end)
    post { id = "one" }
    for _ = 1, 6 do
      t:advance(5)
      assert(t:reload(source(ASK)))
    end
    assert.equal(2, n)
    t:advance(1)
    assert.same({ "hello", "run-waiting run-complete bye" }, { read(watch("one")) })
  end)

  it("is no business of its readers: the log has its address", function()
    start(ASK)
    for id, answer in pairs { refused = { status = 503 }, html = { body = "<html>" },
      gone = function() return nil, "http://up is away", "ECONNECT" end } do
      t:http("http://up/a", answer)
      post { id = id }
      t:advance(300)
      for _, event in ipairs { "run-waiting", "run-failed" } do
        local message = last_of(watch(id), event).error
        assert.matches("upstream", message)
        assert.is_nil(message:find("up/", 1, true) or message:find("://", 1, true), message)
      end
    end
    assert.matches("http://up/a answered 503", table.concat(t:log("warn"), "\n"))
  end)

  it("may be chosen by an expression, and be an answer of http.stream", function()
    start [[
      local http = require("sluice.http")
      runs:define("one", function(run, args)
        for event in run:from(args.fails and error("no") or client.events("http://up/a")) do
          if event.text == "[DONE]" then return end
          run:text(event.text)
        end
      end)
      runs:define("raw", function(run)
        for piece in run:from(assert(http.stream { url = "http://up/raw" })) do run:text(piece) end
      end)]]
    t:http("http://up/a", body("data: a\n\n"))
    t:http("http://up/raw", { body = "all of it" })
    post { id = "one", kind = "one" }
    post { id = "raw", kind = "raw" }
    t:advance(60)
    assert.same({ "a", 2 }, { (read(watch("one"))), #t:requests() })
    assert.same({ "all of it", "run-complete bye" }, { read(watch("raw")) })
  end)

  it("may send garbage", function()
    start(ASK)
    t:http("http://up/a", { body = "<html>no stream</html>", headers = { ["Content-Type"] = "text/html" } })
    post { id = "one" }
    t:advance(300)
    assert.matches("is no event stream", last_of(watch("one"), "run-failed").error)
  end)

  it("may be an iterator of one's own, which goes on from an id", function()
    local kinds = [[
      runs:define("own", function(run)
        local n = math.tointeger(run.last_id or 0)
        local function nth()
          n = n + 1
          if n > 20 then return nil end
          sluice.sleep(0.5)
          return { id = tostring(n) }
        end
        for item in run:from(nth) do run:text(item.id .. " ") end
      end)]]
    start(kinds)
    post { id = "one" }
    t:advance(2)
    assert(t:reload(source(kinds)))
    t:advance(20)
    assert.same({ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ", "run-complete bye" }, { read(watch("one")) })
  end)
end)

describe("a run that is cut off", function()
  after_each(kit.stop_all)

  local BUILD = [[
    runs:define("build", function(run, args)
      for step = (run.saved or 0) + 1, 10 do
        run:text(step .. " ")
        %s
        sluice.sleep(1)
      end
      return run.attempt
    end)]]
  local SAVES, ALL = BUILD:format("run:checkpoint(step)"), "1 2 3 4 5 6 7 8 9 10 "

  it("goes on at its checkpoint after a reload, a kill and a restart", function()
    start(SAVES, "durable = true")
    post { id = "one" }
    local c = watch("one")
    t:advance(1.5)
    assert(t:reload(source(SAVES .. "\n", "durable = true")))
    t:advance(2)
    t:kill()
    t:advance(2)
    t:restart()
    t:advance(20)
    local text, others = read(watch("one"))
    assert.same({ ALL, "run-complete bye" }, { text, others })
    local back = watch("one", "alice", c:last_id())
    t:advance(1)
    assert.equal(ALL, (read(c)) .. (read(back)))
    assert.is_true(last_of(back, "run-complete").result >= 4)
  end)

  it("fails, and says so, where nobody knows how to go on", function()
    start(BUILD:format(""), "durable = true")
    post { id = "one" }
    t:advance(1.5)
    t:kill()
    t:advance(2)
    local c = watch("one")
    assert.same({ "1 2 ", "run-failed bye" }, { read(c) })
    assert.equal("ECLOSED", last_of(c, "run-failed").code)
    assert.equal("failed", t:get("/r/one", { user = "alice" }).json.status)
  end)

  it("is unknown after a restart without a store", function()
    start(SAVES)
    post { id = "one" }
    t:advance(1)
    t:restart()
    assert.equal(404, watch("one").status)
  end)

  it("has an end although the new code has no such kind, or no runs", function()
    start(SAVES)
    post { id = "one" }
    local c = watch("one")
    t:advance(1)
    assert(t:reload(source(SAY)))
    t:advance(8)
    assert.matches("no function is defined", last_of(c, "run-failed").error)
  end)

  it("has one end and its owner long after it, and is forgotten, also over restarts", function()
    start(SAY, "durable = true, keep = 600")
    post { id = "one", n = 2 }
    t:advance(1)
    t:restart()
    t:advance(300)
    t:kill()
    t:advance(5)
    assert.same({ "w1 w2 ", "run-complete bye" }, { read(watch("one")) })
    assert.equal(404, watch("one", "bob").status)
    t:advance(400)
    assert.equal(404, watch("one").status)
    t:kill()
    assert.equal(0, t:get("/r", { user = "alice" }).json.total)
  end)

  it("is kept from the reload on that makes runs durable", function()
    start(SAVES, "durable = false")
    post { id = "one" }
    t:advance(1.5)
    assert(t:reload(source(SAVES, "durable = true")))
    t:advance(8)
    t:kill()
    t:advance(20)
    local text, others = read(watch("one"))
    assert.equal("run-complete bye", others)
    assert.matches("8 9 10 $", text)
  end)

  it("is stopped for good, also when the process dies at once", function()
    start(SAVES, "durable = true")
    post { id = "one" }
    t:advance(1.5)
    assert.equal(204, t:delete("/r/one", { user = "alice" }).status)
    t:advance(0.1)
    t:kill()
    t:advance(30)
    assert.same({ "1 2 ", "run-stopped bye" }, { read(watch("one")) })
  end)

  it("hands its upstream over at once, in the middle of a wait for it", function()
    local kinds = ASK .. [[
      local gate = app:state("gate", { open = false })
      app:get("/open", function() gate().open = true end)]]
    start(kinds)
    t:http("http://up/a", body("data: a\n\ndata: b\n\ndata: [DONE]\n\n"))
    post { id = "one" }
    assert(t:reload(source(kinds)))
    t:advance(20)
    assert.same({ "ab", "run-complete bye" }, { read(watch("one")) })
    assert.equal(1, #t:requests())
  end)
end)

describe("an id that is used again", function()
  after_each(kit.stop_all)

  for _, durable in ipairs { "false", "true" } do
    it("has nothing of the run that is forgotten, durable = " .. durable, function()
      start([[runs:define("tell", function(run, args)
        for i = 1, 2 do run:text(args.word .. i .. " ") run:checkpoint(i) end
      end)]], "keep = 60, durable = " .. durable)
      post { id = "one", word = "alice" }
      local first = watch("one")
      t:advance(200)
      assert.equal(404, watch("one", "bob").status)
      local c = t:connect("/s", { method = "POST", user = "bob", json = { id = "one", word = "bob" } })
      t:advance(5)
      assert.same({ "bob1 bob2 ", "run-complete bye" }, { read(c) })
      assert.same({ 404, 404 }, { watch("one").status, watch("one", "alice", first:events("text")[1].id).status })
      local resumed = watch("one", "bob", first:events("text")[1].id)
      t:advance(1)
      assert.same({ "bob1 bob2 ", "run-complete bye" }, { read(resumed) })
      if durable == "true" then
        t:kill()
        t:advance(3)
        assert.same({ "bob1 bob2 ", "run-complete bye" }, { read(watch("one", "bob")) })
        assert.equal(404, watch("one").status)
      end
    end)
  end

  it("is no way into the old channel by another stream of the app", function()
    start(SAY .. [[
      app:get("/name/:id", function(req) return { name = runs:channel(req.params.id) or "none" } end)
      app:stream("/any", function(req) return { channels = { { req.query.name, rewind = "all" } } } end)]], "keep = 60")
    post { id = "one" }
    t:advance(1)
    local old = t:get("/name/one").json.name
    assert.matches("^run/one/", old)
    local function look(user, name) return t:connect("/any?name=" .. name, { user = user }) end
    assert.equal("w1 w2 w3 ", (read(look("alice", old))))
    t:advance(200)
    assert.equal("none", t:get("/name/one").json.name)
    t:post("/r", { user = "bob", json = { id = "one", n = 1 } })
    t:advance(1)
    assert.not_equal(old, t:get("/name/one").json.name)
    for _, user in ipairs { "alice", "bob" } do assert.equal(403, look(user, old).status) end
    assert.equal("w1 ", (read(look("bob", t:get("/name/one").json.name))))
  end)
end)

describe("a start that the disk refuses", function()
  after_each(kit.stop_all)

  it("is refused to the streams that joined it, too", function()
    start(SAY .. [[app:post("/begin", function(req)
      app:spawn(function() runs:start("say", { id = "one", owner = "eve" }) end)
      sluice.sleep(0.01)
      return { known = runs:get("one") ~= nil }
    end)]], "durable = true")
    for _, how in ipairs { "POST", "GET" } do
      t:disk { hung = true }
      assert.is_true(t:post("/begin").json.known)
      local ok, why = pcall(t.connect, t, how == "POST" and "/s" or "/s/one", { method = how, user = "eve",
        json = how == "POST" and { id = "one" } or nil })
      assert.is_false(ok)
      assert.matches("the disk has not answered", why)
      t:disk { hung = false }
      t:advance(10)
      assert.equal(404, watch("one", "eve").status)
    end
    post { id = "one" }
    t:advance(2)
    assert.equal("w1 w2 w3 ", (read(watch("one"))))
  end)
end)

describe("a plain stream of runs", function()
  after_each(kit.stop_all)

  it("has the events that are asked for, and the app's own end", function()
    t = kit.start [[
      local runs = require("sluice.runs").new(app, { last = function(run)
        return "message", { type = run.status == "complete" and "finish" or "error", errorText = run.error }
      end })
      runs:define("a", function(run, args)
        run:emit("message", { type = "start" })
        run:text("not for this one")
        if args.bad then error("bad", 0) end
      end)
      runs:stream("/s", { control = false, types = { "message" } })]]
    for _, bad in ipairs { false, true } do
      local c = t:connect("/s", { method = "POST", user = "alice", json = { id = "x" .. tostring(bad), bad = bad } })
      t:advance(1)
      local list = {}
      for i, e in ipairs(c:events()) do list[i] = e.event .. " " .. e.data.type .. tostring(e.data.errorText) end
      assert.same({ "message startnil", bad and "message errorbad" or "message finishnil" }, list)
    end
  end)
end)

describe("pieces of text", function()
  it("are split behind whole characters", function()
    for bytes, want in pairs { ["a\xC3"] = "a|c3", ["\xE2\x82"] = "|e282", ["\xF0\x9F\x98"] = "|f09f98",
      ["\xC3\xA9"] = "é|", ["\xC0"] = "\u{FFFD}|", ["\xE0\x80"] = "\u{FFFD}\u{FFFD}|",
      ["\xED\xA0"] = "\u{FFFD}\u{FFFD}|", ["\xE2x"] = "\u{FFFD}x|",
      ["\xF4\x90\x80"] = "\u{FFFD}\u{FFFD}\u{FFFD}|", [""] = "|" } do
      local whole, tail = pieces.split(bytes)
      assert.equal(want, whole .. "|" .. tail:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
    end
    assert.same({ "a", "é" }, { pieces.cut("aé", 2) })
    assert.same({ "aé", "" }, { pieces.cut("aé", 3) })
  end)
end)
