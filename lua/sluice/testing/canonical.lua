--- JSON with its keys in order, for transcripts: the order that a Lua table has differs from
-- one process to the next. Keeps nothing in memory.
local json = require("sluice.json")

local write

local function write_list(t)
  local out = {}
  for i, value in ipairs(t) do out[i] = write(value) end
  return "[" .. table.concat(out, ",") .. "]"
end

local function write_object(t)
  local names, out = {}, {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i, name in ipairs(names) do
    out[i] = ("%s:%s"):format(json.encode(tostring(name)), write(t[name]))
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function write(value)
  if type(value) ~= "table" then return json.encode(value) end
  if #value > 0 or getmetatable(value) then return write_list(value) end
  return write_object(value)
end

--- Put the keys of a JSON text in order.
-- @tparam string text
-- @treturn string the text as it is when it is no JSON
return function(text)
  local value = json.decode(text)
  return value ~= nil and write(value) or text
end
