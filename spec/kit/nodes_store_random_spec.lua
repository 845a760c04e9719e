--- app:store with --cluster-durable in drawn worlds of three nodes (spec/support/kept.lua), and mistakes that are
--- planted into what a node keeps of it, which they find. SEED= repeats one world.
local kept = require("spec.support.kept")
local shared_stores = require("sluice.live.shared_stores")
local tree = require("spec.support.tree")
local worlds = require("spec.support.worlds")

if not require("sluice.core").build().libraries.hiredis then
  describe("app:store in drawn worlds", function() pending("built without hiredis") end)
  return
end

-- In live/shared_stores.lua: what stands there instead.
local MISTAKES = {
  { "acknowledged before it is kept", "self.keeps and not passing", "false", seed = 15 },
  { "what was refused stays to be seen", "if list[key] == write then list[key] = nil end", "", seed = 1 },
}

local function plant(_, from, to)
  if not from then return end
  local text = tree.read("lua/sluice/live/shared_stores.lua")
  local i, j = text:find(from, 1, true)
  local new = shared_stores.new
  shared_stores.new = assert(load(text:sub(1, assert(i, from .. " is not there") - 1) .. to .. text:sub(j + 1)))().new
  return nil, nil, function() shared_stores.new = new end
end

describe("app:store in drawn worlds", function()
  it("has what was acknowledged, on all nodes", function() worlds.hold(kept.play, 8, 3000) end)

  it("has not where a mistake is planted", function() worlds.show(kept.play, MISTAKES, plant) end)
end)
