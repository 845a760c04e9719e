--- What goes with this node when it dies: values that were published with lease = true. Redis has a
-- list of them for the others; this one is for when they have taken this node for dead and it
-- lives, or Redis has lost something: then it publishes them again. It follows the feed: what it
-- says of a value comes in the order of its events, those of other nodes among them. A value that
-- could not be removed, as Redis was away, is removed when that is back.
-- In memory: each of them, at most LEASES_MAX, and as many that were removed lately.
local core = require("sluice.core")
local json = require("sluice.json")

local leases = {}

---@class sluice.Leases
local Leases = {}
Leases.__index = Leases

local LEASES_MAX = core.limits.LEASES_MAX
local A_TURN = 500 -- published again at a time
local TURN_SECONDS, AGAIN_SECONDS = 0.1, 1
local LOST_SECONDS = 30 -- what Redis loses of the end is not older

--- `rows` by channel, key and event: { held = { text =, ttl = } while it is there, maybe = nobody
-- knows whether it is, pending = own publishes on their way, left = when it was removed, due = it
-- is to be said again }. `known`: when what Redis has acknowledged last was asked for
function leases.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, n = 0, left = {}, first = 1, last = 0,
    queue = {}, at = 1, out = 0, timer = nil, known = 0 }, Leases)
end

--- Why a publish cannot have lease = true, or nil.
-- @treturn string|nil message
-- @treturn string|nil code
function Leases:fault(how, channel, key)
  if not how.shared then
    return ("channel '%s' is of this node alone (shared = false), and so are its values: "
      .. "leave lease = true out"):format(channel), "EINVAL"
  end
  if how.kind == "log" then
    return ("channel '%s' is a log: lease = true is for the newest value of a key"):format(channel),
      "EINVAL"
  end
  if not key then return "lease = true needs a key", "EKEY" end
  local keys = self.rows[channel]
  if self.n >= LEASES_MAX and not (keys and keys[key]) then
    return ("this node has %d values with lease = true already, which is the most: remove those "
      .. "that are over"):format(LEASES_MAX), "EFULL"
  end
end

local function row_of(self, channel, key, event)
  local keys = self.rows[channel] or {}
  self.rows[channel] = keys
  keys[key] = keys[key] or {}
  local row = keys[key][event] or { channel = channel, key = key, event = event, pending = 0 }
  keys[key][event] = row
  return row
end

local function hold(self, row, held)
  self.n = self.n + (held and 1 or 0) - (row.held and 1 or 0)
  row.held = held
end

local function forget(self, row)
  if row.held or row.maybe or row.left or row.pending > 0 then return end
  local keys = self.rows[row.channel]
  local events = keys and keys[row.key]
  if not events or events[row.event] ~= row then return end
  events[row.event] = nil
  if not next(events) then keys[row.key] = nil end
  if not next(keys) then self.rows[row.channel] = nil end
end

-- Those that were removed long before Redis was there last, or are too many.
local function trim(self)
  while self.first <= self.last do
    local entry = self.left[self.first]
    if self.known - entry.at < LOST_SECONDS and self.last - self.first < LEASES_MAX then return end
    self.left[self.first], self.first = nil, self.first + 1
    local is_over = entry.row.left == entry.at and not entry.row.due
    if is_over then entry.row.left = nil end
    forget(self, entry.row)
  end
end

local function leave(self, row)
  if not (row.held or row.maybe) then return end
  hold(self, row, nil)
  row.maybe, row.left, self.last = nil, core.now(), self.last + 1
  self.left[self.last] = { row = row, at = row.left }
end

-- ---- Again -----------------------------------------------------------------------------------

local go_on

local function rouse(self, seconds)
  self.timer = self.timer
    or self.runtime.scheduler:at(core.now() + seconds, function() go_on(self) end)
end

