--- The stocks example in a real browser: fewer events and bytes by the slider, other symbols by the
--- picker, and what was skipped counted.
local browser = require("spec.support.browser")
local server = require("spec.support.server")

describe("the stocks page", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
  end)

  local RATE = "([i]) => { const r = document.getElementById('rate'); r.value = i;"
    .. " r.dispatchEvent(new Event('change')) }"

  local function set_rate(page, place, rate)
    page.eval(RATE, { place })
    page.wait("(text) => document.getElementById('status').textContent === text", 10,
      ("Live, at most %s a second"):format(rate))
  end

  it("shows fifty symbols, and gets fewer events at a lower rate", function()
    local s = server.start { path = "examples/stocks/app.lua" }
    local page = b.open(s.url .. "/")
    page.wait("[...stocks.values()].filter((s) => s.points.length > 3).length === 50", 15)
    assert.equal("Live, at most 2 a second", page.text("#status"))
    page.wait("document.getElementById('total').textContent.length > 2", 10)
    page.wait("Number(document.getElementById('bytes').textContent) > 0", 10)
    page.screenshot("build/stocks-light.png")

    set_rate(page, 0, "0.5")
    -- one turn of two seconds: fifty of four thousand
    page.wait("() => { const n = (id) => Number(document.getElementById(id).textContent);"
      .. " return n('events') > 0 && n('events') <= 60 && n('skipped') > 2000 }", 20)
    page.click("summary")
    page.click("#few")
    page.wait("document.querySelectorAll('.symbols .card').length === 3", 10)
    page.wait("[...stocks.values()].every((s) => s.n > 0)", 10)
    assert.same({ "ACME", "NOVA", "VOLT" }, page.eval("[...stocks.keys()]"))
    set_rate(page, 5, "20")
    page.wait("stocks.get('ACME').points.length === 60", 20)
    assert.same({}, b.noise())
    page.close()
  end)

  it("is read in the dark, and on a phone", function()
    local s = server.start { path = "examples/stocks/app.lua" }
    local page = b.open(s.url .. "/", { width = 390, height = 844, scheme = "dark" })
    page.wait("[...stocks.values()].filter((s) => s.points.length > 8).length === 50", 20)
    assert.is_true(page.eval("document.documentElement.scrollWidth <= innerWidth"))
    page.screenshot("build/stocks-phone.png")
    assert.same({}, b.noise())
  end)
end)
