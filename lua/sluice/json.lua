--- JSON over lua-cjson, the same on Debian's 2.1.0 and on the OpenResty fork.
--- cjson does the work; this file knows its traps. encode() lets cjson write the text and
--- looks at that text; only what cjson refuses or spoils (large numbers, empty arrays) is
--- written again by json_writer, which also words the errors. decode() makes integers of
--- integral floats, keeps arrays arrays and is strict about numbers.
--- Keeps in memory: one cjson instance of its own and cjson's output buffer (up to 1 MiB).
local need = require("sluice.need")
local cjson = need("cjson")
local text_repair = require("sluice.json_text")
local writer = require("sluice.json_writer")

-- cjson exits the process when malloc fails, so sizes are checked before it is called. It
-- may take six bytes for one of a string.
local BYTES_MAX = 16 * 1024 * 1024
-- With a smaller Lua heap no value is worth a walk: its strings are parts of the heap.
local HEAP_WALK_KB = 64 * 1024
-- cjson keeps the largest buffer it ever needed; above this it is told to let go.
local BUFFER_KEEP_BYTES = 1024 * 1024
local DEPTH_MAX = 64

local find, byte = string.find, string.byte
local count, pcall, type, next = collectgarbage, pcall, type, next
local to_integer = math.tointeger

-- A private instance: the application may use cjson with other settings.
local codec = cjson.new()
codec.decode_invalid_numbers(false)
codec.encode_max_depth(DEPTH_MAX)
codec.decode_max_depth(DEPTH_MAX)
-- An array is 1..n without a gap; the writer says what to do about any other.
codec.encode_sparse_array(false, 1, 0)
local cjson_encode, cjson_decode = codec.encode, codec.decode
-- On 2.1.0 every number passes through a double, and floats come out.
local EXACT_INTEGERS = math.type(codec.decode("1")) == "integer"

local json = { null = cjson.null }
local ARRAY = writer.ARRAY
-- Set by the first array(): until then no empty table can be meant as an array.
local arrays_exist = false

--- Mark a table as an array, so that it is written as [] when it is empty, and gaps as null.
-- @tparam[opt] table t marked in place
-- @treturn table the same table, or a new one
function json.array(t)
  if t ~= nil and type(t) ~= "table" then
    error("json.array: expected a table, got " .. type(t), 2)
  end
  arrays_exist = true
  return setmetatable(t or {}, ARRAY)
end

-- Has cjson printed a number in the form 1.7e+15? It keeps 14 digits, so anything from 1e14
-- may have lost some.
local function has_large_number(text)
  local plus = find(text, "+", 1, true)
  while plus do
    local digit, e = byte(text, plus - 2, plus - 1)
    if e == 101 and digit >= 48 and digit <= 57 then return true end
    plus = find(text, "+", plus + 1, true)
  end
  return false
end

local function write(value)
  local text, message, code = writer.write(value, codec, DEPTH_MAX, BYTES_MAX)
  if not text then return nil, message, code end
  return text_repair.escape(text)
end

