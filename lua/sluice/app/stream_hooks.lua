--- Hooks about one client, one after the other: connect, subscribe, unsubscribe, disconnect.
-- A hook may wait (for a database). When the client leaves meanwhile, the hooks about that run
-- after it has ended: "left" never precedes "joined". A step is all hooks of one kind and channel;
-- after a reload the new code goes on with the next step. In memory: the pending steps of a
-- client, at most one arrival and one leaving per channel.
local core = require("sluice.core")
local hooks = require("sluice.app.hooks")

local stream_hooks = {}

local ARRIVING = { unsubscribe = "subscribe", disconnect = "connect" }
-- 64 channels that are left and 64 that are followed, connect and disconnect. Only an app that
-- has a hook for leaving and none for arriving can have more pending, by changing channels often.
local WAITING_MAX = 130
local WARN_SECONDS = 10 -- after which the log says that further hooks wait

local function hooks_of(generation, kind, channel)
  local list = generation.hooks[kind]
  if channel then return hooks.matching(list, channel) end
  return list
end

local function next_hook(runtime, step)
  if step.taken_back then return nil end
  if step.generation ~= runtime.generation then
    step.generation = runtime.generation
    step.list = hooks_of(step.generation, step.kind, step.channel) or {}
  end
  step.nth = step.nth + 1
  return step.list[step.nth]
end

-- A fiber that is queued has not begun: it may still be taken back.
local function begin(step, fn, ...)
  if step.taken_back then return end
  step.begun = true
  return fn(...)
end

-- Hooks have waited for another one for long; a loop in it would make them wait for ever. Logged
-- once for each hook.
local function complain(runtime, queue)
  local scheduler, step = runtime.scheduler, queue.now
  local left = queue.since + WARN_SECONDS - scheduler.now()
  queue.watch = nil
  if #queue == 0 then return end
  if left > 0 then
    queue.watch = scheduler:at(scheduler.now() + left, function() complain(runtime, queue) end)
    return
  end
  local where = step.list[step.nth] and step.list[step.nth].where
  if not where or step.generation.slow_hooks[where] then return end
  step.generation.slow_hooks[where] = true
  core.log("warn", ("%s hook (%s) has run for %g s, and further hooks of its client wait for its "
    .. "end: app:spawn() what goes on"):format(step.kind, where, WARN_SECONDS))
end

local function watch(runtime, queue)
  if queue.watch then return end
  local scheduler = runtime.scheduler
  local at = scheduler.now() + WARN_SECONDS
  queue.watch = scheduler:at(at, function() complain(runtime, queue) end)
end

local function go_on(runtime, queue)
  if runtime.ended then return end
  repeat
    local step = queue.now or table.remove(queue, 1)
    local hook = step and next_hook(runtime, step)
    queue.now = hook and step
    if hook then
      queue.since = runtime.scheduler.now()
      runtime.scheduler:queue(step.generation, "hook", step.kind .. " hook (" .. hook.where .. ")",
        queue.go_on, begin, step, hook.fn, queue.client, step.channel or step.reason, hook.params,
        step.channel and step.reason)
      return
    end
  until not step
  if queue.watch then runtime.scheduler:drop(queue.watch) end
  runtime.stream_hooks[queue.id] = nil
  if runtime.leaving and not next(runtime.stream_hooks) then runtime.server:leave() end
end

local function queue_of(runtime, client)
  local id = client.id
  local queue = runtime.stream_hooks[id]
  if not queue then
    queue = { id = id, client = client, now = nil }
    queue.go_on = function() go_on(runtime, queue) end
    runtime.stream_hooks[id] = queue
  end
  return queue
end

local function position(queue, kind, channel)
  for i, step in ipairs(queue) do
    if step.kind == kind and step.channel == channel then return i end
  end
end

local function push(runtime, client, kind, channel, reason)
  local generation = runtime.generation
  local list = hooks_of(generation, kind, channel)
  if not list then return end
  local queue = queue_of(runtime, client)
  if position(queue, kind, channel) then return end
  queue[#queue + 1] = { kind = kind, channel = channel, reason = reason, generation = generation,
    list = list, nth = 0, begun = false, taken_back = false }
  if queue.now then watch(runtime, queue) else go_on(runtime, queue) end
end

-- Forget an arrival whose hooks have not begun; whether there was one.
local function take_back(queue, kind, channel)
  local now, at = queue.now, position(queue, kind, channel)
  if at then return table.remove(queue, at) ~= nil end
  if not now or now.begun or now.kind ~= kind or now.channel ~= channel then return false end
  local first = not now.taken_back
  now.taken_back = true
  return first
end

--- A client has connected, or follows one more channel.
-- @tparam sluice.Runtime runtime
-- @tparam sluice.Client client
-- @tparam[opt] string channel
function stream_hooks.arrive(runtime, client, channel)
  push(runtime, client, channel and "subscribe" or "connect", channel)
end

--- A client has disconnected, or follows one channel less. When it left before the hooks of its
-- arrival began, neither is reported; where there is no hook for arrivals, each leaving is.
-- @tparam sluice.Runtime runtime
-- @tparam sluice.Client client
-- @tparam[opt] string channel
-- @tparam[opt] string reason a word of bye; nil when the app ended it, or the client goes on
function stream_hooks.leave(runtime, client, channel, reason)
  local queue = runtime.stream_hooks[client.id]
  local kind = channel and "unsubscribe" or "disconnect"
  local arriving = ARRIVING[kind]
  if queue and take_back(queue, arriving, channel)
    and hooks_of(runtime.generation, arriving, channel) then return end
  push(runtime, client, kind, channel, reason)
end

--- The handle that the hooks of a client have, while they run or wait.
-- @treturn sluice.Client|nil
function stream_hooks.client(runtime, id)
  local queue = runtime.stream_hooks[id]
  return queue and queue.client
end

--- Why a client may not follow one more channel now, or nil.
-- @treturn string|nil message
-- @treturn string|nil code
function stream_hooks.refusal(runtime, id)
  local queue = runtime.stream_hooks[id]
  if not queue or #queue < WAITING_MAX then return nil end
  return ("the hooks of this client lag by %d steps"):format(#queue), "EBUSY"
end

return stream_hooks
