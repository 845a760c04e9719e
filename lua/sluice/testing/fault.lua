--- Errors for a test whose answer says nothing about the app, or less than its log: a user that a
-- guard replaced or that no guard used, a plan or a guard that raised.
-- Keeps nothing in memory.
local caller = require("sluice.base.caller")

local fault = {}

--- Two texts, either of which may be nil.
function fault.join(a, b)
  return a and b and a .. "\n" .. b or a or b
end

--- What became of a user that the test gave, when a guard put another in its place. Then a 401
-- says nothing about the app: it raises; with any other answer it is mentioned.
-- @tparam sluice.testing.Exchange x
-- @tparam integer status
-- @tparam string path
-- @treturn string|nil
function fault.of_user(x, status, path)
  local text = x.user and x.place.users:replaced(x.user)
  if text and status == 401 then caller.raise("%s answered 401: %s", path, text) end
  return text
end

--- Raise what a plan or a guard raised: the test must see it, though a browser sees only
-- "bye".
-- @tparam sluice.testing.Stream c
-- @tparam string|nil logged the log's last error
function fault.of_stream(c, logged)
  local first = c.received[1]
  local ended = first and first.event == "bye" and type(first.data) == "table" and first.data
  if c.status ~= 500 and not (ended and ended.reason == "error") then return end
  local text = fault.join(logged or "the log of the server says why", c.error)
  caller.raise("%s", ("GET %s failed: %s"):format(c.path, text))
end

--- Raise when a stream opened and no code used the user that the test gave.
-- @tparam sluice.testing.Exchange x
-- @tparam sluice.testing.Stream c
function fault.of_unclaimed(x, c)
  if not (x.user and x.place.users:unclaimed(x.user) and c.first ~= "") then return end
  caller.raise("%s has no guard, no read rule and a constant plan: the server answers it without "
    .. "asking for a user, so `user` means nothing here", c.path)
end

return fault
