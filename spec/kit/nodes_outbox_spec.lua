--- sluice.outbox over the nodes of a cluster: what any node adds is delivered once, and goes on when the node that
--- delivers dies.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("outboxes over nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
local outbox = require("sluice.outbox").new(app, { durable = %s, retries = 3, backoff = 2 })
outbox:routes("/outbox", function() return true end)
app:post("/add/:id", function(req)
  local id, message, code = outbox:webhook { id = req.params.id, url = "http://hooks.example/x", json = { a = 1 } }
  if not id then return nil, message, code end
  return { id = id, was_there = message }
end)
]]

local t, got, status, fences

local function start(durable)
  got, status, fences = {}, 204, {}
  t = testing.start({ source = kit.source(SOURCE:format(durable)) }, { nodes = 3 })
  t:http("http://hooks.example/x", function(req)
    got[#got + 1] = req.headers["webhook-id"]
    fences[#fences + 1] = req.headers["sluice-fence"] or "none"
    return { status = status }
  end)
  t:advance(12)
end

local function add(n, id) return t:node(n):post("/add/" .. id).json end

describe("outboxes over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, durable in ipairs { "true", "false" } do
    it("deliver once what any node adds, durable = " .. durable, function()
      start(durable)
      for n = 1, 3 do assert.same({ id = "l" .. n, was_there = false }, add(n, "l" .. n)) end
      t:advance(5)
      table.sort(got)
      assert.same({ "l1", "l2", "l3" }, got)
      for n = 1, 3 do assert.equal(3, t:node(n):get("/outbox").json.delivered) end
      status = 500
      add(2, "bad")
      t:advance(60)
      for n = 1, 3 do assert.equal("bad", t:node(n):get("/outbox/dead").json.letters[1].id) end
      status, got = 204, {}
      assert.equal(202, t:node(3):post("/outbox/dead/bad/replay").status)
      t:advance(5)
      assert.same({ "bad" }, got)
      for n = 1, 3 do assert.equal(0, t:node(n):get("/outbox/dead").json.total) end
    end)

    it("say with each attempt whose lead it is of, durable = " .. durable, function()
      start(durable)
      status = 503
      for n = 1, 3 do add(n, "l" .. n) end
      t:advance(60)
      assert.equal(12, #fences)
      for _, fence in ipairs(fences) do assert.same({ fences[1], "integer" }, { fence, math.type(tonumber(fence)) }) end
    end)

    for dead = 1, 3 do
      it(("go on when node %d dies, durable = %s"):format(dead, durable), function()
        start(durable)
        local alive = dead % 3 + 1
        status = 503
        add(dead, "a")
        add(alive, "b")
        t:advance(1)
        t:node(dead):crash()
        status, got = 204, {}
        t:advance(60)
        table.sort(got)
        assert.same({ "a", "b" }, got)
        assert.equal(0, t:node(alive):get("/outbox").json.pending)
      end)
    end
  end
end)
