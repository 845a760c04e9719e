--- Every page of the examples, and the console, is accessible, as far as axe-core can tell: in both colour schemes,
--- wide and on a phone.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local lfs = require("lfs")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

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

local KEY = ("k"):rep(40)

--- Something in every part of the console.
local TROUBLED = [[
local app = require("sluice").app()
app:event_type("tick", { description = "Time", automatic = true, channel = "ticks", example = { n = 1 } })
app:stream("/ticks", "ticks")
app:every(0.2, function() app:publish("ticks", "tick", { n = 1 }) end)
app:every(0.5, function() error("no such luck") end)
return app]]

describe("the pages of the examples, and the console", function()
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
    local troubled = server.start { app = TROUBLED, args = { "--admin-key", KEY } }
    http.post(troubled.port, "/-/reload", "", { Authorization = "Bearer " .. KEY })
    local reader = sse.connect(troubled.port, "/ticks")
    local console = troubled.url .. "/-/console"
    local pages = { { url = console, ready = "!document.querySelector('#door').hidden" },
      { url = console .. "#key=" .. KEY, ready = "document.querySelector('#clients .bar') && "
        .. "document.querySelector('#errors-list pre') && document.querySelector('#reloads-list li')" },
      { url = alerts.url .. "/", ready = "document.querySelectorAll('.gate').length === 3" },
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
    reader:close()
  end)
end)
