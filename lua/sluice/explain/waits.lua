--- What an open stream waits for: what its I/O thread says of it, in words.
-- Keeps nothing in memory.
local rules = require("sluice.explain.rules")
local words = require("sluice.explain.words")

local waits = {}

local function pending(sub)
  return ("%s of '%s' (%s)"):format(words.count(sub.events, "event"), sub.channel,
    words.bytes(sub.bytes))
end

local function ago(sub)
  return sub.last_s and ("the last one came %s ago"):format(words.seconds(sub.last_s))
    or "nothing was published to it yet"
end

-- Whose rate it is: what the plan or the client asked for, or the channel's own.
local function rate_rule(sub, of)
  local rate, batch = of.max_rate, of.batch
  local by_batch = batch and (not rate or rate.value == 0 or batch.value >= 1 / rate.value)
  local own = by_batch and batch or rate
  local asked = sub.asked_ms or 0
  if asked > 0 and asked >= sub.period_ms then return nil end
  return own
end

local JUDGES = {}

function JUDGES.rate(sub, of)
  local rule = rate_rule(sub, of)
  local whose = rules.text(rule, "Its plan, or the client by ?max_rate=, asked for that")
  return ("Pending until the next tick, in %s: %s. One goes out every %s: %s."):format(
    words.seconds(sub.due_ms / 1000), pending(sub), words.seconds(sub.period_ms / 1000), whose),
    rule
end

function JUDGES.turn(sub)
  return ("Pending: %s. The thread has other streams to serve first."):format(pending(sub)), nil,
    "When this lasts the thread has too much to do: sluice_loop_turn_seconds."
end

function JUDGES.store(sub)
  return ("What it is to be sent of '%s' is read from the store."):format(sub.channel), nil,
    "When this lasts the disk is slow: sluice_store_commit_seconds."
end

function JUDGES.socket(sub)
  return ("Pending behind that: %s."):format(pending(sub)), nil
end

function JUDGES.filter(sub)
  local asked = {}
  if sub.n_keys then
    asked[#asked + 1] = ("%s (%s)"):format(words.count(sub.n_keys, "key"), sub.keys or "none")
  end
  if sub.n_types then
    asked[#asked + 1] = ("%s of events (%s)"):format(words.count(sub.n_types, "type"),
      sub.types or "none")
  end
  return ("Events of '%s' come, and its filter leaves them out: it wants %s only."):format(
    sub.channel, table.concat(asked, " and ")), nil,
    "The filter is in the plan, or in ?keys= and ?types= of its URL."
end

function JUDGES.publish(sub)
  return ("Nothing was published to '%s' since the stream follows it: %s."):format(sub.channel,
    ago(sub)), nil, "Look at who publishes: sluice check names channels that nobody publishes to."
end

function JUDGES.nothing(sub, of)
  local text = ("It has all of '%s': %s."):format(sub.channel, ago(sub))
  if not sub.period_ms then return text, nil end
  return ("%s It gets them at most every %s."):format(text, words.seconds(sub.period_ms / 1000)),
    (rate_rule(sub, of))
end

-- What holds all of a stream, whatever its channels have.
local HELD = {}

function HELD.socket(stream)
  return ("Its socket is full: it has taken nothing for %s, and %s wait for it."):format(
    words.seconds(stream.quiet_s), words.bytes(stream.unsent)),
    "The client, its network or a proxy reads too slowly. After --stall-timeout without a byte the "
    .. "stream is closed."
end

function HELD.poll()
  return "Its client polls, and has not asked for the next answer yet.", nil
end

HELD["end"] = function(stream)
  return ("It is being ended (%s): its last words, %s, wait for its socket."):format(
    stream.reason or "?", words.bytes(stream.unsent)), nil
end

function HELD.store()
  return "It waits for events from the store.", "When this lasts the disk is slow."
end

local ORDER = { socket = 1, store = 2, rate = 3, turn = 4, filter = 5, publish = 6, nothing = 7 }

--- What an open stream waits for, the most important first.
-- @tparam sluice.Runtime runtime
-- @tparam table stream
-- @tparam {table,...} subscriptions
-- @treturn {table,...} { cause, text, rule, advice, channel }
function waits.judge(runtime, stream, subscriptions)
  local list = {}
  local held = HELD[stream.held]
  if held then
    local text, advice = held(stream)
    list[1] = { cause = stream.held, text = text, advice = advice }
  end
  table.sort(subscriptions, function(a, b)
    local x, y = ORDER[a.waits] or 9, ORDER[b.waits] or 9
    if x ~= y then return x < y end
    if a.events ~= b.events then return a.events > b.events end
    return a.channel < b.channel
  end)
  for _, sub in ipairs(subscriptions) do
    if sub.waits ~= stream.held then
      local judge = JUDGES[sub.waits] or JUDGES.nothing
      local text, rule, advice = judge(sub, rules.of(runtime.generation, sub.channel))
      list[#list + 1] = { cause = sub.waits, text = text, advice = advice, channel = sub.channel,
        rule = rules.shown(rule) }
    end
  end
  if not list[1] then
    list[1] = { cause = "nothing", text = "It follows no channel: only client:send reaches it." }
  end
  return list
end

return waits
