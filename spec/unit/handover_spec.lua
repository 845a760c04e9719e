--- Open streams over a reload: writing coroutines go over, plans stay, read rules are asked
--- again; app:replan.
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local HEAD = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'

local function app(text) return HEAD .. (text or "") .. "\nreturn app\n" end

local function sent(t, id)
  local list = {}
  for i, row in ipairs(t.server.streams[id].sent) do list[i] = row.event .. " " .. row.text end
  return list
end

local function calls(t, name)
  local list = {}
  for _, call in ipairs(t.server.calls) do
    if call[1] == name then list[#list + 1] = table.concat(call, " ", 2) end
  end
  table.sort(list)
  return list
end

describe("a stream that a coroutine writes", function()
  local t

  local WRITER = [[
    app:stream("/w/:name", function(req, client)
      local _ <close> = setmetatable({}, { __close = function() app:publish("log", "closed", req.params.name) end })
      client.meta.from = client.meta.from or 0
      client:send("begin", { v = VERSION, resumed = client.resumed or "no", name = req.params.name, q = req.query.q,
        user = req.user and req.user.id, from = client.meta.from })
      while true do
        sluice.sleep(1)
        client.meta.from = client.meta.from + 1
        client:send("tick", client.meta.from)
      end
    end)
    app:guard("/w/*", function(req)
      app:publish("log", "guard", "")
      req.user = { id = "u" }
      return true
    end)]]

  local function writer(version) return app((WRITER:gsub("VERSION", version))) end

  it("goes over to the new code: closed once, told by client.resumed, its meta kept", function()
    t = rehearsal.serve(writer("1"))
    local id = t:connect("/w/a?q=x")
    t:advance(2.5)
    t:change(writer("2"))
    t:advance(0.1)
    assert.equal("retired", (t.runtime.retirement:waits_for() or "retired"))
    t:advance(2)
    local list = sent(t, id)
    assert.same({ "tick 1", "tick 2" }, { list[2], list[3] })
    local json = require("sluice.json").decode
    assert.same({ v = 1, resumed = "no", name = "a", q = "x", user = "u", from = 0 }, json(list[1]:match("{.*")))
    assert.same({ v = 2, resumed = "reload", name = "a", q = "x", user = "u", from = 2 }, json(list[4]:match("{.*")))
    assert.same({ "tick 3", "tick 4" }, { list[5], list[6] })
    -- its guards let it in once, and are not asked again
    assert.same({ "guard ", "closed a" }, t:events("log"))
    t:drop(id)
    assert.same({ "guard ", "closed a", "closed a" }, t:events("log"))
    assert.same({}, calls(t, "close"))
  end)

  it("goes over again with the next reload", function()
    t = rehearsal.serve(writer("1"))
    local id = t:connect("/w/a")
    for n = 2, 5 do
      t:advance(1.5)
      assert.is_true(t:change(writer(tostring(n))).ok)
    end
    t:advance(1.5)
    local begun, ticks = 0, 0
    for _, text in ipairs(sent(t, id)) do
      if text:find("^begin") then begun = begun + 1 else ticks = ticks + 1 end
    end
    assert.same({ 5, 5 }, { begun, ticks })
    assert.is_nil(t.server.streams[id].closed)
  end)

  it("goes over in slices of 128", function()
    t = rehearsal.serve(writer("1"))
    for i = 1, 300 do t:connect("/w/" .. i) end
    t:change(writer("2"))
    local function gone_over()
      local n = 0
      for _, fiber in pairs(t.runtime.writers) do
        if fiber.generation.id == 2 then n = n + 1 end
      end
      return n
    end
    assert.equal(0, gone_over())
    local steps = {}
    for i = 1, 3 do
      t:advance(0.0011)
      steps[i] = gone_over()
    end
    assert.same({ 128, 256, 300 }, steps)
  end)

  it("while it waits until its client can be written to", function()
    t = rehearsal.serve(writer("1"))
    local id = t:connect("/w/a")
    t.server.full[id] = true
    t:advance(1.5)
    t:change(writer("2"))
    t:advance(0.5)
    t.server.full[id] = nil
    t:call("writable", id)
    t:advance(1)
    assert.equal(3, #sent(t, id))
    assert.matches("^begin.*reload", sent(t, id)[2])
    assert.is_nil(next(t.runtime.writable))
  end)

  it("keeps its subscriptions, whose hooks do not run again", function()
    t = rehearsal.serve(app([[
      app:on("subscribe", "c", function() app:publish("log", "subscribed", "") end)
      app:stream("/w", function(req, client)
        client:send("x", {})
        sluice.sleep(0.01)
        client:subscribe("c")
        sluice.sleep(1000)
      end)
      app:stream("/p", function(req, client)
        client:send("x", {})
        sluice.sleep(0.5)
        return "c"
      end)]]))
    local w, p = t:connect("/w"), t:connect("/p")
    t:advance(0.1)
    t:reload()
    t:advance(1)
    assert.same({ "c" }, t.server.streams[w].channels)
    assert.same({ "c" }, t.server.streams[p].channels)
    assert.equal(2, #t:events("log"))
  end)

  it("ends when the new code has no such route, or refuses it", function()
    t = rehearsal.serve(writer("1"))
    local id, other = t:connect("/w/a"), t:connect("/w/b")
    t:change(app('app:stream("/w/b", function() return 403, "no" end)'))
    t:advance(0.1)
    local expected = { id .. " end", other .. " denied" }
    table.sort(expected)
    assert.same(expected, calls(t, "close"))
    assert.equal(0, t.runtime.scheduler.count)
    assert.matches("1 of the streams that functions wrote ended: .* as for /w/a",
      table.concat(rehearsal.logged("warn"), "\n"))
  end)

  it("that opens while its generation retires goes over too", function()
    t = rehearsal.serve(app('app:stream("/w", function(req, client) sluice.sleep(1) client:send("old", {}) '
      .. "sluice.sleep(1000) end)"))
    local request = t:request("GET", "/w")
    t:change(app('app:stream("/w", function(req, client) client:send("new", client.resumed) sluice.sleep(1000) end)'))
    t:advance(2)
    local id = t.server.answers[request].client
    assert.same({ "old {}", "new reload" }, sent(t, id))
    t:drop(id)
    assert.equal(0, t.runtime.scheduler.count)
  end)
end)

describe("other streams", function()
  local t

  it("keep their plans", function()
    t = rehearsal.serve(app('app:stream("/s", function() return "old" end)'))
    local id = t:connect("/s")
    t:change(app('app:stream("/s", function() return "new" end)'))
    t:advance(2)
    assert.same({ "old" }, t.server.streams[id].channels)
    assert.same({}, t.server.calls)
  end)

  local function rules(allowed)
    return app(([[
      app:guard("/**", function(req) req.user = { id = req.headers.user } return true end)
      app:channel("doc/:id", { read = function(user, p) return (%s)[user.id] == true end })
      app:channel("mine/:id", { read = function(user, p) return true end })
      app:stream("/docs/:id", { channels = { "doc/:id", "mine/:id", "open" } })
      app:stream("/doc/:id", "doc/:id")
      app:on("unsubscribe", "doc/:id", function(client, channel) app:publish("log", "left", client.user.id) end)
    ]]):format(allowed))
  end

  it("have their read rules asked again; who lost a right is told, or let go", function()
    t = rehearsal.serve(rules("{ alice = true, bob = true }"))
    local function open(path, user) return t:connect(path, { headers = { user = user } }) end
    local alice, both, only = open("/doc/1", "alice"), open("/docs/1", "bob"), open("/doc/1", "bob")
    t:reload()
    t:advance(1)
    assert.same({}, t.server.calls)
    t:change(rules("{ alice = true }"))
    t:advance(1)
    local expected = { both .. " doc/1 denied", only .. " doc/1 denied" }
    table.sort(expected)
    assert.same(expected, calls(t, "unsubscribe"))
    assert.same({ only .. " revoked" }, calls(t, "close"))
    assert.same({ "doc/1" }, t.server.streams[alice].channels)
    local left = t.server.streams[both].channels
    table.sort(left)
    assert.same({ "mine/1", "open" }, left)
    assert.same({ "left bob", "left bob" }, t:events("log"))
  end)

  it("are asked within a second, however many there are", function()
    t = rehearsal.serve(rules("{ bob = true }"))
    for _ = 1, 300 do t:connect("/docs/1", { headers = { user = "bob" } }) end
    t:change(rules("{}"))
    t:advance(1)
    assert.equal(300, #calls(t, "unsubscribe"))
  end)
end)

describe("app:replan", function()
  local t

  it("runs the plans of open streams again, by path", function()
    t = rehearsal.serve(app([[
      local teams = app:state("teams", { bob = { "red" }, alice = { "red" } })
      app:guard("/**", function(req) req.user = { id = req.headers.user } return true end)
      app:stream("/mine/:x", function(req, client)
        local list = { "all" }
        for _, name in ipairs(teams()[req.user.id]) do list[#list + 1] = name .. "/" .. req.params.x end
        return { channels = list, meta = { kept = true } }
      end)
      app:stream("/other", function() return "other" end)
      app:on("subscribe", "blue/*", function(client) app:publish("log", "in", client.user.id) end)
      app:on("unsubscribe", "red/*", function(client) app:publish("log", "out", client.user.id) end)
      app:get("/move", function()
        teams().bob = { "blue" }
        return { n = app:replan("/mine/*") }
      end)
      app:get("/bad", function() app:replan() end)]]))
    local function open(path, user) return t:connect(path, { headers = { user = user } }) end
    local bob, alice, other = open("/mine/1", "bob"), open("/mine/2", "alice"), open("/other", "bob")
    assert.equal('{"n":2}', t:get("/move").body)
    t:advance(0.1)
    assert.same({ "all", "blue/1" }, t.server.streams[bob].channels)
    assert.same({ "all", "red/2" }, t.server.streams[alice].channels)
    assert.same({ "other" }, t.server.streams[other].channels)
    assert.same({ "in bob", "out bob" }, t:events("log"))
    t:get("/bad")
    assert.matches("app:replan%(pattern%): the pattern is a string, not a nil", rehearsal.logged("error")[1])
  end)
end)
