--- The dice of the generator: everything that is drawn comes from math.random, which run.lua
--- seeds once for a draw.
local dice = {}

local random = math.random

function dice.chance(p) return random() < p end

function dice.pick(list) return list[random(#list)] end

--- One of { [value] = weight }: drawn in the order of the list { value, weight, value, weight … }.
function dice.weighed(list)
  local sum = 0
  for i = 2, #list, 2 do sum = sum + list[i] end
  local at = random() * sum
  for i = 2, #list, 2 do
    at = at - list[i]
    if at < 0 then return list[i - 1] end
  end
  return list[#list - 1]
end

--- Small numbers often, large ones rarely: each further one has the chance p.
function dice.few(p, most)
  local n = 0
  while n < most and random() < p do n = n + 1 end
  return n
end

--- A list of n things that fn makes.
function dice.list(n, fn)
  local out = {}
  for i = 1, n do out[i] = fn(i) end
  return out
end

function dice.shuffle(list)
  for i = #list, 2, -1 do
    local j = random(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

--- n characters of the alphabet.
function dice.text(n, alphabet)
  local out = {}
  for i = 1, n do
    local at = random(#alphabet)
    out[i] = alphabet:sub(at, at)
  end
  return table.concat(out)
end

--- The same text, each letter in either case.
function dice.case(text)
  local how = random(4)
  if how == 1 then return text end
  if how == 2 then return text:upper() end
  if how == 3 then return text:lower() end
  return (text:gsub("%a", function(c) return random(2) == 1 and c:upper() or c:lower() end))
end

return dice
