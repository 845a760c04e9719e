--- The check that every method of an app begins with: is the app being loaded, so that it may
-- register; or is it live, so that it may act?
-- Keeps nothing in memory.
local caller = require("sluice.base.caller")

local phase = {}

-- The generation of 'self'; raises what was written wrong.
local function generation_of(self, what)
  local generation = type(self) == "table" and rawget(self, "_generation")
  if not generation then
    caller.raise("app.%s was called without the app: write app:%s(…) with a colon", what, what)
  end
  return generation
end

--- For methods that register something.
-- @tparam sluice.App self
-- @tparam string what the method's name
-- @param[opt] detail its first argument
-- @treturn sluice.Generation
function phase.loading(self, what, detail)
  local generation = generation_of(self, what)
  if generation.phase ~= "load" then
    local shown = type(detail) == "string" and ("(%q)"):format(detail) or "()"
    caller.raise("app:%s%s belongs at the top level of the app: made in a handler it would "
      .. "vanish at the next reload", what, shown)
  end
  return generation
end

--- For methods with an effect.
-- @treturn sluice.Generation
function phase.running(self, what)
  local generation = generation_of(self, what)
  if generation.phase == "load" then
    caller.raise("app:%s() has an effect and the app is still loading: move it into a handler",
      what)
  elseif generation.phase == "retired" then
    caller.raise("generation %d is retired", generation.id)
  end
  return generation
end

return phase
