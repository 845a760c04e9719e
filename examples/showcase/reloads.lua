--- Tells all pages of each reload: which files were saved, and how many streams went on; or why it
--- did not happen.
local sluice = require("sluice")

return function(app, with)
  app:channel("reload", { history = 20, rewind = 1 })

  app:on("reload", with.event_types.tells(function(report)
    app:publish("reload", "reload", { ok = true, generation = report.generation,
      files = report.files, connections = app:stats().streams, timestamp = sluice.timestamp() })
  end, "reload"))

  app:on("error", function(report)
    if report.where ~= "reload" then return end
    app:publish("reload", "reload", { ok = false, generation = report.generation,
      files = sluice.json.array { report.file }, message = report.message,
      connections = app:stats().streams, timestamp = sluice.timestamp() })
  end)
end
