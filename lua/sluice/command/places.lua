--- Files that come with Sluice beside its modules: of a checkout, and where `make install` and the
--- rock put them. Keeps nothing in memory.
local core = require("sluice.core")

local places = {}

local BELOW = { "", "../../" } -- of lua/sluice: installed; of a checkout

--- The folder of Sluice's modules, with a slash.
places.FOLDER = debug.getinfo(1, "S").source:match("^@(.*)command/[^/]*$")

--- Find a file.
-- @tparam string path as in a checkout
-- @treturn string|nil its real path
function places.find(path)
  for _, below in ipairs(BELOW) do
    local found = core.real_path(places.FOLDER .. below .. path)
    if found then return found end
  end
end

--- How a shell finds the command: by its name, or in a checkout by its path.
-- @treturn string
function places.command()
  for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    if core.real_path(folder .. "/sluice") then return "sluice" end
  end
  return core.real_path(places.FOLDER .. "../../build/bin/sluice") or "sluice"
end

return places
