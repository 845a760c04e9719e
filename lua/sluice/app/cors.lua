--- app:cors: which other origins may read which paths. Checked here, answered by the core.
-- In memory: the rules of one generation.
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")
local routes = require("sluice.app.routes")

local cors = {}

local RULE = { origins = options.NONE, credentials = false, max_age = 7200 }
local MAX_AGE_MOST = 366 * 86400

local function check_origin(what, origin)
  if origin ~= "*" and not origin:find("^%l[%l%d+.-]*://[^/%s]+$") then
    caller.raise("%s: an origin is \"https://host\" or \"*\", not '%s'", what, tostring(origin))
  end
end

--- Register: app:cors.
-- @tparam sluice.Generation generation
-- @tparam string pattern of paths
-- @tparam table given { origins = { … }, credentials = false, max_age = 7200 }
function cors.register(generation, pattern, given)
  routes.check_path("cors", pattern)
  local what = ("app:cors('%s')"):format(pattern)
  local o = options(what, given, RULE)
  local fault = o.origins ~= nil and options.list_fault(o.origins, "origins", "string")
  if fault then caller.raise("%s: origins %s", what, fault) end
  if o.origins == nil or #o.origins == 0 then caller.raise("%s needs origins = { … }", what) end
  for _, origin in ipairs(o.origins) do
    check_origin(what, origin)
    if origin == "*" and o.credentials then
      caller.raise("%s: credentials need exact origins, not \"*\"", what)
    end
  end
  if not (o.max_age >= 0 and o.max_age <= MAX_AGE_MOST) then
    caller.raise("%s: max_age is a number of seconds from 0 to %d", what, MAX_AGE_MOST)
  end
  table.insert(generation.cors, { pattern = pattern, origins = o.origins,
    credentials = o.credentials, max_age = o.max_age })
end

return cors
