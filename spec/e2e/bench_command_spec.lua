--- `sluice bench` as a process, on a Sluice and on servers whose bytes are the spec's: what it counts, and
--- what it says.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local HUB = [[
local app = require("sluice").app()
local function key(req) return req.headers["X-API-Key"] == "k" or 401 end
require("sluice.hub").new(app):routes("/api", { publish = key, admin = key, connect = key })
return app]]

local CHUNKED = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
  .. "Transfer-Encoding: chunked\r\n\r\n"

local function run(...) return process.run({ SLUICE, "bench", ... }) end

local kept = {} -- connections that would end with the function that made them

local function accept(s)
  kept[#kept + 1] = s:accept()
  return kept[#kept]
end

-- Begin one against a source, with so many readers there.
local function begin(s, readers, ...)
  local p = process.spawn({ SLUICE, "bench", s.url .. "/feed?a=1", "-c", tostring(readers), ... }, {})
  local list = {}
  for i = 1, readers do list[i] = accept(s) end
  return p, list
end

local function chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

local function outcome(p)
  assert.equal(0, p:wait(30), p:log())
  return json.decode(p:log():match("{.*"))
end

-- What comes from here on is measured.
local function until_it_measures(p)
  deadline.eventually(function() return p:log():find("readers are there; measuring for", 1, true) end, 10)
end

-- What takes its seconds is begun before the first test: act() returns a function that judges it.
local acts = {}
local function beside(name, act)
  acts[name] = act
  it(name, function()
    local ok, judge = table.unpack(acts[name])
    if not ok then error(judge, 0) end
    judge()
  end)
end

describe("sluice bench", function()
  setup(function()
    for name, act in pairs(acts) do acts[name] = { pcall(act) } end
  end)
  teardown(function()
    process.stop_all()
    source.close_all()
  end)

  it("counts what a hub delivers, and how long that takes", function()
    local s = server.start { app = HUB }
    local code, text = run(s.url .. "/api/connect", "-c", "40", "-d", "0.5", "--publish", s.url .. "/api/broadcast",
      "--rate", "20", "--size", "300", "--header", "X-API-Key: k", "--json")
    assert.equal(0, code, text)
    local found = json.decode(text:match("{.*"))
    assert.is_true(found.published >= 1 and found.published <= 10)
    assert.same({ 40, 40 * found.published, 0, 0, 0 },
      { found.open, found.events, found.lost, found.repeated, found.outOfOrder })
    assert.same({ found.events, 40 }, { found.latencySeconds.n, found.headSeconds.n })
    local t = found.latencySeconds
    assert.is_true(0 < t.p50 and t.p50 <= t.p99 and t.p99 <= t.p999 and t.p999 <= t.max)
    assert.is_true(found.bytes > found.events * 300)
    code, text = run(s.url .. "/api/connect", "-c", "3", "-d", "0.2", "--header", "X-API-Key: k", "--connect-rate",
      "100")
    assert.equal(0, code, text)
    assert.matches("\nreaders    3 of 3, after ", text)
    assert.matches("\nlatency    not known: no event says when it was published", text)
    assert.matches("\nlost       0 %(repeated 0, out of order 0%)\n", text)
  end)

  beside("says what one reader lacks and another has, and how connections ended", function()
    local s = source.listen()
    local p, readers = begin(s, 5, "-d", "2", "--json")
    assert.same({ "/feed?a=1", "text/event-stream", "no-cache" },
      { readers[1].path, readers[1].headers.accept, readers[1].headers["cache-control"] })
    local events = {}
    for n = 1, 6 do events[n] = ("data: x\nid: e-%d\n\n"):format(n * 10) end
    readers[5]:finish(503)
    readers[4]:stream("event: hello\ndata: {\"client\":\"c\",\"epoch\":\"e\"}\n\nevent: bye\ndata: {}\n\n")
    readers[3]:send(CHUNKED)
    readers[2]:send(CHUNKED)
    readers[1]:stream()
    until_it_measures(p)
    readers[1]:send(table.concat(events))
    readers[2]:send(chunk(events[1] .. events[2]) .. chunk(events[4] .. events[5]) .. chunk(events[6]))
    readers[3]:send(chunk(events[1]) .. "0\r\n\r\n")
    readers[4]:close()
    readers[2]:send(chunk(events[6]))
    return function()
      local found = outcome(p)
      assert.same({ 1, 1, 503 }, { found.lost, found.repeated, found.status })
      assert.same({ 2, 1, 2, 0, 1 }, { found.open, found.refused, found.ended, found.broken, found.byes })
      assert.equal(13, found.events)
    end
  end)

  beside("tells an end from a break, by what the body is", function()
    local s = source.listen()
    local p, readers = begin(s, 4, "-d", "0.2")
    readers[1]:send(CHUNKED .. chunk("data: a\n\n"))
    readers[1]:close() -- without a last chunk
    readers[2]:send(CHUNKED .. "zz\r\n")
    readers[3]:stream("data: a\n\n")
    readers[3]:reset()
    readers[4]:stream(": ok\n\n")
    return function()
      assert.equal(0, p:wait(20), p:log())
      assert.matches("\ntroubles   3 broke off\n", p:log())
      assert.matches("\nreaders    1 of 4", p:log())
    end
  end)

  beside("counts what of its own events is missing, in the middle and at the end", function()
    local s = source.listen()
    local p = process.spawn({ SLUICE, "bench", s.url .. "/feed", "-c", "1", "-d", "1", "--publish", s.url .. "/pub",
      "--rate", "4", "--json", "--as", "nchan" }, {})
    local reader = accept(s)
    reader:stream()
    local post = accept(s)
    for n = 1, 4 do
      if n > 1 then post:again() end
      assert.same({ "POST", "/pub", "bench" }, { post.method, post.path, post.headers["x-eventsource-event"] })
      assert.equal(n, json.decode(post.body).n)
      if n % 2 == 1 then reader:send("data: " .. post.body .. "\n\n") end
      post:answer(202)
    end
    return function()
      local found = outcome(p)
      assert.same({ 4, 2, 2 }, { found.published, found.lost, found.latencySeconds.n })
    end
  end)

  beside("blames nobody when a route publishes something else than it is posted", function()
    local s = source.listen()
    local p = process.spawn({ SLUICE, "bench", s.url .. "/feed", "-c", "1", "-d", "0.6", "--publish", s.url .. "/pub",
      "--rate", "2" }, {})
    local reader = accept(s)
    reader:stream()
    local post = accept(s)
    for n = 1, 2 do
      if n > 1 then post:again() end
      reader:send("data: its own\n\n")
      post:answer(202)
    end
    return function()
      assert.equal(0, p:wait(20), p:log())
      assert.matches("\nlatency    not known: the events carry no stamp of this tool's; [^\n]+"
        .. "\nlost       not known, for the same reason\n", p:log())
    end
  end)

  beside("names the reasons of byes, with a hello before them or without", function()
    local s = source.listen()
    local p, readers = begin(s, 4, "-d", "0.2")
    for i, reason in ipairs { "overload", "drain", "overload" } do
      local hello = i == 2 and 'event: hello\ndata: {"client":"c","epoch":"e"}\n\n' or ""
      readers[i]:stream(("%sevent: bye\ndata: {\"reason\":\"%s\"}\n\n"):format(hello, reason))
      readers[i]:close()
    end
    readers[4]:stream(": ok\n\n")
    return function()
      assert.equal(0, p:wait(20), p:log())
      assert.matches("\ntroubles   3 ended by the server %(bye drain 1, overload 2%)\ntold       0 reset, 3 bye\n",
        p:log())
    end
  end)

  beside("measures by a field of the data when it is told which", function()
    local s = source.listen()
    local p, readers = begin(s, 1, "-d", "1", "--time", "at", "--json")
    readers[1]:stream(": ok\n\n")
    until_it_measures(p)
    readers[1]:send(('data: {"at":%d}\n\ndata: {"at":"soon"}\n\n'):format(os.time() - 100))
    return function()
      local found = outcome(p)
      assert.equal(1, found.latencySeconds.n)
      assert.is_true(found.latencySeconds.p50 > 95)
    end
  end)

  it("says why it measures nothing", function()
    local s = server.start { app = HUB }
    local other = server.start { app = HUB, tls = true, args = { "--tls-redirect", "yes" } }
    local untrusted = ("https://127.0.0.1:%d/api/connect"):format(other.port)
    local none = "^sluice: no reader got a stream of [^\n]*: 2 "
    local cases = {
      { 1, none .. "refused %(status 401%); [^\n]* answered 401[^\n]*\n$", s.url .. "/api/connect" },
      { 1, none .. "refused %(status 308%); it is at https://[^\n]*/api/connect: give that address\n$",
        ("http://127.0.0.1:%d/api/connect"):format(other.plain_port) },
      { 1, none .. "failed; Failed to connect [^\n]*\n$", "http://127.0.0.1:1/" },
      { 1, none .. "failed; SSL certificate problem: [^\n]*%-%-cacert FILE[^\n]*\n$", untrusted },
      { 1, "answered 404", s.url .. "/api/connect", "--header", "X-API-Key: k", "--publish", s.url .. "/none" },
      { 1, "no address has this name", "http://nowhere.invalid/" },
      { 2, "no address like", "ftp://127.0.0.1/" }, { 2, "no address like", "nonsense" },
      { 2, "%-%-connections", "http://127.0.0.1/", "-c", "0" }, { 2, "%-%-duration", "http://127.0.0.1/", "-d", "x" },
      { 2, "%-%-rate", "http://127.0.0.1/", "--rate", "5" }, { 2, "mercure", "http://127.0.0.1/", "--as", "mercure" },
      { 2, "%-%-connections", "http://127.0.0.1/", "-c", "1.5" },
    }
    local list = {}
    for i, row in ipairs(cases) do
      local usual = row[1] == 1 and { "-d", "0.2", "-c", "2" } or {}
      list[i] = { SLUICE, "bench", table.unpack(row, 3) }
      table.move(usual, 1, #usual, #list[i] + 1, list[i])
    end
    for i, row in ipairs(process.run_beside(list)) do
      assert.equal(cases[i][1], row[1], row[2])
      assert.matches(cases[i][2], row[2])
    end
  end)

  it("ends at Ctrl-C, and opens no more than it may", function()
    local s = source.listen()
    local p, readers = begin(s, 2, "-d", "60")
    for _, c in ipairs(readers) do c:stream() end
    p:signal("INT")
    assert.equal(130, p:wait(10))
    for _, c in ipairs(readers) do assert.is_true(c:gone()) end
    local code, text = process.run(("ulimit -n 200; %s bench http://127.0.0.1:1/ -c 1000"):format(SLUICE))
    assert.equal(1, code)
    assert.matches("this process may have 136 connections: ulimit %-Hn is the limit", text)
  end)
end)
