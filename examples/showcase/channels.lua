--- What the channels of a match, the market and the devices keep.
return function(app)
  app:channel("match/:id/events", { history = 200, rewind = "all" })
  app:channel("match/:id/commentary", { history = 60, rewind = "all" })
  app:channel("news", { history = 20, rewind = "all" })
  app:channel("prices", { history = "latest", key = "symbol", max_rate = 4 })
end
