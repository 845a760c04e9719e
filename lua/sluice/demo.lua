--- Demo mode: events of the app's own types in turn, for whoever builds or shows a page.
---
---   local demo = require("sluice.demo").new(app)
---   demo:producer("prices", function(n, random)
---     return "prices", "price-update", { symbol = "ACME", price = random(190, 210) }
---   end)
---   demo:routes("/api/demo")
---
--- It is off unless the server was started with --demo, marks what it sends with `demo = true`, and
--- stops by itself. In memory: where it stands, and the files that it replays.
local options = require("sluice.base.options")
local players = require("sluice.demo.players")
local random = require("sluice.demo.random")
local sluice = require("sluice")
local use_cases = require("sluice.demo.use_cases")

---@class sluice.DemoModule
local demo = {}

---@class sluice.Demo
local Demo = {}
Demo.__index = Demo
Demo.__name = "sluice.Demo"

local KNOWN = { name = "demo", seed = 1, max_time = 600, enabled = options.BOOLEAN }
local START = { interval = 5, seed = options.NUMBER, types = options.NONE }
local FIRST = { "notification", "alert", "dataUpdate", "heartbeat" } -- the hub's: they come first
local INTERVAL_LEAST, INTERVAL_MOST, TIME_MOST = 0.1, 3600, 7 * 86400
local OFF = "demo mode is off: start with --demo"

