--- When a client of an event stream comes back: after which pause, and whether at all. Keeps
-- nothing in memory.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")

local returning = { RETRY_MOST = 3600 } -- seconds that a server may ask for

local RETRY, RETRY_LEAST = 3, 0.1 -- seconds
local BACKOFF_MOST, JITTER = 30, 0.25 -- seconds; a part of the pause, more or less
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
-- @tparam sluice.Connection self
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
  return not self.has_begun or self.last_id ~= ""
end

return returning
