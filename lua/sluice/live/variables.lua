--- Names in the environment that look like settings and are none: SLUICE_PROT. Keeps nothing in
-- memory.
local config = require("sluice.live.config")
local file = require("sluice.base.file")
local options = require("sluice.base.options")

local variables = {}

-- Of the project's own tools: which Lua runs an app that is tested, and what its specs run.
local OTHERS = { SLUICE_LUA = true, SLUICE_BUILD = true, SLUICE_PRELOAD = true }
local OF_SPECS = "^SLUICE_SPEC_"

local SHOWN_MOST = 64 -- bytes of a name

--- A warning for each.
-- @tparam[opt] string environment NAME=value with a NUL behind each; else that of the process, as
--   it was started
-- @treturn {string,...}
function variables.warnings(environment)
  local known, names, out = {}, {}, {}
  for i, row in ipairs(config.SETTINGS) do
    names[i] = "SLUICE_" .. row[1]:upper()
    known[names[i]] = true
  end
  environment = environment or file.read("/proc/self/environ") or ""
  for name in environment:gmatch("([^=%z]+)=[^%z]*") do
    if name:find("^SLUICE_") and not (known[name] or OTHERS[name] or name:find(OF_SPECS)) then
      local near = options.nearest(name:sub(1, SHOWN_MOST), names)
      out[#out + 1] = ("%s in the environment is no setting, and has no effect%s"):format(
        name:sub(1, SHOWN_MOST), near and (": did you mean %s?"):format(near) or "")
    end
  end
  table.sort(out)
  return out
end

return variables
