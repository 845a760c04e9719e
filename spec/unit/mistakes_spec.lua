--- The first hour: what goes wrong, and the sentence that meets it (with file and line).
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local APP = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'

local at_load = {
  { "a dot for a colon", 'app.publish("a", "x", {})',
    "app.lua:3: app.publish was called without the app: write app:publish(…) with a colon" },
  { "a dot for a colon at a registration", 'app.get("/", print)',
    "app.lua:3: app.get was called without the app: write app:get(…) with a colon" },
  { "a method with a typo", 'app:chanel("a")', "app.lua:3: app has no 'chanel': did you mean app:channel?" },
  { "a function with a typo", "sluice.slep(1)", "app.lua:3: sluice has no 'slep': did you mean sluice.sleep?" },
  { "a method of another library", 'app:use(print)', "app.lua:3: app has no 'use' (it has: after, at, cancel, "
    .. "channel, channels, check, client, clients, cors, delete, durable_stream, "
    .. "event_type, event_types, every, get, guard, "
    .. "has_store, history, latest, leads, limits, newest, on, patch, post, publish, put, recheck, remove, replan, "
    .. "send, service, slowest, spawn, state, static, stats, store, stream, task, tell, transform)" },
  { "a level with a typo", 'sluice.log.warning("x")',
    "app.lua:3: sluice.log has no 'warning': did you mean sluice.log.warn?" },
  { "a codec with a typo", "sluice.json.encod(1)",
    "app.lua:3: sluice.json has no 'encod': did you mean sluice.json.encode?" },
  { "a module's function with a typo", 'require("sluice.http").pst("x")',
    "app.lua:3: http has no 'pst': did you mean http.post?" },
  { "a period as a text", 'app:every("5s", print)',
    'app.lua:3: app:every(seconds, …): the period is a number of seconds from 0.01, not "5s"' },
  { "a publish at load", 'app:publish("a", "x", {})',
    "app.lua:3: app:publish() has an effect and the app is still loading: move it into a handler" },
  { "a sleep at load", "sluice.sleep(1)",
    "app.lua:3: sluice.sleep() has an effect and the app is still loading: move it into a handler" },
  { "clients at load", "app:clients()",
    "app.lua:3: app:clients() has an effect and the app is still loading: move it into a handler" },
  { "a route twice", 'app:get("/x/:id", print)\napp:get("/x/:name", print)',
    "app.lua:4: GET /x/:name is registered already (app.lua:3)" },
  { "a route without a handler", 'app:get("/")',
    "app.lua:3: app:get(\"/\", …): the last argument is the handler: a function, not nothing" },
  { "a guard that is nil", 'app:get("/x", nil, print)', "app.lua:3: guard #1 of /x is a nil: a guard is a function" },
  { "a path without a slash", 'app:get("x", print)',
    "app.lua:3: app:get(path, …): the path is a string that starts with a slash" },
  { "a stream without a plan", 'app:stream("/x")', "app.lua:3: app:stream(\"/x\", …): the plan is missing" },
  { "an option with a typo", 'app:channel("a", { histroy = 5 })',
    "app.lua:3: channel 'a': unknown option 'histroy', did you mean 'history'? (known: batch, budget, durable, "
      .. "history, key, max_keys, max_rate, read, rewind, shared, slow, ttl)" },
  { "max_rate on a log", 'app:channel("a", { max_rate = 2 })',
    "app.lua:3: channel 'a': max_rate needs history = \"latest\": in a log no event is ever replaced" },
  { "a log whose slow readers skip", 'app:channel("a", { slow = "latest" })',
    "app.lua:3: channel 'a': slow is \"reset\" or \"close\"" },
  { "a rewind of a state", 'app:channel("a", { history = "latest", rewind = 5 })',
    "app.lua:3: channel 'a': rewind has no use with history = \"latest\": a state always gives the newest values, and "
      .. "a slow reader skips to them" },
  { "a slow reader of a state", 'app:channel("a", { history = "latest", slow = "close" })',
    "app.lua:3: channel 'a': slow has no use with history = \"latest\": a state always gives the newest values, and "
      .. "a slow reader skips to them" },
  { "an option that is nearly one", 'app:stream("/s", { channels = { "a" }, compres = true })',
    "app.lua:3: the plan of /s: unknown option 'compres', did you mean 'compress'? (known: channels, compress, "
      .. "control, heartbeat, keys, max_rate, meta, query, rewind, types)" },
  { "a keyed log that keeps nothing", 'app:channel("a", { history = 0, key = "id", rewind = "latest" })',
    "app.lua:3: channel 'a': rewind = \"latest\" needs a history: a client that comes back gets the log" },
  { "max_rate on a log of its own", 'app:channel("a", { history = 9, max_rate = 2 })',
    "app.lua:3: channel 'a': max_rate needs history = \"latest\": in a log no event is ever replaced" },
  { "max_rate that meets the log of another pattern",
    'app:channel("a/*", { history = "latest", max_rate = 2 })\napp:channel("a/b", { history = 5 })',
    "app.lua:3: channel 'a/*': max_rate needs history = \"latest\": in a log no event is ever replaced; 'a/b' "
      .. "(app.lua:4) makes a log of 'a/b': give it max_rate = false" },
  { "max_rate of nothing", 'app:channel("a", { history = "latest", max_rate = 0 })',
    "app.lua:3: channel 'a': max_rate is a number of events per second and key, from 1/60, or false" },
  { "max_rate that is no number", 'app:channel("a", { history = "latest", max_rate = 0/0 })',
    "app.lua:3: channel 'a': max_rate is a number of events per second and key, from 1/60, or false" },
  { "a batch of milliseconds", 'app:channel("a", { batch = 100 })',
    "app.lua:3: channel 'a': batch is a number of seconds from 0.02 to 60, or false" },
  { "max_rate of a plan", 'app:stream("/x", { channels = { "a" }, max_rate = "fast" })',
    "app.lua:3: the plan of /x: max_rate is a number of events per second and key, from 1/60" },
  { "max_rate of one channel of a plan", 'app:stream("/x", { channels = { { "a", max_rate = -1 } } })',
    "app.lua:3: the plan of /x: max_rate is a number of events per second and key, from 1/60" },
  { "durable", 'app:channel("a", { durable = "yes" })', "app.lua:3: channel 'a': durable is true or false" },
  { "a store without a name", 'app:store()', "app.lua:3: app:store(name): the name is a string, not a nil" },
  { "a coding that is none", 'app:stream("/x", { channels = { "a" }, compress = "brotli" })',
    "app.lua:3: the plan of /x: compress is \"auto\", \"gzip\", \"zstd\" or false" },
  { "compress without a coding", 'app:stream("/x", { compress = true }, "a")',
    "app.lua:3: app:stream(\"/x\"): compress is \"auto\", \"gzip\", \"zstd\" or false" },
  { "rewind latest without a key", 'app:channel("a", { rewind = "latest" })',
    "app.lua:3: channel 'a': rewind = \"latest\" needs key = \"field\"" },
  { "a bad channel character", 'app:channel("a b")',
    "app.lua:3: channel 'a b': segment 'a b' may hold letters, digits and _ . @ + = ~ : - only" },
  { "a channel declared twice", 'app:channel("a/:x", {})\napp:channel("a/*", {})',
    "app.lua:4: channel 'a/*' is declared already (app.lua:3)" },
  { "a history of the wrong kind", 'app:channel("a", { history = "all" })',
    "app.lua:3: channel 'a': history is a number of events (at most 1000000), \"latest\", or { count =, bytes = }" },
  { "a pattern in a plan", 'app:stream("/x", "a/*")',
    "app.lua:3: the plan of /x: 'a/*' is a pattern; a plan names channels" },
  { "a parameter that the path has not", 'app:stream("/x/:id", "a/:name")',
    "app.lua:3: the plan of /x/:id: there is no path parameter :name in /x/:id for channel 'a/:name'" },
  { "a plan as a list", 'app:stream("/x", { "a" })', "app.lua:3: the plan of /x: write { channels = { \"a\", … } }" },
  { "a plan without channels", 'app:stream("/x", {})', "app.lua:3: the plan of /x needs channels = { … }" },
  { "a task twice", 'app:task("t", print)\napp:task("t", print)',
    "app.lua:4: task 't' is defined twice (app.lua:3)" },
  { "a service twice", 'app:service("t", print)\napp:service("t", print)',
    "app.lua:4: service 't' is defined twice (app.lua:3)" },
  { "an event type without a name", "app:event_type({})",
    "app.lua:3: app:event_type(name, info): the name is a string, not a table" },
  { "an event type with an unknown kind", 'app:event_type("x", { fields = { a = "list" } })',
    "app.lua:3: shape: 'list' of field 'a' is no kind (known: any, array, boolean, integer, number, object, string, "
      .. "each with an optional ?, or a list of values)" },
  { "an environment variable that is not set", 'sluice.env("SLUICE_SPEC_NOT_SET")',
    "app.lua:3: the environment variable SLUICE_SPEC_NOT_SET is not set and has no default" },
  { "an environment variable without a name", "sluice.env()",
    "app.lua:3: sluice.env(name, default): the name is a string, not a nil" },
  { "a wildcard origin with credentials", 'app:cors("/**", { origins = { "*" }, credentials = true })',
    "app.lua:3: app:cors('/**'): credentials need exact origins, not \"*\"" },
  { "a folder that is not there", 'app:static("/", "public")',
    "app.lua:3: app:static(): there is no folder './public'" },
  { "an option with a typo at a channel of a plan",
    'app:stream("/x", { channels = { { "news", rewnd = 3 } } })',
    "app.lua:3: the plan of /x: channel 'news': unknown option 'rewnd', did you mean 'rewind'? (known: keys, "
      .. "max_rate, rewind, types)" },
  { "a channel of a plan whose name is an option", 'app:stream("/x", { channels = { { name = "news" } } })',
    'app.lua:3: the plan of /x: a channel\'s own table begins with its name: { "news", rewind = 10 }' },
  { "a channel's table in place of a plan", 'app:stream("/x", { { name = "news" } })',
    'app.lua:3: the plan of /x: write { channels = { { name = "news" }, … } }' },
  { "a hook without its pattern", 'app:on("subscribe", function() end)',
    'app.lua:3: app:on("subscribe", pattern, fn): the pattern is missing, "**" means every channel' },
  { "a hook with a pattern that it has not", 'app:on("start", "x", print)',
    'app.lua:3: app:on("start", fn): this hook has no pattern' },
  { "a hook that is a text", 'app:on("published", "x", "y")',
    'app.lua:3: app:on("published", pattern, fn): fn is a string' },
  { "a hook without its kind", "app:on(print)",
    "app.lua:3: app:on(kind, …): the kind comes first: a string, not a function" },
  { "a route without its path", "app:get(print)",
    "app.lua:3: app:get(path, …): the path comes first: a string that starts with a slash, not a function" },
  { "a stream without its path", "app:stream(function() end)",
    "app.lua:3: app:stream(path, …): the path comes first: a string that starts with a slash, not a function" },
  { "a guard without its pattern", "app:guard(print)",
    "app.lua:3: app:guard(path, …): the path comes first: a string that starts with a slash, not a function" },
  { "sluice.serve in an app", "sluice.serve(app)",
    "app.lua:3: sluice.serve() has no place in an app that is loaded: end with 'return app'" },
}

