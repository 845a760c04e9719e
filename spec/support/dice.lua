--- Numbers of its own for each seed, so that a world is the same whatever else is drawn beside it.
---
---   local random = dice(seed)      random(n) -> 1 … n
return function(seed)
  local state = seed * 2862933555777941757 + 3037000493
  return function(n)
    state = state ~ (state << 13)
    state = state ~ (state >> 7)
    state = state ~ (state << 17)
    return (state >> 11) % n + 1
  end
end
