--- Tasks in a cluster: asked for at any node, run on the one that leads, at least once.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("tasks of nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  app:channel("ran", { history = 10000 })
  app:stream("/s", { channels = { "ran" }, rewind = "all" })
  app:task("silence", function(data)
    app:publish("ran", "silence", { n = data.n, by = app:stats().cluster.slot, at = sluice.time() })
  end)
  app:task("slow", function(data)
    app:publish("ran", "begin", { by = app:stats().cluster.slot })
    sluice.sleep(data.seconds)
    app:publish("ran", "end", { by = app:stats().cluster.slot })
  end)
  app:post("/after", function(req)
    local b = req:json()
    local id, message, code = app:after(b.seconds, b.task or "silence", b.data, { id = b.id, durable = b.durable })
    return { id = id, code = code, message = message }
  end)
  app:post("/many", function(req)
    local b = req:json()
    for n = b.from, b.to do assert(app:after(b.seconds + n % 40, "silence", { n = n }, { id = "n" .. n })) end
    return {}
  end)
  app:post("/cancel", function(req)
    local b = req:json()
    return { was = app:cancel(b.id, { running = b.running }) }
  end)
  app:get("/leads", function() return app:stats().cluster end)]]

local t

local function start(n, source, flags)
  t = testing.start({ source = kit.source(source or SOURCE) }, { nodes = n, flags = flags })
  t:advance(4)
end

local function leader(nodes) return kit.leaders(t, nodes, "/leads")[1] end

local function other(nodes)
  local one = leader(nodes)
  for _, n in ipairs(nodes) do if n ~= one then return n end end
end

local function after(n, body) return t:node(n):post("/after", { json = body }).json end

local function events(n, name) return kit.replayed(t, n, "/s", name) end

describe("tasks of nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("run once, on the node that leads, whoever has asked, in time", function()
    start(3)
    local lead = leader { 1, 2, 3 }
    local slot = t:node(lead):get("/leads").json.slot
    for n = 1, 3 do assert.is_string(after(n, { seconds = 5, data = { n = n } }).id) end
    t:advance(4.5)
    assert.equal(0, #events(1, "silence"))
    t:advance(1)
    local ran = events(1, "silence")
    assert.equal(3, #ran)
    for _, e in ipairs(ran) do assert.equal(slot, e.by) end
    t:advance(200)
    assert.equal(3, #events(2, "silence"))
  end)

  it("are replaced and cancelled by their id, at any node", function()
    start(3)
    after(1, { seconds = 5, id = "x", data = { n = 1 } })
    after(2, { seconds = 20, id = "x", data = { n = 2 } })
    after(3, { seconds = 5, id = "y", data = { n = 3 } })
    assert.is_true(t:node(1):post("/cancel", { json = { id = "y" } }).json.was)
    assert.is_false(t:node(2):post("/cancel", { json = { id = "y" } }).json.was)
    t:advance(10)
    assert.equal(0, #events(1, "silence"))
    t:advance(12)
    local ran = events(1, "silence")
    assert.equal(1, #ran)
    assert.equal(2, ran[1].n)
  end)

  it("close a run elsewhere, where that is asked for", function()
    start(2)
    local far = other { 1, 2 }
    after(far, { seconds = 1, task = "slow", id = "s", data = { seconds = 30 } })
    t:advance(3)
    assert.equal(1, #events(1, "begin"))
    assert.is_true(t:node(far):post("/cancel", { json = { id = "s", running = true } }).json.was)
    t:advance(120)
    assert.equal(0, #events(1, "end"))
    assert.equal(1, #events(1, "begin"))
  end)

  it("run again when the node that leads dies in the middle, and not when they have ended", function()
    start(3)
    after(1, { seconds = 1, task = "slow", id = "s", data = { seconds = 3 } })
    t:advance(2)
    local lead = leader { 1, 2, 3 }
    assert.equal(1, #events(1, "begin"))
    t:node(lead):crash()
    t:advance(12)
    local alive = lead % 3 + 1
    assert.equal(2, #events(alive, "begin"))
    local ends = events(alive, "end")
    assert.equal(1, #ends)
    t:node(lead):restart()
    t:node(leader({ alive, alive % 3 + 1 }) or alive):crash()
    t:advance(120)
    assert.equal(1, #events(lead, "end"))
  end)

  it("outlive all nodes", function()
    start(2)
    after(1, { seconds = 60, data = { n = 7 } })
    t:node(1):stop()
    t:node(2):crash()
    t:node(1):restart()
    t:node(2):restart()
    t:advance(70)
    assert.equal(1, #events(1, "silence"))
  end)

  it("are kept as --cluster-durable says where they are durable", function()
    start(2, nil, { cluster_durable = "aof" })
    assert.equal("d", after(1, { seconds = 10, id = "d", durable = true, data = { n = 1 } }).id)
    t:redis { fsync = "everysec" }
    t:advance(2)
    assert.equal("ESTORE", after(2, { seconds = 3, id = "e", durable = true }).code)
    assert.equal("ESTORE", after(2, { seconds = 3, id = "d" }).code) -- it would be there no more
    assert.is_nil(t:post("/cancel", { json = { id = "d" } }).json.was)
    assert.equal("p", after(2, { seconds = 3, id = "p", data = { n = 2 } }).id)
    t:advance(5)
    local ran = events(1, "silence")
    assert.same({ 1, 2 }, { #ran, ran[1].n })
    t:redis { fsync = "always" }
    t:advance(2)
    assert.is_true(t:post("/cancel", { json = { id = "d" } }).json.was)
    t:advance(60)
    assert.equal(1, #events(2, "silence"))
  end)

  it("that are durable end when Redis keeps that, too", function()
    start(2, nil, { cluster_durable = "aof" })
    after(1, { seconds = 5, durable = true, data = { n = 1 } })
    t:redis { fsync = "everysec" }
    t:advance(10)
    assert.equal(1, #events(1, "silence"))
    t:redis { fsync = "always" }
    t:advance(5)
    local lead = leader { 1, 2 }
    t:node(lead):crash()
    t:advance(120)
    assert.equal(1, #events(lead % 2 + 1, "silence"))
  end)

  it("run each of a thousand at least once while leaders die", function()
    start(3)
    for n = 1, 3 do
      t:node(n):post("/many", { json = { from = (n - 1) * 334 + 1, to = math.min(n * 334, 1000), seconds = 5 } })
    end
    local down
    for round = 1, 8 do
      local up = {}
      for n = 1, 3 do if n ~= down then up[#up + 1] = n end end
      local one = leader(up)
      if down then t:node(down):restart() end
      down = nil
      if one and round % 2 == 0 then t:node(one):freeze(6) end
      if one and round % 2 == 1 then
        t:node(one):crash()
        down = one
      end
      t:advance(7)
    end
    if down then t:node(down):restart() end
    t:advance(20)
    local count, all = {}, 0
    for _, e in ipairs(events(1, "silence")) do
      if not count[e.n] then all = all + 1 end
      count[e.n] = (count[e.n] or 0) + 1
    end
    assert.equal(1000, all)
  end)
end)
