--- Who is here, and where they are: presence and cursors in a shared document. Two tabs are one
--- person, and a page that is loaded again has not left.
---
---   sluice run examples/room/app.lua
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/documents/tea/collaboration
---
--- The same as bob in another terminal: alice sees him join, and leave 5 seconds after his curl has
--- ended. Here a proxy in front names the user (X-User).
local sluice = require("sluice")
local app = sluice.app()
local rooms = require("sluice.rooms").new(app, { field = "documentId" })

app:guard("/api/**", function(req)
  local name = req.headers["x-user"]
  req.user = req.user or name and { id = name }
  return req.user and true or 401
end)

rooms:stream("/api/documents/:id/collaboration")

app:post("/api/documents/:id/cursor", function(req)
  local position = req:json({ line = "integer", column = "integer" })
  return sluice.receipt(rooms:send(req.params.id, req.user, "cursor-move", {
    position = { line = position.line, column = position.column } }))
end)

app:get("/api/documents/:id/members", function(req) return rooms:members(req.params.id) end)

return app
