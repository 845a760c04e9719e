--- A live match: a page that comes late gets everything that happened, in order, and then the
--- live events; a goal that the desk's network sends twice counts once.
---
---   DESK_KEY=secret sluice run examples/match/app.lua
---   curl -X PUT -H 'X-API-Key: secret' http://127.0.0.1:5121/api/matches/7
---   curl -N http://127.0.0.1:5121/api/live-match/7
---   curl -H 'X-API-Key: secret' -H 'Idempotency-Key: 1' --json '{"team":"home"}' \
---     http://127.0.0.1:5121/api/matches/7/goals
---
--- Events: `match-event`, `commentary`.
local sluice = require("sluice")
local app = sluice.app()
local key = sluice.env("DESK_KEY")
local matches = app:state("matches", {}) -- { home, away, kickoff, answers = { [key] = body } }

app:channel("match/:id/events", { history = 500, rewind = "all", ttl = 6 * 3600 })
app:channel("match/:id/commentary", { history = 100, rewind = "all", ttl = 6 * 3600 })

local function known(req)
  req.match = matches()[req.params.id]
  if not req.match then return 404, "no such match" end
  return true
end

app:stream("/api/live-match/:id", known,
  { channels = { "match/:id/events", "match/:id/commentary" } })

app:guard("/api/matches/**", function(req)
  if req.headers["x-api-key"] == key then return true end
  return 401, "the desk's key is missing"
end)

app:put("/api/matches/:id", function(req)
  local all, id = matches(), req.params.id
  all[id] = all[id] or { home = 0, away = 0, kickoff = sluice.time(), answers = {} }
  return { home = all[id].home, away = all[id].away }
end)

app:post("/api/matches/:id/goals", known, function(req)
  local match, once = req.match, req.headers["idempotency-key"]
  local body = req:json { team = { "home", "away" }, player = "string?" }
  if once and match.answers[once] then return 200, match.answers[once] end
  match[body.team] = match[body.team] + 1
  local id = app:publish("match/" .. req.params.id .. "/events", "match-event", {
    matchId = req.params.id, type = "goal", team = body.team, player = body.player or "",
    score = { home = match.home, away = match.away },
    minute = math.floor((sluice.time() - match.kickoff) / 60) })
  local answer = { id = id, score = { home = match.home, away = match.away } }
  if once then match.answers[once] = answer end
  return 202, answer
end)

app:post("/api/matches/:id/commentary", known, function(req)
  local id, text = req.params.id, req:json({ text = "string" }).text
  return sluice.receipt(app:publish("match/" .. id .. "/commentary", "commentary",
    { matchId = id, text = text, timestamp = sluice.timestamp() }))
end)

return app
