--- The answer to: what about this channel? Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local options = require("sluice.base.options")
local reloads = require("sluice.explain.reloads")
local resets = require("sluice.explain.resets")
local rules = require("sluice.explain.rules")
local timeline = require("sluice.explain.timeline")
local words = require("sluice.explain.words")

local channel = {}

local NAMES_MOST = 1000 -- among which one that is meant is looked for

local function sum(told, field)
  local n = 0
  for _, line in ipairs(told.channels) do n = n + (line[field] or 0) end
  return n
end

-- The newest reset of the channel, judged.
local function last_reset(runtime, told)
  for i = #told.recorded, 1, -1 do
    if told.recorded[i].message == "reset" then return resets.judge(runtime, told.recorded[i]) end
  end
end

-- What took the newest events of a channel that holds none: "history 12, ttl 40".
local function emptied_by(told)
  local lost = told.channels[1] and told.channels[1].lost
  return lost and lost:match("(%a+) %d+$")
end

local EMPTIED = {
  ttl = "They were older than the ttl (%s).",
  memory = "--memory was reached, and they had to go.",
  history = "The channel keeps none (%s).",
  reload = "A reload took them away.",
}

-- One finding each, or nil: given the runtime, the name, what the threads said, figures, rules.

local function undeclared(runtime, name, _, figures, of)
  if next(of) then return nil end
  local row, found = reloads.before(runtime, nil, name)
  local removed = found and table.concat(found, "  "):find("-channel:", 1, true)
  if not removed then return nil end
  local text = "%s. It is not declared any more, and is a %s with the defaults."
  return { cause = "reload", text = text:format(reloads.text(row), figures.kind),
    advice = "sluice reload --rollback goes back." }
end

local function lagging(_, _, told, figures)
  local behind = figures.behind
  if behind == 0 and sum(told, "behind") == 0 then return nil end
  return { cause = "socket", text = ("%s of its %s lag: their sockets are full. The one that lags "
    .. "most has %s (%s) to go."):format(words.number(math.max(behind, sum(told, "behind"))),
    words.count(figures.subscribers, "subscriber"), words.count(figures.lag_events, "event"),
    words.bytes(figures.lag_bytes)), advice = "The console and app:slowest() name them: their "
    .. "networks, or a proxy, read too slowly." }
end

local function over_budget(_, _, _, figures, of)
  if not figures.over_budget then return nil end
  local text = "It is over its budget: in a minute %s left for its subscribers, and %s."
  return { cause = "budget", text = text:format(words.bytes(figures.minute_bytes),
    rules.text(of.budget, "that is more than its budget")), rule = rules.shown(of.budget),
    advice = "Nothing is held back. Less data, max_rate, batch or filters make it less; or raise "
      .. "the budget." }
end

local function rated(_, _, told, _, of)
  local waiting = sum(told, "waiting")
  local rule = of.max_rate or of.batch
  if waiting == 0 or not rule then return nil end
  local text = "Its newest events are pending until the next tick: %s."
  return { cause = "rate", text = text:format(rules.text(rule)), rule = rules.shown(rule),
    advice = "A higher max_rate or a shorter batch sends them sooner." }
end

local function was_reset(runtime, _, told, figures)
  local one = figures.resets > 0 and last_reset(runtime, told)
  if not one then return nil end
  one.text = ("It had %s. The last one, at %s: %s"):format(words.count(figures.resets, "reset"),
    words.clock(one.time), one.text)
  return one
end

local function unused(runtime, name, _, figures)
  if figures.published > 0 or figures.held > 0 or figures.last then return nil end
  local who = figures.subscribers == 0 and "Nobody follows it, and" or ("It has %s, and"):format(
    words.count(figures.subscribers, "subscriber"))
  local all = runtime.server:channels()
  local near = #all <= NAMES_MOST and options.nearest(name, all)
  return { cause = "publish", text = ("%s nothing was published to it since the start, or since it "
    .. "was forgotten.%s"):format(who, near and (" There is '%s'."):format(near) or ""),
    advice = "sluice check names channels that are followed and never published to." }
