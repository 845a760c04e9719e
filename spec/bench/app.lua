--- The app under test of the benchmark (spec/bench/run.lua): streams of all shapes on
--- channels fan/*, and bursts of numbered, stamped events into them.
local sluice = require("sluice")
local cjson = require("cjson")
local app = sluice.app()

local PAD = ("x"):rep(126) -- frames of 200 bytes, as rawfan's
local QUIET = 3600 -- no heartbeat while something else is measured

-- By the channels of a burst: the number of the last event, and how the burst goes.
local bursts = app:state("bursts", {})

app:channel("fan/*", { history = 20000, ttl = 3600 })
app:channel("user/*", { history = 10 })

app:stream("/s/to/:name", { channels = { "fan/:name" }, heartbeat = QUIET })
app:stream("/s/three", { channels = { "fan/a", "fan/b", "fan/c" }, heartbeat = QUIET })
app:stream("/s/beat/1", { channels = { "fan/beat" }, heartbeat = 1 })
app:stream("/s/beat/15", { channels = { "fan/beat" }, heartbeat = 15 })
app:stream("/s/replay", { channels = { { "fan/replay", rewind = 1000 } }, heartbeat = QUIET })
app:stream("/s/function/:name", function(req)
  return { channels = { "fan/function", "fan/" .. req.params.name }, heartbeat = QUIET }
end)
app:stream("/s/own/:id", function(req)
  return { channels = { "fan/function", "user/" .. req.params.id }, heartbeat = QUIET }
end)

app:channel("rated", { history = "latest", key = "k", ttl = 3600, max_rate = 2 })
app:channel("state", { history = "latest", key = "k", ttl = 3600 })
app:channel("nobody", { history = "latest", key = "k", ttl = 3600 })
app:channel("filtered", { history = 100, ttl = 3600 })
app:stream("/s/rated", { channels = { "rated" }, heartbeat = QUIET })
app:stream("/s/state", { channels = { "state" }, heartbeat = QUIET })
app:stream("/s/keys/:n/:i", function(req)
  local keys = {}
  for j = 1, tonumber(req.params.n) do keys[j] = "k" .. (tonumber(req.params.i) * 7 + j * 331) % 1000 end
  return { channels = { { "filtered", keys = keys } }, heartbeat = QUIET }
end)

-- What compression is measured with: events of three kinds of apps, as they are published.
app:channel("corpus/:name", { history = 100, ttl = 3600, batch = 0.05 })
for _, coding in ipairs({ "gzip", "zstd" }) do
  app:stream("/s/" .. coding .. "/:name",
    { channels = { "corpus/:name" }, heartbeat = QUIET, compress = coding })
end
app:stream("/s/corpus/:name", { channels = { "corpus/:name" }, heartbeat = QUIET })

local corpora = app:state("corpora", {})

app:post("/corpus", function(req)
  local name = req.query.name
  local list = corpora()[name]
  if not list then
    list = {}
    for line in io.lines("spec/bench/corpus/" .. name .. ".jsonl") do list[#list + 1] = line end
    corpora()[name] = list
  end
  local rate, events = req:number("rate", 1, 1e5), req:number("events", 1, 1e6)
  local began = sluice.now()
  for n = 1, events do
    local early = began + n / rate - sluice.now()
    if early > 0.005 then sluice.sleep(early) end
    assert(app:publish("corpus/" .. name, name, list[(n - 1) % #list + 1]))
  end
  sluice.sleep(0.3) -- what is held back goes out
  return 204
end)

-- The next event goes to the next of the burst's channels; a full mailbox is waited for.
local function publish_next(burst)
  local n = burst.n + 1
  local channel = burst.channels[n % #burst.channels + 1]
  while true do
    local text = ('{"n":%d,"t":%d,"pad":"%s"}'):format(n, sluice.now() * 1e6 // 1, burst.pad or PAD)
    local id, message, code = app:publish(channel, "tick", text)
    if id then break end
    if code ~= "EBUSY" then error(message) end
    burst.refused = burst.refused + 1
    sluice.sleep(0.001)
  end
  burst.n = n
end

-- Turns of 'batch' events, 'every' seconds apart.
local function run(burst, events, batch, every)
  local due, turns = sluice.now(), 0
  for first = 1, events, batch do
    local early = due - sluice.now()
    turns = turns + 1
    if early > 0 then sluice.sleep(early) elseif turns % 64 == 0 then sluice.sleep(0) end
    for _ = first, math.min(first + batch - 1, events) do publish_next(burst) end
    due = due + every
  end
  burst.busy = false
end

app:post("/burst", function(req)
  local to = req.query.to or "one"
  local burst = bursts()[to]
  if not burst then
    burst = { n = 0, refused = 0, channels = {} }
    for name in to:gmatch("[^,]+") do table.insert(burst.channels, "fan/" .. name) end
    bursts()[to] = burst
  end
  burst.busy = true
  local pad = req:number("pad", 1, 10000)
  burst.pad = pad and ("x"):rep(pad)
  local events, batch, every = req:number("events", 1, 1e7), req:number("batch", 1, 64), req:number("every", 0, 1e7)
  app:spawn(function() run(burst, events, batch or 1, (every or 0) / 1e6) end)
  return 202, { from = burst.n + 1 }
end)

-- One event, for a publisher that waits for each answer.
app:post("/publish", function()
  local burst = bursts().one or { n = 0, refused = 0, channels = { "fan/one" } }
  bursts().one = burst
  publish_next(burst)
  return { n = burst.n }
end)

app:get("/status", function(req)
  local burst = bursts()[req.query.to or "one"] or { n = 0, refused = 0 }
  return 200, { busy = burst.busy or false, events = burst.n, refused = burst.refused,
    subscribers = app:stats("fan/" .. (req.query.channel or "one")).subscribers }
end)

-- A handler that computes and does not let go.
app:post("/spin", function(req)
  local stop = sluice.now() + req:number("seconds", 0, 10)
  while sluice.now() < stop do end
  return 200, {}
end)

app:post("/collect", function()
  collectgarbage()
  collectgarbage()
  return 200, { bytes = collectgarbage("count") * 1024 // 1 }
end)

local QUOTE = { symbol = "AAPL", price = 187.44, bid = 187.43, ask = 187.45, high = 189.1, low = 185.2, volume = 51204,
  exchange = "XNAS", time = 1764086400.25 }
local GOAL = { id = "match-7", team = "home", minute = 23, score = { 2, 1 }, player = "J. Doe", penalty = false,
  note = "from the left, after a corner" }
local TEXT = ('{"pad":"%s"}'):format(("x"):rep(180))
local WORK = {
  nothing = function() end,
  cjson_floats = function() return cjson.encode(QUOTE) end,
  sluice_floats = function() return sluice.json.encode(QUOTE) end,
  cjson_plain = function() return cjson.encode(GOAL) end,
  sluice_plain = function() return sluice.json.encode(GOAL) end,
  publish = function() app:publish("micro", "quote", TEXT) end,
  publish_id = function() return app:publish("micro", "quote", TEXT) end,
}

-- So many events, each key in turn, 'every' microseconds a turn of ten. No stream of /s/keys wants
-- two of fifteen in a row: the step sees to that.
app:post("/trade", function(req)
  local events, every, keys = req:number("events", 1, 1e7), req:number("every", 0, 1e7), req:number("keys", 1, 1e5)
  local due, n = sluice.now(), 0
  while n < events do
    for _ = 1, 10 do
      n = n + 1
      app:publish(req.query.to, "quote", TEXT, { key = "k" .. n * 191 % keys // 1 })
    end
    due = due + every / 1e6
    local early = due - sluice.now()
    if early > 0 then sluice.sleep(early) end
  end
  return 200, { events = n }
end)

-- What the app thread pays for one step; the caller reads the thread's clock. A publish that is
-- refused, since the I/O thread is late, is made once more.
app:post("/micro", function(req)
  local what, count, done = req.query.what, req:number("count", 1, 1e7), 0
  local step, first = WORK[what], app:stats("micro").published
  while done < count do
    for _ = 1, math.min(1024, count - done) do step() end
    done = what:find("^publish") and app:stats("micro").published - first or done + 1024
    sluice.sleep(0.0005)
  end
  return 200, {}
end)

return app
