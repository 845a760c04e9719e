--- csrc/fan/stream.c: how a stream opens, what it is told, and what may be asked of it later.
local cjson = require("cjson")
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local s, before, streams

before_each(function()
  before, streams = sim.alive(), {}
  s = sim.new { { pattern = "log/:id", history = 3 }, { pattern = "st", history = "latest" },
    { pattern = "kl", history = 5, key = "k", rewind = "latest" }, { pattern = "loud", history = 9, rewind = 2 } }
end)

after_each(function()
  for _, stream in ipairs(streams) do stream:close() end
  s:drain(1)
  s:close()
  sim.alive(before)
end)

local function connect(plan, id)
  s:drain(1)
  local stream, message, code = s:connect(1, plan, id, "me")
  if not stream then return nil, message, code end
  streams[#streams + 1] = stream
  s:flush(1)
  return stream
end

local function id(seq) return s:epoch() .. "-" .. seq end

local function line(stream)
  sim.run(s)
  return sim.line(stream)
end

describe("an opening stream", function()
  it("begins with the preamble and hello, to the byte", function()
    s:publish("log/a", "e", "x")
    s:publish("st", "p", "1", "A", false, true)
    local bytes = connect({ channels = { "log/a", "st" } }):take()
    assert.equal((":ok\nretry: 2500\nevent: hello\ndata: {\"client\":\"me\",\"epoch\":\"%s\",\"resumed\":false,"
      .. "\"replay\":0,\"state\":{\"st\":1},\"channels\":2,\"heartbeat\":15}\nid: %s\n\nevent: p\ndata: 1\n\n"
      .. "event: sync\ndata: {}\nid: %s\n\n"):format(s:epoch(), id(2), id(2)), bytes)
  end)

  it("tells a reset, to the byte", function()
    for i = 1, 5 do s:publish("log/a", "e", "d" .. i) end
    local bytes = connect({ channels = { "log/a" } }, id(1)):take()
    assert.equal(("event: reset\ndata: {\"channel\":\"log/a\",\"reason\":\"trimmed\",\"from\":\"%s\","
      .. "\"oldest\":\"%s\"}\nid: %s\n\nevent: e\ndata: d3\nid: %s\n\n"):format(id(1), id(3), id(2), id(3)),
      bytes:match("(event: reset.-data: d3\nid: .-\n\n)"))
    assert.matches("event: hello\ndata: [^\n]+\n\n", bytes)
  end)

  it("carries no id that passes a loss before the loss is told", function()
    for i = 1, 8 do s:publish("log/" .. i % 2, "e", "d" .. i) end
    local stream = connect({ channels = { "log/0", "log/1" } }, id(0))
    assert.equal("hello reset reset@2 e@3=d3 e@4=d4 e@5=d5 e@6=d6 e@7=d7 e@8=d8", line(stream))
    stream = connect({ channels = { "log/0", "log/1" } }, "aaaaaaaaaaaaa-7")
    assert.equal("hello reset reset@2", line(stream):sub(1, 19))
  end)

  it("keeps the client's own id while another channel still replays from there", function()
    for i = 1, 4 do s:publish("log/a", "e", "d" .. i) end
    s:publish("log/b", "e", "b")
    s:publish("log/a", "e", "d6")
    local stream = connect({ channels = { "log/a", "log/b" } }, id(1))
    assert.equal("hello@1 reset e@3=d3 e@4=d4 e@5=b e@6=d6", line(stream))
  end)

  it("resumes exactly at the floor, and is reset just below it", function()
    for i = 1, 5 do s:publish("log/a", "e", "d" .. i) end
    assert.equal("hello@2 e@3=d3 e@4=d4 e@5=d5", line(connect({ channels = { "log/a" } }, id(2))))
    assert.equal("hello reset@2 e@3=d3 e@4=d4 e@5=d5", line(connect({ channels = { "log/a" } }, id(1))))
    assert.equal("hello@5", line(connect({ channels = { "log/a" } }, id(5))))
  end)

  it("names the reason", function()
    s:publish("log/a", "e", "x")
    local function reason(last_id)
      local events = sim.events(connect({ channels = { "log/a" } }, last_id))
      local reset = events[2] and events[2].event == "reset" and cjson.decode(events[2].data)
      return reset and reset.reason or nil, cjson.decode(events[1].data).resumed
    end
    assert.same({ "unknown_id", false }, { reason("nonsense") })
    assert.same({ "epoch", false }, { reason("aaaaaaaaaaaaa-1") })
    assert.same({ "future", false }, { reason(id(2)) })
    assert.same({ nil, true }, { reason(id(1)) })
    assert.same({ nil, true }, { reason(id(0)) })
  end)

  it("rewinds as the plan says, else as the policy says", function()
    for i = 1, 5 do s:publish("loud", "e", "d" .. i) end
    local function got(rewind) return line(connect { channels = { { "loud", rewind = rewind } } }) end
    assert.equal("hello@3 e@4=d4 e@5=d5", got(nil))
    assert.equal("hello@5", got(0))
    assert.equal("hello@4 e@5=d5", got(1))
    assert.equal("hello@0 e@1=d1 e@2=d2 e@3=d3 e@4=d4 e@5=d5", got("all"))
    assert.equal("hello@0 e@1=d1 e@2=d2 e@3=d3 e@4=d4 e@5=d5", got(900))
  end)

  it("takes a channel that is named twice once", function()
    local events = sim.events(connect { channels = { "log/a", "log/a" } })
    assert.equal(1, cjson.decode(events[1].data).channels)
  end)

  it("refuses what is no channel, and leaves nothing behind", function()
    local stream, _, code = connect { channels = { "log/a", "a//b" } }
    assert.same({ nil, "ECHANNEL" }, { stream, code })
    assert.is_nil(s:floor(1, "log/a"))
  end)

  it("may follow nothing, and then moves no cursor", function()
    assert.equal("hello", sim.line(connect { channels = {} }, true))
  end)

  it("ends with a sync, behind all that was pending: logs, states and the newest per key", function()
    for i = 1, 3 do s:publish("log/a", "e", "d" .. i) end
    s:publish("st", "p", "1", "A", false, true)
    local stream = connect({ channels = { "log/a", "st" } }, id(1))
    s:publish("log/a", "e", "d5")
    s:publish("st", "p", "2", "B", false, true)
    sim.run(s)
    assert.equal("hello@1 e@2=d2 e@3=d3 p=1 opened@4 e@5=d5 p=2", sim.line(stream, true))
    assert.equal("hello@6 p=1 p=2 opened", sim.line(connect { channels = { "log/a", "st" } }, true))
    assert.equal("", sim.line(connect { channels = { "log/a" }, control = false }, true))
  end)

  it("tells who comes back to nothing what it cannot resume, as soon as there is a channel", function()
    for i = 1, 3 do s:publish("log/a", "e", "d" .. i) end
    local stream = connect({ channels = {} }, s:epoch() .. "-1")
    assert.equal("hello", line(stream))
    stream:subscribe("log/a")
    assert.equal("reset e=d1 e=d2 e=d3 sync@3", line(stream))
  end)

  it("serves all its logs in one order", function()
    local stream = connect { channels = { "log/a", "log/b", "kl" } }
    for i = 1, 6 do s:publish(({ "log/a", "log/b", "kl" })[i % 3 + 1], "e", "d" .. i, "k" .. i) end
    assert.equal("hello@0 e@1=d1 e@2=d2 e@3=d3 e@4=d4 e@5=d5 e@6=d6", line(stream))
  end)
end)

describe("filters", function()
  it("want by name, by key, and by both", function()
    local by_type = connect { channels = { { "log/a", types = { "x", "message" } } } }
    local by_key = connect { channels = { { "log/a", keys = { "A" } } } }
    local both = connect { channels = { "log/a" }, types = { "x" }, keys = { "B" } }
    local none = connect { channels = { { "log/a", types = {} } } }
    s:publish("log/a", "x", "1", "A")
    s:publish("log/a", "y", "2", "A")
    s:publish("log/a", "x", "3", "B")
    s:publish("log/a", "", "4")
    assert.equal("hello@0 x@1=1 x@3=3 message@4=4", line(by_type))
    assert.equal("hello@0 x@1=1 y@2=2", line(by_key))
    assert.equal("hello@0 x@3=3", line(both))
    assert.equal("hello@0", line(none))
  end)

  it("count in hello", function()
    for i = 1, 3 do s:publish("log/a", i == 2 and "y" or "x", "d") end
    local events = sim.events(connect({ channels = { { "log/a", types = { "x" } } } }, id(0)))
    assert.equal(2, cjson.decode(events[1].data).replay)
  end)

  it("may change: a state sends what is wanted now", function()
    s:publish("st", "p", "1", "A", false, true)
    s:publish("st", "p", "2", "B", false, true)
    local stream = connect { channels = { { "st", keys = { "A" } } } }
    assert.equal("hello@2 p=1", line(stream))
    stream:filter(nil, { "B" })
    assert.equal("p=2", line(stream))
  end)

  it("sends nothing again when its wishes stay what they were, or only its rate changes", function()
    s:publish("st", "p", "1", "A", false, true)
    local stream = connect { channels = { { "st", keys = { "A", "B" } }, "log/a" } }
    assert.equal("hello@1 p=1", line(stream))
    stream:filter(nil, { "B", "A" }, 2)
    stream:filter(nil, { "A", "B" })
    assert.equal("", line(stream))
    s:publish("st", "p", "2", "A", false, true)
    for ms = 1000, 3000, 1000 do
      s:now(ms)
      sim.run(s)
    end
    assert.equal("p=2", line(stream))
  end)

  it("with the same wishes are one", function()
    local plans = { { { "log/a", types = { "x", "y" } } }, { { "log/a", types = { "y", "x" } } } }
    local a, b = connect { channels = plans[1] }, connect { channels = plans[2] }
    sim.run(s)
    a:stall(true)
    b:stall(true)
    s:publish("log/a", "x", "1")
    sim.run(s)
    assert.equal(1, testing.alive().blocks - before.blocks) -- both hold the same block
    a:stall(false)
    b:stall(false)
    assert.equal("hello@0 x@1=1", line(a))
    assert.equal("hello@0 x@1=1", line(b))
  end)

  it("with other wishes are not", function()
    local a = connect { channels = { { "log/a", types = { "x" } } } }
    local b = connect { channels = { { "log/a", types = { "x", "y" } } } }
    s:publish("log/a", "x", "1")
    s:publish("log/a", "y", "2")
    assert.equal("hello@0 x@1=1", line(a))
    assert.equal("hello@0 x@1=1 y@2=2", line(b))
  end)
end)

describe("an open stream", function()
  it("subscribes at its place, with a sync that confirms it", function()
    s:publish("log/b", "e", "old")
    local stream = connect { channels = { "log/a" } }
    assert.is_true(stream:subscribe("log/b"))
    s:publish("log/b", "e", "new")
    assert.equal("hello@1 sync e@2=new", line(stream))
    assert.is_true(stream:subscribe("log/b"))
    assert.equal("", line(stream))
  end)

  it("gets history it asks for without ids", function()
    for i = 1, 3 do s:publish("log/b", "e", "d" .. i) end
    local stream = connect { channels = { "log/a" } }
    stream:subscribe { "log/b", rewind = 2 }
    assert.equal("hello@3 e=d2 e=d3 sync", line(stream))
  end)

  it("subscribes to a state with its snapshot and to a keyed log with the newest per key", function()
    s:publish("st", "p", "1", "A", false, true)
    for i = 1, 4 do s:publish("kl", "j", "d" .. i, "k" .. i % 2) end
    local stream = connect { channels = { "log/a" } }
    stream:subscribe("st")
    stream:subscribe("kl")
    assert.equal("hello@5 p=1 j=d3 j=d4 sync", line(stream))
  end)

  it("unsubscribes", function()
    local stream = connect { channels = { "log/a", "log/b" } }
    assert.is_true(stream:unsubscribe("log/a"))
    assert.is_false(stream:unsubscribe("log/a"))
    s:publish("log/a", "e", "1")
    s:publish("log/b", "e", "2")
    assert.equal("hello@0 e@2=2", line(stream))
  end)

  it("gets what is sent to it alone in its place among the events", function()
    local stream = connect { channels = { "log/a", "st" } }
    s:publish("log/a", "e", "1")
    s:publish("st", "p", "2", "A", false, true)
    s:drain(1)
    assert.is_true(stream:send("mine", "x\ny"))
    s:publish("log/a", "e", "3")
    assert.equal("hello@0 e@1=1 p=2 mine=x\ny e@3=3", line(stream))
  end)

  it("refuses to be sent what is no event, and more than waits for it already", function()
    local stream = connect { channels = {} }
    assert.equal("EBADFIELD", select(3, stream:send("open", "x")))
    assert.equal("ETOOBIG", select(3, stream:send("a", ("x"):rep(65001))))
    stream:stall(true)
    stream:send("a", "pinned")
    s:flush(1)
    local code
    for _ = 1, 10 do code = select(3, stream:send("a", ("x"):rep(10000))) end
    assert.equal("EFULL", code)
    stream:stall(false)
    sim.run(s)
    assert.is_true(stream:send("a", "room again"))
    assert.truthy(line(stream):find("room again", 1, true))
  end)

  it("is told to sync when its last id is old: 15 s with a filter, 60 s without", function()
    local plain = connect { channels = { "log/a" } }
    local picky = connect { channels = { { "log/a", types = { "x" } } } }
    sim.run(s)
    s:publish("log/b", "e", "1")
    sim.run(s)
    local function due(ms)
      s:now(ms)
      return { plain:sync(), picky:sync() }
    end
    assert.same({ false, false }, due(14999))
    assert.same({ false, true }, due(15000))
    assert.equal("hello@0 sync@1", line(picky))
    assert.same({ false, false }, due(59999))
    assert.same({ true, false }, due(60000))
    assert.equal("hello@0 sync@1", line(plain))
    assert.same({ false, false }, due(999999))
  end)

  it("is told nothing about states, which have no cursor", function()
    local stream = connect { channels = { "st" } }
    s:publish("log/b", "e", "1")
    sim.run(s)
    s:now(1000000)
    assert.is_false(stream:sync())
  end)

  it("says goodbye after all that was released, and then nothing more", function()
    local stream = connect { channels = { "log/a", "st" } }
    stream:take()
    s:publish("log/a", "e", "1")
    s:publish("st", "p", "2", "A", false, true)
    s:drain(1)
    stream:bye("drain")
    stream:bye("age")
    s:publish("log/a", "e", "3")
    sim.run(s)
    local _, ended, bytes = sim.events(stream)
    assert.equal("drop", ended)
    assert.equal(("event: e\ndata: 1\nid: %s\n\nevent: p\ndata: 2\n\nevent: bye\nretry: N\n"
      .. 'data: {"reason":"drain","retry":N}\nid: %s\n\n'):format(id(1), id(2)), (bytes:gsub("(retry%A-)%d+", "%1N")))
    assert.equal("ECLOSED", select(3, stream:send("a", "x")))
    assert.equal("ECLOSED", select(3, stream:subscribe("log/b")))
  end)

  it("remembers stop when it shall stay away", function()
    local stream = connect { channels = { "log/a" } }
    stream:take()
    stream:bye("stop")
    sim.run(s)
    local events, ended = sim.events(stream)
    assert.same({ "bye", "stop", "stop" }, { events[1].event, events[1].id, ended })
  end)

  it("ends at its cursor when it may not go on: nothing of what was pending goes out", function()
    for word, id_of in pairs { expired = id(1), revoked = id(1), denied = "stop" } do
      local stream = connect({ channels = { "log/a", "st" } }, nil)
      s:publish("log/a", "e", word)
      sim.run(s)
      local first = s:head()
      stream:take()
      s:publish("log/a", "e", "secret")
      s:publish("st", "p", "secret", "A", false, true)
      stream:send("own", "secret")
      stream:bye("age") -- one that is not out yet gives way
      s:drain(1)
      stream:bye(word)
      sim.run(s)
      local events, ended = sim.events(stream)
      if word ~= "denied" then id_of = id(first) end
      assert.same({ 1, "bye", id_of, word == "denied" and "stop" or "drop" },
        { #events, events[1].event, events[1].id, ended }, word)
      assert.truthy(events[1].data:find('"reason":"' .. word .. '"', 1, true))
    end
  end)

  it("takes back what its socket has not begun to take when it may not go on, and its id with it", function()
    local stream = connect { channels = { "log/a" } }
    stream:take()
    stream:stall(true)
    s:publish("log/a", "e", "secret")
    sim.run(s)
    stream:bye("expired")
    sim.run(s)
    stream:stall(false)
    sim.run(s)
    local events, _, bytes = sim.events(stream)
    assert.same({ 1, "bye" }, { #events, events[1].event })
    assert.is_nil(bytes:find("id:", 1, true)) -- the client keeps the id that it has
  end)

  it("gets the newest state before its end, also when it changed after the goodbye", function()
    local stream = connect { channels = { "st" } }
    s:publish("st", "p", "1", "A", false, true)
    s:drain(1)
    stream:bye("stop")
    s:publish("st", "p", "2", "A", false, true)
    assert.equal("hello@0 p=2 bye@stop stop", line(stream))
  end)
end)

describe("a client that was ahead of its new thread", function()
  it("gets nothing twice, and the states that come late", function()
    s:close()
    s = sim.new({ { pattern = "log/:id", history = 3 }, { pattern = "st", history = "latest" },
      { pattern = "lossy", history = 0 } }, 2)
    for i = 1, 2 do s:publish("log/a", "e", "d" .. i) end
    s:publish("st", "p", "late", "A", false, true)
    s:publish("lossy", "e", "x")
    s:publish("log/a", "e", "d5")
    s:drain(2, 1) -- thread 2 knows one event
    local stream = s:connect(2, { channels = { "log/a", "st", "lossy" } }, id(5))
    streams[1] = stream
    s:flush(2)
    s:publish("log/a", "e", "d6")
    sim.run(s, 2)
    assert.equal("hello@5 e@6=d6 p=late", sim.line(stream))
  end)

  it("shares a block with those who are not, and takes nothing from them", function()
    s:close()
    s = sim.new({ { pattern = "log/:id", history = 9 }, { pattern = "st", history = "latest" } }, 2)
    for i = 1, 2 do s:publish("log/a", "e", "d" .. i) end
    s:drain(1)
    s:drain(2)
    local plan = { channels = { "log/a", "st" } }
    s:publish("st", "p", "state", "A", false, true)
    for i = 4, 5 do s:publish("log/a", "e", "d" .. i) end
    s:drain(1)
    streams[2] = s:connect(2, plan, id(5)) -- ahead: thread 2 is at 2
    s:flush(2)
    streams[1] = s:connect(2, plan)
    s:flush(2)
    s:drain(2, 1)
    s:flush(2)
    s:drain(2)
    s:flush(2)
    assert.equal("hello@2 p=state e@4=d4 e@5=d5", sim.line(streams[1]))
    assert.equal("hello@5 p=state", sim.line(streams[2]))
  end)
end)
