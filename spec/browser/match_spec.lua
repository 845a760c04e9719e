--- The match example in a real browser: what was there before the page, live, and after a break; read in
--- the light and the dark, wide and on a phone.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")

local HEADERS = { ["Content-Type"] = "application/json", ["X-API-Key"] = "k" }

describe("the match page", function()
  local b, s

  setup(function()
    b = browser.start()
    s = server.start { path = "examples/match/app.lua", env = { DESK_KEY = "k" } }
  end)
  teardown(function()
    b.stop()
    server.stop_all()
  end)

  local function post(path, body)
    assert.equal(202, http.post(s.port, path, json.encode(body), HEADERS).status)
  end

  it("shows a late visitor the score, the words and the last twenty news, then goes on live", function()
    assert.equal(200, http.request(s.port, "PUT", "/api/matches/7", HEADERS, "{}").status)
    post("/api/matches/7/goals", { team = "home", player = "Smith" })
    post("/api/matches/7/goals", { team = "away", player = "Ito" })
    post("/api/matches/7/goals", { team = "home", player = "Okafor" })
    for i = 1, 30 do
      post("/api/matches/7/commentary", { text = ("Line %d: a pass into the box, cleared at last."):format(i) })
    end
    for i = 1, 25 do post("/api/news", { title = "News " .. i, text = "<b>Rain</b> is on its way" }) end
    for i, scheme in ipairs { "light", "dark", "light", "dark" } do
      local width = i <= 2 and 1280 or 390
      local page = b.open(s.url .. "/", { width = width, height = 844, scheme = scheme })
      page.wait("document.querySelectorAll('#news li').length === 20", 10)
      page.wait("document.querySelectorAll('#commentary li').length >= 30", 10)
      assert.equal("21", page.text("#home") .. page.text("#away"))
      assert.equal("Match 7, live", page.text("#status"))
      assert.matches("News 25 <b>Rain</b>", page.text("#news li"), 1, true)
      assert.is_true(page.eval("document.documentElement.scrollWidth <= innerWidth"))
      page.screenshot(("build/match-%d-%s.png"):format(width, scheme))
      if i == 4 then
        post("/api/news", { title = "Late", text = "x" })
        page.wait("document.querySelector('#news li').textContent.includes('Late')", 10)
      end
      page.close()
    end
    assert.same({}, b.noise())
  end)
end)
