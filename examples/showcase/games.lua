--- Plays matches and brings news while the server runs with --demo, each while somebody follows it.
local sluice = require("sluice")
local walk = require("walk")

local SEEDS = { ["7"] = 7, ["8"] = 8, ["9"] = 9 } -- of the matches, by id
local SAID = { "A long ball into the box.", "The keeper holds it.", "Patient play in midfield.",
  "A free kick from the left.", "The crowd is on its feet." }
local MOMENTS = { "corner", "corner", "foul", "foul", "yellow card", "substitution" }
local GOALS = 1 / 25 -- of all moments: some four in a match
local PLAYERS = { "Smith", "Jones", "Silva", "Okafor", "Berg" }
local NEWS = { { "Rain expected", "It may get wet in the second half." },
  { "Full house", "All 41,000 seats are taken." }, { "Next round", "The draw is on Friday." },
  { "Back from injury", "Okafor trains with the team again." } }

local function any(list, from) return list[1 + math.floor(walk.draw(from) * #list)] end

local function play(app, id, game)
  game.minute = game.minute % 90 + 1
  if game.minute == 1 then game.home, game.away = 0, 0 end
  local moment = walk.draw(game) < GOALS and "goal" or any(MOMENTS, game)
  local team = any({ "home", "away" }, game)
  if moment == "goal" then game[team] = game[team] + 1 end
  app:publish("match/" .. id .. "/events", "match-event", { matchId = id, minute = game.minute,
    type = moment, team = team, player = any(PLAYERS, game),
    score = { home = game.home, away = game.away } })
  app:publish("match/" .. id .. "/commentary", "commentary", { matchId = id,
    text = any(SAID, game), timestamp = sluice.timestamp() })
end

return function(app, with)
  local games, tells = app:state("games", { news = 0 }), with.event_types.tells
  tells(play, "match-event", "commentary")

  for id, seed in pairs(SEEDS) do
    local channel = "match/" .. id .. "/events"
    app:every(3, { name = "match " .. id, while_subscribed = channel }, function()
      local all = games()
      all[id] = all[id] or { random = seed, minute = 0, home = 0, away = 0 }
      play(app, id, all[id])
    end)
  end

  app:every(20, { name = "news", while_subscribed = "news" }, tells(function()
    games().news = games().news % #NEWS + 1
    local said = NEWS[games().news]
    app:publish("news", "news", { title = said[1], text = said[2], timestamp = sluice.timestamp() })
  end, "news"))
end
