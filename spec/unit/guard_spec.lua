--- The guard's Lua side: what a stall is called, and that nested coroutines are closed when
--- their handler ends by an error. The guard itself is in C: see e2e/runaway_spec.lua.
local fake = require("spec.support.fake_core").install()
local guard = require("sluice.guard")

local function load(text)
  return fake.load('local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app")
end

describe("guard", function()
  local core = fake.core

  after_each(function() core.guard_enter, core.guard_leave = nil, nil end)

  -- Runs last so long from now on: seconds of computing, seconds in all.
  local function runs_take(cpu, wall)
    core.guard_enter = function() end
    core.guard_leave = function() return cpu, wall, 0 end
  end

  it("tells a run that held up the app, by name and place, with what may help", function()
    local t = load('app:get("/x", function() return "x" end)\napp:every(1, { name = "m" }, function() end)')
    runs_take(0, 2.1)
    t:get("/x")
    runs_take(0.5, 0.5)
    t:advance(1)
    runs_take(0.05, 0.09)
    t:get("/x")
    core.guard_enter, core.guard_leave = nil, nil
    assert.same({
      "GET /x blocked the app for 2.1 s (app.lua:3); streams went on. It waited outside of Sluice: io.popen and "
        .. "sockets block",
      "timer m blocked the app for 0.5 s (app.lua:4); streams went on. It computed: a long loop needs sluice.sleep()",
    }, fake.logged("warn"))
  end)

  it("runs a function aside, and does not let it yield", function()
    assert.same({ true, 1, nil, 3 }, { guard.call("it", function(...) return ... end, 1, nil, 3) })
    local ok, message = guard.call("it", function() error("x", 0) end)
    assert.same({ false, "x" }, { ok, message })
    local closed = false
    ok, message = guard.call("it", function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      coroutine.yield(1)
    end)
    assert.is_false(ok)
    assert.matches("coroutine.yield%(%) has nobody to resume it", message)
    assert.is_true(closed)
  end)

  local CLOSING = [[
    local closed = app:state("closed", {})
    local function closing(name)
      return setmetatable({}, { __close = function() table.insert(closed(), name) end })
    end
    local function hold(name)
      local co = coroutine.create(function() local _ <close> = closing(name) coroutine.yield() end)
      coroutine.resume(co)
      return co
    end
]]

  it("closes the coroutines of a handler that ends by an error or is cancelled, newest first", function()
    local t = load(CLOSING .. [[
      app:get("/error", function() local a, b = hold("a"), hold("b") collectgarbage() error("x") end)
      app:get("/good", function() hold("kept") return "x" end)
      app:task("t", function() hold("t") error("x") end)
      app:get("/task", function() app:after(0, "t") end)
      app:stream("/s", function(req, client) client:send("x", {}) local s = hold("s") sluice.sleep(60) return s end)]])
    local closed = t.runtime.states.closed.data
    t:get("/error")
    assert.same({ "b", "a" }, closed)
    t:get("/good")
    t:get("/task")
    t:advance(0.1)
    assert.same({ "b", "a", "t" }, closed)
    t:drop((t:connect("/s")))
    assert.same({ "b", "a", "t", "s" }, closed)
  end)

  it("keeps a list that does not grow with the coroutines that a service has made", function()
    local t = load([[
      app:service("s", function()
        for _ = 1, 1000 do
          local co = coroutine.create(function() coroutine.yield() end)
          coroutine.resume(co)
          coroutine.resume(co)
        end
        sluice.sleep(1000)
      end)]])
    local children = t.runtime.services.rows.s.fiber.children
    assert.is_true(children.n <= 128, children.n)
  end)
end)
