--- lua5.4 spec/cluster/hunt.lua BUG FIRST LAST [streams|owns|long|lead|gentle] [WITHOUT…]: look for what is planted
--- (0: nothing), or for rules of the server that are taken away; "streams": in worlds with those of csrc/fan; "owns":
--- the same with channels of one node; "long": with histories that come in pages; "lead": in those of the lead,
--- "gentle": where one node fails at a time. Prints the first seed that shows it and how many do; exits with 1 when one
--- does.
local planted = require("spec.cluster.planted")
local run = require("spec.cluster.run")
local testing = require("sluice.core.testing_cluster")

local bug, first, last = math.tointeger(arg[1]), math.tointeger(arg[2]), math.tointeger(arg[3])
local owns, long = arg[4] == "owns", arg[4] == "long"
local fans = (owns or long or arg[4] == "streams") and require("spec.cluster.fans") or nil
local of_lead = (arg[4] == "lead" or arg[4] == "gentle") and require("spec.cluster.lead_world") or nil
local without = table.move(arg, (fans or of_lead) and 5 or 4, #arg, 1, {})
local is_obvious = bug == planted.obvious.plant
testing.plant(bug)
if fans then require("sluice.core.testing").plant(bug) end
local kind = { streams = fans, owns = owns, long = long, gentle = arg[4] == "gentle",
  without = is_obvious and planted.obvious.without or without }
local problems = of_lead and of_lead.seeds(testing, first, last, kind)
  or run.seeds(testing, first, last, is_obvious and last or 1, kind)
if problems[1] then print(problems[1] .. "\n" .. #problems .. " of " .. last - first + 1) end
os.exit(problems[1] and 1 or 0, true)
