--- app:every: timers with a name, whose phase belongs to the runtime and not to a
-- generation, so that a reload neither skips nor doubles a tick.
-- In memory: one row per timer.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local followers = require("sluice.app.followers")
local options = require("sluice.base.options")
local per = require("sluice.app.per")
local plan_options = require("sluice.app.plan_options")
local show = require("sluice.base.show")

local timers = {}

---@class sluice.Timers
local Timers = {}
Timers.__index = Timers

local NONE = options.NONE
local EVERY = { name = options.STRING, jitter = 0, overlap = "skip", while_subscribed = NONE,
  now = false, per = "cluster" }
local PERIOD_MIN, PERIOD_MAX = 0.01, 366 * 86400
local QUEUE_MAX = 1000 -- runs that wait with overlap = "queue"; more are skipped
local WARM_SECONDS = 1 -- how long a first subscriber waits for a timer that measures

local function check_options(what, o, seconds)
  if o.name == "" then caller.raise("%s: the name is empty", what) end
  if not (o.jitter >= 0 and o.jitter <= seconds) then
    caller.raise("%s: jitter is a number of seconds, at most the period", what)
  end
  if o.overlap ~= "skip" and o.overlap ~= "queue" then
    caller.raise('%s: overlap is "skip" or "queue"', what)
  end
  per.check(what, o.per)
  if o.while_subscribed ~= nil then
    local good, message = channels.check(o.while_subscribed)
    if not good then caller.raise("%s: while_subscribed: %s", what, message) end
  end
end

--- Register: app:every.
-- @tparam sluice.Generation generation
-- @tparam number seconds
-- @tparam table|function opts
-- @tparam[opt] function fn
function timers.register(generation, seconds, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(seconds) ~= "number" or not (seconds >= PERIOD_MIN and seconds <= PERIOD_MAX) then
    caller.raise("app:every(seconds, …): the period is a number of seconds from %g, not %s",
      PERIOD_MIN, show(seconds))
  end
  local period = core.text_of(seconds)
  local what = ("app:every(%s)"):format(period)
  if type(fn) ~= "function" then caller.raise("%s: the last argument is the function", what) end
  local o = options(what, opts, EVERY)
  check_options(what, o, seconds)
  local nth = (generation.timer_counts[seconds] or 0) + 1
  generation.timer_counts[seconds] = nth
  local name = o.name or ("%ss#%d"):format(period, nth)
  if generation.timer_named[name] then
    caller.raise_taken(("timer '%s' is registered already"):format(name),
      generation.timer_named[name].where)
  end
  local timer = { name = name, seconds = seconds, fn = fn, jitter = o.jitter, overlap = o.overlap,
    channel = o.while_subscribed, now = o.now, per = o.per, where = caller.where(),
    module = caller.module() }
  generation.timer_named[name] = timer
  table.insert(generation.timers, timer)
end

--- The timers of a runtime.
function timers.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, watching = {},
    followers = followers.new(runtime) }, Timers)
end

local function run(self, row)
  local runtime, mark = self.runtime, {}
  row.running, row.last = mark, runtime.scheduler.now()
  -- a reload may have replaced this row meanwhile
  local function on_end()
    local now = self.rows[row.timer.name]
    if not now or now.running ~= mark then return end
    now.running, now.fiber = nil, nil
    if now.queued == 0 then return end
    now.queued = now.queued - 1
    runtime.scheduler:at(runtime.scheduler.now(), function()
      if not now.running and not now.stopped then run(self, now) end
    end)
  end
  runtime.leadership:lend(row.timer.per)
  local fiber = runtime.scheduler:start(runtime.generation, "timer",
    ("timer %s (%s)"):format(row.timer.name, row.timer.where), on_end, row.timer.fn)
  if not fiber.ended then row.fiber = fiber end
  return fiber
end

local function tick(self, row)
  local timer = row.timer
  if timer.channel and not self.followers:are_there(timer.channel, timer.per) then return end
  if not self.runtime.leadership:allows(timer.per) then
    row.queued = 0
    return
  end
  if not row.running then
    run(self, row)
  elseif timer.overlap == "queue" and row.queued < QUEUE_MAX then
    row.queued = row.queued + 1
  end
