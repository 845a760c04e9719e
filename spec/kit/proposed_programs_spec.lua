--- Programs that were written before there was a server for them, kept in ../shared/api/proposed, run as
--- they stand there; that of progress with its own spec. (The hub: proposed_spec. The editor: rooms_spec. A
--- checkout without that folder has the examples for the same.)
local crypto = require("sluice.crypto")
local kit = require("spec.support.kit")
local shared = require("spec.support.shared")

local SECRET = { SESSION_SECRET = ("s"):rep(32) }
local OPERATOR = { id = "op", roles = { "operator" } }

-- The figures that the app's system module measures are the test's.
local function with_figures(source)
  return (source:gsub('local system = (require%("sluice.system"%).-\n)', function(made)
    return 'local system = ' .. made .. 'local figures = app:state("figures", { cpu = 1 })\n'
      .. 'function system.sample() return { cpu = figures().cpu } end\n'
  end))
end

for _, waits in ipairs { false, true } do
  describe("a proposed program" .. (waits and ", where publishes wait" or ""), function()
    local t

    after_each(kit.stop_all)

    local function start(name, options)
      local source = shared.read(("api/proposed/%s.lua"):format(name))
      if not source then return nil end
      options = options or {}
      options.env, options.waits = options.env or SECRET, waits
      t = kit.whole(with_figures(source), options)
      return t
    end

    local function cpu(value) t:state("figures").cpu = value end

    it("has devices: limits, silence, an owner, a key", function()
      if not start("devices") then return pending("no ../shared/api/proposed/devices.lua") end
      local KEY = "a key of a device"
      t:store("devices"):set("d1", { owner = "alice", limit = 80,
        key = t:wait(30, t.place:run("hash", crypto.hash, KEY))[2] })
      local PATH = "/api/devices/d1/telemetry"
      local function reading(value)
        return t:post(PATH, { headers = { ["X-Device-Key"] = KEY }, json = { temperature = value } }).status
      end
      local alice = t:connect(PATH, { user = "alice" })
      for _, value in ipairs { 79, 81, 79, 81, 79, 81, 60, 61 } do
        assert.equal(202, reading(value))
        t:advance(1)
      end
      assert.same({ 1, 1 }, { alice:count("alert"), alice:count("alert-cleared") })
      assert.equal("d1", alice:events("alert")[1].data.deviceId)
      for _ = 1, 5 do
        t:advance(2)
        assert(t:reload())
      end
      t:advance(12)
      assert.equal("offline", alice:events("alert")[2].data.rule)
      t:advance(100)
      assert.equal(2, alice:count("alert"))
      assert.equal(403, t:connect(PATH, { user = "bob" }).status)
      assert.equal(401, t:connect(PATH).status)
      assert.equal(401, t:post(PATH, { json = { temperature = 1 } }).status)
      t:store("devices"):set("d1", { owner = "bob", limit = 80, key = "none" })
      assert(t:reload())
      alice:wait_for("bye", 2)
    end)

    it("has monitoring: an alert after 30 s above the limit, once, and its end", function()
      if not start("monitoring") then return pending("no ../shared/api/proposed/monitoring.lua") end
      local c = t:connect("/api/system/monitoring", { user = OPERATOR })
      cpu(95)
      t:advance(25.5) -- a sample every ten seconds; what is stored comes a moment later
      assert.equal(0, c:count("system-alert"))
      t:advance(15)
      assert(t:reload())
      t:advance(20)
      assert.equal(1, c:count("system-alert"))
      cpu(85)
      t:advance(10)
      assert.equal(0, c:count("system-alert-cleared"))
      cpu(10)
      t:advance(10)
      assert.equal(1, c:count("system-alert-cleared"))
      assert.equal(403, t:connect("/api/system/monitoring", { user = "joe" }).status)
    end)

    it("has notifications: signed in, kept for a day, gone on all devices, paged once", function()
      local env = { SESSION_SECRET = SECRET.SESSION_SECRET, PAGER_URL = "http://pager", ON_CALL = "x@example.org",
        SMTP_URL = "smtp://mail.example.org", SMTP_FROM = "shop@example.org" }
      if not start("notifications", { env = env }) then return pending("no ../shared/api/proposed/…") end
      t:http("http://pager", { status = 200 })
      local hash = t:wait(30, t.place:run("hash", crypto.hash, "pw"))[2]
      for _, name in ipairs { "alice", "bob" } do t:store("users"):set(name, { password = hash }) end
      assert.equal(401, t:post("/session", { json = { name = "alice", password = "no" } }).status)
      local signed = t:post("/session", { json = { name = "alice", password = "pw" } })
      local cookie = signed.headers["set-cookie"]:match("^[^;]+")
      local phone = t:connect("/api/notifications", { headers = { Cookie = cookie } })
      local function post(message, type) -- 202, and the id
        local answer = t:post("/api/messages",
          { user = "bob", json = { to = "alice", message = message, type = type } })
        assert.equal(202, answer.status, answer.body)
        return answer.json.id
      end
      local ids = {}
      for i = 1, 120 do
        t:advance(720)
        ids[i] = post("m" .. i)
      end
      assert.equal(404, t:post("/api/messages", { user = "bob", json = { to = "nobody", message = "m" } }).status)
      local laptop = t:connect("/api/notifications", { user = "alice" })
      for i, e in ipairs(laptop:events("notification")) do assert.equal("m" .. i, e.data.message) end
      local answer = t:post("/api/notifications/ack", { user = "alice", json = { ids = { table.unpack(ids, 1, 60) } } })
      assert.equal(60, answer.json.acknowledged)
      assert.equal(60, laptop:count("notification-ack"))
      t:kill()
      laptop = t:connect("/api/notifications", { user = "alice" })
      assert.same({ 60, "m61" }, { laptop:count("notification"), laptop:events("notification")[1].data.message })
      assert.equal(0, t:connect("/api/notifications", { user = "bob" }):count("notification"))
      assert.equal(119, phone:count("notification")) -- then its session is over
      local critical = post("intruder", "security")
      t:advance(10)
      t:kill()
      t:advance(25)
      assert.equal(1, #t:requests())
      t:post("/api/notifications/ack", { user = "alice", json = { ids = { critical } } })
      t:advance(600)
      assert.same({ 1, 0 }, { #t:requests(), #t:mails() })
      assert.equal(0, t:connect("/api/notifications", { user = "alice" }):count("escalation"))
    end)

    it("has notifications in a few lines", function()
      if not start("min/notifications") then return pending("no ../shared/api/proposed/min/notifications.lua") end
      local c = t:connect("/api/notifications", { user = "ann" })
      assert.equal(202, t:post("/api/messages", { user = "bob", json = { to = "ann", message = "m" } }).status)
      local d = c:wait_for("notification").data
      assert.same({ "bob", "m" }, { d.from, d.message })
      assert.equal(401, t:connect("/api/notifications").status)
      assert.equal(1, t:post("/api/notifications/ack", { user = "ann", json = { ids = { d.id } } }).json.acknowledged)
    end)

    it("has five triggers: a timer, a change, the machine, a user, an operator", function()
      if not start("triggers") then return pending("no ../shared/api/proposed/triggers.lua") end
      local c = t:connect("/api/sse/connect")
      for _ = 1, 100 do
        t:advance(0.6)
        assert(t:reload())
      end
      t:advance(0.5)
      assert.equal(2, c:count("heartbeat"))
      for i = 1, 100 do t:patch("/api/orders/7", { user = "joe", json = { status = "s" .. i } }) end
      t:advance(1)
      assert.same({ 1, "s100" }, { c:count("dataUpdate"), c:events("dataUpdate")[1].data.changes.status })
      cpu(99)
      t:advance(30)
      assert.equal(1, c:count("alert"))
      assert.equal(202, t:post("/api/send-announcement", { user = "joe", json = { message = "hi" } }).status)
      local body = { startTime = "x" }
      assert.equal(403, t:post("/api/broadcast-maintenance", { user = "joe", json = body }).status)
      assert.equal(202, t:post("/api/broadcast-maintenance",
        { user = { id = "a", roles = { "Admin" } }, json = body }).status)
      assert.equal("Scheduled maintenance: x", c:events("alert")[2].data.message)
    end)

    it("has a match: a late visitor gets all of it in order, a repeated goal counts once", function()
      local env = { DESK_KEY_HASH = crypto.hex(crypto.sha256("desk")) }
      if not start("match", { env = env }) then return pending("no ../shared/api/proposed/match.lua") end
      local H = { ["X-API-Key"] = "desk" }
      t:put("/api/matches/7", { headers = H, json = {} })
      local goal = { headers = { ["X-API-Key"] = "desk", ["Idempotency-Key"] = "g1" },
        json = { type = "goal", team = "home", player = "Smith" } }
      local first, again = t:post("/api/matches/7/events", goal), t:post("/api/matches/7/events", goal)
      assert.same({ 202, first.json.id }, { first.status, again.json.id })
      for i = 1, 150 do
        assert.equal(202, t:post("/api/matches/7/commentary", { headers = H, json = { text = "line " .. i } }).status)
      end
      local late = t:connect("/api/live-match/7")
      assert.same({ home = 1, away = 0 }, late:wait_for("match-event", 1).data.score)
      assert.same({ 100, "line 51" }, { late:count("commentary"), late:events("commentary")[1].data.text })
      assert.equal(404, t:connect("/api/live-match/8").status)
      assert.equal(404, t:connect("/api/live-match/7%2Fx").status)
      assert.equal(401, t:post("/api/matches/7/events", { json = { type = "goal", team = "home" } }).status)
    end)
  end)
end

-- The spec of progress expects a disk that takes no time, and a clock that begins in 2026.
for _, waits in ipairs { false, true } do
  describe("the proposed progress" .. (waits and ", where publishes wait" or ""), function()
    local text = shared.read("api/proposed/spec/progress_spec.lua")
    if not text then return it("has a spec", function() pending("no ../shared/api/proposed") end) end
    local testing = require("sluice.testing")
    local stand_in = { start = function(path)
      local t = testing.start({ source = shared.read("api/" .. path) },
        { env = SECRET, now = 1.78e9, waits = waits })
      t:disk { commit = 0 }
      return t
    end }
    local globals = setmetatable({ require = function(name)
      return name == "sluice.testing" and stand_in or require(name)
    end }, { __index = _ENV })
    assert(load(text, "@progress_spec.lua", "t", globals))()
  end)
end
