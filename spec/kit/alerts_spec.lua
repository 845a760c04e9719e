--- sluice.alerts in virtual time: when alerts begin and end, over samples, silence, reloads, restarts and a
--- disk that fails; what is refused. (Random rules and samples against a model: alerts_random_spec.lua.)
local kit = require("spec.support.kit")

local APP = [[
local alerts = require("sluice.alerts").new(app, { channel = "device/:subject/alerts", subject = "deviceId",
  rewind = "all", %s })
%s
alerts:stream("/devices/:subject/alerts")
app:post("/devices/:id", function(req)
  local ok, message, code, field = alerts:check(req.params.id, req:json())
  if not ok then return nil, message, code, field end
  return 204
end)
app:delete("/devices/:id", function(req) return alerts:forget(req.params.id) and 204 or 503 end)
app:post("/ack/:id", function(req)
  local ok, message, code, field = alerts:ack(req.params.id, req.user)
  if not ok then return nil, message, code, field end
  return 204
end)
app:get("/active", function() return alerts:active() end)
]]
local HOT = 'alerts:rule("hot", { field = "t", above = 80, clear = 75, severity = "high", message = "Hot" })\n'
local SILENT = 'alerts:silence("offline", { after = 20, message = "Silent" })\n'
local DURABLE = "durable = true"

local t

local function app_of(rules, options) return APP:format(options or "", rules) end

local function start(rules, options, more)
  t = kit.start(app_of(rules, options), more)
  return t
end

local function reload(rules, options) assert(t:reload(kit.source(app_of(rules, options)))) end

local function send(sample, id)
  local answer = t:post("/devices/" .. (id or "d1"), { json = sample })
  assert.equal(204, answer.status, answer.body)
end

local function connect(id) return t:connect(("/devices/%s/alerts"):format(id or "d1")) end

