--- Requests that the app answers late or not at all: late plans, late refusals, a queue that
--- nobody empties, clients that go before their turn.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local socket = require("socket")
local sse = require("spec.support.sse")

local FULL = os.getenv("SLUICE_SPEC_FULL")

local APP = [[
app:channel("log", { history = 100, rewind = "all" })
app:stream("/sleepy/:seconds", function(req)
  sluice.sleep(tonumber(req.params.seconds))
  sluice.log.info("PLANNED")
  return "log"
end)
app:stream("/denied/:status", function(req)
  sluice.sleep(2.5)
  return tonumber(req.params.status), "no"
end)
app:stream("/broken", function()
  sluice.sleep(2.5)
  error("on purpose")
end)
app:stream("/breaks", function() error("on purpose") end)
app:stream("/busy", function() return 503 end)
app:stream("/guarded", function(req) sluice.log.info("PLAN RAN") return "log" end)
app:get("/handler", function() sluice.log.info("HANDLER RAN") return "ok" end)
app:get("/closing", function()
  local _ <close> = setmetatable({}, { __close = function() sluice.log.info("CLOSED") end })
  sluice.log.info("INSIDE")
  sluice.sleep(0.5)
  sluice.log.info("FINISHED")
  return "late"
end)
app:stream("/closing-plan", function()
  local _ <close> = setmetatable({}, { __close = function() sluice.log.info("CLOSED") end })
  sluice.log.info("INSIDE")
  sluice.sleep(3600)
end)]]

--- When something came: at least so many seconds of the clock since `from`, and less than `most` of a quiet machine.
local function assert_between(from, least, most)
  local quiet, took = deadline.since(from)
  assert.is_true(took >= least and quiet < most, ("%g s, %g s of the clock"):format(quiet, took))
end

local function count(text, what) return select(2, text:gsub(what, "")) end

describe("a plan function that is late", function()
  local s

  setup(function() s = live.start(APP, { args = { "--heartbeat", "1" } }) end)
  teardown(live.stop_all)

  it("does not hold back the head for more than 2 s; heartbeats, hello and events follow", function()
    s.publish("log", { n = 3 })
    local from = deadline.now()
    local c = sse.connect(s.port, "/sleepy/4.2")
    assert_between(from, 1.8, 3)
    assert.equal(200, c.status)
    assert.is_true(c:more(deadline.after(2)))
    assert.matches("^:ok\nretry: [23]%d%d%d\n$", c.text)
    local heartbeats = ""
    repeat
      c:parse()
      assert.is_true(c:more(deadline.after(2)))
      heartbeats = heartbeats .. c.text
    until c.text:find("hello", 1, true)
    assert.matches("^:\n:?\n?event: hello\ndata: [^\n]+\nid: [%l%d]+%-0\n\n", heartbeats)
    c:parse()
    local hello = c:next_event()
    assert.same({ 3, 1 }, { live.data(hello).replay, live.data(hello).heartbeat })
    for n = 1, 3 do assert.equal(n, live.n(c:next_event())) end
    s.publish("log", { first = 4 })
    assert.equal(4, live.n(c:next_event()))
    assert.is_true(c.retry >= 2000 and c.retry <= 4000)
    c:close()
  end)

  it("refuses in-band, for good: bye denied, id: stop, retry of an hour, last chunk, then 204", function()
    local refused = {}
    for _, status in ipairs { 401, 403, 404 } do
      refused[status] = sse.connect(s.port, "/denied/" .. status, { wait = false })
    end
    local gone = sse.connect(s.port, "/denied/204", { wait = false })
    local broken = sse.connect(s.port, "/broken", { wait = false })
    for status, c in pairs(refused) do
      assert(c:read_head(5))
      assert.equal(200, c.status)
      local bye = assert(c:wait_for("bye", 3))
      assert.same({ "stop", 3600000, "denied", 3600000, status },
        { bye.id, bye.retry, live.data(bye).reason, live.data(bye).retry, live.data(bye).status })
      assert.equal("end", c:wait_end(3))
      c:close()
    end
    gone:read_head(5)
    assert.equal("stop", assert(gone:wait_for("bye", 3)).id)
    broken:read_head(5)
    local bye = assert(broken:wait_for("bye", 3))
    assert.equal("error", live.data(bye).reason)
    assert.is_nil(bye.id)
    assert.is_true(bye.retry <= 10000)
    assert.equal("closed", broken:wait_end(3))
    gone:close()
    broken:close()
    assert.equal(204, sse.connect(s.port, "/denied/403", { last_event_id = "stop" }).status)
  end)

  it("leaves the cursor of a client alone when it refuses for now", function()
    local ids = s.publish("log", { n = 3 })
    for _, path in ipairs { "/breaks", "/busy", "/broken" } do
      local c = sse.connect(s.port, path, { last_event_id = ids[1] })
      local bye = assert(c:next_event())
      assert.same({ "bye", ids[1] }, { bye.event, c.last_id }, path)
      assert.equal(path == "/busy" and "overload" or "error", live.data(bye).reason)
      local line = json.decode(assert(s.wait_log(('{[^\n]*"request"[^\n]*"path":"%s"[^\n]*}'):format(path))))
      assert.same({ 200, live.data(bye).reason }, { line.status, line.reason })
      assert.equal("closed", c:wait_end(3))
      c:close()
      c = live.connect(s, "/sleepy/0", { last_event_id = c.last_id })
      assert.same({ true, 2 }, { c.hello.resumed, c.hello.replay })
      c:close()
    end
  end)

  it("is cancelled when its client goes, before and after the head: <close> variables run", function()
    local before = count(s.log(), "CLOSED")
    local early = sse.connect(s.port, "/closing-plan", { wait = false })
    local late = sse.connect(s.port, "/closing-plan", { wait = false })
    deadline.eventually(function() return count(s.log(), "INSIDE") == 2 end)
    early:close()
    deadline.eventually(function() return count(s.log(), "CLOSED") == before + 1 end)
    assert(late:read_head(5))
    late:reset()
    deadline.eventually(function() return count(s.log(), "CLOSED") == before + 2 end)
  end)
end)

