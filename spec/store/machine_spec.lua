--- csrc/store: drawn runs of the state machine against a model written apart, and the planted bugs
--- that they must find. The modules with the bugs are built into build/planted.
local bugs = require("spec.store.planted")
local planted = require("spec.support.planted")
local World = require("spec.store.world")

local SEEDS = os.getenv("SLUICE_SPEC_FULL") and 5000 or 300
local HUNT = 1500

local function hunt(bug, seeds)
  return planted.run("spec/store/hunt.lua", tostring(bug), tostring(seeds))
end

describe("the store's machine", function()
  it("says and holds what the model does", function()
    for seed = 1, SEEDS do assert.is_nil(World.run(seed, 250)) end
  end)
end)

describe("a drawn run", function()
  lazy_setup(function() planted.build("core/testing_store", "core/testing_disk") end)

  local numbers = {}
  for bug in pairs(bugs) do numbers[#numbers + 1] = bug end
  table.sort(numbers)
  for _, bug in ipairs(numbers) do
    it("finds this one: " .. bugs[bug], function()
      local code, output = hunt(bug, HUNT)
      assert.equal(1, code, output)
      assert.truthy(output:find("seed %d+, step"), output)
    end)
  end
end)
