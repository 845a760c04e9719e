--- Every page of the examples is accessible, as far as axe-core can tell: in both colour schemes, wide and on a phone.
local browser = require("spec.support.browser")
local lfs = require("lfs")
local server = require("spec.support.server")

local LIVE = "document.querySelector('#status')?.dataset.state === 'open'"
local READY = { -- when a page shows what it has to show
  dashboard = "document.querySelector('#log li')",
  notifications = "document.querySelector('#list li')",
  progress = "document.querySelector('#running li')",
  match = "document.querySelector('#events li')",
  stocks = LIVE,
  devices = "document.querySelector('#alerts li')",
  editor = "!document.querySelector('#text').disabled",
  monitoring = "document.querySelector('[data-metric=cpu] path')",
  chat = LIVE,
}

describe("the pages of the examples", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
  end)

  local function judge(pages)
    local found = b.run("spec/browser/axe.mjs",
      { pages = pages, widths = { 1280, 390 }, schemes = { "light", "dark" } }, 240)
    assert.equal("", table.concat(found, "\n"))
  end

  it("have no fault that axe-core knows", function()
    local hosts = {} -- a browser opens six connections to a host: each page has one of its own
    for name in pairs(READY) do hosts[#hosts + 1] = name .. ".localhost" end
    local showcase = server.start { path = "examples/showcase/app.lua",
      args = { "--demo", "--allow-host", table.concat(hosts, ",") } }
    local alerts = server.start { path = "examples/alerts/app.lua" }
    local pages = { { url = alerts.url .. "/", ready = "document.querySelectorAll('.gate').length === 3" },
      { url = showcase.url .. "/", ready = "document.querySelector('svg path')" } }
    local count = 0
    for name in lfs.dir("examples") do
      if READY[name] and lfs.attributes(("examples/%s/public/index.html"):format(name)) then
        local url = ("http://%s.localhost:%d/%s/"):format(name, showcase.port, name)
        pages[#pages + 1] = { url = url, ready = READY[name] }
      elseif lfs.attributes(("examples/%s/public/index.html"):format(name)) then
        count = count + 1
      end
    end
    assert.equal(2, count, "alerts and the showcase are the only pages that are named above")
    judge(pages)
  end)
end)
