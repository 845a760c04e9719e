--- A random exchange: 50 symbols, each a random walk with its own speed and its own
--- share of the trading. Equal seeds give equal prices. Plain data in, plain data out.
local walk = { INDEX = "SLX" }

local NAMES = ([[ACME APEX ARGO ATLS AURA BETA BOLT BRIO CASA CRUX DELT DUNE ECHO EDEN FABL FLUX
  GAIA GLOW HALO HIVE IRIS JADE JOLT KITE KOBO LARK LUMA MESA MINT NOVA NYXS OAKS ONYX OPAL ORCA
  PEAK PINE PULS QUAY RAVN RIFT SAGE SOLR TIDE TORQ UMBR VEGA VOLT WAVE ZEST]])

--- The symbols, in the order of the page.
function walk.names()
  local names = {}
  for name in NAMES:gmatch("%u+") do names[#names + 1] = name end
  return names
end

--- A market at its opening: { random = seed, symbols = { { symbol, open, price, … }, … } }.
function walk.open(seed)
  local market = { random = seed, symbols = {} }
  for _, name in ipairs(walk.names()) do
    local price = math.floor(1000 * 10 ^ (1.6 * walk.draw(market))) / 100
    table.insert(market.symbols, { symbol = name, open = price, price = price, volume = 0, n = 0,
      speed = 0.0004 + 0.0016 * walk.draw(market) })
  end
  return market
end

--- The next number from 0 to 1 (a linear congruence, so that the state is one integer).
function walk.draw(market)
  market.random = (market.random * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return (market.random >> 11) / 2 ^ 52
end

--- What is published of a symbol; `n` counts its trades: a reader knows how many were skipped.
function walk.quote(s)
  local change = math.floor(100 * (s.price - s.open) + 0.5) / 100
  return { symbol = s.symbol, price = s.price, change = change, volume = s.volume, n = s.n,
    changePercent = math.floor(10000 * change / s.open + 0.5) / 100 }
end

--- One trade: the first symbols trade most. Returns what is published.
function walk.trade(market)
  local s = market.symbols[1 + math.floor(#market.symbols * walk.draw(market) ^ 1.4)]
  local step = walk.draw(market) + walk.draw(market) + walk.draw(market) - 1.5
  s.price = math.max(0.5, math.floor(s.price * (1 + s.speed * step) * 100 + 0.5) / 100)
  s.volume = s.volume + 10 * (1 + math.floor(20 * walk.draw(market) ^ 3))
  s.n = s.n + 1
  return walk.quote(s)
end

--- The index: 1,000 at the opening, and by the mean of what the symbols have changed since.
function walk.index(market)
  local sum = 0
  for _, s in ipairs(market.symbols) do sum = sum + s.price / s.open end
  local value = math.floor(100000 * sum / #market.symbols + 0.5) / 100
  local change = math.floor(100 * (value - 1000) + 0.5) / 100
  return { symbol = walk.INDEX, value = value, change = change,
    changePercent = math.floor(100 * change / 10 + 0.5) / 100 }
end

return walk
