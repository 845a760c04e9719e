--- `sluice check` and `sluice reload`: what they print, and their exit codes.
local rehearsal = require("spec.support.rehearsal")
local cli = require("sluice.command.cli")
local json = require("sluice.json")
local process = require("spec.support.process")

after_each(rehearsal.stop)

local sink = rehearsal.sink

local function run(...)
  local out, err = sink(), sink()
  local code = cli.main({ ... }, out, err)
  return code, out.text(), err.text()
end

local function failing(...)
  local code, _, err = run(...)
  return code, err
end

local folder

before_each(function() folder = process.temp_dir() end)
after_each(function()
  process.remove_dir(folder)
end)

local function app(text, files)
  process.write_file(folder .. "/app.lua", 'local sluice = require("sluice")\nlocal app = sluice.app()\n'
    .. text .. "\nreturn app\n")
  for name, more in pairs(files or {}) do process.write_file(folder .. "/" .. name, more) end
  return folder .. "/app.lua"
end

-- The server's answer to what the command asks; `asked` keeps the request.
local function serve(status, body)
  local asked = {}
  rehearsal.stub("runtime_dir", function() return "/run/sluice" end)
  rehearsal.stub("call", function(path, text)
    asked.path, asked.text = path, text
    return ("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n\r\n%s"):format(status, json.encode(body))
  end)
  return asked
end

