--- sluice.alerts over the nodes of a cluster: samples come to any node, one alert begins and ends once, and what is
--- active goes on when the node that leads dies.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("alerts over nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
local alerts = require("sluice.alerts").new(app, { channel = "device/:subject/alerts", subject = "device"%s })
alerts:rule("hot", { field = "t", above = 80, clear = 75, hold = 2, message = function(v) return "t is " .. v end })
alerts:silence("offline", { after = 20 })
alerts:stream("/s/:subject")
alerts:routes("/alerts", function() return true end)
app:post("/d/:id", function(req)
  local ok, message, code, field = alerts:check(req.params.id, req:json(), { wait = req.query.wait ~= "0" })
  if not ok then return nil, message, code, field end
  return 204
end)
app:post("/forget/:id", function(req)
  local ok, message, code = alerts:forget(req.params.id)
  if not ok then return nil, message, code end
  return 204
end)
]]

local t

local function start(given)
  t = testing.start({ source = kit.source(SOURCE:format(given or "")) }, { nodes = 3 })
  t:advance(12)
end

local function send(n, value, id) return t:node(n):post("/d/" .. (id or "d1"), { json = { t = value } }).status end

-- The alerts that a node says are active, as "hot offline".
local function active(n)
  local list = {}
  for i, a in ipairs(t:node(n):get("/alerts").json.alerts) do list[i] = a.rule .. (a.acknowledged and "!" or "") end
  table.sort(list)
  return table.concat(list, " ")
end

local function told(c)
  local list = {}
  for _, e in ipairs(c:events()) do
    if e.data.rule then list[#list + 1] = e.event .. " " .. e.data.rule end
  end
  return list
end

describe("alerts over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, given in ipairs { "", ", durable = true" } do
    it("begin and end once, whichever node the samples come to" .. given, function()
      start(given)
      local c = t:node(2):connect("/s/d1")
      for n = 1, 3 do
        assert.equal(204, send(n, 85))
        t:advance(1)
      end
      assert.same({ "alert hot" }, told(c))
      assert.equal("t is 85", c:wait_for("alert", 0).data.message)
      for n = 1, 3 do assert.equal("hot", active(n)) end
      local id = t:node(3):get("/alerts").json.alerts[1].id
      assert.equal(204, t:node(3):post("/alerts/" .. id .. "/ack", { user = "ann" }).status)
      assert.equal(404, t:node(2):post("/alerts/none/ack").status)
      for n = 1, 3 do assert.equal("hot!", active(n)) end
      assert.equal(204, send(1, 70))
      t:advance(0.2)
      for n = 1, 3 do assert.equal("", active(n)) end
      assert.same({ "alert hot", "alert-ack hot", "alert-cleared hot" }, told(c))
      t:advance(25)
      for n = 1, 3 do assert.equal("offline", active(n)) end
      assert.equal(204, t:node(2):post("/forget/d1").status)
      t:advance(0.2)
      for n = 1, 3 do assert.equal("", active(n)) end
      assert.same({ "alert offline", "alert-cleared offline" }, table.move(told(c), 4, 9, 1, {}))
      assert.same({}, t:log("error"))
    end)

    for dead = 1, 3 do
      it(("go on when node %d dies%s"):format(dead, given), function()
        start(given)
        local alive = dead % 3 + 1
        local c = t:node(alive):connect("/s/d1")
        for _ = 1, 3 do
          send(dead, 85)
          send(dead, 20, "d2")
          t:advance(1)
        end
        t:node(dead):crash()
        t:advance(10)
        assert.equal("hot", active(alive))
        assert.equal(204, send(alive, 85))
        t:advance(1)
        assert.same({ "alert hot" }, told(c)) -- it is the same one
        assert.equal(204, send(alive, 70))
        t:advance(1)
        assert.same({ "alert hot", "alert-cleared hot" }, told(c))
        t:advance(35)
        assert.equal("offline offline", active(alive)) -- also of the one that sent to the dead node alone
        assert.equal(3, #told(c))
        t:node(dead):restart()
        t:advance(2)
        assert.equal("offline offline", active(dead))
        assert.equal(204, send(dead, 20))
        t:advance(1)
        assert.equal("offline", active(alive))
      end)
    end
  end

  it("take samples while no node leads: they wait", function()
    start()
    local node = {}
    for n = 1, 3 do node[n] = t:node(n) end
    send(1, 85)
    for n = 1, 2 do node[n]:crash() end
    assert.equal(204, send(3, 85)) -- the hold begins anew, as at a start
    t:advance(3)
    assert.equal(204, send(3, 85))
    t:advance(1)
    assert.equal("hot", active(3))
  end)

  it("go on over reloads of all nodes", function()
    start()
    local c = t:node(1):connect("/s/d1")
    for _ = 1, 3 do
      send(2, 85)
      t:advance(1)
    end
    for n = 1, 3 do assert(t:node(n):reload()) end
    assert.equal(204, send(3, 85))
    t:advance(3)
    for n = 1, 3 do assert.equal("hot", active(n)) end
    send(2, 70)
    t:advance(1)
    assert.same({ "alert hot", "alert-cleared hot" }, told(c))
  end)

  it("are told by who leads alone, after it was stopped", function()
    start()
    local c = t:node(3):connect("/s/d1")
    for _ = 1, 3 do
      send(3, 85)
      t:advance(1)
    end
    for n = 1, 2 do
      t:node(n):freeze(12)
      t:advance(30)
    end
    send(3, 70)
    t:advance(25)
    assert.same({ "alert hot", "alert offline", "alert-cleared hot", "alert-cleared offline", "alert offline" },
      told(c))
  end)
end)

describe("alerts on a node that Redis has left", function()
  it("are not known there: 503", function()
    local cut <close> = testing.start({ source = [[
      local app = require("sluice").app()
      local alerts = require("sluice.alerts").new(app)
      alerts:stream("/a")
      app:get("/active", function() return alerts:active() end)
      return app
    ]] }, { nodes = 2 })
    cut:partition(1)
    cut:advance(10)
    local answer = cut:get("/active")
    assert.same({ 503, "EBUSY" }, { answer.status, answer.json.error.code })
    cut:heal()
    cut:advance(10)
    assert.equal(200, cut:get("/active").status)
  end)
end)
