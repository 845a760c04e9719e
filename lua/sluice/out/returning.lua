--- When a client of an event stream comes back: after which pause, and whether at all. Keeps
-- nothing in memory.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")

local returning = { RETRY_MOST = 3600 } -- seconds that a server may ask for

local RETRY, RETRY_LEAST = 3, 0.1 -- seconds
local BACKOFF_MOST, JITTER = 30, 0.25 -- seconds; a part of the pause, more or less
local TOLD = { ECONNECT = "the upstream cannot be reached", ETIMEOUT = "the upstream took too long",
  ETOOBIG = "the upstream sent too much at once" }
local ONLY = { tries = 5, last_event_id = options.STRING, on_wait = options.FUNCTION }

--- Seconds until the next attempt: what the server asked for, more after each failure, with
-- jitter.
-- @tparam sluice.Connection self
-- @treturn number
function returning.pause(self)
  local asked = self.wait_asked
  self.wait_asked = nil
  if asked then return math.max(asked, RETRY_LEAST) * (1 + JITTER * core.random()) end
  local base = math.max(RETRY_LEAST, math.min(self.retry or RETRY, returning.RETRY_MOST))
  local wait = base * 2 ^ math.min(math.max(self.failures - 1, 0), 16)
  wait = math.max(base, math.min(wait, BACKOFF_MOST / (1 + JITTER)))
  return wait * (1 - JITTER + 2 * JITTER * core.random())
end

--- Come back only where the source would repeat nothing, and not for ever: for an answer that is
-- made once, not a feed. Without a call of this a connection comes back always.
-- @function Connection:resume_only
-- @tparam[opt] table given `tries` (5: failures in a row), `last_event_id` (where to begin, when
--   nothing has come yet), `on_wait` (fn(message, seconds): before each pause after a failure)
function returning.resume_only(self, given)
  local o = options("connection:resume_only()", given, ONLY)
  if not (math.type(o.tries) == "integer" and o.tries >= 1) then
    caller.raise("connection:resume_only(): tries is a whole number from 1")
  end
  self.tries, self.on_wait = o.tries, o.on_wait
  if not self.has_begun and o.last_event_id then self.last_id = o.last_event_id end
end

--- Whether a connection that is lost, or was refused, is tried again.
-- @tparam sluice.Connection self
-- @treturn boolean
function returning.may(self)
  if not self.tries then return true end
  if self.failures >= self.tries then return false end
  return not self.has_begun or self.last_id ~= "" and self.at_id
end

--- Wait until the next attempt. When the coroutine is closed meanwhile, the one that follows waits
-- for the rest only.
-- @tparam sluice.Connection self
function returning.rest(self)
  local scheduler = self.runtime.scheduler
  self.wake_at = self.wake_at or scheduler.now() + (self.wait or returning.pause(self))
  scheduler:sleep(math.max(0, self.wake_at - scheduler.now()), self.what)
  self.wake_at = nil
end

--- What went wrong, for those who must not learn the address of the source; the log has it.
-- @tparam table self a connection or an answer
-- @tparam[opt] string code
-- @treturn string
function returning.told(self, code)
  return self.told or TOLD[code] or "the upstream broke off"
end

-- ---- What is handed over -------------------------------------------------------------------

-- By coroutine: the answer that a closed one had begun to read. In memory as long as both.
local handed = setmetatable({}, { __mode = "k" })

--- Have this coroutine get an answer, which another has begun to read, in place of the same request
-- sent again.
-- @tparam sluice.HttpStream answer
function returning.hand_over(answer) handed[coroutine.running()] = answer end

--- The answer that this coroutine was handed, when it is one to this request.
-- @tparam table o url, method, body
-- @treturn sluice.HttpStream|nil
function returning.handed(o)
  local answer = handed[coroutine.running()]
  local asked = answer and answer.asked
  if not asked or asked.url ~= o.url or asked.method ~= o.method or asked.body ~= o.body then
    return nil
  end
  handed[coroutine.running()] = nil
  return answer
end

return returning