describe("sluice check", function()
  local function warnings(text)
    local code, out = run("check", app(text))
    assert.equal(0, code)
    local list = {}
    for line in (out:match("warnings\n(.*)$") or ""):gmatch("  ([^\n]+)") do
      list[#list + 1] = line:gsub("^.-/app.lua", "app.lua")
    end
    return list
  end

  it("names what would be otherwise on several nodes, by its line", function()
    local path = app([[
      local auth = require("sluice.auth").new(app, { keys = {}, durable = false })
      app:channel("load", { history = 0, shared = false }) app:state("seen", {})
      app:every(5, { name = "tick" }, print)
      app:service("poll", print) app:service("own", { per = "node" }, print)
      app:limits { max_streams_per_user = 3 }
      app:on("start", print)
      app:task("later", print)
      app:get("/x", auth:limit("x", { rate = 1, per = 1 }), function() app:after(5, "later") end)
      app:get("/y", function() return app:clients()() end) -- app:clients( in a comment is none
      app:get("/z", auth:limit("z", { rate = 1,
        counted = "cluster" }), auth:limit("each"), function(req) return { auth:ticket(req.user) } end)]])
    local code, out = run("check", "--cluster", path)
    assert.equal(0, code)
    local found = {}
    for line, what in out:match("on several nodes\n(.*)$"):gmatch("app.lua:(%d+): (.-): ") do
      found[#found + 1] = line .. " " .. what
    end
    table.sort(found)
    local seen = table.concat(found, "\n")
    for _, wanted in ipairs { "4 state 'seen'", "4 channel 'load'", "6 service 'own'", "7 app:limits", "8 hook 'start'",
      "10 auth:limit", "11 app:clients", "13 auth:limit" } do
      assert.truthy(seen:find(wanted, 1, true), wanted .. " is missing in\n" .. seen)
    end
    assert.falsy(seen:find("'tick'", 1, true) or seen:find("'poll'", 1, true) or seen:find("app:after", 1, true))
    assert.equal(1, select(2, out:gsub("app:clients", "")))
    assert.equal(2, select(2, out:gsub("auth:limit:", "")))
    assert.falsy(seen:find("auth.limits", 1, true))
    assert.falsy(select(2, run("check", path)):find("several nodes", 1, true))
  end)

  it("ends with 1 for an app that needs more than --cluster, and says nothing of one that is the same", function()
    local code, out = run("check", "--cluster", "--json", app([[
      app:channel("kept", { durable = true })
      app:store("box")]]))
    assert.equal(1, code)
    local list = json.decode(out).cluster
    assert.equal(1, #list)
    assert.same({ "durable channel 'kept'", true }, { list[1].what, list[1].refused })
    assert.truthy(list[1].where:find("app.lua:3$"), list[1].where)
    code, out = run("check", "--cluster", app([[
      app:channel("news", { history = 5 })
      local rooms = require("sluice.rooms").new(app, { name = "doc" })
      local orders = require("sluice.changes").new(app):entity("order")]]))
    assert.equal(0, code)
    assert.truthy(out:find("on several nodes\n  nothing is otherwise\n", 1, true))
  end)

  it("prints what the app registers", function()
    local code, out = run("check", app([[
      app:guard("/api/**", print)
      app:get("/api/x", print)
      app:post("/y/:id", print, print)
      app:channel("prices", { history = "latest", key = "symbol" })
      app:channel("doc/:id", { read = print, ttl = false })
      app:stream("/prices", { channels = { "prices", { "alerts", keys = { "a" } } } })
      app:stream("/doc/:id", print)
      app:every(5, { name = "metrics", while_subscribed = "prices" }, print)
      app:task("say", { restart = true }, print)
      app:service("feed", print)
      app:on("published", "telemetry/*", print)
      app:state("counters", {}, { version = 2 })
      app:get("/pub", function() app:publish("prices", "x", {}) app:publish("alerts", "x", {})
        app:publish("telemetry/1", "x", {}) end)]]))
    assert.equal(0, code)
    assert.equal([[
routes
  GET     /api/x
  GET     /pub
  GUARD   /api/**  1
  POST    /y/:id  guards=1
streams
  /doc/:id
  /prices  plan=prices,{alerts keys={a}}
channels
  doc/:id  read=yes ttl=false
  prices  history=latest key=symbol
timers
  metrics  5s channel=prices
tasks
  say  restart=true
services
  feed
hooks
  published telemetry/*  1
states
  counters  v2
]], out)
  end)

  it("leaves nothing out that is registered, of any kind", function()
    local path = app([[
      app:guard("/g/**", print) app:cors("/c/**", { origins = { "https://a.example" } })
      for _, method in ipairs { "get", "post", "put", "patch", "delete" } do app[method](app, "/m", print) end
      app:static("/files", "]] .. folder .. [[")
      app:stream("/s", "a") app:stream("/s", { method = "POST" }, print) app:durable_stream("/d", "kept")
      app:channel("a", {}) app:channel("kept", { durable = true, history = 5 })
      app:every(5, { name = "tick" }, print) app:task("later", print) app:service("poll", print)
      app:on("start", print) app:transform("a", print) app:event_type("price", {})
      app:state("seen", {}) app:store("orders") app:store("a:b") app:limits { max_streams_per_user = 3 }]])
    local code, out = run("check", path)
    assert.equal(0, code)
    local shown, kinds = 0, {}
    for _ in (out .. "warnings\n"):match("^(.-)warnings\n"):gmatch("\n  [^\n]") do shown = shown + 1 end
    local registered = json.decode((select(2, run("check", "--json", path)))).registered
    for key in pairs(registered) do
      kinds[key:match("^%l+_?%l*")] = true
      shown = shown - 1
    end
    assert.equal(0, shown)
    for _, kind in ipairs { "stream", "durable_stream", "store", "limits", "cors", "transform", "event_type" } do
      assert.is_true(kinds[kind], kind)
    end
    assert.truthy(out:find("\nstores\n  a:b\n  orders\nlimits\n  max_streams_per_user=3\n", 1, true), out)
    assert.truthy(out:find("\nstreams\n  /s  plan=a\n  POST /s\ndurable streams\n  /d", 1, true), out)
  end)

  it("ends with 1 for a broken app, with file, line and traceback", function()
    local code, out, err = run("check", app('error("broken")'))
    assert.same({ 1, "" }, { code, out })
    assert.matches("^sluice: .*/app.lua:3: broken\n  .*app.lua:3: in the main chunk", err)
    code, err = failing("check", app('app:check(function() error("no goals", 0) end)'))
    assert.equal(1, code)
    assert.matches("no goals", err)
    assert.equal(2, (run("check")))
  end)

  it("tells a wrong option of a module at the line that gave it, however deep it is found", function()
    for _, text in ipairs { 'require("sluice.auth").new(app, { jwt = { { alg = "HS256" } } })',
      'require("sluice.auth").new(app, { jwt = { { issuer = "i", alg = "HS256", key = "k" } } })',
      'require("sluice.auth").new(app, { keys = {}, session = { secret = "short" } })',
      'require("sluice.inbox").new(app, { escalate = { loud = {} } })',
      'require("sluice.inbox").new(app, { escalate = { high = { { via = "pigeon" } } } })',
      'require("sluice.system").new(app, { services = { { name = "a", tcp = 7 } } })',
      'require("sluice.changes").new(app, { debounce = -1 })' } do
      local code, err = failing("check", app(text))
      assert.equal(1, code, text)
      assert.matches("^sluice: [^\n:]*/app.lua:3: ", err)
      assert.falsy(err:find("/live/", 1, true), err)
    end
  end)

  it("notes a coroutine per client, and a loop that never pauses", function()
    assert.same({ "app.lua:3: GET /x: a coroutine per client; app:every with a channel measures once for all" },
      warnings('app:stream("/x", function(req, client)\nwhile true do client:send("a", 1) sluice.sleep(1) end end)'))
    assert.same({ "app.lua:3: GET /x: a coroutine per client; app:every with a channel measures once for all",
      "app.lua:3: GET /x: a loop that sends needs sluice.sleep()" },
      warnings('app:stream("/x", function(req, client)\nwhile true do client:send("a", 1) end end)'))
    assert.same({}, warnings('app:stream("/x", function(req, client)\nreturn "a" -- for all\nend)'))
  end)

  it("warns of no channel that a module publishes on", function()
    local text = 'app:channel("room/:id/x", { history = 5 })\n'
      .. 'require("sluice.rooms").new(app):stream("/r/:id", { channels = "%s" })'
      .. '\napp:put("/t/:id", function(req) app:publish("text/" .. req.params.id, "t", {}) end)'
    assert.same({}, warnings((text:gsub("^.-\n", ""):format("text/:id"))))
    local list = warnings(text:format("room/:id/x"))
    assert.matches('"room/:id/x" is subscribed here and published nowhere in these files', list[1])
    for _, line in ipairs(list) do assert.not_matches('"room/:id" is', line) end
  end)

  it("warns of no hook that a module has", function()
    for _, kit in ipairs { "jobs", "rooms" } do
      local list = table.concat(warnings(('require("sluice.%s").new(app)'):format(kit)), "\n")
      assert.not_matches("hook", list)
    end
  end)

  it("does not know what a source publishes", function()
    local text = 'app:stream("/m", "metrics")\napp:every(1, function() app:publish("other", "x", {}) end)\n'
      .. 'app:stream("/o", "other")'
    assert.equal(1, #warnings(text))
    assert.same({}, warnings(text .. '\nrequire("sluice.redis").stream(app, "redis://127.0.0.1:1", "orders",\n'
      .. '{ name = "orders", durable = false, map = function() end })'))
  end)

  it("warns of no channel that a module keeps for administrators", function()
    local text = 'require("sluice.auth").new(app, { keys = {} })'
    local code, out = run("check", app(text))
    assert.equal(0, code)
    assert.truthy(out:find("audit", 1, true))
    assert.same({}, warnings(text))
  end)

  it("notes a channel without a publisher, and one without a subscriber", function()
    local text = 'app:stream("/m", "metrcis")\napp:every(1, function() app:publish(%s, "x", {}) end)'
    assert.same({ 'app.lua:3: "metrcis" is subscribed here and published nowhere in these files, '
      .. "did you mean 'metrics'?", 'app.lua:4: "metrics" is published here and no stream follows it, '
      .. "did you mean 'metrcis'?" }, warnings(text:format('"metrics"')))
    assert.same({}, warnings(text:format('"metrcis"')))
    assert.same({ 'app.lua:3: channel "alerts" is declared here and no stream follows it' },
      warnings('app:channel("alerts", { history = 5 })\n' .. text:format('"metrcis"')))
    for _, taker in ipairs { 'app:on("published", "alerts", print)',
      'app:get("/a", function() return app:latest("alerts") end)',
      'app:get("/a", function(req) return app:history(req.query.c) end)', 'app:stream("/a", print)',
      'app:stream("/a", function(req) return "ale" .. req.query.rts end)',
      'app:stream("/a", function(req) return req.query.c end)',
      'app:stream("/a", function(req)\nif not req.user then return 401 end\n'
        .. 'return { channels = { "x", { "alerts", keys = { "a", "b" } } }, meta = {} } end)',
      'app:get("/a", function() for c in app:clients() do c:subscribe("alerts") end end)' } do
      assert.same({}, warnings('app:channel("alerts")\n' .. taker .. '\napp:post("/p", function()\n'
        .. 'app:publish("alerts", -- to all\n"e") end)'), taker)
    end
    assert.same({}, warnings("local name = 'a'\n" .. text:format("name")))
    text = 'app:stream("/m/:id", "match/:id")\napp:get("/g/:id", function(r) app:publish(%s, "x", {}) end)'
    assert.same({}, warnings(text:format('"match/" .. r.params.id')))
    assert.equal(2, #warnings(text:format('"mtch/" .. r.params.id')))
    assert.same({}, warnings(text:format('("match/%s"):format(r.params.id)')))
  end)

  it("notes a timer that waits for subscribers who cannot come", function()
    local text = '%s\napp:stream("/t", "tops")\napp:every(5, { while_subscribed = "tpos" }, function()\n'
      .. 'app:publish("tops", "x") end)'
    local line = 'app.lua:5: while_subscribed = "tpos": no stream follows that channel: it never runs%s'
    assert.same({ line:format(", did you mean 'tops'?") }, warnings(text:format("")))
    assert.same({}, warnings((text:format(""):gsub("tpos", "tops"))))
    -- a plan that cannot be read may follow what is named elsewhere, and nothing else
    local plan = 'app:stream("/f", function(req) return req.query.c end)'
    assert.same({ line:format(", did you mean 'tops'?") }, warnings(text:format(plan)))
    assert.same({}, warnings(text:format('app:channel("tpos") ' .. plan)))
    assert.same({ 'app.lua:3: channel "tpos" is declared here and no stream follows it, did you mean \'tops\'?',
      line:format(", did you mean 'tops'?") }, warnings(text:format('app:channel("tpos")')))
  end)

  it("notes hooks, guards, origins and tasks whose names meet nothing", function()
    local text = 'app:stream("/rooms/:id", "room/:id")\napp:task("remind", print)\napp:post("/p/:id", function(req)\n'
      .. 'app:publish("room/" .. req.params.id, "x") app:after(5, "%s") end)\n%s'
    for code, wanted in pairs {
      ['app:on("subscribe", "rooms/:id", print)'] = 'the subscribe hook "rooms/:id" matches no channel of this app, '
        .. "did you mean 'room/:id'?",
      ['app:on("unsubscribe", "club", print)'] = 'the unsubscribe hook "club" matches no channel of this app',
      ['app:on("published", "news", print)'] = 'the published hook "news" matches no channel of this app',
      ['app:transform("news", print)'] = 'the transform "news" matches no channel of this app',
      ['app:guard("/room/**", print)'] = 'app:guard("/room/**") matches no route',
    } do
      assert.same({ "app.lua:7: " .. wanted }, warnings(text:format("remind", code)), code)
      local right = code:gsub('"rooms[^"]*"', '"room/:id"'):gsub('"%l%l%l%l"', '"room/*"')
      right = right:gsub("/room/%*%*", "/rooms/**")
      assert.same({}, warnings(text:format("remind", right)), right)
    end
    assert.same({}, warnings(text:format("remind", 'require("sluice.hub").new(app):routes("/h", { publish = print,'
      .. ' admin = print }) app:on("published", "hub", print)'))) -- what a module publishes
    assert.same({ "app.lua:6: there is no app:task('remnid'), did you mean 'remind'?" },
      warnings(text:format("remnid", "")))
    assert.matches('app.lua: app:cors%("/a/%*%*"%) matches no route$',
      warnings(text:format("remind", 'app:cors("/a/**", { origins = { "https://a.example" } })'))[1])
  end)

  it("notes globals that are set while loading, functions for app:after, and what blocks", function()
    assert.same({ "app.lua:3: global 'count' set while loading: use local" }, warnings("count = 1"))
    assert.matches("app.lua:3: app:after%(…, function%): name an app:task%(%) instead",
      warnings('app:get("/x", function() app:after(5, function() end) end)')[1])
    assert.matches("app.lua:4: io.popen blocks the app", warnings('-- io.popen\nlocal x = io.popen\nassert(x)')[1])
  end)

  it("says the difference to a running server", function()
    local asked = serve(200, { generation = 7, registered = { ["get:/old"] = {}, ["every:m"] = { [""] = "5s" } } })
    local code, out = run("check", app('app:get("/new", print) app:every(2, { name = "m" }, print)'), "--port", "80")
    assert.equal(0, code)
    assert.matches("difference to generation 7\n  %+get:/new  ~every:m 5s→2s  %-get:/old\n$", out)
    assert.equal("/run/sluice/80.sock", asked.path)
    assert.matches("^GET /%-/reload HTTP/1.1\r\n", asked.text)
  end)

  it("says of which channels what is stored would be deleted", function()
    local asked = serve(200, { generation = 7,
      registered = { ["channel:log/*"] = { durable = "true" }, ["channel:v"] = { durable = "true" } },
      stored = { { channel = "log/b", kind = "log", events = 1, values = 0, more = false },
        { channel = "log/a", kind = "log", events = 1024, values = 0, more = true },
        { channel = "v", kind = "log", events = 7, values = 0, more = false } }, stored_left_out = 0 })
    local code, out = run("check", app('app:channel("log/*") app:channel("v", { durable = true })'), "--port", "80")
    assert.equal(0, code)
    assert.matches("difference to generation 7\n  ~channel:log/%* durable true→none\n  would delete what is stored "
      .. "of 'log/a' %(1024 events or more%), 'log/b' %(1 event%): not durable any more, or of another kind; "
      .. "only a backup brings it back\n$", out)
    assert.matches("^GET /%-/reload%?stored=1 HTTP", asked.text)
  end)
end)

describe("sluice reload", function()
  it("asks the server and prints its answer", function()
    local asked = serve(200, { ok = true, kind = "reload", generation = 7, seconds = 0.0031, notes = { "note" },
      difference = "+on:published telemetry/*", files = { "app.lua", "rules.lua" } })
    local code, out = run("reload", "--socket", "/x.sock")
    assert.same({ 0, "reload #7 in 3.1 ms: +on:published telemetry/*  app.lua rules.lua\n  note\n" }, { code, out })
    assert.equal("/x.sock", asked.path)
    assert.matches("^POST /%-/reload HTTP/1.1\r\nHost: ", asked.text)
    run("reload", "--dry-run")
    assert.matches("^POST /%-/reload%?dry_run=1 ", asked.text)
    assert.equal("/run/sluice/5121.sock", asked.path)
    run("reload", "--rollback", "--port", "9")
    assert.matches("^POST /%-/reload%?rollback=1 ", asked.text)
    assert.equal("/run/sluice/9.sock", asked.path)
    for files, text in pairs { [{}] = "nothing has changed", [{ "rules.lua" }] = "rules.lua" } do
      serve(200, { ok = true, kind = "reload", generation = 7, seconds = 0.0009, notes = json.array(),
        difference = "", files = json.array(files) })
      assert.equal("reload #7 in 0.9 ms: " .. text .. "\n", select(2, run("reload", "--socket", "/x.sock")))
      assert.equal("dry run: " .. text .. "\n", select(2, run("reload", "--dry-run")))
    end
  end)

  it("ends with 1 and the message when it fails", function()
    serve(422, { ok = false, kind = "reload", phase = "load", message = "app.lua:3: x", generation = 6,
      traceback = "  app.lua:3: in the main chunk" })
    local code, out, err = run("reload")
    assert.same({ 1, "" }, { code, out })
    assert.equal("sluice: reload failed in load: app.lua:3: x; generation 6 keeps serving\n"
      .. "  app.lua:3: in the main chunk\n", err)
    serve(504, { ok = false, kind = "reload", phase = "store", code = "ETIMEOUT", waits = true, generation = 6,
      message = "the disk does not answer: x" })
    code, err = failing("reload")
    assert.same({ 1, "sluice: the disk does not answer: x (ETIMEOUT); until then generation 6 serves\n" },
      { code, err })
    serve(503, { error = { code = "EBUSY", message = "too many reloads wait" } })
    code, err = failing("reload")
    assert.same({ 1, "sluice: too many reloads wait\n" }, { code, err })
    rehearsal.stub("call", function() return nil, "connection refused", "ECONNREFUSED" end)
    code, err = failing("reload", "--socket", "/x.sock")
    assert.same({ 1, "sluice: no server answers at /x.sock: connection refused\n" }, { code, err })
    code, err = failing("reload", "--port", "9")
    assert.same({ 1, "sluice: no server answers at /run/sluice/9.sock: connection refused; nothing listens on port "
      .. "9\n" }, { code, err })
  end)
end)
