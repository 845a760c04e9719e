--- Plays bob while the server runs with --demo: he writes alice messages, has a batch running for
--- her, and reads the document tea with her.
local MESSAGES = { { "Bob has commented on your draft" }, { "Disk 2 is nearly full", "warning" },
  { "The nightly backup is done" }, { "Your report is ready" } }
local LINES = { "Tea for everybody", "", "Bring the water to a boil.", "Wait three minutes." }

return function(app, inbox, jobs, rooms)
  local sent = app:state("bob", { messages = 0 })

  app:every(15, { name = "messages", while_subscribed = inbox:channel("alice") }, function()
    local n = sent().messages
    sent().messages = n + 1
    local said = MESSAGES[n % #MESSAGES + 1]
    inbox:send("alice", { message = said[1], severity = said[2], from = "bob" })
  end)

  app:every(1, { name = "cursor", while_subscribed = rooms:channel("tea", "live") }, function()
    app:publish(rooms:channel("tea", "live"), "cursor-move", { documentId = "tea", id = "bob",
      userId = "bob", position = { line = math.random(#LINES), column = math.random(0, 12) } })
  end)

  app:on("start", function()
    app:publish(rooms:channel("tea"), "user-joined", { documentId = "tea", id = "bob",
      userId = "bob", userName = "Bob", activeUsers = 1 })
    for line, text in ipairs(LINES) do
      app:publish("text/tea", "line-change", { documentId = "tea", line = line, text = text,
        userId = "bob" })
    end
    local items = {}
    for i = 1, 40 do items[i] = "page " .. i end
    jobs:start("process-batch", { id = "demo", owner = "alice", args = { items = items },
      total = #items, fields = { currentItem = "" } })
  end)
end
