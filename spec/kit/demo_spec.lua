--- sluice.demo in virtual time: what is sent and when, what stops it, what a reload leaves alone.
--- (Over sockets: spec/e2e/demo_spec.lua.)
local kit = require("spec.support.kit")
local random = require("sluice.demo.random")
local process = require("spec.support.process")
local shared = require("spec.support.shared")

local APP = [[
local hub = require("sluice.hub").new(app)
hub:routes("/api/sse", { publish = function() return true end, admin = function() return true end })
local demo = require("sluice.demo").new(app)
demo:routes("/api/demo")
]]
local DEMO = { flags = { demo = true } }
local FOUR = { "notification", "alert", "dataUpdate", "heartbeat" }
local CASES = [[
local demo = require("sluice.demo").new(app)
demo:use_cases("all")
app:channel("all", { history = 10000 })
app:stream("/all", "all")
demo:routes("/api/demo")
]]
local NAMES = { "metrics-update", "notification", "progress", "job-complete", "match-event", "commentary",
  "price-update", "telemetry", "user-joined", "user-left", "cursor-move", "system-metrics", "system-alert" }

local t

local function start(text, options)
  t = kit.start(text or APP, options or DEMO)
  return t
end

local function begin(body, headers)
  return t:post("/api/demo/start", { json = body or { intervalSeconds = 1 }, headers = headers })
end

local function status() return t:get("/api/demo/status").json end

-- What came behind the hello: events, their names, their texts without the times.
local function told(c)
  local list = c:events()
  assert.equal("hello", table.remove(list, 1).event)
  return list
end

local function names_of(c)
  local list = {}
  for i, event in ipairs(told(c)) do list[i] = event.event end
  return list
end

local function texts_of(c)
  local list = {}
  for i, event in ipairs(told(c)) do list[i] = event.event .. event.text:gsub('"timestamp":"[^"]*"', "") end
  return list
end

