--- Behind Debian's nginx with default proxy settings: no buffering, no delay, resume, long streams.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local live = require("spec.support.live")
local proxies = require("spec.support.proxies")
local sse = require("spec.support.sse")

describe("behind nginx", function()
  local s, front

  setup(function()
    s = live.start([[
      app:channel("log", { history = 1000 })
      app:channel("all", { history = 5000, rewind = "all" })
      app:stream("/log", "log")
      app:stream("/all", "all")
      app:stream("/late", function() sluice.sleep(2.3) return "log" end)
      app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
      app:stream("/stop", function(req, client) client:stop() end)
      app:stream("/forbidden", function() return 403 end)]], { args = { "--heartbeat", "1", "--drain", "1" } })
    front = proxies.start("nginx", s.port, { block = proxies.BARE })
  end)
  teardown(function()
    front.stop()
    live.stop_all()
  end)

  local function connect(path, options) return live.connect({ port = front.port }, path, options) end

  it("the head and hello come at once, though the stream stays open and says nothing more", function()
    local from = deadline.now()
    local c = connect("/log")
    local took = deadline.since(from)
    -- before the first heartbeat, so nothing pushed it out of a buffer
    assert.is_true(took < 0.2, took .. " s")
    assert.equal("text/event-stream", c.headers["content-type"])
    assert.equal("no-store, no-transform", c.headers["cache-control"])
    assert.is_nil(c.headers["content-length"])
    assert.equal(1, c.seen)
    c:close()
  end)

  it("each event comes before the next is published", function()
    local c = connect("/log")
    local slowest = 0
    for n = 1, 20 do
      s.publish("log", { first = n })
      local from = deadline.now()
      assert.equal(n, live.n(assert(c:next_event(2))))
      slowest = math.max(slowest, (deadline.since(from)))
    end
    assert.is_true(slowest < 0.5, slowest .. " s")
    c:close()
  end)

  it("a late head, heartbeats and then the events come", function()
    local c = sse.connect(front.port, "/late", { wait = false })
    assert(c:read_head(4))
    assert.equal("ok", c:next_comment(2))
    assert(c:wait_for("hello", 3))
    c.comments = {}
    assert.equal("", c:next_comment(3))
    s.publish("log", { first = 99 })
    assert.equal(99, live.n(c:next_event(2)))
    c:close()
  end)

  it("ends, refusals and stops arrive as they are", function()
    local c = connect("/stop")
    assert.equal("stop", assert(c:wait_for("bye")).id)
    assert.truthy(c:wait_end(3))
    c:close()
    assert.equal(204, sse.connect(front.port, "/stop", { last_event_id = "stop" }).status)
    assert.equal(403, sse.connect(front.port, "/forbidden").status)
    assert.equal(404, http.get(front.port, "/nowhere").status)
  end)

  -- A connection that nginx keeps for the next request would be closed under it: a POST was answered 502.
  it("no request is lost behind a stream that ends, however nginx keeps connections", function()
    local keeps = proxies.start("nginx", s.port, { edit = { ["http://127.0.0.1:" .. s.port] = "http://kept" },
      around = ("upstream kept { server 127.0.0.1:%d; keepalive 8; }"):format(s.port) })
    local writer = http.connect(keeps.port)
    for _ = 1, 60 do
      local c = live.connect({ port = keeps.port }, "/log", { headers = { ["Cache-Control"] = "no-cache" } })
      s.post("/cut")
      assert.equal("end", c:wait_end(5))
      assert.equal(204, writer:request("POST", "/cut").status)
      c:close()
    end
    writer:close()
    keeps.stop()
  end)

  it("long streams are whole and in order, however nginx cuts them", function()
    s.publish("all", { n = 1000, pad = 1000 })
    local all = crowd.connect(front.port, "/all", 5)
    all:wait_for('"n":1000', 10)
    s.publish("all", { first = 1001 })
    all:wait_for('"n":1001', 2)
    for _, m in ipairs(all) do
      local numbers = crowd.numbers(m)
      assert.equal(1001, #numbers)
      for n = 1, 1001 do assert.equal(n, numbers[n]) end
    end
    all:close()
  end)

  it("a drain ends the streams with bye", function()
    local c = connect("/log")
    s.signal("TERM")
    assert.equal("drain", live.data(assert(c:wait_for("bye", 4))).reason)
    assert.truthy(c:wait_end(3))
    assert.equal(0, s.process:wait(6))
    c:close()
  end)
end)
