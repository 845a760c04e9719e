--- How often Lua's collector has come round. A sentinel is made that the next cycle finalizes,
-- which counts it and makes the next one. In memory: that, and a number.
local collector = { cycles = 0 }

local arm

local SENTINEL = { __gc = function()
  collector.cycles = collector.cycles + 1
  arm()
end }

arm = function() setmetatable({}, SENTINEL) end

arm()

return collector
