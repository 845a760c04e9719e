--- Histories of a cluster that are longer than what a node holds, in virtual time: newcomers and who comes back get
--- them on any node, and after Redis was away.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("long histories of nodes", function() pending("built without hiredis") end)
  return
end

local EVENTS = 1500 -- above what a node holds

local SOURCE = [[
  app:channel("log", { history = 2000, rewind = "all", durable = true })
  app:stream("/s", { channels = { "log" } })
  app:post("/fill", function(req)
    for n = req:json().first, req:json().last do app:publish("log", "e", { n = n }, { wait = false }) end
    return {}
  end)]]

local t

describe("long histories of nodes", function()
  before_each(function() t = testing.start({ source = kit.source(SOURCE) }, { nodes = 3 }) end)
  after_each(function() t:stop() end)

  local function fill(node, first, last)
    for from = first, last, 500 do
      t:node(node):post("/fill", { json = { first = from, last = math.min(from + 499, last) } })
      t:advance(1)
    end
  end

  --- It has exactly these.
  local function has(c, first, last)
    c:wait_for("e", 10, { n = last })
    local list = c:events("e")
    assert.equal(last - first + 1, #list)
    for i, e in ipairs(list) do assert.equal(first + i - 1, e.data.n) end
    assert.equal(0, c:count("reset"))
  end

  it("are whole on each node, for newcomers and for who comes back", function()
    local early = t:connect("/s")
    fill(1, 1, 3)
    early:wait_for("e", 5, { n = 3 })
    early:drop()
    fill(1, 4, EVENTS)
    for node = 1, 3 do has(t:node(node):connect("/s"), 1, EVENTS) end
    local back = early:hop(3)
    assert.is_true(back.hello.resumed)
    has(back, 4, EVENTS)
    fill(2, EVENTS + 1, EVENTS + 10)
    has(back, 4, EVENTS + 10)
  end)

  it("wait for Redis where it is away, and are whole then", function()
    fill(1, 1, EVENTS)
    local first = t:node(2):connect("/s")
    has(first, 1, EVENTS)
    t:partition(2)
    t:advance(30)
    t:heal()
    has(t:node(2):connect("/s"), 1, EVENTS)
  end)

  it("tell once who comes back to what is trimmed", function()
    local early = t:connect("/s")
    fill(1, 1, 3)
    early:wait_for("e", 5, { n = 3 })
    early:drop()
    fill(2, 4, 2500)
    local back = early:hop(3)
    back:wait_for("e", 10, { n = 2500 })
    assert.is_false(back.hello.resumed)
    assert.same({ 1, 2000, 501 }, { back:count("reset"), #back:events("e"), back:events("e")[1].data.n })
  end)
end)
