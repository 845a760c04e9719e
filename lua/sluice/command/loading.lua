--- An app that is loaded and not served, for the commands that look at it. Keeps nothing in memory.
local core = require("sluice.core")
local generation = require("sluice.live.generation")
local runtime = require("sluice.live.runtime")

local loading = {}

local LOAD_SECONDS = 1 -- of computing; the default of sluice run

-- In place of a server: enough to prepare a generation.
local NO_SERVER = { on = function() end }

--- Load an app's file, and check it as a start would.
-- @tparam string path
-- @treturn sluice.Generation|nil
-- @treturn sluice.Failure why not: `phase`, `message`, `traceback`
function loading.load(path)
  core.budget_set(LOAD_SECONDS)
  local loaded, problem = generation.load(1, path)
  if not loaded then return nil, problem end
  local prepared
  prepared, problem = runtime.new(NO_SERVER):prepare(loaded)
  return prepared and loaded, problem
end

return loading
