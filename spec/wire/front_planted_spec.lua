--- The drawn requests must find each bug that is planted in the HTTP front. The core with the
--- bugs is built into build/planted; $SLUICE_PLANT chooses the one that is active.
local bugs = require("spec.wire.front.planted")
local planted = require("spec.support.planted")
local run = require("spec.wire.front.run")
local site = require("spec.wire.front.site")

local FEW, DRAWS = 30, 1500 -- most show among the few; those that wait do so alone then, at no cost
local PATIENCE = 3 -- seconds: a bug may show as an answer that never comes

--- What the draws find while one bug is active.
local function hunt(bug, draws)
  local s = site.start { env = { SLUICE_BUILD = planted.folder, SLUICE_PLANT = bug, SLUICE_PRELOAD = "" } }
  local problems = run.draws(s, 1, math.min(FEW, draws), { patience = PATIENCE })
  if not problems[1] and draws > FEW then problems = run.draws(s, FEW + 1, draws, { patience = PATIENCE }) end
  s.kill()
  s.clean()
  return problems[1]
end

describe("the drawn requests", function()
  lazy_setup(function() planted.build("core") end)

  it("find nothing when no bug is active", function() assert.is_nil(hunt(0, 200)) end)

  local find = os.getenv("SLUICE_PRELOAD") and pending or it -- nothing here is for a sanitizer
  for bug, what in ipairs(bugs) do
    find("find this one: " .. what, function() assert.matches("^seed %d+, request %d+", hunt(100 + bug, DRAWS)) end)
  end
end)