local function bad(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

-- ---- What it sends -----------------------------------------------------------------------

local function is_object(value)
  return type(value) == "table" and (#value == 0 and getmetatable(value) == nil)
end

-- The declared types that can be sent: they have an example that can be marked, and a channel.
local function declared(self)
  local types, names, placed = self.app:event_types(), {}, {}
  for name, info in pairs(types) do
    local sent = is_object(info.example) and info.channel and not info.channel:find("[:*]")
    if not sent or self.producers[name] then types[name] = nil end
  end
  for _, name in ipairs(FIRST) do
    if types[name] then names[#names + 1], placed[name] = name, true end
  end
  local rest = {}
  for name in pairs(types) do rest[#rest + 1] = not placed[name] and name or nil end
  table.sort(rest)
  return table.move(rest, 1, #rest, #names + 1, names), types
end

-- Everything that has a turn, in order; only those of `wanted` when there is such a list.
local function turns(self, wanted)
  local names, types = declared(self)
  table.move(self.order, 1, #self.order, #names + 1, names)
  if not wanted then return names, types end
  local list, set = {}, {}
  for _, name in ipairs(wanted) do set[name] = true end
  for _, name in ipairs(names) do list[#list + 1] = set[name] and name or nil end
  return list, types
end

-- Said once per start, and not at each turn.
local function complain(self, name, message)
  local now = self.state()
  if now.failed[name] then return end
  now.failed[name] = true
  sluice.log.error(("%s: %s: %s"):format(self.name, name, message))
end

local function publish(self, name, channel, event, data, opts)
  if channel == nil then return end
  if not is_object(data) then
    return complain(self, name, "channel, event and an object are expected, the data are a "
      .. type(data))
  end
  data.demo = true
  if data.timestamp == nil then data.timestamp = sluice.timestamp() end
  local id, message = self.app:publish(channel, event, data, opts)
  if not id then return complain(self, name, message) end
  local now = self.state()
  now.sent = now.sent + 1
end

local function take_turn(self)
  local now = self.state()
  local names, types = turns(self, now.types)
  if #names == 0 then return end
  now.turn = now.turn + 1
  local name = names[(now.turn - 1) % #names + 1]
  local n = (now.calls[name] or 0) + 1
  now.calls[name] = n
  local draw = random.of(now.drawn, name, now.seed)
  if types[name] then
    local data = random.walk(types[name].example, now.walked, name, draw)
    return publish(self, name, types[name].channel, name, data)
  end
  local made = table.pack(pcall(self.producers[name], n, draw))
  if not made[1] then return complain(self, name, tostring(made[2])) end
  publish(self, name, table.unpack(made, 2, made.n))
end

-- The next turn is set before this one, so that an error ends nothing.
local function tick(self)
  local now = self.state()
  if not now.running then return end
  self.app:after(now.interval, self.name .. ".turn", nil, { id = self.name .. ".turn" })
  take_turn(self)
end

-- ---- Starting and stopping ---------------------------------------------------------------

local function check_types(self, types)
  local fault = options.list_fault(types, "names", "string")
  if fault then return "types", fault end
  local known = {}
  for _, name in ipairs((turns(self))) do known[name] = true end
  for _, name in ipairs(types) do
    if not known[name] then
      return "types", ("'%s' is no event type with an example and a channel, and no producer")
        :format(name)
    end
  end
  if #types == 0 then return "types", "names are expected" end
end

--- Start, or change what runs: the same demo goes on with another interval. A new `seed` or other
-- `types` begin from the start.
-- @tparam[opt] table given `interval` (seconds between events, 5), `seed`, `types` (a list of names
--   of event types and producers; default: all)
-- @treturn table|nil the status; or nil, message, code, field
function Demo:start(given)
  if not self.enabled then return nil, OFF, "ENOTFOUND" end
  local o = options("demo:start()", given, START)
  if not (o.interval >= INTERVAL_LEAST and o.interval <= INTERVAL_MOST) then
    return bad("intervalSeconds", "a number of seconds from 0.1 to 3600 is expected")
  end
  if o.types ~= nil then
    local field, why = check_types(self, o.types)
    if field then return bad(field, why) end
  elseif #turns(self) == 0 and #self.files == 0 then
    return nil, "there is nothing to send: describe events by app:event_type with an example and "
      .. "a channel, or add a producer", "EINVAL"
  end
  local now = self.state()
  local goes_on = now.running and o.seed == nil and o.types == nil
  if not goes_on then
    now.sent, now.turn, now.seed, now.types = 0, 0, o.seed or self.seed, o.types
    now.calls, now.drawn, now.walked, now.failed = {}, {}, {}, {}
  end
  now.running, now.interval = true, o.interval
  local turn, stop = self.name .. ".turn", self.name .. ".end"
  self.app:after(goes_on and o.interval or 0, turn, nil, { id = turn })
  self.app:after(self.max_time, stop, nil, { id = stop })
  if not goes_on then players.start(self, o.types == nil) end
  return self:status()
end

--- Stop. Nothing is sent after it.
-- @treturn table|nil the status; or nil, message, code
function Demo:stop()
  if not self.enabled then return nil, OFF, "ENOTFOUND" end
  self.state().running = false
  self.app:cancel(self.name .. ".turn")
  self.app:cancel(self.name .. ".end")
  players.stop(self)
  return self:status()
end

--- Where it stands.
-- @treturn table|nil { running, intervalSeconds, sent }; or nil, message, code when it is off
function Demo:status()
  if not self.enabled then return nil, OFF, "ENOTFOUND" end
  local now = self.state()
  return { running = now.running, intervalSeconds = now.interval, sent = now.sent }
end

-- ---- At the top level --------------------------------------------------------------------

--- Add events of one's own. A producer with the name of an event type stands for it.
-- @tparam string name
-- @tparam function fn fn(n, random) -> channel, event, data[, options of a publish]; or nothing, to
--   pass; `n` counts its turns, `random(from, to)`, `random(list)` depend on the seed alone
function Demo:producer(name, fn)
  if type(name) ~= "string" or name == "" then
    error("demo:producer(name, fn): the name is a string", 2)
  end
  if type(fn) ~= "function" then error("demo:producer(name, fn): fn is missing", 2) end
  if self.producers[name] then error(("demo:producer: '%s' is there already"):format(name), 2) end
  self.producers[name] = fn
  self.order[#self.order + 1] = name
end

--- Play a file that `sluice record` wrote, again and again while the demo runs.
-- @tparam string file from the folder of the calling file, unless it is absolute
-- @tparam[opt] table given `channel` (default: that of the event's type), `speed` (1)
function Demo:replay(file, given)
  local source = debug.getinfo(2, "S").source
  players.add(self, file, source:match("^@(.*/)[^/]*$") or "", given)
end

--- Producers for the usual pages: metrics, notifications, progress, a match, prices, telemetry,
-- people in a document, a system's state.
-- @tparam string channel which all of them use
function Demo:use_cases(channel)
  if type(channel) ~= "string" then error("demo:use_cases(channel): the channel is a string", 2) end
  for _, row in ipairs(use_cases) do
    self:producer(row.name, function(n, draw) return channel, row.make(n, draw) end)
  end
end

--- Register POST start, POST stop and GET status below a path. All answer 404 while demo mode is
-- off.
-- @tparam string prefix "/api/demo"
-- @param ... guards; needed when `enabled` is true without --demo
function Demo:routes(prefix, ...)
  local guards = { ... }
  if #guards == 0 and self.enabled and not sluice.is_demo() then
    error("demo:routes: without --demo a guard is needed: demo:routes(\"/api/demo\", guard)", 2)
  end
  local function add(method, path, fn)
    local list = { function()
      if self.enabled then return true end
      return 404, OFF
    end }
    for _, guard in ipairs(guards) do list[#list + 1] = guard end
    list[#list + 1] = fn
    self.app[method](self.app, prefix .. "/" .. path, table.unpack(list))
  end
  add("post", "start", function(req)
    local body = req.body ~= "" and req:json({ intervalSeconds = "number?", seed = "number?",
      types = "array?" }, { any_case = true }) or {}
    return self:start { interval = body.intervalSeconds, seed = body.seed, types = body.types }
  end)
  add("post", "stop", function() return self:stop() end)
  add("get", "status", function() return self:status() end)
end

local function check_new(o)
  if not o.name:find("^[%w_][%w_.-]*$") then
    options.raise("demo.new: name '%s' may hold letters, digits and _ . - only", o.name)
  end
  if not (o.max_time >= 1 and o.max_time <= TIME_MOST) then
    options.raise("demo.new: max_time is a number of seconds from 1 to 604800")
  end
end

--- Make a demo. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("demo"), `seed` (1: equal seeds, equal events), `max_time` (600:
--   seconds after which it stops), `enabled` (default: whether the server has --demo)
-- @treturn sluice.Demo
function demo.new(app, given)
  local o = options("demo.new", given, KNOWN)
  check_new(o)
  if o.enabled == nil then o.enabled = sluice.is_demo() end
  local self = setmetatable({ app = app, name = o.name, seed = o.seed, max_time = o.max_time,
    enabled = o.enabled, producers = {}, order = {}, files = {} }, Demo)
  self.state = app:state(o.name, { running = false, interval = 5, sent = 0, turn = 0, seed = o.seed,
    calls = {}, drawn = {}, walked = {}, failed = {}, played = {} })
  self.complain, self.publish = complain, publish
  app:task(o.name .. ".turn", function() tick(self) end)
  app:task(o.name .. ".file", function(file) players.play(self, file) end)
  app:task(o.name .. ".end", function()
    self:stop()
    sluice.log.info(("%s: stopped after %g s"):format(self.name, self.max_time))
  end)
  return self
end

return demo
