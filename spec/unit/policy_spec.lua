--- csrc/fan/policy.c: for each option the most specific pattern that sets it wins.
local core = require("sluice.core")
local sim = require("spec.support.sim")

local function with(policies, act)
  local s = sim.new(policies)
  act(s)
  s:close()
end

--- How many of 20 events a channel keeps.
local function kept(policies, channel)
  local n
  with(policies, function(s)
    for i = 1, 20 do s:publish(channel, "e", "d" .. i) end
    s:drain(1)
    n = s:events(1, channel)
  end)
  return n
end

describe("policies", function()
  it("apply to the channels their pattern matches", function()
    local list = { { pattern = "a/:id", history = 3 }, { pattern = "b/**", history = 4 },
      { pattern = "c", history = 5 } }
    assert.same({ 3, 20, 20 }, { kept(list, "a/1"), kept(list, "a"), kept(list, "a/1/2") })
    assert.same({ 4, 4, 4 }, { kept(list, "b"), kept(list, "b/1"), kept(list, "b/1/2") })
    assert.same({ 5, 20 }, { kept(list, "c"), kept(list, "c/d") })
  end)

  it("give way to a longer literal start, wherever it stands", function()
    local list = { { pattern = "a/b/:x", history = 2 }, { pattern = "a/**", history = 3 },
      { pattern = "**", history = 4 } }
    for _ = 1, 3 do
      table.insert(list, table.remove(list, 1))
      assert.same({ 2, 3, 4 }, { kept(list, "a/b/c"), kept(list, "a/c"), kept(list, "x") })
    end
  end)

  it("give way to fewer wildcards, then to what was declared later", function()
    assert.equal(2, kept({ { pattern = ":x/:y", history = 3 }, { pattern = ":x/b", history = 2 } }, "a/b"))
    assert.equal(2, kept({ { pattern = ":x/b", history = 2 }, { pattern = ":x/:y", history = 3 } }, "a/b"))
    assert.equal(2, kept({ { pattern = "a/*", history = 3 }, { pattern = "a/:x", history = 2 } }, "a/b"))
  end)

  it("are merged option by option", function()
    local list = { { pattern = "**", history = 7, rewind = "all" }, { pattern = "a/:x", rewind = 2 },
      { pattern = "a/b", history = 3 } }
    with(list, function(s)
      for i = 1, 9 do s:publish("a/b", "e", "d" .. i) end
      for i = 1, 9 do s:publish("z", "e", "z" .. i) end
      s:drain(1)
      local stream = s:connect(1, { channels = { "a/b" } })
      sim.run(s)
      assert.equal("hello@7 e@8=d8 e@9=d9", sim.line(stream))
      assert.same({ 3, 7 }, { s:events(1, "a/b"), s:events(1, "z") })
      stream:close()
    end)
  end)

  it("take a limit of bytes away when a more specific history is given", function()
    local list = { { pattern = "**", history = { count = 50, bytes = 100 } }, { pattern = "a", history = 15 } }
    assert.equal(15, kept(list, "a"))
    assert.is_true(kept(list, "b") < 4)
  end)

  it("merge a ttl of false, with which events do not age, as any other", function()
    local server <close> = core.server { port = 0 }
    assert(server:configure { policies = { { pattern = "**", ttl = 5 }, { pattern = "a/**", ttl = false },
      { pattern = "a/b", ttl = 7.5 }, { pattern = "a/c", history = 3 } } })
    local function ttl(channel) return server:policy(channel).ttl end
    assert.same({ 5, false, 7.5, false }, { ttl("x"), ttl("a/x"), ttl("a/b"), ttl("a/c") })
    assert(server:configure { policies = {} })
    assert.same({ 600, 600 }, { ttl("x"), ttl("a/x") })
  end)

  it("round rates and batches up to the next class, and merge them option by option", function()
    local server <close> = core.server { port = 0 }
    assert(server:configure { policies = { { pattern = "**", history = "latest", max_rate = 3, batch = 0.06 },
      { pattern = "a/:x", max_rate = 50 }, { pattern = "a/slow", max_rate = 1 / 60 }, { pattern = "b", batch = 60 },
      { pattern = "none", max_rate = 0, batch = 0 }, { pattern = "fast", max_rate = 1000 } } })
    local function of(channel)
      local p = server:policy(channel)
      return ("%g %g"):format(p.max_rate, p.batch)
    end
    assert.same({ "2 0.1", "50 0.1", "0.0166667 0.1", "2 60", "0 0", "50 0.1" },
      { of("x"), of("a/1"), of("a/slow"), of("b"), of("none"), of("fast") })
    local classes = { 50, 20, 10, 5, 2, 1, 1 / 2, 1 / 5, 1 / 10, 1 / 30, 1 / 60 }
    for _, rate in ipairs(classes) do
      local one = { pattern = "**", history = "latest", max_rate = rate, batch = 1 / rate }
      assert(server:configure { policies = { one } })
      assert.equal(("%g %g"):format(rate, 1 / rate), of("x"))
    end
  end)

  it("tell the kind and the rate that they come to, before they hold", function()
    local list = { { pattern = "**", history = "latest", max_rate = 3 }, { pattern = "a", history = 5 },
      { pattern = "b", history = 5, rewind = "latest", key = "k", max_rate = 0 } }
    assert.same({ "state", 2, false, 0, true }, { core.merge(list, "x") })
    assert.same({ "log", 2, false, 5, true }, { core.merge(list, "a") })
    assert.same({ "keyed", 0, false, 5, true }, { core.merge(list, "b") })
    assert.same({ "log", 0, false, 100, true }, { core.merge({}, "x") })
  end)

  it("tell whether a channel is of one node, and what is kept never is", function()
    local list = { { pattern = "a/**", history = 0, shared = false }, { pattern = "a/b", shared = true },
      { pattern = "a/c", durable = true }, { pattern = "a/d", history = 5, rewind = "latest", key = "k" } }
    local function is_shared(name) return (select(5, core.merge(list, name))) end
    assert.is_false(is_shared("a/x"))
    assert.is_true(is_shared("a/b"))
    assert.is_true(is_shared("a/c"))
    assert.is_true(is_shared("a/d"))
    assert.is_true(is_shared("x"))
  end)

  it("that name no option change nothing", function()
    assert.equal(20, kept({ { pattern = "a" } }, "a"))
    assert.equal(20, kept({}, "a"))
  end)
end)
