--- Which tables are arrays in JSON, which their type does not show: lua-cjson marks them; where
--- the installed lua-cjson (Debian's) has no mark, Sluice has its own. Keeps nothing in memory.
local core = require("sluice.core")
local need = require("sluice.base.need")
local cjson = need("cjson")

--- MARK is the metatable that json.array and json.decode give; EMPTY_MARK and EMPTY, a light
--- userdata, are lua-cjson's, or nil.
local arrays = { MARK = cjson.array_mt or core.json.ARRAY, EMPTY_MARK = cjson.empty_array_mt,
  EMPTY = cjson.empty_array }

--- Whether a value is marked as an array, whatever it holds.
function arrays.is_marked(value)
  if type(value) ~= "table" then return value ~= nil and value == arrays.EMPTY end
  local meta = getmetatable(value)
  return meta ~= nil and (meta == arrays.MARK or meta == arrays.EMPTY_MARK)
end

--- Mark a list that the API returns, so that it is [] in JSON also when it is empty.
-- @tparam table list marked in place
-- @treturn table the same
function arrays.mark(list) return setmetatable(list, arrays.MARK) end

return arrays
