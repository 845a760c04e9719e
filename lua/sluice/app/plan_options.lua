--- What a plan carries beside its channels: how each option is checked, and how what a client
-- asks for narrows it. Keeps nothing in memory.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local codes = require("sluice.base.codes")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")

local plan_options = {}

local ITEMS_MAX = core.limits.FILTER_ITEMS_MAX
local NOTHING = {}

-- Each check raises, or returns what is kept.

local function check_list(what, name, list)
  local fault = options.list_fault(list, "strings", "text")
  if fault then caller.raise("%s: %s %s", what, name, fault) end
  if #list > ITEMS_MAX then caller.raise("%s: %s may hold %d items", what, name, ITEMS_MAX) end
  local out = {}
  for i, item in ipairs(list) do out[i] = core.text_of(item) end
  return out
end

local function check_rate(what, _, rate)
  if not channels.is_rate(rate) then
    caller.raise("%s: max_rate is a number of events per second and key, from 1/60", what)
  end
  return rate
end

local function check_rewind(what, _, rewind)
  channels.CHECK.rewind(what, rewind)
  return rewind
end

local function check_heartbeat(what, _, seconds)
  if type(seconds) ~= "number" or not (seconds >= 1 and seconds <= 3600) then
    caller.raise("%s: heartbeat is a number of seconds from 1 to 3600", what)
  end
  return seconds
end

local function check_method(what, _, method)
  if method ~= "GET" and method ~= "POST" then
    caller.raise('%s: method is "GET" or "POST"', what)
  end
  return method
end

local function check_control(what, _, control)
  if type(control) ~= "boolean" then caller.raise("%s: control is true or false", what) end
  return control
end

local COMPRESS = { auto = true, gzip = true, zstd = true, [false] = true }

local function check_compress(what, _, compress)
  if not COMPRESS[compress] then
    caller.raise('%s: compress is "auto", "gzip", "zstd" or false', what)
  end
  return compress
end

local function check_meta(what, _, meta)
  if type(meta) ~= "table" then caller.raise("%s: meta is a table of plain data", what) end
  local fault = plain.fault(meta, "meta")
  if fault then caller.raise("%s: %s: only plain data survives a reload", what, fault) end
  return plain.copy(meta)
end

local QUERY = {} -- the filters, each of which the client may name in another way

local function check_query(what, _, query)
  return options(what .. ": query", query, QUERY)
end

-- What the client asks for by a query parameter, or nil.

local function list_by(req, name)
  local list = req:list(name)
  if list and #list > ITEMS_MAX then
    local message = ("%s: at most %d items"):format(name, ITEMS_MAX)
    req:abort(422, codes.body(422, message, nil, name))
  end
  return list
end

-- Nothing that tonumber likes beyond decimal numbers.
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

-- What holds for a channel, of its own table, of the plan, and of what the client asks for: each
-- may be nil. It never widens.

