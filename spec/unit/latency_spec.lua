--- csrc/fan/latency.c: how long events took whose blocks are queued, and enter the kernel 128 at a time.
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local BATCH, N, TOOK = 128, 300, 1000 -- RING_BATCH; streams, each with a channel of its own; us of a batch
local BEGAN = 5000000

describe("the time that events took", function()
  local s, streams, before

  before_each(function() before, streams = sim.alive(), {} end)
  after_each(function()
    s:clock()
    for _, stream in ipairs(streams) do stream:close() end
    s:close()
    sim.alive(before)
  end)

  -- An event for each stream, one a microsecond, and one flush: how many were counted, and their sum.
  local function play(delayed)
    s = testing.sim(1, 1, delayed)
    s:policies { { pattern = "c/:n", history = 5 } }
    s:drain(1)
    for i = 1, N do streams[i] = s:connect(1, { channels = { "c/" .. i } }) end
    sim.run(s)
    local first_n, first_sum = s:latencies(1, TOOK)
    for i = 1, N do
      s:clock(BEGAN + i)
      s:publish("c/" .. i, "e", "d")
    end
    s:drain(1)
    s:flush(1)
    local n, sum = s:latencies(1)
    return { n - first_n, sum - first_sum }
  end

  it("ends when the batch of a block has entered the kernel", function()
    local sum = 0
    for i = 1, N do sum = sum + N - i + TOOK * ((i - 1) // BATCH + 1) end
    assert.same({ N, sum }, play(true))
  end)

  it("ends with the turn, at the latest, where blocks are sent at once", function()
    assert.same({ N, N * (N - 1) // 2 }, play(false))
  end)
end)