describe("a mistake at load", function()
  for _, case in ipairs(at_load) do
    it("is told: " .. case[1], function()
      assert.equal(case[3], rehearsal.load_error(APP .. case[2] .. "\nreturn app"))
    end)
  end
end)

local in_handler = {
  { "a route in a handler", 'app:get("/y", print)',
    'app:get("/y") belongs at the top level of the app: made in a handler it would vanish at the next reload' },
  { "a timer in a handler", "app:every(1, print)",
    "app:every() belongs at the top level of the app: made in a handler it would vanish at the next reload" },
  { "a function for app:after", "app:after(5, print)",
    "app:after(seconds, \"task\", data): the second argument is the name of an app:task(); a function would not "
      .. "survive a reload" },
  { "a method of the request with a typo", "req:jsn()",
    "attempt to call a nil value (method 'jsn'): did you mean req:json?" },
  { "a field of the request with a typo", "return req.qery.x",
    "attempt to index a nil value (field 'qery'): did you mean req.query?" },
  { "a method of the app with a typo", 'app:publsh("a")', "app has no 'publsh': did you mean app:publish?" },
  { "a publish without the event's name", 'app:publish("news", { a = 1 })',
    "app:publish(channel, event, data): the event is a string, not a table: write app:publish(\"news\", "
      .. '"message", data)' },
  { "a publish whose event is a function", 'app:publish("news", print, { a = 1 })',
    "app:publish(channel, event, data): the event is a string, not a function" },
  { "a publish with a dot", 'app.publish("a", "x", {})',
    "app.publish was called without the app: write app:publish(…) with a colon" },
  { "a global", "count = 1", "'count' is not declared: use local, or app:state for what must survive" },
  { "a sleep in gsub", '("a"):gsub("a", function() sluice.sleep(1) end)',
    "sluice.sleep() inside string.gsub cannot wait: collect first, then wait" },
  { "a sleep in sort", "table.sort({ 2, 1 }, function() sluice.sleep(1) end)",
    "sluice.sleep() inside table.sort cannot wait: collect first, then wait" },
  { "a sleep in a coroutine of one's own", "coroutine.wrap(function() sluice.sleep(1) end)()",
    "sluice.sleep() inside a coroutine of your own would return to its resume: call it outside, or use app:spawn()" },
  { "a sleep of nothing", "sluice.sleep()",
    "sluice.sleep(seconds): a number of seconds from 0 is expected, not nil" },
  { "NaN seconds", "sluice.sleep(0/0)", "a number of seconds from 0 is expected, not" },
}

