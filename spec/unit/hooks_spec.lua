--- Hooks: connect, subscribe, published, error; order, depth, bounds.
local fake = require("spec.support.fake_core").install()

local function load(text)
  return fake.load('local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app")
end

describe("hooks", function()
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
    local id = t:connect("/m/7")
    t:drop(id)
    assert.same({ "connect /m/7 ", "subscribe m/7 7 7", "unsubscribe m/7 7 7", "disconnect /m/7 gone" },
      fake.logged("info"))
  end)

  it("start once, stop once", function()
    local t = load([[
      app:on("start", function() app:publish("a", "up", {}) end)
      app:on("stop", function(reason) app:publish("a", "down", { reason = reason }) end)]])
    assert.same({ "up {}" }, t:events("a"))
    t:call("stopping")
    t:call("stopping")
    assert.same({ "up {}", 'down {"reason":"exit"}' }, t:events("a"))
  end)

  it("are cut after a second at the stop", function()
    local t = load([[
      app:service("s", function()
        local _ <close> = setmetatable({}, { __close = function() sluice.log.info("service closed") end })
        sluice.sleep(1000)
      end)
      app:on("stop", function() sluice.sleep(60) sluice.log.info("never") end)
      app:every(1, function() sluice.log.info("tick") end)]])
    t:call("stopping")
    t:advance(100)
    assert.same({ "service closed" }, fake.logged("info"))
    assert.equal(0, t.runtime.scheduler.count)
  end)

  it("of published run serially per channel, with the event as it was sent", function()
    local t = load([[
      app:on("published", "d/:id", function(event, p)
        sluice.sleep(1)
        sluice.log.info(("%s %s %s %s"):format(p.id, event.event, event.data.n, event.id))
      end)]])
    t:inside(function()
      local data = { n = 1 }
      t.app:publish("d/1", "x", data)
      data.n = 2
      t.app:publish("d/1", "x", data)
      t.app:publish("d/2", "x", data)
      t.app:publish("other", "x", data)
    end)
    t:advance(1.5)
    assert.same({ "1 x 1 e-1", "2 x 2 e-3" }, fake.logged("info"))
    t:advance(1)
    assert.equal("1 x 2 e-2", fake.logged("info")[3])
    assert.is_nil(next(t.runtime.published))
  end)

  it("of published may publish, four levels deep", function()
    local t = load([[
      app:on("published", "loop", function(event)
        local id, message, code = app:publish("loop", "again", { n = event.data.n + 1 })
        if not id then sluice.log.warn(code .. ": " .. message) end
      end)]])
    t:inside(function() t.app:publish("loop", "first", { n = 0 }) end)
    t:advance(1)
    assert.equal(4, #t:events("loop"))
    assert.same({ "ELOOP: a publish hook publishes to its own channel (4 levels)" }, fake.logged("warn"))
  end)

  it("of published that fail cost nothing but a log line", function()
    local t = load([[
      app:on("published", "a", function() error("broken") end)
      app:on("published", "a", function() sluice.log.info("second") end)]])
    t:inside(function() assert.truthy(t.app:publish("a", "x", {})) end)
    assert.same({ "second" }, fake.logged("info"))
    assert.matches("published hook %(app.lua:3%): app.lua:3: broken", fake.logged("error")[1])
  end)

  it("of published that lag 1,024 events behind refuse the next one", function()
    local t = load([[app:on("published", "a", function() sluice.sleep(60) end)]])
    local refused
    t:inside(function()
      for _ = 1, 1100 do
        local id, _, code = t.app:publish("a", "x", {})
        if not id then refused = code end
      end
    end)
    assert.equal("EBUSY", refused)
    assert.equal(1024, #t:events("a"))
  end)

  it("of error hear what failed, and not of themselves", function()
    local t = load([[
      app:get("/", function() error("broken") end)
      app:on("error", function(e) sluice.log.info(e.where .. " | " .. e.message) error("in the hook") end)]])
    t:get("/")
    assert.same({ "GET / (app.lua:3) | app.lua:3: broken" }, fake.logged("info"))
    assert.equal(2, #fake.logged("error"))
  end)

  it("refuse unknown names and missing functions", function()
    assert.matches("app.lua:3: no hook 'publish' %(known: start stop", fake.load_error([[
      local app = require("sluice").app()

app:on("publish", "a", function() end)]]))
    assert.matches('app:on%("published", pattern, fn%): fn is missing', fake.load_error([[
      require("sluice").app():on("published", function() end)]]))
  end)
end)
