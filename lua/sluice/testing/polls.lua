--- A stream that a test follows by long-polls: one request after another, with the id and the
-- token that came last. In memory: the token.
local caller = require("sluice.base.caller")
local stream = require("sluice.testing.stream")

local polls = {}

-- A path with what a poll adds to its query.
local function asked(c)
  local mark = c.path:find("?", 1, true) and "&" or "?"
  return c.path .. mark .. "mode=poll" .. (c.token and "&poll=" .. c.token or "")
end

-- Whether nothing follows an answer: it is cut or refused, says bye, or says at once that nothing
-- is new, since another poll of the same client has come.
local function is_last(c)
  local x, last = c.exchange, c.received[#c.received]
  if x.answer.status ~= 200 or x.answer.cut or last and last.event == "bye" then return true end
  return c.test.place:now() == c.asked_at and not c.first:find("\ndata", 1, true)
end

-- The next request; whether there is one.
local function next_of(c, send)
  if is_last(c) then return false end
  c.token = c.first:match("\npoll: ([%w.]+)\n\n$")
  c.first = ""
  local given = {}
  for name, value in pairs(c.options) do given[name] = value end
  given.last_event_id = c:last_id()
  c.exchange = send(asked(c), given)
  polls.begin(c, send)
  return true
end

--- Go on after each answer.
-- @tparam sluice.testing.Stream c
-- @tparam function send the next request: (path, options) -> exchange
function polls.begin(c, send)
  stream.receive(c, c.exchange)
  c.asked_at = c.test.place:now()
  c.exchange.on_end = function() return next_of(c, send) end
end

--- Whether a stream is to be followed this way; raises for another mode.
function polls.wanted(options)
  if options.mode == nil or options.mode == "poll" then return options.mode == "poll" end
  caller.raise('t:connect(): mode is "poll"')
end

--- The path of its first request.
function polls.first_path(path, token)
  return asked({ path = path, token = token })
end

return polls
