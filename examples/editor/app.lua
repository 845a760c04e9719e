--- A text that all tabs write at the same time, with the cursors and names of the others. It
--- converges: documents.lua says how. Pages may be cut off, and the server killed, while they type.
---
---   sluice run examples/editor/app.lua       and open http://127.0.0.1:5121/ in two windows
---   curl -N -H 'X-User: alice' http://127.0.0.1:5121/api/documents/welcome/collaboration
---
--- With --demo somebody else types, too, and nothing is kept on the disk. Another document:
--- /?document=tea. Events: `text-change`, `cursor-move`, `user-joined`, `user-left`.
local sluice = require("sluice")
local visitor = require("visitor")
local app = sluice.app()

local WELCOME = "This text belongs to everybody who has this page open.\n\n"
  .. "Open it in a second window and type in both: each sees the other's cursor.\n\n"
  .. "Then cut the network, type on, and come back. What you typed is merged, and nothing of the "
  .. "others is lost.\n"

local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" })
local documents = require("documents").new(app, rooms, { durable = not sluice.is_demo(),
  texts = { welcome = WELCOME } })
documents:routes("/api/documents", visitor)
if sluice.is_demo() then require("typist")(app, documents, rooms) end

app:static("/look", "../look")
app:static("/", "public")

return app
