--- The benchmark itself works: a smoke run finishes, every row has a figure, and not one
--- event was lost, repeated or out of order on the way. No figure is asserted: this machine
--- is busy with other specs.
local browser = require("spec" .. ".support.browser") -- one row needs it: without it the others run
local cjson = require("cjson")
local process = require("spec.support.process")
local target = require("spec.bench.target")

local ROWS = { "T1", "T2", "T3", "T4", "T5", "T7", "JSON", "T9", "T14", "T15", "T16", "T19", "T21", "SPIN",
  "RESUME", "TLS", "TLSIDLE", "H2", "H2IDLE",
  "RELOAD", "RATE", "FILTER", "SLOW", "T22", "COMMIT", "BESIDE", "BEHIND", "KEPT", "CLUSTER", "T17", "T18",
  "BROAD", "CORE", "OPEN", "SHOWCASE", "TOOL" }
if target.has_nginx() then ROWS[#ROWS + 1] = "SHAKE" end
if browser.installed() then ROWS[#ROWS + 1] = "PAGE" end
-- What takes longest is run at full size only.
local LONG = { T4 = true, T9 = true, T17 = true, T19 = true, T21 = true, SPIN = true, FILTER = true, SLOW = true,
  BROAD = true, CORE = true, OPEN = true, TOOL = true, SHAKE = true }

local function wanted()
  local list = {}
  for _, name in ipairs(ROWS) do
    if os.getenv("SLUICE_SPEC_FULL") or not LONG[name] then list[#list + 1] = name end
  end
  return list
end

describe("make bench", function()
  local folder = process.temp_dir()
  local code, output, result

  lazy_setup(function()
    local json = folder .. "/bench.json"
    code, output = process.run({ os.getenv("LUA") or "lua5.4", "spec/bench/run.lua", "--quick", "--json", json,
      "--rows", table.concat(wanted(), ",") }, { seconds = 240 })
    local text = process.read_file(json)
    result = text and cjson.decode(text)
  end)
  lazy_teardown(function() process.remove_dir(folder) end)

  it("runs to its end", function()
    assert(result, output)
    assert.equal(0, code, output)
  end)

  it("has a figure for every row", function()
    local seen = {}
    for _, row in ipairs(result.rows) do
      assert.is_nil(row.failed, row.row .. ": " .. tostring(row.failed))
      assert.is_number(row.measured.median)
      seen[row.row] = true
    end
    for _, name in ipairs(wanted()) do assert.is_true(seen[name], name .. " is missing") end
  end)

  it("loses, repeats and disorders nothing", function()
    local sluice = result.faults.sluice
    assert.is_true(sluice.deliveries > 10000)
    assert.same({ 0, 0, 0 }, { sluice.lost, sluice.repeated, sluice.disordered })
    for _, row in ipairs(result.rows) do
      if row.row == "RESUME" then assert.equal(0, row.measured.median) end
    end
  end)
end)
