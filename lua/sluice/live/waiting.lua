--- How a coroutine of the app waits: methods of the scheduler, which resumes it. Keeps nothing in
-- memory.
local budget = require("sluice.base.budget")
local caller = require("sluice.base.caller")

local waiting = {}

local WAIT = {} -- what a fiber yields; anything else was yielded by mistake
waiting.WAIT = WAIT

-- Why the caller cannot wait, or nil.
local function obstacle(self, what)
  local fiber = self.current
  if self.closing then return ("%s cannot wait while a coroutine is closed"):format(what) end
  if not fiber then
    return ("%s works in handlers, tasks, hooks, timers and services only"):format(what)
  end
  if fiber.no_wait then return ("%s cannot wait in %s"):format(what, fiber.no_wait) end
  if budget.running() ~= fiber.co then
    return what .. " inside a coroutine of your own would return to its resume: call it outside, "
      .. "or use app:spawn()"
  end
  if not coroutine.isyieldable() then
    local name = caller.c_function() or "a C function"
    return ("%s inside %s cannot wait: collect first, then wait"):format(what, name)
  end
end

--- Wait until resume is called; returns the arguments of resume.
-- @tparam string what for the message when waiting is impossible
function waiting:wait(what)
  local problem = obstacle(self, what)
  if problem then caller.raise("%s", problem) end
  return coroutine.yield(WAIT)
end

--- The same when nothing stands in the way: Scheduler:obstacle was asked.
function waiting.park()
  return coroutine.yield(WAIT)
end

--- Why the running code cannot wait, or nil.
-- @tparam string what for the message
-- @treturn string|nil
waiting.obstacle = obstacle

--- Whether the running code may wait.
function waiting:can_wait()
  return obstacle(self, "") == nil
end

--- Let some seconds pass.
function waiting:sleep(seconds, what)
  local problem = obstacle(self, what or "sluice.sleep()")
  if problem then caller.raise("%s", problem) end
  local fiber = self.current
  fiber.wake = self:at(self.now() + seconds, function()
    fiber.wake = nil
    self:resume(fiber)
  end)
  self:wait(what or "sluice.sleep()")
end

--- Wait for another fiber's end, at most some seconds.
function waiting:join(other, seconds)
  local fiber = self.current
  if other.ended or not self:can_wait() then return other.ended == true end
  local before, done = other.on_end, false
  local entry
  local function go_on()
    if done then return end
    done = true
    self:drop(entry)
    self:resume(fiber)
  end
  other.on_end = function(...)
    if before then before(...) end
    self:at(self.now(), go_on)
  end
  entry = self:at(self.now() + seconds, go_on)
  self:wait("sluice")
  return other.ended == true
end

return waiting
