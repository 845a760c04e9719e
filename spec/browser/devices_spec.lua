--- The devices example in a real browser: a house that moves, limits that are changed by keyboard and seen on another
--- page, a hostile name, an alert that is acknowledged, a device that falls silent, a restart in the middle; in the
--- light and the dark, wide and on a phone.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = "examples/devices/app.lua"
local NAME = "<img src=x onerror=alert(1)>\u{202e} Tank"

describe("the devices page", function()
  local b, folder

  setup(function()
    b = browser.start()
    folder = process.temp_dir()
  end)
  teardown(function()
    b.stop()
    process.remove_dir(folder)
  end)
  after_each(server.stop_all)

  -- While a busy machine starts the server again, Chromium notes each connection that is refused.
  local function complaints()
    local list = {}
    for _, line in ipairs(b.noise()) do
      if not line[3]:find("net::ERR_CONNECTION_REFUSED", 1, true) then list[#list + 1] = line[3] end
    end
    return list
  end

  local function settled(id)
    return ("Object.values(page.devices.get('%s').sliders).every((slider) => slider.settled)"):format(id)
  end

  local function fits(page) return page.eval("document.documentElement.scrollWidth <= innerWidth") end

  it("shows a house that moves, each device at its place, with the last minutes", function()
    local s = server.start { path = APP, args = { "--demo", "--data", folder .. "/house" } }
    for i, scheme in ipairs { "light", "dark", "light", "dark" } do
      local width = i <= 2 and 1280 or 390
      local page = b.open(s.url .. "/", { width = width, height = 844, scheme = scheme })
      page.wait("document.querySelectorAll('#pins li').length === 8", 20)
      page.wait("document.querySelectorAll('.choose .line').length >= 8", 20)
      page.wait("page.devices.get('rack').points.length > 60", 10)
      assert.is_true(fits(page))
      local off = page.eval([[[...document.querySelectorAll('#pins li')].filter((pin) => {
        const floor = document.querySelector('.floor').getBoundingClientRect(), box = pin.getBoundingClientRect();
        return box.left < floor.left || box.right > floor.right || box.top < floor.top || box.bottom > floor.bottom;
      }).length]])
      assert.equal(0, off)
      page.screenshot(("build/devices-%d-%s.png"):format(width, scheme))
      page.close()
    end
    local one, other = b.open(s.url .. "/?device=rack"), b.open(s.url .. "/?device=rack")
    for _, page in ipairs { one, other } do page.wait("page.chosen === 'rack' && page.devices.get('rack').last", 20) end
    local function steps(page, key, n)
      page.eval("document.querySelector('#limit').focus()")
      for _ = 1, n do page.press(key) end
    end
    local function says(page) return page.text("#limit-text") .. " " .. page.text("#gap-text") end
    steps(one, "ArrowRight", 20)
    one.wait("document.querySelector('#saved').textContent.includes('Saved: alert above 45')", 10)
    assert.equal("45 °C", one.eval("document.querySelector('#limit').getAttribute('aria-valuetext')"))
    other.wait("document.querySelector('#saved').textContent.includes('Changed elsewhere: alert above 45')", 10)
    assert.equal("45 °C 42 °C", says(other))
    for _ = 1, 10 do
      steps(one, "ArrowLeft", 2)
      steps(other, "ArrowRight", 1)
    end
    for _, page in ipairs { one, other } do page.wait(settled("rack"), 10) end
    local last = b.open(s.url .. "/?device=rack")
    last.wait("page.chosen === 'rack'", 20)
    for _, page in ipairs { one, other } do
      page.wait("(text) => document.querySelector('#limit-text').textContent === text", 10, last.text("#limit-text"))
      assert.equal(says(last), says(page))
    end
    last.close()

    local thumb = one.eval([[() => {
      const { value, min, max } = document.querySelector("#limit");
      return (value - min) / (max - min);
    }]])
    one.drag("#limit", { thumb, 0.95, thumb }) -- says no "change"
    one.wait(settled("rack"), 10)
    steps(other, "ArrowRight", 3)
    one.wait("(text) => document.querySelector('#limit-text').textContent === text", 10, other.text("#limit-text"))
    assert.same({}, b.noise())

    local before = says(one)
    b.offline(true)
    steps(one, "ArrowRight", 2)
    one.wait("document.querySelector('#saved').textContent.startsWith('Not saved: the server does not answer')", 10)
    assert.equal(before, says(one))
    b.offline(false)
    for _, page in ipairs { one, other } do
      page.wait("document.querySelector('#status').dataset.state === 'open'", 30)
    end
    steps(one, "ArrowRight", 2)
    one.wait("document.querySelector('#saved').textContent.startsWith('Saved')", 10)
    other.wait("(text) => document.querySelector('#limit-text').textContent === text", 10, one.text("#limit-text"))
    b.noise() -- of the requests that failed
    one.eval("[...document.querySelectorAll('.pin')].find((pin) => pin.textContent.startsWith('Bedroom')).focus()")
    one.press("Enter")
    one.wait("page.chosen === 'bedroom'", 10)
    assert.equal("Bedroom", one.text("#name"))
    one.close()
    other.close()
    assert.same({}, b.noise())
  end)

  local function start(data, port)
    return server.start { path = APP, port = port, args = { "--data", folder .. data, "--drain", "1" } }
  end

  local function post(s, path, body, key)
    return http.post(s.port, "/api/devices/" .. path, json.encode(body),
      { ["Content-Type"] = "application/json", ["X-Device-Key"] = key })
  end

  it("saves each slider alone, and says what was refused", function()
    local s = start("/sliders")
    post(s, "oven", { limit = 80, clear = 75 })
    post(s, "cold", { limit = -95, clear = -98 })
    local pages = {}
    for i, id in ipairs { "limit", "gap" } do
      pages[i] = b.open(s.url .. "/?device=oven")
      pages[i].wait("page.chosen === 'oven'", 20)
      pages[i].eval(("document.querySelector('#%s').focus()"):format(id))
    end
    for _ = 1, 10 do
      for _, page in ipairs(pages) do page.press("ArrowRight") end
    end
    for _, page in ipairs(pages) do
      page.wait(settled("oven"), 10)
      page.wait("document.querySelector('#limit-text').textContent === '85 °C'", 10)
      page.wait("document.querySelector('#gap-text').textContent === '75 °C'", 10)
      assert.matches(": alert above 85 °C, over at 75 °C.", page.text("#saved"), 1, true)
    end
    pages[2].close()
    local page = pages[1]
    page.eval("[...document.querySelectorAll('.pin')].find((pin) => pin.textContent.startsWith('cold')).click()")
    page.wait("page.chosen === 'cold'", 10)
    page.eval("document.querySelector('#gap').focus()")
    page.press("End")
    page.wait("document.querySelector('#saved').textContent.startsWith('Not saved: clear: -100 degrees or more')", 10)
    assert.matches("It is still: alert above −95 °C, over at −98 °C.", page.text("#saved"), 1, true)
    assert.equal("−98 °C", page.text("#gap-text"))
    page.close()
    b.noise() -- of the request that was refused
  end)

  it("shows alerts until they are over, whoever looks, over a restart", function()
    local s = start("/data")
    local pages = {}
    for i, scheme in ipairs { "light", "dark" } do
      pages[i] = b.open(s.url .. "/", { width = i == 1 and 1280 or 390, height = 844, scheme = scheme })
      pages[i].wait("document.querySelector('#status').dataset.state === 'open'", 20)
    end
    local function all(js, seconds)
      for _, page in ipairs(pages) do page.wait(js, seconds or 10) end
    end
    local key = json.decode(post(s, "tank", { limit = 80, name = NAME }).body).key
    local function reading(t)
      assert.equal(202, post(s, "tank/telemetry", { temperature = t, battery = 50 }, key).status)
    end
    all("document.querySelectorAll('#pins li').length === 1")
    reading(81)
    reading(79)
    all("document.querySelector('#alerts [data-rule=temperature]')")
    all("document.querySelector('#degrees').textContent === '79.0'")
    assert.equal(NAME, pages[1].text("#name"))
    assert.equal(0, pages[1].eval("document.querySelectorAll('main img').length"))
    for _, page in ipairs(pages) do assert.is_true(fits(page)) end
    pages[1].click("#alerts button")
    all("document.querySelector('#alerts .item.seen')?.textContent.includes('acknowledged')")
    local port = s.port
    s.stop()
    s = start("/data", port)
    all("document.querySelector('#status').dataset.state === 'open'", 30)
    reading(74)
    all("document.querySelectorAll('#alerts li').length === 0")
    assert.matches("is back at 74.0", pages[2].text("#log"), 1, true)
    all("document.querySelector('#alerts [data-rule=offline]')", 60)
    all("document.querySelector('#state').textContent === 'silent'")
    assert.matches("silent$", pages[1].text(".pin"))
    pages[1].screenshot("build/devices-silent.png")
    reading(75)
    all("document.querySelectorAll('#alerts li').length === 0")
    assert.same({}, complaints())
  end)
end)
