--- JSON that loses nothing, beside lua-cjson, whose values it takes and makes: numbers keep
--- every bit, integers stay integers, empty arrays stay arrays, and text is valid UTF-8 on one
--- line. The work is done by the core. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local need = require("sluice.base.need")
local cjson = need("cjson")

local write, read = core.json.codec(arrays.MARK, arrays.EMPTY_MARK, arrays.EMPTY)

--- `json.null` stands for null: it is `cjson.null`.
local json = { null = cjson.null }

--- Mark a table as an array, so that it is written as [] when it is empty, and gaps as null.
-- The mark is `cjson.array_mt` where lua-cjson has it: then `cjson.encode` writes an array, too.
-- @tparam[opt] table t marked in place
-- @treturn table the same table, or a new one
function json.array(t)
  if t ~= nil and type(t) ~= "table" then
    error("json.array: expected a table, got " .. type(t), 2)
  end
  return setmetatable(t or {}, arrays.MARK)
end

--- Write a value as JSON text on one line: valid UTF-8 (bytes that are not become U+FFFD), with
--- the separators U+2028, U+2029 and U+0085 escaped. Integers are written in full, floats with
--- the fewest digits that read back as the same float; NaN and infinities are refused.
-- @function encode
-- @param value nil, json.null, boolean, number, string, or a table of these, 64 levels deep;
--   what lua-cjson marks as an array (`array_mt`, `empty_array_mt`, `empty_array`) is one
-- @treturn string|nil text
-- @treturn string message that names the place, as data.items[3].f
-- @treturn string "EJSON", or "ETOOBIG" for more than 16 MiB
json.encode = write

--- Read JSON text. Whole numbers within 64 bits become integers (but -0, which is a float),
--- others the nearest float; null becomes json.null, arrays stay arrays when they are encoded
--- again.
-- @tparam string text
-- @tparam[opt=64] integer max_depth levels of arrays and objects, at most 1000
-- @return the value, or nil, message, "EJSON" ("ETOOBIG" for more than 16 MiB)
function json.decode(text, max_depth)
  if text == nil then return nil, "not JSON: there is no text", "EJSON" end
  if type(text) ~= "string" then
    error("json.decode: expected a string, got " .. type(text), 2)
  end
  return read(text, max_depth)
end

return json
