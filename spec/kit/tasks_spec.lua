--- Durable app:after and app:at in virtual time: kills at every point, a disk that refuses, reloads.
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local ran = app:store("ran")
app:channel("log", { history = 1000 })
app:stream("/log", "log")
app:task("say", function(data)
  app:publish("log", "said", data or {})
  if data and data.takes then sluice.sleep(data.takes) end
  if data and data.error then error(data.error) end
  local key = data and data.key
  while key and not ran:set(key, (ran:get(key) or 0) + 1) do sluice.sleep(1) end
  if data and data.again then
    app:after(data.again, "say", { key = key, again = data.again }, { id = key, durable = true })
  end
end)
app:post("/after/:seconds", function(req)
  local b = req:json()
  local id, message, code = app:after(tonumber(req.params.seconds), "say", b.data, b.opts)
  if id then return { id = id } end
  return 503, { error = { message = message, code = code } }
end)
app:post("/at/:time", function(req)
  return { id = app:at(tonumber(req.params.time), "say", req:json(), { id = "at", durable = true }) }
end)
app:post("/cancel/:id", function(req)
  local was, message, code = app:cancel(req.params.id, { running = req.query.running ~= nil })
  if was == nil then return 503, { error = { message = message, code = code } } end
  return { was = was }
end)
app:post("/bytes", function()
  local _, message, code = app:after(1, "say", { list = { "\xff" } }, { durable = true })
  return 200, ("%s (%s)"):format(message, code)
end)
app:post("/sort", function()
  table.sort({ 1, 2 }, function(a, b) app:after(1, "say", nil, { durable = true }) return a < b end)
end)
app:post("/unsort", function()
  table.sort({ 1, 2 }, function(a, b) app:cancel("x") return a < b end)
end)
app:post("/left", function()
  table.sort({ 1, 2 }, function(a, b)
    app:after(1, "say", { key = "left" }, { id = "left", durable = true, wait = false })
    return a < b
  end)
  return 204
end)
return app
]]

