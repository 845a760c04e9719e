--- app:event_type: how an app describes its events, for pages, demo mode and checks.
-- In memory: the declarations of one generation.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")
local json = require("sluice.json")
local shape = require("sluice.base.shape")

local event_types = {}

local INFO = { automatic = false, description = "", example = options.NONE, fields = options.TABLE,
  channel = options.NONE }

--- Raise unless the name of an event is a text; which characters it may have is checked by the
-- core.
-- @tparam string what the call, with its arguments
-- @param event
-- @param data the argument after it
-- @tparam string call the call as it is written, up to the name
function event_types.check_name(what, event, data, call)
  if type(event) == "string" or type(event) == "number" then return end
  local hint = data == nil and (": write %s\"message\", data)"):format(call) or ""
  caller.raise("%s: the event is a string, not a %s%s", what, type(event), hint)
end

--- Check the fields of a declared event, and mark empty lists as arrays.
-- @tparam string event
-- @tparam table fields as declared
-- @tparam table data
-- @return the data, or nil, message, code and the field that is missing or wrong
function event_types.check_fields(event, fields, data)
  local fault, field = shape.fault(data, fields)
  if fault then return nil, ("%s: %s"):format(event, fault), "EBADFIELD", field end
  local marked = data
  for name, kind in pairs(fields) do
    if (kind == "array" or kind == "array?") and type(data[name]) == "table"
      and next(data[name]) == nil then
      if marked == data then
        marked = {}
        for k, v in pairs(data) do marked[k] = v end
      end
      marked[name] = json.array({})
    end
  end
  return marked
end

--- Register: app:event_type.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam[opt] table info { automatic, description, example, fields, channel }
function event_types.register(generation, name, info)
  if type(name) ~= "string" then
    caller.raise("app:event_type(name, info): the name is a string, not a %s", type(name))
  end
  local good, message = core.check_event(name)
  if not good then caller.raise("app:event_type(): %s", message) end
  local what = ("event type '%s'"):format(name)
  if generation.event_types[name] then caller.raise("%s is declared already", what) end
  local o = options(what, info, INFO)
  if o.channel ~= nil then
    local known, why = channels.check(o.channel)
    if not known then caller.raise("%s: %s", what, why) end
  end
  if o.fields ~= nil then
    shape.check(o.fields)
    generation.typed[name] = o.fields
  end
  local fault = plain.fault(o, name)
  if fault then caller.raise("%s: %s", what, fault) end
  generation.event_types[name] = o
end

--- All declared types: a copy.
function event_types.list(generation)
  return plain.copy(generation.event_types)
end

return event_types