local function narrow_list(own, common, asked)
  local bound = own or common
  if not asked then return bound end
  local allowed, seen, out = nil, {}, {}
  if bound then
    allowed = {}
    for _, item in ipairs(bound) do allowed[item] = true end
  end
  for _, item in ipairs(asked) do
    if (not allowed or allowed[item]) and not seen[item] then
      seen[item], out[#out + 1] = true, item
    end
  end
  return out
end

local function lowest(own, common, asked)
  if not (own or common or asked) then return nil end
  return math.min(own or math.huge, common or math.huge, asked or math.huge)
end

-- The options: a new one is a row here, and a field of
-- what the core reads. `route`: app:stream itself takes it too; `request`: nothing else does.
-- `channel`: the table of one channel does, and client:subscribe. `filter`: it narrows what is
-- sent, so client:set and the client's query may narrow it further.
local OPTIONS = {
  { name = "max_rate", check = check_rate, channel = true, filter = true, asked = rate_by,
    narrow = lowest },
  { name = "compress", check = check_compress, route = true },
  { name = "rewind", check = check_rewind, channel = true },
  { name = "heartbeat", check = check_heartbeat, route = true },
  { name = "method", check = check_method, route = true, request = true },
  { name = "control", check = check_control },
  { name = "meta", check = check_meta },
  { name = "query", check = check_query },
  { name = "keys", check = check_list, channel = true, filter = true, asked = list_by,
    narrow = narrow_list },
  { name = "types", check = check_list, channel = true, filter = true, asked = list_by,
    narrow = narrow_list },
}

-- Those of one kind: a list, with what options() knows them by.
local function of_kind(kind)
  local list = { known = {}, by_name = {} }
  for _, option in ipairs(OPTIONS) do
    if kind == "plan" and not option.request or option[kind] then
      list[#list + 1] = option
      list.known[option.name], list.by_name[option.name] = options.NONE, option
    end
  end
  return list
end

local KINDS = { plan = of_kind("plan"), channel = of_kind("channel"), filter = of_kind("filter"),
  route = of_kind("route") }
local FILTER = {}
for _, option in ipairs(KINDS.filter) do
  QUERY[option.name], FILTER[option.name] = options.STRING, true
end

--- The names that a table may have: of the options of a kind, and one more.
-- @tparam string kind
-- @param more
-- @treturn table for options.check_names
function plan_options.names(kind, more)
  local names = { [more] = true }
  for _, option in ipairs(KINDS[kind]) do
    names[option.name] = true
  end
  return names
end

--- Read the options of a table whose names are checked; raises for a value.
-- @tparam string what for messages
-- @tparam string kind "plan" or "channel"
-- @tparam table given
-- @tparam table out where they are put
-- @treturn table out
function plan_options.read(what, kind, given, out)
  local by_name = KINDS[kind].by_name
  for name, value in next, given do
    local option = by_name[name]
    if option then out[name] = option.check(what, name, value) end
  end
  return out
end

--- Check options that stand outside of a plan; raises.
-- @tparam string what for messages
-- @tparam string kind "channel" (client:subscribe), "filter" (client:set), "route" (app:stream)
-- @tparam table|nil given
-- @treturn table a copy
function plan_options.check(what, kind, given)
  return plan_options.read(what, kind, options(what, given, KINDS[kind].known), {})
end

--- The name of a channel of a plan for the core.
-- @tparam string|table entry
function plan_options.name_of(entry)
  return type(entry) == "string" and entry or entry[1]
end

-- ---- For one request --------------------------------------------------------------------

--- Whether a client has sent no query, which is where it could ask for something.
-- @tparam sluice.Request req
function plan_options.asks_nothing(req)
  return req.query_text == "" and rawget(req, "query") == nil
end

--- What the client asks for, by the names of options; without a query nothing is parsed.
-- @tparam table checked the plan
-- @tparam sluice.Request req
-- @treturn table
function plan_options.asked_by(checked, req)
  if plan_options.asks_nothing(req) then return NOTHING end
  local out, renamed = {}, checked.query or NOTHING
  for _, option in ipairs(KINDS.filter) do
    out[option.name] = option.asked(req, renamed[option.name] or option.name)
  end
  return out
end

--- Whether a plan has filters for all its channels, or the client asks for some.
function plan_options.has_filters(common, asked)
  if next(asked) ~= nil then return true end
  for name in next, FILTER do
    if common[name] ~= nil then return true end
  end
  return false
end

--- The options of one channel: its own, the plan's, and what the client asks for, together.
-- @tparam table out where they are put
-- @tparam table entry the channel's own table
-- @tparam table common the plan
-- @tparam table asked from asked_by
-- @treturn table out
function plan_options.narrow(out, entry, common, asked)
  for _, option in ipairs(KINDS.channel) do
    local key = option.name
    if option.narrow then out[key] = option.narrow(entry[key], common[key], asked[key])
    else out[key] = entry[key]
    end
  end
  return out
end

--- A copy of a plan without its filters.
-- @tparam table checked the plan
-- @treturn table
function plan_options.without_filters(checked)
  local out = {}
  for name, value in next, checked do
    if not FILTER[name] then out[name] = value end
  end
  return out
end

return plan_options
