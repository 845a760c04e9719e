--- csrc/fan/chan.c and fan.c: what a channel keeps, its floor, and readers that are behind.
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local limits = testing.limits
local BACKLOG = limits.backlog_events
local s, before

local function open(policies) s = sim.new(policies) end

local function publish(channel, n, size)
  for i = 1, n do
    s:publish(channel, "e", size and ("x"):rep(size) or "d" .. i)
    if i % 1000 == 0 then s:drain(1) end
  end
  s:drain(1)
end

before_each(function() before = sim.alive() end)

after_each(function()
  s:drain(1)
  s:close()
  sim.alive(before)
end)

describe("a channel", function()
  it("keeps 100 events when nothing was said", function()
    open()
    publish("a", 150)
    assert.equal(100, s:events(1, "a"))
    assert.equal(50, s:floor(1, "a"))
  end)

  it("keeps as many events as its policy says, and its floor is the newest that left", function()
    open { { pattern = "a", history = 3 } }
    publish("a", 3)
    assert.same({ 3, 0 }, { s:events(1, "a"), s:floor(1, "a") })
    s:publish("b", "e", "x")
    publish("a", 2)
    assert.same({ 3, 2 }, { s:events(1, "a"), s:floor(1, "a") })
  end)

  it("keeps as many bytes as its policy says", function()
    open { { pattern = "a", history = { count = 10, bytes = 150 } } }
    publish("a", 5, 20) -- "event: e\nid: …-n\ndata: 20 bytes\n\n" is 57 bytes
    assert.same({ 2, 3 }, { s:events(1, "a"), s:floor(1, "a") })
    publish("a", 1, 200)
    assert.same({ 0, 6 }, { s:events(1, "a"), s:floor(1, "a") })
  end)

  it("follows a new policy at once", function()
    open { { pattern = "a", history = 5 } }
    publish("a", 5)
    s:policies { { pattern = "a", history = 2 } }
    s:drain(1)
    assert.same({ 2, 3 }, { s:events(1, "a"), s:floor(1, "a") })
    s:policies { { pattern = "a", history = 9 } }
    publish("a", 1)
    assert.same({ 3, 3 }, { s:events(1, "a"), s:floor(1, "a") })
  end)

  it("is trimmed by number, and the floor is an event that was there", function()
    open()
    publish("a", 3)
    s:publish("b", "e", "x")
    s:trim("a", 4)
    s:trim("never", 4)
    s:drain(1)
    assert.same({ 0, 3 }, { s:events(1, "a"), s:floor(1, "a") })
    assert.is_nil(s:floor(1, "never"))
  end)

  it("leaves its floor to its pattern when it is dropped", function()
    open { { pattern = "job/:id", history = 5 }, { pattern = "user/:id", history = 5 } }
    publish("job/1", 3)
    s:drop("job/1")
    s:drop("job/1")
    s:drain(1)
    assert.is_nil(s:floor(1, "job/1"))
    publish("job/2", 1)
    publish("user/2", 1)
    assert.same({ 3, 0 }, { s:floor(1, "job/2"), s:floor(1, "user/2") })
  end)

  it("leaves it to all channels when the patterns change", function()
    open { { pattern = "job/:id", history = 5 } }
    publish("job/1", 3)
    s:drop("job/1")
    s:policies { { pattern = "job/:id", history = 2 } }
    s:policies { { pattern = "job/*", history = 2 } }
    publish("job/2", 1)
    publish("other", 1)
    assert.same({ 3, 3 }, { s:floor(1, "job/2"), s:floor(1, "other") })
  end)

  it("is lossy by name without a history: nothing is told but that it is not resumed whole", function()
    open { { pattern = "a", history = 0 } }
    publish("a", 3)
    assert.equal(0, s:events(1, "a"))
    for last, resumed in pairs { [1] = false, [3] = true } do
      local stream = s:connect(1, { channels = { "a" } }, s:epoch() .. "-" .. last)
      sim.run(s)
      local events = sim.events(stream)
      assert.same({ 2, "hello", s:epoch() .. "-3", "sync" },
        { #events, events[1].event, events[1].id, events[2].event })
      assert.truthy(events[1].data:find('"resumed":' .. tostring(resumed), 1, true))
      stream:close()
    end
  end)

  it("does not forget what it trimmed while it was lossy", function()
    open { { pattern = "a", history = 2 } }
    publish("a", 4)
    s:policies { { pattern = "a", history = 0 } }
    s:policies { { pattern = "a", history = 2 } }
    s:drain(1)
    assert.equal(4, s:floor(1, "a"))
  end)
end)

describe("a reader that is behind", function()
  local function stalled(policy)
    open { policy }
    local stream = s:connect(1, { channels = { "a" } })
    sim.run(s)
    stream:take()
    stream:stall(true)
    publish("a", 1)
    s:flush(1)
    return stream
  end

  it("still gets what left the history", function()
    local stream = stalled { pattern = "a", history = 1 }
    publish("a", 1000)
    assert.same({ 1, 1000 }, { s:events(1, "a"), s:floor(1, "a") })
    stream:stall(false)
    sim.run(s)
    local events = sim.events(stream)
    assert.same({ 1001, "1", "1001" }, { #events, events[1].id:match("%d+$"), events[1001].id:match("%d+$") })
    stream:close()
  end)

  it("is told what is gone when it is too far behind, and goes on from the oldest that is left", function()
    local stream = stalled { pattern = "a", history = 1 }
    publish("a", BACKLOG)
    publish("a", 5)
    stream:stall(false)
    sim.run(s)
    local events = sim.events(stream)
    assert.equal("reset", events[2].event)
    assert.equal(('{"channel":"a","reason":"slow","from":"%s-1","oldest":"%s-7"}'):format(s:epoch(), s:epoch()),
      events[2].data)
    assert.same({ "1", "7" }, { events[2].id:match("%d+$"), events[3].id:match("%d+$") })
    assert.equal(2 + BACKLOG, #events)
    stream:close()
  end)

  it("is sent away instead when the policy says so, and comes back to a reset", function()
    local stream = stalled { pattern = "a", history = 1, slow = "close" }
    publish("a", BACKLOG)
    publish("a", 5)
    stream:stall(false)
    sim.run(s)
    local events, ended = sim.events(stream)
    assert.same({ 2, "bye", "drop" }, { #events, events[2].event, ended })
    assert.equal(s:epoch() .. "-1", events[2].id)
    assert.truthy(events[2].data:find('"reason":"slow"', 1, true))
    stream:close()
    stream = s:connect(1, { channels = { "a" } }, s:epoch() .. "-1")
    sim.run(s)
    assert.equal(("hello reset@%d e@%d=d5"):format(BACKLOG + 5, BACKLOG + 6), sim.line(stream))
    stream:close()
  end)

  it("costs nothing any more when it has gone", function()
    local stream = stalled { pattern = "a", history = 1 }
    publish("a", 100)
    s:flush(1)
    local kept = testing.alive().frames
    stream:close()
    assert.equal(100, kept - testing.alive().frames) -- the history's one stays
  end)

  it("costs a bounded number of bytes", function()
    local stream = stalled { pattern = "a", history = 1 }
    local most = limits.backlog_bytes // 60000 + 2
    publish("a", 2 * most, 60000)
    stream:stall(false)
    local alive = testing.alive().frames
    assert.is_true(alive <= most, alive .. " frames")
    sim.run(s)
    assert.truthy(sim.line(stream):find("reset", 1, true))
    stream:close()
  end)
end)
