--- Why a client was reset: a recorded line in words, with the rule that decided.
-- Keeps nothing in memory.
local core = require("sluice.core")
local reloads = require("sluice.explain.reloads")
local rules = require("sluice.explain.rules")
local words = require("sluice.explain.words")

local resets = {}

-- How far the client had got, and what is left.
local function place(line)
  local from = line.from and ("it had got to id %s"):format(line.from) or "it had no id"
  if line.oldest then return ("%s, and what is left begins at %s"):format(from, line.oldest) end
  return from .. ", and nothing is left of what came after it"
end

local function kept(line)
  local text = words.count(line.history or 0, "event")
  if (line.history_bytes or 0) > 0 then
    text = ("%s, and %s of them"):format(text, words.bytes(line.history_bytes))
  end
  return text
end

-- By what took the events, or by the reason. Each is given the line and what decides now, and
-- returns the sentence, the rule and what to do.
local JUDGES = {}

function JUDGES.history(line, of)
  return ("The channel keeps %s, and more came while the client was away: %s."):format(kept(line),
    place(line)), of.history, "A larger history covers a longer absence; so does durable = true."
end

function JUDGES.ttl(line, of)
  return ("Events of the channel are withdrawn after %s, and the client was away for longer: %s.")
    :format(words.seconds(line.ttl or 0), place(line)), of.ttl,
    "A longer ttl covers a longer absence."
end

function JUDGES.memory(line, _, runtime)
  local limit = runtime.server:metrics().memory
  return ("The events of all channels together reached --memory (%s), and the largest histories "
    .. "were halved: %s."):format(words.bytes(limit), place(line)), nil,
    "Raise --memory, or let the channels that hold most keep less (app:stats(channel).held_bytes)."
end

function JUDGES.reload(line, _, runtime)
  local row = reloads.before(runtime, line.time, line.channel)
  local what = row and reloads.text(row) or "A reload changed what the channel is, or keeps"
  return ("%s: %s."):format(what, place(line)), nil,
    "What a channel keeps is taken away at once when a reload makes it less."
end

function JUDGES.forgotten(line, of)
  return ("A channel without events and without subscribers is forgotten after its ttl (%s). One "
    .. "of the pattern '%s' was, and what a client missed of it is not known any more: %s."):format(
    words.seconds(line.ttl or 0), line.pattern or "any channel", place(line)), of.ttl,
    "A longer ttl, ttl = false, or durable = true keeps it."
end

function JUDGES.stored(line, of)
  return ("The store has deleted what the client missed, as the channel's limits say: %s."):format(
    place(line)), of.history or of.ttl, "A larger history or a longer ttl keeps more on the disk."
end

function JUDGES.unread(line)
  return ("The store could not be read, so the client was not given what it missed: %s."):format(
    place(line)), nil, "The log says what is wrong with the disk; sluice store verify looks at it."
end

function JUDGES.room(line)
  return ("There was no memory for an event: %s."):format(place(line)), nil,
    "The machine is out of memory: see the log."
end

function JUDGES.backlog(line, of)
  local limits = core.limits
  return ("The client takes less than it is sent: it had lagged for %s, %s waited for its socket, "
    .. "and beyond its history a channel keeps at most %s or %s for streams that lag."):format(
    words.seconds((line.behind_ms or 0) / 1000), words.bytes(line.unsent or 0),
    words.count(limits.BACKLOG_EVENTS_MAX, "event"), words.bytes(limits.BACKLOG_BYTES_MAX)),
    of.slow, "A slow network or proxy, or a page that does too much for each event. max_rate, "
      .. "batch and keys make it less."
end

function JUDGES.restart(line)
  return ("The server has been started since, and channels in memory lose what they held: %s is an "
    .. "id of the run before."):format(line.from or "it"), nil,
    "durable = true keeps events over a start."
end

function JUDGES.epoch(line, _, runtime)
  return ("The id %s belongs to another numbering than this server's, which is %s: the server was "
    .. "started anew without its store; or its numbering was begun anew, by --new-epoch or a "
    .. "restore; or the id is another server's."):format(line.from or "?",
    runtime.server:stats().epoch), nil, "With a durable channel a server keeps its numbering over "
    .. "a start. After --new-epoch or a restore each client is reset once, which is meant."
end

function JUDGES.future(line)
  return ("The id %s is above all that this server has given: it is another server's, or of a "
    .. "later state of a store that was restored."):format(line.from or "?"), nil,
    "Several servers behind one name need readers that stay with theirs."
end

function JUDGES.unknown_id(line)
  local text = line.from == "?" and "The id that the client brought cannot be read."
    or "The client came back with an id to a stream that had no channels when it opened: nobody "
      .. "knows what it missed of one that is added later."
  return text, nil, "Ids are opaque: a client sends back what it was given."
end

function JUDGES.denied(line, _, runtime)
  local note
  for _, row in ipairs(runtime.recorder:find(line.client, "client")) do
    if row.message == "denied" and row.channel == line.channel then note = row end
  end
  if not note then
    return "A read rule took the channel from the client; which one is no longer known.", nil,
      "The read rules of the channel decide by the user as it is now."
  end
  return ("The read rule of '%s' (%s) says no, when it was asked again%s."):format(note.pattern,
    note.where, note.why and " " .. note.why or ""), { option = "read", pattern = note.pattern,
    where = note.where, value = "function" }, "The rule decides by the user as it is now."
end

function JUDGES.failover()
  return "Another server took over, which has not all that this one had.", nil,
    "Nothing: its page has what the reset left it."
end

--- Why one reset happened.
-- @tparam sluice.Runtime runtime
-- @tparam table line "reset", as an I/O thread recorded it
-- @treturn table { cause, text, rule, advice, channel, client, time }
function resets.judge(runtime, line)
  local cause = line.by or line.reason == "slow" and "backlog" or line.reason
  local judge = JUDGES[cause] or JUDGES.failover
  local text, rule, advice = judge(line, rules.of(runtime.generation, line.channel), runtime)
  return { cause = cause == "denied" and "read" or cause, text = text, advice = advice,
    rule = rules.shown(rule), channel = line.channel, client = line.client, time = line.time }
end

return resets
