--- The document that several people write: that of examples/editor, where Bob types with --demo.
--- What visitors leave is taken back after half an hour (typist.lua).
local sluice = require("sluice")

local TEXT = [[
This text belongs to everybody who has this page open.

Open it in a second window and type in both. Bob types, too.
]]

return function(app, with)
  local documents = require("documents").new(app, with.rooms, { texts = { welcome = TEXT },
    max_documents = 20 })
  with.event_types.tells(nil, "user-joined", "user-left", "presence-count", "cursor-move",
    "text-change")
  documents:routes("/api/documents", require("visitor"), { "text/:id" })
  if sluice.is_demo() then require("typist")(app, documents, with.rooms) end
end
