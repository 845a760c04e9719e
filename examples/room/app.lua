--- Who is here, where they are, and what they write: presence, cursors and lines of a shared
--- document. Two tabs are one person, and a page that is loaded again has not left. The text is a
--- channel that keeps the newest of each line: a new page gets all of it, and the last writer wins.
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

app:channel("text/:id", { history = 1000, key = "line", rewind = "latest" })
rooms:stream("/api/documents/:id/collaboration", { channels = { "text/:id" } })

app:post("/api/documents/:id/cursor", function(req)
  local position = req:json({ line = "integer", column = "integer" })
  return sluice.receipt(rooms:send(req.params.id, req.user, "cursor-move", {
    position = { line = position.line, column = position.column } }))
end)

app:put("/api/documents/:id/lines/:line", function(req)
  local id, line = req.params.id, tonumber(req.params.line:match("^[1-9]%d?%d?%d?$"))
  if not line then return 422, "a line from 1 to 9999 is expected" end
  if not rooms:has(id, req.user.id) then return 403, "you are not in this document" end
  return sluice.receipt(app:publish("text/" .. id, "line-change", { documentId = id, line = line,
    text = req:json({ text = "string" }).text, userId = req.user.id }))
end)

app:get("/api/documents/:id/members", function(req) return rooms:members(req.params.id) end)

return app
