--- csrc/store: drawn runs of the state machine against a model written apart, and the planted bugs
--- that they must find. The modules with the bugs are built into build/planted.
local bugs = require("spec.store.planted")
local process = require("spec.support.process")
local World = require("spec.store.world")

local SEEDS = os.getenv("SLUICE_SPEC_FULL") and 5000 or 300
local HUNT = 1500

local function hunt(bug, seeds)
  return process.run { "env", "LUA_PATH=./?.lua;./lua/?.lua;;", "LUA_CPATH=build/planted/?.so;;",
    "lua5.4", "spec/store/hunt.lua", tostring(bug), tostring(seeds) }
end

describe("the store's machine", function()
  it("says and holds what the model does", function()
    for seed = 1, SEEDS do assert.is_nil(World.run(seed, 250)) end
  end)
end)

describe("a drawn run", function()
  lazy_setup(function()
    local command = { "make", "-s", "SAN=", "B=build/planted", "CFLAGS=-O1 -DSLUICE_PLANTED" }
    for _, name in ipairs { "testing_store", "testing_disk" } do
      command[#command + 1] = "build/planted/sluice/core/" .. name .. ".so"
    end
    local code, output = process.run(command, { seconds = 300 })
    assert.equal(0, code, output)
  end)

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
