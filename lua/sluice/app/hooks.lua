--- Hooks: functions by kind and pattern, run as coroutines after what they are about has happened.
-- "published" hooks run one after the other for each channel, four levels deep; those about a
-- client are in sluice.app.stream_hooks. In memory: the events that wait for a hook, per channel,
-- bounded.
local budget = require("sluice.base.budget")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")

local hooks = {}

-- true: takes a pattern of channels
local KNOWN = { start = false, stop = false, reload = false, connect = false, disconnect = false,
  error = false, subscribe = true, unsubscribe = true, published = true, budget = true,
  cluster = false, told = false, heard = true }
local WAITING_MAX = 1024 -- events of one channel that wait for its hooks: EBUSY above it
hooks.DEPTH_MAX = 4

--- Whether a generation has hooks about clients: connect, subscribe and their opposites.
function hooks.ask_for_clients(generation)
  local h = generation.hooks
  return (h.connect or h.disconnect or h.subscribe or h.unsubscribe) ~= nil
end

--- Register: app:on.
-- @tparam sluice.Generation generation
-- @tparam string kind
-- @tparam string|function pattern
-- @tparam[opt] function fn
function hooks.register(generation, kind, pattern, fn)
  if type(kind) ~= "string" then
    caller.raise("app:on(kind, …): the kind comes first: a string, not a %s", type(kind))
  elseif KNOWN[kind] == nil then
    caller.raise("no hook '%s' (known: start stop reload connect disconnect error "
      .. "subscribe unsubscribe published budget cluster told heard)",
      kind)
  end
  local what = ('app:on("%s"%s, fn)'):format(kind, KNOWN[kind] and ", pattern" or "")
  if not KNOWN[kind] then
    if type(fn) == "function" and type(pattern) ~= "function" then
      caller.raise("%s: this hook has no pattern", what)
    end
    pattern, fn = nil, pattern
  elseif type(pattern) == "function" or pattern == nil then
    caller.raise('%s: the pattern is missing, "**" means every channel', what)
  end
  if type(fn) ~= "function" then
    caller.raise("%s: fn is %s", what, fn == nil and "missing" or "a " .. type(fn))
  end
  if pattern ~= nil then channels.check_pattern(what, pattern) end
  if kind == "heard" and not channels.check(pattern) then
    caller.raise('app:on("heard", channel, fn): the name of one channel is expected, not the '
      .. "pattern '%s'", pattern)
  end
  local list = generation.hooks[kind] or {}
  generation.hooks[kind] = list
  list[#list + 1] = { pattern = pattern, fn = fn, where = caller.where(),
    module = caller.module() }
end

