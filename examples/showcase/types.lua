--- What the one stream of all can bring: name, page, whether it comes by itself, an example, and
--- what it means. A type that is not automatic comes when a person acts, or one that is played.
return {
  { "metrics-update", "dashboard", true, "CPU 12 %, 3 users", "This machine, once a second" },

  { "notification", "notifications", false, "New message, announcement",
    "Something that a user should see: a person or the application has acted" },
  { "notification-ack", "notifications", false, "Read on the phone",
    "One was acknowledged, on any device: it is gone on all of them" },
  { "notification-dropped", "notifications", true, "2 are gone",
    "More than 20 were unread: the least urgent are gone" },
  { "escalation", "notifications", true, "Step 1: the log",
    "A critical one stayed unread for ten seconds" },

  { "progress", "progress", true, "12 of 40 items", "How far a job is" },
  { "job-complete", "progress", true, "40 items done", "A job has done all of its work" },
  { "job-failed", "progress", true, "An item is broken", "A job has ended with an error" },
  { "job-cancelled", "progress", false, "Stopped by its owner", "Its owner has ended a job" },

  { "match-event", "match", true, "Goal for home, 12′", "Something happens in a match" },
  { "commentary", "match", true, "The keeper holds it.", "A sentence on a match" },
  { "news", "match", true, "Full house", "For whoever follows a match" },

  { "price-update", "stocks", true, "ACME 14.37", "A symbol was traded; at most 4 a second each" },
  { "index-update", "stocks", true, "SLX 1,002.10", "The mean of all symbols" },

  { "telemetry", "devices", true, "Boiler 73.4 °C", "What a device has measured" },
  { "alert", "devices", true, "The boiler is hot",
    "A rule of rules.lua begins to hold for a device; or an operator posts one" },
  { "alert-cleared", "devices", true, "The boiler is hot: over", "An alert of a device is over" },
  { "alert-ack", "devices", false, "Seen by alice", "Somebody has seen an alert of a device" },

  { "user-joined", "editor", false, "Bob", "Somebody opens the document" },
  { "user-left", "editor", false, "Bob", "Somebody has closed it, five seconds ago" },
  { "presence-count", "editor", true, "2 are here", "How many are there, for one more tab" },
  { "cursor-move", "editor", false, "Line 3, column 8", "Somebody's cursor is elsewhere" },
  { "text-change", "editor", false, "\"tea\" at 12", "What somebody typed, in the order of all" },
  { "line-change", "editor", false, "Line 2: milk", "A line of the page in React was written" },

  { "system-metrics", "monitoring", true, "CPU 12 %, ssh runs",
    "This machine and its services, every five seconds" },
  { "system-alert", "monitoring", true, "A service does not run",
    "A rule of rules.lua begins to hold for this machine" },
  { "system-alert-cleared", "monitoring", true, "It runs again", "An alert of it is over" },
  { "system-alert-ack", "monitoring", false, "Seen by alice", "Somebody has seen an alert of it" },

  { "question", "chat", false, "What is a sluice?", "Somebody asks" },
  { "text", "chat", true, "You said", "Some words of the answer" },
  { "run-complete", "chat", true, "The answer is complete", "There are no more words" },
  { "run-failed", "chat", true, "The model broke off", "The answer has ended with an error" },
  { "run-stopped", "chat", false, "Stopped by who asked", "Somebody has stopped the answer" },

  { "dataUpdate", nil, true, "An order was paid", "A record has changed: from what stores it" },
  { "heartbeat", nil, true, "ok", "The application is alive: every 30 seconds" },
  { "reload", nil, true, "rules.lua changed",
    "A file of the app was saved: the new code serves, and nobody was disconnected" },
}
