--- This machine's figures: for the dashboard every second, for the monitoring every five, and the
--- heartbeat of the hub. Each only while somebody looks, but for the heartbeat.
return function(app, with)
  app:channel("metrics", { history = 300, rewind = "all" })
  app:channel("system/metrics", { history = 180, rewind = "all" })

  local tells = with.event_types.tells

  app:every(1, { name = "measure", while_subscribed = "metrics" }, tells(function()
    local sample = with.system:sample()
    sample.activeUsers = math.max(1, sample.activeUsers) -- the first one is still connecting
    app:publish("metrics", "metrics-update", sample)
  end, "metrics-update"))
  app:every(5, { name = "monitor", while_subscribed = "system/metrics" }, tells(function()
    local sample = with.system:sample()
    app:publish("system/metrics", "system-metrics", sample)
    with.health:check("server", sample)
  end, "system-metrics"))
  app:every(30, { name = "heartbeat" }, tells(function() with.hub:heartbeat() end, "heartbeat"))
end
