--- sluice.rooms over the nodes of a cluster: one member whatever its tabs, told once of each join and leave, also when
--- the node that leads dies; nobody stays behind on a node that died, was stopped or cut off.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("rooms over nodes", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId"%s })
rooms:stream("/room/:id")
app:post("/docs/:id/send/:event", function(req)
  return sluice.receipt(rooms:send(req.params.id, req.user, req.params.event, req:json()))
end)
app:post("/docs/:id/kick/:user", function(req)
  local ok, message, code = rooms:kick(req.params.id, req.params.user)
  if ok then return 204 end
  return nil, message, code
end)
app:get("/docs/:id", function(req)
  local id, list = req.params.id, {}
  for i, m in ipairs(rooms:members(id)) do list[i] = m.userId end
  table.sort(list)
  return { count = rooms:count(id), members = table.concat(list, " "), rooms = rooms:list() }
end)
]]

local t

local function start(given)
  t = testing.start({ source = kit.source(SOURCE:format(given and ", " .. given or "")) }, { nodes = 3 })
  t:advance(12)
end

local function enter(n, user, id) return t:node(n):connect("/room/" .. (id or "tea"), { user = user }) end

-- What a page was told of others, as "+alice 1", "-bob 1 gone".
local function told(c)
  local out = {}
  for _, e in ipairs(c:events()) do
    local sign = e.event == "user-joined" and "+" or e.event == "user-left" and "-"
    if sign then
      out[#out + 1] = ("%s%s %d%s"):format(sign, e.data.userId, e.data.activeUsers,
        e.data.reason and " " .. e.data.reason or "")
    end
  end
  return out
end

local function members(n, id)
  local answer = t:node(n):get("/docs/" .. (id or "tea")).json
  return ("%d %s"):format(answer.count, answer.members)
end

-- All nodes that are up say the same, and so does a new page.
local function all_say(expected, nodes)
  for _, n in ipairs(nodes or { 1, 2, 3 }) do assert.equal(expected, members(n), "node " .. n) end
end