local function owe(self, row, seconds)
  row.due, self.queue[#self.queue + 1] = true, row
  rouse(self, seconds)
end

-- It is there, or gone, unless another node has said something else since.
local function say(self, row)
  local held, server = row.held, self.runtime.server
  row.due = false
  local ticket, message, code
  if held then
    ticket, message, code = server:commit_event(row.channel, row.event, held.text, row.key, false,
      held.ttl, false, nil, nil, true, nil, true)
  elseif row.left then
    ticket, message, code = server:commit_event(row.channel, "removed", json.encode({ key =
      row.key }), row.key, true, 0, false, nil, nil, false, nil, true)
  else
    return forget(self, row)
  end
  if not ticket then
    core.log("error", ("a leased event of channel '%s' is not published again: %s"):format(
      row.channel, message), { code = code })
    return
  end
  row.pending, self.out = row.pending + 1, self.out + 1
  self.runtime.stored:finish(ticket, false, nil, function(ok, _, why)
    row.pending, self.out = row.pending - 1, self.out - 1
    local is_refused = not ok and why == "ECONFLICT"
    if is_refused and row.held == held then hold(self, row, nil) end
    if not ok and not is_refused then owe(self, row, AGAIN_SECONDS) end
    forget(self, row)
  end)
end

function go_on(self)
  self.timer = nil
  while self.at <= #self.queue and self.out < A_TURN do
    local row = self.queue[self.at]
    self.queue[self.at], self.at = false, self.at + 1
    if row.due and row.pending > 0 then self.queue[#self.queue + 1] = row break end
    if row.due then say(self, row) end
  end
  if self.at > #self.queue then
    self.queue, self.at = {}, 1
  else
    rouse(self, TURN_SECONDS)
  end
end

--- The others have taken this node for dead, or Redis has lost something: say all again, as this
-- node has read up to now.
function Leases:again()
  trim(self)
  for _, keys in pairs(self.rows) do
    for _, events in pairs(keys) do
      for _, row in pairs(events) do if not row.due then owe(self, row, 0) end end
    end
  end
end

-- ---- What is said ----------------------------------------------------------------------------

local function published(self, row, held, ok, code, is_old, asked)
  row.pending = row.pending - 1
  if ok then self.known = asked end
  if ok and not is_old then
    hold(self, row, held)
    row.left, row.maybe, row.due = nil, nil, false
  elseif held and code == "ETIMEOUT" then
    row.maybe = true
  end
  forget(self, row)
end

-- A key is gone; or it will be.
local function removed(self, rows, ok, code, asked)
  if ok then self.known = asked end
  for _, row in ipairs(rows) do
    row.pending = row.pending - 1
    leave(self, row)
    local is_refused = code == "ENOTFOUND" or code == "ECONFLICT"
    if row.left and not ok and not is_refused then owe(self, row, AGAIN_SECONDS) end
    forget(self, row)
  end
end

--- An event is on its way. When a value with a lease is concerned: what to call with what became
-- of it, as Stored:finish has it.
-- @tparam table o the options of the publish
-- @treturn function|nil
function Leases:begin(channel, event, text, key, o)
  local keys = self.rows[channel]
  local events = keys and keys[key]
  local concerns = o.lease and not o.remove or events and (o.remove or events[event])
  if not (concerns and self.runtime.is_shared) then return nil end
  trim(self)
  local asked = core.now()
  if o.remove then
    local rows = {}
    for _, row in pairs(events) do
      row.pending, rows[#rows + 1] = row.pending + 1, row
    end
    return function(ok, _, code) removed(self, rows, ok, code, asked) end
  end
  local row = row_of(self, channel, key, event)
  local held = o.lease and { text = text, ttl = o.ttl } or nil
  row.pending = row.pending + 1
  return function(ok, _, code, is_old) published(self, row, held, ok, code, is_old, asked) end
end

--- Another node has set a key of ours, or removed it: it is not ours any more.
-- @tparam string event
-- @tparam boolean is_removed all events of the key are
function Leases:take(channel, event, key, is_removed)
  local keys = self.rows[channel]
  for name, row in pairs(keys and keys[key] or {}) do
    if is_removed or name == event then
      hold(self, row, nil)
      row.left, row.maybe, row.due = nil, nil, false
      forget(self, row)
    end
  end
end

return leases
