--- A node of a cluster behind a bad network, on a real redis-server (network.lua).
local network = require("spec.cluster.network")
local planted = require("spec.support.planted")
local redis = require("spec.support.redis")

if not redis.installed() then
  describe("a node of a cluster", function() pending(redis.NAME) end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")

describe("a node of a cluster behind a bad network", function()
  local server

  setup(function() server = redis.start { tcp = true } end)
  teardown(function() server:stop() end)

  it("stores each event once, in order, and says so", function()
    local seed = tonumber(os.getenv("SEED"))
    local first = seed or FULL and os.time() or 1
    for one = first, first + (seed and 0 or FULL and 30 or 1) do
      assert.same({}, network.run(server, one), "SEED=" .. one)
    end
  end)

  if not FULL then return end

  it("is found out when it sends again what it has no answer to", function()
    planted.build("core", "core/testing_node")
    local code, output = planted.run_bug(604, "-e", [[
      local server = require("spec.support.redis").start { tcp = true }
      local wrong = {}
      for seed = 1, 20 do
        if #wrong == 0 then wrong = require("spec.cluster.network").run(server, seed) end
      end
      server:stop()
      print(wrong[1])
      os.exit(#wrong > 0 and 3 or 0, true)]])
    assert.equal(3, code, output)
    assert.truthy(output:find("is stored 2 times", 1, true), output)
  end)
end)
