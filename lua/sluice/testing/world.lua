--- What surrounds an app under test: the clock, `os`, random numbers, the log, and other servers.
-- Clock, log and random numbers belong to the process, so one world at a time is active; each call
-- of the kit activates its own first. In memory: the log of one test.
local core = require("sluice.core")
local process = require("sluice.base.process")

local world = {}

---@class sluice.testing.World
local World = {}
World.__index = World

local NOW = 1780000000 -- 2026-05-28T20:26:40Z
local BEGIN_US = 1000 * 1000000 -- what the monotonic clock says at first
local LOG_MAX = 10000

local app_os = process.os

-- The active world, and the log function of the core.
local current, real_log

-- `os` as the app sees it: time is the test's, settings are those that the test gave.
local function make_os(self, env)
  local out = {}
  for name, value in pairs(app_os) do out[name] = value end
  function out.time(t)
    if t == nil then return math.floor(core.time()) end
    return os.time(t)
  end
  function out.date(format, t)
    return os.date(format or "%c", t or math.floor(core.time()))
  end
  function out.clock() return (self.us - BEGIN_US) / 1e6 end
  function out.getenv(name) return env[name] end
  return out
end

--- Make a world. It is not active yet.
-- @tparam table options `env`, `seed`, `now` of testing.start
-- @treturn sluice.testing.World
function world.new(options)
  local self = setmetatable({ us = BEGIN_US, wall = (options.now or NOW) - BEGIN_US / 1e6,
    seed = options.seed or 1, env = options.env or {}, log = {}, outgoing = nil, demo = false,
    upstream = nil, node = nil, rolled = false }, World)
  self.os = make_os(self, self.env)
  return self
end

local function hold(self)
  core.hold_clock(self.us / 1e6, self.wall + self.us / 1e6)
end

--- Seed the random numbers: equal seeds give equal ids, jitter and math.random.
function World:roll(seed)
  self.seed = seed
  core.seed(seed)
  math.randomseed(seed)
end

--- ... at the first start only; a server that restarts draws others.
function World:roll_once()
  if not self.rolled then self:roll(self.seed) end
  self.rolled = true
end

local function add(self, level, message, fields)
  if #self.log >= LOG_MAX then table.remove(self.log, 1) end
  self.log[#self.log + 1] = { level = level, message = message, fields = fields or {},
    at = self.us / 1e6, node = self.node }
end

--- Take over what the core itself has logged until now.
function World:listen()
  if current ~= self then return end
  for level, message in core.log_kept do add(self, level, message) end
end

local function record(self, level, message, fields)
  self:listen()
  add(self, level, message, fields)
end

--- Answer for other servers.
function World:answer_with(fn)
  self.outgoing = fn
  if current == self then process.outgoing = fn end
end

--- Feed the app's sources.
function World:feed_with(fn)
  self.upstream = fn
  if current == self then process.upstream = fn end
end

--- Activate this world.
-- @tparam[opt] integer node of a cluster, whose log this is from here on
function World:enter(node)
  if current == self then
    if node ~= self.node then self:listen() end
    self.node = node
    return
  end
  self.node = node
  if current then current:listen() end
  core.log_keep(true)
  real_log = real_log or core.log
  current = self
  hold(self)
  process.os, process.outgoing, process.demo = self.os, self.outgoing, self.demo
  process.upstream = self.upstream
  core.log = function(level, message, fields) record(self, level, message, fields) end
end

--- Give the process its own world back.
function World:leave()
  if current ~= self then return end
  self:listen()
  core.log_keep(false)
  current = nil
  core.hold_clock()
  core.seed(0)
  math.randomseed()
  process.os, process.outgoing, process.upstream, process.demo = app_os, nil, nil, false
  core.log = real_log
end

--- Monotonic seconds since the test began.
function World:elapsed()
  return (self.us - BEGIN_US) / 1e6
end

--- Monotonic seconds as the core has them.
function World:now()
  return self.us / 1e6
end

--- Seconds since 1970.
function World:time()
  return self.wall + self.us / 1e6
end

--- Let it be this late on the monotonic clock; at least a microsecond passes.
function World:set(seconds)
  self.us = math.max(math.ceil(seconds * 1e6 - 1e-3), self.us + 1)
  hold(self)
end

--- The messages that were logged, oldest first.
-- @tparam[opt] string level "debug", "info", "warn" or "error"
-- @tparam[opt] integer node only of this one
-- @treturn {string,...}
function World:messages(level, node)
  local out = {}
  for _, entry in ipairs(self.log) do
    local is_meant = (not level or entry.level == level) and entry.node == node
    if is_meant then out[#out + 1] = entry.message end
  end
  return out
end

--- The last error that was logged after an entry, with its traceback, as a text.
-- @tparam integer after how long the log was
-- @treturn string|nil
function World:error_after(after)
  for i = #self.log, after + 1, -1 do
    local entry = self.log[i]
    if entry.level == "error" then
      local traceback = entry.fields.traceback
      return entry.message .. (traceback and "\n" .. traceback or "")
    end
  end
end

return world
