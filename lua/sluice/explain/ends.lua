--- Why a stream ended, or was refused: recorded lines in words. Keeps nothing in memory.
local limits = require("sluice.explain.limits")
local rules = require("sluice.explain.rules")
local words = require("sluice.explain.words")

local ends = {}

-- By the cause that an I/O thread noted. Each is given the line and the settings of the server,
-- and returns the cause's word, the sentence and what to do.
local JUDGES = {}

function JUDGES.drain(line, runtime)
  local why = ""
  for _, row in ipairs(runtime.recorder:find("stopping", "message")) do why = ": " .. row.text end
  local text = line.message == "refused" and "The server was stopping when it came%s."
    or "The server stops%s, and ends its streams one after the other."
  return "drain", text:format(why), "Its client comes back when the server does."
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
  return "left", "The client closed the connection: the page was left, or its script closed it.",
    "Nothing, if that was meant. If nobody left, look at the time limits of a proxy in between: "
    .. "sluice doctor measures them."
end

function JUDGES.network()
  return "network", "The connection broke: the client or a proxy reset it.",
    "Its client comes back. If many break at a time, look at the proxy and at the network."
end

function JUDGES.silence()
  return "silence", "Nothing that it was sent had been acknowledged for a heartbeat: its network "
    .. "has gone.", "A laptop that sleeps and a phone without reception look like this."
end

function JUDGES.input()
  return "input", "The client went on sending on a stream's connection.",
    "A stream takes no more requests: its client needs another connection for these."
end

function JUDGES.absence()
  return "absence", "The client asked for long polls, and did not ask again in time.",
    "The page was left, or its next poll did not arrive: it resumes from its id."
end

function JUDGES.crowd()
  return "crowd", "More clients between two polls than are kept: the oldest went.",
    "It resumes from its id. Clients that can read a stream should not poll."
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

function JUDGES.limit(line, runtime)
  local text, advice, rule = limits.judge(runtime, line)
  return "limit", text, advice, rule
end

JUDGES.connections = JUDGES.limit

local OF_STATUS = {
  [404] = "sluice routes lists what is served.",
  [405] = "sluice routes lists what is served, with its methods.",
  [421] = "--allow-host takes the names that are served.",
}

-- A request that a thread answered by itself: the app was not asked.
function JUDGES.status(line)
  local host = line.host and (" (Host: %s)"):format(line.host) or ""
  local why = line.why and (": %s"):format(line.why) or ""
  return "status", ("The server itself answered %s %s with %d%s%s."):format(line.method
    or "a request for", line.path or "what it could not read", line.status or 0, host, why),
    OF_STATUS[line.status] or "The app was not asked: the sentence says what to change."
end

function JUDGES.no_memory()
  return "no_memory", "There was no memory for what it was to be sent.",
    "The machine, or the memory that its service may have, is full: see the log."
end

function JUDGES.closed()
  return "end", "The log that it reads is closed.", "Nothing: whoever writes it has closed it."
end

function JUDGES.feed()
  return "feed", "An event of its log is not what the stream's type says.",
    "Look at who publishes to its channel: the log names the event."
end

-- The app ended or refused it, and what it noted of that is gone.
function JUDGES.app(line)
  return "closed", ("The app ended it (%s); where is no longer known."):format(line.reason or "?"),
    "The log may have more."
end

function JUDGES.right()
  return "read", "The last of its channels was taken from it; by which rule is no longer known.",
    "The read rules of its channels decide by the user as it is now."
end

function JUDGES.answer(line)
  return "plan", ("The app refused it (%s); why is no longer known."):format(line.reason or "?"),
    "The log may have more."
end

