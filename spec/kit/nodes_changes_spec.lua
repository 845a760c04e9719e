--- sluice.changes over the nodes of a cluster: what waits is a node's own, and comes from there.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("changes over nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = kit.source [[
  local orders = require("sluice.changes").new(app, { debounce = 1 }):entity("order")
  app:stream("/s", { channels = { "changes/order" } })
  local late = require("sluice.changes").new(app, { name = "late", debounce = 20 }):entity("order")
  app:stream("/late", { channels = { "late/order" } })
  local wanted = app:state("wanted", {})
  app:every(1, { name = "found" }, function()
    if not wanted().now then return end
    wanted().now = nil
    late:updated("found", { a = 0 })
  end)
  app:post("/find", function() wanted().now = true return {} end)
  app:get("/leads", function() return app:stats().cluster end)
  app:post("/updated", function(req)
    local b = req:json()
    return { ok = orders:updated(b.id, { [b.field] = b.value }) }
  end)]]

local t

local function updated(n, id, field, value)
  assert.is_true(t:node(n):post("/updated", { json = { id = id, field = field, value = value } }).json.ok)
end

local function told(c)
  local list = {}
  for i, e in ipairs(c:events("dataUpdate")) do
    list[i] = ("%s a=%s b=%s"):format(e.data.id, e.data.changes.a, e.data.changes.b)
  end
  table.sort(list)
  return list
end

describe("changes over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("come from whichever node has them, once for a burst", function()
    t = testing.start({ source = SOURCE }, { nodes = 3 })
    t:advance(4)
    local c = t:node(1):connect("/s")
    for n = 1, 3 do
      updated(n, n, "a", 1)
      updated(n, n, "b", n)
    end
    t:advance(3)
    assert.same({ "1 a=1 b=1", "2 a=1 b=2", "3 a=1 b=3" }, told(c))
  end)

  it("come from a timer whose node does not lead any more", function()
    t = testing.start({ source = SOURCE }, { nodes = 2 })
    t:advance(4)
    local lead = kit.leaders(t, { 1, 2 }, "/leads")[1]
    local c = t:node(3 - lead):connect("/late")
    t:node(lead):post("/find")
    t:advance(2)
    t:partition(lead)
    t:advance(10)
    t:heal()
    t:advance(60)
    assert.same({ "found a=0 b=nil" }, told(c))
  end)

  it("come also when a reload is between, or Redis is away for a while", function()
    t = testing.start({ source = SOURCE }, { nodes = 2 })
    t:advance(4)
    local c = t:node(1):connect("/s")
    for n = 1, 2 do updated(n, n, "a", n) end
    for n = 1, 2 do t:node(n):reload() end
    t:advance(3)
    assert.same({ "1 a=1 b=nil", "2 a=2 b=nil" }, told(c))
    t:partition(2)
    t:advance(10)
    updated(2, 7, "a", 7)
    t:advance(10)
    t:heal()
    t:advance(60)
    assert.equal("7 a=7 b=nil", told(c)[3])
  end)
end)
