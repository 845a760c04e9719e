--- Channels as an app declares them: names, policies, and read rules.
-- A policy is checked here and merged by the core, option by option; read rules stay here
-- and all that match must agree. In memory: the declarations of one generation.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local failure = require("sluice.base.failure")
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local show = require("sluice.base.show")

local channels = {}

local NONE = options.NONE
local POLICY = { history = NONE, ttl = NONE, key = NONE, max_keys = NONE, rewind = NONE,
  slow = NONE, read = NONE, durable = NONE, shared = NONE, max_rate = NONE, batch = NONE,
  budget = NONE }
local TO_CORE = { "history", "ttl", "key", "max_keys", "rewind", "slow", "durable", "shared" }
local HISTORY_MAX, RATE_LEAST = core.limits.HISTORY_EVENTS_MAX, core.limits.RATE_LEAST
local BUDGET_MOST = 2 ^ 53
local BATCH_LEAST, BATCH_MOST = 0.02, 60
local NO_RATE = '%s: max_rate needs history = "latest": in a log no event is ever replaced'
local NOT_STORED = "does not go with shared = false: a channel of one node is in its memory only"
local NO_IDS = 'does not go with shared = false, whose events have no ids: it needs history = '
  .. '"latest" (the values of this node) or history = 0'
local NO_LOG = '%s: %s has no use with history = "latest": a state always gives the newest values, '
  .. "and a slow reader skips to them"

-- The first segment that the core refuses for its characters.
local function bad_segment(name)
  for _, segment in ipairs(patterns.split(name)) do
    if segment:find("^[:*]") then return nil end -- the core's message explains this one
    if not segment:match("^[%w_.@+=~-][%w_.@+=~:-]*$") then return segment end
  end
end

--- Check the name of one channel.
-- @tparam string name
-- @treturn string|nil name, or nil, message, code
function channels.check(name)
  if type(name) ~= "string" then
    return nil, "a channel is named by a string, not by a " .. type(name), "ECHANNEL"
  end
  if core.check_channel(name) then return name end
  local segment = bad_segment(name)
  if segment and segment ~= "" then
    return nil, ("channel '%s': segment '%s' may hold letters, digits and _ . @ + = ~ : - only")
      :format(core.encode_utf8(name), core.encode_utf8(segment)), "ECHANNEL"
  end
  local _, message = core.check_channel(name)
  return nil, ("channel '%s': %s"):format(core.encode_utf8(name), message), "ECHANNEL"
end

--- Check a pattern or template of channels; raises.
-- @tparam string what for the message
-- @param pattern
function channels.check_pattern(what, pattern)
  if type(pattern) ~= "string" then
    caller.raise("%s: a pattern is a string, not a %s", what, type(pattern))
  end
  local ok, message = core.check_pattern(pattern)
  if not ok then caller.raise("%s '%s': %s", what, pattern, message) end
  local list = patterns.split(pattern)
  for i, segment in ipairs(list) do
    if segment:find("^[:*]") then list[i] = "x" end
  end
  local good, why = channels.check(table.concat(list, "/"))
  if not good then caller.raise("%s", why) end
end

--- How the channels begin that app:store has in a cluster: no client follows one.
channels.STORES = "sluice:store/"
local OF_STORES = { pattern = channels.STORES .. "*", where = "app:store",
  fn = function() return false end }

local function is_count(v) return math.type(v) == "integer" and v >= 0 and v <= HISTORY_MAX end

local function check_history(what, v)
  if v == "latest" or is_count(v) then return end
  if type(v) ~= "table" then
    caller.raise('%s: history is a number of events (at most %d), "latest", or '
      .. "{ count =, bytes = }", what, HISTORY_MAX)
  end
  local o = options(what .. ": history", v, { count = NONE, bytes = NONE })
  local good_bytes = o.bytes == nil or math.type(o.bytes) == "integer" and o.bytes >= 0
  if o.count ~= nil and not is_count(o.count) or not good_bytes then
    caller.raise("%s: history.count and history.bytes are integers from 0", what)
  end
end

--- Whether a value is a rate that a plan or a client may ask for.
function channels.is_rate(v)
  return type(v) == "number" and v >= RATE_LEAST and v < math.huge
end

