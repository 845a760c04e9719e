--- The glue: dispatch by name over generations, signals, and nothing left behind.
local rehearsal = require("spec.support.rehearsal")
local generation = require("sluice.live.generation")

after_each(rehearsal.stop)

local function swap(t, id, text)
  local new = assert(generation.load(id, "app.lua", text))
  assert(t.runtime:swap(assert(t.runtime:prepare(new))))
  return new
end

describe("runtime", function()
  it("keeps the number of a route over generations, and runs the newest code under its name", function()
    local text = [[local app = require("sluice").app() %s app:get("/v", function() return "%s" end) return app]]
    local t = rehearsal.load(text:format("", "one"))
    local id = t.server.snapshot.routes[1].id
    swap(t, 2, text:format('app:get("/first", function() return "x" end)', "two"))
    -- the core still holds the old snapshot's number
    t.server.fn("request", 50, id, { method = "GET", path = "/v", headers = {}, params = {} })
    assert.equal("two", t.server.responses[50].body)
    assert.equal("two", t:get("/v").body)
    assert.equal("x", t:get("/first").body)
  end)

  it("changes nothing when a generation cannot be prepared", function()
    local t = rehearsal.load('local app = require("sluice").app() app:get("/", function() return "old" end) return app')
    local before = t.server.snapshot
    local new = assert(generation.load(2, "app.lua", [[
      local app = require("sluice").app()
      app:state("s", {})
      app:check(function() error("not ready") end)
      return app]]))
    local prepared, problem = t.runtime:prepare(new)
    assert.is_nil(prepared)
    assert.equal("app.lua:3: not ready", problem.message)
    assert.equal("check", problem.phase)
    assert.equal(before, t.server.snapshot)
    assert.is_nil(t.runtime.states.s)
    assert.equal("old", t:get("/").body)
  end)

  it("stops the server at TERM and INT", function()
    local t = rehearsal.load('return require("sluice").app()')
    t:call("signal", "TERM")
    t:call("signal", "INT")
    assert.same({ { "stop" }, { "drain" }, { "stop" } }, t.server.calls)
  end)

  it("ends every coroutine when it closes, and does not start them again", function()
    local t = rehearsal.load([[
      local sluice = require("sluice")
      local app = sluice.app()
      local function closing(name)
        return setmetatable({}, { __close = function() sluice.log.info(name) end })
      end
      app:get("/", function() local _ <close> = closing("request") sluice.sleep(100) end)
      app:service("s", function() local _ <close> = closing("service") sluice.sleep(100) end)
      app:on("published", "a", function() local _ <close> = closing("hook") sluice.sleep(100) end)
      return app]])
    t:request("GET", "/")
    t:inside(function()
      t.app:publish("a", "x", {})
      t.app:publish("a", "x", {})
    end)
    t.runtime:close()
    local seen = rehearsal.logged("info")
    table.sort(seen)
    assert.same({ "hook", "request", "service" }, seen)
    assert.equal(0, t.runtime.scheduler.count)
    assert.is_nil(t.runtime.scheduler:turn())
  end)

  it("leaves nothing behind of requests, streams, hooks and tasks", function()
    local t = rehearsal.load([[
      local sluice = require("sluice")
      local app = sluice.app()
      app:guard("/**", function(req) req.user = { id = "u" } return true end)
      app:stream("/s/:id", function(req) return "s/" .. req.params.id end)
      app:stream("/w/:id", function(req, c) while true do c:send("x", {}) sluice.sleep(1) end end)
      app:on("connect", function(c) sluice.sleep(0.1) end)
      app:on("unsubscribe", "s/:id", function() app:publish("left", "x", {}) end)
      app:on("published", "left", function() sluice.sleep(0.01) end)
      app:task("t", function() end)
      app:get("/r", function()
        app:after(1, "t", {})
        app:spawn(function() sluice.sleep(1) end)
        sluice.sleep(0.5)
        return "x"
      end)
      return app]])
    local function round()
      for i = 1, 100 do
        t:drop((t:connect("/s/" .. i)))
        t:drop((t:connect("/w/" .. i)))
        t:request("GET", "/r")
      end
      t:advance(20)
      t:forget()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    repeat round() until #t.runtime.recorder:list("deeds") == 1000 -- all that it keeps
    local before = round()
    for _ = 1, 3 do round() end
    assert.is_true(round() - before < 16)
    assert.same({ 0, 0, 0 }, { t.runtime.scheduler.count, t.runtime.scheduler.times.n, t.runtime.tasks.count })
    for _, name in ipairs({ "clients", "writers", "writable", "opening", "published" }) do
      assert.is_nil(next(t.runtime[name]), name)
    end
  end)
end)