-- What the app's thread noted of the same end.
local NOTES = {
  stopped = "The app ended it with client:%s %s.",
  closed = "The app ended it with client:close(%q) %s.",
  revoked = "What it was opened with was revoked %s.",
  expired = "The app ended it as expired %s.",
  denied = "The app ended it as denied %s.",
  guard = "Guard #%d of %s (%s) answered %d.",
  plan = "The plan of %s (%s) answered %d%s.",
  plan_error = "The plan of %s (%s) failed: %s",
  channel = "The plan of %s (%s) names what is no channel: %s.",
  read = "The read rule of '%s' (%s) does not let it read '%s'%s.",
  ended = "The plan of %s (%s) was ended: a reload, or the end of the server.",
  abandoned = "The plan of %s (%s) was ended when nobody waited for it any more: "
    .. "--request-timeout was over, or its client had left.",
  finished = "The function that writes %s (%s) returned.",
  route = "There is no stream route for %s any more.",
}

local function with_text(row) return row.text and (": %s"):format(row.text) or "" end

local SAYS = {
  stopped = function(row) return row.how, row.place end,
  closed = function(row) return row.reason, row.place end,
  revoked = function(row) return row.place end,
  expired = function(row) return row.place end,
  denied = function(row) return row.place end,
  guard = function(row) return row.guard, row.route, row.where, row.status end,
  plan = function(row) return row.route, row.where, row.status, with_text(row) end,
  plan_error = function(row) return row.route, row.where, row.text end,
  channel = function(row) return row.route, row.where, row.text end,
  read = function(row)
    return row.pattern, row.where, row.channel, row.why and " " .. row.why or ""
  end,
  ended = function(row) return row.route, row.where end,
  abandoned = function(row) return row.route, row.where end,
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
  stopped = "Its client stays away until its page opens a new stream.",
  closed = "The line says why.",
  revoked = "Its client stays away until somebody signs in again: a key or a session is gone, or "
    .. "the line revoked it.",
  expired = "Its client comes back, and is asked for credentials then.",
  denied = "Its client stays away. The line says why.",
  guard = "The guard's line says what it asks for.",
  plan = "The plan's line says when it answers so.",
  plan_error = "Its traceback is in the log, and on the console.",
  channel = "Names have letters, digits and _ . @ + = ~ : - between single slashes.",
  read = "The rule decides by the user as it is when it is asked.",
  ended = "Its client comes back.",
  abandoned = "If the client did not leave, the plan waits for somebody: give that a timeout.",
  finished = "A stream that is to go on returns its channels.",
  route = "Its client comes back to 404 until the route is there again.",
}

-- Of several notes about one end the last one decides.
local function from_note(row)
  local rule = row.where and { where = row.where, pattern = row.pattern, option = row.cause }
  return { cause = row.cause, text = ends.note(row), advice = ADVICE[row.cause], rule = rule,
    time = row.time, channel = row.channel, traceback = row.traceback }
end

-- How near a note stands to a line that an I/O thread wrote about the same request.
local NEAR = 5 -- seconds

-- What a client is sent last may wait for its socket for long; a request has no id.
local function is_about(row, line)
  if line.client then return row.client == line.client end
  return row.path == line.path and row.ip == line.ip and math.abs(row.time - line.time) < NEAR
end

local function note_for(line, notes)
  for i = #notes, 1, -1 do
    local row = notes[i]
    if is_about(row, line) and row.message ~= "denied" then return row end
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
  if line.limit or note and note.limit then
    line = setmetatable({ cause = "limit", limit = line.limit or note.limit, user = line.user
      or note and note.user }, { __index = line })
  elseif note then
    return from_note(note)
  end
  local cause, text, advice, rule = (JUDGES[line.cause] or JUDGES.app)(line, runtime)
  if line.cause == "backlog" and line.channel then
    rule = rules.shown(rules.of(runtime.generation, line.channel).slow)
  end
  return { cause = cause, text = text, advice = advice, rule = rule, time = line.time }
end

--- The causes that an I/O thread notes and that have a sentence here.
function ends.causes() return JUDGES end

--- A note that no I/O thread has a line for: a plain status, which is no stream.
function ends.from_note(runtime, note)
  if note.limit then return ends.judge(runtime, note, {}) end
  return from_note(note)
end

return ends
