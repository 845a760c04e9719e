--- Plain data: values that may outlive a generation. Copies are deep. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local json = require("sluice.json")

local plain = {}

local DEPTH_MAX = core.limits.JSON_DEPTH_MAX

-- What kind of thing a value that is not plain is, or nil; a table with a metatable is an object.
local function oddity(value)
  local t = type(value)
  if value == json.null or arrays.is_marked(value) then return nil end
  if t == "function" or t == "thread" or t == "userdata" then return t end
  local meta = t == "table" and getmetatable(value)
  if not meta then return nil end
  return type(meta) == "table" and rawget(meta, "__name") or "table with a metatable"
end

local function key_fault(path, k)
  if type(k) == "string" or type(k) == "number" or type(k) == "boolean" then return nil end
  return ("%s has a %s as a key"):format(path, type(k))
end

--- Find the first value that is not plain data.
-- @param value anything
-- @tparam string path its name, for the message
-- @treturn string|nil "docs.f is a function", or nil when all is plain
function plain.fault(value, path, depth)
  local odd = oddity(value)
  if odd then return ("%s is a %s"):format(path, odd) end
  if type(value) ~= "table" then return nil end
  depth = (depth or 0) + 1
  if depth > DEPTH_MAX then return path .. " is nested deeper than " .. DEPTH_MAX end
  for k, v in next, value do
    local fault = key_fault(path, k) or plain.fault(v, path .. "." .. tostring(k), depth)
    if fault then return fault end
  end
  return nil
end

-- What would come back from JSON as another value, or nil: NaN and the like are refused there.
local function altered(value, path)
  if type(value) == "string" then return not utf8.len(value) and path .. " is not UTF-8" or nil end
  if type(value) ~= "table" then return nil end
  local texts, places
  for k, v in next, value do
    texts, places = texts or type(k) == "string", places or math.type(k) == "integer"
    local fault = altered(k, path .. ": a key") or altered(v, path .. "." .. tostring(k))
    if fault then return fault end
    if type(k) ~= "string" and math.type(k) ~= "integer" then
      return ("%s has a key that is neither a string nor a place in a list"):format(path)
    end
  end
  return texts and places and path .. " has strings and numbers as keys" or nil
end

--- Plain data as JSON text that gives the same value when it is read again.
-- @param value in which plain.fault finds nothing
-- @tparam string path its name, for the message
-- @treturn string|nil or nil, message, "EJSON" (or "ETOOBIG")
function plain.text(value, path)
  local fault = altered(value, path)
  if fault then return nil, fault .. ": it cannot be stored as it is", "EJSON" end
  local text, message, code = json.encode(value)
  if not text then return nil, (message:gsub("^data", function() return path end)), code end
  return text
end

--- A deep copy without metatables; arrays stay arrays.
function plain.copy(value)
  if type(value) ~= "table" then return value end
  local out = arrays.is_marked(value) and json.array() or {}
  for k, v in next, value do out[k] = plain.copy(v) end
  return out
end

local function walk(value, path, out, seen)
  seen[value] = true
  for k, v in next, value do
    local odd = oddity(v)
    local fault = key_fault(path, k)
      or odd and ("%s.%s is a %s"):format(path, tostring(k), odd)
    if fault then
      out[#out + 1] = { holder = value, key = k, text = fault }
    elseif type(v) == "table" and not seen[v] then
      walk(v, path .. "." .. tostring(k), out, seen)
    end
  end
end

--- All that is not plain data in a table, which may hold cycles.
-- @tparam table value
-- @tparam string path
-- @treturn {table,...} { holder, key, text }: `holder[key]` is not plain, `text` says why
function plain.faults(value, path)
  local out = {}
  walk(value, path, out, {})
  return out
end

--- Remove what plain.faults found.
-- @treturn {string,...} the sentences
function plain.drop(faults)
  local texts = {}
  for i, fault in ipairs(faults) do
    fault.holder[fault.key] = nil
    texts[i] = fault.text
  end
  return texts
end

--- A deep copy of a table that leaves out what is not plain data; cycles stay cycles.
-- @tparam table value
-- @tparam string path
-- @treturn table
-- @treturn {string,...} a sentence for each value that was left out
function plain.clean_copy(value, path)
  local left_out = {}
  for _, fault in ipairs(plain.faults(value, path)) do
    left_out[fault.holder] = left_out[fault.holder] or {}
    left_out[fault.holder][fault.key] = fault.text
  end
  local done, texts = {}, {}
  local function copy(from)
    if type(from) ~= "table" then return from end
    if done[from] then return done[from] end
    local out, without = arrays.is_marked(from) and json.array() or {}, left_out[from]
    done[from] = out
    for k, v in next, from do
      if without and without[k] then texts[#texts + 1] = without[k] else out[k] = copy(v) end
    end
    return out
  end
  return copy(value), texts
end

return plain