describe("a request that the app does not take", function()
  local s

  before_each(function() s = live.start(APP, { args = { "--heartbeat", "1" } }) end)
  after_each(live.stop_all)

  it("for 10 s is refused, and its handler never runs; a stream says bye overload", function()
    if not FULL then return pending("full size only; see storm_spec") end
    local finish = s.spin(11 + 3 * (deadline.scale - 1))
    local from = deadline.now()
    local handler, stream = assert(http.connect(s.port)), sse.connect(s.port, "/guarded", { wait = false })
    handler:send(http.request_text("GET", "/handler", {}, nil, "localhost"))
    assert(stream:read_head(5))
    assert_between(from, 1.8, 3)
    local response = assert(handler:response(12))
    assert_between(from, 9.8, 11)
    assert.equal(503, response.status)
    assert.equal("close", response.headers.connection)
    local bye = assert(stream:wait_for("bye", 3))
    assert_between(from, 9.8, 11)
    assert.equal("overload", live.data(bye).reason)
    assert.is_true(bye.retry >= 2000 and bye.retry <= 10000 and bye.retry == live.data(bye).retry)
    assert.is_nil(bye.id)
    assert.equal("closed", stream:wait_end(3))
    finish()
    assert.equal("ok", s.get("/handler").body)
    s.wait_log("HANDLER RAN") -- the log has a thread of its own
    assert.equal(1, count(s.log(), "HANDLER RAN"))
    assert.equal(0, count(s.log(), "PLAN RAN"))
    handler:close()
    stream:close()
  end)

  it("before its client has gone never reaches the handler", function()
    local seconds = math.min(3 * deadline.scale, 8) -- after 10 s a request is refused
    local ends = socket.gettime() + seconds
    local finish = s.spin(seconds)
    for _ = 1, 10 do
      local c = assert(http.connect(s.port))
      c:send(http.request_text("GET", "/handler", {}, nil, "localhost"))
      local stream = sse.connect(s.port, "/guarded", { wait = false })
      -- the server has both when it answers what was asked later on the same thread
      deadline.eventually(function() return http.get(s.port, "/-/healthz").status == 200 end)
      c:reset()
      stream:reset()
    end
    assert.is_true(socket.gettime() < ends)
    finish()
    assert.equal(204, s.post("/-t/spin/0").status)
    assert.equal(0, count(s.log(), "HANDLER RAN"))
    assert.equal(0, count(s.log(), "PLAN RAN"))
  end)

  it("is answered all the same when its client has only closed its half", function()
    local c = assert(http.connect(s.port))
    c:send(http.request_text("GET", "/closing", {}, nil, "localhost"))
    c:finish()
    assert.equal("late", c:response(5).body)
    local _, how = c:drain(3)
    assert.equal("closed", how)
    c:close()
  end)

  it("but runs when its client goes is finished: <close> variables run", function()
    local c = assert(http.connect(s.port))
    c:send(http.request_text("GET", "/closing", {}, nil, "localhost"))
    s.wait_log("INSIDE")
    c:reset()
    s.wait_log("CLOSED")
    assert.truthy(s.log():find("FINISHED", 1, true))
  end)
end)