describe("a mistake in a handler", function()
  for _, case in ipairs(in_handler) do
    it("is told and answered with 500: " .. case[1], function()
      local t = rehearsal.load(APP .. 'app:get("/", function(req)\n' .. case[2] .. "\nend)\nreturn app")
      assert.equal(500, t:get("/").status)
      local line = rehearsal.logged("error")[1]
      assert.truthy(line:find("GET / (app.lua:3): app.lua:4: ", 1, true), line)
      assert.truthy(line:find(case[3], 1, true), line)
      assert.equal(1, #rehearsal.logged("error"))
    end)
  end
end)

describe("sluice", function()
  local sluice = require("sluice")

  it("has times, ids and environment variables with defaults", function()
    assert.equal("2026-11-22T09:00:00.123Z", sluice.timestamp(1795338000.1235))
    assert.equal("1970-01-01T00:00:00.000Z", sluice.timestamp(0))
    assert.has_error(function() sluice.timestamp("x") end)
    assert.equal(22, #sluice.id())
    assert.is_true(math.abs(rehearsal.core.now() - sluice.now()) < 1)
    assert.equal("d", sluice.env("SLUICE_SPEC_NOT_SET", "d"))
    assert.matches("^sluice %d", sluice._VERSION)
  end)

  it("reads the times that it writes, and others with an offset", function()
    for text, time in pairs({ ["2026-11-22T09:00:00.123Z"] = 1795338000.123, ["1970-01-01T00:00:00Z"] = 0,
      ["2026-11-22T09:00Z"] = 1795338000, ["2026-11-22t10:30:00+01:30"] = 1795338000,
      ["2026-11-21T22:00:00-1100"] = 1795338000, ["2024-02-29T23:59:59z"] = 1709251199,
      ["1969-12-31T23:59:59Z"] = -1, ["9999-12-31T23:59:59Z"] = 253402300799 }) do
      assert.equal(time, sluice.time(text), text)
    end
    for _ = 1, 1000 do
      local time = math.random(0, 253402300799)
      assert.equal(time, sluice.time(sluice.timestamp(time)))
    end
    for _, text in ipairs({ "", "x", "2026-11-22", "2026-11-22T09:00:00", "2026-02-29T09:00:00Z",
      "2026-13-01T09:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T09:60:00Z", "2026-11-22T09:00:60Z",
      "2026-11-22T09:00:00+24:00", "2026-11-22T09:00:00+1", "2026-11-22 09:00:00Z", "2026-11-22T09:00:00ZZ",
      ("9"):rep(1000) }) do
      local time, message, code = sluice.time(text)
      assert.same({ nil, "EINVAL", true }, { time, code, #message < 160 }, text)
    end
    assert.has_error(function() sluice.time(5) end)
  end)

  it("logs with fields", function()
    rehearsal.load(APP .. "return app")
    sluice.log.warn("careful", { n = 1 })
    local line = rehearsal.lines()[1]
    assert.same({ "warn", "careful", { n = 1 } }, { line.level, line.message, line.fields })
    assert.has_error(function() sluice.log.info("x", "y") end)
  end)

  it("serves an app that a program made", function()
    local app = sluice.app()
    app:get("/", function() return "hi" end)
    local answer
    rehearsal.keep_log()
    rehearsal.stub_server(function(server)
      server.fn("request", 1, 1, { method = "GET", path = "/", headers = {}, params = {} })
      answer = server.responses[1]
    end)
    assert.is_true(sluice.serve(app, { port = 0, host = "127.0.0.1" }))
    assert.equal("hi", answer.body)
    assert.has_error(function() sluice.serve(app, {}) end)
    assert.has_error(function() sluice.serve({}, {}) end)
    assert.has_error(function() sluice.serve("x.lua", { prot = 1 }) end)
    assert.same({ nil, "none.lua: there is no such file", "ELOAD" }, { sluice.serve("none.lua", { port = 0 }) })
  end)
end)
