--- A script that computes and does not come back: what goes on without it, and how it ends.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")
local sse = require("spec.support.sse")

local SPIN = 1.5

local APP = [[
app:channel("log", { history = 2000, rewind = "all" })
app:channel("prices", { history = "latest", key = "k" })
app:channel("quiet", { history = 10 })
app:stream("/log", "log")
app:stream("/quiet", "quiet")
app:stream("/both", { channels = { "log", "prices" } })
app:stream("/for/:seconds", function(req)
  req.user = { id = "alice", expires = sluice.time() + tonumber(req.params.seconds) }
  return "quiet"
end)]]

-- Seconds of the clock, and of a quiet machine.
local function seconds_of(fn)
  local from = deadline.now()
  fn()
  local quiet, took = deadline.since(from)
  return took, quiet
end

describe("while a script computes", function()
  local s

  before_each(function() s = live.start(APP, { args = { "--heartbeat", "1" } }) end)
  after_each(live.stop_all)

  --- What `fn` does must be over while the script still computes.
  local function during_spin(seconds, fn)
    local finish = s.spin(seconds * deadline.scale)
    local took = seconds_of(fn)
    local still = s.log():find('"path":"/%-t/spin[^\n]-"status":') == nil
    assert.is_true(still and took < seconds * deadline.scale, ("it took %g s"):format(took))
    finish()
  end

  it("streams with a constant plan are answered, with a replay of 1,000 events", function()
    s.publish("log", { n = 1000 })
    s.publish("prices", { key = "A" })
    during_spin(SPIN, function()
      local c = sse.connect(s.port, "/both")
      assert.same({ 1000, { prices = 1 } }, (function(h) return { h.replay, h.state } end)(live.data(c:next_event())))
      for n, event in ipairs(c:collect(1000)) do assert.equal(n, live.n(event)) end
      assert.equal("A", live.data(c:next_event()).k)
      local id = c.last_id
      c:close()
      c = live.connect(s, "/log", { last_event_id = id })
      assert.is_true(c.hello.resumed)
      c:close()
      assert.equal(200, s.get("/-/healthz").status)
    end)
  end)

  it("what was published before goes to all who follow", function()
    local all = crowd.connect(s.port, "/log", 50)
    local c = s.publish_and_spin("log", { n = 100, spin = SPIN * deadline.scale })
    local took = seconds_of(function() all:wait_for('"n":100', SPIN) end)
    assert.is_true(took < SPIN * deadline.scale, took .. " s")
    assert.is_false(#c.wire.buffer > 0 or (c.wire:fill(0) or false))
    for _, m in ipairs(all) do
      local numbers = crowd.numbers(m)
      assert.same({ 100, 1, 100 }, { #numbers, numbers[1], numbers[100] })
    end
    assert.equal(200, c:response(SPIN + 5).status)
    c:close()
    all:close()
  end)

  it("an event goes out at once, though others before it were let wait for their tick", function()
    live.stop_all()
    s = live.start(APP .. ([[

app:channel("rated", { history = "latest", key = "k", max_rate = 2 })
app:stream("/rated", "rated")
app:post("/trade", function()
  for n = 1, 100 do
    app:publish("rated", "price", { k = "A", n = n })
    sluice.sleep(0.001)
  end
  app:publish("log", "e", { n = 1 })
  local stop = sluice.now() + %g
  while sluice.now() < stop do end
  return 204
end)]]):format(SPIN * deadline.scale))
    local log, rated = live.connect(s, "/log"), live.connect(s, "/rated")
    local c = live.post_later(s, "/trade")
    local took = seconds_of(function() assert.equal(1, live.n(log:next_event(SPIN * deadline.scale))) end)
    assert.is_true(took < SPIN * deadline.scale, took .. " s")
    repeat local event = assert(rated:next_event(5)) until live.n(event) == 100
    assert.is_false(#c.wire.buffer > 0 or (c.wire:fill(0) or false))
    assert.equal(204, c:response(SPIN * deadline.scale + 5).status)
    for _, one in ipairs { c, log, rated } do one:close() end
  end)

  it("readers that lag behind catch up", function()
    s.publish("log", { n = 300, pad = 10000 })
    local lagging = {}
    for i = 1, 5 do
      lagging[i] = sse.connect(s.port, "/log", { rcvbuf = 65536 })
      assert(lagging[i]:next_event())
    end
    during_spin(SPIN * 2, function()
      for _, c in ipairs(lagging) do
        for n, event in ipairs(c:collect(300)) do assert.equal(n, live.n(event)) end
        c:close()
      end
    end)
  end)

  it("a user expires", function()
    local c = live.connect(s, "/for/" .. 0.3 * deadline.scale)
    during_spin(SPIN, function()
      local bye = c:next_event(SPIN * deadline.scale)
      assert.same({ "bye", "expired" }, { bye.event, live.data(bye).reason })
    end)
    c:close()
  end)

  it("hearts beat: no silence above 1.2 s on 100 streams at a heartbeat of 1 s", function()
    live.one_of(3, function()
      local all = crowd.connect(s.port, "/quiet", 100)
      local finish = s.spin(3)
      all:read(2.9)
      all:close()
      finish()
      local gap, least = 0, math.huge
      for _, m in ipairs(all) do
        local list = crowd.chunks(m)
        for n = 2, #list do assert.equal(":\n", list[n]) end
        gap, least = math.max(gap, m.gap), math.min(least, #list)
      end
      return gap < 1.2 and least >= 3, ("%g s of silence, %d chunks"):format(gap, least)
    end)
  end)
end)

describe("a script that computes for ever", function()
  after_each(live.stop_all)

  local function stuck()
    -- a process that ends in spite of its script leaves its threads, which is meant
    local env = { SLUICE_HANDLER_BUDGET = "0", TSAN_OPTIONS = "report_thread_leaks=0" }
    local s = live.start(APP, { args = { "--drain", "0.5" }, env = env })
    local c = live.connect(s, "/log")
    local request = s.publish_and_spin("log", { n = 3, spin = 3600 })
    assert.equal(3, live.n(c:wait_for("e", 5, function(e) return live.n(e) == 3 end)))
    return s, c, request
  end

  it("cannot keep the process from ending at SIGTERM: streams get bye first", function()
    local s, c, request = stuck()
    s.signal("TERM")
    s.wait_log("draining 1 stream, up to 0.5 s; send the signal again to stop at once", 1.5)
    local bye = assert(c:wait_for("bye", 5))
    assert.equal("drain", live.data(bye).reason)
    local code
    local _, quiet = seconds_of(function() code = s.process:wait(12) end)
    assert.equal(1, code)
    assert.is_true(quiet < 10, quiet .. " s")
    assert.truthy(s.log():find("the app is stuck", 1, true))
    c:close()
    request:close()
  end)

  it("cannot keep a second SIGTERM from ending it at once", function()
    local s, c, request = stuck()
    s.signal("TERM")
    -- the first one is taken when the kernel has none waiting any more
    deadline.eventually(function()
      local waiting = require("spec.support.process").read_file("/proc/" .. s.pid .. "/status")
      return waiting:match("ShdPnd:%s*(%x+)") == ("0"):rep(16)
    end)
    s.signal("TERM")
    local _, quiet = seconds_of(function() assert.equal(1, s.process:wait(5)) end)
    assert.is_true(quiet < 1.5, quiet .. " s")
    c:close()
    request:close()
  end)
end)
