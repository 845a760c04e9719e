--- lua5.4 spec/store/hunt.lua BUG SEEDS: look for one planted bug. Prints the first seed that finds
--- it and exits with 1; 0 when none does.
local testing = require("sluice.core.testing_store")
local World = require("spec.store.world")

testing.plant(math.tointeger(arg[1]))
for seed = 1, math.tointeger(arg[2]) do
  local problem = World.run(seed, 250)
  if problem then
    print(problem)
    os.exit(1, true)
  end
end
os.exit(0, true)
