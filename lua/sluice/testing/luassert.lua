--- For luassert (and so for busted): what a stream of the test kit has received.
--   assert.received(c, "progress", { percentage = 50 })   assert.not_received(c, "alert")
-- Keeps nothing in memory. Loaded by testing.start where luassert is.
local assert = require("luassert")
local json = require("sluice.json")
local say = require("say")
local stream = require("sluice.testing.stream")

local WAIT_SECONDS = 2 -- over real connections an event needs some time

local has = stream.has

local function received(state, arguments)
  local c, event, match = arguments[1], arguments[2], arguments[3]
  local found = has(c, event, match)
  if not found and state.mod and not c.test.place.virtual then
    found = c.test:wait(WAIT_SECONDS, function() return has(c, event, match) end) or false
  end
  event = event or "any event"
  arguments[1] = type(match) == "table" and ("%s %s"):format(event, json.encode(match)) or event
  arguments[2], arguments[3] = c:transcript(), nil
  arguments.n = 2
  arguments.nofmt = { true, true }
  return found
end

say:set("assertion.received.positive", "Expected to have received: %s\nReceived:\n%s")
say:set("assertion.received.negative", "Expected not to have received: %s\nReceived:\n%s")
assert:register("assertion", "received", received, "assertion.received.positive",
  "assertion.received.negative")

return assert
