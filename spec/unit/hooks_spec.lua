--- Hooks: connect, subscribe, published, error; order, depth, bounds. On the real core.
local kit = require("spec.support.kit")
local load = kit.start

local function ids_of(t, channel)
  local list = {}
  local app = t.place.runtime.generation.app
  for _, e in ipairs(app:history(channel, { limit = 10000 })) do list[#list + 1] = e.id end
  return list
end

describe("hooks", function()
  after_each(kit.stop_all)

  it("tell connect, subscribe, unsubscribe and disconnect, once and in order", function()
    local t = load([[
      app:stream("/m/:id", function(req) return { channels = { "m/" .. req.params.id, "all" } } end)
      for _, kind in ipairs({ "connect", "disconnect" }) do
        app:on(kind, function(c, why) sluice.log.info(kind .. " " .. c.path .. " " .. (why or "")) end)
      end
      for _, kind in ipairs({ "subscribe", "unsubscribe" }) do
        app:on(kind, "m/:id", function(c, name, p) sluice.log.info(kind .. " " .. name .. " " .. p.id .. " "
          .. c.params.id) end)
      end]])
    t:connect("/m/7"):drop()
    assert.same({ "connect /m/7 ", "subscribe m/7 7 7", "unsubscribe m/7 7 7", "disconnect /m/7 gone" }, t:log("info"))
  end)

  it("start once, stop once", function()
    local t = load([[
      app:channel("a", { history = 10, rewind = "all" })
      app:stream("/a", "a")
      app:on("start", function() app:publish("a", "up", {}) end)
      app:on("stop", function(reason) app:publish("a", "down", { reason = reason }) end)]])
    local c = t:connect("/a")
    assert.same({ 1, 0 }, { c:count("up"), c:count("down") })
    assert(t:reload())
    t.place.server:stop()
    t.place.server:stop()
    t:stop()
    assert.received(c, "down", { reason = "exit" })
    assert.same({ 1, 1 }, { c:count("up"), c:count("down") })
  end)

  it("are cut after a second at the stop", function()
    local t = load([[
      app:service("s", function()
        local _ <close> = setmetatable({}, { __close = function() sluice.log.info("service closed") end })
        sluice.sleep(1000)
      end)
      app:on("stop", function() sluice.sleep(60) sluice.log.info("never") end)
      app:every(1, function() sluice.log.info("tick") end)]])
    t.place:terminate()
    t:advance(0.9)
    assert.equal(1, t.place.runtime.scheduler.count)
    t:advance(100)
    assert.same({ "service closed" }, t:log("info"))
    assert.equal(0, t.place.runtime.scheduler.count)
  end)

  it("of published run serially per channel, with the event as it was sent", function()
    local t = load([[
      app:on("published", "d/:id", function(event, p)
        sluice.sleep(1)
        sluice.log.info(("%s %s %s %s"):format(p.id, event.event, event.data.n, event.id))
      end)
      app:post("/", function()
        local data = { n = 1 }
        app:publish("d/1", "x", data)
        data.n = 2
        app:publish("d/1", "x", data)
        app:publish("d/2", "x", data)
        app:publish("other", "x", data)
      end)]])
    t:post("/")
    local one, two = ids_of(t, "d/1"), ids_of(t, "d/2")
    t:advance(1.5)
    assert.same({ "1 x 1 " .. one[1], "2 x 2 " .. two[1] }, t:log("info"))
    t:advance(1)
    assert.equal("1 x 2 " .. one[2], t:log("info")[3])
    assert.is_nil(next(t.place.runtime.published))
  end)

  it("of published may publish, four levels deep", function()
    local t = load([[
      app:on("published", "loop", function(event)
        local id, message, code = app:publish("loop", "again", { n = event.data.n + 1 })
        if not id then sluice.log.warn(code .. ": " .. message) end
      end)]])
    t:publish("loop", "first", { n = 0 })
    t:advance(1)
    assert.equal(4, #ids_of(t, "loop"))
    assert.same({ "ELOOP: a publish hook publishes to its own channel (4 levels)" }, t:log("warn"))
  end)

  it("of published that fail cost nothing but a log line", function()
    local t = load([[
      app:on("published", "a", function() error("broken") end)
      app:on("published", "a", function() sluice.log.info("second") end)]])
    assert.truthy(t:publish("a", "x", {}))
    assert.same({ "second" }, t:log("info"))
    assert.matches("published hook: app.lua:3: broken", t:log("error")[1])
  end)

  it("of published that lag 1,024 events behind refuse the next one", function()
    local t = load([[
      app:channel("a", { history = 2000 })
      app:on("published", "a", function() sluice.sleep(60) end)
      app:post("/", function()
        for _ = 1, 1100 do
          local id, message, code = app:publish("a", "x", {})
          if not id then return nil, message, code end
        end
      end)]])
    local response = t:post("/")
    assert.same({ 503, "EBUSY" }, { response.status, response.json.error.code })
    assert.equal(1024, #ids_of(t, "a"))
  end)

  it("of error hear what failed, and not of themselves", function()
    local t = load([[
      app:get("/", function() error("broken") end)
      app:on("error", function(e) sluice.log.info(e.where .. " | " .. e.message) error("in the hook") end)]])
    assert.equal(500, t:get("/").status)
    assert.same({ "GET / (app.lua:3) | app.lua:3: broken" }, t:log("info"))
    assert.equal(2, #t:log("error"))
  end)

  it("refuse unknown names and missing functions", function()
    assert.error_matches(function() load('\napp:on("publish", "a", function() end)') end,
      "app.lua:4: no hook 'publish' %(known: start stop")
    assert.error_matches(function() load('app:on("published", function() end)') end,
      'app:on%("published", pattern, fn%): the pattern is missing')
  end)
end)
