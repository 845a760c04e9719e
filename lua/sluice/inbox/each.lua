--- Do something for each item of a list, for up to 64 of them at the same time, so that those who
--- wait for the disk share its commits. Keeps nothing in memory.
local sluice = require("sluice")

local WORKERS, SLICE, PAUSE = 64, 100, 0.002

--- Call fn for each item, and return when all have ended. When this coroutine is closed no more
-- begin.
-- @tparam sluice.App app
-- @tparam table list
-- @tparam function fn
return function(app, list, fn)
  local at, open, is_over = 0, 0, false
  local _ <close> = setmetatable({}, { __close = function() is_over = true end })
  local function work()
    while at < #list and not is_over do
      at = at + 1
      fn(list[at])
      if at % SLICE == 0 then sluice.sleep(0) end
    end
  end
  local function worker()
    local _ <close> = setmetatable({}, { __close = function() open = open - 1 end })
    work()
  end
  for _ = 2, math.min(WORKERS, #list) do
    if app:spawn(worker) then open = open + 1 end
  end
  work()
  while open > 0 do sluice.sleep(PAUSE) end
end
