--- lua5.4 spec/property/hunt.lua BUG SEEDS [OTHER]: look for one planted bug (0: none), in the
--- worlds that are drawn for it, or for another one. Prints the first seed that finds it and exits
--- with 1; 0 when none does.
local bugs = require("spec.property.planted")
local run = require("spec.property.run")
local testing = require("sluice.core.testing")

testing.plant(math.tointeger(arg[1]))
local problems = run.seeds(testing, 1, math.tointeger(arg[2]), 1, bugs.worlds[math.tointeger(arg[3] or arg[1])])
if problems[1] then print(problems[1]) end
os.exit(problems[1] and 1 or 0, true)
