--- Waiting without sleeping blindly: ask again until the answer is yes or the time is up.
--- Under a sanitizer everything is slower, so every deadline is longer there.
local socket = require("socket")

local deadline = {}

deadline.scale = tonumber(os.getenv("SLUICE_SPEC_SLOW")) or (os.getenv("SLUICE_PRELOAD") and 5 or 1)

--- A function that says how many seconds are left (never below zero).
function deadline.after(seconds)
  local at = socket.gettime() + seconds * deadline.scale
  return function() return math.max(0, at - socket.gettime()) end
end

--- Raise this inside `fn` when waiting on is of no use.
function deadline.give_up(message)
  error(setmetatable({ message = message }, { __tostring = function(e) return e.message end }), 2)
end

--- Call `fn` until it returns something true, and return that. An error in `fn` counts as
--- "not yet"; when the time is up the last one is raised, with `what` was waited for.
function deadline.eventually(fn, seconds, what)
  local left = deadline.after(seconds or 5)
  local pause = 0.001
  while true do
    local results = table.pack(pcall(fn))
    if results[1] and results[2] then return table.unpack(results, 2, results.n) end
    local gave_up = not results[1] and type(results[2]) == "table" and results[2].message
    if gave_up then error(gave_up, 2) end
    if left() == 0 then
      local last = tostring(results[2])
      error(("not within %g s: %s (last: %s)"):format(seconds or 5, what or "the condition", last), 2)
    end
    socket.sleep(math.min(pause, left()))
    pause = math.min(pause * 2, 0.02)
  end
end

return deadline
