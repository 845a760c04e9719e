--- `sluice publish` and `sluice wait-for` as processes: what servers of each kind are sent, what is
--- printed, and that a script may rely on both.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local HUB = [[
local sluice = require("sluice")
local app = sluice.app()
local function key(req)
  if req.headers["X-API-Key"] ~= "k" then return 401, "a key is missing" end
  req.user = { id = "ops" }
  return true
end
require("sluice.hub").new(app, { rewind = "all" }):routes("/api", { publish = key, admin = key })
return app]]

local function run(words, input)
  if not input then return process.run({ SLUICE, table.unpack(words) }) end
  local line = {}
  for i, word in ipairs(words) do line[i] = process.quote(word) end
  return process.run(("printf %%s %s | %s %s"):format(process.quote(input), SLUICE, table.concat(line, " ")))
end

-- What a server of another kind is sent, which then answers: its request, exit code, what was printed.
local function sent(answer, ...)
  local s = source.listen()
  local p = process.spawn({ SLUICE, "publish", s.url .. "/pub", ... }, {})
  local c = s:accept()
  c:finish(table.unpack(answer))
  return c, p:wait(10), p:log()
end

after_each(function()
  process.stop_all()
  source.close_all()
end)

describe("sluice publish", function()
  it("publishes to a hub what wait-for then sees, and prints the id", function()
    local s = server.start { app = HUB }
    local to, from = s.url .. "/api/broadcast", s.url .. "/api/connect"
    local function publish(...) return run { "publish", to, "--header", "X-API-Key: k", ... } end
    local code, id = publish("news", '{"n":1.50}')
    assert.equal(0, code, id)
    assert.matches("^[%w]+%-%d+\n$", id)
    assert.same({ 0, '{"n":1.5}\n' }, { run { "wait-for", from, "news" } })
    -- a text, nothing, standard input; a key counts once
    local _, first = publish("note", "not [JSON", "--key", "one")
    assert.same({ 0, first }, { publish("note", "other", "--key", "one") })
    assert.equal(0, (publish("empty")))
    assert.equal(0, (run({ "publish", to, "--header", "X-API-Key: k", "piped", "-" }, '{"a":[1,2]}\n')))
    local wanted, seen = { note = "not [JSON", empty = "{}", piped = '{"a":[1,2]}' }, {}
    for name in pairs(wanted) do seen[name] = process.spawn({ SLUICE, "wait-for", from, name, "--json" }, {}) end
    for name, data in pairs(wanted) do
      assert.equal(0, seen[name]:wait(10), seen[name]:log())
      assert.equal(data, json.decode(seen[name]:log()).data)
    end
    -- what was meant as JSON and is none
    local list = {}
    for i, data in ipairs { '{"title":"x",}', " [1,", "[not JSON" } do
      list[i] = { SLUICE, "publish", to, "broken", data }
    end
    for _, row in ipairs(process.run_beside(list)) do
      assert.equal(2, row[1], row[2])
      assert.matches("begin with { or [ and are no JSON: ", row[2], 1, true)
    end
    -- as JSON
    code, first = publish("news", "{}", "--json")
    local answer = json.decode(first)
    assert.same({ 0, 202, answer.id, false }, { code, answer.status, answer.answer.id, answer.answer.duplicate })
  end)

  it("says why an event was refused", function()
    local s = server.start { app = HUB }
    local to = s.url .. "/api/broadcast"
    assert.same({ 1, ("sluice: %s answered 401: a key is missing\n"):format(to) }, { run { "publish", to, "e", "{}" } })
    local code, text = run { "publish", to, "hello", "--header", "X-API-Key: k", "--json" }
    assert.equal(1, code)
    assert.equal(422, json.decode(text:match("{[^\n]+")).status)
    assert.matches("sluice: [^\n]* answered 422: [^\n]+\n", text)
    code, text = run { "publish", s.url .. "/api/send/nobody", "--header", "X-API-Key: k", "e" }
    assert.equal(1, code)
    assert.matches("answered 404: ", text)
    code, text = run { "publish", "http://127.0.0.1:1/", "e" }
    assert.equal(1, code)
    assert.matches("^sluice: Failed to connect ", text)
    local silent = source.listen()
    code = run { "publish", silent.url, "e", "--timeout", "0.2" }
    assert.equal(1, code)
  end)

  it("posts to a user of a hub, and only there", function()
    local c, code, text = sent({ 202, '{"id":"e-7","subscribers":0,"duplicate":false}',
      { ["Content-Type"] = "application/json" } }, "note", "{}", "--user", 'al"ice')
    assert.same({ "POST", "/pub", "application/json", 0, "e-7\n" },
      { c.method, c.path, c.headers["content-type"], code, text })
    assert.same({ eventType = "note", data = {}, user = 'al"ice' }, json.decode(c.body))
  end)

  it("speaks as a Mercure hub wants it", function()
    local c, code, text = sent({ 200, "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb" }, "--as", "mercure", "--topic",
      "https://example.com/books/1", "--topic", "b&c", "--private", "--header", "Authorization: Bearer T", "up date",
      'a=b&c%\195\188')
    assert.same({ "application/x-www-form-urlencoded", "Bearer T", 0,
      "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb\n" },
      { c.headers["content-type"], c.headers.authorization, code, text })
    assert.equal("topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&topic=b%26c&type=up%20date&data=a%3Db%26c%25%C3%BC"
      .. "&private=on", c.body)
  end)

  it("speaks as nchan wants it", function()
    local c, code, text = sent({ 201, '{"messages":5,"requested":-1,"subscribers":2,"last_message_id":"1450755280:0"}',
      { ["Content-Type"] = "text/json" } }, "--as", "nchan", "goal", "1:0")
    assert.same({ "goal", "text/json", "1:0", 0, "1450755280:0\n" },
      { c.headers["x-eventsource-event"], c.headers.accept, c.body, code, text })
  end)

  it("follows no redirect, and shows no byte that a terminal would obey", function()
    local _, code, text = sent({ 302, "", { Location = "/elsewhere" } }, "e")
    assert.equal(1, code)
    assert.matches("answered 302: it is at http://[^\n]*/elsewhere: give that address\n$", text)
    _, code, text = sent({ 400, "\27[2J" }, "e")
    assert.same({ 1, true }, { code, text:find("answered 400: \\x1b[2J\n", 1, true) ~= nil }, text)
  end)

  it("refuses what makes no sense", function()
    local list = {}
    for i, words in ipairs { { "e", "--as", "mercure" }, { "e", "--as", "carrier-pigeon" }, { "e", "--topic", "t" },
      { "e", "--private" }, { "e", "--timeout", "0" }, { "e", "--as", "nchan", "--user", "u" },
      { "e", "--header", "nonsense" }, { "a\nb" }, {} } do
      list[i] = { SLUICE, "publish", "http://127.0.0.1:1/", table.unpack(words) }
    end
    for i, row in ipairs(process.run_beside(list)) do
      assert.equal(2, row[1], table.concat(list[i], " ") .. row[2])
    end
  end)
end)

