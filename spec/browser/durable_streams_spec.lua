--- npm's client of Durable Streams reads logs, and the reading cases of the protocol's conformance tests pass. The
--- writing half that these need is an app of its own: durable_streams/app.lua.
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local MODULES = lfs.currentdir() .. "/build/node"
local PACKAGES = MODULES .. "/node_modules/@durable-streams/"
local FOLDER = "spec/browser/durable_streams/"

-- What does not apply, by groups and by name: a log of Sluice is written by the app, which says what of the protocol's
-- writing half there is. All other tests have to pass; those of these that pass all the same are not looked at.
local GROUPS = {
  "Fork - ", -- PUT with Stream-Forked-From makes a log of another one
  "Idempotent Producer", -- POST with Producer-Id, -Epoch, -Seq: app:publish has idempotency
  "Reserved subscription APIs", -- webhooks, leases and acknowledgements of the protocol
  "TTL", -- PUT with Stream-TTL or Stream-Expires-At: app:channel has ttl
}
local NAMES = {
  "should enforce sequence ordering", -- POST with Stream-Seq, as the next ones
  "should enforce lexicographic seq ordering",
  "should allow lexicographic seq ordering",
  "should reject duplicate seq values",
  "should enforce case-sensitive seq ordering",
  "lexicographically ordered seq values are accepted",
  "out-of-order seq values are rejected",
  "concurrent writers with sequence numbers",
  "concurrent writers racing with incrementing seq values",
  "idempotent-close", -- closing with Producer-Id, as the next ones
  "close-with-different-body-dedup",
  "producer-state-survives-close",
}
local APPLY_AT_LEAST = 165 -- so that a list that leaves all out is no success

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log/:id", { history = 5000, ttl = false })
app:channel("short", { history = 10, ttl = false })
app:durable_stream("/log/:id", { channel = "log/:id", closes = "done" })
app:durable_stream("/short", "short")
app:post("/log/:id", function(req)
  for n = tonumber(req.query.from), tonumber(req.query.to) do
    app:publish("log/" .. req.params.id, "message", { n = n, text = ("x"):rep(tonumber(req.query.size or 10)) })
  end
  if req.query.done then app:publish("log/" .. req.params.id, "done", "") end
  return { ok = true }
end)
app:post("/short", function() for n = 1, 20 do app:publish("short", "message", { n = n }) end return { ok = true } end)
return app
]]

local function is_missing()
  local there = lfs.attributes(PACKAGES .. "client") and lfs.attributes(PACKAGES .. "server-conformance-tests")
  if there then return false end
  pending("build/node is not installed: make test does it")
  return true
end

local function escaped(text) return (text:gsub("[%(%)%.%[%]%*%+%-%?%^%$]", "\\%0")) end

-- A pattern of JavaScript for the names of those that apply.
local function those_that_apply()
  local list = {}
  for _, names in ipairs { GROUPS, NAMES } do
    for _, name in ipairs(names) do list[#list + 1] = escaped(name) end
  end
  return ("^(?!.*(%s)).*$"):format(table.concat(list, "|"))
end

describe("durable streams", function()
  after_each(server.stop_all)

  local function read(url, offset, live, wanted)
    local code, output = process.run({ "node", FOLDER .. "client.mjs", url, offset, live, tostring(wanted or 1) },
      { seconds = 60 })
    assert.equal(0, code, output)
    return json.decode(output)
  end

  local function assert_numbers(from, to, items)
    assert.equal(to - from + 1, #items)
    for i, item in ipairs(items) do assert.equal(from + i - 1, item.n) end
  end

  it("are read by npm's client: in pages, by long-poll, live, up to the end", function()
    if is_missing() then return end
    local s = server.start { app = APP }
    local function write(query) assert.equal(200, http.request(s.port, "POST", "/log/a?" .. query).status) end
    write("from=1&to=300&size=3000")
    local page = read(s.url .. "/log/a", "-1", "false")
    assert_numbers(1, 300, page.items)
    assert.is_true(page.upToDate)
    write("from=301&to=310")
    for _, live in ipairs { "long-poll", "sse", "true" } do
      assert_numbers(301, 310, read(s.url .. "/log/a", page.offset, live, 10).items)
    end
    write("from=311&to=320&done=1")
    for _, live in ipairs { "long-poll", "sse" } do -- ends by itself
      assert_numbers(1, 320, read(s.url .. "/log/a", "-1", live, 1000000).items)
    end
  end)

  it("tell npm's client what is lost", function()
    if is_missing() then return end
    local s = server.start { app = APP }
    http.request(s.port, "POST", "/short")
    local old = http.request(s.port, "GET", "/short").headers["stream-next-offset"]
    http.request(s.port, "POST", "/short")
    for _, live in ipairs { "false", "long-poll", "sse" } do
      assert.equal(410, read(s.url .. "/short", old, live).error.status, live)
    end
  end)

  it("conform", function()
    if is_missing() then return end
    local s = server.start { path = FOLDER .. "app.lua", args = { "--max-body", "1048576" } }
    local report = s.folder .. "/report.json"
    process.write_file(MODULES .. "/conformance.test.mjs", assert(process.read_file(FOLDER .. "conformance.test.mjs")))
    local code, output = process.run({ "env", "-C", MODULES, "SLUICE_URL=" .. s.url, "node",
      "node_modules/vitest/vitest.mjs", "run", "conformance.test.mjs", "-t", those_that_apply(), "--reporter=json",
      "--outputFile=" .. report, "--testTimeout=60000" }, { seconds = 500 })
    local passed, failed = 0, {}
    local text = assert(process.read_file(report), output)
    for _, file in ipairs(json.decode(text).testResults) do
      for _, test in ipairs(file.assertionResults) do
        if test.status == "passed" then passed = passed + 1
        elseif test.status == "failed" then failed[#failed + 1] = test.fullName .. ": " .. test.failureMessages[1] end
      end
    end
    assert.same({}, failed)
    assert.equal(0, code, output)
    assert.is_true(passed >= APPLY_AT_LEAST, passed .. " tests ran")
  end)
end)
