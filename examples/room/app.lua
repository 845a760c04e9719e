--- Who is here: to follow a room's channel is to be in it. Two tabs are one person, and a page
--- that is loaded again has not left: only five seconds without a stream count as leaving.
---
---   sluice run examples/room/app.lua
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/rooms/tea      and the same as bob
---
--- Here a proxy in front names the user (X-User). Events: `user-joined`, `user-left`, `cursor`.
local sluice = require("sluice")
local app = sluice.app()
local rooms = app:state("rooms", {}) -- room -> { [user] = number of streams }
local GRACE = 5

app:guard("/api/**", function(req)
  local name = req.headers["x-user"]
  if name then req.user = { id = name } end
  return req.user and true or 401
end)

app:channel("room/:room", { history = 1000, key = "userId", rewind = "latest", ttl = false })
app:channel("room/:room/live", { history = "latest", key = "userId", ttl = 10 })
app:stream("/api/rooms/:room", { channels = { "room/:room", "room/:room/live" } })

local function report(event, room, user, remove)
  local active = 0
  for _ in pairs(rooms()[room]) do active = active + 1 end
  app:publish("room/" .. room, event, { room = room, userId = user, activeUsers = active },
    { remove = remove })
end

app:on("subscribe", "room/:room", function(client, _, p)
  local all, user = rooms(), client.user.id
  local members = all[p.room] or {}
  all[p.room] = members
  local new = members[user] == nil -- 0 while the leave task is pending
  members[user] = (members[user] or 0) + 1
  app:cancel("leave/" .. p.room .. "/" .. user)
  if new then report("user-joined", p.room, user) end
end)

app:task("leave", function(left)
  rooms()[left.room][left.user] = nil
  report("user-left", left.room, left.user, true)
end)

app:on("unsubscribe", "room/:room", function(client, _, p)
  local members, user = rooms()[p.room], client.user.id
  members[user] = members[user] - 1
  if members[user] > 0 then return end
  app:after(GRACE, "leave", { room = p.room, user = user },
    { id = "leave/" .. p.room .. "/" .. user })
end)

app:post("/api/rooms/:room/cursor", function(req)
  local at = req:json { line = "integer" }
  return sluice.receipt(app:publish("room/" .. req.params.room .. "/live", "cursor",
    { userId = req.user.id, line = at.line }))
end)

return app
