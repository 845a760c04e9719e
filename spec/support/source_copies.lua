--- What drawn worlds of sources share: sluice.redis and sluice.postgres as a user would copy them, over a model in
--- place of a connection, with a mistake in them or not.
---   copies.make("redis", { "sources/stream" }, "connection", module, bug) -> files of an app that requires copy.redis
---   copies.dice(seed) -> random: as math.random, with numbers of its own
local tree = require("spec.support.tree")

local copies = {}

-- A connection is what the model opens, which the app finds by a module's name.
local DOUBLE = [[
local server = require(%q)
return { open = function() return server:open() end, read = function() return {} end }
]]

--- Raises when a mistake is planted nowhere; for spec.support.worlds.
function copies.plant(part, from, to)
  if not part then return nil end
  assert(tree.read("lua/sluice/" .. part .. ".lua"):find(from, 1, true), part .. " does not hold " .. from)
  return { part, from, to }
end

--- A bug is { part, from, to }.
function copies.make(kit, parts, double, module, bug)
  local files = { ["copy/sources/" .. double .. ".lua"] = DOUBLE:format(module) }
  for _, part in ipairs { kit, "sources/feed", table.unpack(parts) } do
    local text = tree.read("lua/sluice/" .. part .. ".lua"):gsub('"sluice%.sources', '"copy.sources')
    text = text:gsub("if process%.upstream", "if false") -- what a test feeds
    if bug and bug[1] == part then
      local at, stop = text:find(bug[2], 1, true)
      text = text:sub(1, at - 1) .. bug[3] .. text:sub(stop + 1)
    end
    files["copy/" .. part .. ".lua"] = text
  end
  return files
end

--- Numbers that the app, which draws from math.random, does not take.
function copies.dice(seed)
  local roll = seed * 2654435761 % 2 ^ 32
  return function(m, n)
    roll = (roll * 1664525 + 1013904223) % 2 ^ 32
    local x = roll / 2 ^ 32
    if not m then return x end
    if not n then m, n = 1, m end
    return m + math.floor(x * (n - m + 1))
  end
end

return copies
