--- sluice.hub on a real server, asked by curl.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local hub = require("sluice.hub").new(app)
local keys = { ops = { id = "ops" }, boss = { id = "boss", admin = true } }
local function publish(req)
  req.user = keys[req.headers["X-API-Key"] ]
  return req.user and true or 401, "a key is missing"
end
local function admin(req)
  local answer, message = publish(req)
  if answer ~= true then return answer, message end
  return req.user.admin or 403, "only for an Admin"
end
hub:routes("/api/sse", { publish = publish, admin = admin })
return app
]]

describe("a hub on a server", function()
  local s

  setup(function() s = server.start { app = APP } end)
  after_each(function() process.stop_all("curl") end)
  teardown(server.stop_all)

  -- Status and body, decoded.
  local function curl(path, key, body)
    local words = { "curl", "-sS", "-w", "\\n%{http_code}", "-X", "POST", s.url .. "/api/sse/" .. path }
    if key then table.move({ "-H", "X-API-Key: " .. key }, 1, 2, #words + 1, words) end
    if body then table.move({ "-H", "Content-Type: application/json", "-d", body }, 1, 4, #words + 1, words) end
    local code, output = process.run(words)
    assert.equal(0, code, output)
    local text, status = output:match("^(.*)\n(%d+)%s*$")
    return tonumber(status), json.decode(text)
  end

  -- A curl that listens; a function that waits for a match in what it has shown.
  local function listen()
    local p = process.spawn({ "curl", "-sSN", s.url .. "/api/sse/connect" }, { kind = "curl" })
    return function(pattern)
      return deadline.eventually(function() return p:log():match(pattern) end, 5, pattern)
    end, p
  end

  it("brings what curl posts to who listens", function()
    local shown = listen()
    shown('"client":"(%w+)"')
    local status, answer = curl("notification", "ops", '{"message": "Test notification", "severity": "info"}')
    assert.same({ 202, 1, false }, { status, answer.subscribers, answer.duplicate })
    local data, id = shown("event: notification\ndata: ([^\n]+)\nid: ([^\n]+)\n")
    assert.equal(answer.id, id)
    assert.same({ "Test notification", "info" }, { json.decode(data).message, json.decode(data).severity })
    assert.equal(202, (curl("heartbeat", "ops")))
    assert.equal("ok", json.decode(shown("event: heartbeat\ndata: ([^\n]+)")).status)
  end)

  it("refuses without a key, without JSON, without the field, and those who are no Admin", function()
    assert.equal(401, (curl("notification", nil, '{"message":"x"}')))
    assert.equal(415, (curl("notification", "ops")))
    local status, answer = curl("notification", "ops", '{"severity":"info"}')
    assert.same({ 422, "message" }, { status, answer.error.field })
    assert.equal(403, (curl("broadcast-maintenance", "ops", '{"startTime":"3:00"}')))
    assert.equal(202, (curl("broadcast-maintenance", "boss", '{"StartTime":"4:00"}')))
    local told = {}
    for line in s.log():gmatch("[^\n]+") do
      local row = json.decode(line)
      if row.message == "maintenance announced" then
        told[#told + 1] = { row.level, row.user, row.status, row.ip, row.startTime or "unread" }
      end
    end
    assert.same({ { "warn", "ops", 403, "127.0.0.1", "unread" }, { "info", "boss", 202, "127.0.0.1", "4:00" } }, told)
  end)

  it("sends to the one connection that is named by its hello", function()
    local one, first = listen()
    local other, second = listen()
    local id = one('"client":"(%w+)"')
    other('"client":"(%w+)"')
    assert.equal(202, (curl("send/" .. id, "ops", '{"eventType":"greeting","data":{"text":"hi"}}')))
    assert.equal('{"text":"hi"}', one("event: greeting\ndata: ([^\n]+)"))
    assert.equal(202, (curl("broadcast", "ops", '{"eventType":"end"}')))
    other("event: end\n")
    assert.falsy(second:log():find("greeting", 1, true))
    first:kill()
    deadline.eventually(function()
      return curl("send/" .. id, "ops", '{"eventType":"greeting"}') == 404
    end, 5, "the server has seen that the client has gone")
  end)
end)
