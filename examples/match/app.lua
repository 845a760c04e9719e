--- A live match: a page that comes late gets what happened, in order, and then the live events;
--- a goal that the desk's network sends twice counts once. News, the last twenty, are for all.
---
---   DESK_KEY=secret sluice run examples/match/app.lua      and open http://127.0.0.1:5121/
---   curl -X PUT -H 'X-API-Key: secret' http://127.0.0.1:5121/api/matches/7
---   curl -H 'X-API-Key: secret' -H 'Idempotency-Key: 1' --json '{"team":"home"}' \
---     http://127.0.0.1:5121/api/matches/7/goals
--- Events: `match-event`, `commentary`, `news`.
local sluice = require("sluice")
local app = sluice.app()
local key = sluice.env("DESK_KEY")
local auth = require("sluice.auth").new(app, { durable = false,
  keys = function(given) return given == key and { id = "desk" } or nil end })
local matches = app:state("matches", {}) -- { home, away, kickoff }

app:channel("match/:id/events", { history = 500, rewind = "all", ttl = 6 * 3600 })
app:channel("match/:id/commentary", { history = 100, rewind = "all", ttl = 6 * 3600 })
app:channel("news", { history = 200, rewind = 20, ttl = 24 * 3600 })

local function known(req)
  req.match = matches()[req.params.id]
  return req.match and true or 404, "no such match"
end

app:stream("/api/live-match/:id", known,
  { channels = { "match/:id/events", "match/:id/commentary", "news" } })
app:static("/look", "../look")
app:static("/", "public")

app:guard("/api/matches/**", auth:user(), auth:idempotent())

app:put("/api/matches/:id", function(req)
  local all, id = matches(), req.params.id
  all[id] = all[id] or { home = 0, away = 0, kickoff = sluice.time() }
  return { home = all[id].home, away = all[id].away }
end)

app:post("/api/matches/:id/goals", known, function(req)
  local match, id = req.match, req.params.id
  local body = req:json { team = { "home", "away" }, player = "string?" }
  match[body.team] = match[body.team] + 1
  return sluice.receipt(app:publish("match/" .. id .. "/events", "match-event", {
    matchId = id, type = "goal", team = body.team, player = body.player or "",
    score = { home = match.home, away = match.away },
    minute = math.floor((sluice.time() - match.kickoff) / 60) }))
end)

app:post("/api/matches/:id/commentary", known, function(req)
  local id, text = req.params.id, req:json({ text = "string" }).text
  return sluice.receipt(app:publish("match/" .. id .. "/commentary", "commentary",
    { matchId = id, text = text, timestamp = sluice.timestamp() }))
end)

app:post("/api/news", auth:user(), function(req)
  local news = req:json { title = "string", text = "string" }
  return sluice.receipt(app:publish("news", "news",
    { title = news.title, text = news.text, timestamp = sluice.timestamp() }))
end)

return app
