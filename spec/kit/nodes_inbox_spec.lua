--- sluice.inbox and sluice.system over the nodes of a cluster: what is unread is the same on all of them, steps of an
--- escalation go on when nodes die, and each node's figures are there once, as long as it lives.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("inboxes over nodes", function() pending("built without hiredis") end)
  return
end

local INBOX = [[
app:channel("steps", { history = 1000 })
local function step(n)
  return { after = n, via = function(user, item)
    app:publish("steps", "step", { user = user, id = item.id, n = n })
  end }
end
local inbox = require("sluice.inbox").new(app, { durable = %s, max = 5, keep = 120,
  escalate = { high = { step(3), step(30) } } })
inbox:stream("/s")
app:guard("/**", function(req) req.user = { id = req.headers["x-user"] or "ann" } return true end)
app:post("/send/:user/:severity", function(req)
  local id, message, code = inbox:send(req.params.user, { message = "hello", severity = req.params.severity })
  if not id then return nil, message, code end
  return { id = id }
end)
app:post("/ack/:user/:id", function(req) return { n = inbox:ack(req.params.user, req.params.id) } end)
app:get("/unread/:user", function(req)
  return { n = inbox:unread(req.params.user), listed = #inbox:list(req.params.user) }
end)
app:get("/steps", function()
  local list = {}
  for i, e in ipairs(app:history("steps", { limit = 1000 })) do list[i] = e.data.n .. " " .. e.data.id end
  table.sort(list)
  return { list = sluice.json.array(list) }
end)
]]

local t

local function start(source)
  t = testing.start({ source = kit.source(source) }, { nodes = 3 })
  t:advance(12)
end

local function send(n, severity, user)
  local answer = t:node(n):post(("/send/%s/%s"):format(user or "ann", severity))
  assert.equal(200, answer.status, answer.body)
  return answer.json.id
end

local function unread(expected, nodes, user)
  for _, n in ipairs(nodes or { 1, 2, 3 }) do
    local answer = t:node(n):get("/unread/" .. (user or "ann")).json
    assert.same({ n = expected, listed = expected }, answer, "node " .. n)
  end
end

local function steps(n) return t:node(n):get("/steps").json.list end

describe("inboxes over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, durable in ipairs { "true", "false" } do
    it("have the same unread on all of them, durable = " .. durable, function()
      start(INBOX:format(durable))
      local c, ids = t:node(3):connect("/s"), {}
      for n = 1, 3 do
        ids[n] = send(n, "info")
        unread(n)
      end
      assert.equal(3, c:count("notification"))
      for n = 1, 3 do
        assert.equal(1, t:node(n % 3 + 1):post("/ack/ann/" .. ids[n]).json.n)
        assert.equal(0, t:node(n):post("/ack/ann/" .. ids[n]).json.n)
        unread(3 - n)
      end
      for n = 1, 9 do send(n % 3 + 1, "info") end
      t:advance(1)
      unread(5)
      t:advance(140)
      for n = 1, 3 do t:node(n):connect("/s") end
      t:advance(20)
      unread(0)
    end)

    for dead = 1, 3 do
      it(("escalate when node %d dies, durable = %s"):format(dead, durable), function()
        start(INBOX:format(durable))
        local alive = dead % 3 + 1
        local first, second = send(dead, "high"), send(alive, "high")
        local third = send(dead, "high")
        assert.equal(1, t:node(dead):post("/ack/ann/" .. third).json.n)
        t:advance(1)
        t:node(dead):crash()
        t:advance(15)
        local expected = { "3 " .. first, "3 " .. second }
        table.sort(expected)
        assert.same(expected, steps(alive))
        t:node(alive):post("/ack/ann/" .. first)
        t:advance(30)
        table.insert(expected, "30 " .. second)
        table.sort(expected)
        assert.same(expected, steps(alive))
        unread(1, { alive, alive % 3 + 1 })
      end)
    end
  end

  it("do every step, though the next one comes before app:at has returned", function()
    local slow = [[
local at = app.at
rawset(app, "at", function(...)
  local id, message, code = at(...)
  sluice.sleep(1)
  return id, message, code
end)
]]
    start(slow .. INBOX:format("nil"):gsub("step%(30%)", "step(3.5)"))
    local ids = {}
    for n = 1, 3 do ids[n] = send(n, "high") end
    t:advance(20)
    local wanted = {}
    for _, id in ipairs(ids) do
      wanted[#wanted + 1] = "3 " .. id
      wanted[#wanted + 1] = "3.5 " .. id
    end
    table.sort(wanted)
    assert.same(wanted, steps(1))
  end)

  it("go on over reloads of all nodes", function()
    start(INBOX:format("true"))
    local id = send(2, "high")
    for n = 1, 3 do assert(t:node(n):reload()) end
    t:advance(5)
    for n = 1, 3 do assert(t:node(n):reload()) end
    t:advance(40)
    assert.same({ "3 " .. id, "30 " .. id }, steps(3))
  end)
end)

describe("figures of nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("are there once for each node, as long as it lives", function()
    start [[
      local system = require("sluice.system").new(app)
      app:channel("nodes", { history = "latest", key = "node", ttl = false })
      app:stream("/nodes", "nodes")
      app:every(5, { per = "node", now = true }, function()
        app:publish("nodes", "system-metrics", system:sample(), { lease = true })
      end)
      app:get("/names", function()
        local list = {}
        for i, e in ipairs(app:newest("nodes")) do list[i] = e.key end
        table.sort(list)
        return { text = table.concat(list, ", ") }
      end)]]
    local function names(n) return t:node(n):get("/names").json.text end
    for n = 1, 3 do assert.equal("node 1, node 2, node 3", names(n)) end
    local c = t:node(3):connect("/nodes")
    t:node(1):crash()
    assert.same({ key = "node 1" }, c:wait_for("removed", 15).data)
    for n = 2, 3 do assert.equal("node 2, node 3", names(n)) end
    t:node(2):freeze(20)
    t:advance(30)
    assert.equal("node 2, node 3", names(3))
    t:node(1):restart()
    t:advance(6)
    assert.equal("node 1, node 2, node 3", names(2))
  end)
end)

describe("an inbox on a node that Redis has left", function()
  it("answers 503 also where nothing of it is here, and acknowledges nothing", function()
    local cut <close> = testing.start({ source = [[
      local sluice = require("sluice")
      local app = sluice.app()
      local inbox = require("sluice.inbox").new(app, { durable = false })
      app:guard("/**", function(req) req.user = { id = "bob" } return true end)
      inbox:routes("/n")
      app:post("/send", function(req) return sluice.receipt(inbox:send("bob", { message = "x" })) end)
      return app
    ]] }, { nodes = 2 })
    cut:advance(3)
    local id = cut:node(2):post("/send").json.id
    cut:partition(1)
    cut:advance(10)
    local ack = cut:post("/n/ack", { json = { ids = { id } } })
    for _, answer in ipairs { cut:post("/send"), cut:get("/n/unread"), ack } do
      assert.same({ 503, "EBUSY" }, { answer.status, answer.json.error.code })
    end
    cut:heal()
    cut:advance(10)
    assert.equal(1, cut:get("/n/unread").json.unread)
  end)
end)
