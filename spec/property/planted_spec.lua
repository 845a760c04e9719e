--- The property test must find each planted bug. The module with the bugs is built into
--- build/planted and run in a process of its own, since it has the name of the real one.
local bugs = require("spec.property.planted")
local planted = require("spec.support.planted")

local SEEDS = 1500

local function hunt(bug, seeds, worlds_of)
  return planted.run("spec/property/hunt.lua", tostring(bug), tostring(seeds), tostring(worlds_of or bug))
end

describe("the property test", function()
  lazy_setup(function() planted.build("core", "core/testing") end)

  it("finds nothing when no bug is active", function()
    local code, output = hunt(0, 60)
    assert.equal(0, code, output)
    local done = {}
    for bug, kind in pairs(bugs.worlds) do
      if not done[kind] then
        code, output = hunt(0, 60, bug)
        assert.equal(0, code, output)
      end
      done[kind] = true
    end
  end)

  for bug, what in ipairs(bugs) do
    it("finds this one: " .. what, function()
      local code, output = hunt(bug, SEEDS)
      assert.equal(1, code, output)
      assert.truthy(output:find("seed %d+, step"), output)
    end)
  end
end)
