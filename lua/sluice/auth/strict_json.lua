--- JSON objects of which each name comes once: a token that says two things to two readers is
-- refused. Keeps nothing in memory.
local json = require("sluice.json")

local strict_json = {}

local DEPTH_MAX = 16

-- The name that a string literal stands for: "\u0061lg" is alg.
local function name_of(literal)
  return literal:find("\\", 1, true) and json.decode(literal) or literal:sub(2, -2)
end

-- Whether an object has a name twice. The text is JSON already.
local function repeats(text)
  local open, at = {}, 1 -- per level: the names so far, or false in an array
  while true do
    local first, mark
    first, mark = text:match('()([{}%[%]"])', at)
    if not first then return false end
    at = first + 1
    if mark == "{" then
      open[#open + 1] = {}
    elseif mark == "[" then
      open[#open + 1] = false
    elseif mark ~= '"' then
      open[#open] = nil
    else
      repeat
        at = text:find('["\\]', at) + 1
        local escaped = text:byte(at - 1) == 92
        if escaped then at = at + 1 end
      until not escaped
      local names = open[#open]
      if names and text:find("^%s*:", at) then
        local name = name_of(text:sub(first, at - 1))
        if names[name] then return true end
        names[name] = true
      end
    end
  end
end

--- Read a text.
-- @tparam string text
-- @treturn table|nil an object; or nil and what is wrong
function strict_json.object(text)
  local value = json.decode(text, DEPTH_MAX)
  if type(value) ~= "table" or not text:find("^%s*{") then return nil, "it is no JSON object" end
  if repeats(text) then return nil, "a name comes twice in an object" end
  return value
end

return strict_json
