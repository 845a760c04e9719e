--- lua5.4 spec/property/hunt.lua BUG SEEDS: look for one planted bug. Prints the first seed
--- that finds it and exits with 1; 0 when none does.
local run = require("spec.property.run")
local testing = require("sluice.core.testing")

testing.plant(math.tointeger(arg[1]))
local problems = run.seeds(testing, 1, math.tointeger(arg[2]))
if problems[1] then print(problems[1]) end
os.exit(problems[1] and 1 or 0, true)
