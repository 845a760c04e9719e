--- A program that was written before there was a server for it, kept in ../shared/api/proposed, runs as
--- it stands there. (A checkout without that folder has examples/showcase for the same.)
local crypto = require("sluice.crypto")
local kit = require("spec.support.kit")
local shared = require("spec.support.shared")

local OPS, BOSS = { ["X-API-Key"] = "k1" }, { ["X-API-Key"] = "k2" }
local PATH = "api/proposed/hub.lua"

local function hash(key) return crypto.hex(crypto.sha256(key)) end

local function start()
  local source = shared.read(PATH)
  if not source then return nil end
  return kit.whole(source, { env = { OPS_KEY_HASH = hash("k1"), BOSS_KEY_HASH = hash("k2") }, flags = { demo = true } })
end

local function post(t, path, headers, json) return t:post("/api/sse/" .. path, { headers = headers, json = json }) end

describe("the proposed hub", function()
  after_each(kit.stop_all)

  it("delivers, refuses by field, repeats nothing, and finds one client", function()
    local t = start()
    if not t then return pending("no ../shared/" .. PATH) end
    local a, b = t:connect("/api/sse/connect"), t:connect("/api/sse/connect?clientId=c1")
    local res = post(t, "notification", OPS, { message = "Test", severity = "info" })
    assert.same({ 202, 2 }, { res.status, res.json.subscribers })
    local event = a:wait_for("notification")
    assert.same({ "Test", res.json.id }, { event.data.message, event.id })
    assert.equal(401, post(t, "notification", nil, { message = "x" }).status)
    for path, field in pairs { notification = "message", alert = "severity" } do
      local json = path == "alert" and { message = "x", severity = "huge" } or { severity = "info" }
      res = post(t, path, OPS, json)
      assert.same({ 422, field }, { res.status, res.json.error.field })
    end
    assert.equal(415, t:post("/api/sse/notification", { headers = OPS }).status)
    local key = { ["X-API-Key"] = "k1", ["Idempotency-Key"] = "a" }
    local function once() return post(t, "notification", key, { message = "once" }).json end
    local first, second = once(), once()
    assert.same({ first.id, true }, { second.id, second.duplicate })
    assert.equal(2, a:count("notification"))
    post(t, "send/" .. a.id, OPS, { eventType = "greeting", data = { text = "hi" } })
    assert.equal("hi", a:wait_for("greeting").data.text)
    b:expect_none("greeting")
    assert.is_true(t:get("/api/sse/event-types").json.dataUpdate.automatic)
  end)

  it("lets only an Admin announce a maintenance, and writes who tried", function()
    local t = start()
    if not t then return pending("no ../shared/" .. PATH) end
    local body = { startTime = "2026-12-01T03:00:00Z" }
    assert.equal(403, post(t, "broadcast-maintenance", OPS, body).status)
    local c = t:connect("/api/sse/connect")
    assert.equal(1, post(t, "broadcast-maintenance", BOSS, { startTime = "x", preview = true }).json.subscribers)
    c:expect_none("alert")
    assert.equal(202, post(t, "broadcast-maintenance", BOSS, body).status)
    local data = c:wait_for("alert").data
    assert.same({ "Scheduled maintenance: 2026-12-01T03:00:00Z", "critical", "system" },
      { data.message, data.severity, data.category })
    t:advance(1)
    assert.equal("maintenance announced", t:log("warn")[1])
  end)
end)
