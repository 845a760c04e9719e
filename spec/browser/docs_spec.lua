--- The pages that `make docs` makes, in a browser, from the disk: the search finds, keys suffice, and without a script
--- all of it can be read.
local browser = require("spec.support.browser")
local process = require("spec.support.process")

local HAS_TOOLS = (process.run("command -v ldoc && command -v cmark-gfm")) == 0

describe("the pages of the documents", function()
  local b, folder, url

  setup(function()
    if not HAS_TOOLS then return end
    b, folder = browser.start(), process.temp_dir()
    local code, output = process.run { "lua5.4", ".ci/docs/build.lua", folder .. "/docs" }
    assert.equal(0, code, output)
    url = "file://" .. folder .. "/docs/"
  end)
  teardown(function()
    if not b then return end
    b.stop()
    process.remove_dir(folder)
  end)

  local function search(page, words)
    page.fill("#search input", words)
    page.wait("document.querySelectorAll('#found a').length > 0", 10)
    return page.eval("[...document.querySelectorAll('#found a')].map((a) => a.firstChild.textContent)")
  end

  it("are searched for functions, options and sentences, and a key leads there", function()
    if not HAS_TOOLS then return pending("lua-ldoc or cmark-gfm is not installed") end
    local page = b.open(url .. "api/channels.html")
    assert.equal("app:publish", search(page, "publish")[1])
    assert.equal("app:publish", search(page, "app:publish(")[1])
    assert.equal("Why a reset", search(page, "why a reset")[1])
    assert.equal("sluice.JobsOptions", search(page, "jobsoptions")[1])
    search(page, "rooms:kick")
    page.press("Enter")
    page.wait("location.href.endsWith('/reference/rooms.html#Rooms:kick')", 10)
    page.wait("!!document.getElementById('Rooms:kick')", 10)
    assert.same({}, b.noise())
  end)

  it("have no fault that axe-core knows", function()
    if not HAS_TOOLS then return pending("lua-ldoc or cmark-gfm is not installed") end
    local pages = {}
    for i, path in ipairs { "reference/hub", "api/channels" } do
      pages[i] = { url = url .. path .. ".html", ready = "document.querySelector('#search input')" }
    end
    local found = b.run("spec/browser/axe.mjs", { pages = pages, widths = { 1280 }, schemes = { "light", "dark" } }, 60)
    assert.equal("", table.concat(found, "\n"))
  end)

  it("are reached by keys, fit a phone, and show the dark", function()
    if not HAS_TOOLS then return pending("lua-ldoc or cmark-gfm is not installed") end
    local page = b.open(url .. "reference/app.html", { width = 390, height = 844, scheme = "dark" })
    page.press("/")
    page.wait("document.activeElement.type === 'search'", 5)
    page.fill("#search input", "jobs start")
    page.wait("document.querySelectorAll('#found a').length > 0", 10)
    page.press("ArrowDown")
    page.wait("document.activeElement.href.includes('Jobs:start')", 5)
    page.press("Escape")
    page.wait("document.getElementById('found').hidden", 5)
    assert.is_true(page.eval("document.documentElement.scrollWidth <= 390"))
    if os.getenv("SHOT") then page.screenshot(os.getenv("SHOT") .. "/phone.png") end
  end)
end)
