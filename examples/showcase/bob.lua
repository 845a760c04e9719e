--- Plays the others while the server runs with --demo: Bob writes alice messages, and her phone
--- acknowledges what she leaves unread. Her batches are those of examples/progress, and her house
--- is that of examples/devices.
local MESSAGES = { { "Bob has commented on your draft" }, { "Disk 2 is nearly full", "warning" },
  { "The nightly backup is done" }, { "Nobody answers the door bell", "critical" },
  { "Your report is ready" } }
local UNREAD = 6

return function(app, with)
  local inbox, tells = with.inbox, with.event_types.tells
  require("house")(app, with.fleet, { owner = "alice" })
  require("robot")(app, with.jobs, "alice")
  local sent = app:state("bob", { messages = 0, unread = {} })

  local function write()
    local now = sent()
    local said = MESSAGES[now.messages % #MESSAGES + 1]
    now.messages = now.messages + 1
    local id = inbox:send("alice", { message = said[1], severity = said[2], from = "bob" })
    table.insert(now.unread, id)
    if #now.unread > UNREAD then inbox:ack("alice", table.remove(now.unread, 1)) end
  end
  app:every(15, { name = "messages", while_subscribed = inbox:channel("alice") },
    tells(write, "notification"))
end
