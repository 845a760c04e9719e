--- Who is present in drawn worlds of three nodes (spec/support/leased.lua): just the members of nodes that live,
--- whoever died, slept or was cut off; each mistake that is planted into the scripts and into what a node notes is
--- found.
--- SEED= repeats one world.
local leased = require("spec.support.leased")
local leases = require("sluice.live.leases")
local scripts = require("sluice.testing.redis_scripts")
local tree = require("spec.support.tree")
local worlds = require("spec.support.worlds")

if not require("sluice.core").build().libraries.hiredis then
  describe("who is present in drawn worlds", function() pending("built without hiredis") end)
  return
end

-- In the scripts, or in live/leases.lua: what stands there instead.
local MISTAKES = {
  -- reaps what is another's
  { "scripts", " or match(value, '^%d+') ~= number then return end", " then return end", seed = 160 },
  -- a stale node refreshes
  { "scripts", "if m[2] ~= ARGV[3] then return {'FENCE'} end", "", seed = 49 },
  -- told, and still there
  { "scripts", "  remove(s, names, field, own)\n  for", "  for", seed = 1 },
  -- takes what others have set under the key with it
  { "scripts", "for _, o in ipairs(others) do", "for _, o in ipairs({}) do", seed = 10 },
  -- ... or sets it again as nobody's
  { "scripts", "if number == from then call", "if false then call", seed = 10 },
  -- too late
  { "scripts", "if beat and now - beat < 10000 then", "if beat and now - beat < 25000 then", seed = 2 },
  -- said again, and of nobody
  { "scripts", "if rule.owned then\n", "if rule.owned and not rule.judged then\n", seed = 2 },
  -- who was reaped is not told
  { "scripts", "'HDEL', KEYS[1], 'reaped:' .. ARGV[1]", "'HEXISTS', KEYS[1], 'x'", seed = 2 },
  -- nothing is said again
  { "leases", "function Leases:again()", "function Leases:again() do return end", seed = 1 },
  -- a removal that failed is not tried
  { "leases", "if row.left and not ok and not is_refused then", "if false then", seed = 4 },
  -- what failed counts
  { "leases", "if ok and not is_old then", "if not is_old then", seed = 3 },
  -- a late refresh wins over a removal
  { "leases", "leave(self, row)\n    local is_refused", "local is_refused", seed = 1 },
  -- another one's word does not count
  { "leases", "if is_removed or name == event then", "if false then", seed = 14 },
  -- ... its removal does not
  { "leases", "if is_removed or name == event then", "if name == event then", seed = 52 },
  { "leases", "row.left, self.last = nil, core.now(),", "row.left, self.last = nil, 0 - core.now(),", seed = 17 },
}

local function replaced(text, from, to)
  local i, j = text:find(from, 1, true)
  return i and text:sub(1, i - 1) .. to .. text:sub(j + 1)
end

local plants = {}

function plants.scripts(from, to)
  local new, found = scripts.new, false
  scripts.new = function(text, execute)
    local other = replaced(text, from, to)
    found = found or other ~= nil
    return new(other or text, execute)
  end
  return function()
    scripts.new = new
    assert(found, from .. " is in no script")
  end
end

function plants.leases(from, to)
  local text = replaced(tree.read("lua/sluice/live/leases.lua"), from, to)
  local new = leases.new
  leases.new = assert(load(assert(text, from .. " is not in leases.lua")))().new
  return function() leases.new = new end
end

local function plant(part, from, to)
  if not part then return end
  return nil, nil, plants[part](from, to)
end

describe("who is present in drawn worlds", function()
  it("are the members of nodes that live", function() worlds.hold(leased.play, 5, 5000) end)

  it("are others where a mistake is planted", function() worlds.show(leased.play, MISTAKES, plant, 200) end)
end)
