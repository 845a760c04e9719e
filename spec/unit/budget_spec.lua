--- The Lua side of the budget: what a run is called, and that nested coroutines are closed when
--- their handler ends by an error. The budget itself is in C: see e2e/runaway_spec.lua.
local rehearsal = require("spec.support.rehearsal")
local budget = require("sluice.base.budget")

after_each(rehearsal.stop)

local function load(text)
  return rehearsal.load('local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app")
end

describe("budget", function()
  it("names each run to the core, which tells who holds up the app", function()
    local t = load('app:get("/x", function() return "x" end)\napp:every(1, { name = "m" }, function() end)')
    local names, run = {}, require("sluice.core").run
    rehearsal.stub("run", function(name, ...)
      names[#names + 1] = name
      return run(name, ...)
    end)
    t:get("/x")
    t:advance(1)
    assert.same({ "GET /x (app.lua:3)", "timer m (app.lua:4)" }, names)
  end)

  it("asks no message handler of the app about a budget that is used up", function()
    local tripped = false
    rehearsal.stub("tripped", function() return tripped end)
    local function catch(message) return "caught " .. message end
    local function fail() error("x", 0) end
    assert.same({ false, "caught x" }, { budget.xpcall(fail, catch) })
    assert.same({ true, 1, nil }, { budget.xpcall(function(...) return ... end, catch, 1, nil) })
    assert.is_false((pcall(budget.xpcall, fail)))
    tripped = true
    assert.same({ false, "x" }, { budget.xpcall(fail, catch) })
  end)

  it("runs a function aside, and does not let it yield", function()
    assert.same({ true, 1, nil, 3 }, { budget.call("it", function(...) return ... end, 1, nil, 3) })
    local ok, message = budget.call("it", function() error("x", 0) end)
    assert.same({ false, "x" }, { ok, message })
    local closed = false
    ok, message = budget.call("it", function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      coroutine.yield(1)
    end)
    assert.is_false(ok)
    assert.matches("coroutine.yield%(%) cannot be resumed here", message)
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
