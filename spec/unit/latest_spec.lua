--- csrc/fan/latest.c: the newest per event name and key, in states and keyed logs.
local testing = require("sluice.core.testing")
local sim = require("spec.support.sim")

local STATE = { pattern = "st", history = "latest", key = "k" }
local KEYED = { pattern = "kl", history = 3, key = "k", rewind = "latest" }
local s, before

local function put(name, key, data) return s:publish("st", name, data, key, false, true) end
local function take_out(name, key) return s:publish("st", name, "gone", key, true, true) end
local function log(name, key, data, remove) return s:publish("kl", name, data, key, remove) end

local function connect(plan, id)
  s:drain(1)
  local stream = s:connect(1, plan, id)
  sim.run(s)
  return stream
end

--- What a newcomer sees.
local function snapshot(plan)
  sim.run(s)
  local stream = connect(plan)
  local line = sim.line(stream)
  stream:close()
  return line
end

before_each(function()
  before = sim.alive()
  s = sim.new { STATE, KEYED }
end)

after_each(function()
  s:drain(1)
  s:close()
  sim.alive(before)
end)

describe("a state", function()
  local ALL = { channels = { "st" } }

  it("gives newcomers the newest of each name and key, oldest first, without ids", function()
    put("p", "A", "1")
    put("p", "B", "2")
    put("q", "A", "3")
    put("p", "A", "4")
    put("p", "", "5")
    assert.equal("hello@5 p=2 q=3 p=4 p=5", snapshot(ALL))
  end)

  it("takes all names of a key out by one removal, which newcomers never see", function()
    put("p", "A", "1")
    put("q", "A", "2")
    put("p", "B", "3")
    local stream = connect(ALL)
    assert.equal("hello@3 p=1 q=2 p=3", sim.line(stream))
    take_out("gone", "A")
    assert.equal("hello@4 p=3", snapshot(ALL))
    assert.equal("gone=gone", sim.line(stream))
    stream:close()
  end)

  it("gives the whole snapshot at every return", function()
    put("p", "A", "1")
    local stream = connect(ALL, s:epoch() .. "-1")
    assert.equal("hello@1 p=1", sim.line(stream))
    stream:close()
  end)

  it("gives a slow reader only the newest of each", function()
    local stream = connect(ALL)
    stream:take()
    stream:stall(true)
    for i = 1, 50 do
      put("p", "A", "a" .. i)
      put("p", "B", "b" .. i)
      sim.run(s)
    end
    stream:stall(false)
    sim.run(s)
    assert.equal("p=a1 p=b1 p=a50 p=b50", sim.line(stream))
    stream:close()
  end)

  it("keeps as many values as max_keys, the same on every thread", function()
    s:close()
    s = sim.new({ { pattern = "st", history = "latest", max_keys = 3 } }, 2)
    local stream = s:connect(1, ALL) -- only thread 1 has a reader
    stream:stall(true)
    for i = 1, 3 do put("p", "k" .. i, "" .. i) end
    for i = 4, 8 do take_out("gone", "x" .. i) end
    s:drain(1)
    s:drain(2)
    assert.same({ 3, 3 }, { s:events(1, "st"), s:events(2, "st") })
    put("p", "k9", "9")
    s:drain(1)
    s:drain(2)
    assert.same({ 3, 3 }, { s:events(1, "st"), s:events(2, "st") })
    stream:close()
  end)

  it("holds to a lower max_keys at once", function()
    for i = 1, 5 do put("p", "k" .. i, "" .. i) end
    s:policies { { pattern = "st", history = "latest", max_keys = 2 } }
    assert.equal("hello@5 p=4 p=5", snapshot(ALL))
  end)

  it("sends everything anew when a removal went before a slow reader saw it", function()
    put("p", "A", "1")
    put("p", "B", "2")
    local stream = connect(ALL)
    stream:take()
    stream:stall(true)
    put("p", "C", "3")
    sim.run(s)
    take_out("gone", "A")
    sim.run(s)
    put("p", "D", "5")
    s:trim("st", 4)
    sim.run(s)
    stream:stall(false)
    sim.run(s)
    assert.equal("p=3 reset@3 p=5", sim.line(stream))
    stream:close()
  end)

  it("never sends a value by its old place", function()
    for i = 1, 200 do put("p", "k" .. i % 7, "" .. i) end
    assert.equal("hello@200 p=194 p=195 p=196 p=197 p=198 p=199 p=200", snapshot(ALL))
  end)
end)

