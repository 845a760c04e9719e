--- Runs seeds of the property test and collects what they find.
local world = require("spec.property.world")

local run = {}

local function check_alive(testing, before)
  collectgarbage()
  for what, n in pairs(testing.alive()) do
    if n > before[what] then error(("%d %s are left alive"):format(n - before[what], what), 0) end
  end
end

--- One seed, of all worlds or of a kind: nil, or what went wrong and where; and the counters of the run.
function run.seed(testing, seed, trace, kind)
  local before = testing.alive()
  local one = world.new(testing, seed, kind)
  one.trace = trace
  local ok, problem = xpcall(function()
    one:run()
    check_alive(testing, before)
  end, function(message) return type(message) == "string" and message:find("^[^\n]*%.lua:%d+:")
    and debug.traceback(message) or message end)
  if ok then return nil, one.count end
  pcall(one.close, one)
  return ("seed %d, step %s: %s"):format(seed, tostring(one.at), tostring(problem)), one.count
end

--- Seeds first … last, of all worlds or of a kind. Returns the problems (at most `most`) and the sums
--- of the counters.
function run.seeds(testing, first, last, most, kind)
  local problems, totals = {}, {}
  for seed = first, last do
    local problem, count = run.seed(testing, seed, nil, kind)
    for name, n in pairs(count) do totals[name] = (totals[name] or 0) + n end
    if problem then problems[#problems + 1] = problem end
    if #problems >= (most or 1) then break end
  end
  return problems, totals
end

return run
