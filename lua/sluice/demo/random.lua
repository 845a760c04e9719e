--- Numbers of a demo: each name has a sequence that depends on the seed and the name alone, so that
--- a reload, or one more producer, changes nothing in the others. In memory: one number per name,
--- in a table that is given.
local random = {}

local MODULUS, FACTOR = (1 << 31) - 1, 48271 -- the minimal standard generator
local STEP, RANGE = 0.04, 0.5 -- of a walk, as parts of the example

local function first_of(name, seed)
  local value = math.type(seed) == "integer" and seed or math.floor(seed * 1000 % MODULUS)
  for i = 1, #name do value = (value * 31 + name:byte(i)) % MODULUS end
  return value % (MODULUS - 1) + 1
end

--- A function random(from, to), random(list) or random().
-- @tparam table drawn name -> the last number
-- @tparam string name
-- @tparam number seed
-- @treturn function
function random.of(drawn, name, seed)
  local function next_part()
    drawn[name] = (drawn[name] or first_of(name, seed)) * FACTOR % MODULUS
    return (drawn[name] - 1) / (MODULUS - 1)
  end
  next_part() -- neighbouring seeds begin alike
  return function(from, to)
    local part = next_part()
    if type(from) == "table" then return from[math.floor(part * #from) + 1] end
    return (from or 0) + part * ((to or 1) - (from or 0))
  end
end

-- Two decimals, more for a number that is small: four of its digits are left.
local function round_like(moved, value)
  if math.type(value) == "integer" then return math.floor(moved + 0.5) end
  if value == 0 then return value end
  local scale = 10 ^ math.max(2, 3 - math.floor(math.log(math.abs(value), 10)))
  local rounded = math.floor(moved * scale + 0.5) / scale
  return rounded - rounded == 0 and rounded or value -- the scale of the least numbers is no number
end

--- A copy of an example in which the numbers wander about where they began; an id does not.
-- @tparam table example
-- @tparam table walked name -> { field -> value }
-- @tparam string name
-- @tparam function draw
-- @treturn table
function random.walk(example, walked, name, draw)
  local places, data, fields = walked[name] or {}, {}, {}
  walked[name] = places
  for field in pairs(example) do fields[#fields + 1] = field end
  table.sort(fields, function(a, b) return tostring(a) < tostring(b) end)
  for _, field in ipairs(fields) do
    local value = example[field]
    data[field] = value
    local is_id = tostring(field):find("[iI]d$")
    if type(value) == "number" and not is_id then
      local part = (places[field] or 0) + draw(-STEP, STEP)
      places[field] = math.max(-RANGE, math.min(RANGE, part))
      local moved = value * (1 + places[field])
      data[field] = round_like(moved, value)
    end
  end
  return data
end

return random
