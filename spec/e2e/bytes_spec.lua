--- What a stream looks like on the wire: its head, its first events and its chunks, to the byte.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local sse = require("spec.support.sse")
local wire = require("spec.support.wire")

local DATE = "%u%l%l, %d%d %u%l%l %d%d%d%d %d%d:%d%d:%d%d GMT"
local HEAD = "HTTP/1.1 200 OK\r\n"
  .. "Content-Type: text/event-stream\r\n"
  .. "Cache-Control: no-store, no-transform\r\n"
  .. "X-Accel-Buffering: no\r\n"
  .. "X-Content-Type-Options: nosniff\r\n"
  .. "Date: DATE\r\n"
local HELLO = '{"client":"CLIENT","epoch":"EPOCH","resumed":false,"replay":0,"state":{},'
  .. '"channels":1,"heartbeat":15,"share":"SHARE"}'
local SYNC = "event: sync\ndata: {}\nid: EPOCH-0\n\n" -- the opening is over

local s

--- The bytes of the first segment that answers this request.
local function first_segment(request)
  local w = assert(wire.connect(s.port))
  w:send(request)
  assert(w:fill(5 * deadline.scale))
  return w:take(#w.buffer), w
end

--- Put words in place of what differs from stream to stream; returns them too.
local function normal(text)
  local retry = tonumber(text:match("\nretry: (%d+)\n"))
  local epoch = text:match('"epoch":"([%l%d]+)"')
  text = text:gsub(DATE, "DATE"):gsub('"client":"%w+"', '"client":"CLIENT"'):gsub("retry: %d+", "retry: N")
  text = text:gsub('"share":"[%x.]+"', '"share":"SHARE"')
  return text:gsub(epoch, "EPOCH"), retry, epoch
end

describe("a stream's first segment", function()
  setup(function()
    s = live.start([[
      app:channel("empty", { history = 10 })
      app:stream("/static", "empty")
      app:stream("/lua", function() return "empty" end)
      app:cors("/shared", { origins = { "https://a.example" } })
      app:stream("/shared", "empty")]])
  end)
  teardown(live.stop_all)

  it("holds the head and the preamble in one chunk", function()
    for _, path in ipairs { "/static", "/lua" } do
      local text, w = first_segment("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
      local got, retry = normal(text)
      local body = ":ok\nretry: N\nevent: hello\ndata: " .. HELLO .. "\nid: EPOCH-0\n\n" .. SYNC
      local size = text:match("\r\n\r\n(%x+)\r\n")
      assert.equal(HEAD .. "Transfer-Encoding: chunked\r\n\r\n" .. size .. "\r\n" .. body .. "\r\n", got)
      local from, to = text:find(":ok.*\n\n")
      assert.equal(tonumber(size, 16), to - from + 1)
      assert.is_nil(size:find("^0"))
      assert.is_true(retry >= 2000 and retry <= 4000)
      w:close()
    end
  end)

  it("says Vary where the answer depends on the origin", function()
    for origin, allowed in pairs { ["https://a.example"] = "Access-Control-Allow-Origin: https://a.example\r\n",
      ["https://b.example"] = "" } do
      local text, w = first_segment("GET /shared HTTP/1.1\r\nHost: localhost\r\nOrigin: " .. origin .. "\r\n\r\n")
      local head = text:gsub(DATE, "DATE"):match("^(.-\r\n)\r\n")
      local want = HEAD:gsub("Date", "Vary: Origin\r\n" .. allowed .. "Date")
      assert.equal(want .. "Transfer-Encoding: chunked\r\n", head)
      w:close()
    end
  end)

  it("has no chunks for HTTP/1.0 and says that the connection closes", function()
    local text, w = first_segment("GET /static HTTP/1.0\r\nHost: localhost\r\n\r\n")
    local body = ":ok\nretry: N\nevent: hello\ndata: " .. HELLO .. "\nid: EPOCH-0\n\n" .. SYNC
    assert.equal(HEAD .. "Connection: close\r\n\r\n" .. body, (normal(text)))
    s.publish("empty", { n = 1 })
    assert.is_true(w:fill(5 * deadline.scale))
    assert.matches("^event: e\ndata: {.-}\nid: [%l%d]+%-1\n\n$", w:take(#w.buffer))
    w:close()
  end)

  it("draws retry at random from 2,000 to 4,000 ms", function()
    local seen, least, most, n = {}, math.huge, 0, 0
    for _ = 1, 60 do
      local text, w = first_segment("GET /static HTTP/1.1\r\nHost: localhost\r\n\r\n")
      local retry = tonumber(text:match("\nretry: (%d+)\n"))
      if not seen[retry] then seen[retry], n = true, n + 1 end
      least, most = math.min(least, retry), math.max(most, retry)
      w:close()
    end
    assert.is_true(least >= 2000 and most <= 4000)
    assert.is_true(n > 40, n .. " different values of 60")
    assert.is_true(least < 2600 and most > 3400, least .. " to " .. most)
  end)

  it("by HEAD is the head alone", function()
    local text, w = first_segment("HEAD /static HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert.equal(HEAD .. "Transfer-Encoding: chunked\r\n\r\n", (text:gsub(DATE, "DATE")))
    w:close()
  end)
end)

describe("a stream's events", function()
  before_each(function()
    s = live.start([[
      app:channel("log", { history = 100, rewind = "all" })
      app:channel("prices", { history = "latest", key = "k" })
      app:stream("/log", "log")
      app:stream("/both", { channels = { "log", "prices" } })
      app:post("/message", function() return 200, tostring((app:publish("log", "message", "a\nb"))) end)]])
  end)
  after_each(live.stop_all)

  it("are event, data, id and an empty line, in a chunk of their own", function()
    local c = live.connect(s, "/log")
    local id = s.publish("log", { event = "goal", n = 1 })[1]
    assert(c.wire:fill(5))
    local body = ("event: goal\ndata: {\"n\":1}\nid: %s\n\n"):format(id)
    assert.equal(("%x\r\n%s\r\n"):format(#body, body), c.wire:take(#c.wire.buffer))
    c:close()
  end)

  it("have no event line when they are messages, and a data line per line", function()
    local c = live.connect(s, "/log")
    local id = s.post("/message").body
    assert.equal(("data: a\ndata: b\nid: %s\n\n"):format(id), (c:more(deadline.after(5)) and c.text))
    c:close()
  end)

  it("have no id when they are of a state", function()
    s.publish("prices", { event = "p", key = "A" })
    local c = sse.connect(s.port, "/both")
    assert.is_true(c:more(deadline.after(5)))
    assert.matches("\n\nevent: p\ndata: {.-}\n\nevent: sync\ndata: {}\nid: [%l%d]+%-1\n\n$", c.text)
    c:parse()
    assert.same({ prices = 1 }, json.decode(c:next_event().data).state)
    c:close()
  end)

  it("come whole, at most 16 KiB of them in a chunk, and larger ones alone", function()
    local sizes = {}
    for i = 1, 60 do
      sizes[i] = ({ 10, 900, 5000, 16000, 17000, 60000 })[i % 6 + 1]
      s.publish("log", { first = i, pad = sizes[i] })
    end
    local c = sse.connect(s.port, "/log")
    local n, chunks = 0, 0
    while n < 60 do
      assert.is_true(c:more(deadline.after(5)))
      local text = c.text
      chunks = chunks + 1
      assert.equal("\n\n", text:sub(-2))
      local blocks = select(2, text:gsub("\n\n", ""))
      assert.is_true(#text <= 16384 or blocks == 1, ("%d bytes, %d events"):format(#text, blocks))
      c:parse()
      for _, event in ipairs(c.events) do
        if event.event == "e" then
          n = n + 1
          assert.equal(n, live.n(event))
        end
      end
      c.events = {}
    end
    assert.is_true(chunks < 60, chunks .. " chunks")
    c:close()
  end)
end)

describe("a plain stream", function()
  before_each(function()
    s = live.start([[
      app:channel("log", { history = 2 })
      app:channel("deep", { history = 2 })
      app:stream("/log", { channels = { "log" }, control = false, heartbeat = 1 })
      app:stream("/lua", function() return { channels = { "log" }, control = false } end)
      app:stream("/late", function() sluice.sleep(2.3) return { channels = { "log" }, control = false } end)
      app:post("/stop", function() for c in app:clients() do c:stop("done", "[DONE]") end end)
      app:post("/expire", function() for c in app:clients() do c:close("expired") end end)]],
      { args = { "--drain", "0", "--stall-timeout", "30" } })
  end)
  after_each(live.stop_all)

  local function plain(path, options)
    local c = sse.connect(s.port, path, options)
    assert.equal(200, c.status)
    return c
  end

  it("holds events with ids and comments, and says no word of its own", function()
    for _, path in ipairs { "/log", "/lua" } do
      local c = plain(path)
      s.wait_clients(1)
      local id = s.publish("log")[1]
      s.post("/stop")
      local left = deadline.after(5)
      while c:more(left) do end
      assert.equal("end", c.ended)
      local text = c.text
      assert.truthy(text:find(('\n\nevent: e\ndata: {"n":1}\nid: %s\n\n'):format(id), 1, true))
      assert.is_nil(text:find("hello") or text:find("bye") or text:find("sync"))
      assert.matches("^:ok\nretry: %d+\n\n", text)
      assert.matches('event: done\ndata: %[DONE%]\nid: stop\n\n$', text)
      assert.equal(204, sse.connect(s.port, path, { last_event_id = "stop" }).status)
      c:close()
      s.wait_clients(0)
    end
  end)

  it("is refused with 410 where it cannot be resumed whole, and goes on where it can", function()
    local ids = s.publish("log", { n = 4 })
    for _, path in ipairs { "/log", "/lua" } do
      for _, id in ipairs { ids[1], "garbage" } do
        local c = sse.connect(s.port, path, { last_event_id = id })
        assert.same({ 410, "ETRIMMED" }, { c.status, require("cjson").decode(c.body).error.code })
        c:close()
      end
      local c = plain(path, { last_event_id = ids[2] })
      assert.equal(ids[3], assert(c:wait_for("e")).id)
      c:close()
    end
    s.wait_clients(0)
    local late = sse.connect(s.port, "/late", { last_event_id = ids[1], wait = false, headers = {
      ["Cache-Control"] = "no-cache" } })
    assert(late:read_head(5))
    assert.equal("closed", late:wait_end(5)) -- the head has said 200: broken off, whoever asks
    assert.same({}, late.events)
    late:close()
  end)

  it("breaks off when something is lost on the way, and ends without bye", function()
    local c = plain("/log", { rcvbuf = 4096, headers = { ["Cache-Control"] = "no-cache" } })
    s.wait_clients(1)
    for n = 1, 6 do s.publish("log", { first = n * 1000, n = 900, pad = 1000 }) end
    assert.equal("closed", c:wait_end(10))
    for _, event in ipairs(c.events) do assert.equal("e", event.event) end
    local last = c.last_id
    c:close()
    local back = sse.connect(s.port, "/log", { last_event_id = last })
    assert.equal(410, back.status)
    back:close()
    c = plain("/log")
    s.wait_clients(1)
    s.post("/expire")
    assert.equal("closed", c:wait_end(5))
    assert.same({}, c.events)
    c:close()
  end)
end)

describe("the end of a stream", function()
  before_each(function()
    s = live.start([[
      app:channel("log", { history = 100 })
      app:stream("/log", "log")
      app:post("/stop", function() for c in app:clients() do c:stop() end end)
      app:post("/last", function() for c in app:clients() do c:stop("done", { rows = 3 }) end end)
      app:stream("/drop", function(req, client) client:send("x", {}) end)
      app:stream("/broken", function() error("on purpose") end)]], { args = { "--drain", "0" } })
  end)
  after_each(live.stop_all)

  it("is bye with id: stop and the last chunk when it is for good", function()
    local c = live.connect(s, "/log")
    s.post("/stop")
    local left = deadline.after(5)
    while c:more(left) do end
    assert.equal('event: bye\nretry: N\ndata: {"reason":"stop","retry":N}\nid: stop\n\n', (c.text:gsub("%d+", "N")))
    assert.equal("end", c.ended)
    local _, how = c.wire:drain(2)
    assert.equal("closed", how)
    c:close()
  end)

  it("has the last chunk for whoever asks like an EventSource, whatever the reason", function()
    local asks = { ["Cache-Control"] = "No-Cache" }
    local c = sse.connect(s.port, "/drop", { headers = asks })
    assert.equal("close", c.headers.connection)
    assert.equal("end", c:wait_end(5))
    c = sse.connect(s.port, "/broken", { request = "GET /broken HTTP/1.1\r\nHost: localhost\r\n"
      .. "Cache-Control: max-age=0\r\ncache-control: x=\"no-store, y\" ,no-cache\r\n\r\n" })
    assert.equal("end", c:wait_end(5))
    assert(c:wait_for("bye"))
    local _, how = c.wire:drain(2)
    assert.equal("closed", how) -- and is closed, not kept
    c = sse.connect(s.port, "/broken", { request = "GET /broken HTTP/1.0\r\nHost: localhost\r\n"
      .. "Cache-Control: no-cache\r\n\r\n" })
    assert.equal("closed", c:wait_end(5))
    c = sse.connect(s.port, "/broken", { headers = { ["Cache-Control"] = 'x="no-cache"' } })
    assert.equal("closed", c:wait_end(5))
    c = sse.connect(s.port, "/log", { headers = asks })
    s.signal("TERM")
    assert.equal("end", c:wait_end(5))
    assert.equal("drain", live.data(assert(c:wait_for("bye"))).reason)
    assert.equal(0, s.process:wait(5))
  end)

  it("has a last word, behind what was published and before bye", function()
    local c = live.connect(s, "/log")
    s.publish("log")
    s.post("/last")
    assert.equal("end", c:wait_end(5))
    local seen = {}
    for event in function() return c:next_event() end do seen[#seen + 1] = event.event .. " " .. event.data end
    assert.same({ 'e {"n":1}', 'done {"rows":3}' }, { seen[1], seen[2] })
    assert.matches('^bye {"reason":"stop"', seen[3])
    assert.equal(3, #seen)
    c:close()
  end)

  it("is a FIN without the last chunk when the client shall come back", function()
    local c = sse.connect(s.port, "/drop")
    assert.equal("closed", c:wait_end(5))
    c = sse.connect(s.port, "/broken")
    assert.equal("closed", c:wait_end(5))
    local bye = assert(c:wait_for("bye"))
    assert.equal("error", live.data(bye).reason)
    assert.equal(bye.retry, live.data(bye).retry)
    c = live.connect(s, "/log")
    local id = s.publish("log")[1]
    s.signal("TERM")
    assert.equal("closed", c:wait_end(5))
    bye = assert(c:wait_for("bye"))
    assert.same({ id, "drain", bye.retry }, { bye.id, live.data(bye).reason, live.data(bye).retry })
    c:close()
    assert.equal(0, s.process:wait(5))
  end)
end)
