--- Coroutines of the app: start, sleep, wait, cancel.
--
-- A fiber is one coroutine together with the generation it belongs to and its kind
-- (request, stream, timer, task, service, hook, spawn). Fibers run on the app thread, one
-- at a time, from a callback of the core until they wait; nothing starts inside another
-- fiber but through the queue, so that depth never grows. In memory: the live fibers, and
-- one heap of everything that waits for a time.
local budget = require("sluice.base.budget")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local heap = require("sluice.base.heap")

local scheduler = {}

---@class sluice.Scheduler
local Scheduler = {}
Scheduler.__index = Scheduler
Scheduler.__name = "sluice.Scheduler"

local status = coroutine.status

local WAIT = {} -- what a fiber yields; anything else was yielded by mistake
Scheduler.WAIT = WAIT
local TURN_MAX = 1000 -- queued fibers that start in one turn; the rest in the next

--- Make one.
-- @tparam function now monotonic seconds
-- @tparam function report called with (fiber, failure) when a fiber died of an error
-- Its field `idle` may be set: called with a generation that is no longer live when its last fiber
-- has ended. `lease`: the lead that the next fiber needs (live/leadership.lua). `spare`: a
-- coroutine that has returned and may run the next fiber. `stirred` says that Scheduler:turn has
-- something to do: a fiber is queued, or times have changed.
-- @treturn sluice.Scheduler
function scheduler.new(now, report)
  return setmetatable({ now = now, report = report, times = heap.new(), fibers = {}, count = 0,
    made = 0, spare = nil, ready = {}, first = 1, last = 0, current = nil, closing = nil,
    idle = nil, stirred = true }, Scheduler)
end

local function forget(self, fiber)
  fiber.ended = true
  self.fibers[fiber] = nil
  self.count = self.count - 1
  if fiber.wake then self:drop(fiber.wake) end
end

-- Report the end of a fiber to its owner, then to what waits for its generation.
local function notify_end(self, fiber, ...)
  local on_end, generation = fiber.on_end, fiber.generation
  fiber.on_end = nil
  if on_end then on_end(...) end
  local left = generation.running - 1
  generation.running = left
  if left == 0 and generation.phase ~= "live" and self.idle then self.idle(generation) end
end

local function finish(self, fiber, ok, ...)
  forget(self, fiber)
  if not ok then
    budget.close_children(fiber)
    self.report(fiber, ...)
  end
  notify_end(self, fiber, ok, ...)
end

-- Whether the coroutine of a fiber that has returned may run another: that of a plan function, and
-- nobody knows it.
local function is_spare(fiber)
  return fiber.kind == "stream" and not (fiber.is_known or fiber.session)
end

local function settle(self, fiber, outer, alive, first, ...)
  self.current = outer
  if first == WAIT then -- nobody else has that value
    if fiber.cancelled then self:cancel(fiber) end
    return
  end
  if status(fiber.co) == "suspended" then
    return self:cancel(fiber,
      failure.late("coroutine.yield() cannot be resumed here: use sluice.sleep()"))
  end
  if not alive then
    budget.close(fiber.co, fiber.name)
    return finish(self, fiber, false, failure.late(first))
  end
  if first == true and is_spare(fiber) then self.spare = fiber.co end
  finish(self, fiber, first, ...)
end

local function run(self, fiber, ...)
  local outer = self.current
  self.current = fiber
  return settle(self, fiber, outer, core.run(fiber.name, fiber.co, ...))
end

local function make(self, generation, kind, name, on_end)
  local outer, made, lease = self.current, self.made, self.lease
  local fiber = { co = core.thread(self.spare), generation = generation, kind = kind, name = name,
    on_end = on_end, depth = 0, number = made, trace = outer and outer.trace, ended = false }
  if outer and kind == "spawn" then lease = lease or outer.lease end
  if lease then fiber.lease, self.lease = lease, nil end
  self.spare, self.made, self.fibers[fiber] = nil, made + 1, true
  self.count = self.count + 1
  generation.running = (generation.running or 0) + 1
  return fiber
end

