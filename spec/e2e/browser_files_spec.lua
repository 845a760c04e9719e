--- /sluice.js and what belongs to it, as every app serves them.
local live = require("spec.support.live")
local process = require("spec.support.process")

local NAMES = { "sluice.js", "sluice.share.js", "sluice.legacy.js" }
local GUARD = [[app:guard("/**", function() return 401 end)
app:get("/**", function() return "any page" end)]]

describe("what a page loads of Sluice", function()
  after_each(live.stop_all)

  it("is served by every app, to anybody and to pages of other origins", function()
    local s = live.start(GUARD)
    for _, name in ipairs(NAMES) do
      local answer = s.get("/" .. name, { Origin = "https://a.example" })
      assert.equal(process.read_file("lua/sluice/browser/" .. name), answer.body)
      assert.same({ 200, "text/javascript; charset=utf-8", "*", "no-cache" },
        { answer.status, answer.headers["content-type"], answer.headers["access-control-allow-origin"],
          answer.headers["cache-control"] })
      assert.equal(304, s.get("/" .. name, { ["If-None-Match"] = answer.headers.etag }).status)
    end
    assert.equal(401, s.get("/sluice.d.ts").status)
  end)

  it("is the app's own where it has a route or a file of that path, and its rules for origins", function()
    local s = live.start([[
      app:cors("/*", { origins = { "https://c.example" } })]])
    assert.equal("https://c.example",
      s.get("/sluice.js", { Origin = "https://c.example" }).headers["access-control-allow-origin"])
    live.stop_all()
    s = live.start([[app:get("/sluice.js", function() return "mine" end)]])
    assert.equal("mine", s.get("/sluice.js").body)
  end)
end)
