--- The last check of `sluice doctor`: what a browser's stream is answered while the server is away.
--- A program that the user names restarts it. Keeps nothing in memory.
local core = require("sluice.core")
local probe = require("sluice.command.doctor.probe")

local restart = {}

local MOST_SECONDS, QUIET_SECONDS, EVENT_SECONDS, PAUSE_SECONDS = 60, 5, 2, 0.02
local BACK = 3 -- good streams one after the other: it is there again

-- One request: "there", "away" (an EventSource comes back) or the status that ends it.
local function ask(ctx)
  local s = probe.open(ctx)
  local _ <close> = setmetatable({}, { __close = function() s:close() end })
  if not s.answer then return "away" end
  if not s.is_stream then return s.status end
  local event = s:wait_for(nil, EVENT_SECONDS)
  if event and event.event ~= "bye" then return "there" end
  return (event or s.parser.retry) and "away" or "there"
end

-- Ask until it has been away and is there again, or was not away for a while behind the program.
local function watch(ctx, pid)
  local seen = { good = 0 }
  local till, ended = core.now() + MOST_SECONDS, nil
  while core.now() < till do
    seen.code = seen.code or core.ended(pid)
    ended = seen.code and (ended or core.now())
    local found = ask(ctx)
    seen.good = found == "there" and seen.good + 1 or 0
    if found ~= "there" then seen.away = true end
    if type(found) == "number" then seen.status = found end
    local over = seen.away and seen.good >= BACK
      or not seen.away and ended and core.now() - ended > QUIET_SECONDS
    if ended and over then return seen end
    ctx.sleep(PAUSE_SECONDS)
  end
  return seen
end

-- Whether a stream that was open before has ended.
local function has_ended(s)
  local more
  repeat more = s:wait_bytes(PAUSE_SECONDS) until not more
  return more == nil
end

--- The check; see sluice.command.doctor.checks.
function restart.check(ctx)
  if not ctx.words[1] then
    return "skip", "not looked at: a program behind -- restarts the server"
  end
  local before = probe.open(ctx)
  local _ <close> = setmetatable({}, { __close = function() before:close() end })
  local pid, message = core.spawn(ctx.words)
  if not pid then return "note", ("%s cannot be started: %s"):format(ctx.words[1], message) end
  local seen = watch(ctx, pid)
  if seen.status then
    return "fault", ("while the server is away a stream is answered %d: a browser's EventSource "
      .. "ends for good"):format(seen.status), "restart"
  elseif seen.good == 0 then
    return "note", ("the server was not there again within %d s"):format(MOST_SECONDS)
  elseif seen.code ~= 0 then
    return "note", ("%s has ended with code %d"):format(ctx.words[1], seen.code or -1)
  elseif not seen.away and before.answer and has_ended(before) then
    return "note", "the server was away for so short a time that no request missed it: let the "
      .. "program wait a second before it starts it again"
  elseif not seen.away then
    return "note", "the server was not away, as far as a reader saw"
  end
  return "ok", "a browser's EventSource comes back by itself when the server was away"
end

return restart
