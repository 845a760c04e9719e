--- Machines around a real redis-server, with what fails both of them (failures.lua), and visitors that publish, read
--- and hop all the while. SEED=n draws the same again, as far as a machine repeats itself; WRITE=path writes down
--- what was seen; some cases run with $SLUICE_SPEC_FULL alone.
local machines = require("spec.cluster.machines")

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
