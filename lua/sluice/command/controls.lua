--- The control events of a Sluice server, for people: which events they are, and what each says.
-- Keeps nothing in memory.
local json = require("sluice.json")

local controls = {}

local NAMES = { hello = true, reset = true, sync = true, bye = true }

local RESETS = { trimmed = "what was missed has left the history",
  epoch = "the server was started again, and numbers anew",
  unknown_id = "the id does not come from this server",
  future = "the id does not come from this server", slow = "this reader lagged too far",
  denied = "this reader may no longer read the channel",
  restart = "the server was started again, and this channel was not stored" }

local BYES = { drain = "the server stops: come back",
  overload = "a limit is met, or too much waits: come back later",
  slow = "this reader lagged too far: come back", error = "guard or plan raised: come back",
  stop = "it is over", denied = "this reader may not read this",
  revoked = "this reader may no longer read this",
  expired = "come back, and show again who you are" }

local function fields_of(event)
  local data = json.decode(event.data)
  return type(data) == "table" and data or {}
end

--- Whether the first event of a stream says that a Sluice server sends it.
-- @tparam table event
-- @treturn boolean
function controls.is_sluice(event)
  local data = fields_of(event)
  return event.event == "hello" and data.client ~= nil and data.epoch ~= nil
    or event.event == "bye" and data.reason ~= nil
end

--- Whether an event of a Sluice server is one of its own.
-- @tparam table event
-- @treturn boolean
function controls.is_control(event) return NAMES[event.event] == true end

local function plural(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local say = {}

function say.hello(data)
  local list = { "client " .. tostring(data.client), "epoch " .. tostring(data.epoch),
    data.resumed and "resumed without a gap" or "not resumed" }
  if tonumber(data.channels) then list[#list + 1] = plural(data.channels, "channel") end
  if (tonumber(data.replay) or 0) > 0 then
    list[#list + 1] = plural(data.replay, "event") .. " from the history"
  end
  return table.concat(list, ", ")
end

function say.reset(data)
  local reason = tostring(data.reason)
  return ("something of %s is lost: %s%s"):format(tostring(data.channel), reason,
    RESETS[reason] and " (" .. RESETS[reason] .. ")" or "")
end

function say.sync() return "all up to here was sent" end

function say.bye(data)
  local reason = tostring(data.reason)
  local status = data.status and (", status %s"):format(tostring(data.status)) or ""
  return reason .. status .. (BYES[reason] and " (" .. BYES[reason] .. ")" or "")
end

--- What a control event says.
-- @tparam table event
-- @treturn string without its name
function controls.text(event) return say[event.event](fields_of(event)) end

return controls