describe("a keyed log", function()
  local ALL = { channels = { "kl" } }

  it("gives newcomers the newest per name and key with their own ids", function()
    log("joined", "A", "1")
    log("joined", "B", "2")
    log("joined", "A", "3")
    log("typing", "A", "4")
    assert.equal("hello@1 joined@2=2 joined@3=3 typing@4=4", snapshot(ALL))
  end)

  it("gives them keys that left the history long ago", function()
    log("joined", "A", "1")
    for i = 1, 9 do log("joined", "B", "" .. i) end
    assert.equal("hello@0 joined@1=1 joined@10=9", snapshot(ALL))
    assert.equal(7, s:floor(1, "kl"))
  end)

  it("keeps them when its history is trimmed, as far as that has something", function()
    for i = 1, 4 do log("joined", "k" .. i, "" .. i) end
    s:trim("kl", 4)
    assert.equal("hello@0 joined@1=1 joined@2=2 joined@3=3 joined@4=4", snapshot(ALL))
    assert.equal(0, s:events(1, "kl"))
    s:trim("kl", 2) -- nothing else can make room
    assert.equal("hello@2 joined@3=3 joined@4=4", snapshot(ALL))
  end)

  it("leaves out keys that were removed", function()
    log("joined", "A", "1")
    log("joined", "B", "2")
    log("left", "A", "3", true)
    assert.equal("hello@1 joined@2=2", snapshot(ALL))
  end)

  it("starts at the head when nothing is there", function()
    log("joined", "A", "1")
    log("left", "A", "2", true)
    assert.equal("hello@2", snapshot(ALL))
  end)

  it("gives a client that comes back the log, each event once", function()
    for i = 1, 3 do log("joined", "A", "" .. i) end
    local stream = connect(ALL, s:epoch() .. "-1")
    assert.equal("hello@1 joined@2=2 joined@3=3", sim.line(stream))
    stream:close()
  end)

  it("gives the compact replay after a reset", function()
    for i = 1, 9 do log("joined", "k" .. i % 2, "" .. i) end
    s:drain(1)
    local stream = connect(ALL, s:epoch() .. "-1")
    assert.equal("hello reset@7 joined@8=8 joined@9=9 opened", sim.line(stream, true))
    stream:close()
  end)

  it("gives what lies behind the client's id without ids after a reset, and confirms it", function()
    log("joined", "old", "1")
    for i = 2, 9 do log("joined", "k" .. i % 2, "" .. i) end
    s:drain(1)
    local stream = connect(ALL, s:epoch() .. "-3")
    assert.equal("hello@3 reset joined=1 joined@8=8 joined@9=9 opened", sim.line(stream, true))
    stream:close()
  end)

  it("gives the compact replay again to an open stream that lost the ring", function()
    local stream = connect(ALL)
    log("joined", "old", "1")
    sim.run(s)
    stream:take()
    stream:stall(true)
    log("joined", "k", "2")
    sim.run(s)
    for i = 3, testing.limits.backlog_events + 10 do
      log("joined", "k" .. i % 2, "" .. i)
      s:drain(1)
    end
    stream:stall(false)
    sim.run(s)
    local line = sim.line(stream)
    assert.matches("^joined@2=2 reset joined=1 joined=2 joined@", line)
    assert.matches(" joined@%d+=%d+ joined@%d+=%d+ sync$", line)
    stream:close()
  end)

  it("leaves out of the replay what changed before it was sent, and sends the change", function()
    for i = 1, 3 do log("joined", "k" .. i, "" .. i) end
    s:drain(1)
    local stream = s:connect(1, ALL)
    log("joined", "k2", "4")
    sim.run(s)
    assert.equal("hello@0 joined@1=1 joined@3=3 joined@4=4", sim.line(stream))
    stream:close()
  end)

  it("knows the newest of its history when it was a plain log before", function()
    s:policies { { pattern = "kl", history = 3 } }
    for i = 1, 5 do log("joined", "k" .. i % 4, "" .. i) end
    s:policies { KEYED }
    assert.equal("hello@2 joined@3=3 joined@4=4 joined@5=5", snapshot(ALL))
  end)

  --- What a stalled newcomer gets whose channel becomes a plain log in the middle of its
  --- replay of `n` keys, without the fat.
  local function cut_replay(n)
    for i = 1, n do log("joined", "k" .. i, ("x"):rep(9000)) end
    s:drain(1)
    local stream = s:connect(1, ALL)
    stream:stall(true)
    s:flush(1)
    s:policies { { pattern = "kl", history = 3 } }
    log("joined", "k9", "last")
    s:drain(1)
    stream:stall(false)
    sim.run(s)
    local line = sim.line(stream):gsub("x+", "")
    stream:close()
    return line
  end

  it("tells a newcomer who is in its replay when it becomes a plain log", function()
    assert.equal("hello@0 joined@1= reset joined@6=last", cut_replay(5))
  end)

  it("tells nothing then to who has all of the replay under way", function()
    assert.equal("hello@0 joined@1= joined@2=last", cut_replay(1))
  end)
end)

