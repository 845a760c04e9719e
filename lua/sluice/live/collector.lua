--- The pace of Lua's garbage collector.
-- A turn of the loop must not wait for it, so its steps are short. A cycle visits every object
-- there is; in a small heap it would begin again after little garbage, and cost more than the
-- handlers that made it. So there are at least SLACK KiB between two cycles, and PAUSE percent of
-- what is alive when that is more. Keeps in memory whether a cycle has just ended.
local collector = { is_over = false }

-- A step traverses so many words for each that was allocated; the hand-over of a thousand
-- coroutines allocates much at once, and with Lua's 100 a turn of it took up to 40 ms, with 20
-- below 4.
local PAUSE, STEP_MULTIPLIER, STEP_SIZE = 150, 20, 10
local SLACK = 4096
local PAUSE_MAX = 1000 -- that Lua can store

-- Is garbage at once: its finalizer runs when a cycle ends, where nothing can be set.
local Sentinel = {}
Sentinel.__gc = function()
  collector.is_over = true
  setmetatable({}, Sentinel)
end

--- A cycle has ended: decide when the next one begins. Until then all that the heap holds is alive,
-- or nearly.
function collector.adapt()
  collector.is_over = false
  local enough = 100 + 100 * SLACK / collectgarbage("count")
  local pause = math.min(math.max(PAUSE, enough), PAUSE_MAX) // 1
  collectgarbage("incremental", pause, STEP_MULTIPLIER, STEP_SIZE)
end

--- From now on the collector keeps this pace.
function collector.start()
  collector.adapt()
  setmetatable({}, Sentinel)
end

return collector
