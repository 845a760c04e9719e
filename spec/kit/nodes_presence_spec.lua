--- Values that go with their node: lease = true. A node that dies loses them, one that only seemed dead gets them back.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("values that go with their node", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  app:channel("who", { history = "latest", key = "id", ttl = false })
  app:channel("room", { history = 100, key = "id", rewind = "latest" })
  app:channel("log", { history = 10 })
  app:stream("/s/:c", { channels = { ":c" } })
  app:post("/join/:c/:id", function(req)
    local ok, message, code = app:publish(req.params.c, "joined", { id = req.params.id }, { lease = true })
    if not ok then return nil, message, code end
    return {}
  end)
  app:post("/set/:c/:id", function(req) app:publish(req.params.c, "joined", { id = req.params.id }) return {} end)
  app:post("/leave/:c/:id", function(req) app:remove(req.params.c, req.params.id) return {} end)
  app:get("/newest/:c", function(req)
    local list = {}
    for i, e in ipairs(app:newest(req.params.c)) do list[i] = e.key end
    table.sort(list)
    return { text = table.concat(list, " ") }
  end)
]]

local t

local function start(n) t = testing.start({ source = kit.source(SOURCE) }, { nodes = n }) t:advance(12) end
local function post(n, path) assert.equal(200, t:node(n):post(path).status) end
local function newest(n, c) return t:node(n):get("/newest/" .. c).json.text end

describe("values that go with their node", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, c in ipairs { "who", "room" } do
    it("are removed when it dies, and no others: " .. c, function()
      for dead = 1, 3 do
        start(3)
        for n = 1, 3 do post(n, ("/join/%s/m%d"):format(c, n)) end
        post(dead, "/set/" .. c .. "/stays")
        post(dead, "/join/" .. c .. "/taken")
        post(dead % 3 + 1, "/join/" .. c .. "/taken")
        post(dead, "/join/" .. c .. "/left")
        post(dead, "/leave/" .. c .. "/left")
        local alive = dead % 3 + 1
        local client = t:node(alive):connect("/s/" .. c)
        t:node(dead):crash()
        t:advance(5)
        assert.truthy(newest(alive, c):find("m" .. dead, 1, true))
        local gone = client:wait_for("removed", 10)
        assert.same({ key = "m" .. dead }, gone.data)
        t:advance(5)
        assert.equal(1, client:count("removed"))
        local left = ("m1 m2 m3 stays taken"):gsub("m" .. dead .. " ", "")
        for n = 1, 3 do if n ~= dead then assert.equal(left, newest(n, c)) end end
        t:node(dead):restart()
        assert.equal(left, newest(dead, c))
        t:stop()
        t = nil
      end
    end)

    it("come back when it lives, and go when it has let go of them meanwhile: " .. c, function()
      start(2)
      post(1, "/join/" .. c .. "/a")
      for _, id in ipairs { "b", "d" } do post(2, "/join/" .. c .. "/" .. id) end
      local client = t:node(1):connect("/s/" .. c)
      t:node(2):freeze(30)
      t:advance(20)
      assert.equal("a", newest(1, c))
      assert.equal(2, client:count("removed"))
      t:advance(15)
      for n = 1, 2 do assert.equal("a b d", newest(n, c)) end
      post(2, "/leave/" .. c .. "/b")
      t:node(2):freeze(30)
      t:advance(40)
      for n = 1, 2 do assert.equal("a d", newest(n, c)) end
      t:node(2):crash()
      t:advance(15)
      assert.equal("a", newest(1, c))
    end)
  end

  for _, c in ipairs { "who", "room" } do
    it("are another node's when that has said so, also while theirs sleeps: " .. c, function()
      start(2)
      for _, id in ipairs { "a", "b", "c", "d" } do post(2, "/join/" .. c .. "/" .. id) end
      post(1, "/leave/" .. c .. "/a")
      post(1, "/set/" .. c .. "/b")
      t:node(2):freeze(30)
      t:advance(20)
      post(1, "/leave/" .. c .. "/c")
      t:redis { latency = 0.2 }
      t:advance(20)
      t:redis { latency = 0 }
      for n = 1, 2 do assert.equal("b d", newest(n, c)) end
      t:node(2):crash()
      t:advance(15)
      assert.equal("b", newest(1, c))
    end)

    it("are gone when their removal failed, as Redis was away: " .. c, function()
      start(2)
      post(2, "/join/" .. c .. "/a")
      t:partition(2)
      post(2, "/leave/" .. c .. "/a")
      assert.equal("a", newest(1, c)) -- in eight seconds: nobody takes it for dead
      t:heal()
      t:advance(5)
      for n = 1, 2 do assert.equal("", newest(n, c)) end
    end)
  end

  it("stay while Redis is away from all, and come back when it has lost them", function()
    start(2)
    post(1, "/join/who/a")
    post(2, "/join/who/b")
    t:redis { pause = 30 }
    t:advance(45)
    for n = 1, 2 do assert.equal("a b", newest(n, "who")) end
    post(1, "/join/who/c")
    t:redis { restart = true, lose = 1 }
    t:advance(15)
    for n = 1, 2 do assert.equal("a b c", newest(n, "who")) end
    t:node(1):crash()
    t:advance(15)
    assert.equal("b", newest(2, "who"))
  end)

  it("do not come back when Redis loses their removal, however long it is away then", function()
    start(2)
    post(1, "/join/who/a")
    post(1, "/leave/who/a")
    t:redis { lose = 1, restart = 45 }
    t:advance(60)
    for n = 1, 2 do assert.equal("", newest(n, "who")) end
  end)

  it("are many: all go", function()
    start(2)
    for i = 1, 30 do post(1, "/join/room/a\"b" .. i) end
    for i = 1, 30 do post(2, "/join/room/" .. i) end
    t:node(1):crash()
    t:advance(15)
    assert.is_nil(newest(2, "room"):find("a", 1, true))
  end)

  it("have a key, and are no log's", function()
    start(1)
    local answer = t:post("/join/log/a")
    assert.same({ 400, "EINVAL" }, { answer.status, answer.json.error.code })
  end)
end)
