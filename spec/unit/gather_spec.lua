--- csrc/fan/gather.c and the flush in fan.c: what goes into one send(), and slices.
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local GATHER = testing.limits.gather_bytes
local s, before, streams

before_each(function()
  before, streams = sim.alive(), {}
  s = sim.new { { pattern = "log/:id", history = 100 }, { pattern = "st", history = "latest" } }
end)

after_each(function()
  for _, stream in pairs(streams) do stream:close() end
  s:drain(1)
  s:close()
  sim.alive(before)
end)

local function connect(n, plan)
  for _ = 1, n do streams[#streams + 1] = s:connect(1, plan or { channels = { "log/a" } }) end
  sim.run(s)
  for _, stream in pairs(streams) do stream:take() end
end

local function publish(n, size)
  for i = 1, n do s:publish("log/a", "e", size and ("x"):rep(size) or "d" .. i) end
  s:drain(1)
end

--- What one send() of a stream carries; "" when there is nothing to send.
local function next_block(stream)
  stream:stall(true)
  sim.run(s)
  stream:stall(false)
  return (stream:take())
end

local function blocks(stream)
  local list = {}
  repeat
    list[#list + 1] = next_block(stream)
  until list[#list] == ""
  list[#list] = nil
  return list
end

--- How many streams received something.
local function served()
  local n = 0
  for _, stream in pairs(streams) do if stream:take() ~= "" then n = n + 1 end end
  return n
end

describe("a block", function()
  it("holds whole events, no more than one turn's worth of them", function()
    connect(1)
    publish(100, 900)
    local all = blocks(streams[1])
    assert.is_true(#all >= 6)
    for i, bytes in ipairs(all) do
      assert.is_true(#bytes <= GATHER, "block " .. i .. " has " .. #bytes)
      assert.equal("\n\n", bytes:sub(-2))
    end
    assert.equal(100, select(2, table.concat(all):gsub("\nid: ", "")))
  end)

  it("holds one larger event alone", function()
    connect(1)
    publish(1)
    publish(1, 60000)
    publish(1)
    local all = blocks(streams[1])
    assert.equal(3, #all)
    assert.is_true(#all[1] < 100 and #all[2] > 60000 and #all[3] < 100)
  end)

  it("is shared by all who stand at the same place", function()
    connect(50)
    for _, stream in ipairs(streams) do stream:stall(true) end
    publish(10)
    sim.run(s)
    assert.equal(1, testing.alive().blocks - before.blocks)
    for _, stream in ipairs(streams) do stream:stall(false) end
    assert.equal(50, served())
  end)

  it("is not shared by those who follow other channels as well", function()
    connect(1, { channels = { "log/a", "log/b" } })
    connect(1, { channels = { "log/a", "st" } })
    connect(1)
    s:publish("log/a", "e", "1")
    s:publish("log/b", "e", "2")
    s:publish("st", "p", "3", "", false, true)
    sim.run(s)
    assert.equal("e@1=1 e@2=2", sim.line(streams[1]))
    assert.equal("e@1=1 p=3", sim.line(streams[2]))
    assert.equal("e@1=1", sim.line(streams[3]))
  end)

  it("is not shared beyond a change of what is there", function()
    connect(2)
    publish(1)
    s:flush(1, 1)
    publish(1)
    sim.run(s)
    for _, stream in ipairs(streams) do assert.equal("e@1=d1 e@2=d1", sim.line(stream)) end
  end)
end)

describe("a sliced flush", function()
  it("serves as many streams as it may, and says that there are more", function()
    connect(10)
    publish(1)
    assert.is_true(s:flush(1, 4))
    assert.equal(4, served())
    assert.is_true(s:flush(1, 4))
    assert.equal(4, served())
    assert.is_false(s:flush(1, 4))
    assert.equal(2, served())
  end)

  it("misses no stream while others leave", function()
    math.randomseed(11)
    for _ = 1, 200 do
      connect(12)
      publish(1)
      local left
      repeat
        left = s:flush(1, 3)
        for _ = 1, 2 do
          local victim = math.random(12)
          if streams[victim] then
            streams[victim]:close()
            streams[victim] = nil
          end
        end
      until not left
      local expected = 0
      for _ in pairs(streams) do expected = expected + 1 end
      assert.equal(expected, served())
      for i, stream in pairs(streams) do
        stream:close()
        streams[i] = nil
      end
    end
  end)

  it("misses no stream while others stall and come", function()
    connect(6)
    publish(1)
    s:flush(1, 2)
    streams[1]:stall(true)
    streams[6]:stall(true)
    streams[7] = s:connect(1, { channels = { "log/a" } }, s:epoch() .. "-0")
    publish(1)
    sim.run(s)
    streams[1]:stall(false)
    streams[6]:stall(false)
    sim.run(s)
    for i = 1, 6 do assert.equal("e@1=d1 e@2=d1", sim.line(streams[i])) end
    assert.equal("hello@0 e@1=d1 e@2=d1", sim.line(streams[7]))
  end)

  it("does not let those behind starve the others, nor the others them", function()
    connect(4)
    streams[1]:stall(true)
    publish(100, 900)
    sim.run(s)
    for _, stream in ipairs(streams) do stream:take() end
    streams[1]:stall(false)
    streams[1]:take()
    publish(1)
    s:flush(1, 4)
    assert.equal(4, served())
  end)
end)

describe("a flush whose blocks are queued", function()
  -- All live streams have so much pending that each gets a block of its own, and as many lag.
  local function play(delayed)
    s:close()
    s = testing.sim(1, 1, delayed)
    s:policies { { pattern = "log/:id", history = 100 } }
    s:drain(1)
    local live, lagging = {}, {}
    for i = 1, 20 do
      live[i] = s:connect(1, { channels = { "log/live" .. i } })
      lagging[i] = s:connect(1, { channels = { "log/late" .. i } })
    end
    sim.run(s)
    table.move(lagging, 1, 20, 21, table.move(live, 1, 20, 1, streams))
    for i = 1, 20 do
      lagging[i]:stall(true)
      for _ = 1, 30 do s:publish("log/late" .. i, "e", ("x"):rep(1000)) end
    end
    sim.run(s)
    for i = 1, 20 do
      lagging[i]:stall(false)
      s:publish("log/live" .. i, "e", ("x"):rep(15000))
    end
    for _, stream in ipairs(streams) do stream:take() end
    s:drain(1)
    local more = s:flush(1)
    local function given(list)
      local n = 0
      for _, stream in ipairs(list) do if #stream:take() > 0 then n = n + 1 end end
      return n
    end
    return given(live), given(lagging), more
  end

  it("makes no more than it may, some of them for streams that are behind, and says that there is more", function()
    local walk, all = testing.limits.flush_walk_bytes, testing.limits.flush_bytes
    local live, lagging, more = play(true)
    assert.same({ walk // 15000 + 1, true }, { live, more })
    assert.is_true(lagging >= 1 and (live + lagging - 2) * 15000 <= all, lagging)
    sim.run(s)
    assert.equal(20 + 20 - live - lagging, served())
  end)

  it("makes as many as there are where they are sent at once", function()
    assert.same({ 20, 20, false }, { play(false) })
  end)
end)
