--- Shapes of JSON objects: { message = "string", n = "integer?", severity = { "info", "high" } }.
-- Used for the bodies of requests and the fields of event types. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local json = require("sluice.json")

local shape = {}

local function is_finite(v) return v == v and v ~= math.huge and v ~= -math.huge end

local function is_list(v)
  return arrays.is_marked(v) or type(v) == "table" and (#v > 0 or next(v) == nil)
end

local function is_object(v)
  return type(v) == "table" and not arrays.is_marked(v) and #v == 0
end

local KINDS = {
  any = function() return true end,
  string = function(v) return type(v) == "string" end,
  boolean = function(v) return type(v) == "boolean" end,
  number = function(v) return type(v) == "number" and is_finite(v) end,
  integer = function(v) return math.type(v) == "integer" or v == 0 end, -- -0 is a float
  array = is_list,
  object = is_object,
}

-- name, optional, test, words for the message
local function read_kind(field, kind)
  if type(kind) == "table" then
    local set, words = {}, {}
    for i, word in ipairs(kind) do set[word], words[i] = true, core.text_of(word) end
    local test = function(v) return set[v] == true end
    if kind.optional ~= nil and type(kind.optional) ~= "boolean" then
      caller.raise("shape: optional of field '%s' is a boolean, not a %s", tostring(field),
        type(kind.optional))
    end
    return kind.optional == true, test, "one of " .. table.concat(words, ", ")
  end
  local name, mark = tostring(kind):match("^(%a+)(%??)$")
  local test = KINDS[name]
  if not test then
    caller.raise("shape: '%s' of field '%s' is no kind (known: any, array, boolean, integer, "
      .. "number, object, string, each with an optional ?, or a list of values)",
      tostring(kind), tostring(field))
  end
  return mark == "?", test, (name:find("^[aio]") and "an " or "a ") .. name
end

--- Test a value; a JSON null counts as missing.
-- @tparam table value
-- @tparam table wanted
-- @tparam[opt] boolean decoded the value came from sluice.json, which marks arrays, so that
--   {} is known to be none
-- @treturn string|nil what is wrong, or nil when nothing is
-- @treturn string|nil the field
function shape.fault(value, wanted, decoded)
  if type(value) ~= "table" or decoded and arrays.is_marked(value) then
    return "a JSON object is expected"
  end
  local fields = {}
  for field in pairs(wanted) do fields[#fields + 1] = field end
  table.sort(fields)
  for _, field in ipairs(fields) do
    local optional, test, words = read_kind(field, wanted[field])
    if value[field] == json.null then value[field] = nil end
    local v = value[field]
    if v == nil and not optional then return field .. " is missing", field end
    local good = v == nil or test(v)
    if good and v ~= nil and decoded and test == is_list then good = arrays.is_marked(v) end
    if not good then return ("%s: %s is expected"):format(field, words), field end
  end
  return nil
end

--- Raise when a shape names a kind that does not exist.
function shape.check(wanted)
  for field, kind in pairs(wanted) do read_kind(field, kind) end
end

return shape
