--- Lists that the API returns are arrays in JSON, also when they are empty.
local kit = require("spec.support.kit")
local json = require("sluice.json")

local APP = [[
  local system = require("sluice.system").new(app)
  app:channel("log", { history = 10 })
  app:stream("/log", "log")
  app:get("/lists", function(req)
    local parser = require("sluice.eventstream").new()
    return { history = app:history("log"), channels = app:channels("none/*"), slowest = app:slowest(3),
      query = req:list("x"), parsed = parser:feed(":\n"), services = system:sample().services }
  end)
]]

describe("a list of the API", function()
  after_each(kit.stop_all)

  it("is [] in JSON when it is empty", function()
    local t = kit.start(APP)
    local lists = t:get("/lists?x=")
    assert.equal(200, lists.status)
    local n = 0
    for name in pairs(lists.json) do
      assert.truthy(lists.body:find(('"%s":[]'):format(name), 1, true), lists.body)
      n = n + 1
    end
    assert.equal(6, n)
    local c = t:connect("/log")
    for name, list in pairs { requests = t:requests(), log = t:log("debug"), events = c:events("none") } do
      assert.equal("[]", json.encode(list), name)
    end
  end)
end)
