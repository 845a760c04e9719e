--- Runs seeds of the worlds of a cluster and collects what the judge finds.
local judge = require("spec.cluster.judge")
local world = require("spec.cluster.world")

local run = {}

--- One seed: nil, or what was wrong; and the counters of the run.
function run.seed(testing, seed, kind)
  testing.seed(1)
  local one = world.new(testing, seed, kind)
  local ok, problem = xpcall(one.run, function(message)
    return tostring(message):find("%.lua:%d+:") and debug.traceback(message) or message
  end, one)
  if not ok then
    pcall(one.close, one)
    return ("seed %d, step %d: %s"):format(seed, one.step, problem), one.count
  end
  local words = {}
  local bad = judge.world(one)
  one:close()
  for what, n in pairs(bad) do words[#words + 1] = n .. " × " .. what end
  table.sort(words)
  if words[1] then return ("seed %d: %s"):format(seed, table.concat(words, ", ")), one.count end
  return nil, one.count
end

--- Seeds first … last. Returns the problems (at most `most`) and the sums of the counters.
function run.seeds(testing, first, last, most, kind)
  local problems, totals = {}, {}
  for seed = first, last do
    local problem, count = run.seed(testing, seed, kind)
    for name, n in pairs(count) do totals[name] = (totals[name] or 0) + n end
    if problem then problems[#problems + 1] = problem end
    if #problems >= (most or 1) then break end
  end
  return problems, totals
end

return run
