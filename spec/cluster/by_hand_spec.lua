--- Nodes of a cluster on the test kit's simulated Redis (lua/sluice/testing/network.lua), on a clock that stands:
--- the same link, scripts and machine as with a real one, without a socket.
local network = require("sluice.testing.network")
local node = require("sluice.core.testing_node")
local redis = require("spec.support.redis")

if not redis.installed() then
  describe("a node by hand", function() pending(redis.NAME) end)
  return
end

local world, net, nodes

local function hold() node.hold(world.us / 1e6) end

local function new_world(seed)
  world = { us = 1e9 // 1 | 0, seed = seed }
  function world:now() return self.us / 1e6 end
  function world:time() return 1e9 + self.us / 1e6 end
  hold()
  net, nodes = network.new(world), {}
end

local function start(i)
  local one = nodes[i] or { sleeps = false }
  function one.is_asleep() return one.sleeps end
  function one.enter() end
  one.got, one.answers, one.epochs, one.fills = {}, {}, {}, {}
  one.server = assert(node.open { by_hand = true, path = "redis", name = "test", seed = world.seed * 100 + i,
    history = 100 })
  nodes[i] = one
end

local takes = {
  release = function(one, a)
    table.insert(one.got, a.mark and a.channel .. " mark" or a.channel .. " " .. a.data)
  end,
  fill = function(one, a) one.fills[a.channel] = a end,
  answer = function(one, a) one.answers[a.data] = a end,
  epoch = function(one, a) table.insert(one.epochs, a.base) end,
  tell = function() end,
}

local function settle()
  repeat
    for _, one in ipairs(nodes) do
      for _, action in ipairs(one.server and not one.sleeps and one.server:turn() or {}) do
        takes[action.what](one, action)
      end
    end
  until not net:carry(nodes)
end

local function next_due(till)
  local at = math.min(till, net:next_due())
  for _, one in ipairs(nodes) do
    if one.server and not one.sleeps then at = math.min(at, one.server:next_ms() / 1000) end
  end
  return at
end

local function advance(seconds)
  local till = world:now() + seconds
  settle()
  while world:now() < till do
    world.us = math.max(math.ceil(next_due(till) * 1e6 - 1e-3), world.us + 1)
    hold()
    settle()
  end
end

local function begin(n, seed)
  new_world(seed or 1)
  for i = 1, n do start(i) end
  advance(1)
  for _, one in ipairs(nodes) do one.server:warm("a") end
  advance(1)
end

local function publish(i, data)
  nodes[i].server:publish("a", data)
  settle()
end

describe("nodes on a simulated Redis", function()
  after_each(function()
    for _, one in ipairs(nodes) do
      if one.server then one.server:close() end
    end
    node.hold()
  end)

  it("have what each publishes, in one order, at the same moment", function()
    begin(3)
    for n = 1, 30 do publish(n % 3 + 1, tostring(n)) end
    for _, one in ipairs(nodes) do
      assert.equal("live", one.server:look())
      assert.equal(30, #one.got)
      assert.same(nodes[1].got, one.got)
    end
  end)

  it("take as long as it takes", function()
    begin(2)
    net.latency = 0.5
    nodes[1].server:publish("a", "slow")
    advance(0.4)
    assert.is_nil(nodes[1].answers.slow)
    advance(2)
    assert.truthy(nodes[1].answers.slow)
    assert.same({ "a slow" }, nodes[2].got)
  end)

  it("say what a restart has lost, and number what comes behind it anew", function()
    begin(2)
    for n = 1, 5 do publish(1, tostring(n)) end
    local epoch = select(2, nodes[1].server:look())
    net:restart(2, 0.2)
    advance(3)
    for _, one in ipairs(nodes) do
      assert.equal("live", one.server:look())
      assert.not_equal(epoch, select(2, one.server:look()))
      assert.equal(2, #one.epochs)
      one.got = {}
    end
    publish(2, "behind")
    assert.same({ "a behind" }, nodes[1].got)
  end)

  it("are silent while they are cut off, and whole afterwards", function()
    begin(2)
    net:part { nodes[2] }
    publish(1, "1")
    advance(10)
    assert.equal("away", nodes[2].server:look())
    assert.same({}, nodes[2].got)
    publish(1, "2")
    net:heal()
    advance(5)
    assert.same({ "a 1", "a 2" }, nodes[2].got)
    assert.equal(1, #nodes[2].epochs)
  end)

  it("store once what was said to a server that did not answer", function()
    begin(2)
    net:pause(true)
    nodes[1].server:publish("a", "once")
    advance(4) -- it has given up on that connection, and the commands lie there
    net:pause(false)
    advance(5)
    assert.is_nil(nodes[1].answers.once.code)
    assert.same({ "a once" }, nodes[2].got)
  end)

  it("go on when their process was stopped", function()
    begin(2)
    nodes[2].sleeps = true
    publish(1, "1")
    advance(30)
    nodes[2].sleeps = false
    advance(5)
    assert.same({ "a 1" }, nodes[2].got)
  end)

  it("are others with another seed only", function()
    local runs = {}
    for i, seed in ipairs { 3, 3, 4 } do
      node.seed(seed)
      begin(3, seed)
      for n = 1, 9 do publish(n % 3 + 1, tostring(n)) end
      net:restart(2, 1)
      advance(7)
      runs[i] = select(2, nodes[1].server:look()) .. table.concat(nodes[1].got, " ") .. net.redis.run
      for _, one in ipairs(nodes) do one.server:close() end
      nodes = {}
    end
    node.seed(0)
    assert.equal(runs[1], runs[2])
    assert.not_equal(runs[1], runs[3])
  end)
end)
