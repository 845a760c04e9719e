--- Demo mode on a real server: the showcase as `make run` serves it.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local PATH = "examples/showcase/app.lua"

local function post(s, path, body)
  return http.post(s.port, "/api/demo/" .. path, body or "", { ["Content-Type"] = "application/json" })
end

describe("the showcase's demo", function()
  after_each(function() process.stop_all() end)

  it("needs no key, sends all four types, is one over reloads, and ends with a stop", function()
    local s = server.start { path = PATH, args = { "--demo" } }
    local c = sse.connect(s.port, "/api/sse/connect")
    assert(c:wait_for("hello"))
    assert.equal(200, post(s, "start", '{"IntervalSeconds":1}').status)
    for n, name in ipairs { "notification", "alert", "dataUpdate", "heartbeat" } do
      local event = assert(c:next_event(5))
      assert.same({ name, true }, { event.event, json.decode(event.data).demo })
      s.signal("HUP")
      s.wait_log("reload #" .. n + 1)
    end
    assert.equal(200, post(s, "stop").status)
    local sent = json.decode(http.get(s.port, "/api/demo/status").body).sent
    assert.is_true(sent >= 4)
    local from = deadline.now()
    repeat -- a heartbeat of the app itself may come
      local event = c:next_event(0.2)
      assert.is_nil(event and json.decode(event.data).demo)
    until deadline.since(from) >= 1.5
    assert.equal(sent, json.decode(http.get(s.port, "/api/demo/status").body).sent)
    c:close()
  end)

  it("sends on the stream of all, too, which moves without it", function()
    local s = server.start { path = PATH, args = { "--demo" } }
    local c = sse.connect(s.port, "/api/showcase?match=7&device=boiler")
    assert(c:wait_for("hello"))
    for _, name in ipairs { "metrics-update", "match-event", "price-update", "telemetry", "system-metrics" } do
      assert.is_nil(json.decode(assert(c:wait_for(name)).data).demo, name)
    end
    assert.equal(200, post(s, "start", '{"intervalSeconds":0.1}').status)
    assert.is_true(json.decode(assert(c:wait_for("dataUpdate")).data).demo)
    c:close()
  end)

  it("says what to do next, once it is there, and each line does what it says", function()
    local folder = process.temp_dir()
    local words = { lfs.currentdir() .. "/build/bin/sluice", "demo", "--port", "0", "--no-watch" }
    local p = process.spawn(words, { dir = folder, folders = { folder } })
    local log = deadline.eventually(function()
      if p:code() then deadline.give_up(p:log()) end
      return p:log():find("\nconsole: ", 1, true) and p:log()
    end, 20, "it is there")
    local guide = log:match("\nThe showcase is at .*")
    local url = guide:match("The showcase is at (%S+)/ until Ctrl%-C%.")
    local follow, note, rules, new = guide:match("\n  (curl %-N [^\n]+)\n  (curl [^\n]+)\n.-Change a limit in (%S+) "
      .. "and save.-\n  (%S+ new %S+)\n")
    assert.falsy(log:find("key=", 1, true), log) -- which is for a terminal
    local ask = guide:match("\nconsole: (%S+ console %-%-port %d+)\n")
    local link = select(2, process.run(ask))
    assert.truthy(link:find(url .. "/-/console#key=", 1, true), link)
    local stream = process.spawn({ "sh", "-c", "exec " .. follow }, {})
    deadline.eventually(function() return stream:log():find("event: sync", 1, true) end, 10, "the stream")
    local code, answer = process.run((note:gsub("^curl", "curl -sSf")))
    assert.equal(0, code, answer)
    deadline.eventually(function() return stream:log():find('"Hello"', 1, true) end, 10, "the notification")
    assert.equal("file", lfs.attributes(rules, "mode"))
    process.run { "mkdir", folder .. "/sluice" }
    assert.equal(0, (process.run(new, { dir = folder .. "/sluice" })))
    assert.equal("file", lfs.attributes(folder .. "/board/app.lua", "mode"))
    assert.equal(0, p:stop())
  end)

  it("is off without --demo", function()
    local s = server.start { path = PATH, args = { "--data", process.temp_dir() } }
    local answer = post(s, "start", '{"intervalSeconds":1}')
    assert.same({ 404, true }, { answer.status, answer.body:find("start with --demo", 1, true) ~= nil })
  end)
end)
