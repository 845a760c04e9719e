--- Notes why a stream was refused, for whoever asks later (sluice explain). What decided stands in
-- session.why_not, set where that is known. Keeps nothing in memory.
local trace = require("sluice.base.trace")

local refusals = {}

-- Nothing was decided: the coroutine was ended before.
local function undecided(session)
  return { cause = session.fiber and session.fiber.abandoned and "abandoned" or "ended" }
end

--- Note a refusal.
-- @tparam table session
-- @tparam integer status
function refusals.note(session, status)
  local req = session.req
  local entry = session.why_not or undecided(session)
  entry.message, entry.status, entry.route = "refused", status, session.route.name
  entry.where = entry.where or session.route.where
  entry.client, entry.path, entry.ip = session.client_id, req.path, req.ip
  entry.user, entry.trace = req.user and req.user.id, trace.id(rawget(req, "traceparent"))
  session.runtime.recorder:deed(entry)
end

return refusals
