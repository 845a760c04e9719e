--- The property test must find each planted bug. The module with the bugs is built into
--- build/planted and run in a process of its own, since it has the name of the real one. The seed that is
--- known to show a bug is tried first; $SLUICE_SPEC_FULL=1 knows none.
local bugs = require("spec.property.planted")
local planted = require("spec.support.planted")

local SEEDS = 1500
local FULL = os.getenv("SLUICE_SPEC_FULL")
local CLEAN = FULL and 60 or 4 -- seeds of each kind of world without a bug

local function hunt(bug, first, last, worlds_of)
  return planted.run("spec/property/hunt.lua", tostring(bug), tostring(first), tostring(last),
    tostring(worlds_of or bug))
end

describe("the property test", function()
  lazy_setup(function() planted.build("core", "core/testing") end)

  it("finds nothing when no bug is active", function()
    local done = {}
    local function clean(bug, first, last)
      local place = ("%s %d"):format(bugs.worlds[bug], last)
      local code, output = 0, nil
      if not done[place] then code, output = hunt(0, first, last, bug) end
      assert.equal(0, code, output)
      done[place] = true
    end
    for bug = 0, #bugs do clean(bug, 1, CLEAN) end
    for bug, seed in ipairs(bugs.seeds) do
      if seed > CLEAN then clean(bug, seed, seed) end
    end
  end)

  for bug, what in ipairs(bugs) do
    it("finds this one: " .. what, function()
      local code, output = 0, nil
      if not FULL then code, output = hunt(bug, bugs.seeds[bug], bugs.seeds[bug]) end
      if code == 0 then code, output = hunt(bug, 1, SEEDS) end
      assert.equal(1, code, output)
      assert.truthy(output:find("seed %d+, step"), output)
    end)
  end
end)
