--- Machines around a real redis-server, with what fails both of them (failures.lua), and visitors that publish, read
--- and hop all the while. SEED=n draws the same again, as far as a machine repeats itself; WRITE=path writes down
--- what was seen; some cases run with $SLUICE_SPEC_FULL alone.
local failures = require("spec.cluster.failures")
local machines = require("spec.cluster.machines")
local nodes = require("spec.support.nodes")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local SEED = math.tointeger(tonumber(os.getenv("SEED"))) or FULL and os.time() or 1

local function assert_held(m, seen)
  local found = m:finish()
  local path = os.getenv("WRITE")
  if path then m:write_down(path) end
  assert.equal(0, found.all, ("SEED=%d:\n%s\n%s"):format(SEED, table.concat(found.list, "\n"),
    found.all > 0 and m:logs() or ""))
  assert.is_true((found.seen.ok or 0) > 50 and (found.seen.events or 0) > 100, "too little was seen")
  for _, word in ipairs(seen or {}) do assert.is_true((found.seen[word] or 0) > 0, "nothing was " .. word) end
  return found
end

describe("one ordinary server", function()
  it("loses nothing to readers that come and go, and says nothing needlessly", function()
    local m = machines.start { nodes = 1, redis = false, seed = SEED, hop = FULL and 2 or 0.3 }
    finally(function() m:close() end)
    m:go(FULL and 3000 or 200)
    local found = assert_held(m)
    assert.is_true(found.seen.connect > 6, "nobody hopped")
  end)
end)

local function run_case(case)
  local m = machines.start { redis = case.redis, args = case.args, bytes = case.bytes, pace = case.pace, seed = SEED,
    sentinels = case.sentinels, durable = case.durable, tails = case.tails, power = case.power, owns = FULL ~= nil,
    hop = FULL and 2 or 0.3 }
  finally(function() m:close() end)
  local ok, why = pcall(case.fault, m)
  if not ok then error(("SEED=%d: %s\n%s"):format(SEED, why, m:logs()), 0) end
  local found = assert_held(m, case.seen)
  if FULL then assert.is_true((found.seen.owned or 0) > 100, "machines had nothing of their own") end
end

describe("machines around a Redis lose nothing without a word", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  for _, case in ipairs(failures) do
    it("when " .. case[1], function()
      if not (FULL or case.quick) then return pending("full size only") end
      run_case(case)
    end)
  end
end)
