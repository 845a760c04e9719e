--- The progress example in a real browser: batches that two tabs see alike, one that fails, one that is cancelled, an
--- upload, a server that is killed in the middle and started again, a visitor who comes after the end; in the light and
--- the dark, wide and on a phone.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = "examples/progress/app.lua"
local HOSTILE = "<img src=x onerror=alert(1)>"

describe("the progress page", function()
  local b, s, folder

  before_each(function()
    b = browser.start()
    folder = process.temp_dir()
  end)
  after_each(function()
    server.stop_all()
    b.stop()
    process.remove_dir(folder)
  end)

  local function start(port, ...)
    s = server.start { path = APP, port = port, args = { "--data", folder .. "/data", "--drain", "1", ... } }
  end

  local function open(width, scheme)
    local page = b.open(s.url .. "/", { width = width, height = 844, scheme = scheme })
    page.wait("document.querySelector('#status').dataset.state === 'open'", 20)
    return page
  end

  -- What pages complained about, apart from connections that this spec broke.
  local function complaints()
    local list = {}
    for _, line in ipairs(b.noise()) do
      if not line[3]:find("Failed to load resource: net::ERR_", 1, true) then list[#list + 1] = line[3] end
    end
    return list
  end

  local function begin(page, title, count, broken)
    page.fill("[name=title]", title)
    page.fill("[name=count]", tostring(count))
    page.eval("(on) => { document.querySelector('[name=broken]').checked = on }", broken or false)
    page.eval("document.querySelector('[name=count]').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#said').textContent.startsWith('Started')", 10)
  end

  local PART = "Number(document.querySelector('#running .bar').getAttribute('aria-valuenow'))"

  it("goes on when the server is killed in the middle: no bar stands still for ever", function()
    start()
    local one, other = open(1280, "light"), open(390, "dark")
    begin(one, "Invoices", 240)
    other.wait(PART .. " >= 10", 30)
    local port = s.port
    s.kill()
    for _, page in ipairs { one, other } do
      page.wait("document.querySelector('#status').dataset.state === 'waiting'", 20)
      assert.matches("waiting for the server", page.text("#running .about"))
    end
    local reached = one.eval(PART)
    start(port)
    for _, page in ipairs { one, other } do
      page.wait("(n) => " .. PART .. " > n", 60, reached)
      assert.matches("^invoice%-0%d%d%d$", page.text("#running .item-name"))
    end
    one.wait("document.querySelector('#running .rate').textContent.includes('items a second')", 20)
    for _, page in ipairs { one, other } do
      page.wait("document.querySelector('#ended [data-status=success]')", 120)
      assert.matches("240 items", page.text("#ended li"))
      assert.equal(0, page.eval("document.querySelectorAll('#running li').length"))
    end
    assert.same({}, complaints())
  end)

  it("forgets a bar of which the server knows nothing", function()
    start()
    local page = open(1280, "light")
    begin(page, "Lost", 1000)
    page.wait("document.querySelectorAll('#running li').length === 1", 20)
    local port = s.port
    s.kill()
    process.remove_dir(folder .. "/data")
    page.wait("document.querySelector('#status').dataset.state === 'waiting'", 20)
    start(port)
    page.wait("document.querySelectorAll('#running li').length === 0", 60)
    assert.same({}, complaints())
  end)

  it("shows several at a time and each end, to all tabs and to who comes late", function()
    start()
    local one, other = open(1280, "dark"), open(390, "light")
    begin(one, HOSTILE, 40, true)
    begin(one, "Long", 900)
    begin(other, "Short", 30)
    begin(other, "Waits", 30)
    http.request(s.port, "PUT", "/api/files/a%3Cb%3E.txt", { ["Content-Type"] = "text/plain" }, ("x"):rep(300000))
    for _, page in ipairs { one, other } do
      page.wait("document.querySelectorAll('#ended [data-status=success]').length === 3", 60)
      page.wait("document.querySelector('#ended [data-status=failed]')", 60)
      assert.matches("item 25 has no name", page.text("#ended [data-status=failed]"))
      assert.equal(0, page.eval("document.querySelectorAll('main img').length"))
      page.eval("void (window.lines = [...document.querySelectorAll('#ended li')])")
      assert.is_true(page.eval("document.documentElement.scrollWidth <= innerWidth"))
    end
    one.screenshot("build/progress-1280-dark.png")
    other.screenshot("build/progress-390-light.png")
    one.eval("document.querySelector('[aria-label=\"Cancel Long\"]').focus()")
    one.press("Enter")
    other.wait("document.querySelector('#ended [data-status=cancelled]')", 20)
    one.wait("document.querySelectorAll('#running li').length === 0", 20)
    for _, page in ipairs { one, other } do -- those that were there are still the same, behind the new one
      assert.is_true(page.eval("window.lines.every((li, i) => document.querySelectorAll('#ended li')[i + 1] === li)"))
    end
    for _, scheme in ipairs { "light", "dark" } do
      local late = open(scheme == "light" and 1280 or 390, scheme)
      late.wait("document.querySelectorAll('#ended li').length === 5", 20)
      late.wait([[[...document.querySelectorAll('#ended .about')].every((e) => e.textContent.includes(', took'))]], 20)
      assert.matches("cancelled at %d+ of 900", late.text("#ended li:first-child"))
      assert.matches("0.3 MB", late.text("#ended"), 1, true)
      late.close()
    end
    local port = s.port
    s.stop()
    start(port)
    one.wait("document.querySelector('#status').dataset.state === 'open'", 30)
    assert.equal(5, one.eval("document.querySelectorAll('#ended li').length"))
    assert.same({}, complaints())
  end)
end)
