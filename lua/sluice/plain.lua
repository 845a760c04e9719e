--- Plain data: what may outlive a generation. Copies are deep; nothing is kept.
local json = require("sluice.json")
local ARRAY = require("sluice.json_writer").ARRAY

local plain = {}

local DEPTH_MAX = 64

--- Find the first value that is not plain data.
-- @param value anything
-- @tparam string path its name, for the message
-- @treturn string|nil "docs.f is a function", or nil when all is plain
function plain.fault(value, path, depth)
  local t = type(value)
  if t == "table" then
    depth = (depth or 0) + 1
    if depth > DEPTH_MAX then return path .. " is nested deeper than " .. DEPTH_MAX end
    for k, v in next, value do
      if type(k) == "table" or type(k) == "function" then
        return ("%s has a %s as a key"):format(path, type(k))
      end
      local fault = plain.fault(v, path .. "." .. tostring(k), depth)
      if fault then return fault end
    end
  elseif t == "function" or t == "thread" or t == "userdata" and value ~= json.null then
    return ("%s is a %s"):format(path, t)
  end
  return nil
end

--- A deep copy without metatables; arrays stay arrays.
function plain.copy(value)
  if type(value) ~= "table" then return value end
  local out = getmetatable(value) == ARRAY and json.array() or {}
  for k, v in next, value do out[k] = plain.copy(v) end
  return out
end

--- Remove what is not plain data, in place.
-- @tparam table value
-- @tparam string path
-- @tparam function told called with a sentence for each value that was dropped
function plain.strip(value, path, told)
  for k, v in next, value do
    local here = path .. "." .. tostring(k)
    if type(v) == "table" then
      plain.strip(v, here, told)
    elseif plain.fault(v, here) then
      value[k] = nil
      told(plain.fault(v, here))
    end
  end
end

return plain
