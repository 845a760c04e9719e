--- Plays the others while the server runs with --demo. Bob writes alice messages, has a batch
--- running for her, and reads the document with her; her phone acknowledges what she leaves unread.
local DOCUMENT = "welcome"
local MESSAGES = { { "Bob has commented on your draft" }, { "Disk 2 is nearly full", "warning" },
  { "The nightly backup is done" }, { "Nobody answers the door bell", "critical" },
  { "Your report is ready" } }
local LINES = { "Tea for everybody", "", "Bring the water to a boil.", "Wait three minutes." }
local UNREAD, PAGES = 6, 40

local function begin_batch(jobs, n)
  local items = {}
  for i = 1, PAGES do items[i] = "page " .. i end
  jobs:start("process-batch", { id = "demo-" .. n, owner = "alice", args = { items = items },
    total = #items, fields = { currentItem = "" } })
end

return function(app, with)
  local inbox, jobs, rooms = with.inbox, with.jobs, with.rooms
  local sent = app:state("bob", { messages = 0, batches = 0, unread = {} })

  app:every(15, { name = "messages", while_subscribed = inbox:channel("alice") }, function()
    local now = sent()
    local said = MESSAGES[now.messages % #MESSAGES + 1]
    now.messages = now.messages + 1
    local id = inbox:send("alice", { message = said[1], severity = said[2], from = "bob" })
    table.insert(now.unread, id)
    if #now.unread > UNREAD then inbox:ack("alice", table.remove(now.unread, 1)) end
  end)

  app:every(1, { name = "cursor", while_subscribed = rooms:channel(DOCUMENT, "live") }, function()
    app:publish(rooms:channel(DOCUMENT, "live"), "cursor-move", { documentId = DOCUMENT,
      id = "bob", userId = "bob", position = { line = math.random(#LINES),
        column = math.random(0, 12) } })
  end)

  app:every(20, { name = "batch", while_subscribed = jobs:channel("alice") }, function()
    local now = sent()
    now.batches = now.batches + 1
    begin_batch(jobs, now.batches)
  end)

  app:on("start", function()
    app:publish(rooms:channel(DOCUMENT), "user-joined", { documentId = DOCUMENT, id = "bob",
      userId = "bob", userName = "Bob", activeUsers = 1 })
    for line, text in ipairs(LINES) do
      app:publish("text/" .. DOCUMENT, "line-change", { documentId = DOCUMENT, line = line,
        text = text, userId = "bob" })
    end
  end)
end
