--- sluice.hub in virtual time: endpoints and methods, who gets what, maintenance, and its copy in a
--- user's own folder. (Over sockets, with curl: spec/e2e/hub_spec.lua.)
local kit = require("spec.support.kit")
local sluice_json = require("sluice.json")
local tree = require("spec.support.tree")

-- Guards as a user would write them; the test kit's users have their roles as a set.
local GUARDS = [[
local function signed_in(req) return req.user and true or 401, "a key is missing" end
local function admin(req)
  if not req.user then return 401, "a key is missing" end
  if req.user.roles and req.user.roles.Admin then return true end
  return 403, "only for Admins"
end
]]
local APP = GUARDS .. [[
local hub = require("sluice.hub").new(app)
hub:routes("/api/sse", { publish = signed_in, admin = admin })
app:stream("/api/guess/:user", { channels = { "hub/user/:user" } })
app:stream("/api/pry/:client", { channels = { "hub/client/:client" } })
app:stream("/api/other", { channels = { "other" } })
]]
local BOSS = { id = "boss", roles = { "Admin" } }
local STAMP = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"

local t

local function post(path, json, user, headers)
  return t:post("/api/sse/" .. path, { json = json, user = user or "ops", headers = headers })
end

local function connect(user, options)
  options = options or {}
  options.user = user
  local c = t:connect("/api/sse/connect", options)
  assert.equal(200, c.status)
  return c
end

-- The only event of that name, without the time, which is one.
local function data_of(c, event)
  assert.equal(1, c:count(event), c:transcript())
  local data = c:wait_for(event, 0).data
  assert.matches(STAMP, data.timestamp)
  data.timestamp = nil
  return data
end

local function start(text, options)
  t = kit.start(text or APP, options)
  return t
end

