--- Rules of sluice.alerts: what they may say, and what they say about a sample.
--- Functions of the app are called here: one that raises, or returns what makes no sense, leaves
--- its rule as it was, and is logged at most once a minute for each rule. Keeps nothing else.
local options = require("sluice.base.options")
local sluice = require("sluice")

local rules = {}

local NONE = options.NONE
local LIMIT = { field = options.STRING, above = NONE, below = NONE, clear = NONE,
  when = options.FUNCTION, hold = 0, cooldown = 0, severity = "warning", category = options.STRING,
  message = NONE }
local SILENCE = { after = 60, severity = "high", category = options.STRING, message = NONE }
local SEVERITIES = { info = true, warning = true, high = true, critical = true }
local SECONDS_MAX, TEXT_MAX, QUIET_SECONDS = 366 * 86400, 1000, 60

local function is_finite(v) return v == v and v ~= math.huge and v ~= -math.huge end

--- Whether a value can stand in an event: no text is too long, or is not UTF-8.
function rules.is_text(v, max)
  return type(v) == "string" and #v <= (max or TEXT_MAX) and utf8.len(v) ~= nil
end

-- ---- What a rule may say: functions that return what is wrong, or nil -------------------

local function limit_fault(o, name)
  local v = o[name]
  if v == nil or type(v) == "function" or type(v) == "number" and is_finite(v) then return nil end
  local shown = type(v) == "string" and ('the string "%s"'):format(v:sub(1, 64)) or tostring(v)
  return ("%s is a number, or a function that returns one, not %s"):format(name, shown)
end

local function seconds_fault(o, name, least)
  if o[name] >= least and o[name] <= SECONDS_MAX then return nil end
  return ("%s is a number of seconds from %d to %d, not %s"):format(name, least, SECONDS_MAX,
    o[name])
end

-- What limits and silences have in common.
local function common_fault(o)
  if not SEVERITIES[o.severity] then
    return ("severity is info, warning, high or critical, not '%s'"):format(o.severity)
  end
  if o.category and not rules.is_text(o.category) then
    return ("category is UTF-8 of at most %d bytes"):format(TEXT_MAX)
  end
  local fine = o.message == nil or type(o.message) == "function" or rules.is_text(o.message)
  if fine then return nil end
  return ("message is a text of at most %d bytes, or a function that returns one"):format(TEXT_MAX)
end

local function sides_fault(o)
  local sides = (o.above ~= nil and 1 or 0) + (o.below ~= nil and 1 or 0) + (o.when and 1 or 0)
  if sides ~= 1 then return "give one of above, below (with field) or when" end
  if not o.when and not o.field then return "field is missing" end
  if o.when and o.clear ~= nil then
    return "clear is for above and below: when says itself when it is over"
  end
  for _, name in ipairs({ "above", "below", "clear" }) do
    local fault = limit_fault(o, name)
    if fault then return fault end
  end
  local limit, clear = o.above or o.below, o.clear
  if type(limit) ~= "number" or type(clear) ~= "number" then return nil end
  local wrong = o.above and clear > limit or o.below and clear < limit
  return wrong and ("clear (%s) is on the wrong side of the limit (%s)"):format(clear, limit) or nil
end

local function name_fault(name)
  if type(name) == "string" and #name <= 64 and name:find("^[%w_][%w_.-]*$") then return nil end
  return "a name is 1 to 64 letters, digits and _ . -"
end

--- A rule about samples, checked.
-- @tparam string name
-- @tparam table given as for alerts:rule
-- @treturn table|nil or nil, message
function rules.limit(name, given)
  local what = ("alerts:rule '%s'"):format(tostring(name))
  local rule = options(what, given, LIMIT)
  local fault = name_fault(name) or sides_fault(rule) or seconds_fault(rule, "hold", 0)
    or seconds_fault(rule, "cooldown", 0) or common_fault(rule)
  if fault then return nil, what .. ": " .. fault end
  rule.name = name
  return rule
end

