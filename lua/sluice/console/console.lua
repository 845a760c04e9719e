--- The console at /-/console: who looks, and what they are sent, once a second while somebody does.
-- All of it is figures that are counted anyway; what has to be looked for among all clients and
-- channels is looked for in slices. While nobody looks there is no timer and nothing to remember.
-- In memory: the viewers, and the numbers of what they have been sent.
local core = require("sluice.core")
local json = require("sluice.json")
local publishing = require("sluice.console.publishing")
local sample = require("sluice.console.sample")
local viewers = require("sluice.console.viewers")

local console = {}

---@class sluice.Console
local Console = {}
Console.__index = Console

local VIEWERS_MOST = 16
local PULSE, ROUND, SLICE = 1, 5, 0.25 -- seconds
local SOON, SOON_ROUNDS = 1, 2 -- the first rounds are quick: two are needed to see anything
local STEPS = core.limits.TOP_STEPS
local CHANNELS_A_SECOND = 4000 -- so many are measured for the table of patterns, about

--- Make the console of a runtime.
-- @tparam sluice.Runtime runtime
-- @treturn sluice.Console
function console.new(runtime)
  return setmetatable({ runtime = runtime, viewers = viewers.new(runtime.server), entries = {},
    log_at = 0, errors_at = 0, reloads_at = 0 }, Console)
end

-- Call fn(self) every so many seconds until the last viewer has left.
local function every(self, name, seconds, fn)
  local scheduler = self.runtime.scheduler
  local at = core.now()
  local function again()
    at = math.max(at + seconds, core.now())
    self.entries[name] = scheduler:at(at, function()
      again()
      fn(self)
    end)
  end
  again()
end

-- ---- What happened -----------------------------------------------------------------------------

-- To one viewer all that is kept; to all (nil) what came since.

local function tell_log(self, to)
  local found, last = sample.log(to and 0 or self.log_at, to and self.log_at)
  if found then self.viewers:tell(to, "log", json.encode(found)) end
  if not to then self.log_at = last end -- other threads may have written more meanwhile
end

-- One that came again is told again.
local function tell_errors(self, to)
  local recorder, after = self.runtime.recorder, to and 0 or self.errors_at
  if not to then self.errors_at = recorder.noted end
  if recorder.noted == after then return end
  local list = recorder:list("errors")
  table.sort(list, function(a, b) return a.noted < b.noted end)
  for _, row in ipairs(list) do
    if row.noted > after then self.viewers:tell(to, "problem", json.encode(row)) end
  end
end

local function tell_code(self, to)
  self.viewers:tell(to, "code", json.encode(sample.code(self.runtime)))
end

local function tell_reloads(self, to)
  local list = self.runtime.recorder:list("reloads")
  local last = #list > 0 and list[#list].n or 0
  if to or last > self.reloads_at then tell_code(self, to) end
  for _, row in ipairs(list) do
    if to or row.n > self.reloads_at then self.viewers:tell(to, "reload", json.encode(row)) end
  end
  if not to then self.reloads_at = last end
end

local function tell_all(self, to)
  tell_reloads(self, to)
  tell_errors(self, to)
  tell_log(self, to)
  self.viewers:show(to, "pulse", json.encode(sample.pulse(self.runtime)))
end

-- ---- Over time ---------------------------------------------------------------------------------

local function pulse(self)
  tell_all(self)
  self.viewers:flush()
end

-- What a round has found covers the time since the oldest of the rounds that are added up.
local function finish_round(self)
  table.insert(self.begun, 1, self.round_at)
  self.begun[STEPS + 2] = nil
  local seconds = self.round_at - self.begun[#self.begun]
  self.viewers:show(nil, "round", json.encode(sample.round(self.runtime, seconds)))
  local now, channels = core.now(), self.runtime.server:pulse().channels
  if now < self.patterns_at then return end
  self.patterns_at = now + channels / CHANNELS_A_SECOND
  self.viewers:show(nil, "patterns", json.encode(sample.patterns(self.runtime)))
end

local function slice(self)
  local server, now = self.runtime.server, core.now()
  if self.looking then
    self.looking = not server:top_look()
    if not self.looking then finish_round(self) end
  elseif now - self.round_at >= (#self.begun > SOON_ROUNDS and ROUND or SOON) - SLICE / 2 then
    server:top_begin()
    self.looking, self.round_at = true, now
  end
  self.viewers:flush()
end

local function begin(self)
  self.begun, self.looking, self.round_at, self.patterns_at = {}, true, core.now(), 0
  self.runtime.server:top_begin()
  every(self, "pulse", PULSE, pulse)
  every(self, "slice", SLICE, slice)
end

-- ---- Who looks ---------------------------------------------------------------------------------

--- Somebody opens it: the core's "stream" for its route.
-- @tparam integer id the request
function Console:open(id)
  local server = self.runtime.server
  if self.viewers.n >= VIEWERS_MOST then return server:respond(id, 503, {}, nil) end
  local client, again = server:accept(id, { channels = {} }, nil, true, false, true)
  if not client or again then return end
  tell_all(self) -- so that all know the same
  self.viewers:add(client)
  if self.viewers.n == 1 then begin(self) end
  tell_all(self, client)
  self.viewers:flush()
end

--- A stream has ended.
-- @tparam string id
-- @treturn boolean whether it was the console's
function Console:left(id)
  if not self.viewers:remove(id) then return false end
  if self.viewers.n > 0 then return true end
  for _, entry in pairs(self.entries) do self.runtime.scheduler:drop(entry) end
  self.entries = {}
  self.runtime.server:top_end()
  return true
end

--- How a browser gets here.
-- @tparam string url of the server
-- @tparam[opt] string key the admin key
function Console:at(url, key)
  local path = key and "/-/console#key=" .. key:gsub("[^%w._~-]", function(c)
    return ("%%%02X"):format(c:byte())
  end)
  self.link = path and { url = url, path = path } or nil
end

--- Publish what somebody tries.
-- @tparam string ip who asks
-- @tparam string text JSON: { channel, event, data, key }
-- @tparam function done called once: a status, and a table
function Console:publish(ip, text, done)
  publishing.publish(self.runtime, ip, text, done)
end

return console
