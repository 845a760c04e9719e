--- The dashboard in a real browser, from a real server: figures that change, cuts that lose and
--- double nothing, a restart after which the page goes on by itself and says so.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local lfs = require("lfs")
local server = require("spec.support.server")

local APP = "examples/dashboard/app.lua"

describe("the dashboard", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(server.stop_all)

  -- What pages complained about, apart from connections that this spec broke.
  local function complaints()
    local list = {}
    for _, line in ipairs(b.noise()) do
      if not line[3]:find("Failed to load resource: net::ERR_", 1, true) then list[#list + 1] = line[3] end
    end
    return list
  end

  it("shows figures and follows them across cuts, with nothing lost or doubled", function()
    local s = server.start { path = APP }
    local seen = b.run("spec/browser/dashboard.mjs", { port = s.port, cuts = 2, blocked_ms = 2200 }, 90)
    assert.is_true(seen.witnessed)
    assert.same(seen.expected, seen.ids)
    assert.is_true(#seen.ids > 5)
    assert.same({}, seen.resets)
    assert.equal(3, seen.connections)
    assert.equal(2, seen.resumes)
    assert.same({ "Waiting for the server", "Waiting for the server" }, seen.waiting)
    assert.equal("open", seen.state)
    assert.equal("Live", seen.status)
    assert.same({ "Resumed: nothing was missed", "Connected again", "The connection broke" },
      { seen.log[1], seen.log[2], seen.log[3] })
    assert.equal(0, seen.blank)
    assert.same({}, complaints())
  end)

  it("is a page of the showcase, which is alice's without signing in", function()
    local s = server.start { path = "examples/showcase/app.lua", args = { "--demo" } }
    b.open(s.url .. "/").close()
    local page = b.open(s.url .. "/dashboard/")
    page.wait("dashboard.state === 'open' && dashboard.events > 1", 15)
    page.eval([[() => {
      window.told = []
      const source = new EventSource("/api/sse/connect")
      source.addEventListener("hello", () => { window.open_for_alice = true })
      source.addEventListener("notification", (e) => told.push(JSON.parse(e.data).message))
    }]])
    page.wait("window.open_for_alice === true", 10)
    local headers = { ["Content-Type"] = "application/json", ["X-API-Key"] = "your-api-key" }
    for _, user in ipairs { "bob", "alice" } do
      http.post(s.port, "/api/sse/notification", ('{"message":"For %s","user":"%s"}'):format(user, user), headers)
    end
    page.wait("told.length > 0", 10)
    assert.same({ "For alice" }, page.eval("told"))
    assert.same({}, complaints())
    page.close()
  end)

  it("goes on by itself when the server is killed and started again, and tells the reset", function()
    local s = server.start { path = APP }
    local page = b.open(s.url .. "/")
    page.wait("dashboard.state === 'open' && dashboard.events > 1", 10)
    local port, events = s.port, page.eval("dashboard.events")
    s.kill()
    page.wait("dashboard.state === 'waiting'", 10)
    local epoch = page.text("#epoch")
    assert.equal("Waiting for the server", page.text("#status-text"))
    server.start { path = APP, port = port }
    page.wait("dashboard.connections === 2 && dashboard.resets.length > 0", 20)
    assert.equal("epoch", page.eval("dashboard.resets[0].reason"))
    assert.equal("Reset: the server was restarted and counts anew", page.text("#log li:first-child span"))
    page.wait("(n) => dashboard.events > n + 1", 10, events)
    assert.equal("open", page.eval("dashboard.state"))
    page.wait("(old) => document.getElementById('epoch').textContent !== old", 5, epoch)
    assert.equal("once", page.text("#resets"))
    assert.same({}, complaints())
    page.close()
  end)

  it("fits a phone and a desk, light and dark, and needs nothing from elsewhere", function()
    local s = server.start { path = APP }
    for name, size in pairs { desk = { 1280, 800 }, phone = { 390, 844 }, narrow = { 320, 640 } } do
      for _, scheme in ipairs { "light", "dark" } do
        local page = b.open(s.url .. "/", { width = size[1], height = size[2], scheme = scheme })
        page.wait("dashboard.events > 1", 10)
        page.wait("document.querySelector('[data-metric=cpu] .chart path')", 5)
        assert.equal(0, page.eval("document.documentElement.scrollWidth - window.innerWidth"), name)
        assert.equal(0, page.eval("document.querySelectorAll('script:not([src]), style, [style*=url]').length"))
        assert.is_true(page.eval(("performance.getEntriesByType('resource').every((e) => e.name.startsWith('%s/'))")
          :format(s.url)))
        page.screenshot(("%s/build/dashboard-%s-%s.png"):format(lfs.currentdir(), name, scheme))
        page.close()
      end
    end
    assert.same({}, complaints())
  end)
end)
