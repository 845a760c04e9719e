--- What goes with this node when it dies: values that were published with lease = true. Redis has a
-- list of them for the others; this one is for when they have taken this node for dead and it
-- lives: then it publishes them again. In memory: each of them, at most LEASES_MAX.
local core = require("sluice.core")

local leases = {}

---@class sluice.Leases
local Leases = {}
Leases.__index = Leases

local LEASES_MAX = 100000
local A_TURN = 500 -- published again at a time

function leases.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, n = 0 }, Leases)
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
  if self.n >= LEASES_MAX then
    return ("this node has %d values with lease = true"):format(LEASES_MAX), "EFULL"
  end
end

local function drop(self, keys, key, event)
  local events = keys and keys[key]
  for name in pairs(events or {}) do
    if event == nil or name == event then events[name], self.n = nil, self.n - 1 end
  end
  if events and not next(events) then keys[key] = nil end
end

--- An event was published: it is leased, or what was leased there is not any more.
-- @tparam table o the options of the publish
function Leases:note(channel, event, text, key, o)
  if not o.lease and self.n == 0 then return end
  local keys = self.rows[channel]
  drop(self, keys, key, not o.remove and event or nil)
  if o.lease and not o.remove then
    keys = keys or {}
    self.rows[channel] = keys
    keys[key] = keys[key] or {}
    keys[key][event], self.n = { text = text, ttl = o.ttl }, self.n + 1
  elseif keys and not next(keys) then
    self.rows[channel] = nil
  end
end

local function all(self)
  local list = {}
  for channel, keys in pairs(self.rows) do
    for key, events in pairs(keys) do
      for event, row in pairs(events) do list[#list + 1] = { channel, key, event, row } end
    end
  end
  return list
end

-- Unless it was removed, or is another one, meanwhile.
local function is_still(self, channel, key, event, row)
  local keys = self.rows[channel]
  return keys and keys[key] and keys[key][event] == row
end

local function publish(self, channel, key, event, row)
  if not is_still(self, channel, key, event, row) then return end
  local runtime = self.runtime
  local ticket, message, code = runtime.server:commit_event(channel, event, row.text, key, false,
    row.ttl, false, nil, nil, false, nil, true)
  if ticket then
    runtime.stored:finish(ticket, false, ("a leased event of channel '%s'"):format(channel))
  else
    core.log("error", ("a leased event of channel '%s' is not published again: %s"):format(channel,
      message), { code = code })
  end
end

--- Publish them again: the others have taken this node for dead.
function Leases:again()
  local list, at, scheduler = all(self), 0, self.runtime.scheduler
  local function go_on()
    for _ = 1, A_TURN do
      at = at + 1
      if at > #list then return end
      publish(self, table.unpack(list[at]))
    end
    scheduler:at(core.now() + 1, go_on)
  end
  go_on()
end

return leases
