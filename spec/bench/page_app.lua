--- The app of the row PAGE: a stream that begins with an event, and one of 10,000 a second.
local sluice = require("sluice")
local app = sluice.app()

app:channel("first", { history = "latest" })
app:channel("burst", { history = 100000, rewind = 0 })
app:stream("/first", "first")
app:stream("/burst", "burst")
app:get("/page", function()
  return 200, "<!doctype html><title>Page</title>", { ["Content-Type"] = "text/html" }
end)
app:get("/count", function()
  local n = 0
  for _ in app:clients() do n = n + 1 end
  return tostring(n)
end)
app:post("/first", function() return { id = app:publish("first", "e", { n = 1 }) } end)

app:post("/burst/:events", function(req)
  local events, began, sent = tonumber(req.params.events), sluice.now(), 0
  while sent < events do
    sluice.sleep(0.01)
    for n = sent + 1, math.min(events, (sluice.now() - began) * 10000 // 1 | 0) do
      assert(app:publish("burst", "e", { n = n, symbol = "ACME", price = 100 + n % 50 / 8 }))
      sent = n
    end
  end
  return 204
end)

return app