--- A rule about silence, checked.
-- @treturn table|nil or nil, message
function rules.silence(name, given)
  local what = ("alerts:silence '%s'"):format(tostring(name))
  local rule = options(what, given, SILENCE)
  local fault = name_fault(name) or seconds_fault(rule, "after", 1) or common_fault(rule)
  if fault then return nil, what .. ": " .. fault end
  rule.name, rule.hold, rule.cooldown = name, 0, 0
  return rule
end

-- ---- What it says about a sample ---------------------------------------------------------

-- Say what is wrong with a rule, at most once a minute.
local function complain(rule, subject, message)
  local now = sluice.now()
  if rule.complained and now - rule.complained < QUIET_SECONDS then return end
  rule.complained = now
  sluice.log.error(("alerts: rule '%s': %s"):format(rule.name, message), { subject = subject })
end

-- What the app gave, as text, though it may have a __tostring that raises.
local function text_of(v)
  local ok, text = pcall(tostring, v)
  return ok and text or type(v)
end

-- What a function of the app returns; nil when it raises.
local function ask(rule, subject, what, fn, ...)
  local ok, answer = pcall(fn, ...)
  if ok then return answer end
  complain(rule, subject, ("%s raised: %s"):format(what, text_of(answer)))
  return nil
end

-- A limit as a number; nil when there is none for this subject.
local function limit_of(rule, name, subject)
  local v = rule[name]
  if type(v) == "function" then v = ask(rule, subject, name, v, subject) end
  if v == nil or type(v) == "number" and is_finite(v) then return v end
  complain(rule, subject, ("%s returned %s, not a number"):format(name, text_of(v)))
  return nil
end

-- The field of a sample: "temperature", or "sensors.temperature" inside of another.
local function read(sample, field)
  local v = sample[field]
  if v ~= nil or not field:find(".", 1, true) then return v end
  v = sample
  for part in field:gmatch("[^.]+") do
    if type(v) ~= "table" then return nil end
    v = v[part]
  end
  return v
end

local function judge_when(rule, sample, subject, firing)
  local bad = ask(rule, subject, "when", rule.when, sample, subject, firing)
  if bad == nil or type(bad) == "boolean" then return bad end
  complain(rule, subject, ("when returned %s, neither true nor false"):format(text_of(bad)))
  return nil
end

-- Above 90 until it is at most 80; or below.
local function judge_limit(rule, v, subject, firing)
  local side = rule.above ~= nil and "above" or "below"
  local limit = limit_of(rule, side, subject)
  if limit == nil then return nil end
  local sign = side == "above" and 1 or -1
  if firing and rule.clear ~= nil then
    local clear = limit_of(rule, "clear", subject)
    if clear == nil then return nil end
    limit = sign * math.min(sign * limit, sign * clear) -- never beyond the limit: it would flap
  end
  return sign * v > sign * limit
end

--- What a rule says about a sample.
-- @tparam table rule
-- @tparam table sample
-- @tparam string subject
-- @tparam boolean firing whether there is an alert
-- @treturn boolean|nil whether the condition holds; nil: this sample says nothing about it
-- @return the value, for the event
function rules.judge(rule, sample, subject, firing)
  local v
  if rule.field then v = ask(rule, subject, "reading the sample", read, sample, rule.field) end
  local is_number = type(v) == "number" and is_finite(v)
  local shown = (is_number or type(v) == "boolean" or rules.is_text(v, 256)) and v or nil
  if rule.when then return judge_when(rule, sample, subject, firing), shown end
  if is_number then return judge_limit(rule, v, subject, firing), v end
  if v ~= nil and v ~= sluice.json.null then
    complain(rule, subject, ("field '%s' is no number: %s"):format(rule.field,
      type(v) == "number" and text_of(v) or type(v)))
  end
  return nil
end

--- The message of an alert.
-- @tparam table rule
-- @param value
-- @tparam string subject
-- @treturn string
function rules.message(rule, value, subject)
  local text = rule.message
  if type(text) == "function" then
    text = ask(rule, subject, "message", text, value, subject)
    if text ~= nil and not rules.is_text(text) then
      complain(rule, subject, ("message returned no text of at most %d bytes"):format(TEXT_MAX))
      text = nil
    end
  end
  return text or rule.name
end

return rules