describe("a channel of another kind", function()
  local LOG = { pattern = "st", history = 5 }

  --- A reader that has the first two events, and is owed the third.
  local function owed_one(put_one)
    local stream = connect { channels = { "st" } }
    put_one("1")
    put_one("2")
    sim.run(s)
    stream:take()
    put_one("3")
    s:drain(1)
    return stream
  end

  local function told(stream)
    local event = sim.events(stream)[1]
    assert.equal("reset", event.event)
    return event.data:match('"reason":"(%w+)"'), event.data:match('"from":"[^"]-%-(%d+)"')
  end

  it("tells who has not got all of the log, and is an empty state", function()
    s:policies { LOG }
    local stream = owed_one(function(data) s:publish("st", "p", data, "A") end)
    s:policies { STATE }
    put("p", "A", "4")
    sim.run(s)
    assert.same({ "trimmed", "2" }, { told(stream) })
    assert.equal("hello@4 p=4", snapshot { channels = { "st" } })
    stream:close()
  end)

  it("tells who has not got all of the state, and is an empty log", function()
    local stream = owed_one(function(data) put("p", "A", data) end)
    s:policies { LOG }
    s:publish("st", "p", "4", "A")
    sim.run(s)
    assert.same({ "trimmed", "2" }, { told(stream) })
    stream:close()
    stream = connect({ channels = { "st" } }, s:epoch() .. "-1")
    assert.equal("hello@1 p@4=4", sim.line(stream)) -- values of a state are owed to nobody by number
    stream:close()
  end)

  it("tells who was away while a log became a state, also when it was dropped meanwhile", function()
    s:policies { LOG }
    for n = 1, 3 do s:publish("st", "p", "" .. n, "A") end
    s:policies { STATE }
    put("p", "A", "4")
    s:drain(1)
    for _ = 1, 2 do
      local stream = connect({ channels = { "st" } }, s:epoch() .. "-1")
      assert.matches("^hello reset@4", sim.line(stream))
      stream:close()
      stream = connect({ channels = { "st" } }, s:epoch() .. "-3")
      assert.matches("^hello@4", sim.line(stream))
      stream:close()
      s:drop("st")
      s:drain(1)
    end
  end)

  it("tells who was away while a log became a state and a log again", function()
    s:policies { LOG }
    for n = 1, 3 do s:publish("st", "p", "" .. n, "A") end
    s:policies { STATE }
    s:policies { LOG }
    s:publish("st", "p", "4", "A")
    s:drain(1)
    local stream = connect({ channels = { "st" } }, s:epoch() .. "-1")
    assert.equal("hello reset@3 p@4=4", sim.line(stream))
    stream:close()
  end)

  it("tells nothing to who has all", function()
    s:policies { LOG }
    local stream = connect { channels = { "st" } }
    s:publish("st", "p", "1", "A")
    sim.run(s)
    s:policies { STATE }
    put("p", "A", "2")
    sim.run(s)
    s:policies { LOG }
    s:publish("st", "p", "3", "A")
    sim.run(s)
    assert.equal("hello@0 p@1=1 p=2 p@3=3", sim.line(stream))
    stream:close()
  end)

  it("tells a reader that cannot be written to", function()
    s:policies { LOG }
    local stream = owed_one(function(data) s:publish("st", "p", data, "A") end)
    stream:stall(true)
    s:flush(1)
    s:publish("st", "p", "4", "A")
    s:drain(1)
    s:policies { STATE }
    put("p", "A", "5")
    sim.run(s)
    stream:stall(false)
    sim.run(s)
    assert.equal("p@3=3 reset p=5", sim.line(stream))
    stream:close()
  end)
end)