describe("a hub", function()
  before_each(function() start() end)
  after_each(kit.stop_all)

  it("delivers a notification to whoever is connected", function()
    local c = connect()
    local answer = post("notification", { message = "Test", severity = "info" })
    local event = c:wait_for("notification", 0)
    assert.same({ 202, { id = event.id, subscribers = 1, duplicate = false } }, { answer.status, answer.json })
    assert.equal("Test", event.data.message)
  end)

  it("sends from each endpoint the event of its name, with the fields of its body and a time", function()
    local c = connect()
    for _, row in ipairs {
      { "notification", { message = "a", title = "b" }, { message = "a", title = "b", severity = "info" } },
      { "alert", { message = "a", category = "b" }, { message = "a", category = "b", severity = "warning" } },
      { "data-update", { id = 7, type = "order" }, { id = 7, type = "order", changes = {} }, "dataUpdate" },
      { "heartbeat", nil, { status = "ok" } },
    } do
      assert.equal(202, post(row[1], row[2]).status, row[1])
      assert.same(row[3], data_of(c, row[4] or row[1]))
    end
    assert.matches('"changes":{}', c:transcript(), 1, true)
    assert.equal(202, post("send-announcement", { message = "c", severity = "critical" }).status)
    local told = c:events("notification")[2].data
    assert.same({ "c", "info" }, { told.message, told.severity })
    assert.equal(202, post("broadcast", { eventType = "mine", data = { 1, "x" } }).status)
    assert.same({ 1, "x" }, c:wait_for("mine", 0).data)
    assert.equal(202, post("broadcast", { eventType = "bare" }).status)
    assert.same({}, c:wait_for("bare", 0).data)
  end)

  it("finds fields in any case, and refuses one in two spellings", function()
    local c = connect()
    assert.equal(202, post("notification", { Message = "a", SEVERITY = "high", Other = 1 }).status)
    assert.same({ message = "a", severity = "high" }, data_of(c, "notification"))
    assert.equal(202, post("broadcast", { EventType = "mine", Data = { Kept = 1 } }).status)
    assert.same({ Kept = 1 }, c:wait_for("mine", 0).data)
    local answer = post("notification", { Message = "a", message = "b" })
    assert.same({ 422, "message" }, { answer.status, answer.json.error.field })
    assert.equal(1, c:count("notification"))
  end)

  it("refuses by status, and names the field", function()
    local c = connect()
    local function refused(status, field, path, json, user)
      local answer = post(path, json, user)
      assert.same({ status, field }, { answer.status, answer.json.error.field }, path .. " " .. answer.body)
    end
    assert.equal(401, t:post("/api/sse/notification", { json = { message = "x" } }).status)
    assert.equal(415, t:post("/api/sse/notification", { user = "ops", body = "message=x" }).status)
    assert.equal(400, t:post("/api/sse/notification",
      { user = "ops", body = "{", headers = { ["Content-Type"] = "application/json" } }).status)
    refused(422, "message", "notification", { severity = "info" })
    refused(422, "message", "notification", { Message = 5 })
    refused(422, nil, "notification", { 1, 2 })
    refused(422, nil, "heartbeat", sluice_json.array())
    refused(422, "severity", "alert", { message = "x", severity = "huge" })
    refused(422, "id", "data-update", { type = "x" })
    refused(422, "id", "data-update", { id = true, type = "x" })
    refused(422, "changes", "data-update", { id = 1, type = "x", changes = { 1 } })
    refused(422, "type", "data-update", { id = 1 })
    refused(422, "status", "heartbeat", { status = 1 })
    refused(422, "eventType", "broadcast", { data = 1 })
    refused(422, "eventType", "broadcast", { eventType = "hello" })
    refused(422, "eventType", "broadcast", { eventType = "" })
    refused(422, "eventType", "broadcast", { eventType = "a\nb" })
    refused(422, "data.message", "broadcast", { eventType = "notification", data = { text = "x" } })
    refused(422, "data.severity", "broadcast", { eventType = "alert", data = { message = "x", severity = "huge" } })
    refused(422, "data", "broadcast", { eventType = "notification", data = "x" })
    refused(422, "user", "notification", { message = "x", user = "a/b" })
    refused(422, "user", "notification", { message = "x", user = ("x"):rep(65) })
    refused(422, "user", "send/" .. c.id, { eventType = "x", user = "alice" })
    refused(404, "client", "send/nobody", { eventType = "x" })
    refused(404, "client", "notification", { message = "x", client = "nobody" })
    refused(413, nil, "notification", { message = ("x"):rep(70000) })
    c:expect_none(nil, 1)
  end)

  it("resumes exactly", function()
    local c = connect("alice")
    post("notification", { message = "1" })
    post("notification", { message = "2", user = "alice" })
    c:drop()
    for _, user in ipairs { "alice", "bob" } do post("notification", { message = user, user = user }) end
    post("notification", { message = "all" })
    local again = c:reconnect()
    assert.is_true(again.hello.resumed)
    local got = {}
    for i, e in ipairs(again:events("notification")) do got[i] = e.data.message end
    assert.same({ "alice", "all" }, got)
  end)

  it("shows a user's events to this user only: live, on coming back, after a reload, by a guessed name", function()
    local alice, phone, bob, nobody = connect("alice"), connect("alice"), connect("bob"), connect()
    assert.equal(2, post("notification", { message = "for alice", user = "alice" }).json.subscribers)
    bob:drop()
    assert(t:reload())
    post("notification", { message = "after", user = "alice" })
    assert.same({ 2, 2, 0 }, { alice:count("notification"), phone:count("notification"), nobody:count("notification") })
    assert.equal(0, bob:reconnect({ user = "bob" }):count("notification"))
    local taken = connect("bob", { last_event_id = alice:last_id() })
    post("notification", { message = "late", user = "alice" })
    assert.equal(0, taken:count("notification"))
    assert.same({ 403, 403 }, { t:connect("/api/guess/alice", { user = "bob" }).status,
      t:connect("/api/guess/alice").status })
    assert.equal(200, t:connect("/api/guess/alice", { user = "alice" }).status)
    assert.equal(403, t:connect("/api/sse/connect", { user = { id = "a/b" } }).status)
  end)

  it("sends to one client by the id that the server made, and by no other name", function()
    local a, b = connect(), connect(nil, { headers = { Cookie = "client=x" } })
    local c = t:connect("/api/sse/connect?clientId=" .. a.id .. "&client=" .. a.id)
    for n = 1, 2 do
      local answer = post("send/" .. a.id, { eventType = "greeting", data = { n = n } })
      assert.same({ 202, 1 }, { answer.status, answer.json.subscribers })
    end
    assert.same({ n = 1 }, a:wait_for("greeting", 0).data)
    assert.same({ n = 2 }, a:wait_for("greeting", 0).data)
    assert.same({ 403, 403 }, { t:connect("/api/pry/" .. a.id).status,
      t:connect("/api/pry/" .. a.id, { user = "ops", last_event_id = a:last_id() }).status })
    assert(t:reload())
    post("notification", { message = "private", client = a.id })
    assert.same({ 1, 0, 0 }, { a:count("notification"), b:count("notification"), c:count("notification") })
    assert.same({ 0, 0 }, { b:count("greeting"), c:count("greeting") })
    a:drop()
    assert.equal(404, post("send/" .. a.id, { eventType = "greeting" }).status)
    local other = t:connect("/api/other")
    assert.equal(404, post("send/" .. other.id, { eventType = "greeting" }).status)
  end)

  it("resumes a stream that was addressed as a client", function()
    local c = connect()
    post("send/" .. c.id, { eventType = "greeting" })
    c:drop()
    post("notification", { message = "missed" })
    local again = c:reconnect()
    assert.is_true(again.hello.resumed)
    assert.same({ 1, 0 }, { again:count("notification"), again:count("greeting") })
  end)

  it("publishes once for one Idempotency-Key of one user on one endpoint", function()
    local c = connect()
    local key = { ["Idempotency-Key"] = "k1" }
    local first, second = post("notification", { message = "once" }, "ops", key),
      post("notification", { message = "once" }, "ops", key)
    assert.same({ first.json.id, true }, { second.json.id, second.json.duplicate })
    assert.equal(1, c:count("notification"))
    assert.is_false(post("notification", { message = "x" }, "dev", key).json.duplicate)
    assert.is_false(post("alert", { message = "x" }, "ops", key).json.duplicate)
    t:advance(86401)
    assert.is_false(post("notification", { message = "x" }, "ops", key).json.duplicate)
    for _ = 1, 2 do
      assert.is_false(post("notification", { message = "x" }, "ops", { ["Idempotency-Key"] = "" }).json.duplicate)
    end
    assert.equal(413, post("notification", { message = "x" }, "ops", { ["Idempotency-Key"] = ("k"):rep(1024) }).status)
  end)

  it("lists the event types, and describes its own four", function()
    local types = t:get("/api/sse/event-types").json
    local automatic = {}
    for name, info in pairs(types) do
      automatic[name] = info.automatic
      assert.is_true(#info.description > 20 and info.channel == "hub", name)
      assert.equal(202, post("broadcast", { eventType = name, data = info.example }).status, name)
    end
    assert.same({ notification = false, alert = false, dataUpdate = true, heartbeat = true }, automatic)
    local null = require("sluice.json").null
    assert.same({ "info", "warning", "high", "critical", null }, types.alert.fields.severity)
  end)

  it("keeps nobody waiting: a heartbeat is an event, and needs no body", function()
    local c = connect()
    assert.equal(202, t:post("/api/sse/heartbeat", { user = "ops" }).status)
    assert.same({ status = "ok" }, data_of(c, "heartbeat"))
  end)
end)

describe("a maintenance", function()
  local c

  before_each(function()
    start(nil, { now = 1780000000 }) -- 2026-05-28T20:26:40Z
    c = connect()
  end)
  after_each(kit.stop_all)

  it("is announced by an Admin only, and the log says who tried", function()
    assert.equal(403, post("broadcast-maintenance", { startTime = "3" }).status)
    assert.equal(401, t:post("/api/sse/broadcast-maintenance", { json = { startTime = "3" } }).status)
    c:expect_none("alert", 1)
    local answer = post("broadcast-maintenance", { StartTime = "3:00" }, BOSS)
    assert.same({ 202, 1 }, { answer.status, answer.json.subscribers })
    assert.same({ message = "Scheduled maintenance: 3:00", severity = "critical", category = "system" },
      data_of(c, "alert"))
    assert.same({ "maintenance announced", "maintenance announced" }, t:log("warn"))
    assert.equal("maintenance announced", t:log("info")[#t:log("info")])
  end)

  it("can be tried: a preview says who would get what, and sends nothing", function()
    connect("alice")
    local body = { startTime = "2026-05-28T21:26:40Z", countdown = { 7200, 600, 60 }, preview = true }
    local answer = post("broadcast-maintenance", body, BOSS)
    answer.json.alert.timestamp = nil
    assert.same({ preview = true, subscribers = 2,
      countdown = { "2026-05-28T21:16:40.000Z", "2026-05-28T21:25:40.000Z" },
      alert = { message = "Scheduled maintenance: 2026-05-28T21:26:40Z", severity = "critical", category = "system" } },
      answer.json)
    body.user, body.countdown = "alice", nil
    answer = post("broadcast-maintenance", body, BOSS)
    assert.same({ 200, 1 }, { answer.status, answer.json.subscribers })
    assert.matches('"countdown":[]', answer.body, 1, true)
    c:expect_none("alert", 7200)
  end)

  it("is counted down, over reloads", function()
    local body = { startTime = "2026-05-28T22:26:40+01:00", countdown = { 7200, 600, 60, 0 } }
    assert.equal(202, post("broadcast-maintenance", body, BOSS).status)
    assert.equal(1, c:count("alert"))
    assert(t:reload())
    t:advance(2999)
    assert.equal(1, c:count("alert"))
    t:advance(700)
    local alerts = c:events("alert")
    local got = {}
    for i, e in ipairs(alerts) do got[i] = { e.at - 1780000000, e.data.startsIn or false } end
    assert.same({ { 0, false }, { 3000, 600 }, { 3540, 60 }, { 3600, 0 } }, got)
    assert.same({ message = "Scheduled maintenance: 2026-05-28T22:26:40+01:00", severity = "critical",
      category = "system", startsIn = 600, timestamp = "2026-05-28T21:16:40.000Z" }, alerts[2].data)
  end)

  it("takes the place of the one before, whose countdown ends", function()
    post("broadcast-maintenance", { startTime = "2026-05-28T21:26:40Z", countdown = { 1800, 600, 60 } }, BOSS)
    post("broadcast-maintenance", { startTime = "2026-05-28T22:26:40Z", countdown = { 600 } }, BOSS)
    t:advance(3600 + 2990)
    assert.equal(2, c:count("alert"))
    post("broadcast-maintenance", { startTime = "never", message = "The maintenance is called off" }, BOSS)
    t:advance(7200)
    assert.same({ 3, "The maintenance is called off" }, { c:count("alert"), c:events("alert")[3].data.message })
  end)

  it("is not counted down anew when the request comes twice", function()
    local key = { ["Idempotency-Key"] = "m" }
    local body = { startTime = "2026-05-28T21:26:40Z", countdown = { 600 } }
    post("broadcast-maintenance", body, BOSS, key)
    post("broadcast-maintenance", { startTime = "moved" }, BOSS)
    assert.is_true(post("broadcast-maintenance", body, BOSS, key).json.duplicate)
    t:advance(7200)
    assert.equal(2, c:count("alert"))
  end)

  it("refuses a countdown that cannot be", function()
    local function refused(field, json)
      local answer = post("broadcast-maintenance", json, BOSS)
      assert.same({ 422, field }, { answer.status, answer.json.error.field }, answer.body)
    end
    refused("startTime", {})
    refused("startTime", { startTime = 3 })
    refused("startTime", { startTime = "3:00", countdown = { 60 } })
    refused("startTime", { startTime = "2026-02-30T03:00:00Z", countdown = { 60 } })
    refused("countdown", { startTime = "2026-06-28T03:00:00Z", countdown = { -1 } })
    refused("countdown", { startTime = "2026-06-28T03:00:00Z", countdown = { "60" } })
    refused("countdown", { startTime = "2026-06-28T03:00:00Z", countdown = 60 })
    local many = {}
    for i = 1, 21 do many[i] = i end
    refused("countdown", { startTime = "2026-06-28T03:00:00Z", countdown = many })
    c:expect_none("alert", 60)
  end)

  it("reminds only the client that it was for, and no longer when it has gone", function()
    local body = { startTime = "2026-05-28T21:26:40Z", countdown = { 3000, 600 }, client = c.id }
    assert.equal(202, post("broadcast-maintenance", body, BOSS).status)
    local other = connect()
    t:advance(601)
    assert.same({ 2, 0 }, { c:count("alert"), other:count("alert") })
    c:drop()
    t:advance(3000)
    assert.same({ 0, 1 }, { other:count("alert"), #t:log("error") })
  end)
end)

describe("from Lua, a hub", function()
  after_each(kit.stop_all)

  it("returns what its endpoints answer", function()
    start(GUARDS .. [[
      local hub = require("sluice.hub").new(app)
      hub:routes("/api/sse", { publish = signed_in, admin = admin })
      app:get("/try", function()
        local function try(...) return { n = select("#", ...), ... } end
        return { try(hub:notification { message = "a", idempotency = "k" }),
          try(hub:notification { message = "a", idempotency = "k" }), try(hub:notification {}),
          try(hub:alert { message = "a", severity = "huge" }), try(hub:send {}), try(hub:data_update { type = "x" }),
          try(hub:send { eventType = "x", user = 7 }), try(hub:maintenance { startTime = "x", preview = true }) }
      end)]])
    local c = connect("7")
    local r = t:get("/try").json
    assert.same({ c:wait_for("notification", 0).id, 1, false }, { r[1]["1"], r[1]["2"], r[1]["3"] })
    assert.same({ r[1]["1"], 1, true }, { r[2]["1"], r[2]["2"], r[2]["3"] })
    for i, field in pairs { [3] = "message", [4] = "severity", [5] = "eventType", [6] = "id" } do
      assert.same({ "EBADFIELD", field }, { r[i]["3"], r[i]["4"] })
    end
    assert.same({ 1, true }, { r[7]["2"], r[8]["1"].preview })
    assert.equal(1, c:count("x"))
  end)

  it("has guards that are asked in order, and cannot do without", function()
    start(GUARDS .. [[
      local hub = require("sluice.hub").new(app)
      local function full() return 429, "too often" end
      hub:routes("/api/sse", { publish = { signed_in, full }, admin = { admin }, connect = signed_in })]])
    assert.equal(401, t:post("/api/sse/notification", { json = { message = "x" } }).status)
    assert.equal(429, post("notification", { message = "x" }).status)
    assert.equal(202, post("broadcast-maintenance", { startTime = "x" }, BOSS).status)
    assert.same({ 401, 401 }, { t:connect("/api/sse/connect").status, t:get("/api/sse/event-types").status })
    connect("alice")
    for code, message in pairs {
      ['hub:routes("/a")'] = "hub:routes: publish is a guard",
      ['hub:routes("/a", { publish = print })'] = "hub:routes: admin is a guard",
      ['hub:routes("/a", { publish = {}, admin = print })'] = "hub:routes: publish is a guard",
      ['hub:routes("/a", { publish = print, admin = { print, 1 } })'] = "hub:routes: admin is a guard",
      ['hub:routes("/a", { publish = print, admin = print, conect = print })'] = "did you mean 'connect'",
      ['require("sluice.hub").new(app, { name = "a/b" })'] = "hub.new: name 'a/b'",
      ['require("sluice.hub").new(app)'] = "channel 'hub' is declared already",
    } do
      local ok, problem = pcall(kit.start, 'local hub = require("sluice.hub").new(app)\n' .. code)
      assert.is_false(ok)
      assert.truthy(problem:find(message, 1, true), problem)
    end
  end)

  it("stands beside another one", function()
    start(GUARDS .. [[
      for _, name in ipairs { "hub", "staff" } do
        local hub = require("sluice.hub").new(app, { name = name, rewind = name == "staff" and 1 or 0,
          read = name == "staff" and function(user) return user ~= nil end or nil })
        hub:routes("/" .. name, { publish = signed_in, admin = admin })
      end]])
    local a, b = t:connect("/hub/connect"), t:connect("/staff/connect", { user = "alice" })
    assert.equal(403, t:connect("/staff/connect").status)
    assert.equal(202, t:post("/staff/alert", { user = "ops", json = { message = "x" } }).status)
    assert.same({ 0, 1 }, { a:count("alert"), b:count("alert") })
    assert.equal(404, t:post("/staff/send/" .. a.id, { user = "ops", json = { eventType = "x" } }).status)
    assert.equal(1, t:connect("/staff/connect", { user = "bob" }):count("alert"))
  end)

  it("can be durable", function()
    start((APP:gsub("new%(app%)", 'new(app, { durable = true, rewind = "all" })')))
    local c = connect()
    post("notification", { message = "kept" })
    post("notification", { message = "mine", user = "alice" })
    post("send/" .. c.id, { eventType = "greeting" })
    assert.equal(1, c:count("greeting"))
    t:kill()
    assert.equal(1, connect():count("notification"))
    assert.equal(2, connect("alice"):count("notification"))
  end)

  it("reminds after a crash when it is durable, of what was announced last", function()
    start((APP:gsub("new%(app%)", "new(app, { durable = true })")), { now = 1780000000 })
    local function announce(json) assert.equal(202, post("broadcast-maintenance", json, BOSS).status) end
    announce({ startTime = "2026-05-28T21:26:40Z", countdown = { 1800, 600, 60 } })
    announce({ startTime = "2026-05-28T22:26:40Z", countdown = { 600 } })
    t:kill()
    local c = connect()
    t:advance(7200)
    assert.equal(1, c:count("alert"))
    assert.same({ 600, "Scheduled maintenance: 2026-05-28T22:26:40Z" },
      { c:events("alert")[1].data.startsIn, c:events("alert")[1].data.message })
  end)

  it("works as a copy in the app's folder, also over a reload of the copy", function()
    local copy = tree.read("lua/sluice/hub.lua")
    assert.is_nil(copy:find('require("sluice.core")', 1, true))
    start((APP:gsub('require%("sluice.hub"%)', 'require("my_hub")')), { files = { ["my_hub.lua"] = copy } })
    local c = connect("alice")
    post("notification", { message = "a", user = "alice" })
    assert(t:reload())
    post("send/" .. c.id, { eventType = "greeting" })
    assert.same({ 1, 1 }, { c:count("notification"), c:count("greeting") })
    assert.equal(422, post("alert", { message = "x", severity = "huge" }).status)
    assert.same({}, t:log("warn"))
  end)

  it("can be followed by a stream of one's own", function()
    start(APP .. [[
      app:stream("/api/all", function(req)
        return { channels = { "other", "hub", "hub/user/" .. req.user.id }, meta = { hub = "hub" } }
      end)]])
    local c = t:connect("/api/all", { user = "alice" })
    post("notification", { message = "a" })
    post("notification", { message = "b", user = "alice" })
    assert.equal(202, post("send/" .. c.id, { eventType = "greeting" }).status)
    assert.same({ 2, 1 }, { c:count("notification"), c:count("greeting") })
  end)
end)
