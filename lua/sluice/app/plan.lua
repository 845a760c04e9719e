--- Plans: which channels a stream follows, and what of them.
-- A plan is written as a channel, a table, or a function that returns one of these. Here
-- tables are checked, ":id" of a constant plan is filled from the path (what a function
-- returns is taken as it is, since a client's text may be in it), and what the client asked
-- for (?keys=, ?types=, ?max_rate=) narrows what the app allows. Keeps nothing in memory.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local plan_options = require("sluice.app.plan_options")
local show = require("sluice.base.show")

local plan = {}

local usual_plan = core.usual_plan
local CHANNELS_MAX = core.limits.STREAM_CHANNELS_MAX
local PLAN, ENTRY = plan_options.names("plan", "channels"), plan_options.names("channel", 1)

local function check_name(what, name)
  if type(name) ~= "string" then
    caller.raise("%s: a channel is named by a string, not by a %s", what, type(name))
  end
  return name
end

local function check_entry(what, entry)
  if type(entry) ~= "table" then return { check_name(what, entry) } end
  if entry[1] == nil then
    caller.raise('%s: a channel\'s own table begins with its name: { "%s", rewind = 10 }', what,
      type(entry.name) == "string" and entry.name or "news")
  end
  options.check_names(("%s: channel '%s'"):format(what, check_name(what, entry[1])), entry, ENTRY)
  return plan_options.read(what, "channel", entry, { entry[1] })
end

--- Check a plan that is a string or a table; raises.
-- @tparam string what for messages: "plan of /api/x"
-- @tparam string|table given
-- @treturn table { channels = { { name, … }, … } } and the options
function plan.check(what, given)
  if type(given) == "string" then given = { channels = { given } } end
  if type(given) ~= "table" then
    local more = type(given) == "function" and "" or " or a function"
    caller.raise("%s is a %s: a channel, a table%s is expected", what, type(given), more)
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
  local out = plan_options.read(what, "plan", given, { channels = {} })
  for i, entry in ipairs(list) do out.channels[i] = check_entry(what, entry) end
  return out
end

--- The plan that functions usually return: channels by their names, and a heartbeat at most. It can
-- go to the core as it is.
-- @param given what a function returned
-- @tparam sluice.Request req
-- @treturn table|nil a plan for the core; nil: it is another one, or wrong: plan.check says why
function plan.usual(given, req)
  local list, heartbeat = usual_plan(given)
  if not list or not plan_options.asks_nothing(req) then return nil end
  return { channels = list, heartbeat = heartbeat, expires = 0, is_usual = true }
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

-- What a function returned is of one request: nothing has to be copied.
local function check_names(checked)
  for _, entry in ipairs(checked.channels) do
    local good, message = channels.check(entry[1])
    if not good then return nil, message end
  end
  return checked
end

--- The channels of a plan for one request: names filled, filters narrowed. Never widens.
-- @tparam table checked
-- @tparam sluice.Request req
-- @tparam table|nil params what ":id" in a name stands for; nil: names are literal
-- @treturn table|nil the plan for the core (its entries may be those of `checked`);
--   or nil, message when a name is no channel
function plan.concrete(checked, req, params)
  if checked.is_usual then return checked end
  local asked = plan_options.asked_by(checked, req)
  local filters = plan_options.has_filters(checked, asked)
  if not params and not filters then return check_names(checked) end
  local out = plan_options.without_filters(checked)
  out.channels = {}
  for i, entry in ipairs(checked.channels) do
    local name = params and patterns.fill(entry[1], params) or entry[1]
    local good, message = channels.check(name)
    if not good then return nil, message end
    local same = name == entry[1] and not filters
    out.channels[i] = same and entry or plan_options.narrow({ name }, entry, checked, asked)
  end
  return out
end

return plan
