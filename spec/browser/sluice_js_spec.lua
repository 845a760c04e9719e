--- sluice.js in Node: what it does with answers of every kind (sluice_js/logic.mjs), and its size.
--- esbuild comes with build/node.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local process = require("spec.support.process")
local lfs = require("lfs")

local FILES = "lua/sluice/browser/"
local modules = lfs.currentdir() .. "/build/node"

local function has_node() return lfs.attributes(modules .. "/node_modules/esbuild", "mode") ~= nil end

--- The cases of logic.mjs for one file: how many passed, and what the others say.
local function run(file)
  local _, output = process.run({ "env", "SLUICE_SPEC_SCALE=" .. deadline.scale, "node",
    "spec/browser/sluice_js/logic.mjs", FILES .. file }, { seconds = 60 })
  local passed, failed = 0, {}
  for line in output:gmatch("[^\n]+") do
    local row = line:find("^{") and json.decode(line)
    if not row then failed[#failed + 1] = line
    elseif row.error == json.null or row.error == nil then passed = passed + 1
    else failed[#failed + 1] = row.name .. ": " .. row.error end
  end
  return passed, table.concat(failed, "\n")
end

describe("sluice.js in Node", function()
  it("does with every answer what it says", function()
    if not has_node() then pending("build/node is not installed") return end
    local passed, failed = run("sluice.js")
    assert.equal("", failed)
    assert.is_true(passed >= 36, passed)
  end)

  it("does the same in its form for older browsers, which is ES5", function()
    if not has_node() then pending("build/node is not installed") return end
    local passed, failed = run("sluice.legacy.js")
    assert.equal("", failed)
    assert.is_true(passed >= 25, passed)
    assert.same({ 0, "" }, { process.run { "node", ".ci/es5.mjs", FILES .. "sluice.legacy.js" } })
  end)

  it("is small", function()
    if not has_node() then pending("build/node is not installed") return end
    local code, output = process.run({ "node", "spec/browser/sluice_js/size.mjs", modules, FILES .. "sluice.js",
      FILES .. "sluice.share.js" })
    assert.equal(0, code, output)
    local core, share = table.unpack(json.decode(output))
    assert.is_true(core <= 5 * 1024 and share <= 2.5 * 1024, output)
  end)
end)
