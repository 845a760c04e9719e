--- lua5.4 spec/property/hunt.lua BUG FIRST LAST [OTHER]: look for one planted bug (0: none), in the
--- worlds that are drawn for it, or for another one. Prints the first seed that finds it and exits
--- with 1; 0 when none does.
local bugs = require("spec.property.planted")
local run = require("spec.property.run")
local testing = require("sluice.core.testing")

local bug, first, last, other = table.unpack(arg)
testing.plant(math.tointeger(bug))
local kind = bugs.worlds[math.tointeger(other or bug)]
local problems = run.seeds(testing, math.tointeger(first), math.tointeger(last), 1, kind)
if problems[1] then print(problems[1]) end
os.exit(problems[1] and 1 or 0, true)
