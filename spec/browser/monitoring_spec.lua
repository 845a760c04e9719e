--- The monitoring example in a real browser: an alert that is there before the page, acknowledged on one page and seen
--- so on another, and over; in the light and the dark, wide and on a phone.
local browser = require("spec.support.browser")
local server = require("spec.support.server")
local socket = require("socket")

describe("the monitoring page", function()
  local b, listener

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
    if listener then listener:close() end
  end)

  it("shows what is wrong until it is over, and who has seen it", function()
    local held = assert(socket.bind("127.0.0.1", 0))
    local address = ("127.0.0.1:%d"):format((select(2, held:getsockname())))
    held:close()
    local s = server.start { path = "examples/monitoring/app.lua", env = { SSH = address } }
    local pages = {}
    for i, scheme in ipairs { "light", "dark" } do
      pages[i] = b.open(s.url .. "/", { width = i == 1 and 1280 or 390, height = 844, scheme = scheme })
      pages[i].wait("document.querySelector('#alerts [data-rule=service]')", 30)
      pages[i].wait("document.querySelector('[data-metric=cpu] .chart path')", 10)
      assert.matches("stopped", pages[i].text("#services li"))
      assert.matches("A service does not run", pages[i].text("#alerts"))
      assert.is_true(pages[i].eval("document.documentElement.scrollWidth <= innerWidth"))
      pages[i].screenshot(("build/monitoring-%s.png"):format(scheme))
      pages[i].eval("void (window.service = document.querySelector('#services li'))")
    end
    pages[1].click("[aria-label='Acknowledge: A service does not run']")
    for _, page in ipairs(pages) do
      page.wait("document.querySelector('#alerts [data-rule=service]').textContent.includes('acknowledged')", 10)
    end
    listener = assert(socket.bind("127.0.0.1", tonumber(address:match("%d+$"))))
    for _, page in ipairs(pages) do
      page.wait("!document.querySelector('#alerts [data-rule=service]')", 60)
      page.wait("window.service.textContent.includes('running')", 30) -- the same line, written anew
      assert.is_true(page.eval("document.querySelector('#services li') === window.service"))
      assert.matches("Over: A service does not run", page.text("#log"))
    end
    assert.same({}, b.noise())
  end)
end)
