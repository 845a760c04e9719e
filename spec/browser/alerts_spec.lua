--- The alerts example in a real browser: rules that are edited while the page looks on.
local browser = require("spec.support.browser")
local process = require("spec.support.process")
local server = require("spec.support.server")

describe("the alerts page", function()
  local b, folder

  setup(function()
    b = browser.start()
    folder = process.temp_dir()
    assert.equal(0, (process.run({ "cp", "-r", "examples/alerts", "examples/look", folder })))
  end)
  teardown(function()
    b.stop()
    server.stop_all()
    process.remove_dir(folder)
  end)

  it("sees alerts fire, and errors, over one connection", function()
    local file = folder .. "/alerts/rules.lua"
    local rules = process.read_file(file)
    local s = server.start { path = folder .. "/alerts/app.lua", watch = true }
    local page = b.open(s.url .. "/")
    page.wait("alerts.events > 6", 10)
    assert.equal(0, page.eval("Object.keys(alerts.active).length"))

    process.write_file(file, (rules:gsub("90", "50")))
    page.wait("Object.keys(alerts.active).length === 3", 10)
    assert.equal("New rules, same connection.", page.text("#say"))
    assert.matches("^[%a ]+: The water stands high.*%d+%.%d %% when it began, limit 50$",
      page.text("#alerts li:nth-child(2)"))

    process.write_file(file, (rules:gsub("above = 90", "above = = 90")))
    page.wait("alerts.last && alerts.last.phase === 'load'", 10)
    assert.equal("rules.lua:3: unexpected symbol near '='", page.text("#fault"))
    assert.equal("generation 2 serves", page.text("#badge"))
    local events = page.eval("alerts.events")
    page.wait("(n) => alerts.events > n + 6", 10, events)
    assert.equal(3, page.eval("Object.keys(alerts.active).length"))

    process.write_file(file, (rules:gsub("above = 90", "above = 'high'")))
    page.wait("alerts.last.phase === 'check'", 10)
    assert.matches("high%-water: above is a number", page.text("#fault"))

    process.write_file(file, rules)
    page.wait("Object.keys(alerts.active).length === 0 && alerts.last.generation === 3", 10)
    assert.is_true(page.eval("document.getElementById('fault').hidden"))
    assert.equal("1", page.text("#connections"))
    assert.equal("open", page.eval("alerts.state"))
    assert.same({}, b.noise())
  end)

  it("fits a phone, in the dark too", function()
    local s = server.start { path = folder .. "/alerts/app.lua" }
    for _, scheme in ipairs { "light", "dark" } do
      local page = b.open(s.url .. "/", { width = 360, height = 800, scheme = scheme })
      page.wait("alerts.events > 6", 10)
      assert.is_true(page.eval("document.documentElement.scrollWidth <= 360"))
      page.close()
    end
  end)
end)
