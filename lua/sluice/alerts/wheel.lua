--- When to look at a subject again: lists of subjects by quarter of a second. A subject that goes
--- on sending costs nothing here but a look once per period. In memory: one place in a list for
--- each subject that was added; the tables are plain data, which stand in the state of an app.
local sluice = require("sluice")

local wheel = {}

local PER_SECOND = 4
local SLICE = 500 -- subjects between two points where others may run

--- An empty one.
-- @tparam number now monotonic seconds
function wheel.new(now) return { done = math.floor(now * PER_SECOND), lists = {} } end

--- Look at a subject at a time, or soon after.
function wheel.add(w, subject, at)
  local slot = math.max(math.ceil(at * PER_SECOND), w.done + 1)
  local list = w.lists[slot]
  if not list then
    list = {}
    w.lists[slot] = list
  end
  list[#list + 1] = subject
end

--- Take a subject out, wherever it is.
function wheel.remove(w, subject)
  for _, list in pairs(w.lists) do
    for i = #list, 1, -1 do
      if list[i] == subject then table.remove(list, i) end
    end
  end
end

--- Call look(subject) for all that are due. It lets others run, and may be closed there: what was
-- not looked at stays due.
-- @tparam table w
-- @tparam function is_current whether this wheel still counts
-- @tparam function look
function wheel.turn(w, is_current, look)
  local seen, till = 0, math.floor(sluice.now() * PER_SECOND)
  while w.done < till do
    local list = w.lists[w.done + 1]
    while list and #list > 0 do
      local subject = table.remove(list)
      look(subject)
      seen = seen + 1
      if seen % SLICE == 0 then
        sluice.sleep(0)
        if not is_current() then return end
      end
    end
    w.lists[w.done + 1] = nil
    w.done = w.done + 1
  end
end

return wheel
