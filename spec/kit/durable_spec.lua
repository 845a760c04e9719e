--- Durable channels: in virtual time on a disk in memory, and on a real server that is killed.
local kit = require("spec.support.kit")
local server = require("spec.support.server")
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log/*", { history = 100, durable = true })
app:channel("alerts", { history = 100, key = "id", rewind = "latest", durable = true })
app:channel("prices", { history = "latest", key = "id", durable = true })
app:channel("memory", { history = 100 })
app:channel("short", { history = 20, durable = true })
app:stream("/short", { channels = { { "short", rewind = "all" } } })
app:stream("/plain", { channels = { { "short", rewind = "all" } }, control = false })
app:channel("brief/*", { history = 10, durable = true })
app:channel("brief/memory", { durable = false })
app:stream("/brief", { channels = { "brief/disk", "brief/memory" } })
app:stream("/log", "log/a")
app:stream("/alerts", "alerts")
app:stream("/all", { channels = { "log/a", "alerts", "prices", "memory" } })
app:stream("/rewind", { channels = { { "log/a", rewind = 3 } } })
app:stream("/far", { channels = { { "log/a", rewind = 9 }, "memory" } })
app:stream("/joins", function(_, client)
  client:subscribe("log/a", { rewind = 9 })
  return "memory"
end)
app:post("/publish/*channel", function(req)
  local body = req:json()
  local id, second, third = app:publish(req.params.channel, "e", body.data, body.opts)
  if id then return { id = id, subscribers = second, again = third } end
  return 503, { error = { message = second, code = third } }
end)
app:post("/many", function()
  local left = 100
  for i = 1, 100 do
    app:spawn(function()
      app:publish("log/a", "e", { n = 100 + i, pad = ("x"):rep(1000) })
      left = left - 1
    end)
  end
  while left > 0 do sluice.sleep(0.001) end
end)
app:get("/lag", function()
  local figures = app:stats("log/a")
  return { events = figures.lag_events, bytes = figures.lag_bytes }
end)
app:get("/latest/*channel", function(req) return { (app:latest(req.params.channel)) } end)
app:get("/history", function() return app:history("log/a", { limit = 100 }) end)
app:get("/memory/*channel", function(req)
  local list = {}
  for i, e in ipairs(app:history(req.params.channel, { after = req.query.after, limit = tonumber(req.query.limit) })) do
    list[i] = e.data.n
  end
  return list
end)
return app
]]

local function publish(t, channel, data, opts)
  return t:post("/publish/" .. channel, { json = { data = data, opts = opts } })
end

local function ids(t, n, from)
  local list = {}
  for i = from or 1, (from or 1) + n - 1 do
    list[i] = assert(publish(t, "log/a", { n = i }).json.id)
  end
  return list
end

local numbers = kit.numbers

local count = kit.count

-- A browser that comes back after a kill, and one after a restart, as if nothing had happened.
local function resumes(t)
  local c = t:connect("/log")
  local list = ids(t, 10)
  c:wait_for("e", 5, { n = 10 })
  assert.equal(list[10], c:last_id())
  t:kill()
  local d = t:connect("/log", { last_event_id = list[4] })
  d:wait_for("e", 5, { n = 10 })
  assert.is_true(d.hello.resumed)
  list[11] = ids(t, 1, 11)[11]
  d:wait_for("e", 5, { n = 11 })
  assert.same(count(5, 11), numbers(d))
  t:restart()
  local e = t:connect("/log", { last_event_id = list[7] })
  e:wait_for("e", 5, { n = 11 })
  assert.same({ true, count(8, 11), 0 }, { e.hello.resumed, numbers(e), #e:events("reset") })
  local newcomer = t:connect("/rewind")
  newcomer:wait_for("e", 5, { n = 11 })
  assert.same(count(9, 11), numbers(newcomer))
  assert.equal(11, #t:get("/history").json)
end

describe("durable channels", function()
  local t
  local function start(options)
    t = testing.start({ source = APP }, options)
    return t
  end
  after_each(function()
    if t then t:stop() end
    t = nil
    server.stop_all()
  end)

  it("resume after a kill, in virtual time", function() resumes(start()) end)

  it("resume after a kill -9 of a real server", function()
    resumes(start { sockets = true, flags = { drain = 0.1 } })
  end)

  for place, sockets in pairs { ["in virtual time"] = false, ["on a real server"] = true } do
    it("give a newcomer all there is, and nothing to be told of what went before it came, " .. place, function()
      start(sockets and { sockets = true, flags = { drain = 0.1 } })
      for i = 1, 30 do publish(t, "short", { n = i, pad = ("x"):rep(60000) }) end -- memory holds 256 KiB
      for _, path in ipairs { "/short", "/plain" } do
        local c = t:connect(path)
        c:wait_for("e", 5, { n = 30 })
        local seen = numbers(c)
        assert.same(count(seen[1], 30), seen)
        assert.is_true(#seen >= 20, #seen)
        assert.equal(0, #c:events("reset"))
      end
    end)

    it("give a newcomer the history it asks for, memory having only a part, " .. place, function()
      start(sockets and { sockets = true, flags = { drain = 0.1 } })
      for i = 1, 12 do publish(t, "log/a", { n = i, pad = ("x"):rep(60000) }) end -- memory holds 256 KiB
      for _, path in ipairs { "/far", "/joins" } do
        local c = t:connect(path)
        c:wait_for("e", 5, { n = 12 })
        assert.same(count(4, 12), numbers(c))
        assert.same(0, #c:events("reset"))
      end
      t:kill()
      local c = t:connect("/far")
      c:wait_for("e", 5, { n = 12 })
      assert.same(count(4, 12), numbers(c))
    end)
  end

  for place, sockets in pairs { ["in virtual time"] = false, ["on a real server"] = true } do
    it("say in hello whether a client missed something, as channels in memory do, " .. place, function()
      start(sockets and { sockets = true, flags = { drain = 0.1 } })
      for _, channel in ipairs { "brief/disk", "brief/memory" } do
        local id = {}
        for i = 1, 45 do id[i] = assert(publish(t, channel, { n = i }).json.id) end
        local late = t:connect("/brief", { last_event_id = id[1] })
        late:wait_for("e", 5, { n = 45 })
        assert.same({ false, 10, 1 }, { late.hello.resumed, late.hello.replay, #late:events("reset") })
        local first = numbers(late)[1] -- the store may have a few more than the history
        assert.is_true(first > 2 and first <= 36)
        assert.same(count(first, 45), numbers(late))
        local whole = t:connect("/brief", { last_event_id = id[35] })
        whole:wait_for("e", 5, { n = 45 })
        assert.same({ true, count(36, 45) }, { whole.hello.resumed, numbers(whole) })
      end
    end)
  end

  it("count what a reader still has to get, though many events came with one commit", function()
    start()
    local c, good = t:connect("/log"), t:connect("/log")
    t:settle()
    c:stall()
    t:post("/many")
    t:advance(1)
    local lag = t:get("/lag").json
    assert.is_true(lag.events > 50 and lag.events <= 100, lag.events)
    local each = #'event: e\ndata: {"n":101,"pad":""}\nid: \n\n' + 1000 + #good:last_id()
    assert.equal(lag.events * each, lag.bytes)
  end)

  it("keep the newest of each key, and a state's values", function()
    start()
    for i = 1, 3 do
      publish(t, "alerts", { id = "x", n = i })
      publish(t, "prices", { id = "x", n = i })
    end
    publish(t, "alerts", { id = "y", n = 4 })
    publish(t, "alerts", { id = "x" }, { remove = true })
    t:kill()
    local c = t:connect("/all")
    assert.same({ ["prices"] = 1 }, c.hello.state)
    t:settle()
    assert.equal(2, #c:events("e"))
    assert.same({ { id = "x", n = 3 } }, t:get("/latest/prices").json)
  end)

  it("are answered and delivered after the commit, at its time", function()
    start()
    t:disk { commit = 0.5 }
    local c, began = t:connect("/log"), t:elapsed()
    ids(t, 1)
    assert.is_true(t:elapsed() - began >= 0.5)
    assert.equal(1, #c:events("e"))
  end)

  it("tell a memory channel beside them that it was restarted", function()
    start()
    local c = t:connect("/all")
    publish(t, "memory", { n = 1 })
    t:kill()
    c = t:connect("/all", { last_event_id = c:last_id() })
    t:settle()
    local resets = c:events("reset")
    assert.same({ 1, "memory", "restart" }, { #resets, resets[1].data.channel, resets[1].data.reason })
  end)

  it("know an idempotency key over a kill", function()
    start()
    local first = publish(t, "log/a", { n = 1 }, { idempotency = "k" }).json
    assert.is_false(first.again)
    assert.same({ first.id, true }, { publish(t, "log/a", { n = 2 }, { idempotency = "k" }).json.id, true })
    t:kill()
    local again = publish(t, "log/a", { n = 3 }, { idempotency = "k" }).json
    assert.same({ first.id, true }, { again.id, again.again })
    assert.equal(1, #t:get("/history").json)
  end)

  it("update a key only while it is there", function()
    start()
    local function update() return publish(t, "alerts", { id = "x" }, { update = true }) end
    assert.equal("ENOTFOUND", update().json.error.code)
    publish(t, "alerts", { id = "x" })
    assert.equal(200, update().status)
    publish(t, "alerts", { id = "x" }, { remove = true })
    assert.equal("channel 'alerts' has no value of key 'x'", update().json.error.message)
    assert.equal("EINVAL", publish(t, "log/a", {}, { update = true, key = "x" }).json.error.code)
  end)

  for _, place in ipairs { "memory", "disk" } do
    for kind, policy in pairs { ["keyed log"] = 'history = 9, rewind = "latest"', state = 'history = "latest"' } do
      it(("take a key out only when it is there: a %s in %s"):format(kind, place), function()
        t = testing.start { source = [[
          local sluice = require("sluice")
          local app = sluice.app()
          app:channel("tasks", { key = "id", durable = ]] .. tostring(place == "disk") .. ", " .. policy .. [[ })
          app:put("/:id", function(req) return sluice.receipt(app:publish("tasks", "set", { id = req.params.id })) end)
          app:delete("/:id", function(req)
            return sluice.receipt(app:remove("tasks", req.params.id, { update = true }))
          end)
          app:delete("/publish/:id", function(req)
            local opts = { remove = true, update = true }
            return sluice.receipt(app:publish("tasks", "gone", { id = req.params.id }, opts))
          end)
          app:delete("/twice/:id", function(req)
            local codes = {}
            for i = 1, 2 do
              app:spawn(function()
                local id, _, code = app:remove("tasks", req.params.id, { update = true })
                codes[i] = id and "removed" or code
              end)
            end
            while not (codes[1] and codes[2]) do sluice.sleep(0.001) end
            return codes
          end)
          app:get("/", function() return { there = app:latest("tasks", "a") ~= nil } end)
          return app ]] }
        for _, path in ipairs { "/a", "/publish/a" } do
          local never = t:delete(path)
          assert.same({ 404, "ENOTFOUND", "channel 'tasks' has no value of key 'a'" },
            { never.status, never.json.error.code, never.json.error.message })
          t:put("/a")
          assert.is_true(t:get("/").json.there)
          assert.equal(202, t:delete(path).status)
          assert.is_false(t:get("/").json.there)
          assert.equal(404, t:delete(path).status)
        end
        t:put("/a")
        local codes = t:delete("/twice/a").json
        table.sort(codes)
        assert.same({ "ENOTFOUND", "removed" }, codes)
      end)
    end
  end

  it("give app:history what memory has, also for an id below that", function()
    start()
    local id = {}
    for i = 1, 10 do id[i] = publish(t, "short", { n = i, pad = ("x"):rep(60000) }).json.id end
    for path, first in pairs { [""] = 7, ["?limit=2"] = 9, ["?after=" .. id[1]] = 7, ["?after=" .. id[8]] = 9,
      ["?limit=1&after=" .. id[7]] = 10 } do
      assert.same(count(first, 10), t:get("/memory/short" .. path).json, path)
    end
  end)

  it("refuse what a full disk does not take, and go on when there is room", function()
    start()
    ids(t, 1)
    local c = t:connect("/log")
    t:disk { full = true }
    local refused = publish(t, "log/a", { pad = ("x"):rep(30000) })
    assert.equal("ESTORE", refused.json.error.code)
    assert.equal(200, publish(t, "memory", { n = 1 }).status)
    t:disk { full = false }
    ids(t, 1, 2)
    assert.same({ 2 }, numbers(c))
  end)

  it("answer ETIMEOUT when the disk does not, and deliver what it took in the end", function()
    start()
    local c = t:connect("/log")
    t:disk { commit = 8 }
    assert.equal("ETIMEOUT", publish(t, "log/a", { n = 1 }).json.error.code)
    assert.same({}, numbers(c))
    t:advance(4)
    assert.same({ 1 }, numbers(c))
  end)

  it("wake nobody again with the answer that comes after ETIMEOUT", function()
    t = testing.start { source = [[
      local sluice = require("sluice")
      local app = sluice.app()
      app:channel("log", { history = 100, durable = true })
      app:post("/", function()
        local _, _, code = app:publish("log", "e", { n = 1 })
        local began = sluice.now()
        sluice.sleep(10)
        return { code = code, slept = sluice.now() - began }
      end)
      app:get("/all", function() return { n = #app:history("log") } end)
      return app ]] }
    t:disk { commit = 8 }
    local answer = t:post("/").json
    assert.equal("ETIMEOUT", answer.code)
    assert.near(10, answer.slept, 0.1)
    assert.equal(1, t:get("/all").json.n)
  end)

  it("are not published to where nothing may wait", function()
    t = testing.start { source = [[
      local sluice = require("sluice")
      local app = sluice.app()
      app:channel("log", { durable = true })
      app:post("/sort", function()
        table.sort({ 1, 2, 3 }, function(a, b) app:publish("log", "e", {}) return a < b end)
      end)
      app:post("/sort-text", function()
        table.sort({ 1, 2, 3 }, function(a, b) app:publish("log", "e", "{}") return a < b end)
      end)
      app:post("/own", function()
        return coroutine.wrap(function() return app:publish("log", "e", "{}") end)()
      end)
      app:post("/later", function()
        table.sort({ 1, 2 }, function(a, b) app:publish("log", "e", {}, { wait = false }) return a < b end)
        return 204
      end)
      return app ]] }
    assert.matches("app:publish%(%) on a durable channel inside .*sort.* cannot wait.*{ wait = false } does not wait",
      t:post("/sort").error)
    assert.matches("inside .*sort.* cannot wait", t:post("/sort-text").error)
    assert.matches("inside a coroutine of your own would return to its resume", t:post("/own").error)
    assert.equal(204, t:post("/later").status)
  end)
end)

-- What each of them published, in a <close> variable or not, is in the log.
local CLOSES = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log", { history = 100, durable = true })
app:channel("memory", { history = 100 })
local function closes(name, wait)
  return setmetatable({}, { __close = function()
    app:publish("log", "e", { n = name }, { wait = wait })
    app:publish("memory", "e", { n = name .. " went on" })
  end })
end
app:post("/normal", function()
  local _ <close> = closes("normal")
  return 204
end)
app:post("/error", function()
  local _ <close> = closes("error")
  error("on purpose")
end)
app:post("/caught", function()
  local ok = pcall(function()
    local _ <close> = closes("caught")
    error("on purpose")
  end)
  return { caught = not ok }
end)
app:post("/break", function()
  for _ in next, { 1, 2 }, nil, closes("break") do break end
  return 204
end)
app:stream("/waits", function(_, client)
  local _ <close> = closes("waits")
  client:send("begin", {})
  while true do sluice.sleep(1) end
end)
app:stream("/not", function(_, client)
  local _ <close> = closes("not", false)
  client:send("begin", {})
  while true do sluice.sleep(1) end
end)
app:get("/log/*channel", function(req)
  local list = {}
  for i, e in ipairs(app:history(req.params.channel)) do list[i] = e.data.n end
  return list
end)
return app
]]

describe("a publish in a <close> variable", function()
  local t
  before_each(function() t = testing.start { source = CLOSES } end)
  after_each(function() t:stop() end)

  for name, status in pairs { normal = 204, error = 500, caught = 200, ["break"] = 204 } do
    it("waits for the disk at the end of its block: " .. name, function()
      assert.equal(status, t:post("/" .. name).status)
      assert.same({ { name }, { name .. " went on" } }, { t:get("/log/log").json, t:get("/log/memory").json })
      t:kill()
      assert.same({ name }, t:get("/log/log").json)
      if name == "error" then assert.truthy(t:last_error()) end
    end)
  end

  for how, act in pairs {
    ["its client goes"] = function(client) client:close() end,
    ["a reload ends it"] = function()
      assert(t:reload((CLOSES:gsub("sleep%(1%)", "sleep(2)"))))
      t:advance(30)
    end,
  } do
    it("cannot wait when its coroutine is closed from outside: " .. how, function()
      for path, published in pairs { ["/waits"] = false, ["/not"] = "not" } do
        act(t:connect(path))
        t:advance(1)
        local list, after = t:get("/log/log").json, t:get("/log/memory").json
        assert.same({ published or nil, published and "not went on" or nil }, { list[1], after[1] })
        local raised = table.concat(t:log(), "\n"):find("cannot wait while a coroutine is closed", 1, true)
        assert.equal(not published, raised ~= nil)
        t:stop()
        t = testing.start { source = CLOSES }
      end
    end)
  end
end)
