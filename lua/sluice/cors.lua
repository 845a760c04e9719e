--- app:cors: which other origins may read which paths. Checked here, answered by the core.
-- In memory: the rules of one generation.
local core = require("sluice.core")
local caller = require("sluice.caller")
local options = require("sluice.options")

local cors = {}

local RULE = { origins = options.NONE, credentials = false, max_age = 7200 }

local function check_origin(what, origin)
  if type(origin) ~= "string" or origin ~= "*" and not origin:find("^%l[%l%d+.-]*://[^/%s]+$") then
    caller.raise("%s: an origin is \"https://host\" or \"*\", not '%s'", what, tostring(origin))
  end
end

--- Register: app:cors.
-- @tparam sluice.Generation generation
-- @tparam string pattern of paths
-- @tparam table given { origins = { … }, credentials = false, max_age = 7200 }
function cors.register(generation, pattern, given)
  local ok, message = core.check_pattern(pattern)
  if not ok then caller.raise("app:cors(): %s", message) end
  local what = ("app:cors('%s')"):format(pattern)
  local o = options(what, given, RULE, 3)
  if type(o.origins) ~= "table" or #o.origins == 0 then
    caller.raise("%s needs origins = { … }", what)
  end
  for _, origin in ipairs(o.origins) do
    check_origin(what, origin)
    if origin == "*" and o.credentials then
      caller.raise("%s: credentials need exact origins, not \"*\"", what)
    end
  end
  if type(o.credentials) ~= "boolean" then caller.raise("%s: credentials is a boolean", what) end
  if type(o.max_age) ~= "number" or o.max_age < 0 then
    caller.raise("%s: max_age is a number of seconds", what)
  end
  table.insert(generation.cors, { pattern = pattern, origins = o.origins,
    credentials = o.credentials, max_age = o.max_age })
end

return cors
