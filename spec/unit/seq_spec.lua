--- csrc/fan/seq.c and csrc/run/mailbox.c: numbers, groups in flight, and all or none.
local sim = require("spec.support.sim")

local GAP = 1 << 24
local s, before

before_each(function()
  before = sim.alive()
  s = sim.new({}, 2)
end)

after_each(function()
  for i = 1, 2 do s:drain(i) end
  s:close()
  sim.alive(before)
end)

local function publish(data) return s:publish("a", "e", data or "x") end

describe("the sequencer", function()
  it("counts up from one", function()
    assert.equal(0, s:head())
    assert.same({ 1, 2, 3 }, { (publish()), (publish()), (publish()) })
    assert.equal(3, s:head())
  end)

  it("gives memory events the numbers below a group in flight", function()
    publish()
    assert.equal(1 + GAP + 1, s:group { { "a", "e", "g1" }, { "b", "e", "g2" } })
    assert.equal(2, publish())
    assert.equal(2, s:head())
    s:release()
    assert.equal(GAP + 3, s:head())
    assert.equal(GAP + 4, publish())
  end)

  it("delivers a group at the place of its release", function()
    local stream = s:connect(1, { channels = { "a" } })
    publish("before")
    s:group { { "a", "e", "group" } }
    publish("meanwhile")
    sim.run(s, 2)
    assert.equal("hello@0 e@1=before e@2=meanwhile", sim.line(stream))
    s:release()
    publish("after")
    sim.run(s, 2)
    assert.equal(("e@%d=group e@%d=after"):format(GAP + 2, GAP + 3), sim.line(stream))
    stream:close()
  end)

  it("gives the numbers of a failed group again", function()
    local first = s:group { { "a", "e", "g" }, { "a", "e", "g" } }
    s:abort()
    assert.equal(1, publish())
    assert.equal(first + 1, s:group { { "a", "e", "g" } })
    s:abort()
  end)

  it("releases a group with holes", function()
    local first = s:group { false, { "a", "e", "g1" }, false, { "a", "e", "g2" }, false }
    s:release()
    assert.equal(first + 3, s:head())
    assert.equal(first + 4, publish())
    assert.equal(first + 4 + GAP + 1, s:group { false })
    s:release()
    assert.equal(first + 5, publish())
  end)

  it("posts an event to every thread or to none", function()
    for _ = 1, 4096 do assert.truthy(publish()) end
    s:drain(1)
    local seq, message, code = publish()
    assert.same({ nil, "EBUSY" }, { seq, code })
    assert.truthy(message)
    assert.equal(4096, s:head())
    assert.equal(0, s:drain(1))
    assert.equal(1, s:drain(2, 1))
    assert.equal(4097, publish())
    assert.equal(1, s:drain(1))
    assert.equal(4096, s:drain(2))
  end)

  it("lets commands pass a full mailbox, in their order", function()
    for _ = 1, 4096 do publish() end
    s:trim("a", 4096)
    s:policies { { pattern = "a", history = 7 } }
    assert.equal(4098, s:drain(1))
    assert.equal(0, s:events(1, "a"))
    assert.equal(4096, s:floor(1, "a"))
  end)
end)
