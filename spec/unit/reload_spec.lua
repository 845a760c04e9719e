--- Reloading: what is loaded, refused, told, counted and undone. See also retirement_spec
--- (how the old generation ends), handover_spec (open streams) and watcher_spec (files).
local json = require("sluice.json")
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local HEAD = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'

local function app(text) return HEAD .. (text or "") .. "\nreturn app\n" end

describe("a reload", function()
  local t

  after_each(function()
    t = nil
  end)

  it("replaces the code, says so in one line, and runs the reload hook once", function()
    t = rehearsal.serve { ["app.lua"] = app('app:every(5, { name = "metrics" }, print)\napp:get("/x", print)\n'
      .. 'app:get("/v", function() return require("rules") end)\napp:state("counters", {})'),
      ["rules.lua"] = 'return "one"' }
    assert.equal("one", t:get("/v").body)
    local outcome = t:change { ["rules.lua"] = 'return "two"', ["app.lua"] = app([[
      app:every(2, { name = "metrics" }, print)
      app:on("published", "telemetry/*", print)
      app:get("/v", function() return require("rules") end)
      app:state("counters", {}, { version = 2, migrate = function(old) return old end })
      app:on("reload", function(e)
        sluice.log.info(("hook %d after %d: %s"):format(e.generation, e.previous, table.concat(e.files, ", ")))
      end)]]) }
    assert.is_true(outcome.ok)
    assert.equal("two", t:get("/v").body)
    assert.same({ 2, 1 }, { outcome.generation, outcome.previous })
    local lines = rehearsal.logged("info")
    assert.equal("hook 2 after 1: app.lua, rules.lua", lines[#lines])
    assert.equal("reload #2 in 0.0 ms: +on:published telemetry/*  +on:reload  ~every:metrics 5s→2s  "
      .. "-get:/x  state counters v1→v2  app.lua rules.lua", lines[#lines - 1])
  end)

  it("names the files that changed, modules too", function()
    t = rehearsal.serve { ["app.lua"] = app('require("rules")'), ["rules.lua"] = "return 1" }
    assert.same({ "rules.lua" }, t:change({ ["rules.lua"] = "return 2" }).files)
    local outcome = t:reload()
    assert.same({ "[]", "[]" }, { json.encode(outcome.files), json.encode(outcome.notes) })
    assert.same({ "app.lua", "rules.lua" }, t:change({ ["app.lua"] = app("") }).files)
    local lines = rehearsal.logged("info")
    assert.equal("reload #2 in 0.0 ms: rules.lua", lines[1])
    assert.equal("reload #3 in 0.0 ms: nothing has changed", lines[2])
  end)

  local BROKEN = {
    { "load", "a syntax error", "app.lua:3: syntax error near 'is'", "this is no Lua" },
    { "load", "an error while loading", "app.lua:3: broken", 'error("broken")' },
    { "load", "an effect while loading", "app:publish%(%) has an effect and the app is still loading",
      'app:publish("a", "x", {})' },
    { "load", "a sleep while loading", "sluice.sleep%(%) has an effect", "sluice.sleep(1)" },
    { "load", "a yield while loading", "coroutine.yield%(%) cannot be resumed here", "coroutine.yield()" },
    { "load", "a require cycle", "require cycle: a %-> b %-> a", 'require("a")' },
    { "load", "a duplicate route", "GET /v is registered already %(.*app.lua:3%)",
      'app:get("/v", print)\napp:get("/v", print)' },
    { "load", "a duplicate timer", "timer 'x' is registered already",
      'app:every(1, { name = "x" }, print) app:every(2, { name = "x" }, print)' },
    { "load", "a bad policy", "unknown option 'histroy'", 'app:channel("a", { histroy = 1 })' },
    { "load", "a path of the server's own", "paths under /%-/ belong to the server", 'app:get("/-/reload", print)' },
    { "check", "the app's own check", "no route for goals", 'app:check(function() error("no route for goals") end)' },
    { "check", "an effect in a check", "has an effect", 'app:check(function() app:publish("a", "x", {}) end)' },
    { "migrate", "a missing migration", "state 's' is at version 1, the app says 2 and has no migrate function",
      'app:state("s", {}, { version = 2 })' },
    { "migrate", "a migration that fails", "app.lua:3: cannot",
      'app:state("s", {}, { version = 2, migrate = function() error("cannot") end })' },
    { "migrate", "a migration with an effect", "app:after%(%) has an effect",
      'app:state("s", {}, { version = 2, migrate = function() app:after(1, "x") end })' },
  }
  for _, case in ipairs(BROKEN) do
    local phase, what, message, text = table.unpack(case)
    it("leaves everything as it was after " .. what .. ", and tells it once", function()
      t = rehearsal.serve { ["app.lua"] = app([[
        app:state("s", { n = 1 })
        app:get("/v", function() return "old" end)
        app:on("error", function(e) app:publish("errors", "e", e.where .. " " .. e.phase) end)]]),
        ["a.lua"] = 'return require("b")', ["b.lua"] = 'return require("a")' }
      local snapshot, state = t.server.snapshot, t.runtime.states.s.data
      local outcome = t:change(app(text))
      assert.is_false(outcome.ok)
      assert.same({ phase, 1 }, { outcome.phase, outcome.generation })
      assert.matches(message, outcome.message)
      assert.equal(snapshot, t.server.snapshot)
      assert.equal(state, t.runtime.states.s.data)
      assert.same({ n = 1 }, state)
      assert.equal("old", t:get("/v").body)
      assert.equal("live", t.generation.phase)
      local errors = rehearsal.logged("error")
      assert.equal(1, #errors)
      assert.matches("^reload failed in " .. phase .. ": ", errors[1])
      assert.matches("; generation 1 keeps serving$", errors[1])
      assert.same({ "e reload " .. phase }, t:events("errors"))
      assert.is_true(t:change(app('app:get("/v", function() return "mended" end) app:state("s", {})')).ok)
      assert.equal("mended", t:get("/v").body)
      assert.same({ [phase] = 1 }, t.runtime:figures().reloads_total.failed)
    end)
  end

  it("tells file, line and traceback of the module that is at fault", function()
    t = rehearsal.serve { ["app.lua"] = app('require("rules")'), ["rules.lua"] = "return 1" }
    local outcome = t:change { ["rules.lua"] = "\nlocal x = nil + 1" }
    assert.equal(t.folder .. "/rules.lua", outcome.file)
    assert.equal(2, outcome.line)
    assert.matches("rules.lua:2: in the main chunk\n.*app.lua:3: in the main chunk", outcome.traceback)
    outcome = t:change { ["rules.lua"] = "return {" }
    assert.same({ t.folder .. "/rules.lua", 1 }, { outcome.file, outcome.line })
  end)

  it("is refused when the core refuses the routes", function()
    t = rehearsal.serve(app('app:get("/v", function() return "old" end)'))
    t.server.refused.configure = { nil, "too many routes", "EFULL" }
    local outcome = t:change(app(""))
    assert.same({ false, "check", "too many routes" }, { outcome.ok, outcome.phase, outcome.message })
    assert.equal("old", t:get("/v").body)
    assert.equal(1, t.generation.id)
  end)

  it("of an app without a file, and of a server that stops, is refused", function()
    t = rehearsal.serve(app(""))
    t.runtime.reloader.path = nil
    assert.matches("was made in a program", t:reload().message)
    t.runtime.reloader.path, t.runtime.stopping = t.folder .. "/app.lua", true
    assert.matches("the server is stopping", t:reload().message)
  end)

  it("as a dry run says what would change and changes nothing", function()
    t = rehearsal.serve(app('app:get("/v", function() return "old" end) app:task("say", print)'))
    t:inside(function() t.app:after(60, "say", {}) end)
    t:write(app('app:get("/w", print)'))
    local outcome = t:reload("dry_run")
    assert.same({ true, "+get:/w  -get:/v  -task:say", 1 }, { outcome.ok, outcome.difference, outcome.generation })
    assert.matches("task 'say' is pending %(1%) and no longer defined: kept for 24 h", outcome.notes[1])
    assert.equal("old", t:get("/v").body)
    t:write(app("error('x')"))
    assert.matches("app.lua:3: x", t:reload("dry_run").message)
    assert.same({}, rehearsal.logged("error"))
  end)

  it("goes back to the revision before, two times at most, without the files", function()
    local function version(n) return app(('app:get("/v", function() return "%d" end)'):format(n)) end
    t = rehearsal.serve { ["app.lua"] = version(1), ["rules.lua"] = "return 1" }
    for n = 2, 4 do assert.is_true(t:change(version(n)).ok) end
    assert.equal("4", t:get("/v").body)
    local outcome = t:reload("rollback")
    assert.same({ true, 5, { "app.lua" } }, { outcome.ok, outcome.generation, outcome.files })
    assert.equal("3", t:get("/v").body)
    t:write("broken")
    assert.is_true(t:reload("rollback").ok)
    assert.equal("2", t:get("/v").body)
    assert.matches("there is no earlier revision", t:reload("rollback").message)
    assert.equal("2", t:get("/v").body)
  end)

  it("gives no place among the revisions to a reload that changes nothing, or fails", function()
    local function version(n) return app(('app:get("/v", function() return "%d" end)'):format(n)) end
    t = rehearsal.serve(version(1))
    assert.is_true(t:change(version(2)).ok)
    for _ = 1, 4 do assert.is_true(t:reload().ok) end
    assert.is_false(t:change("broken").ok)
    assert.is_true(t:change(version(2)).ok)
    assert.same({ true, { "app.lua" } }, { t:reload("rollback").ok, t.runtime.reloader.last.files })
    assert.equal("1", t:get("/v").body)
    assert.matches("there is no earlier revision", t:reload("rollback").message)
    assert.equal("2", t:reload().ok and t:get("/v").body)
    t:reload("rollback")
    assert.equal("1", t:get("/v").body)
  end)

  it("takes a module back too", function()
    t = rehearsal.serve { ["app.lua"] = app('app:get("/v", function() return require("rules") end) require("rules")'),
      ["rules.lua"] = 'return "one"' }
    t:change { ["rules.lua"] = 'return "two"' }
    assert.equal("two", t:get("/v").body)
    t:reload("rollback")
    assert.equal("one", t:get("/v").body)
  end)

  it("answers requests that come together by one, rollbacks each for itself", function()
    t = rehearsal.serve(app(""))
    local seen = {}
    for i = 1, 5 do t.runtime.reloader:request("reload", function(o) seen[i] = o.generation end) end
    t.runtime:turn()
    t:advance(0)
    assert.same({ 2, 2, 2, 2, 2 }, seen)
    assert.equal(1, t.runtime.reloader.totals.ok.swap)
  end)

  it("at SIGHUP and by POST /-/reload, which answers JSON", function()
    t = rehearsal.serve(app('app:get("/v", function() return "old" end)'))
    t:call("signal", "HUP")
    t:advance(0)
    assert.equal(2, t.runtime.generation.id)
    t:write(app('app:get("/w", print)'))
    -- as over the Unix socket
    local function ask(method, query)
      for _, route in ipairs(t.server.admin) do
        if route.method == method and route.pattern == "/-/reload" then
          t:call("request", 1e6, route.id, { method = method, path = "/-/reload", query_text = query or "",
            headers = {}, body = "", params = {}, ip = "127.0.0.1" })
          local answer = t.server.responded
          return answer.status, require("sluice.json").decode(answer.body)
        end
      end
    end
    local function post(query) return ask("POST", query) end
    local status, body = post("dry_run=1")
    assert.same({ 200, true, "+get:/w  -get:/v", 2 }, { status, body.ok, body.difference, body.generation })
    status, body = post()
    assert.same({ 200, 3, { "app.lua" } }, { status, body.generation, body.files })
    t:write("x")
    status, body = post()
    assert.same({ 422, false, "load", 3 }, { status, body.ok, body.phase, body.generation })
    status, body = post("rollback=1")
    assert.same({ 200, 4 }, { status, body.generation })
    body = select(2, ask("GET"))
    assert.same({ 4, 3, 1 }, { body.generation, body.reloads_total.ok.swap, body.reloads_total.failed.load })
    assert.is_table(body.registered["get:/v"])
    assert.equal("rollback", body.last.kind)
  end)

  it("counts handler errors by generation, and figures are in app:stats()", function()
    t = rehearsal.serve(app('app:get("/e", function() error("x") end)'))
    t:get("/e")
    t:get("/e")
    t:reload()
    t:get("/e")
    local figures = t:inside(function() return t.app:stats() end)
    assert.same({ ["1"] = 2, ["2"] = 1 }, figures.handler_errors)
    assert.equal(2, figures.generation)
    assert.equal(0, figures.reload_seconds)
    for _ = 1, 20 do t:reload() end
    assert.same({}, t.runtime:figures().handler_errors.x or {})
    t:get("/e")
    assert.same({ ["22"] = 1 }, t.runtime:figures().handler_errors)
  end)
end)

describe("state over a reload", function()
  local t

  it("keeps identity, drops what is not plain with its path, clients too", function()
    t = rehearsal.serve(app([[
      local docs = app:state("docs", { list = {} })
      app:stream("/s", function(req, client)
        docs().client, docs().f, docs().list.co = client, print, coroutine.create(print)
        docs().list.io, docs().ok = io.stdout, { 1, 2 }
        docs().loop = docs()
        return "s"
      end)]]))
    t:connect("/s")
    local before = t.runtime.states.docs.data
    assert.is_true(t:reload().ok)
    assert.equal(before, t.runtime.states.docs.data)
    assert.same({ list = {}, ok = { 1, 2 }, loop = before }, before)
    local told = rehearsal.logged("warn")
    table.sort(told)
    local rest = ": dropped from the state, only plain data survives a reload"
    assert.same({ "docs.client is a sluice.Client" .. rest, "docs.f is a function" .. rest,
      "docs.list.co is a thread" .. rest, "docs.list.io is a userdata" .. rest }, told)
  end)

  it("lets a handler of the old code go on with the version that it knows", function()
    t = rehearsal.serve(app([[
      local s = app:state("s", { n = 1 })
      app:get("/slow", function() sluice.sleep(1) return { old = s().n } end)]]))
    local id = t:request("GET", "/slow")
    assert.is_true(t:change(app([[
      local s = app:state("s", {}, { version = 2, migrate = function(old) return { count = old.n } end })
      app:get("/new", function() return s() end)]])).ok)
    assert.equal('{"count":1}', t:get("/new").body)
    t:advance(2)
    assert.equal('{"old":1}', t.server.answers[id].body)
  end)

  it("migrates what is plain of a state that holds a function", function()
    t = rehearsal.serve(app([[
      local s = app:state("s", { n = 1 })
      app:get("/f", function() s().f = print end)]]))
    t:get("/f")
    assert.is_true(t:change(app([[
      app:state("s", {}, { version = 2, migrate = function(old) old.v = 2 return old end })]])).ok)
    assert.same({ n = 1, v = 2 }, t.runtime.states.s.data)
    assert.matches("^s.f is a function", rehearsal.logged("warn")[1])
  end)
end)

describe("locals that handlers changed", function()
  local t

  it("are named at the next reload, tables, numbers and flags", function()
    t = rehearsal.serve { ["app.lua"] = app([[
      local docs, same, count, flag, cache, rules = {}, { 1 }, 0, false, nil, require("rules")
      local options = { limit = 1 }
      local function helper() count = count + 1 end
      app:get("/", function()
        docs[#docs + 1] = #same
        helper()
        flag, cache, options.limit = true, {}, 2
        rules.add()
      end)]]), ["rules.lua"] = "local seen = {} return { add = function() seen[1] = 1 end }" }
    t:reload()
    assert.same({}, rehearsal.logged("warn"))
    t:get("/")
    t:reload()
    local names = {}
    for _, line in ipairs(rehearsal.logged("warn")) do
      local file, name = line:match("([^/]+%.lua): local '(%w+)' was changed by handlers and starts anew")
      names[#names + 1] = file .. " " .. name
    end
    table.sort(names)
    assert.same({ "app.lua cache", "app.lua count", "app.lua docs", "app.lua flag", "app.lua options",
      "rules.lua seen" }, names)
    assert.matches('keep it in app:state%("cache", …%)$', rehearsal.logged("warn")[1])
  end)

  it("are not confused with those of the host and of Sluice", function()
    t = rehearsal.serve(app([[
      local system, cjson = require("sluice.system").new(app), require("cjson")
      app:get("/", function() return { system:sample().cpu ~= nil, cjson ~= nil } end)]]))
    t:get("/")
    t:reload()
    assert.same({}, rehearsal.logged("warn"))
  end)
end)