end

local function emptied(_, _, told, figures, of)
  if figures.held > 0 or figures.kind == "state" and figures.published == 0 then return nil end
  local cause = emptied_by(told) or of.history and of.history.value == 0 and "history"
  if not EMPTIED[cause] then return nil end
  local rule = of[cause]
  local why = EMPTIED[cause]:format(rules.text(rule, "the default"))
  return { cause = cause, text = "It holds no event, and who comes waits for the next. " .. why,
    rule = rules.shown(rule), advice = "More history or a longer ttl gives it to who comes late." }
end

local function unfollowed(_, _, told, figures)
  if figures.subscribers > 0 then return nil end
  local last = told.channels[1] and told.channels[1].last_s
  return { cause = "nobody", text = ("Nobody follows it now.%s"):format(
    last and (" Its last event came %s ago."):format(words.seconds(last)) or ""),
    advice = "sluice routes says which streams follow it." }
end

local function fine(_, _, told, figures)
  local last = told.channels[1] and told.channels[1].last_s
  local text = "Nothing is wrong with it: %s, %s so far, the last one %s."
  return { cause = "nothing", text = text:format(words.count(figures.subscribers, "subscriber"),
    words.count(figures.published, "event"),
    last and words.seconds(last) .. " ago" or "before the start") }
end

local FINDINGS = { undeclared, over_budget, lagging, rated, was_reset, unused, emptied, unfollowed,
  fine }

-- The value of an option as the script would say it; the core counts no events of a state, and
-- has no word for what is off.
local function said(merged, option, rule)
  local value = merged[option]
  if option == "history" and merged.kind == "state" then return "latest" end
  if type(rule and rule.value) == "table" then return rules.shown(rule).value end
  if value == 0 and option ~= "history" or value == false and option == "ttl" then return "none" end
  return value ~= nil and core.text_of(value) or rule and core.text_of(rule.value)
end

local POLICY = { "history", "ttl", "key", "max_keys", "rewind", "slow", "max_rate", "batch",
  "budget", "durable" }

-- Which rule is in force for each option; the defaults where none was declared.
local function policy(runtime, name, of)
  local merged, out = runtime.server:policy(name), arrays.mark({})
  for _, option in ipairs(POLICY) do
    local rule = of[option]
    local value = said(merged, option, rule)
    if value then
      out[#out + 1] = { option = option, value = value, where = rule and rule.where,
        pattern = rule and rule.pattern }
    end
  end
  return out
end

-- Reloads that changed it, for the timeline.
local function reload_notes(runtime, name)
  local list = {}
  for _, row in ipairs(runtime.recorder:list("reloads")) do
    if row.ok and #reloads.about(row, "channel", name) > 0 then
      list[#list + 1] = { time = row.time, message = "reload", text = reloads.text(row) }
    end
  end
  return list
end

--- Explain a channel.
-- @tparam sluice.Runtime runtime
-- @tparam string name a good one
-- @tparam table told what the threads answered
-- @treturn table { found, because, channel, policy, timeline, since }
function channel.explain(runtime, name, told)
  local figures, of = runtime.server:stats(name), rules.of(runtime.generation, name)
  local because = arrays.mark({})
  for _, finding in ipairs(FINDINGS) do
    local one = finding(runtime, name, told, figures, of)
    if one and (one.cause ~= "nothing" or #because == 0) then because[#because + 1] = one end
  end
  local used = figures.published > 0 or figures.held > 0 or figures.subscribers > 0
  figures.channel = name
  return { subject = { kind = "channel", id = name }, found = used and "used" or "none",
    because = because, channel = figures, policy = policy(runtime, name, of), since = told.since,
    timeline = timeline.of(runtime, told.recorded, reload_notes(runtime, name)) }
end

return channel
