--- The files of the checkout, for the specs that judge the repository itself.
local lfs = require("lfs")

local tree = {}

local SKIP = { [".git"] = true, build = true, node_modules = true, lua_modules = true, [".luarocks"] = true }

local function walk(path, found)
  for name in lfs.dir(path) do
    local below = path == "." and name or path .. "/" .. name
    if name ~= "." and name ~= ".." and not SKIP[name] then
      if lfs.symlinkattributes(below, "mode") == "directory" then walk(below, found) else found[#found + 1] = below end
    end
  end
  return found
end

--- Paths of all files that match the Lua pattern, sorted, relative to the checkout.
function tree.files(pattern)
  local matching = {}
  for _, path in ipairs(walk(".", {})) do
    if path:find(pattern) then matching[#matching + 1] = path end
  end
  table.sort(matching)
  return matching
end

function tree.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- Number and text of each line.
function tree.lines(path)
  local n = 0
  local next_line = tree.read(path):gmatch("([^\n]*)\n?")
  return function()
    n = n + 1
    local line = next_line()
    if line then return n, line end
  end
end

--- What editors are told, all files of lua/sluice/meta/ as one text; with a name, one of them.
function tree.meta(name)
  local parts = {}
  for _, path in ipairs(tree.files("^lua/sluice/meta/" .. (name or "[%w_]+") .. "%.lua$")) do
    parts[#parts + 1] = tree.read(path)
  end
  return assert(#parts > 0 and table.concat(parts, "\n"))
end

return tree
