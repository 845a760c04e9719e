--- Budgets of channels in virtual time: when an alarm comes and when it goes, what is counted for it, and what a
--- reload, a silence and the end of a channel do to it. A drawn stream of bytes is judged by what left in each minute.
local kit = require("spec.support.kit")
local openmetrics = require("spec.support.openmetrics")

local KEY = ("k"):rep(40)

local APP = [[
app:channel("feed/:id", { history = 5, budget = %s })
app:channel("free", { history = 5 })
app:stream("/feed/:id", "feed/:id")
app:stream("/free", "free")
local alarms = app:state("alarms", {})
app:on("budget", "feed/:id", function(alarm, params)
  alarm.id = params.id
  table.insert(alarms(), alarm)
end)
app:get("/stats", function(req) return app:stats(req.query.of) end)
]]

describe("the budget of a channel", function()
  local t

  after_each(kit.stop_all)

  local function source(budget, more) return kit.source(APP:format(budget or 60000) .. (more or "")) end

  local function start(budget) t = kit.whole(source(budget), { flags = { admin_key = KEY } }) end

  -- An event of about that many bytes for each subscriber.
  local function send(channel, bytes) t:publish(channel, "e", { pad = ("x"):rep(bytes - 70) }) end

  local function alarms() return t:state("alarms") end
  local function stats(of) return t:get("/stats" .. (of and "?of=" .. of or "")).json end

  it("is exceeded within a minute at a steady rate, and kept to when it falls", function()
    start()
    t:connect("/feed/a")
    local began = t:elapsed()
    while #alarms() == 0 and t:elapsed() < began + 100 do
      send("feed/a", 1100) -- 66,000 a minute
      t:advance(1)
    end
    local took = t:elapsed() - began
    assert.is_true(took > 50 and took <= 60, took)
    local a = alarms()[1]
    assert.same({ "feed/a", "a", true, 60000, true }, { a.channel, a.id, a.over, a.budget, a.bytes > 60000 })
    assert.same({ true, true }, { stats("feed/a").over_budget, stats("feed/a").minute_bytes > 60000 })
    assert.equal(1, stats().over_budget)
    for _ = 1, 120 do
      send("feed/a", 900) -- 54,000: within it, and not below 80 %
      t:advance(1)
    end
    assert.equal(1, #alarms())
    for _ = 1, 70 do
      send("feed/a", 700)
      t:advance(1)
    end
    assert.equal(2, #alarms())
    assert.same({ false, true }, { alarms()[2].over, alarms()[2].bytes <= 48000 })
    assert.same({ 0, false }, { stats().over_budget, stats("feed/a").over_budget })
    assert.truthy(t:log("warn")[1]:find("channel 'feed/a' sent %d+ bytes within a minute: its budget is 60000"))
    local list = t:log("info")
    assert.truthy(list[#list]:find("channel 'feed/a' is within its budget again: %d+ bytes within a minute, of 60000"))
  end)

  it("is exceeded in a tenth of the time by ten times as much", function()
    start()
    t:connect("/feed/a")
    for _ = 1, 7 do
      send("feed/a", 10000)
      t:advance(1)
    end
    assert.equal(1, #alarms())
    t:advance(52)
    assert.equal(1, #alarms())
    t:advance(15) -- silence
    assert.equal(2, #alarms())
    t:advance(600)
    assert.equal(2, #alarms())
  end)

  it("counts each subscriber, replays, and nothing that nobody gets", function()
    start()
    for _ = 1, 20 do send("feed/a", 5000) end
    t:advance(1)
    assert.equal(0, stats("feed/a").minute_bytes)
    local all = {}
    for i = 1, 10 do all[i] = t:connect("/feed/a") end
    send("feed/a", 5000)
    t:advance(1)
    local ten = stats("feed/a").minute_bytes
    assert.is_true(ten > 49000 and ten < 51000, ten)
    assert.equal(0, #alarms())
    local id = all[1]:last_id()
    all[1]:drop()
    for _ = 1, 2 do send("feed/a", 500) end
    t:connect("/feed/a", { last_event_id = id }):wait_for("e")
    t:advance(1)
    assert.equal(0, #alarms())
    send("feed/a", 1000)
    t:advance(1)
    assert.equal(1, #alarms())
    send("free", 60000)
    t:advance(1)
    assert.same({ 0, false }, { stats("free").minute_bytes, stats("free").over_budget })
  end)

  it("is each channel's own, and its pattern's in the metrics", function()
    start()
    for _, id in ipairs { "a", "b", "c" } do t:connect("/feed/" .. id) end
    for _, id in ipairs { "a", "b" } do
      send("feed/" .. id, 50000)
      send("feed/" .. id, 20000)
    end
    send("feed/c", 50000)
    t:advance(1)
    assert.equal(2, #alarms())
    local function metric(name)
      local text = t:get("/-/metrics", { headers = { ["X-Admin-Key"] = KEY } }).body
      return openmetrics.parse(text).value("sluice_pattern_" .. name, { pattern = "feed/:id" })
    end
    assert.same({ 2, 2 }, { metric("over_budget_channels"), metric("budget_alarms_total") })
    t:advance(70)
    assert.same({ 0, 2 }, { metric("over_budget_channels"), metric("budget_alarms_total") })
    assert.equal(4, #alarms())
  end)

  it("changes with a reload, and goes with it", function()
    start()
    t:connect("/feed/a")
    for _ = 1, 2 do send("feed/a", 20000) end
    t:advance(1)
    assert.equal(0, #alarms())
    assert(t:reload(source(30000)))
    send("feed/a", 100)
    t:advance(1)
    assert.same({ true, 30000 }, { alarms()[1].over, alarms()[1].budget })
    assert(t:reload(source("false")))
    t:advance(1)
    assert.same({ 2, false }, { #alarms(), alarms()[2].over })
    send("feed/a", 60000)
    send("feed/a", 60000)
    t:advance(1)
    assert.equal(2, #alarms())
    assert(t:reload(source(30000, 'app:channel("feed/a", { budget = 110000 })')))
    send("feed/a", 60000) -- and 40,100 from before
    t:advance(1)
    assert.same({ 2, 100000 }, { #alarms(), stats("feed/a").minute_bytes // 1000 * 1000 })
  end)

  it("outlives its channel", function()
    t = kit.whole(kit.source((APP:format(60000):gsub("history = 5, budget", "history = 0, ttl = 1, budget"))))
    local c = t:connect("/feed/a")
    send("feed/a", 40000)
    t:advance(1)
    c:close()
    t:advance(5)
    c = t:connect("/feed/a")
    send("feed/a", 40000)
    t:advance(1)
    c:close()
    t:advance(5)
    assert.equal(1, #alarms())
    t:advance(60)
    assert.equal(2, #alarms())
    assert.equal(0, #t:log("error"))
  end)

  it("is not upset by a hook that fails, publishes or waits", function()
    start()
    assert(t:reload(source(60000, [[
      app:on("budget", "**", function(alarm) app:publish(alarm.channel, "e", { pad = ("x"):rep(50000) }) end)
      app:on("budget", "**", function(alarm) sluice.sleep(100) end)
      app:on("budget", "**", function(alarm) error("it fails") end)
      app:on("budget", "other/*", function(alarm) error("not its channel") end)]])))
    t:connect("/feed/a")
    for _ = 1, 2 do send("feed/a", 40000) end
    t:advance(200)
    assert.equal(2, #alarms())
    for _, line in ipairs(t:log("error")) do assert.truthy(line:find("it fails", 1, true), line) end
  end)

  it("is a number of bytes", function()
    for _, budget in ipairs { "0", "-1", "0.5", "'1m'", "{}", "1e300" } do
      local ok, problem = pcall(start, budget)
      assert.is_false(ok, budget)
      assert.truthy(tostring(problem):find("channel 'feed/:id': budget is a whole number of bytes a minute, or false",
        1, true), tostring(problem))
    end
  end)

  it("is exceeded when the bytes of a minute are more, whatever the order in which they come", function()
    for seed = 1, os.getenv("SLUICE_SPEC_FULL") and 300 or 12 do
      math.randomseed(seed)
      start()
      t:connect("/feed/a")
      local sent, is_over, seen = {}, false, 0
      for _ = 1, 60 do
        local bytes = math.random(3) == 1 and math.random(30000) or math.random(100, 4000)
        local before = stats("feed/a")
        send("feed/a", math.max(100, bytes))
        local at = t:elapsed()
        t:advance(0.5) -- it is told
        local n = t:state("alarms")
        sent[#sent + 1] = { at = at, bytes = bytes }
        local whole, most = 0, 0 -- of the last minute, and of that and five seconds less
        for _, s in ipairs(sent) do
          if s.at > t:elapsed() - 55 then whole = whole + s.bytes end
          if s.at > t:elapsed() - 61 then most = most + s.bytes end
        end
        for i = seen + 1, #n do is_over = n[i].over end
        seen = #n
        local what = ("SEED=%d at %g: %d to %d bytes, before %d"):format(seed, at, whole, most, before.minute_bytes)
        if whole > 60600 then assert.is_true(is_over, what) end
        if most < 0.78 * 60000 then assert.is_false(is_over, what) end
        t:advance(math.random() * 12)
      end
      kit.stop_all()
    end
  end)
end)
