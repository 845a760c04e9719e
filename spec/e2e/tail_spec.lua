--- `sluice tail` as a process, on sources whose bytes are the spec's and on a Sluice: what it prints of
--- what comes, when it comes back, and when it does not.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lab = require("spec.support.lab")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local function tail(...)
  return process.spawn({ SLUICE, "tail", ... }, {})
end

local function has(p, pattern)
  return deadline.eventually(function()
    if p:code() and not p:log():find(pattern) then deadline.give_up(p:log()) end
    return p:log():match(pattern)
  end, 10, pattern)
end

local function objects(text)
  local list = {}
  for line in text:gmatch("([^\n]+)\n") do
    if line:sub(1, 1) == "{" then
      list[#list + 1] = assert(json.decode(line))
      list[#list].t = nil
    end
  end
  return list
end

after_each(function()
  process.stop_all()
  source.close_all()
end)

describe("sluice tail", function()
  it("prints each event as it comes, and no byte that a terminal would obey", function()
    local s = source.listen()
    local p = tail(s.url .. "/feed", "--header", "X-API-Key: k")
    local c = s:accept()
    assert.same({ "/feed", "text/event-stream", "no-cache", "k", nil }, { c.path, c.headers.accept,
      c.headers["cache-control"], c.headers["x-api-key"], c.headers["last-event-id"] })
    c:stream("event: a\nid: 7\ndata: one\n\n: a comment\n\ndata: two\ndata: lines\n\n")
    has(p, "%-%- open: 200\n")
    has(p, "\n%d%d:%d%d:%d%d%.%d%d%d  a  7  one\n")
    has(p, "\n%d%d:%d%d:%d%d%.%d%d%d  message  %-  two\n" .. (" "):rep(14) .. "lines\n")
    c:stream("event: \27[2J\ndata: \27]0;title\7\226\128\174\194\155\255\n\n")
    has(p, "  \\x1b%[2J  %-  \\x1b%]0;title\\x07\\u{202E}\\u{9B}\239\191\189\n")
    p:signal("INT")
    assert.equal(130, p:wait(10))
  end)

  it("says how an address without http:// is written", function()
    local p = tail("localhost:5141/x")
    assert.equal(2, p:wait(10))
    assert.matches("'localhost:5141/x': write http://localhost:5141/x\n", p:log(), 1, true)
  end)

  it("comes back as a browser does: after the server's retry, with the last whole id", function()
    local s = source.listen()
    local p = tail(s.url, "--since", "5")
    local c = s:accept()
    assert.equal("5", c.headers["last-event-id"])
    c:stream("retry: 20\nid: 6\ndata: a\n\nid: 7\ndata: cut of")
    has(p, "message  6  a\n")
    c:close()
    c = s:accept(10)
    has(p, "%-%- cut: [^\n]*; again in 0.02 s\n")
    assert.equal("6", c.headers["last-event-id"])
    c:stream("id\ndata: b\n\n") -- takes the id away
    has(p, "%-%- open: 200, behind the id 6\n")
    has(p, "message    b\n")
    c:reset()
    c = s:accept(10)
    assert.is_nil(c.headers["last-event-id"])
    c:finish(204)
    assert.equal(0, p:wait(10))
    assert.matches("%-%- over: the stream has ended for good\n$", p:log())
  end)

  it("waits an hour at most, however long the server says", function()
    local s = source.listen()
    local p = tail(s.url)
    local c = s:accept()
    c:stream("retry: 36028797018963968\ndata: a\n\n")
    has(p, "message  %-  a\n")
    c:close()
    has(p, "; again in 3600 s\n")
    p:signal("INT")
    assert.equal(130, p:wait(10))
  end)

  it("waits while nothing listens", function()
    local s = source.listen()
    local front = lab.start(s.url)
    local p = tail(front.url)
    s:accept():stream("retry: 20\ndata: a\nid: 7\n\n")
    has(p, "message  7  a\n")
    front.process:kill()
    has(p, "cut: [^\n]*; again in 0.02 s\n.*cut: [^\n]*connect[^\n]*; again in 0.02 s\n")
    lab.start(s.url, { "--port", tostring(front.port) })
    assert.equal("7", s:accept(10).headers["last-event-id"])
  end)

  it("ends where an EventSource ends, and says why", function()
    local s = source.listen()
    local p = tail(s.url .. "/x")
    s:accept():finish(403, '{"error":{"code":"EDENIED","message":"only for\\u001b the role"}}')
    assert.equal(1, p:wait(10))
    assert.matches("sluice: http://127.0.0.1:%d+/x answered 403: only for\\x1b the role\n$", p:log())
    p = tail(s.url)
    s:accept():answer(200, "<html>", { ["Content-Type"] = "text/html; charset=utf-8" })
    assert.equal(1, p:wait(10))
    assert.matches("is no event stream: text/html\n$", p:log())
    p = tail(s.url)
    s:accept():stream("retry: 1\ndata: a\n\n")
    has(p, "message")
    source.close_all() -- closes nothing that was accepted
    p:signal("KILL")
    local code, text = process.run({ SLUICE, "tail", s.url })
    assert.equal(1, code)
    assert.matches("^sluice: Failed to connect ", text)
    for _, url in ipairs { "nonsense", "ftp://127.0.0.1/", "http://" } do
      code, text = process.run({ SLUICE, "tail", url })
      assert.equal(1, code, url .. text)
    end
  end)

  it("takes only some names, so many, and prints what replay plays", function()
    local s = source.listen()
    local p = tail(s.url, "--types", "goal,card", "--count", "2", "--json")
    s:accept():stream('event: goal\nid: 1\ndata: {"n":1}\n\nevent: other\ndata: x\n\nevent: card\ndata: y\ndata:\n\n'
      .. "event: goal\ndata: z\n\n")
    assert.equal(0, p:wait(10))
    assert.same({ { note = "open", data = "200" }, { event = "goal", data = '{"n":1}', id = "1" },
      { event = "card", data = "y\n" } }, objects(p:log()))
    local path = os.tmpname()
    process.write_file(path, p:log())
    local code, text = process.run({ SLUICE, "replay", path, "--speed", "1000" })
    os.remove(path)
    assert.same({ 0, 'event: goal\ndata: {"n":1}\nid: 1\n\nevent: card\ndata: y\ndata: \n\n' }, { code, text })
  end)

  it("reads a stream from standard input", function()
    local code, text = process.run(([[printf 'data: a\n\nevent: b\ndata: c\n\ndata: half' | %s tail - --json]])
      :format(SLUICE))
    assert.equal(0, code)
    assert.same({ { data = "a" }, { event = "b", data = "c" },
      { note = "over", data = "the stream has ended for good" } }, objects(text))
  end)

  it("says what the control events of a Sluice mean, and takes no other server's for them", function()
    local app = server.start { app = [[
      local app = require("sluice").app()
      app:channel("c", { history = 2 })
      app:stream("/s", "c")
      app:get("/go", function() for n = 1, 5 do app:publish("c", "e", n) end end)
      app:get("/stop", function() for c in app:clients() do c:stop() end end)
      return app]] }
    process.run({ "curl", "-s", app.url .. "/go" })
    local p = tail(app.url .. "/s", "--since", "old-1")
    has(p, "%-%- hello: client [^\n]*, epoch [^\n]*, not resumed, 1 channel, 2 events from the history\n")
    has(p, "%-%- reset: something of c is lost: [%w_]+ %([^\n]+%)\n")
    has(p, "%-%- sync: all up to here was sent\n")
    process.run({ "curl", "-s", app.url .. "/stop" })
    has(p, "%-%- bye: stop %(it is over%)\n.*%-%- cut: the connection has ended; again in ")
    local s = source.listen()
    p = tail(s.url, "--count", "2")
    s:accept():stream("event: reset\ndata: {}\n\nevent: bye\ndata: x\n\n")
    assert.equal(0, p:wait(10))
    assert.matches("  reset  %-  {}\n.*  bye  %-  x\n$", p:log())
  end)

  it("keeps events and notes apart, has no colours in a file, and ends with its reader", function()
    local s = source.listen()
    local folder = process.temp_dir()
    local p = process.spawn({ "sh", "-c", ("%s tail %s --count 1 >%s/out 2>%s/err"):format(SLUICE, s.url, folder,
      folder) }, {})
    s:accept():stream("event: a\ndata: b\n\n")
    assert.equal(0, p:wait(10))
    assert.matches("^%d%d:%d%d:%d%d%.%d%d%d  a  %-  b\n$", process.read_file(folder .. "/out"))
    assert.matches("^[^\n]+  %-%- open: 200\n$", process.read_file(folder .. "/err"))
    p = process.spawn({ "sh", "-c", ("{ %s tail %s; echo $? >%s/rc; } 2>/dev/null | head -1"):format(SLUICE, s.url,
      folder) }, {})
    local c = s:accept()
    c:stream("data: a\n\n")
    has(p, "message  %-  a\n")
    c:send("data: b\n\n")
    assert.equal(0, p:wait(10))
    assert.equal("0\n", process.read_file(folder .. "/rc"))
    process.remove_dir(folder)
  end)

  it("refuses what makes no sense", function()
    for _, words in ipairs { { "--count", "0" }, { "--count", "x" }, { "--header", "x" }, { "--since", "a\nb" } } do
      local code, text = process.run({ SLUICE, "tail", "http://127.0.0.1:1/", table.unpack(words) })
      assert.equal(2, code, text)
    end
  end)
end)
