--- What visitors see of machines with bugs that are planted into the server (build/planted) is wrong, and the checker
--- says so; or the machines end, by an assertion. With the full size alone.
local failures = require("spec.cluster.failures")
local machines = require("spec.cluster.machines")
local nodes = require("spec.support.nodes")
local planted = require("spec.support.planted")

-- { number, the case that shows it, the word, what is broken }; without a word the machines end.
local BUGS = {
  { 600, "the answers of publishes are swallowed", nil, "the plainest design" },
  { 604, "the answers of publishes are swallowed", "twice", "what had no answer is sent again at once" },
  { 660, "a replica has what is durable, and is promoted", "vanished", "what is durable is answered too soon" },
  { 611, "a master goes on alone", "untold", "what a node has read and the server has lost leaves no mark" },
  { 671, "a machine is killed", "foreign", "a log of one machine moves the cursor" },
  { 676, "Redis loses its last writes with the power", "foreign", "a new epoch moves readers of those back" },
}

local function case_of(name)
  for _, case in ipairs(failures) do
    if case[1] == name then return case end
  end
  error("there is no case '" .. name .. "'")
end

describe("visitors of machines", function()
  local problem = nodes.problem() or not os.getenv("SLUICE_SPEC_FULL") and "full size only"
    or os.getenv("SLUICE_PRELOAD") and "nothing here is for a sanitizer"
  if problem then return it("find bugs that are planted", function() pending(problem) end) end

  lazy_setup(function() planted.build("core") end)

  for _, bug in ipairs(BUGS) do
    it("find this one: " .. bug[4], function()
      local case = case_of(bug[2])
      local m = machines.start { redis = case.redis, durable = case.durable, hop = 0.3, owns = true,
        env = { SLUICE_BUILD = planted.folder, SLUICE_PLANT = bug[1] } }
      finally(function() m:close() end)
      local goes_on, why = pcall(case.fault, m)
      if not bug[3] then return assert.matches("has ended:.*Assertion", why) end
      assert(goes_on, why)
      local found = m:finish()
      assert.is_true(found[bug[3]] > 0, table.concat(found.list, "\n"))
    end)
  end
end)
