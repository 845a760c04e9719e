--- Query strings, cookies and header tables, read when they are asked for.
-- Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")

local query = {}

local PAIRS_MAX = core.limits.URL_PARAMS_MAX

--- Decode %XX; anything else stays as it is.
function query.unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function decode(text)
  return query.unescape((text:gsub("+", " ")))
end

--- Parse a raw query string.
-- @tparam string|nil text
-- @treturn table|nil first value by name; nil when there are more than 100 parameters
-- @treturn table all values by name, in order
function query.parse(text)
  local first, all, n = {}, {}, 0
  if text == nil or text == "" then return first, all end
  for pair in text:gmatch("[^&]+") do
    n = n + 1
    if n > PAIRS_MAX then return nil, all end
    local name, value = pair:match("^([^=]*)=(.*)$")
    name, value = decode(name or pair), decode(value or "")
    if first[name] == nil then first[name], all[name] = value, {} end
    table.insert(all[name], value)
  end
  return first, all
end

--- The values of a parameter as one list; commas separate too.
-- @tparam table all from query.parse
-- @tparam string name
-- @treturn {string,...}|nil nil when it is absent, {} when it is empty
function query.list(all, name)
  local values = all[name]
  if not values then return nil end
  local list = {}
  for _, value in ipairs(values) do
    for item in value:gmatch("[^,]+") do list[#list + 1] = item end
  end
  return arrays.mark(list)
end

--- The cookies of a request.
-- @tparam string|nil header
-- @treturn table
function query.cookies(header)
  local out = {}
  for pair in (header or ""):gmatch("[^;]+") do
    -- everything before "=" is the name: "x session=1" sets no cookie "session"
    local name, value = pair:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if name and out[name] == nil then out[name] = value:match('^"(.*)"$') or value end
  end
  return out
end

local Headers = {
  __index = function(self, name)
    if type(name) ~= "string" then return nil end
    local lower = name:lower()
    if lower == name then return nil end
    return rawget(self, lower)
  end,
}

--- Make names of a header table (lower case) match in any case.
function query.headers(headers)
  return setmetatable(headers, Headers)
end

return query
