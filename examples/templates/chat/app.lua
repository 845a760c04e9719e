--- NAME: chat rooms. A page that comes late gets the last messages and who is here; a refresh is no
--- leaving.
---
---   sluice run app.lua                                    and open http://127.0.0.1:5121/
---
--- Nobody proves who he is: a page says a name. sluice.auth has users, sessions and tokens.
local sluice = require("sluice")
local app = sluice.app()
local rooms = require("sluice.rooms").new(app, { name = "room", field = "room" })

app:channel("chat/:id", { history = 500, rewind = 50 })

local function named(req)
  local name = req.user and req.user.id or req.query.name
  if not name or not name:find("^[%w_-]+$") or #name > 20 then
    return 422, "say who you are: ?name= and letters and digits, 20 at most"
  end
  req.user = req.user or { id = name }
  return true
end

app:guard("/api/rooms/**", named)

rooms:stream("/api/rooms/:id", { channels = { "chat/:id" } })

app:post("/api/rooms/:id/messages", function(req)
  local message = req:json({ text = "string" })
  if #message.text > 2000 then return 422, "a message has 2,000 bytes at most" end
  local said = { from = req.user.id, text = message.text, at = sluice.timestamp() }
  return sluice.receipt(app:publish("chat/" .. req.params.id, "said", said))
end)

app:static("/", "public")

return app
