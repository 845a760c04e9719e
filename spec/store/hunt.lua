--- lua5.4 spec/store/hunt.lua BUG FIRST LAST: look for one planted bug. Prints the first seed that finds
--- it and exits with 1; 0 when none does.
local testing = require("sluice.core.testing_store")
local World = require("spec.store.world")

--- A bit of a payload flips: whether the row is served all the same.
local function serves_damage()
  local stored = require("spec.support.stored")
  stored.at(1000000)
  local disk = stored.disk(1)
  local s = assert(stored.open({ disk = disk }, { log = { durable = true } }))
  s:publish("log", "right payload")
  s:close()
  local at = disk:read("sluice.db"):find("right payload", 1, true)
  disk:damage("sluice.db", (at - 1) * 8)
  s = assert(stored.open({ disk = disk }, { log = { durable = true } }))
  local row = s:page("log")[1]
  return row and ("seed 1, step 1: it serves '%s'"):format(row.data)
end

testing.plant(math.tointeger(arg[1]))
if arg[1] == "211" then
  local problem = serves_damage()
  if problem then print(problem) end
  os.exit(problem and 1 or 0, true)
end
for seed = math.tointeger(arg[2]), math.tointeger(arg[3]) do
  local problem = World.run(seed, 250)
  if problem then
    print(problem)
    os.exit(1, true)
  end
end
os.exit(0, true)