local CHECK = {
  history = check_history,
  ttl = function(what, v)
    if v ~= false and not (type(v) == "number" and v > 0 and v < math.huge) then
      caller.raise("%s: ttl is a number of seconds above 0, or false", what)
    end
  end,
  key = function(what, v)
    if type(v) ~= "string" or v == "" then
      caller.raise("%s: key is the name of a field of the data", what)
    end
  end,
  max_keys = function(what, v)
    if not is_count(v) or v == 0 then caller.raise("%s: max_keys is an integer from 1", what) end
  end,
  rewind = function(what, v)
    if v ~= "all" and v ~= "latest" and not is_count(v) then
      caller.raise('%s: rewind is a number of events, "all" or "latest"', what)
    end
  end,
  slow = function(what, v)
    if v ~= "reset" and v ~= "close" then caller.raise('%s: slow is "reset" or "close"', what) end
  end,
  max_rate = function(what, v)
    if v ~= false and not channels.is_rate(v) then
      caller.raise("%s: max_rate is a number of events per second and key, from 1/60, or false",
        what)
    end
  end,
  batch = function(what, v)
    local good = type(v) == "number" and v >= BATCH_LEAST and v <= BATCH_MOST
    if v ~= false and not good then
      caller.raise("%s: batch is a number of seconds from %g to %g, or false", what, BATCH_LEAST,
        BATCH_MOST)
    end
  end,
  budget = function(what, v)
    local good = math.type(v) == "integer" or type(v) == "number" and v == math.floor(v)
    if v ~= false and not (good and v >= 1 and v <= BUDGET_MOST) then
      caller.raise("%s: budget is a whole number of bytes a minute, or false", what)
    end
  end,
  durable = function(what, v)
    if type(v) ~= "boolean" then caller.raise("%s: durable is true or false", what) end
  end,
  shared = function(what, v)
    if type(v) ~= "boolean" then caller.raise("%s: shared is true or false", what) end
  end,
  read = function(what, v)
    if type(v) ~= "function" then
      caller.raise("%s: read is a function(user, params, client), not a %s", what, type(v))
    end
  end,
}
channels.CHECK = CHECK

-- What a channel of one node cannot be: its events have no ids, which mean the same on all nodes.
local function check_unshared(what, p)
  if p.durable then caller.raise("%s: durable = true %s", what, NOT_STORED) end
  if p.history ~= nil and p.history ~= 0 and p.history ~= "latest" then
    caller.raise("%s: history = %s %s", what, show(p.history), NO_IDS)
  end
  if p.rewind ~= nil then caller.raise("%s: rewind %s", what, NO_IDS) end
  if p.ttl and p.history == 0 then
    caller.raise("%s: ttl has no use with shared = false and history = 0: nothing is kept", what)
  end
end

-- What each option allows on its own, but not together.
local function check_together(what, p)
  if p.max_rate and p.history ~= nil and p.history ~= "latest" then caller.raise(NO_RATE, what) end
  for _, name in ipairs({ "rewind", "slow" }) do
    if p.history == "latest" and p[name] ~= nil then caller.raise(NO_LOG, what, name) end
  end
  if p.durable and p.history == 0 then
    caller.raise("%s: durable needs a history: nothing would be kept", what)
  end
  if p.rewind == "latest" and p.history == 0 then
    caller.raise('%s: rewind = "latest" needs a history: a client that comes back gets the log',
      what)
  end
  if p.rewind == "latest" and not p.key then
    caller.raise('%s: rewind = "latest" needs key = "field"', what)
  end
  if p.shared == false then check_unshared(what, p) end
end

--- Declare a policy: app:channel.
-- @tparam sluice.Generation generation
-- @tparam string pattern
-- @tparam table given
function channels.declare(generation, pattern, given)
  channels.check_pattern("channel", pattern)
  local what = ("channel '%s'"):format(pattern)
  local p = options(what, given, POLICY)
  for name, check in pairs(CHECK) do
    if p[name] ~= nil then check(what, p[name]) end
  end
  check_together(what, p)
  local shape, where = patterns.shape(pattern), caller.where()
  if generation.policy_shapes[shape] then
    caller.raise_taken(what .. " is declared already", generation.policy_shapes[shape])
  end
  generation.policy_shapes[shape] = where
  local row = { pattern = pattern, denies = p.read ~= nil, where = where,
    is_module = caller.is_module() }
  for _, name in ipairs(TO_CORE) do row[name] = p[name] end
  for _, name in ipairs({ "max_rate", "batch", "budget" }) do
    if p[name] == false then row[name] = 0 else row[name] = p[name] end -- 0 undoes a wider pattern
  end
  table.insert(generation.policies, row)
  if p.read then
    table.insert(generation.readers, { pattern = pattern, fn = p.read, where = where })
  end
