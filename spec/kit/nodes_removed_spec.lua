--- A key that is removed is gone with all names it had, on every node, also on one that loads the channel just then.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("a key that is removed in a cluster", function() pending("built without hiredis") end)
  return
end

local SOURCE = [[
  app:channel("who", { history = "latest", key = "id", ttl = false })
  app:channel("room", { history = 100, key = "id", rewind = "latest" })
  app:channel("who/*", { history = "latest", key = "id", ttl = false })
  app:channel("room/*", { history = 100, key = "id", rewind = "latest" })
  app:stream("/s/:c", { channels = { ":c" } })
  app:post("/set/:c/:name/:id", function(req)
    return { app:publish(req.params.c, req.params.name, { id = req.params.id }) }
  end)
  app:post("/remove/:c/:id", function(req) return { app:remove(req.params.c, req.params.id) } end)
  app:post("/many/:c", function(req)
    for i = 1, 300 do
      for _, key in ipairs { 1, 2, "stays" } do
        app:publish(req.params.c .. "/" .. i, "joined", { id = tostring(key) }, { wait = i % 50 == 0 })
      end
    end
    return {}
  end)
  app:post("/clear/:c/:id", function(req)
    for i = 1, 300 do app:remove(req.params.c .. "/" .. i, req.params.id, { wait = false }) end
    return {}
  end)
  app:get("/newest/*c", function(req)
    local list = {}
    for i, e in ipairs(app:newest(req.params.c)) do list[i] = e.event .. ":" .. e.key end
    return { text = table.concat(list, " ") }
  end)
]]

local MANY, MOMENTS = 300, 2 -- channels: more than one turn loads; when something is removed

local t

local function post(n, path) assert.equal(200, t:node(n):post(path).status) end
local function newest(n, c) return t:node(n):get("/newest/" .. c).json.text end

describe("a key that is removed in a cluster", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  for _, c in ipairs { "who", "room" } do
    it("is gone from '" .. c .. "' with all its names", function()
      t = testing.start({ source = kit.source(SOURCE) }, { nodes = 3 })
      for _, path in ipairs { "joined/a", "typing/a", "joined/b", "joined/ab" } do
        post(1, "/set/" .. c .. "/" .. path)
      end
      assert.equal("joined:a typing:a joined:b joined:ab", newest(2, c))
      post(1, "/remove/" .. c .. "/a")
      for n = 1, 3 do assert.equal("joined:b joined:ab", newest(n, c)) end
      post(3, "/set/" .. c .. "/joined/a")
      post(3, "/remove/" .. c .. "/b")
      t:node(2):crash()
      t:node(2):restart()
      assert.equal("joined:ab joined:a", newest(2, c))
    end)

    it("is gone from '" .. c .. "' where that is loaded meanwhile", function()
      for offset = 0, 12 do
        t = testing.start({ source = kit.source(SOURCE) }, { nodes = 2 })
        post(1, "/set/" .. c .. "/joined/a")
        post(1, "/set/" .. c .. "/joined/b")
        t:advance(1)
        t:redis { latency = 0.02 }
        local client = t:node(2):connect("/s/" .. c)
        t:advance(offset * 0.002)
        post(1, "/remove/" .. c .. "/a")
        t:advance(1)
        t:redis { latency = 0 }
        assert.equal("joined:b", newest(2, c), "offset " .. offset)
        assert.is_truthy(client)
        t:stop()
        t = nil
      end
    end)

    -- Behind a loss all channels are shown together, when the last of them is loaded; many take several calls. What is
    -- removed between these is in the first loads, and comes in the feed behind them.
    it("is gone from '" .. c .. "' where all channels are loaded again meanwhile", function()
      t = testing.start({ source = kit.source(SOURCE) }, { nodes = 2 })
      post(1, "/many/" .. c)
      t:advance(1)
      for i = 1, MANY do assert.truthy(newest(2, c .. "/" .. i):find("joined:stays", 1, true)) end
      t:redis { latency = 0.1 }
      for key = 1, MOMENTS do
        t:redis { restart = true }
        t:advance(key * 0.06)
        post(1, ("/clear/%s/%d"):format(c, key))
        t:advance(6)
        for i = 1, MANY do assert.is_nil(newest(2, c .. "/" .. i):find("joined:" .. key .. " "), "moment " .. key) end
      end
    end)
  end
end)