end

local arm

local function due(self, row)
  local now = self.runtime.scheduler.now()
  row.next = row.next + row.timer.seconds
  -- the app was busy for more than a period: keep the phase, skip what was missed
  if row.next <= now then
    row.next = now + row.timer.seconds - (now - row.next) % row.timer.seconds
  end
  arm(self, row)
  tick(self, row)
end

function arm(self, row)
  local delay = row.timer.jitter > 0 and math.random() * row.timer.jitter or 0
  row.entry = self.runtime.scheduler:at(row.next + delay, function() due(self, row) end)
end

local function stop(self, row)
  row.stopped = true
  self.runtime.scheduler:drop(row.entry)
end

-- In a cluster all nodes have the same phase, so that it stays when another one leads.
local function align_row(self, row, now)
  local is_once = row.timer.per ~= "node" and self.runtime.is_shared
  if is_once then row.next = now + self.runtime.leadership:seconds_left(row.timer.seconds) end
end

--- This node leads: from here on its timers run, those with `now` at once.
function Timers:align()
  local now = self.runtime.scheduler.now()
  for _, row in pairs(self.rows) do
    align_row(self, row, now)
    if row.timer.now and row.timer.per ~= "node" then row.next = now end
    self.runtime.scheduler:drop(row.entry)
    arm(self, row)
  end
end

--- Take over the timers of a generation: same name and period keep their phase, others
-- start anew, those that are gone stop.
-- @tparam sluice.Generation generation
function Timers:adopt(generation)
  local before, now = self.rows, self.runtime.scheduler.now()
  self.rows, self.watching = {}, {}
  for _, timer in ipairs(generation.timers) do
    local old = before[timer.name]
    local same = old and old.timer.seconds == timer.seconds
    local row = { timer = timer, queued = old and old.queued or 0, running = old and old.running,
      fiber = old and old.fiber, last = same and old.last or nil,
      next = same and old.next or not old and timer.now and now or now + timer.seconds }
    if not same and not timer.now then align_row(self, row, now) end
    self.rows[timer.name] = row
    if timer.channel then
      self.watching[timer.channel] = self.watching[timer.channel] or {}
      table.insert(self.watching[timer.channel], row)
    end
    arm(self, row)
  end
  for _, old in pairs(before) do stop(self, old) end
end

--- Stop all timers.
function Timers:stop()
  for _, row in pairs(self.rows) do stop(self, row) end
  self.rows, self.watching = {}, {}
end

--- A channel is about to get its first subscriber: timers with while_subscribed for it run now,
-- before the stream opens, unless they ran within their period.
-- @tparam string channel
function Timers:warm(channel)
  local list = self.watching[channel]
  if not list or self.runtime.server:subscribers(channel) > 0 then return end
  self.followers:come(channel)
  local scheduler = self.runtime.scheduler
  for _, row in ipairs(list) do
    local fresh = row.last and scheduler.now() - row.last < row.timer.seconds
    local fiber = row.fiber
    local here = self.runtime.leadership:allows(row.timer.per)
    if here and not row.running and not fresh then fiber = run(self, row) end
    if fiber then scheduler:join(fiber, WARM_SECONDS) end
  end
end

--- On another node somebody begins to follow a channel.
function Timers:warm_for_others(channel)
  for _, row in ipairs(self.watching[channel] or {}) do
    local now = self.runtime.scheduler.now()
    local fresh = row.last and now - row.last < row.timer.seconds
    local here = row.timer.per ~= "node" and self.runtime.leadership:allows(row.timer.per)
    if here and not row.running and not fresh then run(self, row) end
  end
end

--- The same for all channels of a plan for the core.
function Timers:warm_all(entries)
  if next(self.watching) == nil then return end
  for _, entry in ipairs(entries) do self:warm(plan_options.name_of(entry)) end
end

return timers
