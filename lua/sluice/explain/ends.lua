--- Why a stream ended, or was refused: recorded lines in words. Keeps nothing in memory.
local rules = require("sluice.explain.rules")
local words = require("sluice.explain.words")

local ends = {}

-- By the cause that an I/O thread noted. Each is given the line and the settings of the server,
-- and returns the cause's word, the sentence and what to do.
local JUDGES = {}

function JUDGES.drain(_, runtime)
  local why = ""
  for _, row in ipairs(runtime.recorder:find("stopping", "message")) do why = ": " .. row.text end
  return "drain", ("The server stops%s, and ends its streams one after the other."):format(why),
    "Its client comes back when the server does."
end

function JUDGES.time()
  return "expired", "The time of its user was over (req.user.expires).",
    "Its client comes back, and is asked for credentials then."
end

function JUDGES.backlog()
  return "backlog", "It lagged further than its channel keeps for streams that lag, and the "
    .. "channel's policy closes such streams.", "slow = \"reset\" tells it what it lost instead."
end

function JUDGES.loss()
  return "loss", "It had lost something, and a plain stream (control = false) has no way of being "
    .. "told: it breaks off, and its client comes back.", "A larger history, or control events."
end

function JUDGES.stall(line)
  return "stall", ("Its socket took nothing for --stall-timeout, after %s s."):format(
    words.number(line.seconds or 0)), "The client or its network has stopped reading."
end

function JUDGES.client()
  return "left", "The client closed the connection: the page was left, or its script closed it."
end

function JUDGES.network()
  return "network", "The connection broke: the client or a proxy reset it.", nil
end

function JUDGES.silence()
  return "silence", "Nothing that it was sent had been acknowledged for a heartbeat: its network "
    .. "has gone.", "A laptop that sleeps and a phone without reception look like this."
end

function JUDGES.input()
  return "input", "The client went on sending on a stream's connection.", nil
end

function JUDGES.absence()
  return "absence", "The client asked for long polls, and did not ask again in time.", nil
end

function JUDGES.crowd()
  return "crowd", "More clients between two polls than are kept: the oldest went.", nil
end

function JUDGES.queue()
  return "queue", "Its request waited for the app for 10 s and was not begun: the script is busy, "
    .. "or too many requests come.", "The log names the place when a script computes for long; a "
    .. "constant plan needs no script."
end

function JUDGES.slow_plan()
  return "slow_plan", "The app began its plan and did not answer within --request-timeout.",
    "The plan function waits for somebody: give that a timeout of its own."
end

function JUDGES.limit()
  return "limit", "Its address, or its user, has as much as the limits allow (app:limits).",
    "The log names the limit; its client comes back after 10 to 30 s."
end

function JUDGES.no_memory()
  return "no_memory", "There was no memory for what it was to be sent.", "See the log."
end

function JUDGES.closed() return "closed", "The log that it reads is closed.", nil end

function JUDGES.feed()
  return "feed", "An event of its log is not what the stream's type says.", nil
end

-- What the app's thread noted of the same end.
local NOTES = {
  stopped = "The app ended it with client:%s at %s.",
  closed = "The app ended it with client:close(%q) at %s.",
  revoked = "What it was opened with was revoked at %s.",
  expired = "The app ended it as expired at %s.",
  denied = "The app ended it as denied at %s.",
  guard = "Guard #%d of %s (%s) answered %d.",
  plan = "The plan of %s (%s) answered %d%s.",
  plan_error = "The plan of %s (%s) failed: %s",
  channel = "The plan of %s (%s) names what is no channel: %s.",
  read = "The read rule of '%s' (%s) does not let it read '%s'%s.",
  limit = "Its address, or its user, has as much as the limits allow (app:limits).",
  ended = "The plan of %s (%s) was ended: a reload, or the end of the server.",
  finished = "The function that writes %s (%s) returned.",
  route = "There is no stream route for %s any more.",
}

local function with_text(row) return row.text and (": %s"):format(row.text) or "" end

local SAYS = {
  stopped = function(row) return row.how, row.where end,
  closed = function(row) return row.reason, row.where end,
  revoked = function(row) return row.where end,
  expired = function(row) return row.where end,
  denied = function(row) return row.where end,
  guard = function(row) return row.guard, row.route, row.where, row.status end,
  plan = function(row) return row.route, row.where, row.status, with_text(row) end,
  plan_error = function(row) return row.route, row.where, row.text end,
  channel = function(row) return row.route, row.where, row.text end,
  read = function(row)
    return row.pattern, row.where, row.channel, row.why and " " .. row.why or ""
  end,
  limit = function() end,
  ended = function(row) return row.route, row.where end,
  finished = function(row) return row.route, row.where end,
  route = function(row) return row.path end,
}

--- A note of the app's thread in words.
-- @tparam table row "refused", "closed" or "denied", of the recorder
-- @treturn string
function ends.note(row)
  local says = SAYS[row.cause]
  if not says then return row.text or row.cause or "?" end
  return NOTES[row.cause]:format(says(row))
end

local ADVICE = {
  guard = "The guard's line says what it asks for.",
  plan_error = "Its traceback is in the log, and on the console.",
  read = "The rule decides by the user as it is when it is asked.",
  route = "Its client comes back to 404 until the route is there again.",
}

-- Of several notes about one end the last one decides.
local function from_note(row)
  local rule = row.where and { where = row.where, pattern = row.pattern, option = row.cause }
  return { cause = row.cause, text = ends.note(row), advice = ADVICE[row.cause], rule = rule,
    time = row.time, channel = row.channel, traceback = row.traceback }
end

-- How near a note stands to a line that an I/O thread wrote about the same.
local NEAR = 5 -- seconds

local function note_for(line, notes)
  for i = #notes, 1, -1 do
    local row = notes[i]
    local same = line.client and row.client == line.client
      or not line.client and row.path == line.path and row.ip == line.ip
    local near = math.abs(row.time - line.time) < NEAR
    if same and near and row.message ~= "denied" then return row end
  end
  -- all of its channels were taken
  for i = #notes, 1, -1 do
    if notes[i].message == "denied" and notes[i].client == line.client then return notes[i] end
  end
end

local OF_APP = { app = true, answer = true, right = true }

--- Why a stream ended or was refused.
-- @tparam sluice.Runtime runtime
-- @tparam table line "ended" or "refused", as an I/O thread recorded it
-- @tparam {table,...} notes of the app's thread about this client
-- @treturn table { cause, text, rule, advice, time }
function ends.judge(runtime, line, notes)
  local note = OF_APP[line.cause] and note_for(line, notes)
  if note then return from_note(note) end
  local judge = JUDGES[line.cause]
  if not judge then
    return { cause = line.reason, time = line.time, text = ("It ended with the reason %s."):format(
      line.reason or "?") }
  end
  local cause, text, advice = judge(line, runtime)
  local rule = line.cause == "backlog" and line.channel
    and rules.of(runtime.generation, line.channel).slow
  return { cause = cause, text = text, advice = advice, rule = rules.shown(rule or nil),
    time = line.time }
end

--- A note that no I/O thread has a line for: a plain status, which is no stream.
ends.from_note = from_note

return ends
