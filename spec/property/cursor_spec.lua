--- Random runs of the cursor core against a slow model (model.lua), judged per connection
--- (watcher.lua) and over the whole life of a client (world.lua). SEEDS=10000 runs more of
--- them, SEED=n replays one.
local run = require("spec.property.run")
local testing = require("sluice.core.testing")

local FULL = os.getenv("SLUICE_SPEC_FULL") and 60 or 1
local SEEDS = FULL * (os.getenv("SLUICE_PRELOAD") and 100 or 160) -- sanitizers are slow

local function sums(totals)
  local list = {}
  for name, n in pairs(totals) do list[#list + 1] = n .. " " .. name end
  table.sort(list)
  return table.concat(list, ", ")
end

describe("the cursor core", function()
  it("loses nothing without a word, repeats nothing and tells no loss that was none", function()
    local seed, wanted = tonumber(os.getenv("SEED")), tonumber(os.getenv("SEEDS"))
    -- the same ones in `make test`; whoever asks for more hunts where nobody was
    local first = seed or (wanted or FULL > 1) and os.time() % 1000000 * 1000 or 1
    local problems, totals = run.seeds(testing, first, first + (seed and 1 or wanted or SEEDS) - 1)
    if seed or wanted then io.write(("seeds from %d: %s\n"):format(first, sums(totals))) end
    assert.is_nil(problems[1] and problems[1] .. "\nreplay it with SEED=" .. problems[1]:match("seed (%d+)"))
    if not seed then assert.is_true(totals.resumed > 0 and totals.cuts > 0 and totals.delivered > 0) end
  end)
end)
