--- The drawn requests must find each bug that is planted in the HTTP front. The core with the
--- bugs is built into build/planted; $SLUICE_PLANT chooses the one that is active. Draws that are known to
--- show a bug are tried first; $SLUICE_SPEC_FULL=1 knows none.
local bugs = require("spec.wire.front.planted")
local planted = require("spec.support.planted")
local run = require("spec.wire.front.run")
local site = require("spec.wire.front.site")

local DRAWS = 1500
local PATIENCE = 3 -- seconds: a bug may show as an answer that never comes
local FULL = os.getenv("SLUICE_SPEC_FULL")

--- What some of the lists of draws find while one bug is active: the first that finds anything.
local function hunt(bug, ...)
  local s = site.start { env = { SLUICE_BUILD = planted.folder, SLUICE_PLANT = bug, SLUICE_PRELOAD = "" } }
  local problem
  for _, seeds in ipairs { ... } do
    problem = problem or run.draws(s, seeds, { patience = PATIENCE })[1]
  end
  s.kill()
  s.clean()
  return problem
end

describe("the drawn requests", function()
  lazy_setup(function() planted.build("core") end)

  it("find nothing when no bug is active", function()
    local known, seen = run.range(1, FULL and 200 or 0), {}
    for _, draws in ipairs(bugs.draws) do
      for _, seed in ipairs(draws) do
        if not seen[seed] and seed > #known then known[#known + 1] = seed end
        seen[seed] = true
      end
    end
    assert.is_nil(hunt(0, known))
  end)

  local find = os.getenv("SLUICE_PRELOAD") and pending or it -- nothing here is for a sanitizer
  for bug, what in ipairs(bugs) do
    find("find this one: " .. what, function()
      assert.matches("^seed %d+, request %d+", hunt(100 + bug, FULL and {} or bugs.draws[bug], run.range(1, DRAWS)))
    end)
  end
end)
