--- SIGTERM: what was published arrives, what runs is answered, streams are told to go, exit 0.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local live = require("spec.support.live")
local process = require("spec.support.process")
local socket = require("socket")
local sse = require("spec.support.sse")

local APP = [[
app:channel("log", { history = 100 })
app:stream("/log", "log")
app:stream("/late/:seconds", function(req)
  sluice.log.info("PLANNING")
  sluice.sleep(tonumber(req.params.seconds))
  return "log"
end)
app:get("/slow/:seconds", function(req)
  sluice.log.info("IN")
  sluice.sleep(tonumber(req.params.seconds))
  return "done"
end)
app:on("stop", function()
  sluice.log.info("STOPPING")
  if app:latest("log") == "wait" then sluice.sleep(0.8) end
  app:publish("log", "closing", { n = 6 })
end)
app:post("/wait", function() app:publish("log", "e", "wait") end)]]

describe("a graceful stop", function()
  local s

  before_each(function() s = live.start(APP, { args = { "--drain", "2" } }) end)
  after_each(live.stop_all)

  local function assert_ends(code, seconds)
    assert.equal(code, s.process:wait(seconds))
  end

  it("tells 200 streams, spread over the drain, behind every event that was published", function()
    local all = crowd.connect(s.port, "/log", 200)
    s.publish("log", { n = 5 })
    s.signal("TERM")
    local from = socket.gettime()
    assert.is_true(all:read(8, function() return false end))
    local retries, different, slots = {}, 0, {}
    for _, m in ipairs(all) do
      assert.same({ 1, 2, 3, 4, 5, 6 }, crowd.numbers(m))
      local chunks, rest = crowd.chunks(m)
      local retry, told = chunks[#chunks]:match('event: bye\nretry: (%d+)\n'
        .. 'data: {"reason":"drain","retry":(%d+)}\nid: [%w]+%-6\n\n$')
      assert.equal(retry, told)
      assert.equal("", rest) -- a FIN, and no last chunk
      retry = tonumber(retry)
      -- when it may come back, this process has ended: the drain takes 2 s and 1 s more
      local back = m.ended - from + retry / 1000
      assert.is_true(back >= 3.4 and retry <= 4000 + 2500, ("%d ms, %.2f s after TERM"):format(retry, back))
      if not retries[retry] then retries[retry], different = true, different + 1 end
      local slot = math.floor((m.ended - from) * 2)
      slots[slot] = (slots[slot] or 0) + 1
    end
    assert.is_true(different > 100, different .. " different retries")
    local used = 0
    for slot, n in pairs(slots) do
      assert.is_true(slot <= 5 * deadline.scale and n < 120, ("%d ended in half second %d"):format(n, slot))
      used = used + 1
    end
    assert.is_true(used >= 3, used .. " half seconds")
    assert_ends(0, 5)
    all:close()
  end)

  it("answers what runs, up to 2 s, and refuses new connections", function()
    local c, slow = live.connect(s, "/log"), {}
    for i, seconds in ipairs { 0.2, 1.5, 30 } do
      slow[i] = http.connect(s.port)
      slow[i]:send(http.request_text("GET", "/slow/" .. seconds, {}, nil, "localhost"))
    end
    deadline.eventually(function() return select(2, s.log():gsub('IN[\n"]', "")) == 3 end)
    s.signal("TERM")
    assert(c:wait_for("closing"))
    deadline.eventually(function() return not http.connect(s.port) end, 2, "connections are refused")
    for i = 1, 2 do assert.equal("done", slow[i]:response(5).body) end
    assert.is_nil((slow[3]:response(5)))
    assert_ends(0, 5)
    for i = 1, 3 do slow[i]:close() end
    c:close()
  end)

  it("is not ready from the moment on when its hooks run", function()
    assert.equal(200, s.get("/-/readyz").status)
    s.post("/wait")
    s.signal("TERM")
    s.wait_log("STOPPING")
    assert.equal(503, s.get("/-/readyz").status)
    assert.equal(200, s.get("/-/healthz").status)
    assert_ends(0, 6)
  end)

  it("says bye to a stream whose plan comes meanwhile", function()
    local c = sse.connect(s.port, "/late/1", { wait = false })
    s.wait_log("PLANNING")
    s.signal("TERM")
    assert(c:read_head(4))
    assert(c:wait_for("hello", 3))
    assert.equal("drain", live.data(assert(c:wait_for("bye", 4))).reason)
    assert.equal("closed", c:wait_end(2))
    assert_ends(0, 5)
    c:close()
  end)

  it("answers what the kernel had already when it came", function()
    local list = {}
    local idle = {}
    for i = 1, 10 do
      idle[i] = http.connect(s.port)
      assert.equal(200, idle[i]:request("GET", "/-/healthz").status)
    end
    s.signal("STOP")
    for i = 1, 20 do
      list[i] = i > 10 and idle[i - 10] or http.connect(s.port)
      list[i]:send(http.request_text("GET", i % 2 == 0 and "/-/healthz" or "/log", {}, nil, "localhost"))
    end
    s.signal("TERM")
    s.signal("CONT")
    for i, c in ipairs(list) do
      if i % 2 == 0 then
        assert.equal(200, assert(c:response(3)).status)
      else
        local text = c:drain(6)
        assert.matches("^HTTP/1.1 200 OK\r\n.*event: hello\n.*event: bye\n", text)
      end
      c:close()
    end
    assert_ends(0, 6)
  end)

  it("says at once what it will do, and ends now when it is asked again", function()
    assert.equal(0, s.stop()) -- asked again it ends where it stands: threads that are done are not joined
    s = live.start(APP, { args = { "--drain", "2" }, env = { TSAN_OPTIONS = "report_thread_leaks=0" } })
    local one, two = live.connect(s, "/log"), live.connect(s, "/log")
    s.post("/wait")
    s.signal("INT")
    s.wait_log("draining 2 streams, up to 2 s; send the signal again to stop at once", 1.5)
    s.signal("INT")
    assert_ends(1, 1)
    assert.truthy(s.log():find("stopping now: 2 streams cut off", 1, true), s.log())
    one:close()
    two:close()
    s = live.start(APP)
    s.signal("TERM")
    s.wait_log("stopping; send the signal again to stop at once", 5)
    assert_ends(0, 5)
  end)

  it("ends at once when nobody is there", function()
    local from = deadline.now()
    assert.equal(0, s.stop())
    assert.is_true(deadline.since(from) < 1.5)
  end)
end)