end

--- Let no client follow the channels of stores.
function channels.hide_stores(generation) table.insert(generation.readers, OF_STORES) end

-- Channel 'name' has the rate of one policy, and is a log because of the other one or of none.
local function refuse_rate(rated, other, name)
  local message = NO_RATE:format(("%s: channel '%s'"):format(rated.where, rated.pattern))
  if other ~= rated then
    message = ("%s; '%s' (%s) makes a log of '%s': give it max_rate = false"):format(message,
      other.pattern, other.where, name)
  end
  error(message, 0)
end

-- Channel 'name' is of one node by a policy, and has ids because of the other one or of none.
local function check_unshared_merged(policies, shares, row, other)
  local name = patterns.example(row.pattern, other.pattern)
  if not name or select(5, core.merge(shares, name)) then return end
  local kind, _, durable, history = core.merge(policies, name)
  local is = durable and "durable" or kind == "keyed" and "a keyed log"
    or kind == "log" and history > 0 and ("a log with a history of %d events"):format(history)
  if not is then return end
  local message = ("%s: channel '%s': '%s' is %s"):format(row.where, row.pattern, name, is)
  if other ~= row then
    message = ("%s, because of '%s' (%s)"):format(message, other.pattern, other.where)
  end
  error(("%s, which %s"):format(message, durable and NOT_STORED or NO_IDS), 0)
end

--- Check the policies together, when all are declared; raises. The rate of one pattern may
-- apply to a channel whose history is set by another: that is tried on a name that both match.
-- What shared = false needs is looked for in the same way.
-- @tparam sluice.Generation generation
function channels.check_merged(generation)
  local shares = {}
  for i, row in ipairs(generation.policies) do
    shares[i] = { pattern = row.pattern, shared = row.shared }
  end
  for _, row in ipairs(generation.policies) do
    for _, other in ipairs(row.shared == false and generation.policies or {}) do
      check_unshared_merged(generation.policies, shares, row, other)
    end
  end
  for _, rated in ipairs(generation.policies) do
    for _, other in ipairs(rated.max_rate and rated.max_rate > 0 and generation.policies or {}) do
      local asks = other == rated or other.history
      local name = asks and patterns.example(rated.pattern, other.pattern)
      local kind, rate
      if name then kind, rate = core.merge(generation.policies, name) end
      if name and kind ~= "state" and rate > 0 then refuse_rate(rated, other, name) end
    end
  end
end

--- Whether a read rule could apply to a channel or template.
function channels.has_rule(generation, pattern)
  for _, rule in ipairs(generation.readers) do
    if patterns.may_overlap(rule.pattern, pattern) then return true end
  end
  return false
end

--- Ask all read rules; an error is a denial and a log line.
-- @tparam sluice.Generation generation
-- @tparam string channel
-- @tparam table|nil user
-- @tparam sluice.Client client
-- @treturn boolean
-- @treturn table|nil the rule that says no
function channels.may_read(generation, channel, user, client)
  for _, rule in ipairs(generation.readers) do
    local params = core.match(rule.pattern, channel)
    if params then
      local ok, answer = failure.part(rule.fn, user, params, client)
      if not ok then
        local name = ("read rule of '%s' (%s): "):format(rule.pattern, rule.where)
        core.log("error", name .. answer.message,
          failure.fields(answer, { channel = channel }))
      end
      if ok and answer and answer ~= true and not rule.reported then
        rule.reported = true
        core.log("warn", ("read rule of '%s' (%s) returned %s, which means no: only true "
          .. "allows reading"):format(rule.pattern, rule.where, show(answer)))
      end
      if not ok or answer ~= true then return false, rule end
    end
  end
  return true
end

return channels