describe("rooms over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("tell who joins and leaves, wherever they are, and all nodes know it", function()
    start()
    local alice, bob = enter(1, { id = "alice", name = "Alice" }), enter(2, "bob")
    t:advance(0.2)
    assert.same({ documentId = "tea", id = "alice", userId = "alice", userName = "Alice", activeUsers = 1 },
      alice:wait_for("user-joined", 0).data)
    for _, c in ipairs { alice, bob } do assert.same({ "+alice 1", "+bob 2" }, told(c)) end
    all_say("2 alice bob")
    bob:drop()
    alice:expect_none("user-left", 4.9)
    assert.same({ documentId = "tea", id = "bob", userId = "bob", activeUsers = 1, reason = "gone" },
      alice:wait_for("user-left", 1.5).data)
    all_say("1 alice")
    assert.same({ "+alice 1", "+carol 2" }, told((function()
      local carol = enter(3, "carol")
      t:advance(0.2)
      return carol
    end)()))
    alice:drop()
    t:advance(10)
    all_say("1 carol")
    assert.same({}, t:log("error"))
  end)

  it("count tabs on several nodes once, until the last one closes", function()
    start()
    local alice, one = enter(1, "alice"), enter(2, "bob")
    t:advance(0.2)
    local two = enter(3, "bob")
    t:advance(0.2)
    assert.same({ documentId = "tea", activeUsers = 2 }, two:wait_for("presence-count", 0).data)
    one:drop()
    alice:expect_none("user-left", 30)
    all_say("2 alice bob")
    two = two:hop(2) -- a reload of the page finds another node
    alice:expect_none("user-left", 30)
    two:drop()
    alice:wait_for("user-left", 6.5)
    assert.same({ "+alice 1", "+bob 2", "-bob 1 gone" }, told(alice))
    all_say("1 alice")
  end)

  it("let members show each other what they do, from any node, also while a page comes back", function()
    start()
    local alice, bob = enter(1, "alice"), enter(2, "bob")
    t:advance(0.2)
    local function send(n, user)
      return t:node(n):post("/docs/tea/send/cursor-move", { user = user, json = { line = n } })
    end
    assert.equal(202, send(3, "bob").status)
    assert.same({ documentId = "tea", id = "bob", userId = "bob", line = 3 }, alice:wait_for("cursor-move", 1).data)
    assert.equal("EDENIED", send(2, "eve").json.error.code)
    bob:drop()
    t:advance(2)
    assert.equal(202, send(1, "bob").status)
    t:advance(5)
    assert.equal("EDENIED", send(1, "bob").json.error.code)
    assert.equal(1, alice:count("removed")) -- its cursor
  end)

  for dead = 1, 3 do
    it("lose the members of a node that dies, each told once, whoever led: node " .. dead, function()
      start()
      local alive, other = dead % 3 + 1, (dead + 1) % 3 + 1
      local alice = enter(alive, "alice")
      for _, user in ipairs { "bob", "carol" } do enter(dead, user) end
      enter(other, "carol")
      t:advance(0.3)
      t:node(dead):crash()
      alice:wait_for("user-left", 15)
      t:advance(15)
      local list = told(alice)
      assert.same({ 4, "-bob 2 gone" }, { #list, list[4] })
      all_say("2 alice carol", { alive, other })
      t:node(dead):restart()
      t:advance(2)
      enter(dead, "dave")
      t:advance(2)
      assert.equal("+dave 3", told(alice)[5])
      all_say("3 alice carol dave")
      for n = 1, 3 do
        local page = enter(n, "alice")
        t:advance(0.2)
        assert.equal(3, #told(page))
      end
    end)

    it("are empty when all went with a node, for who comes next: node " .. dead, function()
      start()
      enter(dead, "bob")
      t:advance(0.3)
      t:node(dead):crash()
      t:advance(20)
      local page = enter(dead % 3 + 1, "carol")
      t:advance(1)
      assert.same({ "+carol 1" }, told(page))
    end)

    it("have no ghost of a node that was stopped, and nobody joins twice: node " .. dead, function()
      start()
      local alive, other = dead % 3 + 1, (dead + 1) % 3 + 1
      local alice = enter(alive, "alice")
      local bob = enter(dead, "bob")
      enter(dead, "carol")
      t:advance(0.3)
      t:node(dead):freeze(30)
      t:advance(20)
      assert.equal(2, alice:count("user-left"))
      all_say("1 alice", { alive, other })
      t:advance(15)
      all_say("3 alice bob carol") -- their pages were open all the time
      bob:drop()
      t:advance(7)
      local list = told(alice)
      assert.equal("-bob 2 gone", list[#list])
      assert.equal(8, #list)
      all_say("2 alice carol")
    end)

    it("are left by who was on a node that is cut off, and come back with it: node " .. dead, function()
      start()
      local alive = dead % 3 + 1
      local alice = enter(alive, "alice")
      local bob = enter(dead, "bob")
      t:advance(0.3)
      t:partition(dead)
      t:advance(20)
      assert.equal(1, alice:count("user-left"))
      bob:drop()
      t:advance(10)
      t:heal()
      t:advance(10)
      all_say("1 alice")
      local list = told(alice)
      assert.same({ "+alice 1", "+bob 2", "-bob 1 gone" }, { list[1], list[2], list[#list] })
    end)
  end

  it("go on over a reload of each node", function()
    start()
    local alice, bob = enter(1, "alice"), enter(2, "bob")
    t:advance(0.3)
    for n = 1, 3 do
      assert(t:node(n):reload())
      t:advance(2)
      all_say("2 alice bob")
    end
    bob:drop()
    t:advance(2)
    for n = 1, 3 do assert(t:node(n):reload()) end
    t:advance(5)
    assert.same({ "+alice 1", "+bob 2", "-bob 1 gone" }, told(alice))
    enter(3, "carol")
    t:advance(2)
    assert.equal("+carol 2", told(alice)[4])
  end)

  for n = 1, 3 do
    it("lose who does not come back from a node that is started again at once: node " .. n, function()
      start()
      local alice = enter(n % 3 + 1, "alice")
      enter(n, "bob")
      local carol = enter(n, "carol")
      t:advance(0.3)
      t:node(n):restart()
      t:advance(2)
      carol = carol:hop(n)
      t:advance(15)
      all_say("2 alice carol")
      local list = told(alice)
      assert.same({ "-bob 2 gone", 4 }, { list[#list], #list })
      carol:drop()
      t:advance(7)
      all_say("1 alice")
    end)
  end

  it("are known after a long time in which nothing has happened", function()
    start()
    local alice, bob = enter(1, "alice"), enter(2, "bob")
    t:advance(1400)
    all_say("2 alice bob")
    local page = enter(3, "carol")
    t:advance(1)
    assert.same({ "+alice 1", "+bob 2", "+carol 3" }, told(page))
    for _, c in ipairs { alice, bob } do assert.same({ "+alice 1", "+bob 2", "+carol 3" }, told(c)) end
  end)

  it("put a user out wherever its streams are", function()
    start()
    local alice, one, two = enter(1, "alice"), enter(2, "bob"), enter(3, "bob")
    t:advance(0.3)
    assert.equal(204, t:node(1):post("/docs/tea/kick/bob").status)
    t:advance(0.3)
    for _, c in ipairs { one, two } do assert.equal("revoked", c:wait_for("bye", 0).data.reason) end
    assert.same({ "+alice 1", "+bob 2", "-bob 1 kicked" }, told(alice))
    assert.equal(404, t:node(2):post("/docs/tea/kick/bob").status)
    all_say("1 alice")
  end)

  it("say how many are in a large room", function()
    start("counts_above = 3")
    local alice, list = enter(1, "alice"), {}
    for i = 1, 6 do
      list[i] = enter(i % 3 + 1, "u" .. i)
      t:advance(0.2)
    end
    t:advance(2)
    assert.equal(3, alice:count("user-joined"))
    local counts = alice:events("presence-count")
    assert.equal(7, counts[#counts].data.activeUsers)
    all_say("7 alice u1 u2 u3 u4 u5 u6")
    t:node(1):crash()
    t:advance(20)
    all_say("4 u1 u2 u4 u5", { 2, 3 })
    for _, i in ipairs { 1, 2, 4 } do list[i]:drop() end
    t:advance(8)
    all_say("1 u5", { 2, 3 })
    local page = enter(2, "u5")
    t:advance(1)
    assert.same({ "+u5 1" }, { (told(page)[1]:gsub(" %d+", " 1")) })
    assert.equal(1, #told(page))
  end)

  it("know who is there when Redis has lost everything", function()
    start()
    local alice = enter(1, "alice")
    local bob = enter(2, "bob")
    t:advance(0.3)
    t:redis { restart = true, lose = 2, fsync = "everysec" }
    t:advance(30)
    all_say("2 alice bob")
    bob:drop()
    t:advance(8)
    all_say("1 alice")
    local page = enter(3, "alice")
    t:advance(1)
    assert.equal(1, #told(page))
    assert.is_nil(alice:events("bye")[1])
  end)

  it("are empty when nobody is there, and nothing is left of them", function()
    start()
    for n = 1, 3 do enter(n, "u" .. n):drop() end
    t:advance(30)
    for n = 1, 3 do
      assert.same({}, t:node(n):get("/docs/tea").json.rooms)
      local s = t:node(n):state("doc")
      for _, name in ipairs { "rooms", "rows", "mine", "own", "gone", "touched", "recorded" } do
        assert.is_nil(next(s[name]), name)
      end
    end
  end)
end)