describe("durable tasks", function()
  local t
  local function start(source, options)
    t = testing.start({ source = source or APP }, options)
    return t
  end
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  local function after(seconds, data, id, durable)
    return t:post("/after/" .. seconds, { json = { data = data, opts = { id = id, durable = durable ~= false } } })
  end
  local function runs(key) return t:store("ran"):get(key) or 0 end
  local function stored()
    t:kill()
    local n = 0
    for _ in pairs(t.place.runtime.tasks.kept.values) do n = n + 1 end
    return n
  end

  it("are on the disk before the call returns, and run after a kill", function()
    start()
    t:disk { commit = 0.5 }
    local began = t:elapsed()
    assert.equal(22, #after(60, { key = "a" }).json.id)
    assert.is_true(t:elapsed() - began >= 0.5)
    t:disk { commit = 0.002 }
    t:kill()
    t:advance(59)
    assert.equal(0, runs("a"))
    t:advance(2)
    assert.equal(1, runs("a"))
    t:kill()
    t:advance(100)
    assert.equal(1, runs("a"))
  end)

  it("run late rather than never", function()
    start()
    after(5, { key = "a" })
    after(50, { key = "b" })
    t:post("/at/" .. math.floor(t.place:time()) + 20, { json = { key = "c" } })
    -- the machine was off for 30 s
    t.place:shut("kill")
    t.place.world:set(t.place.world:now() + 30)
    t.place.server = nil
    t.place:boot()
    t:settle()
    t:advance(0.1)
    assert.same({ 1, 0, 1 }, { runs("a"), runs("b"), runs("c") })
    t:advance(20)
    assert.equal(1, runs("b"))
  end)

  it("run at least once, wherever the kill comes, and exactly once when it comes before or after", function()
    for step = 0, 40 do
      start()
      t:disk { commit = 0.01 }
      after(0.1, { key = "a", takes = 0.1 })
      t:advance(step * 0.01)
      local c = runs("a")
      t:kill()
      t:advance(10)
      local n = runs("a")
      assert.is_true(n == 1 or n == 2, ("step %d: %d runs"):format(step, n))
      if step < 9 then assert.equal(1, n) end
      if step > 30 then assert.same({ 1, 1 }, { c, n }) end
      assert.equal(0, stored())
      t:stop()
    end
  end)

  it("are replaced by id, also the last one of many at once", function()
    start()
    for i = 1, 3 do after(10, { key = "k" .. i }, "same") end
    assert.equal(1, stored())
    t:advance(11)
    assert.same({ 0, 0, 1 }, { runs("k1"), runs("k2"), runs("k3") })
    -- one that is due while its replacement is committed does not run
    after(1, { key = "old" }, "x")
    t:disk { commit = 2 }
    after(5, { key = "new" }, "x")
    t:disk { commit = 0.002 }
    t:advance(10)
    assert.same({ 0, 1 }, { runs("old"), runs("new") })
  end)

  it("replace one in memory, and are replaced by one", function()
    start()
    after(10, { key = "memory" }, "x", false)
    after(10, { key = "durable" }, "x")
    assert.equal(1, stored())
    after(10, { key = "memory" }, "x", false)
    assert.equal(1, t.place.runtime.tasks.count)
    t:advance(11)
    assert.same({ 1, 0 }, { runs("memory"), runs("durable") })
    assert.equal(0, stored())
  end)

  it("can be cancelled", function()
    start()
    after(10, { key = "a" }, "x")
    assert.same({ was = true }, t:post("/cancel/x").json)
    assert.same({ was = false }, t:post("/cancel/x").json)
    assert.equal(0, stored())
    t:advance(20)
    assert.equal(0, runs("a"))
  end)

  it("that run can be cancelled: then they do not run again", function()
    start()
    after(0, { key = "a", takes = 5 }, "x")
    t:advance(1)
    assert.same({ was = false }, t:post("/cancel/x").json)
    assert.equal(0, stored())
    t:advance(20)
    assert.equal(0, runs("a"))
  end)

  it("can be closed where they wait, in memory too, and do not begin anew after a reload", function()
    start()
    for _, durable in ipairs { true, false } do
      assert.equal("x", t:post("/after/0", { json = { data = { key = "a", takes = 5 },
        opts = { id = "x", durable = durable } } }).json.id)
      t:advance(1)
      assert.same({ was = true }, t:post("/cancel/x?running=1").json)
      assert.same({ was = false }, t:post("/cancel/x?running=1").json)
      assert(t:reload())
      t:advance(20)
      assert.same({ 0, 0 }, { stored(), runs("a") })
    end
    after(0, { key = "a", takes = 5 }, "x")
    t:disk { full = true }
    assert.equal("ESTORE", t:post("/cancel/x?running=1").json.error.code)
    t:disk { full = false }
    t:advance(6)
    assert.equal(1, runs("a"))
  end)

  it("may arm their own id again", function()
    start()
    after(1, { key = "a", again = 10 }, "a")
    t:advance(25)
    t:kill()
    t:advance(10)
    assert.equal(4, runs("a"))
    assert.equal(1, stored())
  end)

  it("that raise have ended", function()
    start()
    after(1, { error = "broken" }, "x")
    t:advance(2)
    assert.matches("task say .*broken", t:last_error())
    assert.equal(0, stored())
  end)

  it("are refused by a full disk, and what the id had stays", function()
    start()
    after(10, { key = "old" }, "x")
    t:disk { full = true }
    local refused = after(20, { key = "new", pad = ("x"):rep(30000) }, "x")
    assert.same({ 503, "ESTORE" }, { refused.status, refused.json.error.code })
    assert.equal("ESTORE", t:post("/cancel/x").json.error.code)
    t:disk { full = false }
    t:advance(30)
    assert.same({ 1, 0 }, { runs("old"), runs("new") })
    assert.equal(0, stored())
  end)

  it("that are refused leave one in memory, and one that runs, as they are", function()
    start()
    after(10, { key = "memory" }, "x", false)
    after(5, { key = "runs", takes = 20 }, "y")
    t:advance(6)
    t:disk { full = true }
    for _, id in ipairs({ "x", "y" }) do
      assert.equal("ESTORE", after(1, { key = "new", pad = ("x"):rep(30000) }, id).json.error.code)
    end
    t:disk { full = false }
    t:advance(60)
    assert.same({ 1, 1, 0 }, { runs("memory"), runs("runs"), runs("new") })
    assert.equal(0, stored())
  end)

  it("that the disk refuses late are pending when it is known", function()
    start()
    t:disk { hung = true }
    assert.equal("ETIMEOUT", after(1, { key = "a" }, "x").json.error.code)
    t:advance(10)
    t:disk { hung = false }
    t:advance(5)
    assert.equal(1, runs("a"))
    assert.equal(0, stored())
  end)

  it("are deleted later when the disk refuses that", function()
    start()
    after(1, { takes = 1 }, "x")
    t:disk { full = true }
    t:advance(60)
    local told = select(2, table.concat(t:log("error"), "\n"):gsub("the end of task 'say' was not stored", ""))
    assert.equal(1, told, table.concat(t:log("error"), "\n"))
    t:disk { full = false }
    t:advance(20)
    assert.equal(0, stored())
  end)

  it("begin anew when a reload or the end of the server closes their run", function()
    start()
    after(0, { key = "a", takes = 8 }, "x")
    t:advance(1)
    assert.is_true(t:reload(APP .. "-- 2"))
    t:advance(6)
    assert.equal(0, runs("a"))
    t:advance(8)
    assert.equal(1, runs("a"))
    after(0, { key = "b", takes = 30 }, "x")
    t:advance(1)
    t:restart()
    t:advance(31)
    assert.equal(1, runs("b"))
    assert.equal(0, stored())
  end)

  it("that no generation defines are kept and named, and run when one does", function()
    start()
    after(5, { key = "a" }, "x")
    local without = APP:gsub('app:task%("say"', 'app:task("other"')
    assert.is_true(t:reload(without))
    assert.matches("durable task 'say' is pending (1) and no longer defined: kept until it is defined again",
      table.concat(t:log("warn"), "\n"), 1, true)
    t:advance(3 * 86400)
    assert.matches("task 'say' is due and this generation does not define it: kept until one does",
      table.concat(t:log("warn"), "\n"), 1, true)
    t:kill()
    t:advance(10)
    assert.is_true(t:reload(APP))
    t:advance(1)
    assert.equal(1, runs("a"))
  end)

  it("open the data folder when the first one comes", function()
    start [[
      local app = require("sluice").app()
      app:channel("log", { history = 10 })
      app:task("say", function(data) app:publish("log", "said", data) end)
      app:post("/after", function() return { id = app:after(5, "say", { n = 1 }, { durable = true }) } end)
      app:get("/history", function() return app:history("log") end)
      return app ]]
    t:publish("log", "before", {})
    assert.equal(22, #t:post("/after").json.id)
    assert.equal("before", t:get("/history").json[1].event)
    t:kill()
    t:advance(6)
    assert.same({ n = 1 }, t:get("/history").json[1].data)
  end)

  it("are refused when they lie more than ten years ahead", function()
    start()
    for _, durable in ipairs { true, false } do
      local r = t:post("/after/1e10", { json = { opts = { durable = durable } } })
      assert.same({ 503, "EINVAL" }, { r.status, r.json.error.code })
      assert.matches("1e%+10 seconds from now are more than ten years", r.json.error.message)
    end
  end)

  it("take what JSON can carry, and an id of a size", function()
    start()
    assert.equal("data.list.1 is not UTF-8: it cannot be stored as it is (EJSON)", t:post("/bytes").body)
    assert.equal("ETOOBIG", after(1, {}, ("i"):rep(1025)).json.error.code)
    assert.equal("EINVAL", after(1, {}, "").json.error.code)
    after(1, nil, "none")
    t:advance(2)
    assert.equal(0, stored())
  end)

  it("wait, and say so where they cannot", function()
    start()
    assert.matches("app:after%(%) of a durable task inside .*sort cannot wait.*{ wait = false } does not wait",
      t:post("/sort").error)
    assert.equal(204, t:post("/left").status)
    t:advance(2)
    assert.equal(1, runs("left"))
    after(10, {}, "x")
    assert.matches("app:cancel%(%) of a durable task inside .*sort cannot wait", t:post("/unsort").error)
  end)

  -- Whatever fails, hangs and is killed: what was acknowledged runs, what was refused or cancelled does not.
  it("run at least once when they were acknowledged, and never when they were not, in random worlds", function()
    for seed = 1, os.getenv("SLUICE_SPEC_FULL") and 400 or 25 do
      math.randomseed(seed)
      start(nil, { seed = seed })
      local must, mustnt = {}, {}
      for i = 1, 30 do
        local key = "k" .. i
        local dice = math.random(8)
        if dice <= 4 then
          local answer = after(math.random(1, 20), { key = key }, key)
          if answer.status == 200 then must[key] = true
          elseif answer.json.error.code == "ESTORE" then mustnt[key] = true end
        elseif dice == 5 then
          t:disk { full = math.random(2) == 1 }
        elseif dice == 6 then
          t:disk { commit = math.random() * 0.2, early = math.random(2) == 1 }
        elseif dice == 7 then
          t:advance(math.random() * 5)
        else
          t:disk { full = false } -- a start needs room
          t[math.random(2) == 1 and "kill" or "restart"](t)
        end
      end
      t:disk { full = false }
      t:advance(60)
      for key in pairs(must) do assert.is_true(runs(key) >= 1, ("seed %d: %s did not run"):format(seed, key)) end
      for key in pairs(mustnt) do assert.equal(0, runs(key), ("seed %d: %s ran"):format(seed, key)) end
      assert.equal(0, stored(), "seed " .. seed)
      t:stop()
    end
  end)
end)