local function collect_empty_arrays(t, list)
  for _, item in next, t do
    if type(item) == "table" then
      if next(item) ~= nil then
        collect_empty_arrays(item, list)
      elseif getmetatable(item) == ARRAY then
        list[#list + 1] = item
      end
    end
  end
  return list
end

local MARKED_EMPTY = '%["' .. text_repair.EMPTY .. '"%]'

-- Encode again with something in the empty arrays. The value is finite: it was encoded before.
local function encode_with_arrays(value, text)
  local empty = collect_empty_arrays({ value }, {})
  if #empty == 0 then return text end
  for _, array in ipairs(empty) do array[1] = text_repair.EMPTY end
  local ok, marked = pcall(cjson_encode, value)
  for _, array in ipairs(empty) do array[1] = nil end
  if not ok then return writer.write(value, codec, DEPTH_MAX, BYTES_MAX) end
  return (marked:gsub(MARKED_EMPTY, "[]"))
end

--- Write a value as JSON text on one line: valid UTF-8 (bytes that are not become U+FFFD),
--- with the separators U+2028, U+2029 and U+0085 escaped. Floats keep 14 digits, integers all.
-- @param value nil, json.null, boolean, number, string, or a table of these
-- @treturn string|nil text
-- @treturn string message that names the place, as data.items[3].f
-- @treturn string "EJSON", or "ETOOBIG" for more than 16 MiB
function json.encode(value)
  if count("count") > HEAP_WALK_KB and not writer.fits(value, DEPTH_MAX, BYTES_MAX) then
    return write(value)
  end
  local ok, text = pcall(cjson_encode, value)
  if not ok or has_large_number(text) then return write(value) end
  if arrays_exist and find(text, "{}", 1, true) then text = encode_with_arrays(value, text) end
  if #text > BUFFER_KEEP_BYTES then
    codec.encode_keep_buffer(false)
    codec.encode_keep_buffer(true)
  end
  return text_repair.escape(text)
end

-- Make decoded values what they were in the text: 1 an integer, [] an array. Returns a
-- complaint, or nil; sets found.long when an integer may have lost digits.
local function mend(t, found)
  if t[1] ~= nil then
    arrays_exist = true
    setmetatable(t, ARRAY)
    if t[1] == text_repair.EMPTY then
      t[1] = nil
      return nil
    end
  end
  for key, value in next, t do
    local kind = type(value)
    if kind == "number" then
      local integer = to_integer(value)
      if integer then
        t[key] = integer
        if integer >= 2^53 or integer <= -2^53 then found.long = true end
      elseif value - value ~= 0 then
        return "a number is too large"
      end
    elseif kind == "table" then
      local complaint = mend(value, found)
      if complaint then return complaint end
    elseif kind == "string" and found.exact then
      t[key] = text_repair.exact_integer(value)
    end
  end
end

-- Decode and mend: returns the value in a box and the text that was read, or nil, message.
local function parse(text, found)
  local ok, value = pcall(cjson_decode, text)
  if not ok and text_repair.has_surrogates(text) then
    text = text_repair.replace_lone_surrogates(text)
    ok, value = pcall(cjson_decode, text)
  end
  if not ok then return nil, value end
  local box = { value = value }
  local complaint = mend(box, found)
  if complaint then return nil, complaint end
  return box, text
end

local function decode(original)
  local text = text_repair.valid_utf8(original)
  if text_repair.has_loose_number(text) then
    return nil, "not JSON: a number needs digits on both sides of its point", "EJSON"
  end
  if text_repair.has_empty_array(text) then text = text_repair.mark_empty_arrays(text) end
  local found = {}
  local box, rest = parse(text, found)
  if box and found.long and not EXACT_INTEGERS then
    box, rest = parse(text_repair.mark_long_integers(rest), { exact = true })
  end
  if box then return box.value end
  -- The marks moved what cjson counts: its own word on the text as it came.
  local ok, message = pcall(cjson_decode, original)
  return nil, "not JSON: " .. (ok and rest or message), "EJSON"
end

--- Read JSON text. Integral numbers become integers, null becomes json.null, arrays stay
--- arrays when they are encoded again.
-- @tparam string text
-- @tparam[opt=64] integer max_depth levels of arrays and objects, at most 1000
-- @return the value, or nil, message, "EJSON" ("ETOOBIG" for more than 16 MiB)
function json.decode(text, max_depth)
  if text == nil then return nil, "not JSON: there is no text", "EJSON" end
  if type(text) ~= "string" then
    error("json.decode: expected a string, got " .. type(text), 2)
  end
  if #text > BYTES_MAX then
    local message = "%d bytes of JSON are more than %d"
    return nil, message:format(#text, BYTES_MAX), "ETOOBIG"
  end
  if not max_depth or max_depth == DEPTH_MAX then return decode(text) end
  codec.decode_max_depth(max_depth)
  local value, message, code = decode(text)
  codec.decode_max_depth(DEPTH_MAX)
  return value, message, code
end

return json
