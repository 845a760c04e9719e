--- Properties of patterns by themselves, without a name to match: shape, order, overlap.
-- ":name" and "*" are one segment, "*name" and "**" the rest (which may be empty).
-- Matching itself is core.match. Keeps nothing in memory.
local patterns = {}

--- The segments between the slashes.
-- @tparam string text
-- @treturn {string,...}
function patterns.split(text)
  local list = {}
  for segment in (text .. "/"):gmatch("(.-)/") do list[#list + 1] = segment end
  return list
end

-- 0 literal, 1 one segment, 2 the rest
local function kind(segment)
  if segment == "*" or segment:match("^:.") then return 1 end
  if segment:match("^%*.") then return 2 end
  return 0
end

--- Whether a text holds a wildcard or a parameter.
function patterns.is_pattern(text)
  for _, segment in ipairs(patterns.split(text)) do
    if kind(segment) > 0 then return true end
  end
  return false
end

--- Two patterns of one shape match the same names.
-- @tparam string pattern
-- @treturn string
function patterns.shape(pattern)
  local list = patterns.split(pattern)
  for i, segment in ipairs(list) do
    local k = kind(segment)
    if k > 0 then list[i] = k == 1 and "*" or "**" end
  end
  return table.concat(list, "/")
end

--- Whether route 'a' is tried before route 'b': literal, then one segment, then the rest.
-- @treturn boolean|nil nil when they are equally specific
function patterns.before(a, b)
  local as, bs = patterns.split(a), patterns.split(b)
  for i = 1, math.max(#as, #bs) do
    local x = as[i] and kind(as[i]) or -1
    local y = bs[i] and kind(bs[i]) or -1
    if x ~= y then return x < y end
    if x == 0 and as[i] ~= bs[i] then return as[i] < bs[i] end
  end
  return nil
end

--- Whether some name could match both patterns. True may be wrong, false never is.
function patterns.may_overlap(a, b)
  local as, bs = patterns.split(a), patterns.split(b)
  local i = 1
  while true do
    local x, y = as[i], bs[i]
    if x and kind(x) == 2 or y and kind(y) == 2 then return true end
    if x == nil or y == nil then return x == y end
    if kind(x) == 0 and kind(y) == 0 and x ~= y then return false end
    i = i + 1
  end
end

--- A name that both patterns match, with "~" for a segment that neither fixes.
-- @treturn string|nil nil when they cannot overlap
function patterns.example(a, b)
  local as, bs, list = patterns.split(a), patterns.split(b), {}
  for i = 1, math.max(#as, #bs) do
    local x, y = as[i] and kind(as[i]) or -1, bs[i] and kind(bs[i]) or -1
    local low, high = math.min(x, y), math.max(x, y)
    if high == 2 and low ~= 0 and low ~= 1 then break end -- a rest may be empty
    if x == 2 then as[i + 1] = as[i] elseif y == 2 then bs[i + 1] = bs[i] end
    if low == -1 or high == 0 and as[i] ~= bs[i] then return nil end
    list[i] = x == 0 and as[i] or y == 0 and bs[i] or "~"
  end
  return #list > 0 and table.concat(list, "/") or "~"
end

--- The names of the parameters that are one segment.
-- @treturn {string,...}
function patterns.parameters(pattern)
  local list = {}
  for _, segment in ipairs(patterns.split(pattern)) do
    local name = segment:match("^:(.+)")
    if name then list[#list + 1] = name end
  end
  return list
end

--- Whether a pattern that takes the rest matches everything that another one matches: its start is
-- literal and the other starts with the same segments.
function patterns.covers(wide, narrow)
  local ws, ns = patterns.split(wide), patterns.split(narrow)
  for i, segment in ipairs(ws) do
    if kind(segment) == 2 then return true end
    if kind(segment) == 1 or segment ~= ns[i] then return false end
  end
  return false
end

--- Put parameters into a template such as "match/:id". Each fills one segment, never two.
-- @tparam string template
-- @tparam table params
-- @treturn string|nil the name
-- @treturn string|nil the parameter that is missing, or is more than one segment
function patterns.fill(template, params)
  if not template:find(":", 1, true) then return template end
  local list = patterns.split(template)
  for i, segment in ipairs(list) do
    local name = segment:match("^:(.+)")
    local value = name and tostring(params[name] or "/")
    if value and value:find("/", 1, true) then return nil, name end
    list[i] = value or segment
  end
  return table.concat(list, "/")
end

return patterns