describe("sluice wait-for", function()
  local function wait_for(...) return process.spawn({ SLUICE, "wait-for", ... }, {}) end

  it("waits for the event whose data are as it was told", function()
    local s = source.listen()
    local p = wait_for(s.url, "goal", "--match", "team.name=home", "--match", "n=2", "--match", "own=false",
      "--timeout", "20")
    local c = s:accept()
    for _, data in ipairs { "no JSON", "[]", '{"team":{"name":"home"},"n":3,"own":false}',
      '{"team":{"name":"home"},"n":2,"own":null}', '{"team":"home","n":2,"own":false}' } do
      c[c.begun and "send" or "stream"](c, ("event: goal\ndata: %s\n\n"):format(data))
      c.begun = true
    end
    c:send('event: other\ndata: {"team":{"name":"home"},"n":2,"own":false}\n\n')
    assert.is_nil(p:code())
    c:send('event: goal\ndata: {"team":{"name":"home"},"n":2.0,"own":false}\n\n')
    assert.equal(0, p:wait(10))
    assert.equal('{"team":{"name":"home"},"n":2.0,"own":false}\n', p:log())
  end)

  it("gives up in time, and says what came instead", function()
    local s = source.listen()
    local mute = source.listen() -- a server that never says anything, nor answers
    local unheard = wait_for(mute.url, "goal", "--timeout", "0.3")
    local p = wait_for(s.url, "goal", "--match", "n=1", "--timeout", "0.6")
    s:accept():stream("event: a\ndata: 1\n\nevent: a\ndata: 2\n\nevent: goal\ndata: {}\n\n")
    assert.equal(1, p:wait(10))
    assert.equal("sluice: 'goal' has not come within 0.6 s; this came: a (2), goal that does not match (1)\n", p:log())
    assert.equal(1, unheard:wait(10))
    assert.matches("has not come within 0.3 s: [^\n]+; no other event came\n$", unheard:log())
  end)

  it("says that redirects go in a circle, and not that there was no answer in time", function()
    local s = source.listen()
    local p = wait_for(s.url, "goal", "--timeout", "1")
    for _ = 1, 6 do s:accept():finish(302, "", { Location = s.url }) end
    assert.equal(1, p:wait(10))
    assert.matches("has not come within 1 s: more than 5 redirects; no other event came\n$", p:log())
  end)

  it("waits for a server that is not up yet, and not for one that refuses", function()
    local s = source.listen()
    local port = s.port
    s:close()
    local p = wait_for(s.url, "up", "--timeout", "20")
    s = source.listen(port)
    s:accept(10):finish(502)
    s:accept(10):stream("event: up\ndata:\n\n")
    assert.equal(0, p:wait(10))
    p = wait_for(s.url, "up", "--timeout", "20")
    s:accept():finish(401, '{"error":{"message":"a key is missing"}}')
    assert.equal(1, p:wait(10))
    assert.matches("answered 401: a key is missing\n$", p:log())
    p = wait_for(s.url, "up", "--timeout", "20")
    s:accept():finish(204)
    assert.equal(1, p:wait(10))
    assert.matches("the stream is over; no other event came\n$", p:log())
  end)

  it("starts a program when it listens, so that what that causes is not missed", function()
    local s = server.start { app = [[
      local app = require("sluice").app()
      app:stream("/s/:c", function(req) return req.params.c end)
      app:post("/go/:c", function(req) app:publish(req.params.c, "done", { n = 7 }) return 204 end)
      return app]] }
    local function wait(path, ...)
      return { SLUICE, "wait-for", s.url .. path, "done", "--timeout", "10", "--", ... }
    end
    local good, bad, none = table.unpack(process.run_beside {
      wait("/s/a", "curl", "-s", "-X", "POST", s.url .. "/go/a"),
      wait("/s/b", "sh", "-c", ("echo working; curl -s -X POST %s/go/b; exit 3"):format(s.url)),
      wait("/s/c", "no-such-program") })
    assert.same({ 0, '{"n":7}\n' }, good)
    assert.equal(1, bad[1])
    assert.matches("working\n", bad[2])
    assert.matches("sluice: sh has ended with code 3\n$", bad[2])
    assert.equal(1, none[1])
    assert.matches("sluice: no%-such%-program cannot be started: ", none[2])
  end)

  it("takes no event for the program's that was there before it: of a history, a state, another server", function()
    local s = server.start { app = [[
      local app = require("sluice").app()
      app:channel("log", { history = 9, rewind = "all" })
      app:channel("state", { history = "latest" })
      app:stream("/s/:c", function(req) return req.params.c end)
      app:post("/go/:c/:n", function(req) app:publish(req.params.c, "done", { n = req.params.n }) return 204 end)
      return app]] }
    local function go(c, n) return { "curl", "-s", "-X", "POST", ("%s/go/%s/%d"):format(s.url, c, n) } end
    local function wait(c, options, program)
      local words = { SLUICE, "wait-for", s.url .. "/s/" .. c, "done", "--timeout", "2", table.unpack(options) }
      words[#words + 1] = program and "--" or nil
      return table.move(program or {}, 1, program and #program or 0, #words + 1, words)
    end
    for _, c in ipairs { "log", "state" } do
      for n = 1, 2 do process.run(go(c, n)) end
    end
    local idle, matching = { "true" }, { "--match", "n=2" }
    local found = process.run_beside { wait("log", {}), wait("state", {}), wait("log", {}, idle),
      wait("state", {}, idle), wait("log", matching, idle), wait("state", {}, { "no-such-program" }) }
    assert.same({ { 0, '{"n":"1"}\n' }, { 0, '{"n":"2"}\n' } }, { found[1], found[2] })
    for i = 3, 5 do
      assert.equal(1, found[i][1], i .. found[i][2])
      assert.matches("'done' has not come within 2 s; this came: done of before true %(", found[i][2])
    end
    assert.equal(1, found[6][1])
    assert.matches("cannot be started", found[6][2])
    for _, c in ipairs { "log", "state" } do
      assert.same({ 0, '{"n":"3"}\n' }, process.run_beside({ wait(c, {}, go(c, 3)) })[1])
    end
    local first = select(2, process.run({ SLUICE, "wait-for", s.url .. "/s/log", "done", "--json" }))
    local since = { "--since", json.decode(first).id }
    assert.same({ 0, '{"n":"2"}\n' }, process.run_beside({ wait("log", since, go("log", 4)) })[1])
    local other = source.listen()
    local p = wait_for(other.url, "done", "--timeout", "20", "--", "echo", "begun")
    local c = other:accept()
    c:stream("event: done\ndata: old\n\n")
    deadline.eventually(function() return p:log():find("begun\n", 1, true) end, 10, "the program")
    c:send("event: done\ndata: new\n\n")
    assert.equal(0, p:wait(10))
    assert.equal("begun\nnew\n", p:log())
  end)

  it("comes back after a cut, with its id", function()
    local s = source.listen()
    local p = wait_for(s.url, "b", "--since", "1", "--timeout", "20", "--json")
    local c = s:accept()
    assert.equal("1", c.headers["last-event-id"])
    c:stream("retry: 10\nevent: a\ndata: x\nid: 2\n\n")
    c:close()
    c = s:accept(10)
    assert.equal("2", c.headers["last-event-id"])
    c:stream("event: b\ndata: y\nid: 3\n\n")
    assert.equal(0, p:wait(10))
    local event = json.decode(p:log())
    assert.same({ "b", "y", "3" }, { event.event, event.data, event.id })
  end)

  it("ends at Ctrl-C with 130, and refuses what makes no sense", function()
    local s = source.listen()
    local p = wait_for(s.url, "b", "--timeout", "20")
    s:accept():stream()
    p:signal("INT")
    assert.equal(130, p:wait(10))
    local list = {}
    for i, words in ipairs { { "--timeout", "x" }, { "--match", "x" }, { "--header", "x" }, { "--since", "a\nb" } } do
      list[i] = { SLUICE, "wait-for", "http://127.0.0.1:1/", "e", table.unpack(words) }
    end
    for i, row in ipairs(process.run_beside(list)) do assert.equal(2, row[1], list[i][5] .. row[2]) end
  end)
end)
