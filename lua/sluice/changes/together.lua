--- Many at a time, so that what they wait for is one commit. Keeps nothing in memory.
local sluice = require("sluice")

local TOGETHER = 128

--- Run a function for each of a list, begun in their order, each in a coroutine of its own. Waits
-- for all.
-- @tparam sluice.App app
-- @tparam table list
-- @tparam function fn
return function(app, list, fn)
  local left = 0
  local done = { __close = function() left = left - 1 end }
  for i, value in ipairs(list) do
    left = left + 1
    app:spawn(function()
      local _ <close> = setmetatable({}, done)
      fn(value)
    end)
    if i % TOGETHER == 0 or i == #list then
      while left > 0 do sluice.sleep(0.001) end
    end
  end
end
