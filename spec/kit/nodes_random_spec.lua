--- Nodes of a test in drawn worlds (spec/support/noded.lua): what is lost is told, nothing comes twice or in another
--- order, and mistakes that are planted into the core and the simulated Redis are found. SEED= repeats one world.
local noded = require("spec.support.noded")
local planted = require("spec.support.planted")
local scripts = require("sluice.testing.redis_scripts")
local worlds = require("spec.support.worlds")

if not require("sluice.core").build().libraries.hiredis then
  describe("nodes in drawn worlds", function() pending("built without hiredis") end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")
local PATIENCE = 60 -- seeds in which a planted mistake may hide

-- Number in spec/cluster/planted.lua, and the first seed that shows it. Values that go back are shown there.
local MISTAKES = { [600] = 1, [604] = 3, [607] = 1 }

local function hunt(number, first, last)
  return planted.run_bug(number, "spec/support/noded_hunt.lua", tostring(first), tostring(last))
end

-- Whether a world shows a Redis that is another one; the seed that is tried first, and SHOW=1 prints which did.
local function shows(known, change)
  for at = FULL and 1 or 0, PATIENCE do
    local seed = at == 0 and known or at
    local wrong = noded.play(seed, function(world) change(world.net.redis) end)
    if wrong and os.getenv("SHOW") then print(seed, wrong) end
    if wrong then return true end
  end
  return false
end

describe("nodes in drawn worlds", function()
  it("lose nothing untold, and give nothing twice or in another order", function()
    worlds.hold(noded.play, 5, 2000)
  end)

  it("are the same for equal seeds, to the byte", function()
    local _, first = noded.play(4)
    local _, again = noded.play(4)
    local _, other = noded.play(5)
    assert.equal(first, again)
    assert.not_equal(first, other)
  end)

  it("show a Redis that passes for the same process when it has lost something", function()
    assert.is_true(shows(2, function(sim)
      local run, replid = sim.run, sim.replid
      function sim:restart()
        getmetatable(self).restart(self)
        self.run, self.replid = run, replid
      end
    end))
  end)

  it("show a Redis that carries out what a broken connection held", function()
    local new = scripts.new
    finally(function() scripts.new = new end)
    function scripts.new(text, execute)
      return new(text:gsub("if m%[2%] ~= ARGV%[3%] then return {'FENCE'} end\n", ""), execute)
    end
    assert.is_true(shows(1, function() end))
  end)

  it("find nothing when no mistake is active", function()
    planted.build("core")
    assert.same({ 0, "" }, { hunt(0, 1, 1) })
  end)

  for number, seed in pairs(MISTAKES) do
    it("find mistake " .. number, function()
      planted.build("core")
      local code, output = 0, nil
      if not FULL then code, output = hunt(number, seed, seed) end
      if code == 0 then code, output = hunt(number, 1, PATIENCE) end
      assert.equal(1, code, output)
      assert.truthy(output:find("^seed %d+"), output)
    end)
  end
end)
