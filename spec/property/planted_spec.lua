--- The property test must find each planted bug. The module with the bugs is built into
--- build/planted and run in a process of its own, since it has the name of the real one.
local bugs = require("spec.property.planted")
local planted = require("spec.support.planted")

local SEEDS = 1500
local FULL = os.getenv("SLUICE_SPEC_FULL")
local RARE = { [13] = true } -- it shows after a thousand seeds: hunted at full size only

local function hunt(bug, seeds)
  return planted.run("spec/property/hunt.lua", tostring(bug), tostring(seeds))
end

describe("the property test", function()
  lazy_setup(function() planted.build("core", "core/testing") end)

  it("finds nothing when no bug is active", function()
    local code, output = hunt(0, 60)
    assert.equal(0, code, output)
  end)

  for bug, what in ipairs(bugs) do
    it("finds this one: " .. what, function()
      if RARE[bug] and not FULL then return pending("full size only") end
      local code, output = hunt(bug, SEEDS)
      assert.equal(1, code, output)
      assert.truthy(output:find("seed %d+, step"), output)
    end)
  end
end)