--- Start a fiber now, from a callback of the core.
-- @tparam sluice.Generation generation
-- @tparam string kind
-- @tparam string name for messages
-- @tparam function|nil on_end called once: true and results, false and failure, nil when cancelled
-- @tparam function fn
-- @treturn table the fiber
function Scheduler:start(generation, kind, name, on_end, fn, ...)
  local fiber, outer = make(self, generation, kind, name, on_end), self.current
  self.current = fiber
  settle(self, fiber, outer, core.run(name, fiber.co, failure.try, fn, ...))
  return fiber
end

--- Start a fiber when the current one waits or ends.
function Scheduler:queue(generation, kind, name, on_end, fn, ...)
  local fiber = make(self, generation, kind, name, on_end)
  self.last, self.stirred = self.last + 1, true
  self.ready[self.last] = table.pack(fiber, failure.try, fn, ...)
  return fiber
end

--- Go on with a fiber that waits.
function Scheduler:resume(fiber, ...)
  if fiber.ended then return end
  local outer = self.current
  self.current = fiber
  return settle(self, fiber, outer, core.run(fiber.name, fiber.co, ...))
end

--- End a fiber: its `<close>` variables run, it never goes on, its on_end gets nil.
-- A fiber cannot cancel itself while it runs: it ends when it waits next.
-- @tparam table fiber
-- @tparam[opt] sluice.Failure problem why, when that is an error
function Scheduler:cancel(fiber, problem)
  if fiber.ended then return end
  if fiber == self.current then fiber.cancelled = true return end
  forget(self, fiber)
  local outer = self.closing
  self.closing = fiber
  budget.close_children(fiber)
  local ok, trouble = budget.close(fiber.co, fiber.name)
  self.closing = outer
  if problem then self.report(fiber, problem) end
  if not ok then self.report(fiber, failure.late(trouble)) end
  notify_end(self, fiber, not problem and nil, problem)
end

--- The lead that the caller belongs to, also while it is closed; nil: none.
function Scheduler:token()
  local fiber = self.closing or self.current
  return fiber and fiber.lease
end

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
function Scheduler:wait(what)
  local problem = obstacle(self, what)
  if problem then caller.raise("%s", problem) end
  return coroutine.yield(WAIT)
end

--- The same when nothing stands in the way: Scheduler:obstacle was asked.
function Scheduler.park()
  return coroutine.yield(WAIT)
end

--- Why the running code cannot wait, or nil.
-- @tparam string what for the message
-- @treturn string|nil
Scheduler.obstacle = obstacle

--- Whether the running code may wait.
function Scheduler:can_wait()
  return obstacle(self, "") == nil
end

--- Let some seconds pass.
function Scheduler:sleep(seconds, what)
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
function Scheduler:join(other, seconds)
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

--- Call a function at a time of the monotonic clock.
-- @treturn table an entry for Scheduler:drop
function Scheduler:at(at, fn)
  self.stirred = true
  return self.times:add(at, { fn = fn })
end

--- Forget an entry.
function Scheduler:drop(entry)
  self.stirred = true
  return self.times:remove(entry)
end

--- Run what is due. What becomes due meanwhile waits for the next turn.
function Scheduler:tick()
  local now = self.now()
  self.stirred = true
  for _ = 1, self.times.n do
    local entry = self.times:first()
    if not entry or entry.at > now then break end
    self.times:remove(entry)
    entry.fn()
  end
end

--- Start what is queued, and say when to come back.
-- @treturn number|nil time of the next tick
function Scheduler:turn()
  for _ = 1, TURN_MAX do
    if self.first > self.last then break end
    local next_up = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    if not next_up[1].ended then run(self, table.unpack(next_up, 1, next_up.n)) end
  end
  if self.first <= self.last then return self.now() end
  self.first, self.last, self.stirred = 1, 0, false
  local entry = self.times:first()
  return entry and entry.at
end

--- End all fibers that a test accepts.
-- @tparam function|nil wanted called with the fiber; nil: all
function Scheduler:cancel_all(wanted)
  local list = {}
  for fiber in pairs(self.fibers) do
    if not wanted or wanted(fiber) then list[#list + 1] = fiber end
  end
  table.sort(list, function(a, b) return a.number < b.number end) -- so that a test can be repeated
  for _, fiber in ipairs(list) do self:cancel(fiber) end
end

return scheduler