describe("the hooks of clients at a stop", function()
  after_each(live.stop_all)

  local APP_OF_HOOKS = [[
    app:stream("/s", { channels = { "s" } })
    local function slow(what, seconds)
      return function()
        sluice.sleep(seconds)
        sluice.log.info("HOOK " .. what)
      end
    end
    app:on("connect", slow("connect", %g))
    app:on("subscribe", "s", slow("subscribe", %g))
    app:on("unsubscribe", "s", slow("unsubscribe", %g))
    app:on("disconnect", slow("disconnect", %g))]]

  local function stop_with(...)
    local s = live.start(APP_OF_HOOKS:format(...), { args = { "--drain", "0.1" } })
    local c = live.connect(s, "/s")
    s.signal("TERM")
    assert(c:wait_for("bye"))
    c:close()
    assert.equal(0, s.process:wait(5 * 2))
    local list = {}
    for what in s.log():gmatch("HOOK (%l+)") do list[#list + 1] = what end
    return list
  end

  it("end in order, though the last stream has ended before them", function()
    assert.same({ "connect", "subscribe", "unsubscribe", "disconnect" }, stop_with(0, 0, 0.2, 0.2))
  end)

  it("are cut where they do not end", function()
    assert.same({ "connect", "subscribe" }, stop_with(0, 0, 1000, 1000))
  end)
end)

describe("a start that is interrupted", function()
  after_each(process.stop_all)

  for name, code in pairs { INT = 130, TERM = 143 } do
    it("ends without a traceback: " .. name, function()
      local folder = process.temp_dir()
      assert(os.execute("mkfifo " .. folder .. "/never"))
      process.write_file(folder .. "/app.lua", ([[
        io.stderr:write("LOADING\n")
        io.open("%s/never")]]):format(folder))
      local p = process.spawn({ "build/bin/sluice", "run", folder .. "/app.lua", "--port", "0" },
        { folders = { folder } })
      deadline.eventually(function() return p:log():find("LOADING", 1, true) end, 10)
      p:signal(name)
      assert.equal(code, p:wait(10))
      assert.falsy(p:log():find("traceback", 1, true), p:log())
    end)
  end
end)
