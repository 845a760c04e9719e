--- Stock prices: 2,000 trades a second on 50 symbols. Each visitor picks symbols and how often a
--- price may change; what newer prices replace is never sent.
---
---   sluice run examples/stocks/app.lua      and open http://127.0.0.1:5121/
---   curl -N 'http://127.0.0.1:5121/api/stock-prices?symbols=ACME,NOVA&max_rate=2'
---
--- Events: `price-update` for each trade, `index-update` for the index SLX, once a second.
--- You should see prices move, and with the slider fewer events and bytes, and more skipped.
local sluice = require("sluice")
local walk = require("walk")
local app = sluice.app()

local TRADES, EVERY = 2000, 0.05

app:channel("prices", { history = "latest", key = "symbol", max_rate = 20 })
app:stream("/api/stock-prices", { channels = { "prices" }, query = { keys = "symbols" } })
app:static("/look", "../look")
app:static("/", "public")

local market = app:state("market", walk.open(2026))
app:get("/api/symbols", function() return walk.names() end)

app:every(EVERY, { while_subscribed = "prices" }, function()
  local now = sluice.timestamp()
  for _ = 1, TRADES * EVERY do
    local trade = walk.trade(market())
    trade.timestamp = now
    app:publish("prices", "price-update", trade)
  end
end)

app:every(1, { name = "index", while_subscribed = "prices" }, function()
  local index = walk.index(market())
  index.timestamp = sluice.timestamp()
  app:publish("prices", "index-update", index)
end)

return app
