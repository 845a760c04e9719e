--- Time in the kit: it stands still, passes when it is told to, and everything follows it.
local core = require("sluice.core")
local kit = require("spec.support.kit")
local process = require("spec.support.process")

local NOW = 1780000000

describe("virtual time", function()
  after_each(kit.stop_all)

  it("stands still between two calls", function()
    local t = kit.start [[ app:get("/now", function() return { now = sluice.now(), time = sluice.time() } end) ]]
    local first = t:get("/now").json
    local till = os.clock() + 0.05
    while os.clock() < till do end
    assert.same(first, t:get("/now").json)
    t:advance(7.25)
    local later = t:get("/now").json
    assert.near(7.25, later.now - first.now, 1e-6)
    assert.near(7.25, later.time - first.time, 1e-6)
  end)

  it("is what os.time, os.date and os.clock tell the app", function()
    local t = kit.start([[
      local os2 = require("os")
      app:get("/now", function()
        return { time = os.time(), same = os2.time(), date = os.date("!%Y-%m-%d %H:%M:%S"), clock = os.clock(),
          noon = os.date("!%H", 12 * 3600), other = os.time { year = 2020, month = 1, day = 1 },
          stamp = sluice.timestamp() }
      end)]], { now = 86400 })
    t:advance(3661.5)
    local r = t:get("/now").json
    assert.same({ 90061, 90061, "1970-01-02 01:01:01", "12" }, { r.time, r.same, r.date, r.noon })
    assert.equal("1970-01-02T01:01:01.500Z", r.stamp)
    assert.near(3661.5, r.clock, 0.001)
    assert.equal(os.time { year = 2020, month = 1, day = 1 }, r.other)
    assert.is_true(math.abs(os.time() - 90061) > 1e6) -- the spec's own clock is left alone
  end)

  it("runs everything that is due, in order, at its time", function()
    local t = kit.start [[
      local list = app:state("list", {})
      local function note(name) table.insert(list(), ("%s %.1f"):format(name, sluice.now() - list().began)) end
      app:on("start", function() list().began = sluice.now() end)
      app:every(2, { name = "two" }, function() note("two") end)
      app:every(3, { name = "three" }, function() note("three") sluice.sleep(0.5) note("slept") end)
      app:task("later", function() note("task") end)
      app:on("start", function() app:after(2.5, "later") end)]]
    t:advance(6)
    assert.same({ "two 2.0", "task 2.5", "three 3.0", "slept 3.5", "two 4.0" },
      table.move(t:state("list"), 1, 5, 1, {}))
    assert.equal(7, #t:state("list"))
    t:advance(0.5)
    assert.equal("slept 6.5", t:state("list")[8])
  end)

  it("moves heartbeats, histories and time-outs of the core", function()
    local t = kit.start([[
      app:channel("news", { history = 10, ttl = 60, rewind = "all" })
      app:stream("/news", "news")
      app:get("/slow", function() sluice.sleep(3600) end)]], { flags = { heartbeat = 20 } })
    t:publish("news", "story", { n = 1 })
    local c = t:connect("/news")
    assert.equal(1, c:count("story"))
    c:close()
    t:advance(62)
    assert.equal(0, t:connect("/news"):count("story"))
    local bytes, sent = 0, t:connect("/news")
    local on_body = sent.exchange.on_body
    sent.exchange.on_body = function(text) bytes = bytes + #text return on_body(text) end
    t:advance(100)
    assert.equal(5 * #":\n", bytes)
    local before = t:elapsed()
    assert.equal(504, t:get("/slow").status)
    assert.near(60, t:elapsed() - before, 1.1)
  end)

  it("passes a day with a timer each second in seconds", function()
    local t = kit.start [[
      local n = app:state("n", { n = 0 })
      app:channel("ticks", { history = 10 })
      app:stream("/ticks", "ticks")
      app:every(1, function()
        n().n = n().n + 1
        app:publish("ticks", "tick", { n = n().n })
      end)]]
    local c = t:connect("/ticks")
    local began = os.clock()
    t:advance(86400)
    local seconds = os.clock() - began
    assert.equal(86400, t:state("n").n)
    assert.equal(86400, c:count("tick"))
    assert.is_true(seconds < 60, ("%.1f s of CPU"):format(seconds)) -- some 3; slow machines take longer
  end)

  it("notices an app that never comes to rest", function()
    local t = kit.start [[ app:get("/loop", function() while true do sluice.sleep(0) end end) ]]
    assert.error_matches(function() t:get("/loop") end, "does not come to rest")
    assert.error_matches(function() t:stop() end, "does not come to rest")
  end)

  it("is given back when the test stops", function()
    local t = kit.start ""
    local held = core.time()
    assert.equal(NOW, held)
    t:stop()
    t:stop() -- twice is fine
    assert.near(os.time(), core.time(), 5)
    assert.error_matches(function() t:advance(1) end, "was stopped")
  end)

  it("is each test's own", function()
    local text = [[ app:get("/now", function() return { os.time() } end) ]]
    local a, b = kit.start(text), kit.start(text, { now = 1000 })
    a:advance(10)
    assert.same({ { NOW + 10 }, { 1000 } }, { a:get("/now").json, b:get("/now").json })
  end)
end)

describe("a seed", function()
  local PROGRAM = [[
    package.path, package.cpath = %q, %q
    local seed = ...
    local t = require("sluice.testing").start({ source = [=[
      local sluice = require("sluice")
      local app = sluice.app()
      app:channel("a", { history = 100 })
      app:channel("s", { history = "latest", key = "k" })
      app:stream("/all", { channels = { "a", "s" } })
      app:every(1, { jitter = 0.5 }, function()
        app:publish("a", "roll", { n = math.random(1000), id = sluice.id(), at = sluice.timestamp(),
          one = 1, two = { x = 1, y = 2 } })
      end)
      app:service("walk", function()
        while true do
          app:publish("s", "walk", { k = "k" .. math.random(3), at = os.clock() })
          sluice.sleep(math.random())
        end
      end)
      app:on("connect", function(client) app:publish("a", "joined", { id = client.id }) end)
      app:on("stop", function() app:publish("a", "end", {}) end)
      return app
    ]=] }, { seed = tonumber(seed) })
    local c = t:connect("/all")
    t:advance(30)
    local d = t:connect("/all")
    t:reload()
    c:drop()
    t:advance(30)
    local e = c:reconnect()
    t:restart()
    local f = d:reconnect()
    t:advance(10)
    for _, x in ipairs { c, d, e, f } do print(x.status, x:transcript()) end
    t:stop()
    for _, line in ipairs(t:log()) do print((line:gsub("in [%%d.]+ ms", ""))) end
  ]]

  local function run(seed)
    local folder = process.temp_dir()
    process.write_file(folder .. "/run.lua", PROGRAM:format(package.path, package.cpath))
    local interpreter = os.getenv("SLUICE_PRELOAD") and ".ci/lua" or "lua5.4"
    local code, output = process.run { interpreter, folder .. "/run.lua", tostring(seed) }
    process.remove_dir(folder)
    assert.equal(0, code, output)
    return output
  end

  it("makes two runs equal to the byte, in two processes, and another seed does not", function()
    local first = run(7)
    assert.is_true(#first > 10000, first)
    assert.equal(first, run(7))
    assert.not_equal(first, run(8))
  end)

  it("makes what is on the wire equal to the byte, in one process", function()
    local function wire(seed)
      local t = kit.start([[
        app:channel("a", { history = 100 })
        app:stream("/a", "a")
        app:every(0.1, { jitter = 0.05 }, function()
          app:publish("a", "e", { id = sluice.id(), n = math.random(9), at = sluice.time(), z = { a = 1, b = 2 } })
        end)]], { seed = seed })
      local c, bytes = t:connect("/a"), {}
      local on_body = c.exchange.on_body
      c.exchange.on_body = function(text)
        bytes[#bytes + 1] = text
        return on_body(text)
      end
      t:advance(100)
      t:stop()
      return c.id .. table.concat(bytes)
    end
    local first = wire(3)
    assert.is_true(#first > 100000)
    assert.is_true(first == wire(3))
    assert.is_false(first == wire(4))
  end)

  it("can be set again", function()
    local t = kit.start [[ app:get("/id", function() return { sluice.id(), math.random(1000000) } end) ]]
    t:seed(5)
    local first = t:get("/id").json
    t:seed(5)
    assert.same(first, t:get("/id").json)
    kit.stop_all()
  end)
end)
