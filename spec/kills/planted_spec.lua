--- The runs with kills and their judge must find bugs that are planted in the server. The core with the
--- bugs is built into build/planted; $SLUICE_PLANT chooses the one that is active.
local bugs = require("spec.kills.planted")
local planted = require("spec.support.planted")
local process = require("spec.support.process")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local CYCLES, SUBSCRIBERS, SEEDS = FULL and 6 or 3, 30, 8
local QUICK = { [215] = true } -- it shows at once: the others at full size only

-- 0: nothing was found, 1: something; and what.
local function hunt(bug, seed)
  return process.run({ "env", "SLUICE_BUILD=" .. planted.folder, "SLUICE_PLANT=" .. bug, "lua5.4",
    "spec/kills/hunt.lua", seed, CYCLES, SUBSCRIBERS }, { seconds = 60 })
end

describe("a run with kills", function()
  lazy_setup(function() planted.build("core") end)

  local find = os.getenv("SLUICE_PRELOAD") and pending or it -- nothing here is for a sanitizer
  find("finds nothing when no bug is active", function()
    if not FULL then return pending("full size only") end
    local code, output = hunt(0, 1)
    assert.equal(0, code, output)
  end)

  for bug, what in pairs(bugs) do
    find("finds this one: " .. what, function()
      if not (FULL or QUICK[bug]) then return pending("full size only") end
      local code, output = 0, nil
      for seed = 1, SEEDS do
        code, output = hunt(bug, seed)
        if code ~= 0 then break end
      end
      assert.equal(1, code, output)
      assert.matches("seed %d+: [1-9]%d* found", output)
    end)
  end
end)
