--- NAME: a list that everybody sees change, with htmx and no script of your own: the server writes
--- the HTML.
---
---   sluice run app.lua                                    and open http://127.0.0.1:5121/
---
--- What a user wrote goes through htmx.escape: else it would run in everybody's page.
local sluice = require("sluice")
local htmx = require("sluice.htmx")
local app = sluice.app()

local notes = app:state("notes", { n = 0 })

app:channel("notes", { history = 500, rewind = 50 })
app:channel("count", { history = "latest" })
app:stream("/api/notes", { channels = { "notes", "count" } })

-- What a form of a page posts: text=Hello+there
local function fields_of(req)
  local fields = {}
  for name, value in req.body:gmatch("([^&=]+)=([^&]*)") do
    fields[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
  end
  return fields
end

app:post("/api/notes", function(req)
  local text = fields_of(req).text or ""
  if text == "" or #text > 500 then return 422, "a note has 1 to 500 bytes" end
  notes().n = notes().n + 1
  app:publish("notes", htmx.swap("note", ("<li>%s</li>"):format(htmx.escape(text))))
  app:publish("count", htmx.swap("count", tostring(notes().n)))
  return 204
end)

app:static("/", "public")

return app
