--- sluice.client on a real server: sources that are cut, restarted, slow, wrong or endless.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

-- Follows what it is told to, and shows what came.
local FOLLOW = [[
local client = require("sluice.client")
local got = app:state("got", { events = {} })
app:post("/follow", function(req)
  local o = req:json()
  got().events, got().over = {}, nil
  app:spawn(function()
    for event in client.events(o.url, o.options) do
      table.insert(got().events, { event = event.event, data = event.data, id = event.id, text = event.text })
      if event.event == o.until_event then break end
    end
    got().over = true
  end)
end)
app:get("/got", function() return { events = sluice.json.array(got().events), over = got().over or false } end)
]]

local function start(text, options) return live.start(FOLLOW .. (text or ""), options) end

local function got(s) return json.decode(s.get("/got").body) end

-- Wait until so many events have come; they are all there are.
local function wait_got(s, n, seconds)
  local list
  deadline.eventually(function()
    list = got(s).events
    return #list >= n
  end, seconds or 5, n .. " events")
  assert.equal(n, #list)
  return list
end

local function wait_over(s)
  deadline.eventually(function() return got(s).over end, 5, "the loop ends")
end

local function follow(s, url, options, until_event)
  assert.equal(204, s.post("/follow", json.encode { url = url, options = options, until_event = until_event }).status)
end

local function texts(list)
  local out = {}
  for i, event in ipairs(list) do out[i] = event.text end
  return out
end

local RETRY = "retry: 100\n"

describe("sluice.client", function()
  local s, from

  setup(function() s = start() end)
  teardown(server.stop_all)
  before_each(function() from = source.listen() end)
  after_each(source.close_all)

  -- End the loop of the app under test: no spec hears of another's source.
  local function finish()
    from:accept():finish(204)
    wait_over(s)
  end

  it("gives events with their data, as value and as text", function()
    follow(s, from.url .. "/feed?a=b")
    local c = from:accept()
    assert.same({ "GET", "/feed?a=b", "text/event-stream" }, { c.method, c.path, c.headers.accept })
    assert.is_nil(c.headers["last-event-id"])
    c:stream(RETRY .. ': hi\nevent: price\nid: 1\ndata: {"n":[1]}\n\ndata: 7\n\nid\ndata: [x\n\n')
    assert.same({ { event = "price", id = "1", data = { n = { 1 } }, text = '{"n":[1]}' },
      { event = "message", id = "1", data = "7", text = "7" }, { event = "message", data = "[x", text = "[x" } },
      wait_got(s, 3))
    c:close()
    finish()
  end)

  it("takes a source that is slow, byte by byte", function()
    follow(s, from.url)
    local c = from:accept()
    local text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n"
    for byte in ("\xEF\xBB\xBF" .. RETRY .. "event: e\r\ndata: \u{20AC}\r\ndata: b\r\rid:2\ndata:c\n\n"):gmatch(".") do
      text = text .. "1\r\n" .. byte .. "\r\n"
    end
    for byte in text:gmatch(".") do assert(c:send(byte)) end
    assert.same({ "\u{20AC}\nb", "c" }, texts(wait_got(s, 2)))
    c:close()
    finish()
  end)

  it("resumes behind the last whole event, and forgets the half one", function()
    follow(s, from.url, { last_event_id = "start" })
    local c = from:accept()
    assert.equal("start", c.headers["last-event-id"])
    c:stream(RETRY .. "id: 1\ndata: one\n\nid: 2\ndata: tw")
    wait_got(s, 1)
    c:reset()
    c = from:accept()
    assert.equal("1", c.headers["last-event-id"])
    c:stream("id: 2\ndata: two\n\n")
    c:close()
    c = from:accept()
    assert.equal("2", c.headers["last-event-id"])
    assert.same({ "one", "two" }, texts(wait_got(s, 2)))
    c:close()
    finish()
  end)

  it("loses nothing and doubles nothing while its source is cut at random", function()
    local last, seed = 300, tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    follow(s, from.url)
    repeat
      local c = from:accept()
      local parts = { RETRY }
      for n = (tonumber(c.headers["last-event-id"]) or 0) + 1, last do
        parts[#parts + 1] = ("id: %d\r\ndata: %d\r\n\r\n"):format(n, n)
      end
      local bytes = table.concat(parts)
      local cut = math.random(0, 1000)
      c:stream(bytes:sub(1, cut))
      if math.random() < 0.5 then c:close() else c:reset() end
    until cut >= #bytes
    local list = wait_got(s, last)
    for n = 1, last do assert.equal(tostring(n), list[n].text, "seed " .. seed) end
    finish()
  end)

  it("comes back after refusals and wrong types, and says so once", function()
    follow(s, from.url .. "/?key=secret")
    local c = from:accept()
    c:stream(RETRY .. "data: 1\n\n")
    c:close()
    from:accept():finish(500)
    from:accept():finish(200, "<p>", { ["Content-Type"] = "text/html" })
    from:accept():close()
    c = from:accept()
    c:stream("data: 2\n\n")
    assert.same({ "1", "2" }, texts(wait_got(s, 2)))
    c:close()
    finish()
    local shown = from.url .. "/"
    s.wait_log(("%s is back"):format(shown:gsub("%p", "%%%0")))
    local _, complaints = s.log():gsub("client%.events%(%): " .. shown:gsub("%p", "%%%0") .. "[^\n]*again in", "")
    assert.equal(1, complaints)
    assert.is_nil(s.log():find("secret", 1, true))
  end)

  it("opens by POST, each time with its body", function()
    follow(s, from.url .. "/", { json = { q = "tea" }, events = { "message" } })
    local c = from:accept()
    assert.same({ "POST", '{"q":"tea"}', "application/json" }, { c.method, c.body, c.headers["content-type"] })
    c:stream(RETRY .. "id: 7\ndata: 1\n\n")
    wait_got(s, 1)
    c:close()
    c = from:accept()
    assert.same({ "POST", '{"q":"tea"}', "7" }, { c.method, c.body, c.headers["last-event-id"] })
    c:stream("data: 2\n\n")
    wait_got(s, 2)
    c:close()
    finish()
  end)

  it("waits as long as a refusal asks", function()
    follow(s, from.url .. "/")
    from:accept():finish(429, "", { ["Retry-After"] = "1" })
    local began = os.time()
    from:accept():finish(204)
    assert.is_true(os.time() > began)
    wait_over(s)
    s.wait_log("answered 429; again in 1")
  end)

  it("stays away from what asking again will not change", function()
    for _, status in ipairs { 204, 404, 401 } do
      follow(s, from.url)
      from:accept():finish(status)
      wait_over(s)
    end
    follow(s, "ftp://example.org/")
    wait_over(s)
    assert.is_nil(from:try_accept(0.3))
  end)

  it("bounds lines and events", function()
    follow(s, from.url)
    local c = from:accept()
    c:stream(RETRY .. "data: 1\n\ndata: ")
    local before, pieces = s.rss(), 0
    while pieces < 200 and c:send(("x"):rep(65536)) do pieces = pieces + 1 end
    assert.is_true(pieces < 200)
    c:close()
    c = from:accept()
    c:stream()
    for _ = 1, 20000 do
      if not c:send("data: " .. ("y"):rep(1000) .. "\n") then break end
    end
    assert.is_true(c:gone())
    c:close()
    c = from:accept()
    c:stream("data: 2\n\n")
    assert.same({ "1", "2" }, texts(wait_got(s, 2)))
    assert.is_true(s.rss() < before + 100 * 1024 * 1024)
    s.wait_log("a line has more than 1048576 bytes")
    c:close()
    finish()
  end)

  it("leaves in the kernel what nobody takes", function()
    local slow = start([[
      app:post("/slow", function(req)
        local url = req:json().url
        app:spawn(function()
          for event in client.events(url) do
            got().n = (got().n or 0) + 1
            if event.text == "first" then sluice.sleep(1) end
          end
        end)
      end)
      app:get("/n", function() return { n = got().n or 0 } end)]])
    slow.post("/slow", json.encode { url = from.url })
    local c = from:accept()
    c:stream(RETRY .. "data: first\n\n")
    deadline.eventually(function() return json.decode(slow.get("/n").body).n == 1 end)
    local event = "data: " .. ("z"):rep(1000) .. "\n\n"
    c.sock:settimeout(0.3)
    local sent = select(3, c.sock:send(event:rep(16384))) -- 16 MiB: it stops long before
    assert.is_true(sent and sent < 12 * 1024 * 1024, tostring(sent))
    c.sock:settimeout(20)
    assert(c.sock:send(event:rep(16384), sent + 1))
    deadline.eventually(function() return json.decode(slow.get("/n").body).n == 16385 end, 20, "all of them")
    c:close()
    slow.kill()
  end)

  it("gives up a connection that is silent, also before the head", function()
    follow(s, from.url, { timeout = 0.3 })
    local c = from:accept()
    c:stream(RETRY .. "data: 1\n\n")
    assert.is_true(c:gone())
    c = from:accept()
    assert.is_true(c:gone())
    finish()
  end)

  it("closes when the loop is left", function()
    follow(s, from.url, nil, "last")
    local c = from:accept()
    c:stream("event: last\ndata: 1\n\n")
    assert.is_true(c:gone())
    wait_over(s)
  end)

  it("narrows what it follows", function()
    follow(s, from.url .. "/f?x=1#y", { events = { "a", "b c" }, keys = { "k,1" } })
    local c = from:accept()
    assert.equal("/f?x=1&keys=k%2C1&types=a,b%20c", c.path)
    c:stream(RETRY .. "event: a\ndata: 1\n\nevent: other\ndata: 2\n\nevent: reset\ndata: 3\n\n")
    assert.same({ "1", "3" }, texts(wait_got(s, 2)))
    c:close()
    finish()
  end)

  it("leaves no memory behind", function()
    local function round()
      follow(s, from.url)
      local c = from:accept()
      c:stream(RETRY .. ("data: 1\n\n"):rep(1000))
      c:reset()
      finish()
    end
    round()
    local before = s.alive().memory
    for _ = 1, 5 do round() end
    deadline.eventually(function() return s.alive().memory <= before end, 5, "as much as before")
  end)
end)

describe("client.connect", function()
  after_each(function() process.stop_all() source.close_all() end)

  it("says what came of the first attempt", function()
    local from = source.listen()
    local s = start([[
      app:post("/connect", function(req)
        local c, message, code = client.connect(req:json().url)
        if not c then return { message = message, code = code } end
        local out = { status = c.status }
        for event in c:events() do out.text = event.text break end
        c:close()
        c:close()
        return out
      end)]])
    local function connect(act)
      local answer = live.post_later(s, "/connect", json.encode { url = from.url })
      local c = from:accept()
      act(c)
      local out = json.decode(assert(answer:response()).body)
      answer:close()
      return out, c
    end
    local out, c = connect(function(c) c:stream("data: 1\n\n") end)
    assert.same({ status = 200, text = "1" }, out)
    assert.is_true(c:gone())
    assert.same({ status = 204 }, (connect(function(d) d:finish(204) end)))
    assert.equal("EUPSTREAM", connect(function(d) d:finish(503) end).code)
    assert.equal(0, s.stop())
  end)

  it("is refused while an app loads, and where nobody can wait", function()
    local code, log = server.run_to_end {
      app = 'local a = require("sluice").app()\nrequire("sluice.client").events("http://127.0.0.1/")\nreturn a' }
    assert.equal(1, code)
    assert.truthy(log:find("client.events() has an effect and the app is still loading", 1, true), log)
  end)
end)

describe("a service that follows a stream", function()
  after_each(function() process.stop_all() source.close_all() end)

  it("closes its connection when a reload ends it, and has one at a time", function()
    local from = source.listen()
    local s = start(([[app:service("feed", function()
      for event in client.events(%q) do app:publish("news", event.event, event.data) end
    end)]]):format(from.url))
    local c = from:accept()
    c:stream("data: 1\n\n")
    process.write_file(s.folder .. "/app.lua", process.read_file(s.folder .. "/app.lua") .. "\n")
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.is_true(c:gone(8))
    local again = from:accept(8)
    again:stream("data: 2\n\n")
    assert.is_nil(from:try_accept(0.3))
    assert.equal(0, s.stop())
    assert.is_true(again:gone())
  end)
end)

describe("a bridge of three lines", function()
  after_each(function() process.stop_all() end)

  local SOURCE = [[
    app:channel("feed", { history = 1000, rewind = "all" })
    app:stream("/feed", "feed")
    app:post("/stop", function() for c in app:clients() do c:stop() end end)]]
  local BRIDGE = [[
    app:channel("copy", { history = 1000 })
    app:on("published", "copy", function(event) table.insert(got().events, { text = event.data.n }) end)
    app:service("bridge", function()
      for e in client.events(%q) do
        if e.event ~= "reset" then assert(app:publish("copy", e.event, e.data))
        else sluice.log.info("RESET " .. e.text) end
      end
    end)]]

  local function numbers(s, n)
    deadline.eventually(function() return #got(s).events >= n end, 15, n .. " events")
    for i, event in ipairs(got(s).events) do assert.equal(i, event.text) end
    assert.equal(n, #got(s).events)
  end

  it("loses nothing and doubles nothing when its source is killed and comes back", function()
    local from = live.start(SOURCE)
    from.publish("feed", { first = 1, n = 30 })
    local s = start(BRIDGE:format(from.url .. "/feed"))
    numbers(s, 30)
    from.publish("feed", { first = 31, n = 20 })
    numbers(s, 50)
    from.kill()
    from = live.start(SOURCE, { port = from.port })
    from.publish("feed", { first = 51, n = 50 })
    numbers(s, 100)
    assert.truthy(s.wait_log('RESET {.-epoch'))
    assert.is_nil(s.log():find("hello", 1, true))
    s.kill()
  end)

  it("goes on through a drain without a reset, and ends when it is told to stop", function()
    local from = live.start(SOURCE, { args = { "--drain", "0.2" } })
    local s = start(BRIDGE:format(from.url .. "/feed"))
    from.publish("feed", { n = 5 })
    numbers(s, 5)
    assert.equal(204, from.post("/stop").status)
    s.wait_log("service 'bridge' ended")
    numbers(s, 5)
    s.kill()
  end)
end)
