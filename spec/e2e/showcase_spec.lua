--- examples/showcase as `make run` serves it, asked by curl: the line that the document shows, as it
--- stands there; a page's session; what is valid with --demo only.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local PATH = "examples/showcase/app.lua"
local PORT = 5121 -- of the line
local ENDPOINTS = { "notification", "alert", "data-update", "heartbeat", "broadcast", "send/x", "send-announcement",
  "broadcast-maintenance" }

local function connect(s, path, cookie)
  local c = sse.connect(s.port, path, { headers = { Cookie = cookie } })
  if c.is_stream then assert(c:wait_for("hello")) end
  return c
end

local function post(s, path, body, key)
  local headers = { ["Content-Type"] = "application/json", ["X-API-Key"] = key }
  return http.post(s.port, "/api/sse/" .. path, json.encode(body), headers)
end

describe("the showcase", function()
  after_each(function() process.stop_all() end)

  it("answers the curl line of the page about use cases", function()
    local line = tree.read("doc/use-cases.md"):match("\n`(curl [^`]+)`\n"):gsub("\n", " ")
    assert.truthy(line:find("http://localhost:" .. PORT, 1, true), line)
    local up, s = pcall(server.start, { path = PATH, port = PORT, args = { "--demo" } })
    if not up then return pending("port 5121 is taken") end
    local c = connect(s, "/api/sse/connect")
    local code, output = process.run((line:gsub("^curl", "curl -sS")))
    assert.equal(0, code, output)
    local answer = json.decode(output)
    assert.same({ 1, false }, { answer.subscribers, answer.duplicate })
    local event = assert(c:wait_for("notification"))
    assert.equal(answer.id, event.id)
    local data = json.decode(event.data)
    assert.same({ "Test notification", "info" }, { data.message, data.severity })
    c:close()
  end)

  it("signs in whoever opens its page, and shows the figures and what is for alice", function()
    local s = server.start { path = PATH, args = { "--demo" } }
    local first = http.get(s.port, "/")
    local cookie = first.headers["set-cookie"]:match("^[^;]+")
    assert.same({ 302, "/index.html" }, { first.status, first.headers.location })
    assert.truthy(http.get(s.port, "/index.html", { Cookie = cookie }).body:find("<html", 1, true))
    assert(connect(s, "/api/dashboard-metrics", cookie):wait_for("metrics-update"))
    local page, stranger = connect(s, "/api/sse/connect", cookie), connect(s, "/api/sse/connect")
    local told = post(s, "notification", { message = "For you", user = "alice" }, "your-api-key")
    assert.same({ 202, 1 }, { told.status, json.decode(told.body).subscribers })
    assert.equal("For you", json.decode(assert(page:wait_for("notification")).data).message)
    assert.equal(202, post(s, "broadcast", { eventType = "end" }, "your-api-key").status)
    local next_event = assert(stranger:next_event(5))
    assert.equal("end", next_event.event)
    assert.equal(401, post(s, "notification", { message = "x" }).status)
    assert.equal(401, post(s, "notification", { message = "x" }, "another-key").status)
    assert.equal(403, http.post(s.port, "/api/sse/notification", '{"message":"x"}',
      { ["Content-Type"] = "application/json", Cookie = cookie }).status)
    assert.truthy(s.log():find("your-api-key is valid", 1, true))
  end)

  it("knows nobody without --demo", function()
    local s = server.start { path = PATH, args = { "--data", process.temp_dir() } }
    for _, path in ipairs(ENDPOINTS) do
      assert.equal(401, post(s, path, { message = "x", startTime = "3:00" }, "your-api-key").status, path)
      assert.equal(401, post(s, path, { message = "x", startTime = "3:00" }).status, path)
    end
    for _, path in ipairs { "/api/sse/connect", "/api/sse/event-types", "/api/dashboard-metrics" } do
      assert.equal(401, http.get(s.port, path).status, path)
      assert.is_nil(http.get(s.port, "/").headers["set-cookie"])
    end
    assert.falsy(s.log():find("your-api-key", 1, true))
  end)

  it("shows itself on this machine only", function()
    local code, log = server.run_to_end { path = PATH, args = { "--demo", "--host", "0.0.0.0" } }
    assert.equal(2, code)
    assert.matches("%-%-demo: its keys are known to everybody", log)
  end)

  it("is what make run serves", function()
    local line = tree.read("Makefile"):match("\nrun:[^\n]- exec ([^\n]+)")
    assert.matches("^build/bin/sluice demo %-%-host %$%(.*HOST.*%) %-%-port %$%(.*PORT.*%)$", line)
  end)

  it("takes keys from a file, where it is no demo", function()
    local folder = process.temp_dir()
    local hash = tree.read(PATH):match('hash = "(%x+)"')
    process.write_file(folder .. "/keys.json", json.encode { { id = "ops", roles = { "publisher" }, hash = hash } })
    local s = server.start { path = PATH, args = { "--data", folder .. "/data" },
      env = { KEYS = folder .. "/keys.json" } }
    local c = sse.connect(s.port, "/api/sse/connect", { headers = { ["X-API-Key"] = "your-api-key" } })
    assert.equal(202, post(s, "notification", { message = "x" }, "your-api-key").status)
    assert(c:wait_for("notification"))
    assert.equal(403, post(s, "broadcast-maintenance", { startTime = "3:00" }, "your-api-key").status)
    deadline.eventually(function() return s.log():find('"maintenance announced"', 1, true) end, 5)
    process.remove_dir(folder)
  end)
end)
