--- Which stream route an open stream belongs to: the one that it was opened with, whatever
--- routes a reload puts in front of it.
local testing = require("sluice.testing")

local APP = [[
  local sluice = require("sluice")
  local app = sluice.app()
  app:stream("/:kind/:id", { channels = { "log" }, meta = { route = "general" } })
  %s
  app:get("/see", function()
    local out = {}
    for client in app:clients() do out[#out + 1] = { client.meta.route or "none", client.params.kind or "none" } end
    return out
  end)
  return app]]

local SPECIAL = [[app:stream("/match/:id", { channels = { "log" }, meta = { route = "special" } })]]

local function see(t)
  return t:get("/see").json
end

describe("the route of an open stream", function()
  it("is the one that it was opened with, when a reload adds one that fits better", function()
    local t <close> = testing.start({ source = APP:format("") })
    t:connect("/match/7")
    assert.same({ { "general", "match" } }, see(t))
    assert.is_true(t:reload(APP:format(SPECIAL)))
    assert.same({ { "general", "match" } }, see(t))
    t:connect("/match/8")
    local rows = see(t)
    table.sort(rows, function(a, b) return a[1] < b[1] end)
    assert.same({ { "general", "match" }, { "special", "none" } }, rows)
  end)

  it("is found by its path when a reload takes that route away", function()
    local t <close> = testing.start({ source = APP:format(SPECIAL) })
    t:connect("/match/7")
    assert.same({ { "special", "none" } }, see(t))
    assert.is_true(t:reload(APP:format("")))
    assert.same({ { "general", "match" } }, see(t))
  end)
end)
