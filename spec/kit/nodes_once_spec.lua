--- What runs once in a cluster: timers and services on the node that leads, whatever happens to it.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("what runs once", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  app:channel("log", { history = 10000 })
  app:channel("hot", { history = "latest" })
  app:stream("/s", { channels = { "log" }, rewind = "all" })
  app:stream("/hot", "hot")
  local lives = app:state("lives", { service = 0, each = 0, ends = 0, answer = false, turns = {} })
  local function slot() return app:stats().cluster.slot end
  app:every(1, function() app:publish("log", "tick", { at = sluice.time(), by = slot() }) end)
  app:every(1, { name = "each", per = "node" }, function() lives().each = lives().each + 1 end)
  app:every(1, { name = "hot", while_subscribed = "hot" }, function() app:publish("hot", "v", { by = slot() }) end)
  app:service("one", function()
    lives().service = lives().service + 1
    local guard <close> = setmetatable({}, { __close = function() lives().ends = lives().ends + 1 end })
    while true do sluice.sleep(0.5) app:publish("log", "serve", { at = sluice.time(), by = slot() }) end
  end)
  app:service("own", { per = "node" }, function() while true do sluice.sleep(10) end end)
  app:on("cluster", function(e) table.insert(lives().turns, e.leader) end)
  app:get("/look", function()
    local c = app:stats().cluster
    return { leads = c.leads, leader = c.leader, slot = c.slot, lives = lives() }
  end)]]

local t

local function start(n) t = testing.start({ source = kit.source(SOURCE) }, { nodes = n }) end

local function look(n) return t:node(n):get("/look").json end

local function leaders(nodes) return kit.leaders(t, nodes, "/look") end