-- The names of the events so far, in order.
local function told(c)
  local list = {}
  for _, e in ipairs(c:events()) do
    if e.event:find("^alert") then list[#list + 1] = e.event .. ":" .. tostring(e.data.rule) end
  end
  return list
end

local function count_active() return #t:get("/active").json end

describe("alerts", function()
  after_each(kit.stop_all)

  it("tell a value that swings around its limit once, and its end once", function()
    start(HOT)
    local c = connect()
    for _, v in ipairs { 79, 81, 79, 81, 76, 99, 75.5, 75, 79, 74 } do
      send { t = v }
      t:advance(1)
    end
    assert.same({ "alert:hot", "alert-cleared:hot" }, told(c))
    local alert, cleared = c:events("alert")[1].data, c:events("alert-cleared")[1].data
    assert.same({ "d1", "hot", "high", "Hot", 81, alert.timestamp },
      { alert.deviceId, alert.rule, alert.severity, alert.message, alert.value, alert.since })
    assert.same({ alert.id, 75, alert.since, "Hot" }, { cleared.id, cleared.value, cleared.since, cleared.message })
    assert.is_true(cleared.timestamp > alert.timestamp)
    send { t = 81 }
    assert.not_equal(alert.id, c:events("alert")[2].data.id)
  end)

  it("watch for values below a limit, limits of a function, and whatever a function says", function()
    start [[
      local limits = { d1 = 10 }
      alerts:rule("low", { field = "b", below = function(id) return limits[id] end,
        clear = function(id) return limits[id] + 5 end, message = function(v, id) return id .. " has " .. v end })
      alerts:rule("odd", { field = "s", when = function(sample, id, firing)
        if firing then return sample.s ~= "ok" end
        return sample.s == "bad" and id == "d1"
      end })]]
    local c, other = connect(), connect("d2")
    local samples = { { b = 10 }, { b = 9.5 }, { b = 14 }, { b = 15 }, { s = "bad" }, { s = "meh" }, { s = "ok" } }
    for _, sample in ipairs(samples) do
      send(sample)
      send(sample, "d2")
    end
    assert.same({ "alert:low", "alert-cleared:low", "alert:odd", "alert-cleared:odd" }, told(c))
    assert.same({ "d1 has 9.5", "bad", "ok" }, { c:events("alert")[1].data.message, c:events("alert")[2].data.value,
      c:events("alert-cleared")[2].data.value })
    assert.same({}, told(other))
    assert.same({}, t:log("error"))
  end)

  it("begin when the condition has held, and not again until they have rested", function()
    start 'alerts:rule("r", { field = "t", above = 1, hold = 30, cooldown = 60 })'
    local c = connect()
    local function run(seconds, v)
      for _ = 1, seconds // 10 do
        send { t = v }
        t:advance(10)
      end
    end
    run(30, 2)
    assert.same({}, told(c))
    run(10, 0)
    run(30, 2)
    assert.same({}, told(c)) -- 20 seconds, twice
    run(10, 2)
    assert.same({ "alert:r" }, told(c))
    local alert = c:events("alert")[1]
    assert.near(30, require("sluice").time(alert.data.timestamp) - require("sluice").time(alert.data.since), 0.1)
    run(10, 0)
    run(50, 2)
    assert.same({ "alert:r", "alert-cleared:r" }, told(c))
    run(10, 2)
    assert.same({ "alert:r", "alert-cleared:r", "alert:r" }, told(c))
  end)

  it("keep holds and rests over a reload", function()
    local rules = 'alerts:rule("r", { field = "t", above = 1, hold = 10, cooldown = 20 })'
    start(rules)
    local c = connect()
    send { t = 2 }
    for _ = 1, 5 do
      t:advance(2)
      reload(rules)
    end
    send { t = 2 }
    assert.same({ "alert:r" }, told(c))
    send { t = 0 }
    t:advance(1)
    reload(rules)
    send { t = 2 }
    t:advance(15)
    send { t = 2 }
    assert.equal(1, c:count("alert"))
    t:advance(5)
    send { t = 2 }
    assert.equal(2, c:count("alert"))
  end)

  it("are nothing new to a sample that says nothing", function()
    start(HOT .. [[
      alerts:rule("deep", { field = "a.b", above = 1 })
      alerts:rule("fails", { when = function() error("boom") end })
      alerts:rule("strange", { field = "u", above = function() return "90" end })
      alerts:rule("mute", { field = "t", above = 80, message = function() error("mute") end })
      app:post("/nan/:id", function(req)
        for _, v in ipairs { 0/0, math.huge, -math.huge } do assert(alerts:check(req.params.id, { t = v })) end
        return 204
      end)]])
    local c = connect()
    for _ = 1, 2 do
      for _, sample in ipairs { {}, { t = "81" }, { t = "x" }, { t = { v = 81 } }, { t = true }, { x = 81 }, { a = 5 },
        { a = { c = 1 } }, { a = { b = "2" } } } do
        send(sample)
      end
      t:post("/devices/d1", { body = '{"t":null,"a":{"b":null}}', headers = { ["Content-Type"] = "application/json" } })
      assert.equal(204, t:post("/nan/d1").status)
      send { t = 81, u = 5 }
    end
    assert.same({ "alert:hot", "alert:mute" }, told(c))
    assert.equal("mute", c:events("alert")[2].data.message)
    local lines = table.concat(t:log("error"), "\n")
    assert.matches("rule 'hot': field 't' is no number: string", lines, 1, true)
    assert.matches("rule 'fails': when raised: .*boom", lines)
    assert.matches("rule 'strange': above returned 90, not a number", lines, 1, true)
    assert.equal(5, #t:log("error"), lines) -- once a minute for each rule
    send { a = { b = 2 } }
    assert.equal("deep", c:events("alert")[3].data.rule)
  end)

  it("are acknowledged once, by id, and stay active", function()
    start(HOT)
    local c = connect()
    send { t = 81 }
    local id = c:events("alert")[1].data.id
    assert.equal(204, t:post("/ack/" .. id, { user = "ops" }).status)
    assert.equal(204, t:post("/ack/" .. id, { user = "bob" }).status)
    assert.same({ "alert:hot", "alert-ack:hot" }, told(c))
    local ack = c:events("alert-ack")[1].data
    assert.same({ id, "ops", "d1" }, { ack.id, ack.user, ack.deviceId })
    assert.same({ user = "ops", timestamp = ack.timestamp }, t:get("/active").json[1].acknowledged)
    for _, unknown in ipairs { "x", ("x"):rep(2000), "%FF" } do
      assert.equal(404, t:post("/ack/" .. unknown).status)
    end
    send { t = 1 }
    assert.equal(404, t:post("/ack/" .. id).status)
    assert.same({ "alert:hot", "alert-ack:hot", "alert-cleared:hot" }, told(c))
  end)

  it("refuse subjects that cannot be part of a channel's name", function()
    start(HOT .. [[
      app:post("/hostile", function()
        local out = {}
        local hostile = { "", "a/b", "a\nb", "*", ":x", ("x"):rep(65), ("x"):rep(1 << 20), "\xff", true, 1.5, {} }
        for i, subject in ipairs(hostile) do
          local ok, message, code, field = alerts:check(subject, { t = 99 })
          assert(#message < 200 and field == "deviceId" and alerts:forget(subject) == nil)
          out[i] = ok == nil and code
        end
        for _, subject in ipairs { ("x"):rep(64), 7, "a:b@c" } do assert(alerts:check(subject, { t = 99 })) end
        assert(not pcall(alerts.check, alerts, "d", 5) and not pcall(alerts.check, alerts, "d"))
        return out
      end)]])
    local codes = t:post("/hostile").json
    assert.equal(11, #codes)
    for _, code in ipairs(codes) do assert.equal("EBADFIELD", code) end
    assert.equal(3, count_active())
    assert.equal(422, t:post("/devices/a%20b", { json = {} }).status)
  end)

  it("take any text as a subject when all share a channel", function()
    local u = kit.start([[
      local alerts = require("sluice.alerts").new(app)
      alerts:rule("r", { field = "v", above = 1 })
      alerts:stream("/alerts")
      app:post("/check", function(req) return { (alerts:check(req:json().s, { v = 2 })) } end)]])
    local c = u:connect("/alerts")
    for _, s in ipairs { "North gate", "a/b", "ü", "", "a\nb", ("x"):rep(129) } do
      u:post("/check", { json = { s = s } })
    end
    local list = {}
    for i, e in ipairs(c:events("alert")) do list[i] = e.data.subject end
    assert.same({ "North gate", "a/b", "ü" }, list)
  end)
end)

describe("silence", function()
  after_each(kit.stop_all)

  it("is one alert within a second, which the next sample ends, over reloads", function()
    start(SILENT)
    local c = connect()
    send {}
    for _ = 1, 9 do
      t:advance(2)
      reload(SILENT)
    end
    send {}
    for _ = 1, 9 do
      t:advance(2)
      reload(SILENT)
    end
    t:advance(1.5)
    assert.same({}, told(c))
    t:advance(1.5)
    assert.same({ "alert:offline" }, told(c))
    t:advance(100)
    reload(SILENT)
    t:advance(100)
    assert.same({ "alert:offline" }, told(c))
    assert.is_nil(c:events("alert")[1].data.value)
    send {}
    assert.same({ "alert:offline", "alert-cleared:offline" }, told(c))
    t:advance(21)
    assert.equal(2, c:count("alert"))
  end)

  it("is nobody's who never sent, or was forgotten", function()
    start(HOT .. SILENT)
    local c, never = connect(), connect("d2")
    send { t = 99 }
    assert.equal(204, t:delete("/devices/d1").status)
    assert.equal(204, t:delete("/devices/d2").status)
    t:advance(100)
    assert.same({ "alert:hot", "alert-cleared:hot" }, told(c))
    assert.equal("forgotten", c:events("alert-cleared")[1].data.reason)
    assert.same({}, told(never))
    send {}
    send {}
    t:advance(21)
    assert.equal(2, c:count("alert"))
    local state = t:state("alerts")
    assert.same({ 1, 1 }, { state.count, #t:get("/active").json })
  end)

  it("does not believe a clock that jumps", function()
    start(SILENT .. 'alerts:rule("r", { field = "t", above = 1, hold = 10 })', nil, { now = 1780000000 })
    local c = connect()
    send { t = 2 }
    local core = require("sluice.core")
    local time, jump = core.time, 86400
    core.time = function() return time() + jump end
    finally(function() core.time = time end)
    t:advance(5)
    send { t = 2 }
    jump = -86400
    t:advance(4)
    send { t = 2 }
    assert.same({}, told(c))
    t:advance(1)
    send { t = 2 }
    assert.same({ "alert:r" }, told(c))
    t:advance(19)
    assert.equal(1, c:count("alert"))
    t:advance(2)
    assert.equal(2, c:count("alert"))
  end)

  it("costs little for each of many subjects, which are bounded", function()
    local n = os.getenv("SLUICE_SPEC_FULL") and 50000 or 5000
    t = kit.start(([[
      local alerts = require("sluice.alerts").new(app, { max_subjects = %d })
      alerts:silence("offline", { after = 30 })
      alerts:stream("/alerts")
      app:post("/all", function()
        local sent, code = 0
        for i = 1, %d do
          local ok, _, why = alerts:check(i, {})
          if ok then sent = sent + 1 else code = why end
          if i %% 500 == 0 then sluice.sleep(0) end
        end
        return { sent = sent, code = code }
      end)
      app:get("/active", function() return { n = #alerts:active() } end)]]):format(n, n + 1), { waits = false })
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    assert.same({ sent = n, code = "EFULL" }, t:post("/all").json)
    collectgarbage()
    collectgarbage()
    assert.is_true((collectgarbage("count") - before) * 1024 / n < 300)
    t:advance(29)
    t:post("/all")
    t:advance(29)
    assert.equal(0, t:get("/active").json.n)
    t:advance(2)
    t:advance(1)
    assert.equal(n, t:get("/active").json.n)
    collectgarbage()
    collectgarbage()
    assert.is_true((collectgarbage("count") - before) * 1024 / n < 3000)
  end)
end)

describe("rules that change in a reload", function()
  after_each(kit.stop_all)

  it("judge the alert that is active by their new limits", function()
    start(HOT)
    local c = connect()
    send { t = 81 }
    reload((HOT:gsub("80", "90"):gsub("75", "85")))
    t:advance(5)
    assert.same({ "alert:hot" }, told(c))
    send { t = 86 }
    assert.same({ "alert:hot" }, told(c))
    send { t = 85 }
    assert.same({ "alert:hot", "alert-cleared:hot" }, told(c))
  end)

  it("clear the alerts of a rule that is gone, once", function()
    start(HOT .. SILENT, DURABLE)
    local c = connect()
    send { t = 81 }
    t:advance(21)
    assert.same({ "alert:hot", "alert:offline" }, told(c))
    reload('alerts:rule("cold", { field = "t", below = 0 })', DURABLE)
    t:advance(1)
    table.sort(told(c))
    assert.equal(2, c:count("alert-cleared"))
    assert.equal("removed", c:events("alert-cleared")[1].data.reason)
    reload(HOT, DURABLE)
    t:kill()
    t:advance(30)
    c = connect()
    assert.same({ 2, 2, 0 }, { c:count("alert"), c:count("alert-cleared"), count_active() })
    assert.same({ count = 0, seen = 0 }, { count = t:state("alerts").count, seen = #{ t:store("alerts"):each()() } })
    send { t = 81 }
    assert.equal(3, c:count("alert"))
  end)

  it("watch at once those who have sent, when a silence is added or its time changes", function()
    start(SILENT)
    local c = connect()
    send {}
    t:advance(10)
    reload 'alerts:silence("offline", { after = 60 })\nalerts:silence("brief", { after = 15 })'
    t:advance(6)
    assert.same({ "alert:brief" }, told(c))
    t:advance(43)
    assert.same({ "alert:brief" }, told(c))
    t:advance(2)
    assert.same({ "alert:brief", "alert:offline" }, told(c))
  end)

  it("may become durable, with what is active", function()
    start(HOT .. SILENT)
    send { t = 81 }
    reload(HOT .. SILENT, DURABLE)
    t:advance(1)
    t:kill()
    assert.equal(1, count_active())
    local c = connect()
    t:advance(21)
    assert.equal("offline", c:events("alert")[#c:events("alert")].data.rule)
  end)
end)

describe("after a restart, alerts", function()
  after_each(kit.stop_all)

  for _, how in ipairs { "restart", "kill" } do
    it("go on when they are durable: " .. how, function()
      start(HOT .. SILENT .. 'alerts:rule("rests", { field = "r", above = 1, cooldown = 200 })', DURABLE)
      send { t = 81, r = 2 }
      send { r = 0 }
      local id = t:get("/active").json[1].id
      t:post("/ack/" .. id, { user = "ops" })
      t[how](t)
      local c = connect()
      assert.equal("ops", t:get("/active").json[1].acknowledged.user)
      send { t = 79, r = 2 }
      assert.same({ "alert:hot", "alert:rests", "alert-cleared:rests", "alert-ack:hot" }, told(c))
      t:advance(19)
      t[how](t)
      t:advance(19)
      c = connect()
      assert.equal(2, c:count("alert"))
      t:advance(2)
      assert.equal("offline", c:events("alert")[3].data.rule)
      t[how](t)
      send { t = 75, r = 2 }
      c = connect()
      assert.same({ 3, 3 }, { c:count("alert"), c:count("alert-cleared") })
      t:advance(200)
      send { r = 2 }
      c = connect()
      assert.same({ "offline", "rests" }, { c:events("alert")[4].data.rule, c:events("alert")[5].data.rule })
    end)
  end

  it("begin anew when they are in memory, with other ids", function()
    start(HOT .. SILENT)
    send { t = 81 }
    local id = t:get("/active").json[1].id
    t:kill()
    assert.equal(0, count_active())
    t:advance(60)
    assert.equal(0, count_active())
    send { t = 81 }
    assert.not_equal(id, t:get("/active").json[1].id)
  end)

  it("are durable by themselves when the app has a store", function()
    t = kit.start('app:store("devices")\n' .. app_of(HOT))
    send { t = 81 }
    t:kill()
    assert.equal(1, count_active())
    assert.error_matches(function() kit.start(app_of(HOT) .. 'app:store("devices")') end,
      "alerts.new stands above the stores")
    kit.start(app_of(HOT, "durable = false") .. 'app:store("devices")')
  end)

  it("are told once although the disk failed or the process died in between", function()
    start(HOT, DURABLE)
    send { t = 1 }
    t:disk { full = true }
    assert.equal(503, t:post("/devices/d1", { json = { t = 81 } }).status)
    assert.equal(503, t:post("/devices/d1", { json = { t = 70 } }).status) -- waits for the alert to be told
    t:advance(3)
    t:disk { full = false }
    t:advance(10)
    local c = connect()
    assert.same({ "alert:hot", "alert-cleared:hot" }, told(c))
  end)

  it("are saved as told, so that none is published again when its idempotency key is forgotten", function()
    start(HOT, DURABLE)
    send { t = 81 }
    local row = t:store("alerts"):get("alert/hot/d1")
    assert.same({ "d1", 81 }, { row.subject, row.alert.value })
    assert.is_nil(row.say)
    send { t = 1 }
    assert.is_nil(t:store("alerts"):get("alert/hot/d1"))
  end)

  it("are told once wherever between decision and event the process dies", function()
    for at = 0, 40, 2 do
      start(HOT .. [[
        app:post("/later/:id", function(req)
          local sample = req:json()
          app:spawn(function() alerts:check(req.params.id, sample) end)
        end)]], DURABLE)
      t:disk { commit = 0.01 }
      t:post("/later/d1", { json = { t = 81 } })
      t:advance(at / 1000)
      t:kill()
      send { t = 82 }
      t:advance(2)
      assert.same({ "alert:hot" }, told(connect()), at)
      t:disk { commit = 0.01 }
      t:post("/later/d1", { json = { t = 1 } })
      t:advance(at / 1000)
      t:kill()
      send { t = 2 }
      t:advance(2)
      local c = connect()
      assert.same({ "alert:hot", "alert-cleared:hot" }, told(c), at)
      assert.equal(c:events("alert")[1].data.id, c:events("alert-cleared")[1].data.id)
      kit.stop_all()
    end
  end)
end)

describe("while the disk is slow, alerts", function()
  after_each(kit.stop_all)

  local LATER = [[
    app:post("/later/:id", function(req)
      local sample = req:json()
      app:spawn(function() alerts:check(req.params.id, sample) end)
    end)
    app:post("/later-ack", function()
      local id = alerts:active()[1].id
      app:spawn(function() alerts:ack(id, "bob") end)
    end)]]

  for _, at in ipairs { 0.5, 1.5, 2.5, 3.5 } do
    it("are told to their end although a reload removes their rule: after " .. at, function()
      start(HOT .. LATER, DURABLE)
      t:disk { commit = 2 }
      t:post("/later/d1", { json = { t = 81 } })
      t:advance(at)
      reload(LATER, DURABLE)
      t:advance(30)
      local c = connect()
      assert.same({ "alert:hot", "alert-cleared:hot" }, told(c))
      assert.equal("removed", c:events("alert-cleared")[1].data.reason)
      assert.equal(0, count_active())
    end)

    it("are told as acknowledged over a reload: after " .. at, function()
      start(HOT .. LATER, DURABLE)
      t:disk { commit = 2 }
      t:post("/later/d1", { json = { t = 81 } })
      t:advance(at)
      reload(HOT .. LATER .. "-- again", DURABLE)
      t:post("/later-ack")
      t:advance(30)
      assert.same({ "alert:hot", "alert-ack:hot" }, told(connect()))
    end)
  end

  it("are all told when a reload closes the check that decided them", function()
    local both = HOT .. 'alerts:rule("warm", { field = "t", above = 50 })' .. SILENT .. LATER
    start(both, DURABLE)
    t:disk { hung = true }
    t:post("/later/d1", { json = { t = 90 } })
    reload(both .. "-- again", DURABLE)
    t:advance(9)
    t:disk { hung = false }
    t:advance(2)
    local list = told(connect())
    table.sort(list)
    assert.same({ "alert:hot", "alert:warm" }, list)
  end)

  it("are nothing to a check of the old code when their rule is gone", function()
    local slow = HOT .. 'alerts:rule("slow", { when = function() sluice.sleep(1) end })' .. LATER
    start(slow, DURABLE)
    t:post("/later/d1", { json = { t = 90 } })
    reload(LATER, DURABLE)
    t:advance(5)
    assert.equal(0, count_active())
    assert.same({}, told(connect()))
  end)

  it("publish only what is saved, so that a kill takes none of it back", function()
    start(HOT .. LATER, DURABLE)
    local c = connect()
    t:disk { commit = 1 }
    t:post("/later/d1", { json = { t = 90 } })
    t:advance(2.5) -- saved, published, being saved as told
    t:post("/later/d1", { json = { t = 10 } })
    c:wait_for("alert-cleared", 30)
    t:kill()
    t:advance(5)
    assert.equal(0, count_active())
    send { t = 90 }
    t:advance(5)
    send { t = 10 }
    assert.same({ "alert:hot", "alert-cleared:hot", "alert:hot", "alert-cleared:hot" }, told(connect()))
  end)

  for _, at in ipairs { 0.5, 1.5, 2.5 } do
    it("answer an acknowledgement and a sample when these are on the disk: after " .. at, function()
      start(HOT .. LATER, DURABLE)
      t:disk { commit = 1 }
      t:post("/later/d1", { json = { t = 90 } })
      t:advance(at)
      assert.equal(204, t:post("/ack/" .. t:get("/active").json[1].id, { user = "ops" }).status)
      t:kill()
      assert.equal("ops", t:get("/active").json[1].acknowledged.user)
      t:post("/later/d2", { json = { t = 90 } })
      t:advance(at)
      send({ t = 10 }, "d2")
      t:kill()
      t:advance(5)
      assert.same({ "alert:hot", "alert-cleared:hot" }, told(connect("d2")))
    end)
  end

  it("refuse an acknowledgement for the second time, too, while the disk does", function()
    start(HOT, DURABLE)
    send { t = 90 }
    local id = t:get("/active").json[1].id
    t:disk { full = true }
    assert.equal(503, t:post("/ack/" .. id, { user = "ops" }).status)
    assert.equal(503, t:post("/ack/" .. id, { user = "bob" }).status)
    t:disk { full = false }
    assert.equal(204, t:post("/ack/" .. id, { user = "bob" }).status)
    t:kill()
    assert.equal("ops", t:get("/active").json[1].acknowledged.user)
  end)
end)

describe("a sample that is no plain table", function()
  after_each(kit.stop_all)

  it("takes nothing from the other rules, and is logged", function()
    start(HOT .. [[
      alerts:rule("odd", { field = "x.y", above = 1 })
      alerts:rule("evil", { field = "t", above = function()
        return setmetatable({}, { __tostring = function() error("deep") end })
      end })
      app:post("/odd", function()
        local odd = setmetatable({ t = 81 }, { __index = function() error("boo") end })
        assert(alerts:check("d1", odd))
        assert(alerts:check("d1", { t = 0/0 }))
      end)]])
    assert.equal(204, t:post("/odd").status)
    assert.same({ "alert:hot" }, told(connect()))
    local text = table.concat(t:log("error"), "\n")
    assert.matches("'odd': reading the sample raised: .*boo", text)
    assert.matches("'evil': above returned table, not a number", text)
    assert.matches("'hot': field 't' is no number: %-?nan", text)
  end)
end)

describe("alerts at load", function()
  after_each(kit.stop_all)

  it("say what is wrong, and where", function()
    for code, message in pairs {
      ['alerts:rule("a", { field = "t" })'] = "alerts:rule 'a': give one of above, below",
      ['alerts:rule("a", { field = "t", above = 1, below = 0 })'] = "give one of above, below",
      ['alerts:rule("a", { above = 1 })'] = "field is missing",
      ['alerts:rule("a", { field = "t", above = "1" })'] = 'not the string "1"',
      ['alerts:rule("a", { field = "t", above = 0/0 })'] = "above is a number",
      ['alerts:rule("a", { field = "t", above = 1, clear = 2 })'] = "clear (2) is on the wrong side",
      ['alerts:rule("a", { field = "t", below = 1, clear = 0 })'] = "clear (0) is on the wrong side",
      ['alerts:rule("a", { when = print, clear = 0 })'] = "clear is for above and below",
      ['alerts:rule("a", { field = "t", above = 1, hold = -1 })'] = "hold is a number of seconds from 0",
      ['alerts:rule("a", { field = "t", above = 1, cooldown = 0/0 })'] = "cooldown is a number of seconds",
      ['alerts:rule("a", { field = "t", above = 1, severity = "huge" })'] = "severity is info, warning, high",
      ['alerts:rule("a", { field = "t", above = 1, message = 5 })'] = "message is a text",
      ['alerts:rule("a", { field = "t", abowe = 1 })'] = "did you mean 'above'",
      ['alerts:rule("a b", { field = "t", above = 1 })'] = "a name is 1 to 64",
      ['alerts:rule("hot", { field = "t", above = 1 })'] = "there is a rule 'hot' already",
      ['alerts:silence("hot")'] = "there is a rule 'hot' already",
      ['alerts:silence("a", { after = 0 })'] = "after is a number of seconds from 1",
      ['alerts:routes("/x")'] = "a guard is missing",
      ['alerts:stream("/x")'] = "the path has no :subject",
      ['require("sluice.alerts").new(app, { name = "a/b" })'] = "alerts.new: name 'a/b'",
      ['require("sluice.alerts").new(app, { name = "b", channel = "x/:id" })'] = "its only pattern is one segment",
      ['require("sluice.alerts").new(app, { name = "b", subject = "id" })'] = "subject 'id' is the name of a field",
      ['require("sluice.alerts").new(app, { name = "b", max_subjects = 0 })'] = "max_subjects is an integer from 1",
      ['require("sluice.alerts").new(app, { name = "b", event = "a b" })'] = "event 'a b'",
      ['require("sluice.alerts").new(app)'] = "state 'alerts' is declared twice",
    } do
      local ok, problem = pcall(start, HOT .. code)
      assert.is_false(ok, code)
      assert.truthy(problem:find(message, 1, true), code .. "\n" .. problem)
      assert.matches("app.lua:%d+: ", problem)
    end
    start(HOT .. 'app:get("/late", function() alerts:silence("late") end)')
    assert.equal(500, t:get("/late").status)
    assert.matches("belongs at the top level", t:log("error")[1])
  end)
end)

describe("the pages of alerts", function()
  after_each(kit.stop_all)

  before_each(function()
    t = kit.start([[
      local function owns(user, p) return user ~= nil and user.id == p.subject end
      local function signed_in(req) return req.user and true or 401 end
      local alerts = require("sluice.alerts").new(app, { channel = "a/:subject", read = owns, rewind = "latest" })
      alerts:rule("hot", { field = "t", above = 80 })
      alerts:rule("hotter", { field = "t", above = 90 })
      alerts:stream("/alerts/:subject")
      alerts:routes("/api/alerts", signed_in)
      app:post("/check/:id", function(req) assert(alerts:check(req.params.id, req:json())) end)]])
    t:post("/check/ann", { json = { t = 99 } })
    t:post("/check/bob", { json = { t = 85 } })
  end)

  it("give a new page what is active, and nothing that is over", function()
    local c = t:connect("/alerts/ann", { user = "ann" })
    assert.equal(2, c:count("alert"))
    t:post("/check/ann", { json = { t = 85 } })
    c = t:connect("/alerts/ann", { user = "ann" })
    assert.same({ "alert:hot" }, told(c))
    assert.same({ 401, 403 }, { t:connect("/alerts/ann").status, t:connect("/alerts/ann", { user = "bob" }).status })
  end)

  it("show and acknowledge only what may be read", function()
    local list = t:get("/api/alerts", { user = "bob" }).json
    assert.same({ 1, "bob" }, { list.total, list.alerts[1].subject })
    local id = list.alerts[1].id
    assert.equal(2, t:get("/api/alerts?subject=ann", { user = "ann" }).json.total)
    assert.equal(0, t:get("/api/alerts?subject=ann", { user = "bob" }).json.total)
    assert.matches('"alerts":%[%]', t:get("/api/alerts", { user = "cyd" }).body)
    assert.same({ 401, 404, 404, 204 }, { t:post("/api/alerts/" .. id .. "/ack").status,
      t:post("/api/alerts/" .. id .. "/ack", { user = "ann" }).status,
      t:post("/api/alerts/x/ack", { user = "bob" }).status,
      t:post("/api/alerts/" .. id .. "/ack", { user = "bob" }).status })
    local c = t:connect("/alerts/bob", { user = "bob" })
    assert.same({ "alert:hot", "alert-ack:hot" }, told(c))
  end)
end)
