--- How a generation ends: what runs finishes, hands over or is closed; nothing is held; timers,
--- tasks, services and the programs made of them neither lose nor double anything.
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local HEAD = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'
local CLOSING = [[
local function closing(name)
  return setmetatable({}, { __close = function() app:publish("log", "closed", { name = name }) end })
end
]]

local function app(text) return HEAD .. CLOSING .. (text or "") .. "\nreturn app\n" end

describe("a retiring generation", function()
  local t
  after_each(function()
    t = nil
  end)

  it("finishes its requests, hooks, timers and tasks on the old code", function()
    local text = [[
      app:get("/slow", function() sluice.sleep(2) return "VERSION" end)
      app:on("published", "in", function() sluice.sleep(2) app:publish("out", "hook", { v = "VERSION" }) end)
      app:task("t", function() sluice.sleep(2) app:publish("out", "task", { v = "VERSION" }) end)
      app:get("/go", function() app:publish("in", "x", {}) app:after(0, "t") end)]]
    t = rehearsal.serve(app((text:gsub("VERSION", "one"))))
    local id = t:request("GET", "/slow")
    t:get("/go")
    t:advance(0.1)
    assert.is_true(t:change(app((text:gsub("VERSION", "two")))).ok)
    local newer = t:request("GET", "/slow")
    t:advance(3)
    assert.equal("one", t.server.answers[id].body)
    assert.equal("two", t.server.answers[newer].body)
    assert.same({ 'hook {"v":"one"}', 'task {"v":"one"}' }, t:events("out"))
  end)

  it("hands the events that wait for a hook to the new code, each once", function()
    local text = [[
      app:on("published", "in", function(event)
        app:publish("out", "VERSION", event.data)
        sluice.sleep(0.3)
      end)
      app:get("/go", function() for i = 1, 6 do app:publish("in", "x", { n = i }) end end)]]
    t = rehearsal.serve(app((text:gsub("VERSION", "one"))))
    t:get("/go")
    t:advance(0.4)
    t:change(app((text:gsub("VERSION", "two"))))
    t:advance(5)
    assert.same({ 'one {"n":1}', 'one {"n":2}', 'two {"n":3}', 'two {"n":4}', 'two {"n":5}', 'two {"n":6}' },
      t:events("out"))
  end)

  it("is closed after 5 s, with its <close> variables run while effects are allowed", function()
    t = rehearsal.serve(app('app:get("/slow", function() local _ <close> = closing("request") sluice.sleep(60) end)'))
    local old = t.generation
    local id = t:request("GET", "/slow")
    t:reload()
    t:advance(4.9)
    assert.equal("retiring", old.phase)
    assert.same({}, t:events("log"))
    t:advance(0.2)
    assert.same({ 'closed {"name":"request"}' }, t:events("log"))
    assert.equal("retired", old.phase)
    assert.equal(503, t.server.answers[id].status)
    assert.matches("a reload ended the handler", t.server.answers[id].body)
    assert.matches("^generation 1: closed after 5 s: GET /slow", rehearsal.logged("info")[2])
  end)

  it("makes a third load wait, which says so and is answered in the end", function()
    t = rehearsal.serve(app('app:get("/slow", function() sluice.sleep(2) return "x" end)'))
    t:request("GET", "/slow")
    assert.is_true(t:reload().ok)
    local outcome = {}
    t.runtime.reloader:request("reload", function(o) outcome.first = o end)
    t.runtime.reloader:request("reload", function(o) outcome.second = o end)
    assert.truthy(t:reload("dry_run")) -- which makes no generation, and does not wait
    t:advance(1)
    assert.is_nil(outcome.first)
    assert.matches("^reload waits for generation 1 to end %(GET /slow", rehearsal.logged("info")[2])
    t:advance(1.1)
    assert.same({ 3, 3 }, { outcome.first.generation, outcome.second.generation })
    assert.equal(3, #rehearsal.logged("info"))
  end)

  it("raises in what is left of it", function()
    t = rehearsal.serve(app([[
      leak = app:state("s", {})
      app:get("/x", function() end)]]))
    local old = t.generation
    local app_of_old, handle = old.app, old.environment.leak
    t:reload()
    for _, call in ipairs {
      function() app_of_old:publish("a", "x", {}) end, function() app_of_old:after(1, "t") end,
      function() app_of_old:clients() end, function() return handle() end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("generation 1 is retired", message)
    end
    local ok, message = pcall(app_of_old.get, app_of_old, "/x", print)
    assert.is_false(ok)
    assert.matches("belongs at the top level of the app", message)
  end)

  it("is counted as alive while it runs, and no longer, whatever the collector does", function()
    local alive = function() return t.runtime:figures().generations_alive end
    collectgarbage("stop")
    local _ <close> = setmetatable({}, { __close = function() collectgarbage("restart") end })
    t = rehearsal.serve(app([[
      app:stream("/w", function(req, client) while true do client:send("x", {}) sluice.sleep(1) end end)
      app:get("/slow", function() sluice.sleep(2) return "x" end)]]))
    for _ = 1, 4 do assert.is_true(t:reload().ok) end
    assert.same({ 1, 5 }, { alive(), t.runtime.retirement:held() })
    t:connect("/w")
    t:advance(0.1)
    t:request("GET", "/slow")
    assert.is_true(t:reload().ok)
    assert.equal(2, alive()) -- for the request
    t:advance(2.1)
    assert.equal(1, alive())
    t:write(app('app:stream("/w", function(req, client) sluice.sleep(60) end)'))
    assert.is_true(t:reload().ok)
    t:advance(0.1)
    assert.is_true(t:reload().ok)
    assert.equal(2, alive()) -- for the writer of the open stream, which takes no word yet
    t:advance(5.1)
    assert.equal(1, alive())
  end)

  it("leaves nothing in memory", function()
    t = rehearsal.serve(app([[
      app:state("s", {})
      app:stream("/w", function(req, client) while true do client:send("x", {}) sluice.sleep(1) end end)
      app:stream("/p", function(req) return "p" end)
      app:get("/slow", function() sluice.sleep(1) return "x" end)
      app:every(0.5, { while_subscribed = "p" }, function() app:publish("p", "tick", {}) sluice.sleep(0.1) end)
      app:service("s", function() while true do sluice.sleep(0.2) sluice.checkpoint() end end)
      app:task("again", { restart = true }, function() while true do sluice.sleep(0.2) sluice.checkpoint() end end)
      app:on("published", "p", function() sluice.sleep(0.1) end)
      app:on("start", function() app:after(0, "again") end)]]))
    t:connect("/w")
    t:connect("/p")
    local function round()
      t:request("GET", "/slow")
      assert.truthy(t:reload())
      t:advance(3)
      t:forget()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    for _ = 1, 5 do round() end
    local before = round()
    for _ = 1, 20 do round() end
    local grown = round() - before
    assert.is_true(grown < 64, grown)
    assert.equal(1, t.runtime.retirement:held())
    assert.equal(28, t.generation.id)
  end)

  it("that something outside holds is told of", function()
    t = rehearsal.serve(app('require("cjson").held_by_spec = function() return app end\napp:get("/x", print)'))
    t:reload()
    t:write(app(""))
    for _ = 1, 3 do
      collectgarbage()
      collectgarbage()
      t:reload()
    end
    require("cjson").held_by_spec = nil
    assert.equal(1, #rehearsal.logged("warn"))
    assert.matches("^generation 2 is retired and still in memory", rehearsal.logged("warn")[1])
  end)
end)

describe("services and tasks with restart", function()
  local t

  it("stop at a checkpoint; the next one starts when the last one has closed", function()
    local text = [[
      app:service("feed", function()
        local _ <close> = closing("feed")
        app:publish("log", "up", { v = VERSION })
        while true do sluice.sleep(1) app:publish("log", "tick", { v = VERSION }) sluice.checkpoint() end
      end)]]
    t = rehearsal.serve(app((text:gsub("VERSION", "1"))))
    t:advance(1.5)
    t:change(app((text:gsub("VERSION", "2"))))
    t:advance(1.6)
    assert.same({ 'up {"v":1}', 'tick {"v":1}', 'tick {"v":1}', 'closed {"name":"feed"}', 'up {"v":2}',
      'tick {"v":2}' }, t:events("log"))
  end)

  it("that wait after an error start at once in the new code, and removed ones end", function()
    t = rehearsal.serve(app('app:service("a", function() error("x") end)\n'
      .. 'app:service("b", function() local _ <close> = closing("b") sluice.sleep(60) end)'))
    t:advance(10)
    t:change(app('app:service("a", function() app:publish("log", "mended", {}) sluice.sleep(1000) end)'))
    assert.same({ "mended {}" }, t:events("log"))
    t:advance(6)
    assert.same({ "mended {}", 'closed {"name":"b"}' }, t:events("log"))
    t:advance(100)
    assert.equal(2, #t:events("log"))
  end)

  it("start again with the same data, never cut inside an item", function()
    local text = [[
      local done = app:state("done", {})
      app:task("batch", { restart = true }, function(data)
        for i = #done() + 1, data.n do
          sluice.sleep(0.25)
          table.insert(done(), i)
          app:publish("log", "item", { i = i })
          sluice.checkpoint()
        end
        app:publish("log", "end", {})
      end)
      app:get("/go", function() app:after(0, "batch", { n = 40 }) end)]]
    t = rehearsal.serve(app(text))
    t:get("/go")
    for _ = 1, 10 do
      t:advance(0.9)
      assert.is_true(t:reload().ok)
    end
    t:advance(5)
    local list = t:events("log")
    assert.equal(41, #list)
    for i = 1, 40 do assert.equal(('item {"i":%d}'):format(i), list[i]) end
    assert.equal(0, t.runtime.tasks.count)
  end)

  it("of which the new code lacks the task are kept until it comes back", function()
    local text = [[
      app:task("long", { restart = true }, function(d)
        app:publish("log", "began", d)
        while true do sluice.sleep(1) sluice.checkpoint() end
      end)
      app:get("/go", function() app:after(0, "long", { n = 1 }) end)]]
    t = rehearsal.serve(app(text))
    t:get("/go")
    t:advance(0.5)
    t:change(app(""))
    t:advance(3)
    assert.matches("task 'long' is due and this generation does not define it", rehearsal.logged("warn")[1])
    t:change(app(text))
    t:advance(1)
    assert.same({ 'began {"n":1}', 'began {"n":1}' }, t:events("log"))
  end)
end)

describe("timers over reloads", function()
  local t

  local function times(name)
    local list = {}
    for _, row in ipairs(t.server.published) do
      if row.event == name then list[#list + 1] = row.at end
    end
    return list
  end

  it("of one second fire 60 times in 60 s with 100 reloads, none early", function()
    local text = app('app:every(1, function() app:publish("a", "tick", {}) end)')
    t = rehearsal.serve(text)
    for i = 1, 100 do
      t:advance(0.6)
      t:write(i % 10 == 0 and "broken" or text)
      assert.equal(i % 10 ~= 0, t:reload().ok)
    end
    local list = times("tick")
    assert.is_true(#list >= 59 and #list <= 61, #list)
    for i = 2, #list do assert.is_true(list[i] - list[i - 1] >= 0.9) end
  end)

  it("with another period start anew, removed ones stop, new ones begin", function()
    t = rehearsal.serve(app([[
      app:every(5, { name = "m" }, function() app:publish("a", "m", {}) end)
      app:every(1, { name = "gone" }, function() app:publish("a", "gone", {}) end)]]))
    t:advance(4)
    local began = rehearsal.core.now()
    t:change(app([[
      app:every(2, { name = "m" }, function() app:publish("a", "m", {}) end)
      app:every(3, { name = "new" }, function() app:publish("a", "new", {}) end)]]))
    local gone = #times("gone")
    t:advance(6)
    assert.equal(gone, #times("gone"))
    local seen = {}
    for i, at in ipairs(times("m")) do seen[i] = at - began end
    assert.same({ 2, 4, 6 }, seen)
    assert.equal(2, #times("new"))
  end)
end)

describe("programs over reloads", function()
  local t

  it("demo: +10 events in 10 s over 10 reloads, also after start, stop and start again", function()
    t = rehearsal.serve(app([[
      local demo = app:state("demo", { running = false, sent = 0 })
      app:task("next", function()
        if not demo().running then return end
        demo().sent = demo().sent + 1
        app:publish("demo", "event", { n = demo().sent })
        app:after(1, "next", nil, { id = "demo" })
      end)
      app:get("/start", function() demo().running = true app:after(1, "next", nil, { id = "demo" }) end)
      app:get("/stop", function() demo().running = false app:cancel("demo") end)]]))
    for _ = 1, 3 do
      t:get("/start")
      t:get("/stop")
    end
    t:get("/start")
    for _ = 1, 10 do
      t:advance(1)
      t:reload()
    end
    t:advance(0.1)
    assert.equal(10, #t:events("demo"))
    assert.equal('event {"n":10}', t:events("demo")[10])
  end)

  it("silence: a device that falls silent is told of once over five reloads", function()
    t = rehearsal.serve(app([[
      app:task("offline", function(data) app:publish("alerts", "offline", data) end)
      app:post("/seen/:id", function(req)
        app:after(10, "offline", { id = req.params.id }, { id = "silence/" .. req.params.id })
      end)]]))
    for _ = 1, 3 do
      t:post("/seen/a")
      t:advance(5)
      t:reload()
    end
    for _ = 1, 5 do
      t:reload()
      t:advance(2)
    end
    t:advance(60)
    assert.same({ 'offline {"id":"a"}' }, t:events("alerts"))
  end)

  it("presence: one user-left with a reload inside the grace, and after a reload", function()
    t = rehearsal.serve(app([[
      local room = app:state("room", {})
      app:guard("/**", function(req) req.user = { id = req.headers.user } return true end)
      app:stream("/room", "room")
      app:on("subscribe", "room", function(client)
        if app:cancel("left/" .. client.user.id) or room()[client.user.id] then return end
        room()[client.user.id] = true
        app:publish("room", "user-joined", { id = client.user.id })
      end)
      app:on("unsubscribe", "room", function(client)
        app:after(5, "left", { id = client.user.id }, { id = "left/" .. client.user.id })
      end)
      app:task("left", function(data) room()[data.id] = nil app:publish("room", "user-left", data) end)]]))
    local function join(user) return t:connect("/room", { headers = { user = user } }) end
    local alice, bob = join("alice"), join("bob")
    t:reload()
    t:drop(bob)
    t:advance(2)
    t:reload()
    bob = join("bob") -- back within the grace
    t:advance(20)
    t:drop(alice)
    t:advance(2)
    t:reload()
    t:advance(20)
    assert.same({ 'user-joined {"id":"alice"}', 'user-joined {"id":"bob"}', 'user-left {"id":"alice"}' },
      t:events("room"))
    t:drop(bob)
  end)

  it("feed: every price once, never two loops side by side", function()
    t = rehearsal.serve(app([[
      local at = app:state("at", { n = 0 })
      app:service("feed", function()
        while true do
          sluice.sleep(0.5)
          at().n = at().n + 1
          app:publish("prices", "price", { n = at().n })
          sluice.checkpoint()
        end
      end)]]))
    for _ = 1, 20 do
      t:advance(0.8)
      t:reload()
    end
    t:advance(10)
    local list = t:events("prices")
    for i, text in ipairs(list) do assert.equal(('price {"n":%d}'):format(i), text) end
    assert.is_true(#list >= 40, #list)
  end)
end)
