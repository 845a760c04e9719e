--- The notifications example in a real browser: signing in, what is unread, acknowledged on another page, offline
--- and back, a server that is killed, an escalation; in the light and the dark, wide and on a phone.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")
local process = require("spec.support.process")

describe("the notifications page", function()
  local b, s, folder, cookie

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
    if folder then process.remove_dir(folder) end
  end)

  local function start(port)
    s = server.start { path = "examples/notifications/app.lua", env = { SESSION_SECRET = ("s"):rep(32) },
      args = { "--data", folder .. "/data", "--port", tostring(port or 0) } }
  end

  local function post(path, body)
    return http.post(s.port, path, json.encode(body), { ["Content-Type"] = "application/json", ["Cookie"] = cookie })
  end

  local function send(message, severity)
    assert.equal(202, post("/api/messages", { to = "ann", message = message, severity = severity }).status)
  end

  local function has(page, n) page.wait("(n) => document.querySelectorAll('#list li').length === n", 20, n) end

  it("shows what is unread until it is acknowledged, anywhere", function()
    folder = process.temp_dir()
    start()
    cookie = post("/session", { name = "ben" }).headers["set-cookie"]:match("^[^;]+")
    local wide = b.open(s.url .. "/", { width = 1280, height = 844, scheme = "light" })
    wide.wait("document.querySelector('#status').textContent === 'Not signed in'", 10)
    wide.fill("#sign-in input", "ann")
    wide.click("#sign-in button")
    wide.wait("document.querySelector('#status').dataset.state === 'open'", 20)
    local phone = b.open(s.url .. "/", { width = 390, height = 844, scheme = "dark" })
    phone.wait("document.querySelector('#status').dataset.state === 'open'", 20)
    send("<b>Hello</b>")
    send("Disk full", "high")
    has(wide, 2)
    has(phone, 2)
    assert.equal("2", wide.text("#count"))
    assert.truthy(wide.text("#list"):find("<b>Hello</b>", 1, true))
    assert.is_true(phone.eval("document.documentElement.scrollWidth <= innerWidth"))
    wide.screenshot("build/notifications-1280-light.png")
    phone.screenshot("build/notifications-390-dark.png")
    phone.eval([[async () => { // off, on and off again before any answer: what was asked last counts
      for (let i = 0; i < 3; i += 1) document.querySelector("#line").click();
      for (let i = 0; i < 3; i += 1) await fetch("/api/me");
    }]])
    assert.equal("Offline", phone.text("#status"))
    wide.click("#list li:last-child button")
    has(wide, 1)
    send("While you were away", "warning")
    has(wide, 2)
    phone.click("#line")
    phone.wait("document.querySelector('#list').textContent.includes('While you were away')", 20)
    has(phone, 2)
    wide.click("#all")
    has(wide, 0)
    has(phone, 0)
    send("Fire", "critical")
    phone.wait("document.querySelector('.step')?.textContent.includes('step 1')", 40)
    local port = s.port
    s.kill()
    start(port)
    send("After the kill")
    has(wide, 2)
    has(phone, 2)
    wide.click("#sign-out")
    wide.wait("document.querySelector('#signed-in').hidden", 20)
    wide.close()
    phone.close()
  end)
end)
