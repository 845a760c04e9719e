--- A document of lines, of which the last writer wins: `tea`, for the page in React. With --demo
--- Bob reads it, too, and what visitors leave is taken back after ten minutes.
local sluice = require("sluice")

local DOCUMENT, CHANNEL = "tea", "text/tea"
local LINES = { "Tea for everybody", "", "Bring the water to a boil.", "Wait three minutes." }
local LINE_MAX, TIDY = 500, 600

local function put(app, line, text, user)
  return app:publish(CHANNEL, "line-change", { documentId = DOCUMENT, line = line, text = text,
    userId = user })
end

local function tidy(app)
  for _, event in ipairs(app:newest(CHANNEL)) do
    local line = event.data.line
    if event.data.text ~= (LINES[line] or "") then put(app, line, LINES[line] or "", "bob") end
  end
end

-- Guard: the document, a line from 1 to 99, and somebody who is there.
local function in_document(rooms)
  return function(req)
    req.line = tonumber(req.params.line:match("^[1-9]%d?$"))
    if req.params.id ~= DOCUMENT then return 404, "this is no document of lines" end
    if not req.line then return 422, "a line from 1 to 99 is expected" end
    if not rooms:has(DOCUMENT, req.user.id) then return 403, "you are not in this document" end
    return true
  end
end

local function play_bob(app, rooms)
  local live = rooms:channel(DOCUMENT, "live")
  app:every(1, { name = "cursor", while_subscribed = live }, function()
    app:publish(live, "cursor-move", { documentId = DOCUMENT, id = "bob", userId = "bob",
      position = { line = math.random(#LINES), column = math.random(0, 12) } })
  end)
  app:every(TIDY, { name = "tidy" }, function() tidy(app) end)
  app:on("start", function()
    app:publish(rooms:channel(DOCUMENT), "user-joined", { documentId = DOCUMENT, id = "bob",
      userId = "bob", userName = "Bob", activeUsers = 1 })
    for line, text in ipairs(LINES) do put(app, line, text, "bob") end
  end)
end

return function(app, with)
  local rooms = with.rooms
  app:channel("text/:id", { history = 1000, key = "line", rewind = "latest" })
  with.event_types.tells(put, "line-change")

  app:put("/api/documents/:id/lines/:line", in_document(rooms), function(req)
    local text = req:json({ text = "string" }).text
    if #text > LINE_MAX then return 422, "text: at most 500 bytes are expected" end
    return sluice.receipt(put(app, req.line, text, req.user.id))
  end)
  app:post("/api/documents/:id/lines/:line/cursor", in_document(rooms), function(req)
    return sluice.receipt(rooms:send(DOCUMENT, req.user, "cursor-move", {
      position = { line = req.line, column = req:json({ column = "integer" }).column } }))
  end)
  if sluice.is_demo() then play_bob(app, rooms) end
end
