--- Stream requests: plans, narrowing, read rules, refusals, streams that a plan writes.
local rehearsal = require("spec.support.rehearsal")
local json = require("sluice.json")

after_each(rehearsal.stop)

local function load(text)
  return rehearsal.load('local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app")
end

local PASS = "local function pass() return true end\n"

local function opened(t, target, options)
  local id, answer = t:connect(target, options)
  assert(id, answer and answer.body)
  return t.server.streams[id], id
end

describe("a plan", function()
  it("may be a channel, a table, or a function that returns one", function()
    local t = load(PASS .. [[
      app:stream("/a/:id", pass, "match/:id")
      app:stream("/b/:id", pass, { channels = { "x", { "y/:id", keys = { "k" }, rewind = 5 } }, heartbeat = 20,
        rewind = "all" })
      app:stream("/c/:id", function(req) return "c/" .. req.params.id end)
      app:stream("/d", function() return { channels = { "d" }, meta = { level = 3 } } end)]])
    assert.same({ "match/7" }, opened(t, "/a/7").channels)
    local b = opened(t, "/b/7").plan
    assert.same({ { "x" }, { "y/7", keys = { "k" }, rewind = 5 } }, b.channels)
    assert.equal(20, b.heartbeat)
    assert.equal("all", b.rewind)
    assert.same({ "c/7" }, opened(t, "/c/7").channels)
    local _, id = opened(t, "/d")
    assert.equal(3, t:inside(function() return t.app:client(id).meta.level end))
  end)

  it("of a function may be one table for all, which stays what it was", function()
    local t = load([[
      local PLAN = { channels = { "x", "y" }, heartbeat = 20 }
      local asked = app:state("asked", {})
      app:channel("y", { read = function() table.insert(asked(), "y") return true end })
      app:stream("/one", function() return PLAN end)
      app:get("/plan", function() return { plan = PLAN, asked = asked() } end)]])
    for _ = 1, 2 do
      assert.same({ "x", "y" }, opened(t, "/one").channels)
      assert.equal(20, opened(t, "/one").plan.heartbeat)
    end
    assert.same({ plan = { channels = { "x", "y" }, heartbeat = 20 }, asked = { "y", "y", "y", "y" } },
      json.decode(t:get("/plan").body))
    assert.same({ "k" }, opened(t, "/one?keys=k").plan.channels[1].keys)
  end)

  it("of a function is the same plan whether it is opened at once or takes the long way", function()
    local t = load([[
      local MANY = {}
      for i = 1, 20 do MANY[i] = "m/" .. i end
      local PLANS = { plain = { channels = { "x", "y" } }, beats = { channels = { "x" }, heartbeat = 20 },
        many = { channels = MANY }, whole = "x", deep = setmetatable({}, { __index = { channels = { "x" } } }),
        own = { channels = { { "x", rewind = 3 } } } }
      app:stream("/p/:name", { heartbeat = 40 }, function(req) return PLANS[req.params.name] end)
      app:stream("/who/:name", function(req) req.user = { id = "ann" } return PLANS[req.params.name] end)]])
    for name, beat in pairs({ plain = 40, beats = 20, many = 40, whole = 40, own = 40 }) do
      local at_once, long = opened(t, "/p/" .. name), opened(t, "/who/" .. name)
      assert.same(long.channels, at_once.channels, name)
      assert.equal(beat, at_once.plan.heartbeat, name)
      assert.equal("ann", long.user)
      assert.is_nil(at_once.user)
    end
    assert.equal(20, #opened(t, "/p/many").channels)
    assert.same({ "x" }, opened(t, "/p/deep").channels)
  end)

  -- With a guard there is a session.
  local function reuses(guard, kept)
    package.preload.spec_host = function() -- a rock: the app's environment does not reach it
      local by_coroutine = setmetatable({}, { __mode = "k" })
      return { put = function(value)
        local co = coroutine.running()
        local before = by_coroutine[co]
        by_coroutine[co] = value
        return before
      end }
    end
    finally(function() package.preload.spec_host, package.loaded.spec_host = nil, nil end)
    local t = load([[
      local seen = setmetatable({}, { __mode = "k" })
      app:stream("/plain", function() return "plain" end)
      app:stream("/knows", function()
        local co = coroutine.running()
        local name = seen[co] and "stale" or "fresh"
        seen[co] = true
        return name
      end)
      local host = require("spec_host")
      app:stream("/host", function()
        local before = host.put("seen")
        return before or "none"
      end)
      app:stream("/breaks", function() error("broken") end)
      app:stream("/makes", function() coroutine.wrap(function() coroutine.yield() end)() return "made" end)
      app:stream("/waits", function() sluice.sleep(1) return "late" end)
      app:stream("/hooks", function() debug.sethook(function() end, "c") return "hooked" end)
    ]] .. guard)
    local scheduler = t.runtime.scheduler
    assert.same({ "plain" }, opened(t, "/plain").channels)
    local spare = scheduler[kept]
    assert.same({ "plain" }, opened(t, "/plain").channels)
    assert.is_true(spare ~= nil and spare == scheduler[kept])
    for _ = 1, 3 do
      assert.same({ "fresh" }, opened(t, "/knows").channels)
      assert.is_nil(scheduler[kept])
      assert.same({ "none" }, opened(t, "/host").channels)
      assert.is_nil(scheduler[kept])
      t:connect("/breaks")
      assert.same({ "plain" }, opened(t, "/plain").channels)
    end
    opened(t, "/makes")
    opened(t, "/hooks")
    local hooked = scheduler[kept]
    assert.same({ "plain" }, opened(t, "/plain").channels)
    assert.is_true(scheduler[kept] ~= hooked)
    local one, two = t:request("GET", "/waits"), t:request("GET", "/waits")
    t:advance(2)
    for _, id in ipairs({ one, two }) do assert.truthy(t:answer(id).client) end
    assert.equal(0, scheduler.count)
  end

  it("of a function runs in a coroutine that others have used, unless somebody knows it", function()
    reuses("", "spare_plan")
    reuses("app:guard('/**', function() return true end)", "spare")
  end)

  it("that is opened at once, or refused then, tells its guards the status of its answer", function()
    local t = load([[
      local told = app:state("told", {})
      app:guard("/**", function() return true, function(status) table.insert(told(), status) end end)
      app:stream("/plain", function() return { channels = { "x" } } end)
      app:get("/told", function() return { list = told() } end)]])
    t:connect("/plain")
    t:head("/plain")
    t.server.open = function() return false, "there is no memory", "ENOMEM" end
    local _, answer = t:connect("/plain")
    assert.matches("event: bye", answer.body)
    assert.same({ 200, 200, 503 }, json.decode(t:get("/told").body).list)
  end)

  local NEARLY = {
    { '{ channels = {} }', "needs channels = { … }" },
    { '{ channels = { "a", 7 } }', "a channel is named by a string, not by a number" },
    { '{ channels = { "a", x = "b" } }', "channels is a list of" },
    { '{ channels = { "a" }, heartbeat = 0 }', "heartbeat is a number of seconds from 1 to 3600" },
    { '{ channels = { "a" }, heartbeat = "20" }', "heartbeat is a number of seconds from 1 to 3600" },
    { '{ channels = { "a" }, [1] = "b" }', 'write { channels = { "b", … } }' },
    { '{ "a" }', 'write { channels = { "a", … } }' },
  }
  for i, row in ipairs(NEARLY) do
    it(("of a function that is nearly right is told what is wrong (%d)"):format(i), function()
      local t = load(('app:stream("/s", function() return %s end)'):format(row[1]))
      assert.is_nil((t:connect("/s")))
      assert.equal(500, t.server.responded.status)
      local lines = table.concat(rehearsal.logged("error"), "\n")
      assert.is_truthy(lines:find(row[2], 1, true), lines)
    end)
  end

  it("of a function gets the client when it takes one, however it says so", function()
    local t = load([[
      app:stream("/two", function(_, client) client:send("hi", client.id) return "two" end)
      app:stream("/all", function(...) (select(2, ...)):send("hi", "x") return "all" end)
      app:stream("/one", function(req) return req.path:sub(2) end)]])
    for _, path in ipairs({ "/two", "/all", "/one" }) do assert.is_truthy((opened(t, path)), path) end
  end)

  it("is narrowed by what the client asks for, never widened", function()
    local t = load(PASS .. [[
      app:stream("/free", pass, "p")
      app:stream("/bound", pass, { channels = { { "p", keys = { "a", "b" } }, "q" }, types = { "t" } })
      app:stream("/renamed", pass, { channels = { "p" }, query = { keys = "symbols" } })]])
    local function entry(target, n) return opened(t, target).plan.channels[n or 1] end
    assert.is_nil(entry("/free").keys)
    assert.same({ "x", "y" }, entry("/free?keys=x,y,x").keys)
    assert.same({}, entry("/free?keys=").keys)
    assert.same({ "b" }, entry("/bound?keys=b,c").keys)
    assert.same({}, entry("/bound?keys=c").keys)
    assert.same({ "a", "b" }, entry("/bound").keys)
    assert.same({ "z" }, entry("/bound?keys=z", 2).keys)
    assert.same({ "t" }, entry("/bound?types=t,u").types)
    assert.same({}, entry("/bound?types=u").types)
    assert.same({ "m" }, entry("/renamed?symbols=m&keys=n").keys)
    local _, answer = t:connect("/free?keys=" .. ("k,"):rep(101))
    assert.equal(422, answer.status)
    assert.equal("keys", json.decode(answer.body).error.field)
  end)

  it("has the lowest of the rates that plan, entry and client name", function()
    local t = load(PASS .. [[
      app:stream("/free", pass, "p")
      app:stream("/bound", pass, { channels = { { "p", max_rate = 5 }, "q" }, max_rate = 10 })
      app:stream("/renamed", pass, { channels = { "p" }, query = { max_rate = "rate" } })]])
    local function rate(target, n) return opened(t, target).plan.channels[n or 1].max_rate end
    assert.same({ nil, 2, 1000 }, { rate("/free"), rate("/free?max_rate=2"), rate("/free?max_rate=1e3") })
    assert.same({ 5, 10, 5, 7.5 }, { rate("/bound"), rate("/bound", 2), rate("/bound?max_rate=7.5"),
      rate("/bound?max_rate=7.5", 2) })
    assert.same({ nil, 1 / 32 }, { rate("/renamed?max_rate=x"), rate("/renamed?rate=.03125&rate=9") })
    for text, per_second in pairs({ ["%2B2.5e%2B1"] = 25, ["3."] = 3, ["5e-1"] = 0.5, ["1E2"] = 100 }) do
      assert.equal(per_second, rate("/renamed?rate=" .. text), text)
    end
    for _, text in ipairs({ "", "nan", "-1", "0", "0.016", "1e400", "0e999", "fast", "0x10", "1_0", "2,5", "+", ".",
      "1e", "1e+", ".e1", "1.2.3", "2e1e1", "%200" }) do
      local _, answer = t:connect("/renamed?rate=" .. text)
      assert.equal(422, answer.status, text)
      assert.same({ error = { code = "EBADFIELD", field = "rate",
        message = "rate: a number of events per second, from 1/60, is expected" } }, json.decode(answer.body))
    end
  end)

  it("may refuse with a status, and a code", function()
    local t = load([[
      app:stream("/a", function() return 401, "sign in" end)
      app:stream("/b", function() return nil, "gone", "ENOTFOUND" end)
      app:stream("/c", function(req) req:abort(403, "not you") end)]])
    local _, a = t:connect("/a")
    assert.equal(401, a.status)
    assert.equal("sign in", json.decode(a.body).error.message)
    assert.equal(404, select(2, t:connect("/b")).status)
    assert.equal(403, select(2, t:connect("/c")).status)
  end)

  it("answers 404 when a parameter makes no channel", function()
    local t = load(PASS .. [[
      app:stream("/a/:id", pass, "match/:id")
      app:stream("/q", function(req) return req.query.c end)]])
    for _, id in ipairs({ "a%20b", "a%2Fb", "a*", "" .. ("x"):rep(200) }) do
      local _, answer = t:connect("/a/" .. id)
      assert.equal(404, answer.status, id)
    end
    assert.equal(404, select(2, t:connect("/q?c=a%20b")).status)
  end)

  it("that breaks gives the core its status, which says bye instead", function()
    local t = load([[
      app:stream("/nothing", function() end)
      app:stream("/raise", function() local x; return x.y end)
      app:stream("/bool", function() return true end)
      app:stream("/typo", function() return { channels = { "a" }, kees = {} } end)
      app:stream("/busy", function() return 503 end)
      app:stream("/rate", function() return 429 end)
      app:stream("/guard", function() end, "a")]])
    local statuses = { ["/busy"] = 503, ["/rate"] = 429 }
    for _, path in ipairs({ "/nothing", "/raise", "/bool", "/typo", "/busy", "/rate", "/guard" }) do
      local id, answer = t:connect(path)
      assert.is_nil(id)
      assert.equal(statuses[path] or 500, t.server.responded.status, path)
      assert.equal(200, answer.status)
      assert.matches("event: bye\n", answer.body)
    end
    local lines = table.concat(rehearsal.logged("error"), "\n")
    assert.matches("app.lua:3: the plan function returned nothing: return a channel, a plan table, or a status",
      lines)
    assert.matches("app.lua:6: the plan of /typo: unknown option 'kees'", lines)
    assert.matches("guard #1 of app.lua:9 returned nil", lines)
    assert.equal(5, #rehearsal.logged("error"))
  end)

  it("says overload when the core takes no more streams", function()
    local t = load(PASS .. [[app:stream("/a", pass, "a")]])
    t.server.refused.accept = { nil, "too many streams", "EFULL" }
    assert.is_nil(t:connect("/a"))
    assert.equal(503, t.server.responded.status)
    t.server.refused.accept = { nil, "closed", "ECLOSED" }
    assert.is_nil(t:connect("/a"))
    t.server.refused.accept = nil
    assert.truthy(t:connect("/a"))
  end)

  it("may wait, and is given up when the client goes meanwhile", function()
    local t = load([[
      local closed = app:state("closed", {})
      app:stream("/slow", function()
        local _ <close> = setmetatable({}, { __close = function() closed().yes = true end })
        sluice.sleep(1)
        return "a"
      end)]])
    local first, second = t:request("GET", "/slow"), t:request("GET", "/slow")
    t:hang_up(second)
    assert.is_true(t.runtime.states.closed.data.yes)
    t:advance(2)
    assert.truthy(t.server.answers[first].client)
    assert.equal(1, t.server:subscribers("a"))
    assert.is_nil(next(t.runtime.opening))
  end)

  it("answers HEAD without a stream", function()
    local t = load(PASS .. [[app:stream("/a", pass, "a")]])
    local a = t:head("/a")
    assert.equal(200, a.status)
    assert.equal("text/event-stream", a.headers["content-type"])
    assert.equal(0, t.server:subscribers("a"))
  end)

  it("that writes is ended by HEAD where it waits next", function()
    local t = load([[
      local steps = app:state("steps", {})
      local function step(text) table.insert(steps(), text) end
      app:on("connect", function() step("connect") end)
      app:stream("/a", function(req, client)
        local ok, _, code = client:send("tick", {})
        step(tostring(ok) .. " " .. tostring(code))
        local closing <close> = setmetatable({}, { __close = function() step("closed") end })
        sluice.sleep(1)
        step("never")
      end)
      app:get("/steps", function() return steps() end)]])
    assert.equal(200, t:head("/a").status)
    t:advance(5)
    assert.equal('["nil ECLOSED","closed"]', t:get("/steps").body)
    assert.is_nil(next(t.runtime.opening))
    assert.same({}, rehearsal.logged("error"))
  end)
end)

describe("a read rule", function()
  it("is asked for every channel; all that match must agree; an error denies", function()
    local t = load([[
      app:guard("/**", function(req) if req.query.u then req.user = { id = req.query.u } end return true end)
      app:channel("doc/:id", { read = function(user, p) return user ~= nil and user.id == p.id end })
      app:channel("**", { read = function(user) return user == nil or user.id ~= "banned" end })
      app:channel("broken", { read = function() error("oops") end })
      app:channel("truthy", { read = function() return 1 end })
      app:stream("/doc/:id", "doc/:id")
      app:stream("/both", { channels = { "open", "doc/alice" } })
      app:stream("/broken", "broken")
      app:stream("/truthy", "truthy")]])
    assert.truthy(t:connect("/doc/alice?u=alice"))
    assert.truthy(t:connect("/both?u=alice"))
    for _, target in ipairs({ "/doc/alice", "/doc/alice?u=bob", "/doc/banned?u=banned", "/both?u=bob", "/broken",
      "/truthy" }) do
      local _, answer = t:connect(target)
      assert.equal(403, answer.status, target)
      assert.equal("EDENIED", json.decode(answer.body).error.code)
    end
    assert.matches("read rule of 'broken' %(app.lua:6%): app.lua:6: oops", rehearsal.logged("error")[1])
    assert.equal(0, t.server:subscribers("broken"))
  end)

  it("is asked again by app:recheck", function()
    local t = load([[
      local members = app:state("members", { alice = true })
      app:guard("/**", function(req) req.user = { id = "alice" } return true end)
      app:channel("doc", { read = function(user) return members()[user.id] end })
      app:stream("/doc", "doc")
      app:stream("/both", { channels = { "doc", "open" } })]])
    local doc, both = t:connect("/doc"), t:connect("/both")
    t:inside(function() t.runtime.states.members.data.alice = nil end)
    assert.equal(2, t:inside(function() return t.app:recheck("alice") end))
    t:advance(1)
    assert.is_nil(t.server:client(doc))
    assert.same({ "open" }, t.server.streams[both].channels)
    local text = json.encode(t.server.calls)
    assert.matches('"unsubscribe","' .. both .. '","doc","denied"', text)
    assert.matches('"close","' .. doc .. '","revoked"', text)
  end)
end)

describe("a client", function()
  it("knows user, ip, path, params and meta; nothing is kept when there is nothing", function()
    local t = load(PASS .. [[
      app:guard("/u/**", function(req) req.user = { id = "alice" } return true end)
      app:stream("/u/:id", { channels = { "a" }, meta = { x = 1 } })
      app:stream("/plain", pass, "a")]])
    local id, plain = t:connect("/u/7"), t:connect("/plain")
    assert.is_nil(t.runtime.clients[plain])
    t:inside(function()
      local c = t.app:client(id)
      assert.same({ "alice", "127.0.0.1", "/u/7", "7", 1 }, { c.user.id, c.ip, c.path, c.params.id, c.meta.x })
      assert.equal(c, t.app:client(id))
      assert.equal("sluice.Client: " .. id, tostring(c))
      local p = t.app:client(plain)
      assert.same({ nil, {}, {} }, { p.user, p.params, p.meta })
      assert.is_nil(t.app:client("nobody"))
      local ids = {}
      for each in t.app:clients() do ids[#ids + 1] = each.id end
      assert.same({ id, plain }, ids)
      for each in t.app:clients({ user = "alice" }) do assert.equal(id, each.id) end
      for each in t.app:clients({ channel = "none" }) do error(each.id) end
    end)
    t:drop(id)
    assert.is_nil(next(t.runtime.clients))
  end)

  it("subscribes and unsubscribes with hooks and rules", function()
    local t = load(PASS .. [[
      app:channel("secret", { read = function() return false end })
      app:stream("/a", pass, "a")
      app:on("subscribe", "**", function(c, name) sluice.log.info("+" .. name) end)
      app:on("unsubscribe", "**", function(c, name) sluice.log.info("-" .. name) end)]])
    local id = t:connect("/a")
    t:inside(function()
      local c = t.app:client(id)
      assert.is_true(c:subscribe("b", { keys = { "k" } }))
      assert.same({ nil, "not allowed: secret", "EDENIED" }, { c:subscribe("secret") })
      assert.equal("ECHANNEL", select(3, c:subscribe("a b")))
      assert.equal("ECHANNEL", select(3, c:subscribe("a/*")))
      assert.is_true(c:unsubscribe("b"))
      assert.is_false(c:unsubscribe("b"))
      assert.is_true(c:set({ keys = { "x" } }))
      assert.is_true(c:set({ max_rate = 1 }))
      for _, rate in ipairs({ 0, -1, 0 / 0, 1 / 0, 1 / 61, "2", false }) do
        assert.matches("client:set%(%): max_rate is a number of events per second and key, from 1/60",
          select(2, pcall(c.set, c, { max_rate = rate })))
      end
      assert.matches("client:subscribe%(%): max_rate is", select(2, pcall(c.subscribe, c, "d", { max_rate = 0 })))
      assert.is_true(c:subscribe("d", { max_rate = 2 }))
      c:stop()
    end)
    assert.same({ "+a", "+d", "-a", "-d" }, rehearsal.logged("info")) -- b was left before its hook began
    assert.same({ "subscribe", id, { "d", max_rate = 2 } }, t.server.calls[#t.server.calls - 1])
    assert.same({ "set", id, { max_rate = 1 } }, t.server.calls[#t.server.calls - 2])
    assert.same({ "subscribe", id, { "b", keys = { "k" } } }, t.server.calls[1])
    assert.same({ "close", id, "stop" }, t.server.calls[#t.server.calls])
  end)

  it("is sent events; a full one is waited for; one that went says so", function()
    local t = load(PASS .. [[app:stream("/a", pass, "a")]])
    local id = t:connect("/a")
    local results = {}
    local function sender()
      local c = t.app:client(id)
      results[#results + 1] = { c:send("x", { n = 1 }) }
      results[#results + 1] = { c:send("x", "text") }
      results[#results + 1] = { c:send("hello", {}) }
      results[#results + 1] = { c:send("x", { f = print }) }
    end
    t.server.full[id] = true
    t.runtime.scheduler:start(t.generation, "spawn", "sender", nil, sender)
    assert.equal(0, #results)
    t.server.full[id] = nil
    t:call("writable", id)
    assert.equal(4, #results)
    assert.is_true(results[1][1])
    assert.equal("EBADFIELD", results[3][3])
    assert.equal("EJSON", results[4][3])
    assert.equal('{"n":1}', t.server.streams[id].sent[1].text)
    t.server.full[id] = true
    t.runtime.scheduler:start(t.generation, "spawn", "sender", nil, sender)
    t:drop(id)
    assert.same({ nil, "full", "EFULL" }, results[5]) -- given up, since it went
  end)

  it("may be written by its plan function, which ends with it", function()
    local t = load([[
      local seen = app:state("seen", {})
      app:on("disconnect", function(c, reason) seen().reason = reason end)
      app:stream("/clock", function(req, client)
        local _ <close> = setmetatable({}, { __close = function() seen().closed = (seen().closed or 0) + 1 end })
        while true do
          client:send("tick", { n = client.id })
          sluice.sleep(1)
        end
      end)]])
    local id = t:connect("/clock")
    t:advance(3.5)
    assert.equal(4, #t.server.streams[id].sent)
    t:drop(id)
    t:advance(3)
    assert.same({ closed = 1, reason = "gone" }, t.runtime.states.seen.data)
    assert.is_nil(next(t.runtime.writers))
    assert.equal(0, t.runtime.scheduler.count)
  end)

  it("that was written and then given a plan follows it; given nothing, it ends without bye", function()
    local t = load([[
      app:stream("/then", function(req, client) client:send("first", {}) return "a" end)
      app:stream("/end", function(req, client) client:send("all", {}) end)
      app:stream("/raise", function(req, client) client:send("one", {}) error("x") end)]])
    local id = t:connect("/then")
    assert.same({ "a" }, t.server.streams[id].channels)
    id = t:connect("/end")
    assert.same({ "close", id, "end" }, t.server.calls[#t.server.calls])
    id = t:connect("/raise")
    assert.same({ "close", id, "error" }, t.server.calls[#t.server.calls])
  end)
end)
