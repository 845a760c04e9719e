--- Local channels (shared = false) in csrc/fan: numbers of their own, no ids, and what becomes of them when a reload
--- makes them ones of all nodes.
local sim = require("spec.support.sim")

local LOG = { pattern = "log", history = 9 }
local OWN = { { pattern = "st", history = "latest", shared = false }, { pattern = "ev", history = 0, shared = false },
  { pattern = "fx", history = 0, shared = false } }
local SHARED = { { pattern = "st", history = "latest" }, { pattern = "ev", history = 9 }, OWN[3] }

local s, before, streams

local function policies(list, log)
  s:policies { log or LOG, table.unpack(list) }
  s:drain(1)
end

before_each(function()
  before, streams = sim.alive(), {}
  s = sim.new()
  policies(OWN)
end)

after_each(function()
  for _, stream in ipairs(streams) do stream:close() end
  s:drain(1)
  s:close()
  sim.alive(before)
end)

local function connect(channels, id)
  s:drain(1)
  streams[#streams + 1] = assert(s:connect(1, { channels = channels }, id, "me"))
  s:flush(1)
  return streams[#streams]
end

local function own(channel, data, key, remove)
  return s:publish(channel, "e", data, key, remove, channel == "st", true)
end

local function id(seq) return s:epoch() .. "-" .. seq end

local function line(stream)
  sim.run(s)
  return sim.line(stream)
end

local ALL = { "log", "st", "ev", "fx" }

describe("a local channel", function()
  it("has numbers of its own, and events without ids", function()
    for n = 1, 3 do assert.equal(n, own("ev", "x")) end
    assert.equal(1, s:publish("log", "e", "a"))
    local stream = connect(ALL)
    assert.equal("hello@1", line(stream))
    own("ev", "b")
    own("st", "c", "k")
    s:publish("log", "e", "d")
    own("fx", "e")
    own("ev", "f")
    sim.run(s)
    assert.equal(("event: e\ndata: d\nid: %s\n\nevent: e\ndata: b\n\nevent: e\ndata: e\n\nevent: e\ndata: f\n\n"
      .. "event: e\ndata: c\n\n"):format(id(2)), (stream:take()))
    assert.equal(2, s:head())
  end)

  it("is not what an id tells of: whoever comes gets its values, and no reset", function()
    for n = 1, 5 do own("st", "v" .. n, "k" .. n % 2) end
    for _, came in ipairs { id(0), "aaaaaaaaaaaaa-7", "nonsense" } do
      assert.equal("hello@0 e=v4 e=v5", line(connect({ "st", "ev" }, came)))
    end
    assert.truthy(connect({ "st", "ev" }, id(0)):take():find('"resumed":true', 1, true))
  end)

  it("lets a message for one client keep its place", function()
    local stream = connect(ALL)
    line(stream)
    own("ev", "a")
    own("st", "b", "k")
    s:drain(1)
    stream:send("word", "c")
    own("ev", "d")
    own("st", "e", "k2")
    assert.equal("e=a e=b word=c e=d e=e", line(stream))
  end)

  it("is sent before the opening is over, also where nothing has a number yet", function()
    own("st", "a", "k")
    local stream = connect(ALL)
    sim.run(s)
    assert.equal("hello@0 e=a opened", sim.line(stream, true))
  end)

  it("tells a slow reader without numbers, and goes on", function()
    local stream = connect { "log", "ev" }
    s:publish("log", "e", "a")
    line(stream)
    stream:stall(true)
    own("ev", "x")
    sim.run(s)
    for n = 1, 5000 do
      own("ev", "n" .. n)
      if n % 1000 == 0 then sim.run(s) end
    end
    stream:stall(false)
    sim.run(s)
    local events = sim.events(stream)
    local reset = {}
    for i, event in ipairs(events) do if event.event == "reset" then reset[#reset + 1] = i end end
    assert.equal(1, #reset)
    assert.equal('{"channel":"ev","reason":"slow","from":null,"oldest":null}', events[reset[1]].data)
    assert.equal(id(1), events[reset[1]].id)
    assert.equal("n5000", events[#events].data)
  end)

  it("is all that a stream needs no sync for", function()
    local stream = connect { "ev", "st" }
    s:publish("log", "e", "a")
    sim.run(s)
    s:now(3600000)
    assert.is_false(stream:sync())
  end)

  it("shares blocks among those that stand at the same place", function()
    local list = {}
    for i = 1, 5 do list[i] = connect(i % 2 == 0 and ALL or { "log", "ev" }) end
    for _, stream in ipairs(list) do line(stream) end
    for n = 1, 50 do
      own("ev", "v" .. n)
      if n % 3 == 0 then s:publish("log", "e", "l" .. n) end
      if n % 7 == 0 then sim.run(s) end
    end
    sim.run(s)
    for _, stream in ipairs(list) do
      local events, next_own, next_log = sim.events(stream), 1, 3
      for _, event in ipairs(events) do
        if event.data == "v" .. next_own then next_own = next_own + 1 end
        if event.data == "l" .. next_log then next_log = next_log + 3 end
      end
      assert.same({ 51, 51 }, { next_own, next_log })
    end
  end)
end)

describe("a local channel that a reload changes", function()
  it("begins anew: its readers hear of what they show or have not got", function()
    local told, all = connect { "st" }, connect { "ev" }
    own("st", "a", "k")
    own("ev", "b")
    line(told)
    line(all)
    local behind = connect { "ev" }
    behind:stall(true)
    own("ev", "c")
    sim.run(s)
    own("ev", "d")
    sim.run(s)
    line(all)
    policies(SHARED)
    assert.equal("reset@0", line(told))
    assert.equal("", line(all))
    s:publish("ev", "e", "x")
    s:publish("st", "e", "y", "k", false, true)
    behind:stall(false)
    assert.equal("e=y", line(told))
    assert.equal("e@1=x", line(all))
    assert.truthy(line(behind):find("reset.* e@1=x$"))
  end)

  it("has lost what it was before for who comes back", function()
    for n = 1, 3 do s:publish("log", "e", "v" .. n) end
    policies(OWN, { pattern = "log", history = 0, shared = false })
    own("log", "own")
    policies(OWN)
    s:publish("log", "e", "v4")
    assert.equal("hello reset@3 e@4=v4", line(connect({ "log" }, id(1))))
    assert.equal("hello@3 e@4=v4", line(connect({ "log" }, id(3))))
  end)

  it("is filled by a cluster: readers get what came since, also where they are further in other logs", function()
    local function adopt(head) s:adopt(s:epoch(), "", -1, head, 0) end
    adopt(10)
    s:drain(1)
    local stream, state = connect { "log", "ev" }, connect { "st" }
    line(stream)
    line(state)
    policies(SHARED)
    s:give("log", "e", "a", "", false, false, 12)
    assert.equal("e@12=a", line(stream))
    s:fills { { channel = "ev", floor = 4, last = 11, upto = 13, rows = { { seq = 8, data = "old" },
      { seq = 11, data = "b" } } }, { channel = "st", last = 9, upto = 13, state = true,
      values = { { seq = 9, data = "v", key = "k" } } } }
    assert.equal("message=b", line(stream))
    assert.equal("message=v", line(state))
    s:give("ev", "e", "c", "", false, false, 14)
    assert.equal("e@14=c", line(stream))
  end)

  it("tells what a cluster has not kept of that", function()
    s:adopt(s:epoch(), "", -1, 10, 0)
    s:drain(1)
    local stream = connect { "log", "ev" }
    line(stream)
    policies(SHARED)
    s:fills { { channel = "ev", floor = 12, last = 13, upto = 13, rows = { { seq = 13, data = "c" } } } }
    assert.truthy(line(stream):find("^reset.* message@13=c$"))
  end)

  it("takes nothing that was loaded when it was one of all", function()
    local stream = connect { "ev" }
    line(stream)
    s:fills { { channel = "ev", floor = 0, last = 5, upto = 5, rows = { { seq = 5, data = "late" } } } }
    own("ev", "a")
    assert.equal("e=a", line(stream))
  end)
end)
