--- What a feed says of its log: the plans of app:durable_stream.
-- A plan is written as a channel, a table, or a function that returns one of these. It becomes a
-- plan of streams with one channel and a field `feed`, which the core reads. Keeps nothing in
-- memory.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local plan = require("sluice.app.plan")

local feed = {}

local PLAN = { channel = options.NONE, type = options.NONE, closes = options.NONE,
  types = options.NONE, wait = options.NONE }
local KINDS = { state = "state channel", keyed = "keyed log" }
local WAIT_MOST = 300
local TYPE_DEFAULT = "application/json"
local TOKEN = "[%w!#$&^_.+-]+"

-- A media type, with parameters or without.
local function check_type(what, text)
  local good = type(text) == "string" and #text <= 127 and not text:find("[^\32-\126]")
    and (text:find("^" .. TOKEN .. "/" .. TOKEN .. "$")
      or text:find("^" .. TOKEN .. "/" .. TOKEN .. " *;"))
  if not good then
    caller.raise('%s: type is a media type: "application/json", "text/plain"', what)
  end
  return text
end

local function check_wait(what, seconds)
  if type(seconds) ~= "number" or not (seconds >= 1 and seconds <= WAIT_MOST) then
    caller.raise("%s: wait is a number of seconds from 1 to %d", what, WAIT_MOST)
  end
  return seconds
end

local function check_closes(what, names)
  if type(names) == "string" then names = { names } end
  local fault = options.list_fault(names, "strings")
  if fault then
    caller.raise('%s: closes is the name of the event that closes it, or a list: %s', what, fault)
  end
  for _, name in ipairs(names) do
    local ok, message = core.check_event(name)
    if not ok then caller.raise("%s: closes: '%s': %s", what, name, message) end
  end
  return names
end

--- Check a plan that is a string or a table; raises.
-- @tparam string what for messages
-- @tparam string|table given { channel =, type =, closes =, types =, wait = }
-- @treturn table { channels = { { name } }, feed = { type =, closes = } }
function feed.check(what, given)
  if type(given) == "string" then given = { channel = given } end
  if type(given) ~= "table" then
    caller.raise("%s is a %s: a channel, a table or a function is expected", what, type(given))
  end
  local o = options(what, given, PLAN)
  if type(o.channel) ~= "string" then
    caller.raise('%s needs channel = "name": a feed reads one log', what)
  end
  local out = plan.check(what, { channels = { o.channel }, types = o.types })
  out.feed = { type = check_type(what, o.type or TYPE_DEFAULT),
    closes = o.closes ~= nil and check_closes(what, o.closes) or {},
    wait = o.wait ~= nil and check_wait(what, o.wait) or nil }
  return out
end

--- Check that the feeds whose channel is written down read logs that keep something, when all
-- channels are declared; raises.
-- @tparam sluice.Generation generation
function feed.check_logs(generation)
  for _, route in ipairs(generation.routes) do
    local pattern = route.kind == "feed" and route.checked and route.checked.channels[1][1]
    if pattern then
      local name = patterns.example(pattern, pattern)
      local kind, _, _, history = core.merge(generation.policies, name)
      if kind ~= "log" or history == 0 then
        error(("%s: app:durable_stream(%q) reads '%s', %s: a feed reads one log with a history")
          :format(route.where, route.pattern, pattern,
            kind == "log" and "which has history = 0" or "a " .. KINDS[kind]), 0)
      end
    end
  end
end

--- What the plan function of a feed returns. It is given the request alone: a feed has no client
-- before it is read live.
-- @tparam table route
-- @tparam sluice.Request req
-- @treturn table|nil the plan; or nil, and the answer that it returned
function feed.run_plan(route, req)
  local first, second, third = route.plan(req)
  if type(first) == "number" or first == nil and second ~= nil then
    return nil, first, second, third
  end
  if first == nil then
    error(route.where .. ": the plan function returned nothing: return a channel, a table, or a "
      .. "status", 0)
  end
  return feed.check(("%s: the plan of %s"):format(route.where, route.pattern), first)
end

return feed
