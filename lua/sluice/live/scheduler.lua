--- Coroutines of the app: start, sleep, wait, cancel.
--
-- A fiber is one coroutine together with the generation it belongs to and its kind
-- (request, stream, plan, timer, task, service, hook, spawn). Fibers run on the app thread, one
-- at a time, from a callback of the core until they wait; nothing starts inside another
-- fiber but through the queue, so that depth never grows. In memory: the live fibers, and
-- one heap of everything that waits for a time.
local budget = require("sluice.base.budget")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local heap = require("sluice.base.heap")
local waiting = require("sluice.live.waiting")

local scheduler = {}

---@class sluice.Scheduler
local Scheduler = {}
Scheduler.__index = Scheduler
Scheduler.__name = "sluice.Scheduler"

local status = coroutine.status

local IS_PLAN = { stream = true, plan = true } -- kinds that run plan functions
local WAIT = waiting.WAIT
for name, value in pairs(waiting) do Scheduler[name] = value end

local TURN_MAX = 1000 -- queued fibers that start in one turn; the rest in the next

--- Make one.
-- @tparam function now monotonic seconds
-- @tparam function report called with (fiber, failure) when a fiber died of an error
-- Its field `idle` may be set: called with a generation that is no longer live when its last fiber
-- has ended. `lease`: the lead that the next fiber needs (live/leadership.lua). `spare`: a
-- coroutine that has returned and may run the next fiber; `spare_plan`: a fiber that ran plan
-- functions, and may run the next. `stirred` says that Scheduler:turn has
-- something to do: a fiber is queued, or times have changed.
-- @treturn sluice.Scheduler
function scheduler.new(now, report)
  return setmetatable({ now = now, report = report, times = heap.new(), fibers = {}, count = 0,
    made = 0, spare = nil, spare_plan = nil, ready = {}, first = 1, last = 0, current = nil,
    closing = nil, idle = nil, stirred = true }, Scheduler)
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
  if not ok and fiber.kind ~= "plan" then -- what becomes of that one its on_end decides
    budget.close_children(fiber)
    self.report(fiber, ...)
  end
  notify_end(self, fiber, ok, ...)
end

-- When memory ran out the message handler was not called.
local function finish_failed(self, fiber, problem)
  finish(self, fiber, false, failure.late(problem))
end

-- Whether the coroutine of a fiber that has returned may run another: that of a plan function, and
-- nobody knows it.
local function is_spare(fiber)
  return IS_PLAN[fiber.kind] and not (fiber.is_known or fiber.session)
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
    return finish_failed(self, fiber, first)
  end
  if not first then return finish_failed(self, fiber, ...) end
  if is_spare(fiber) then self.spare = fiber.co end
  finish(self, fiber, true, ...)
end

local function run(self, fiber, ...)
  local outer = self.current
  self.current = fiber
  return settle(self, fiber, outer, core.run(fiber.name, fiber.co, ...))
end

-- From now on it is one of those that live.
local function enroll(self, fiber)
  local generation, made = fiber.generation, self.made
  fiber.number, self.made, self.fibers[fiber] = made, made + 1, true
  self.count = self.count + 1
  generation.running = (generation.running or 0) + 1
end

local function make(self, generation, kind, name, on_end)
  local outer, lease = self.current, self.lease
  local fiber = { co = core.thread(self.spare), generation = generation, kind = kind, name = name,
    on_end = on_end, trace = outer and outer.trace }
  if outer and kind == "spawn" then lease = lease or outer.lease end
  if lease then fiber.lease, self.lease = lease, nil end
  self.spare = nil
  enroll(self, fiber)
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
  settle(self, fiber, outer, core.run(name, fiber.co, xpcall, fn, failure.catch, ...))
  return fiber
end

local function ran(self, fiber, ...)
  self.current = nil
  return fiber, ...
end

--- Run a plan function as a fiber that few need: the next one gets it (Scheduler:keep_plan), and it
-- is counted among those that live when Scheduler:adopt says so. Between fibers only.
-- @tparam sluice.Generation generation
-- @tparam string name for messages
-- @tparam string|nil trace the traceparent of the request
-- @tparam function fn
-- @treturn table the fiber
-- @return what core.run returned
function Scheduler:run_plan(generation, name, trace, fn, ...)
  local fiber = self.spare_plan or { co = core.thread(), kind = "plan" }
  fiber.generation, fiber.name, fiber.trace = generation, name, trace
  self.spare_plan, self.current = nil, fiber
  return ran(self, fiber, core.run(name, fiber.co, xpcall, fn, failure.catch, ...))
end

--- Such a fiber has returned without waiting: it runs the next function, when nobody knows it.
function Scheduler:keep_plan(fiber)
  if fiber.is_known or fiber.children or fiber.cancelled then return end
  fiber.generation, self.spare_plan = nil, fiber
end

--- Such a fiber has run, and is one like all others from now on.
-- @tparam table fiber
-- @tparam function on_end as that of Scheduler:start; it reports a failure itself
-- @param ... what core.run returned
function Scheduler:adopt(fiber, on_end, ...)
  fiber.on_end = on_end
  enroll(self, fiber)
  return settle(self, fiber, nil, ...)
end

--- Start a fiber when the current one waits or ends.
function Scheduler:queue(generation, kind, name, on_end, fn, ...)
  local fiber = make(self, generation, kind, name, on_end)
  self.last, self.stirred = self.last + 1, true
  self.ready[self.last] = table.pack(fiber, xpcall, fn, failure.catch, ...)
  return fiber
end

--- Go on with a fiber that waits.
function Scheduler:resume(fiber, ...)
  if not self.fibers[fiber] then return end
  local outer = self.current
  self.current = fiber
  return settle(self, fiber, outer, core.run(fiber.name, fiber.co, ...))
end

--- End a fiber: its `<close>` variables run, it never goes on, its on_end gets nil.
-- A fiber cannot cancel itself while it runs: it ends when it waits next.
-- @tparam table fiber
-- @tparam[opt] sluice.Failure problem why, when that is an error
function Scheduler:cancel(fiber, problem)
  if fiber == self.current then fiber.cancelled = true return end
  if not self.fibers[fiber] then return end
  forget(self, fiber)
  local outer = self.closing
  self.closing = fiber
  budget.close_children(fiber)
  local ok, trouble = budget.close(fiber.co, fiber.name)
  self.closing = outer
  if problem and fiber.kind ~= "plan" then self.report(fiber, problem) end
  if not ok then self.report(fiber, failure.late(trouble)) end
  notify_end(self, fiber, not problem and nil, problem)
end

--- The lead that the caller belongs to, also while it is closed; nil: none.
function Scheduler:token()
  local fiber = self.closing or self.current
  return fiber and fiber.lease
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
