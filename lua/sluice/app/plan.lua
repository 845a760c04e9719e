--- Plans: which channels a stream follows, and what of them.
-- A plan is written as a channel, a table, or a function that returns one of these. Here
-- tables are checked, ":id" of a constant plan is filled from the path (what a function
-- returns is taken as it is, since a client's text may be in it), and what the client asked
-- for (?keys=, ?types=, ?max_rate=) narrows what the app allows. Keeps nothing in memory.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local codes = require("sluice.base.codes")
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local plain = require("sluice.base.plain")
local show = require("sluice.base.show")

local plan = {}

local NONE = options.NONE
local PLAN = { channels = NONE, keys = NONE, types = NONE, max_rate = NONE, rewind = NONE,
  compress = NONE, control = NONE, heartbeat = NONE, meta = NONE, query = NONE }
local ENTRY = { NONE, keys = NONE, types = NONE, max_rate = NONE, rewind = NONE }
local QUERY = { keys = options.STRING, types = options.STRING, max_rate = options.STRING }
local CHANNELS_MAX, ITEMS_MAX = core.limits.STREAM_CHANNELS_MAX, core.limits.FILTER_ITEMS_MAX
local NO_NAMES = {}

--- Check the keys or types that a plan or a client wishes; raises.
-- @treturn {string,...}|nil a copy
function plan.check_list(what, name, list)
  if list == nil then return nil end
  local fault = options.list_fault(list, "strings", "text")
  if fault then caller.raise("%s: %s %s", what, name, fault) end
  if #list > ITEMS_MAX then caller.raise("%s: %s may hold %d items", what, name, ITEMS_MAX) end
  local out = {}
  for i, item in ipairs(list) do out[i] = core.text_of(item) end
  return out
end
local check_list = plan.check_list

local function check_name(what, name)
  if type(name) ~= "string" then
    caller.raise("%s: a channel is named by a string, not by a %s", what, type(name))
  end
  return name
end

--- Check a rate that a plan or a client wishes; raises.
function plan.check_rate(what, v)
  if v ~= nil and not channels.is_rate(v) then
    caller.raise("%s: max_rate is a number of events per second and key, from 1/60", what)
  end
end

local function check_entry(what, entry)
  if type(entry) ~= "table" then return { check_name(what, entry) } end
  if entry[1] == nil then
    caller.raise('%s: a channel\'s own table begins with its name: { "%s", rewind = 10 }', what,
      type(entry.name) == "string" and entry.name or "news")
  end
  options.check_names(("%s: channel '%s'"):format(what, check_name(what, entry[1])), entry, ENTRY)
  plan.check_rate(what, entry.max_rate)
  if entry.rewind ~= nil then channels.CHECK.rewind(what, entry.rewind) end
  return { entry[1], keys = check_list(what, "keys", entry.keys),
    types = check_list(what, "types", entry.types),
    rewind = entry.rewind, max_rate = entry.max_rate }
end

--- Check the seconds between heartbeats; raises.
function plan.check_heartbeat(what, v)
  if v == nil then return end
  if type(v) ~= "number" or not (v >= 1 and v <= 3600) then
    caller.raise("%s: heartbeat is a number of seconds from 1 to 3600", what)
  end
end

local function check_scalars(what, o)
  plan.check_rate(what, o.max_rate)
  if o.compress then channels.later(what, "compress") end
  if o.rewind ~= nil then channels.CHECK.rewind(what, o.rewind) end
  plan.check_heartbeat(what, o.heartbeat)
  if o.control ~= nil and type(o.control) ~= "boolean" then
    caller.raise("%s: control is true or false", what)
  end
  if o.meta ~= nil then
    if type(o.meta) ~= "table" then caller.raise("%s: meta is a table of plain data", what) end
    local fault = plain.fault(o.meta, "meta")
    if fault then caller.raise("%s: %s: only plain data survives a reload", what, fault) end
  end
  if o.query ~= nil then
    options(what .. ": query", o.query, QUERY)
  end
end

--- Check a plan that is a string or a table; raises.
-- @tparam string what for messages: "plan of /api/x"
-- @tparam string|table given
-- @treturn table { channels = { { name, keys, types, max_rate, rewind }, … }, keys, types,
--   max_rate, rewind, heartbeat, control, meta, query }
function plan.check(what, given)
  if type(given) == "string" then given = { channels = { given } } end
  if type(given) ~= "table" then
    caller.raise("%s is a %s: a channel, a table or a function is expected", what, type(given))
  end
  if given[1] ~= nil then
    caller.raise("%s: write { channels = { %s, … } }", what, show(given[1]))
  end
  options.check_names(what, given, PLAN)
  local list = given.channels
  if type(list) == "string" then list = { list } end
  if type(list) ~= "table" or #list == 0 then
    caller.raise("%s needs channels = { … }", what)
  end
  local fault = options.list_fault(list, "channels")
  if fault then caller.raise("%s: channels %s", what, fault) end
  if #list > CHANNELS_MAX then
    caller.raise("%s: a stream follows at most %d channels", what, CHANNELS_MAX)
  end
  check_scalars(what, given)
  local out = { channels = {}, rewind = given.rewind, heartbeat = given.heartbeat,
    query = given.query, keys = check_list(what, "keys", given.keys),
    types = check_list(what, "types", given.types), max_rate = given.max_rate,
    control = given.control, meta = given.meta and plain.copy(given.meta) }
  for i, entry in ipairs(list) do out.channels[i] = check_entry(what, entry) end
  return out
end

--- Check the channel templates of a constant plan, when the app loads.
-- @tparam string what
-- @tparam table checked
-- @tparam string path the route's pattern, whose parameters a template may use
function plan.check_templates(what, checked, path)
  local known = {}
  for _, segment in ipairs(patterns.split(path)) do
    local name = segment:match("^[:*](%w[%w_]*)$") or segment == "**" and "rest"
    if name then known[name] = true end
  end
  for _, entry in ipairs(checked.channels) do
    if entry[1]:find("*", 1, true) then
      caller.raise("%s: '%s' is a pattern; a plan names channels", what, entry[1])
    end
    channels.check_pattern(what .. ": channel", entry[1])
    for _, name in ipairs(patterns.parameters(entry[1])) do
      if not known[name] then
        caller.raise("%s: there is no path parameter :%s in %s for channel '%s'", what, name, path,
          entry[1])
      end
    end
  end
end

-- What the client asks for by a query parameter.
local function wanted_by(req, name)
  local list = req:list(name)
  if list and #list > ITEMS_MAX then
    local message = ("%s: at most %d items"):format(name, ITEMS_MAX)
    req:abort(422, codes.body(422, message, nil, name))
  end
  return list
end

-- The rate that the client asks for. Nothing that tonumber likes beyond decimal numbers.
local function rate_by(req, name)
  local text = req.query[name]
  if text == nil then return nil end
  local rate = #text <= 32 and text:find("^[%d+.eE-]+$") and tonumber(text)
  if not channels.is_rate(rate) then
    local message = ("%s: a number of events per second, from 1/60, is expected"):format(name)
    req:abort(422, codes.body(422, message, nil, name))
  end
  return rate
end

-- The lowest of three rates, each of which may be absent.
local function lowest(a, b, c)
  if not (a or b or c) then return nil end
  return math.min(a or math.huge, b or math.huge, c or math.huge)
end

local function narrow(bound, wanted)
  if not wanted then return bound end
  local allowed, seen, out = nil, {}, {}
  if bound then
    allowed = {}
    for _, item in ipairs(bound) do allowed[item] = true end
  end
  for _, item in ipairs(wanted) do
    if (not allowed or allowed[item]) and not seen[item] then
      seen[item], out[#out + 1] = true, item
    end
  end
  return out
end

-- The keys, types and rate that the client asks for; without a query nothing is parsed.
local function wishes(renamed, req)
  if req.query_text == "" and rawget(req, "query") == nil then return nil, nil, nil end
  return wanted_by(req, renamed.keys or "keys"), wanted_by(req, renamed.types or "types"),
    rate_by(req, renamed.max_rate or "max_rate")
end

--- The channels of a plan for one request: names filled, filters narrowed. Never widens.
-- @tparam table checked
-- @tparam sluice.Request req
-- @tparam table|nil params what ":id" in a name stands for; nil: names are literal
-- @treturn table|nil the plan for the core (its entries may be those of `checked`);
--   or nil, message when a name is no channel
function plan.concrete(checked, req, params)
  local keys, types, rate = wishes(checked.query or NO_NAMES, req)
  local narrows = keys or types or rate or checked.keys or checked.types or checked.max_rate
  local out = { channels = {}, heartbeat = checked.heartbeat, rewind = checked.rewind,
    control = checked.control }
  for i, entry in ipairs(checked.channels) do
    local name = params and patterns.fill(entry[1], params) or entry[1]
    local good, message = channels.check(name)
    if not good then return nil, message end
    local same = name == entry[1] and not narrows
    out.channels[i] = same and entry or { name, keys = narrow(entry.keys or checked.keys, keys),
      types = narrow(entry.types or checked.types, types),
      max_rate = lowest(entry.max_rate, checked.max_rate, rate), rewind = entry.rewind }
  end
  return out
end

--- The plan as the core answers it without Lua: templates and filters as they are.
function plan.constant(checked)
  return { channels = checked.channels, keys = checked.keys, types = checked.types,
    max_rate = checked.max_rate, rewind = checked.rewind, heartbeat = checked.heartbeat,
    control = checked.control, query = checked.query }
end

return plan