local function leaders_of(path, is_one)
  local list = {}
  for n = 1, 2 do if is_one(t:node(n):get(path).json) then list[#list + 1] = n end end
  return list
end

local function events(n, name) return kit.replayed(t, n, "/s", name) end

-- Never two of different nodes within 0.9 s, no gap above `most` seconds; how many nodes there were.
local function judge(list, most, apart)
  local nodes, last = {}, nil
  for _, e in ipairs(list) do
    nodes[e.by] = true
    if last then
      local since = e.at - last.at
      local least = e.by == last.by and apart or 0.9
      assert.is_true(since >= least, ("%s and %s are %.3f s apart"):format(last.by, e.by, since))
      assert.is_true(since <= most, ("nobody for %.3f s"):format(since))
    end
    last = e
  end
  local n = 0
  for _ in pairs(nodes) do n = n + 1 end
  return n
end

describe("what runs once in a cluster", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("runs on the node that leads, the rest on each", function()
    start(3)
    t:advance(10)
    local found = leaders { 1, 2, 3 }
    assert.equal(1, #found)
    local services = 0
    for n = 1, 3 do
      local one = look(n)
      services = services + one.lives.service
      assert.is_true(one.lives.each >= 9, "each node has its own")
      assert.equal(look(found[1]).slot, one.leader)
      assert.equal(n == found[1], one.lives.turns[#one.lives.turns])
    end
    assert.equal(1, services)
    local ticks = events(1, "tick")
    assert.is_true(#ticks >= 8 and #ticks <= 11, #ticks .. " ticks")
    assert.equal(1, judge(ticks, 1.5, 0.9))
    for _, e in ipairs(ticks) do -- by the clock that all have
      local off = (e.at + 0.5) % 1 - 0.5
      assert.is_true(math.abs(off) < 0.05, e.at)
    end
  end)

  it("goes on at another node whatever happens to that one, and never at two", function()
    start(3)
    t:advance(5)
    local down
    for round = 1, 9 do
      local up = {}
      for n = 1, 3 do if n ~= down then up[#up + 1] = n end end
      local leader = leaders(up)[1]
      assert.is_not_nil(leader)
      if down then t:node(down):restart() end
      down = nil
      if round % 3 == 1 then
        t:node(leader):crash()
        down = leader
      elseif round % 3 == 2 then
        t:node(leader):freeze(6.5)
      else
        t:node(leader):stop()
        down = leader
      end
      t:advance(7)
    end
    if down then t:node(down):restart() end
    t:advance(2)
    assert.is_true(judge(events(1, "tick"), 7, 0.9) >= 4)
    assert.is_true(judge(events(1, "serve"), 7, 0.4) >= 4)
  end)

  it("ends at a node that is cut off, before another one begins", function()
    start(2)
    t:advance(5)
    local leader = leaders({ 1, 2 })[1]
    t:partition(leader)
    t:advance(4.5)
    assert.equal(0, look(leader).leads)
    assert.equal(1, look(leader).lives.ends)
    t:advance(3)
    assert.equal(1, look(3 - leader).leads)
    t:heal()
    t:advance(8)
    assert.equal(0, look(leader).leads)
    assert.is_true(judge(events(1, "tick"), 7, 0.9) == 2)
  end)

  it("measures while anybody follows, on any node", function()
    start(2)
    t:advance(5)
    local leader = leaders({ 1, 2 })[1]
    local c = t:node(3 - leader):connect("/hot")
    t:advance(4)
    assert.is_true(#c:events("v") >= 3)
    assert.equal(look(leader).slot, c:events("v")[1].data.by)
    c:close()
    t:advance(3)
    local d = t:node(leader):connect("/hot")
    t:advance(2)
    assert.is_true(#d:events("v") >= 1)
    d:close()
  end)
end)

describe("who leads no more", function()
  it("publishes nothing, and is told why; requests say which lead they are of", function()
    t = testing.start({ source = kit.source([[
      app:channel("log", { history = 10 })
      local seen = app:state("seen", { code = false, message = false, fences = {} })
      app:every(1, function()
        local r = require("sluice.http").get("http://example.test/")
        table.insert(seen().fences, r and r.body or "none")
      end)
      app:service("often", function()
        while true do
          sluice.sleep(0.1)
          local id, message, code = app:publish("log", "tick", {})
          if not id then seen().code, seen().message = code, message end
        end
      end)
      app:get("/fence", function()
        local r = require("sluice.http").get("http://example.test/")
        return { fence = r.body }
      end)
      app:get("/seen", function() return seen() end)]]) }, { nodes = 2 })
    for n = 1, 2 do
      t:node(n):http("http://example.test/", function(req)
        return { status = 200, body = req.headers["sluice-fence"] or "none" }
      end)
    end
    t:advance(5)
    local found = leaders_of("/seen", function(one) return #one.fences > 0 end)
    assert.equal(1, #found)
    local fence = t:node(found[1]):get("/seen").json.fences[1]
    assert.matches("^%d+$", fence)
    assert.equal("none", t:node(found[1]):get("/fence").json.fence)
    local redis = t.place.cluster.network.redis
    redis:call("HSET", "sluice:{test}:m", "lead", "another") -- as if it had been taken a moment ago
    t:advance(1)
    local one = t:node(found[1]):get("/seen").json
    assert.equal("EBUSY", one.code)
    assert.matches("does not lead the cluster any more", one.message)
    t:stop()
    t = nil
  end)
end)

describe("per", function()
  it("is one of two words", function()
    for _, line in ipairs { 'app:every(1, { per = "x" }, print)', 'app:service("s", { per = 1 }, print)' } do
      local ok, problem = pcall(testing.start, { source = kit.source(line) })
      assert.is_false(ok)
      assert.matches("per", type(problem) == "table" and problem.message or problem)
    end
  end)

  it("means nothing on one server", function()
    local one = testing.start({ source = kit.source([[
      local n = app:state("n", { a = 0, b = 0, s = 0 })
      app:every(1, { name = "a", per = "node" }, function() n().a = n().a + 1 end)
      app:every(1, { name = "b", per = "cluster" }, function() n().b = n().b + 1 end)
      app:service("s", { per = "node" }, function() n().s = n().s + 1 sluice.sleep(100) end)
      app:get("/n", function() return n() end)]]) })
    one:advance(3.5)
    assert.same({ a = 3, b = 3, s = 1 }, one:get("/n").json)
    one:stop()
  end)
end)
