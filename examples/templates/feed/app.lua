--- NAME: a feed of news. A page that comes late gets the last stories, and one that was away what
--- it missed.
---
---   sluice run app.lua                                    and open http://127.0.0.1:5121/
---
--- Whoever has the key posts stories: FEED_KEY in the environment; without it everybody knows it.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local app = sluice.app()

local key = sluice.env("FEED_KEY", "change-me")

local function with_key(req)
  if crypto.equal(req.headers["X-API-Key"] or "", key) then return true end
  return 401, "the header X-API-Key is missing, or wrong"
end

app:event_type("story", { description = "a story",
  fields = { title = "string", text = "string?" } })
app:channel("news", { history = 1000, rewind = 50 })
app:stream("/api/news", "news")

app:post("/api/news", with_key, function(req)
  local story = req:json({ title = "string", text = "string?" })
  return sluice.receipt(app:publish("news", "story", story))
end)

app:static("/", "public")

return app
