--- How the request of a stream ends: the core accepts it as a client, or it is refused. A session
-- is what requests/streams.lua makes of a request. Keeps nothing in memory.
local answers = require("sluice.requests.answers")
local asked = require("sluice.requests.asked")
local refusals = require("sluice.requests.refusals")
local router = require("sluice.requests.router")
local show = require("sluice.base.show")

local acceptance = {}

--- Until when a user is who they say, for the core; 0: for ever.
function acceptance.expires_of(user)
  local expires = user and user.expires
  if expires == nil then return 0 end
  if type(expires) ~= "number" or expires ~= expires then
    error(("req.user.expires is a time in seconds since 1970, not %s"):format(show(expires)), 0)
  end
  return math.max(expires, 1)
end

local function note_limit(session, limit)
  if limit then session.why_not = { cause = "limit", limit = limit } end
end

--- Register a stream with core and runtime; returns its id, or nil, message, code. A client that
-- polls again (then the second result is true) is registered, and keeps the meta that it had.
function acceptance.accept(session, concrete, meta, is_written)
  local runtime, req = session.runtime, session.req
  local user, kept = rawget(req, "user"), req.method == "POST" and asked.keep(session) or nil
  concrete.expires = user and acceptance.expires_of(user) or 0
  local has_meta = meta ~= nil and next(meta) ~= nil
  local close_wanted = is_written or user ~= nil or has_meta or kept ~= nil -- Runtime:remember
  local id, again, code, limit = runtime.server:accept(session.id, concrete,
    user and user.id, close_wanted, is_written)
  note_limit(session, limit)
  if not id then return nil, again, code end
  if again and is_written then return id, true end -- another run of its function writes it
  session.client_id = id
  if again then return id, true end
  if close_wanted then runtime:remember(id, user, meta, is_written, kept) end
  return id
end

--- Answer it with a status, or end its stream when it is open already.
-- @treturn integer the status
function acceptance.refuse(session, status, headers, text)
  refusals.note(session, status)
  if session.client_id then
    session.runtime.server:close(session.client_id, status >= 500 and "error" or "denied", status)
  else
    router.respond(session.runtime, session.id, session.route, status, headers, text)
  end
  return status
end

--- The core does not accept it; ECLOSED: nobody waits for an answer.
function acceptance.refuse_open(session, message, code)
  if code == "ECLOSED" then return 200 end
  return acceptance.refuse(session, answers.read(session.route.name, nil, message, code))
end

--- The core does not open it in one step.
-- @treturn integer the status
function acceptance.refuse_at_once(session, message, code, limit)
  note_limit(session, limit)
  return acceptance.refuse_open(session, message, code)
end

-- Whether what its plan function returns is all that is to be known: of a stream that asks for
-- nothing, of channels that all may read. That nobody in particular asks, the core looks at.
local function is_plain(session)
  local runtime, req = session.runtime, session.req
  return not (session.why or session.client) and req.method ~= "POST" and req.query_text == ""
    and #session.generation.readers == 0 and next(runtime.timers.watching) == nil
end

--- Open a stream with what its plan function returned, in one step.
-- @treturn integer|nil the status; nil: more has to be known, and nothing was done
function acceptance.open_at_once(session, given)
  local route = session.route
  if not is_plain(session) then return nil end
  local opened, message, code, limit = session.runtime.server:open(session.id, given,
    route.heartbeat, session.req)
  if opened == nil then return nil end
  return opened and 200 or acceptance.refuse_at_once(session, message, code, limit)
end

return acceptance
