--- Who is here: to follow a document's channel is to be in it. Two tabs are one person, and a page
--- that is loaded again has not left: only five seconds without a stream count as leaving.
---
---   sluice run examples/room/app.lua
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/documents/tea/collaboration
---
--- The same as bob. Here a proxy in front names the user (X-User). Events: `user-joined`,
--- `user-left`, `cursor-move`.
local sluice = require("sluice")
local app = sluice.app()
local rooms = app:state("rooms", {}) -- document -> { [user] = number of streams }
local GRACE = 5

app:guard("/api/**", function(req)
  local name = req.headers["x-user"]
  if name then req.user = { id = name } end
  return req.user and true or 401
end)

app:channel("room/:id", { history = 1000, key = "userId", rewind = "latest", ttl = false })
app:channel("room/:id/live", { history = "latest", key = "userId", ttl = 10 })
app:stream("/api/documents/:id/collaboration", { channels = { "room/:id", "room/:id/live" } })

local function report(event, id, user, remove)
  local active = 0
  for _ in pairs(rooms()[id]) do active = active + 1 end
  app:publish("room/" .. id, event, { documentId = id, id = user, userId = user, userName = user,
    activeUsers = active }, { remove = remove })
end

app:on("subscribe", "room/:id", function(client, _, p)
  local all, user = rooms(), client.user.id
  local members = all[p.id] or {}
  all[p.id] = members
  local new = members[user] == nil -- 0 while the leave task is pending
  members[user] = (members[user] or 0) + 1
  app:cancel("leave/" .. p.id .. "/" .. user)
  if new then report("user-joined", p.id, user) end
end)

app:task("leave", function(left)
  rooms()[left.id][left.user] = nil
  report("user-left", left.id, left.user, true)
end)

app:on("unsubscribe", "room/:id", function(client, _, p)
  local members, user = rooms()[p.id], client.user.id
  members[user] = members[user] - 1
  if members[user] > 0 then return end
  app:after(GRACE, "leave", { id = p.id, user = user }, { id = "leave/" .. p.id .. "/" .. user })
end)

app:post("/api/documents/:id/cursor", function(req)
  local id, position = req.params.id, req:json { line = "integer", column = "integer" }
  return sluice.receipt(app:publish("room/" .. id .. "/live", "cursor-move", { documentId = id,
    userId = req.user.id, position = { line = position.line, column = position.column } }))
end)

return app
