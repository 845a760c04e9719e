--- Nodes of a cluster with their links and a real redis-server: what one publishes all release, in one order; what
--- is loaded is whole; a server that fails is survived as the worlds of machine_spec.lua have it (real.lua).
local deadline = require("spec.support.deadline")
local judge = require("spec.cluster.judge")
local node = require("sluice.core.testing_node")
local planted = require("spec.support.planted")
local real = require("spec.cluster.real")
local redis = require("spec.support.redis")

if not redis.installed() then
  describe("a node of a cluster", function() pending(redis.NAME) end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")
local server, nodes

local function start(config, history)
  server = redis.start { config = config }
  nodes = {}
  for i = 1, 3 do
    local one = { got = {}, fills = {}, answers = {}, epochs = {} }
    one.node = assert(node.open { path = server.path, name = "test", seed = i, history = history or 100 })
    nodes[i] = one
  end
end

local takes = {
  release = function(one, action) table.insert(one.got, action.channel .. " " .. action.seq .. " " .. action.data) end,
  fill = function(one, action) one.fills[action.channel] = action end,
  answer = function(one, action) one.answers[action.data] = action end,
  epoch = function(one, action) table.insert(one.epochs, action.base) end,
  tell = function() end,
}

--- Turns of all nodes, or of some, until something is so.
local function until_so(so, what, some)
  deadline.eventually(function()
    for _, one in ipairs(some or nodes) do
      for _, action in ipairs(one.node:step(2)) do takes[action.what](one, action) end
    end
    return so()
  end, 10, what)
end

local function all(test)
  return function()
    for _, one in ipairs(nodes) do if not test(one) then return false end end
    return true
  end
end

local function are_live() until_so(all(function(one) return one.node:look() == "live" end), "all are live") end

local function warm(...)
  for _, channel in ipairs { ... } do
    for _, one in ipairs(nodes) do one.node:warm(channel) end
    until_so(all(function(one) return one.fills[channel] end), channel .. " is loaded")
  end
end

local function datas(entries)
  local out = {}
  for i, entry in ipairs(entries) do out[i] = entry.data end
  table.sort(out)
  return table.concat(out, " ")
end

describe("a node of a cluster", function()
  after_each(function()
    for _, one in ipairs(nodes or {}) do one.node:close() end
    if server then server:stop() end
    server, nodes = nil, nil
  end)

  it("releases what all publish, in the order of all", function()
    start()
    are_live()
    warm("a", "b")
    for i = 1, 20 do nodes[i % 3 + 1].node:publish(i % 2 == 0 and "a" or "b", "n" .. i) end
    until_so(all(function(one) return #one.got == 20 end), "all is released")
    assert.same(nodes[1].got, nodes[2].got)
    assert.same(nodes[1].got, nodes[3].got)
    for i = 1, 20 do
      local answer = nodes[i % 3 + 1].answers["n" .. i]
      assert.is_nil(answer.code)
      assert.truthy(table.concat(nodes[1].got, "\n"):find((" %d n%d%%f[%%D]"):format(answer.seq, i)))
    end
  end)

  it("loads what was there before, of logs, keyed logs and states", function()
    start(nil, 3)
    are_live()
    for i = 1, 5 do nodes[1].node:publish("log", "l" .. i) end
    for i = 1, 5 do nodes[1].node:publish("keyed", "k" .. i, "key" .. i % 2) end
    for i = 1, 5 do nodes[1].node:publish("state", "s" .. i, "key" .. i % 2) end
    until_so(function() return nodes[1].answers.s5 end, "all is answered")
    warm("log", "keyed", "state")
    local fills = nodes[2].fills
    assert.equal("l3 l4 l5", datas(fills.log.entries))
    assert.equal(2, fills.log.floor)
    assert.same({ "k3 k4 k5", "k4 k5" }, { datas(fills.keyed.entries), datas(fills.keyed.values) })
    assert.same({ "", "s4 s5" }, { datas(fills.state.entries), datas(fills.state.values) })
  end)

  it("loads what needs more than one answer", function()
    start(nil, 4000)
    are_live()
    local n = 0
    for _ = 1, 8 do
      for _ = 1, 200 do
        n = n + 1
        nodes[1].node:publish("log", ("%05d"):format(n) .. ("x"):rep(4000))
      end
      local last = ("%05d"):format(n) .. ("x"):rep(4000)
      until_so(function() return nodes[1].answers[last] end, "all is answered")
    end
    warm("log")
    local entries = nodes[3].fills.log.entries
    assert.equal(n, #entries)
    for i, entry in ipairs(entries) do assert.equal(i, tonumber(entry.data:sub(1, 5))) end
    assert.equal(0, nodes[3].fills.log.floor)
  end)

  it("stores what has an idempotency key once", function()
    start()
    are_live()
    nodes[1].node:publish("log", "first", nil, "key")
    until_so(function() return nodes[1].answers.first end, "the first is answered")
    nodes[2].node:publish("log", "second", nil, "key")
    until_so(function() return nodes[2].answers.second end, "the second is answered")
    assert.same({ nodes[1].answers.first.seq, true }, { nodes[2].answers.second.seq, nodes[2].answers.second.repeats })
  end)

  it("loads its channels again when the feed has gone past it", function()
    start()
    are_live()
    server:call("HSET", "sluice:{test}:m", "feedmax", "100")
    warm("a", "b")
    local awake = { nodes[1], nodes[2] }
    nodes[1].node:publish("a", "before")
    for i = 1, 600 do nodes[2].node:publish("other", "o" .. i) end
    until_so(function() return nodes[2].answers.o600 end, "the feed has gone on", awake)
    nodes[1].node:publish("a", "after")
    until_so(function() return nodes[1].answers.after end, "it is stored", awake)
    nodes[3].fills = {}
    until_so(function() return nodes[3].fills.a and nodes[3].fills.b end, "it is loaded again")
    assert.equal(1, nodes[3].node:counts().holes)
    assert.equal("after before", datas(nodes[3].fills.a.entries))
    assert.is_false(nodes[3].fills.a.lost)
  end)

  it("goes on in the same epoch when a server that writes at once was restarted", function()
    start { appendonly = "yes", appendfsync = "always" }
    are_live()
    warm("a")
    server:kill()
    server:again()
    are_live()
    nodes[1].node:publish("a", "one")
    until_so(all(function(one) return #one.got == 1 end), "it is released")
    assert.equal(1, #nodes[2].epochs)
  end)

  it("begins another epoch when numbers may be lost, and says up to where none is", function()
    start { appendonly = "yes", appendfsync = "everysec" }
    are_live()
    warm("a")
    for i = 1, 3 do nodes[1].node:publish("a", "n" .. i) end
    until_so(all(function(one) return #one.got == 3 end), "all is released")
    server:kill()
    server:again()
    until_so(all(function(one) return one.epochs[2] end), "another epoch")
    assert.equal(3, nodes[3].epochs[2])
  end)
end)

describe("nodes of a cluster whose server fails", function()
  local function hold(first, last, turns, calm)
    for seed = first, last do
      local world = real.new { seed = seed, calm = calm }
      world:run(turns)
      assert.same({}, judge.world(world), "SEED=" .. seed)
    end
  end

  it("lose nothing without a word, repeat nothing, store nothing twice", function()
    local seed = tonumber(os.getenv("SEED"))
    local first = seed or FULL and os.time() or 2
    hold(first, first + (FULL and not seed and 40 or 0), FULL and 800 or 300)
  end)

  if not FULL then return end

  it("tell of no loss while it does not", function() hold(1, 10, 800, true) end)

  it("are found out when no rule holds", function()
    planted.build("core", "core/testing_node")
    local program = [[
      local world = require("spec.cluster.real").new { seed = 1 }
      world:run(800)
      os.exit(next(require("spec.cluster.judge").world(world)) and 3 or 0, true)]]
    local code = planted.run_bug(600, "-e", program)
    assert.is_true(code ~= 0, "nothing was found")
  end)
end)
