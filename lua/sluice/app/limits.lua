--- app:limits: how many streams at a time, and how many requests a minute, one address and one
-- user may have. Checked here, counted by the core. In memory: the limits of one generation.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")

local limits = {}

local NONE = options.NONE
local EXEMPT_MAX, MOST = core.limits.LIMIT_EXEMPT_MAX, core.limits.LIMIT_MOST

--- The limits, by the names that settings and figures have, too.
limits.NAMES = { "max_streams_per_address", "max_streams_per_user", "max_requests_per_address",
  "max_requests_per_user" }

local KNOWN = { exempt = NONE }
for _, name in ipairs(limits.NAMES) do KNOWN[name] = NONE end

--- What is wrong with a list of addresses and networks, or nil.
-- @param list
-- @treturn string|nil "is a list of …"
function limits.exempt_fault(list)
  local fault = options.list_fault(list, "addresses and networks", "string")
  if fault then return fault end
  if #list > EXEMPT_MAX then return ("has at most %d entries"):format(EXEMPT_MAX) end
  for _, text in ipairs(list) do
    if not core.check_network(text) then
      return ("is a list of addresses and networks such as 10.0.0.0/8, and '%s' is none")
        :format(text)
    end
  end
end

--- Register: app:limits.
-- @tparam sluice.Generation generation
-- @tparam table given
function limits.register(generation, given)
  if type(given) ~= "table" then
    caller.raise("app:limits(limits): a table is expected, not a %s", type(given))
  end
  local o = options("app:limits()", given, KNOWN)
  for _, name in ipairs(limits.NAMES) do
    local most = o[name]
    if most ~= nil and not (math.type(most) == "integer" and most >= 0 and most <= MOST) then
      caller.raise("app:limits(): %s is an integer from 1 to %d, or 0 for no limit", name, MOST)
    end
  end
  local fault = o.exempt ~= nil and limits.exempt_fault(o.exempt)
  if fault then caller.raise("app:limits(): exempt %s", fault) end
  if generation.limits then
    caller.raise_taken("app:limits() was called already", generation.limits.where)
  end
  o.where = caller.where()
  generation.limits = o
end

--- What the core is told: a setting goes before what the app says.
-- @tparam sluice.Generation generation
-- @tparam table settings those that were given
-- @treturn table
function limits.for_core(generation, settings)
  local out, said = {}, generation.limits or {}
  for name in pairs(KNOWN) do
    if settings[name] ~= nil then out[name] = settings[name] else out[name] = said[name] end
  end
  return out
end

return limits