describe("a demo", function()
  after_each(kit.stop_all)

  it("sends the four types in their order, one a second, marked and with a time", function()
    start()
    local c = t:connect("/api/sse/connect")
    local answer = begin({ IntervalSeconds = 1 })
    assert.same({ 200, { running = true, intervalSeconds = 1, sent = 0 } }, { answer.status, answer.json })
    t:advance(3.5)
    assert.same(FOUR, names_of(c))
    for _, event in ipairs(told(c)) do
      assert.is_true(event.data.demo)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT", event.data.timestamp)
    end
    assert.equal("info", told(c)[1].data.severity)
    t:advance(4)
    assert.same({ 2, 2, 8 }, { c:count("notification"), c:count("heartbeat"), status().sent })
  end)

  it("sends nothing after a stop", function()
    start()
    local c = t:connect("/api/sse/connect")
    begin()
    t:advance(2.5)
    assert.same({ running = false, intervalSeconds = 1, sent = 3 }, t:post("/api/demo/stop").json)
    t:advance(1.5)
    assert.equal(3, #told(c))
    t:advance(1000)
    assert.equal(3, #told(c))
    assert.is_false(t:post("/api/demo/stop").json.running)
  end)

  it("is one demo, however often it is started", function()
    start()
    local c = t:connect("/api/sse/connect")
    for _ = 1, 5 do begin() end
    t:advance(3.5)
    assert.same(FOUR, names_of(c))
    begin({ intervalSeconds = 0.5 })
    t:advance(2.1)
    assert.equal(8, #told(c))
  end)

  it("goes on over 100 reloads, and is not doubled", function()
    start()
    local c = t:connect("/api/sse/connect")
    begin()
    t:advance(0.25)
    for _ = 1, 100 do
      assert(t:reload())
      t:advance(0.1)
    end
    assert.equal(11, #told(c))
    assert.equal(11, status().sent)
    t:post("/api/demo/stop")
    assert(t:reload())
    t:advance(10)
    assert.equal(11, #told(c))
  end)

  it("stops by itself", function()
    start((APP:gsub("new%(app%)\ndemo", "new(app, { max_time = 10 })\ndemo")))
    local c = t:connect("/api/sse/connect")
    begin()
    t:advance(8)
    begin() -- a start counts anew
    t:advance(9)
    assert.is_true(status().running)
    t:advance(1.5)
    local n = #told(c)
    assert.same({ false, true }, { status().running, n >= 17 and n <= 19 })
    t:advance(60)
    assert.equal(n, #told(c))
    begin({ intervalSeconds = 60 }) -- longer than it may run
    t:advance(11)
    assert.is_false(status().running)
  end)

  it("is not there without --demo, and says how to have it", function()
    start(APP, {})
    for _, answer in ipairs { begin(), t:post("/api/demo/stop"), t:get("/api/demo/status") } do
      assert.same({ 404, "demo mode is off: start with --demo" }, { answer.status, answer.json.error.message })
    end
    start(APP .. "app:get('/go', function() local _, why, code = demo:start() return { why, code } end)", {})
    assert.same({ "demo mode is off: start with --demo", "ENOTFOUND" }, t:get("/go").json)
  end)

  it("may be on without --demo, behind a guard", function()
    local text = 'local demo = require("sluice.demo").new(app, { enabled = true })\n'
    assert.error_matches(function() start(text .. 'demo:routes("/api/demo")', {}) end, "a guard is needed")
    start(text .. [[
      demo:producer("x", function() return "x", "x", {} end)
      demo:routes("/api/demo", function(req) return req.user and true or 401 end)]], {})
    assert.equal(401, begin().status)
    assert.equal(200, t:post("/api/demo/start", { user = "ops" }).status)
  end)

  it("refuses what it cannot do, by field", function()
    start()
    for _, row in ipairs {
      { { intervalSeconds = 0 }, "intervalSeconds" }, { { intervalSeconds = 3601 }, "intervalSeconds" },
      { { intervalSeconds = "1" }, "intervalSeconds" }, { { seed = "x" }, "seed" }, { { types = { "no" } }, "types" },
      { { types = {} }, "types" }, { { types = { 1 } }, "types" }, { { types = "alert" }, "types" },
    } do
      local answer = begin(row[1])
      assert.same({ 422, row[2] }, { answer.status, answer.json.error.field })
    end
    assert.is_false(status().running)
    assert.equal(5, t:post("/api/demo/start").json.intervalSeconds)
    start('local demo = require("sluice.demo").new(app)\ndemo:routes("/api/demo")')
    local answer = begin()
    assert.same({ 400, true }, { answer.status, answer.json.error.message:find("nothing to send", 1, true) ~= nil })
  end)

  it("is repeated by its seed, and by nothing else", function()
    local function run(text, seed)
      start(text)
      local c = t:connect("/all")
      begin({ intervalSeconds = 1, seed = seed })
      t:advance(99.5)
      assert.equal(100, #told(c))
      return texts_of(c), names_of(c)
    end
    local first, names = run(CASES, 7)
    assert.same(first, run(CASES, 7))
    assert.not_same(first, run(CASES, 8))
    local seen = {}
    for _, name in ipairs(names) do seen[name] = true end
    for _, name in ipairs(NAMES) do assert.is_true(seen[name], name) end
    -- one more producer changes nothing in the others
    local more = CASES:gsub("app:channel", 'demo:producer("z", function() end)\napp:channel', 1)
    start(more)
    local c = t:connect("/all")
    begin({ seed = 7 })
    t:advance(600)
    local texts = texts_of(c)
    for i = 1, 100 do assert.equal(first[i], texts[i]) end
  end)

  it("gives only what was asked for", function()
    start()
    local c = t:connect("/api/sse/connect")
    begin({ intervalSeconds = 1, types = { "heartbeat", "alert" } })
    t:advance(3.5)
    assert.same({ "alert", "heartbeat", "alert", "heartbeat" }, names_of(c))
  end)

  it("goes on when a producer fails, and says so once", function()
    start((CASES:gsub("demo:use_cases%(\"all\"%)", [[
      demo:producer("bad", function() error("broken") end)
      demo:producer("text", function() return "all", "x", "text" end)
      demo:producer("none", function() end)
      demo:producer("good", function(n) return "all", "good", { n = n } end)]])))
    local c = t:connect("/all")
    begin({ intervalSeconds = 1 })
    t:advance(15.5)
    assert.equal(4, #c:events("good"))
    assert.equal(4, c:events("good")[4].data.n)
    assert.equal(2, #t:log("error"))
    assert.matches("demo: bad: .*broken", t:log("error")[1])
    assert.matches("demo: text: .*an object", t:log("error")[2])
  end)

  it("leaves a small number its digits, and no number becomes what JSON cannot hold", function()
    local draw = random.of({}, "a", 1)
    local walked = {}
    for _ = 1, 50 do
      local example = { rate = 0.00025, none = 0.0, tiny = 5e-324, vast = 1e308, price = 12.5 }
      local data = random.walk(example, walked, "a", draw)
      assert.is_true(data.rate > 0.0001 and data.rate < 0.0004)
      assert.equal(0, data.none)
      for _, value in pairs(data) do assert.equal(0, value - value) end
      assert.equal(data.price, math.floor(data.price * 100 + 0.5) / 100)
    end
  end)

  it("lets the numbers of an example wander, and leaves its ids", function()
    start([[
      local demo = require("sluice.demo").new(app)
      app:channel("all", {})
      app:event_type("load", { channel = "all", example = { value = 50.5, count = 1000, id = 7, name = "a" } })
      app:event_type("nowhere", { example = { a = 1 } })
      app:event_type("text", { channel = "all", example = "a text" })
      app:stream("/all", "all")
      demo:routes("/api/demo")]])
    local c = t:connect("/all")
    begin()
    t:advance(50.5)
    local values = {}
    for _, event in ipairs(told(c)) do
      local data = event.data
      assert.same({ "load", 7, "a", "integer" }, { event.event, data.id, data.name, math.type(data.count) })
      assert.is_true(data.value >= 25.2 and data.value <= 75.8 and data.count >= 500 and data.count <= 1500)
      values[data.value] = true
    end
    assert.is_true(#told(c) == 51 and next(values, next(values)) ~= nil)
  end)

  it("refuses mistakes while the app loads", function()
    for text, why in pairs {
      ['require("sluice.demo").new(app, { sed = 1 })'] = "unknown option 'sed'",
      ['require("sluice.demo").new(app, { max_time = 0 })'] = "max_time is",
      ['require("sluice.demo").new(app, { name = "a/b" })'] = "may hold letters",
      ['local d = require("sluice.demo").new(app) d:producer("a")'] = "fn is missing",
      ['local d = require("sluice.demo").new(app) for _ = 1, 2 do d:producer("a", print) end'] = "is there already",
      ['require("sluice.demo").new(app) require("sluice.demo").new(app)'] = "declared twice",
      ['local d = require("sluice.demo").new(app) d:replay("/none.jsonl")'] = "/none.jsonl: No such file",
    } do
      assert.error_matches(function() start(text) end, why)
    end
  end)
end)

describe("a recording in a demo", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    kit.stop_all()
    process.remove_dir(folder)
  end)

  local function record(text) process.write_file(folder .. "/feed.jsonl", text) end

  local function open(options)
    process.write_file(folder .. "/app.lua", kit.source([[
local demo = require("sluice.demo").new(app)
app:channel("all", { history = 100 })
app:stream("/all", "all")
demo:replay("feed.jsonl", ]] .. options .. [[)
demo:routes("/api/demo")]]))
    t = kit.open(folder .. "/app.lua", DEMO)
  end

  it("keeps order and spacing, is marked, begins again, and stops with the demo", function()
    record('{"t":5,"event":"a","data":"{\\"n\\":1}"}\n{"t":6,"note":"reset"}\n\n'
      .. '{"t":7,"data":"plain\\ntext","id":"x"}\n{"t":7,"event":"c","data":"[1]"}\n')
    open('{ channel = "all", speed = 2 }')
    local c = t:connect("/all")
    begin()
    t:advance(0.5)
    assert.same({ "a" }, names_of(c))
    assert.same({ 1, true }, { told(c)[1].data.n, told(c)[1].data.demo })
    for _ = 1, 20 do assert(t:reload()) end
    t:advance(0.6)
    assert.same({ "a", "message", "c" }, names_of(c))
    assert.equal("plain\ntext", told(c)[2].text)
    t:advance(1)
    assert.equal(4, #told(c))
    t:post("/api/demo/stop")
    t:advance(20)
    assert.equal(4, #told(c))
  end)

  it("is refused with file and line when it is none", function()
    record('{"t":1,"event":"a","data":"x"}\nnonsense\n')
    assert.error_matches(function() open("{}") end, "feed.jsonl:2: not JSON")
    record('{"t":1,"note":"reset"}\n')
    assert.error_matches(function() open("{}") end, "holds no event")
    record('{"t":-1,"data":"x"}\n')
    assert.error_matches(function() open("{}") end, "feed.jsonl:1: t is a number")
  end)

  it("says once when an event has no channel", function()
    record('{"t":1,"event":"a","data":"x"}\n')
    open("{}")
    begin()
    t:advance(5)
    assert.equal(1, #t:log("error"))
    assert.matches("the event 'a' has no channel", t:log("error")[1])
  end)
end)

describe("the proposed program", function()
  after_each(kit.stop_all)

  it("shows the four types and its own, and goes on after reloads", function()
    local source = shared.read("api/proposed/hub.lua")
    if not source then return pending("no ../shared") end
    local crypto = require("sluice.crypto")
    local function hash(key) return crypto.hex(crypto.sha256(key)) end
    t = kit.whole(source, { env = { OPS_KEY_HASH = hash("k1"), BOSS_KEY_HASH = hash("k2") }, flags = { demo = true } })
    local ops = { ["X-API-Key"] = "k1" }
    local c, prices = t:connect("/api/sse/connect"), t:connect("/api/stock-prices")
    assert.equal(401, begin({}).status)
    assert.equal(200, begin(nil, ops).status)
    assert.equal(200, begin(nil, ops).status)
    t:advance(4.5)
    assert.same(FOUR, names_of(c))
    assert.equal(1, prices:count("price-update"))
  end)
end)
