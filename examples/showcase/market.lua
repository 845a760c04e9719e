--- Trades while the server runs with --demo and somebody follows the prices. Equal seeds give equal
--- prices. The symbols are those of examples/stocks, the trades fewer.
local sluice = require("sluice")
local walk = require("walk")

local TRADES, EVERY = 12, 0.5

local function trade(app, market)
  for i = 1, market.is_open and TRADES or #market.symbols do -- every symbol has a price at once
    local price = market.is_open and walk.trade(market) or walk.quote(market.symbols[i])
    price.timestamp = sluice.timestamp()
    app:publish("prices", "price-update", price)
  end
  market.is_open = true
end

return function(app, with)
  local market, tells = app:state("market", walk.open(2026)), with.event_types.tells
  tells(trade, "price-update")

  app:every(EVERY, { name = "market", while_subscribed = "prices" }, function()
    trade(app, market())
  end)

  app:every(2, { name = "index", while_subscribed = "prices" }, tells(function()
    local index = walk.index(market())
    index.timestamp = sluice.timestamp()
    app:publish("prices", "index-update", index)
  end, "index-update"))
end
