--- Plays the world while the server runs with --demo: a match, a market and a boiler, each while
--- somebody follows its channel.
local sluice = require("sluice")

local SYMBOLS = { { "ACME", 132 }, { "BOLT", 48 }, { "IRIS", 310 }, { "NOVA", 87 }, { "TIDE", 21 },
  { "WAVE", 164 } }
local SAID = { "A long ball into the box.", "The keeper holds it.", "Patient play in midfield.",
  "A free kick from the left.", "The crowd is on its feet." }
local MOMENTS = { "corner", "foul", "goal", "yellow card", "substitution" }
local PLAYERS = { "Smith", "Jones", "Silva", "Okafor", "Berg" }

local function round(value, parts) return math.floor(value * parts + 0.5) / parts end
local function any(list) return list[math.random(#list)] end

return function(app, heat)
  local now = app:state("feed", { minute = 0, beat = 0, home = 0, away = 0, prices = {} })

  app:every(3, { name = "match", while_subscribed = "match/7" }, function()
    local game = now()
    game.minute = game.minute % 90 + 1
    if game.minute == 1 then game.home, game.away = 0, 0 end
    local moment, team = any(MOMENTS), any { "home", "away" }
    if moment == "goal" then game[team] = game[team] + 1 end
    app:publish("match/7", "match-event", { matchId = "7", minute = game.minute, type = moment,
      team = team, player = any(PLAYERS), score = { home = game.home, away = game.away } })
    app:publish("match/7", "commentary", { matchId = "7", text = any(SAID),
      timestamp = sluice.timestamp() })
  end)

  app:every(0.25, { name = "market", while_subscribed = "prices" }, function()
    local prices = now().prices
    for i, row in ipairs(SYMBOLS) do
      local symbol, open = row[1], row[2]
      if not prices[symbol] or math.random(3) == 1 then
        local price = round((prices[symbol] or open) * (1 + (math.random() - 0.5) / 200), 100)
        prices[symbol] = price
        app:publish("prices", "price-update", { symbol = symbol, price = price,
          change = round(price - open, 100), changePercent = round(100 * (price / open - 1), 100),
          volume = i * 1000 + math.random(500), timestamp = sluice.timestamp() })
      end
    end
  end)

  app:every(2, { name = "boiler", while_subscribed = "device/boiler" }, function()
    now().beat = now().beat + 1
    local degrees = round(73 + 10 * math.cos(now().beat / 6), 10)
    heat:check("boiler", { temperature = degrees })
    app:publish("device/boiler", "telemetry", { deviceId = "boiler", status = "online",
      battery = 88, location = { latitude = 48.137, longitude = 11.575 },
      sensorData = { temperature = degrees, pressure = round(1.6 + degrees / 200, 100),
        flow = round(12 + math.random(), 10) }, timestamp = sluice.timestamp() })
  end)
end
