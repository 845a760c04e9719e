--- A value in one short line, for messages and the log: `{ code = 7, list = { 1, 2 } }`.
-- Calls no metamethod, and handles cycles. Keeps nothing in memory.
local core = require("sluice.core")

local DEPTH_MAX, ENTRIES_MAX, TEXT_MAX = 4, 20, 200

local show_value

local function cut(text)
  if #text <= TEXT_MAX then return text end
  local last = utf8.offset(text, 0, TEXT_MAX) or TEXT_MAX -- not within a character
  return text:sub(1, last - 1) .. "..."
end

local function show_key(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return cut(key) .. " = " end
  return "[" .. show_value(key, DEPTH_MAX, {}) .. "] = "
end

local function by_kind(a, b)
  local left, right = type(a), type(b)
  if left ~= right then return left < right end
  if left == "number" or left == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function show_table(value, depth, above)
  if above[value] then return "{ (itself) }" end
  if next(value) == nil then return "{}" end
  if depth >= DEPTH_MAX then return "{ ... }" end
  above[value] = true
  local keys, parts, n = {}, {}, rawlen(value)
  for key in next, value do
    local in_list = math.type(key) == "integer" and key >= 1 and key <= n
    if not in_list and #keys <= ENTRIES_MAX then keys[#keys + 1] = key end
  end
  table.sort(keys, by_kind)
  for i = 1, math.min(n, ENTRIES_MAX) do
    parts[i] = show_value(rawget(value, i), depth + 1, above)
  end
  for _, key in ipairs(keys) do
    if #parts >= ENTRIES_MAX then break end
    parts[#parts + 1] = show_key(key) .. show_value(rawget(value, key), depth + 1, above)
  end
  if n + #keys > #parts then parts[#parts + 1] = "..." end
  above[value] = nil
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function show_value(value, depth, above)
  local kind = type(value)
  if kind == "string" then return '"' .. cut(value):gsub('[\\"]', "\\%0") .. '"' end
  if kind == "table" then return show_table(value, depth, above) end
  if kind == "nil" or kind == "number" or kind == "boolean" then return core.text_of(value) end
  return "a " .. kind
end

--- @param value anything
-- @treturn string
local function show(value)
  return show_value(value, 0, {})
end

return show
