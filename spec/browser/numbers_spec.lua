--- Numbers from a real browser, through req:json and a publish, into a real browser: bit by bit.
--- $SLUICE_SPEC_FULL=1 sends a million in a thousand events.
local browser = require("spec.support.browser")
local server = require("spec.support.server")

local ARRAYS, SIZE = os.getenv("SLUICE_SPEC_FULL") and 1000 or 20, 1000

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("numbers", { history = 10 })
app:stream("/numbers", "numbers")
app:get("/", function() return 200, "<!doctype html><title>Numbers</title>", { ["Content-Type"] = "text/html" } end)
app:post("/numbers", function(req)
  local list = req:json()
  assert(app:publish("numbers", "list", list))
  return list
end)
return app
]]

describe("numbers of a page", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
  end)

  it("come back from the server with the same bits", function()
    local s = server.start { app = APP }
    local seen = b.run("spec/browser/numbers.mjs", { url = s.url, arrays = ARRAYS, size = SIZE, seed = 613 }, 1200)
    assert.same({}, seen.wrong)
    assert.same({ ARRAYS, ARRAYS * SIZE, ARRAYS // 10 * SIZE }, { seen.events, seen.doubles, seen.whole })
  end)
end)
