--- Servers are killed at random points, and nothing that was acknowledged is lost, repeated, out of
--- order or without notice. SEED=n draws the same run again (the machine still decides where a kill falls).
local history = require("spec.kills.history")
local judge = require("spec.kills.judge")
local process = require("spec.support.process")
local run = require("spec.kills.run")
local server = require("spec.support.server")
local world = require("spec.kills.world")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local CYCLES, SUBSCRIBERS = FULL and 50 or 3, FULL and 500 or 30

describe("kill -9 at random points", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  it(("loses nothing: %d kills, %d subscribers"):format(CYCLES, SUBSCRIBERS), function()
    local seed = tonumber(os.getenv("SEED")) or (FULL and os.time()) or 1
    local here = ("SEED=%d: "):format(seed)
    if FULL then print(here .. "kills") end
    local ok, life = pcall(run.cycles, { folder = folder, seed = seed, cycles = CYCLES, subscribers = SUBSCRIBERS,
      publishers = 4, lanes = 4 })
    assert(ok, here .. tostring(life))
    local found = judge.judge(history.folder(folder, SUBSCRIBERS, world))
    assert.equal(0, found.all, here .. table.concat(found.list, "\n"))
    local seen = found.seen
    assert.is_true(seen.events > 100 * CYCLES and seen.restart > 0 and seen.resumed > 0, here .. "too little was seen")
    if FULL then
      assert.is_true(life.failed_writes > 0 and life.failed_syncs > 0, here .. "the disk never failed")
      for _, what in ipairs { "trimmed", "refused", "unknown", "duplicates" } do
        assert.is_true((seen[what] or 0) > 0, here .. "nothing was " .. what)
      end
    end
  end)
end)
