--- The app of the benchmark's durable rows: publishers that wait for each answer, beside
--- channels in memory.
local sluice = require("sluice")
local app = sluice.app()

local TAIL = ',"pad":"' .. ("x"):rep(126) .. '"}'
local SAME = '{"n":100000,"t":1000000000' .. TAIL
local QUIET = 3600 -- no heartbeat while something else is measured

app:channel("kept/*", { history = 1000000, durable = true })
app:channel("fan/*", { history = 20000, ttl = 3600 })
app:stream("/s/kept", { channels = { { "kept/log", types = { "tick" } } }, heartbeat = QUIET })
app:stream("/s/to/:name", { channels = { "fan/:name" }, heartbeat = QUIET })

local numbers = {} -- by channel: of the last event
local bursts = app:state("bursts", { busy = 0 })

-- Made with little: what a publisher does itself is no part of what is measured.
local function publish(channel, name, now)
  local n = (numbers[channel] or 0) + (name == "tick" and 1 or 0)
  numbers[channel] = n
  return app:publish(channel, name, '{"n":' .. n .. ',"t":' .. (now * 1e6 // 1 | 0) .. TAIL)
end

local function at(list, part) return list[math.max(1, math.ceil(part * #list))] or 0 end

-- One publisher: so many events of a channel, each after the answer to the one before.
local function run(job, events, every)
  local channel, name, took, text = job.channel, job.name, job.took, job.text
  local began = sluice.now()
  for _ = 1, events do
    local id, message
    if text then id, message = app:publish(channel, name, text) else id, message = publish(channel, name, began) end
    if not id then error(message) end
    job.last, job.ended = id, sluice.now()
    took[#took + 1] = (job.ended - began) * 1e6
    began = job.ended
    if every > 0 then
      sluice.sleep(every)
      began = sluice.now()
    end
  end
  job.left = job.left - 1
end

-- So many publishers at once, so many events in all: how long it took, and what one publish did.
-- With `same` each event has the same text, as the rows of SQLite alone.
app:post("/publishers", function(req)
  local publishers = req:number("publishers", 1, 1024) // 1
  local each = req:number("events", 1, 1e7) // publishers
  local every = (req:number("every", 0, 1e7) or 0) / 1e6
  local job = { left = publishers, took = {}, channel = req.query.channel or "kept/log",
    name = req.query.name or "tick", text = req.query.same and SAME }
  local began = sluice.now()
  for _ = 1, publishers do app:spawn(function() run(job, each, every) end) end
  while job.left > 0 do sluice.sleep(0.01) end -- seldom: it takes from what is measured
  local seconds = job.ended - began
  table.sort(job.took)
  return { seconds = seconds, rate = each * publishers / seconds, p50 = at(job.took, 0.5), p99 = at(job.took, 0.99),
    last = job.last }
end)

-- Events in memory, 'every' microseconds apart; a full mailbox is waited for.
app:post("/burst", function(req)
  local events, every = req:number("events", 1, 1e7), (req:number("every", 0, 1e7) or 0) / 1e6
  bursts().busy = bursts().busy + 1
  app:spawn(function()
    local due = sluice.now()
    for i = 1, events do
      local early = due - sluice.now()
      if early > 0 then sluice.sleep(early) elseif i % 64 == 0 then sluice.sleep(0) end
      while not publish("fan/" .. (req.query.to or "one"), "tick", sluice.now()) do sluice.sleep(0.001) end
      due = due + every
    end
    bursts().busy = bursts().busy - 1
  end)
  return 202, {}
end)

-- One event on each of so many channels of their own.
app:post("/channels", function(req)
  local left, first, count = 0, req:number("first", 1, 1e7) // 1, req:number("count", 1, 1e6) // 1
  for part = 0, 127 do
    left = left + 1
    app:spawn(function()
      for i = first + part, first + count - 1, 128 do
        assert(app:publish("kept/q" .. i, "one", '{"a":1}'))
      end
      left = left - 1
    end)
  end
  while left > 0 do sluice.sleep(0.005) end
  return 200, {}
end)

app:get("/status", function(req)
  return 200, { busy = bursts().busy > 0, subscribers = app:stats(req.query.channel or "fan/one").subscribers }
end)

app:post("/collect", function()
  collectgarbage()
  collectgarbage()
  return 200, { bytes = collectgarbage("count") * 1024 // 1 }
end)

return app
