--- A JSON writer in Lua for what cjson refuses or spoils: numbers from 1e14 on, marked
--- arrays that are empty or have gaps; and the words for what JSON cannot carry.
--- Slower than cjson by far and called only when needed. Keeps nothing in memory.
local json_writer = {}

--- The metatable of arrays; made by json.array.
local ARRAY = { __name = "sluice.array" }
json_writer.ARRAY = ARRAY

local Writer = {}
Writer.__index = Writer

local PATH_BYTES_MAX = 200
local INT_MAX = 0x7fffffff

local function key_text(key)
  if math.type(key) == "integer" then return ("[%d]"):format(key) end
  if type(key) ~= "string" then return ("[%s]"):format(tostring(key)) end
  if key:find("^[%a_][%w_]*$") then return "." .. key end
  return ('["%s"]'):format(key:sub(1, 40):gsub("[%c\x7f-\xff]", "?"))
end

-- Where the writer is, as data.items[3].
function Writer:place()
  local parts = { "data" }
  for depth = 1, self.depth do parts[depth + 1] = key_text(self.path[depth]) end
  local place = table.concat(parts)
  if #place <= PATH_BYTES_MAX then return place end
  return place:sub(1, PATH_BYTES_MAX) .. "…"
end

-- End the writing: caught in json_writer.write.
function Writer:refuse(problem, code)
  error({ message = self:place() .. " " .. problem, code = code or "EJSON" }, 0)
end

-- Refuse before anything of that size is made.
function Writer:make_room(bytes)
  if self.bytes + bytes <= self.bytes_max then return end
  self.depth = 0
  self:refuse(("makes more than %d bytes of JSON"):format(self.bytes_max), "ETOOBIG")
end

function Writer:add(text)
  self:make_room(#text)
  self.bytes = self.bytes + #text
  self.parts[#self.parts + 1] = text
end

function Writer:add_string(text)
  self:make_room(#text + 2)
  self:add(self.codec.encode(text))
end

local function number_text(number)
  if math.type(number) == "integer" then return ("%d"):format(number) end
  if math.abs(number) < 1e14 then return ("%.14g"):format(number) end
  local integer = math.tointeger(number)
  if integer then return ("%d"):format(integer) end
  for digits = 15, 16 do
    local text = ("%." .. digits .. "g"):format(number)
    if tonumber(text) == number then return text end
  end
  return ("%.17g"):format(number)
end

function Writer:add_number(number)
  if number ~= number then self:refuse("is NaN: JSON has no such number") end
  if number - number ~= 0 then self:refuse("is infinite: JSON has no such number") end
  self:add(number_text(number))
end

-- The length of a table as an array, or nil for an object: as cjson has it, positive
-- integer keys make an array, as long as they fit an int.
function Writer:array_length(t)
  local marked = getmetatable(t) == ARRAY
  local last, items, key = 0, 0, next(t)
  while key ~= nil do
    local integer = type(key) == "number" and math.tointeger(key)
    if not integer or integer < 1 then return nil end
    last, items = math.max(last, integer), items + 1
    key = next(t, key)
  end
  if marked then return last end
  if items == 0 or last > INT_MAX then return nil end
  if last > items then
    self:refuse(("has gaps (%d items, the last has number %d): "):format(items, last)
      .. "use string keys, or sluice.json.array")
  end
  return last
end

function Writer:add_array(t, length)
  self:make_room(2 * length)
  self:add("[")
  for i = 1, length do
    if i > 1 then self:add(",") end
    self.path[self.depth] = i
    self:add_value(rawget(t, i))
  end
  self:add("]")
end

function Writer:add_object(t)
  self:add("{")
  local comma = false
  for key, value in next, t do
    self.path[self.depth] = key
    if comma then self:add(",") end
    comma = true
    if type(key) == "string" then
      self:add_string(key)
    elseif type(key) == "number" then
      self:add('"' .. number_text(key) .. '"')
    else
      self.depth = self.depth - 1
      self:refuse(("has a key of type %s: JSON has string keys only"):format(type(key)))
    end
    self:add(":")
    self:add_value(value)
  end
  self:add("}")
end

function Writer:add_table(t)
  if self.open[t] then self:refuse("is a table that holds itself") end
  if self.depth == self.depth_max then
    self:refuse(("is nested deeper than %d levels"):format(self.depth_max))
  end
  local length = self:array_length(t)
  self.open[t] = true
  self.depth = self.depth + 1
  if length then self:add_array(t, length) else self:add_object(t) end
  self.depth = self.depth - 1
  self.open[t] = nil
end

function Writer:add_value(value)
  local kind = type(value)
  if kind == "string" then
    self:add_string(value)
  elseif kind == "number" then
    self:add_number(value)
  elseif kind == "boolean" then
    self:add(value and "true" or "false")
  elseif kind == "table" then
    self:add_table(value)
  elseif value == nil or value == self.null then
    self:add("null")
  else
    self:refuse(("is a %s: JSON cannot carry it"):format(kind))
  end
end

--- Write a value as JSON text.
-- @param value anything
-- @tparam table codec a cjson instance, for the strings
-- @tparam integer depth_max levels of tables
-- @tparam integer bytes_max of the text
-- @return text, or nil, message, code
function json_writer.write(value, codec, depth_max, bytes_max)
  local w = setmetatable({ codec = codec, null = codec.null, depth_max = depth_max,
    bytes_max = bytes_max, bytes = 0, depth = 0, path = {}, open = {}, parts = {} }, Writer)
  local ok, problem = pcall(w.add_value, w, value)
  if ok then return table.concat(w.parts) end
  if type(problem) ~= "table" then return nil, tostring(problem), "EJSON" end
  return nil, problem.message, problem.code
end

-- What is left of 'bytes' after a value, negative when it does not fit.
local function weigh(value, depth, bytes)
  local kind = type(value)
  if kind == "string" then return bytes - #value - 3 end
  if kind ~= "table" then return bytes - 4 end
  if depth == 0 then return bytes end
  bytes = bytes - 3
  for key, item in next, value do
    if bytes < 0 then return bytes end
    bytes = weigh(item, depth - 1, type(key) == "string" and bytes - #key or bytes)
  end
  return bytes
end

--- Is the text of a value surely not much larger than bytes_max? Ends early when it is.
function json_writer.fits(value, depth_max, bytes_max)
  return weigh(value, depth_max, bytes_max) >= 0
end

return json_writer