--- The entries of a list that match a channel, with their parameters; nil when none does.
-- @tparam table|nil list
-- @tparam string channel
-- @treturn table|nil
function hooks.matching(list, channel)
  local out
  for _, hook in ipairs(list or {}) do
    local params = core.match(hook.pattern, channel)
    if params then
      out = out or {}
      out[#out + 1] = { fn = hook.fn, params = params, where = hook.where }
    end
  end
  return out
end

--- Run the hooks of a kind, each as a coroutine of its own, in order.
function hooks.fire(runtime, kind, ...)
  hooks.fire_then(runtime, kind, nil, ...)
end

--- The same, and call a function when the last of them has ended.
-- @tparam function|nil done called once; at once when there are no hooks
function hooks.fire_then(runtime, kind, done, ...)
  local generation = runtime.generation
  local list = generation.hooks[kind] or {}
  local left = #list
  local function ended()
    left = left - 1
    if left == 0 then done() end
  end
  for _, hook in ipairs(list) do
    runtime.scheduler:queue(generation, "hook", kind .. " hook (" .. hook.where .. ")",
      done and ended, hook.fn, ...)
  end
  if done and left == 0 then done() end
end

--- Report that a channel is over its budget of bytes, or no more.
-- @tparam sluice.Runtime runtime
-- @tparam table alarm { channel, over, bytes, budget }: each hook gets one of its own
function hooks.budget(runtime, alarm)
  for _, hook in ipairs(hooks.matching(runtime.generation.hooks.budget, alarm.channel) or {}) do
    local own = { channel = alarm.channel, over = alarm.over, bytes = alarm.bytes,
      budget = alarm.budget }
    runtime.scheduler:queue(runtime.generation, "hook", "budget hook (" .. hook.where .. ")", nil,
      hook.fn, own, hook.params)
  end
end

-- Of a kind, those about a channel. What reaches no other node hears what it publishes.
local function about(generation, kind, channel)
  local list = hooks.matching(generation.hooks[kind], channel)
  local runtime = generation.runtime
  local elsewhere = runtime.is_shared and runtime.server:policy(channel).shared
  if kind == "heard" or elsewhere then return list end
  local heard = hooks.matching(generation.hooks.heard, channel)
  if not (list and heard) then return list or heard end
  return table.move(heard, 1, #heard, #list + 1, list)
end

--- The hooks that are run when a channel is published to; nil: none is.
function hooks.of_published(generation, channel) return about(generation, "published", channel) end

local function run_one(runtime, kind, hook, event)
  local ok, problem = failure.part(hook.fn, event, hook.params)
  if not ok then
    runtime:report(runtime.scheduler.current, problem, kind .. " hook (" .. hook.where .. ")")
    budget.close_children(runtime.scheduler.current)
  end
end

-- Pass the events of one channel, one after the other, to the hooks of the generation that is
-- current when the worker starts. After a reload another worker takes the next event.
local function work(runtime, queue)
  local generation = runtime.generation
  local matched = about(generation, queue.kind, queue.channel) or {}
  while queue.first <= queue.last and generation == runtime.generation do
    local item = queue[queue.first]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    runtime.scheduler.current.depth = item.depth
    for _, hook in ipairs(matched) do run_one(runtime, queue.kind, hook, item.event) end
  end
end

local function start_worker(runtime, queue)
  local function on_end()
    if queue.first > queue.last then
      runtime[queue.kind][queue.channel] = nil
    elseif not runtime.ended then
      start_worker(runtime, queue) -- it was cancelled: the rest is not lost
    end
  end
  runtime.scheduler:queue(runtime.generation, "hook", queue.kind .. " hooks of " .. queue.channel,
    on_end, work, runtime, queue)
end

local function put(runtime, kind, event, depth)
  local queue = runtime[kind][event.channel]
  local is_new = queue == nil
  queue = queue or { first = 1, last = 0, kind = kind, channel = event.channel }
  queue.last = queue.last + 1
  queue[queue.last] = { event = event, depth = depth }
  if not is_new then return end
  runtime[kind][event.channel] = queue
  start_worker(runtime, queue)
end

--- Why an event cannot be passed to the hooks of its channel, or nil.
-- @treturn string|nil message
-- @treturn string|nil code
function hooks.refusal(runtime, channel)
  local fiber = runtime.scheduler.current
  if fiber and (fiber.depth or 0) >= hooks.DEPTH_MAX then
    return ("a publish hook publishes to its own channel (%d levels)"):format(hooks.DEPTH_MAX),
      "ELOOP"
  end
  local queue = runtime.published[channel]
  if queue and queue.last - queue.first + 1 >= WAITING_MAX then
    return ("the hooks of channel '%s' lag by %d events"):format(channel, WAITING_MAX), "EBUSY"
  end
end

--- Pass a published event to the hooks of its channel.
-- @tparam sluice.Runtime runtime
-- @tparam table event `channel event data id key time`; data is read again from `text`
-- @tparam string text
-- @tparam table|nil fiber that published it: what its hooks publish is one level deeper
function hooks.published(runtime, event, text, fiber)
  local data = json.decode(text)
  if data == nil then data = text end
  event.data = data
  put(runtime, "published", event, (fiber and fiber.depth or 0) + 1)
end

-- ---- What is heard in a cluster ---------------------------------------------------------------

--- Have the node told of all events of the channels that hooks hear.
function hooks.hear(runtime, generation)
  for _, hook in ipairs(generation.hooks.heard or {}) do
    runtime.server:cluster_hear(hook.pattern)
  end
end

--- Whatever was published on a channel may have been missed: also what waits for its hooks.
function hooks.lose(runtime, channel)
  local queue = runtime.heard[channel]
  if queue then
    for i = queue.first, queue.last do queue[i] = nil end
    queue.first, queue.last = 1, 0
  end
  put(runtime, "heard", { channel = channel, missed = true }, 0)
end

--- The same on all of them.
function hooks.lose_all(runtime)
  for _, hook in ipairs(runtime.generation.hooks.heard or {}) do
    hooks.lose(runtime, hook.pattern)
  end
end

--- An event of a channel has come to this node.
-- @tparam string text 'r' when it removes its key, else ' '; its name; NUL; its data
-- @treturn boolean|nil false: it makes no sense
function hooks.heard(runtime, channel, key, text, is_own)
  local flag, name, body = text:match("^([r ])([^%z]+)%z(.*)$")
  if not flag then return false end
  local queue = runtime.heard[channel]
  local is_full = queue and queue.last - queue.first + 1 >= WAITING_MAX
  if is_full then return hooks.lose(runtime, channel) end
  local data = json.decode(body)
  if data == nil then data = body end
  put(runtime, "heard", { channel = channel, event = name, key = key ~= "" and key or nil,
    data = data, own = is_own, removed = flag == "r" }, 0)
end

return hooks
