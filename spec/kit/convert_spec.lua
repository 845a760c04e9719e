--- What is durable, and of which kind, changes by a reload: in virtual time on a disk in memory.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local log = { history = 2000, LOG }
local values = { history = "latest", key = "id", VALUES }
app:channel("log/*", log)
app:channel("values", values)
app:channel("memory", { history = 100 })
app:stream("/log", "log/a")
app:stream("/values", "values")
app:stream("/all", { channels = { "log/a", "values", "memory" } })
app:stream("/latest", { channels = { { "log/a", rewind = "latest" } } })
app:stream("/rewind", { channels = { { "log/a", rewind = "all" } } })
app:post("/publish/*channel", function(req)
  local body = req:json()
  local id, second, third = app:publish(req.params.channel, "e", body.data, body.opts)
  if id then return { id = id, subscribers = second, again = third } end
  return 503, { error = { message = second, code = third } }
end)
app:get("/history", function() return app:history("log/a", { limit = 5000 }) end)
app:get("/latest-of/*channel", function(req) return { (app:latest(req.params.channel)) } end)
app:post("/burst", function(req)
  for n = 1, 20 do app:publish("log/a", "e", { n = n, id = "k" }, { wait = false }) end
  return 204
end)
app:get("/version", function() return "VERSION" end)
return app
]]

local function app(log, values, version)
  return (APP:gsub("LOG", log or ""):gsub("VALUES", values or ""):gsub("VERSION", version or "1"))
end

local DURABLE = "durable = true"
local KEYED = 'key = "id", rewind = "latest"'
local DURABLE_KEYED = KEYED .. ", " .. DURABLE

describe("a reload that changes what is durable", function()
  local t
  local function start(...)
    t = testing.start { source = app(...) }
    return t
  end
  local function reload(...) return t:reload(app(...)) end
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  local function publish(channel, data, opts)
    return t:post("/publish/" .. channel, { json = { data = data, opts = opts } })
  end
  local function fill(from, to, id)
    local list = {}
    for n = from, to do list[n] = assert(publish("log/a", { n = n, id = id or "k" .. n }).json.id) end
    return list
  end
  local numbers = kit.numbers
  local count = kit.count
  --- What a newcomer to the newest of each key gets.
  local function newest()
    local c = t:connect("/latest")
    t:settle()
    local list = {}
    for _, e in ipairs(c:events("e")) do list[#list + 1] = e.data.id .. "=" .. e.data.n end
    c:close()
    return table.concat(list, " ")
  end
  local function resets(c)
    local list = {}
    for _, e in ipairs(c:events("reset")) do list[#list + 1] = e.data.channel .. " " .. e.data.reason end
    return list
  end

  it("makes a log durable from its place on, for open streams too", function()
    start("", DURABLE)
    local c = t:connect("/log")
    local ids = fill(1, 3)
    assert.is_true(reload(DURABLE, DURABLE))
    ids[4] = fill(4, 4)[4]
    assert.same({ count(1, 4), {} }, { numbers(c), resets(c) })
    local back = t:connect("/log", { last_event_id = ids[1] }) -- memory has what came before
    t:settle()
    assert.same({ true, count(2, 4) }, { back.hello.resumed, numbers(back) })
    t:kill()
    back = t:connect("/log", { last_event_id = ids[3] })
    t:settle()
    assert.same({ true, { 4 } }, { back.hello.resumed, numbers(back) })
    back = t:connect("/log", { last_event_id = ids[2] }) -- 3 was in memory, and is lost
    t:settle()
    assert.same({ { "log/a trimmed" }, { 4 } }, { resets(back), numbers(back) })
  end)

  it("opens the store, and keeps epoch and numbers", function()
    start()
    local c = t:connect("/log")
    local ids = fill(1, 2)
    assert.is_true(reload(DURABLE))
    ids[3] = fill(3, 3)[3]
    assert.same({ ids[1]:match("^%w+"), count(1, 3), {} }, { ids[3]:match("^%w+"), numbers(c), resets(c) })
    t:kill()
    local back = t:connect("/log", { last_event_id = ids[2] })
    t:settle()
    assert.same({ true, { 3 } }, { back.hello.resumed, numbers(back) })
    assert.is_true(reload(DURABLE, DURABLE))
  end)

  it("deletes what is stored when a log is durable no more", function()
    start(DURABLE)
    local c = t:connect("/log")
    local ids = fill(1, 3)
    assert.is_true(reload())
    ids[4] = fill(4, 4)[4]
    assert.same({ count(1, 4), {} }, { numbers(c), resets(c) })
    t:kill()
    local back = t:connect("/log", { last_event_id = ids[4] })
    t:settle()
    assert.same({ { "log/a restart" }, {} }, { resets(back), numbers(back) })
    assert.is_true(reload(DURABLE))
    fill(5, 5)
    t:kill()
    back = t:connect("/rewind")
    t:settle()
    assert.same({ 5 }, numbers(back))
  end)

  it("tells a log's readers what memory never held, when only the store had it", function()
    start(DURABLE)
    local ids = fill(1, 1500) -- memory holds 1024
    assert.is_true(reload())
    local c = t:connect("/log", { last_event_id = ids[2] })
    t:settle()
    assert.same({ "log/a trimmed" }, resets(c))
    assert.equal(1500, numbers(c)[#numbers(c)])
    c = t:connect("/log", { last_event_id = ids[1000] })
    t:settle()
    assert.same({ {}, count(1001, 1500) }, { resets(c), numbers(c) })
  end)

  it("finds the newest of each key in the rows of a log", function()
    start(DURABLE)
    fill(1, 1, "old")
    fill(2, 1200, "k")
    publish("log/a", { n = 1201, id = "gone" }, { key = "gone" })
    publish("log/a", { n = 1202, id = "gone" }, { key = "gone", remove = true })
    assert.is_true(reload(DURABLE_KEYED))
    assert.equal("k=1200", newest()) -- published without a key: the newest of none
    fill(1203, 1203, "x")
    assert.equal("k=1200 x=1203", newest())
    t:kill()
    assert.equal("k=1200 x=1203", newest())
  end)

  it("brings back the newest of keys that memory has forgotten", function()
    start(DURABLE_KEYED)
    fill(1, 1, "old")
    fill(2, 1200, "k")
    assert.is_true(reload(DURABLE))
    assert.equal("", newest())
    assert.is_true(reload(DURABLE_KEYED))
    assert.equal("old=1 k=1200", newest())
    t:kill()
    assert.equal("old=1 k=1200", newest())
  end)

  it("brings the newest values of a state, and of a keyed log", function()
    start(KEYED)
    fill(1, 3, "k")
    publish("values", { id = "a", n = 1 })
    publish("values", { id = "b", n = 2 })
    assert.is_true(reload(DURABLE_KEYED, DURABLE))
    assert.equal("k=3", newest())
    publish("values", { id = "b", n = 3 })
    t:kill()
    assert.equal("k=3", newest())
    local c = t:connect("/values")
    t:settle()
    local got = {}
    for _, e in ipairs(c:events("e")) do got[#got + 1] = e.data.id .. e.data.n end
    assert.same({ "a1", "b3" }, got)
  end)

  it("turns a log into a state, and tells whoever missed some of it", function()
    start(DURABLE)
    local c = t:connect("/log")
    local ids = fill(1, 3)
    assert.is_true(t:reload((app(DURABLE):gsub("history = 2000", 'history = "latest", key = "id"'))))
    publish("log/a", { n = 4, id = "k" })
    assert.same({ count(1, 4), {} }, { numbers(c), resets(c) })
    t:kill()
    local back = t:connect("/log", { last_event_id = ids[1] })
    t:settle()
    assert.same({ { "log/a trimmed" }, { 4 } }, { resets(back), numbers(back) })
    back = t:connect("/log", { last_event_id = ids[3] })
    t:settle()
    assert.same({ {}, { 4 } }, { resets(back), numbers(back) })
  end)

  it("changes what is kept of a durable log without waiting", function()
    start(DURABLE)
    local ids = fill(1, 60)
    t:disk { full = true }
    assert.is_true(t:reload((app(DURABLE):gsub("history = 2000", "history = 10"))))
    t:advance(2)
    t:disk { full = false }
    t:advance(2)
    fill(61, 62)
    t:advance(2)
    t:kill()
    local back = t:connect("/log", { last_event_id = ids[1] })
    t:settle()
    assert.same({ "log/a trimmed" }, resets(back))
    assert.is_true(#numbers(back) < 20, #numbers(back))
  end)

  it("is refused when the disk is full, and nothing has changed", function()
    start(DURABLE, "", "1")
    local ids = fill(1, 3)
    publish("values", { id = "a", n = 1 })
    t:disk { full = true }
    local good, message = reload("", DURABLE, "2")
    assert.is_nil(good)
    assert.matches("what is durable changes, and the store does not take it", message)
    assert.equal("1", t:get("/version").body)
    assert.equal("ESTORE", publish("log/a", { n = 4 }).json.error.code)
    assert.equal(200, publish("values", { id = "a", n = 2 }).status)
    t:disk { full = false }
    fill(4, 4)
    assert.is_true(reload("", DURABLE, "2"))
    assert.equal("2", t:get("/version").body)
    local c = t:connect("/log", { last_event_id = ids[1] })
    t:settle()
    assert.same({ count(2, 4), {} }, { numbers(c), resets(c) })
  end)

  local function warnings_of(text)
    local list = {}
    for _, line in ipairs(t:log("warn")) do
      if line:find(text, 1, true) then list[#list + 1] = line:match("deleted what .*") or line end
    end
    return list
  end
  local DELETED = "deleted what was stored of %s: not durable any more, or of another kind; "
    .. "only a backup brings it back"

  it("warns of what it has deleted, and not of what it was refused to", function()
    start(DURABLE, DURABLE)
    fill(1, 2)
    publish("values", { id = "a", n = 1 })
    t:disk { full = true }
    assert.is_nil(reload("", DURABLE))
    assert.same({}, warnings_of("deleted"))
    t:disk { full = false }
    assert.is_true(reload("", DURABLE))
    assert.same({ DELETED:format("'log/a' (2 events)") }, warnings_of("deleted"))
    assert.is_true(reload(""))
    assert.equal(DELETED:format("'values' (1 newest value)"), warnings_of("deleted")[2])
    assert.is_true(reload(DURABLE)) -- nothing is stored that could go
    assert.equal(2, #warnings_of("deleted"))
  end)

  local function ask(kind, source)
    local reloader, answer = t.place.runtime.reloader, nil
    reloader.given = { [t.place.path or ""] = source }
    t.place.world:enter()
    assert(reloader:request(kind, function(outcome) answer = outcome end))
    t.place.runtime:turn()
    return t:wait(9, function() return answer end)
  end

  it("says before and after it what is deleted, of which channels", function()
    start(DURABLE, DURABLE)
    fill(1, 2)
    publish("log/b", { n = 1 })
    publish("values", { id = "a", n = 1 })
    assert.same({}, ask("dry_run", app(DURABLE, DURABLE, "2")).notes)
    local outcome = ask("dry_run", app(""))
    assert.equal("~channel:log/* durable true→none  ~channel:values durable true→none", outcome.difference)
    local list = "'log/a' (2 events), 'log/b' (1 event), 'values' (1 newest value): not durable any more, or of "
      .. "another kind; only a backup brings it back"
    assert.same({ "would delete what is stored of " .. list }, outcome.notes)
    assert.same({}, warnings_of("delete"))
    assert.same({ "deleted what was stored of " .. list }, ask("reload", app("")).notes)
    assert.equal(1, #warnings_of("delete"))
    assert.same({}, ask("dry_run", app(DURABLE)).notes)
  end)

  -- A commit that takes three seconds: what is published meanwhile, on either side.
  it("lets events of a channel that becomes durable queue behind it", function()
    start("", DURABLE)
    local c = t:connect("/log")
    fill(1, 1)
    t:disk { commit = 3 }
    local outcome = t.place:reload(app(DURABLE, DURABLE, "2"))
    t:settle()
    assert.is_nil(outcome())
    assert.equal("1", t:get("/version").body)
    t:post("/burst")
    assert.equal(200, publish("memory", { n = 1 }).status) -- does not wait
    assert.same({ 1 }, numbers(c))
    t:advance(4)
    assert.same({ true, "2" }, { outcome().ok, t:get("/version").body })
    t:advance(4)
    local all = count(1, 20)
    table.insert(all, 1, 1)
    assert.same(all, numbers(c))
    t:disk { commit = 0 }
    t:kill()
    local back = t:connect("/rewind")
    t:settle()
    assert.same(count(1, 20), numbers(back))
  end)

  it("publishes in memory, in order, what was queued for a channel that is durable no more", function()
    start(DURABLE, DURABLE)
    local c = t:connect("/log")
    fill(1, 1)
    t:disk { commit = 3 }
    local outcome = t.place:reload(app("", DURABLE, "2"))
    t:settle()
    t:post("/burst")
    assert.is_nil(outcome())
    t:advance(3)
    assert.is_true(outcome().ok)
    local all = count(1, 20)
    table.insert(all, 1, 1)
    assert.same(all, numbers(c))
    publish("log/a", { n = 21 })
    table.insert(all, 21)
    assert.same(all, numbers(c)) -- at once: memory waits for no disk
  end)

  it("waits for a disk that hangs, says so, and memory channels do not", function()
    start("", DURABLE)
    t:disk { commit = 20 }
    local good, message, outcome = reload(DURABLE, DURABLE, "2")
    assert.is_nil(good)
    assert.equal("the disk does not answer: what is durable changes, and the reload comes into force when the "
      .. "disk has taken that", message)
    assert.same({ "ETIMEOUT", true, 1 }, { outcome.code, outcome.waits, outcome.generation })
    assert.is_true(t:elapsed() < 10)
    assert.equal(200, publish("memory", { n = 1 }).status)
    assert.equal("1", t:get("/version").body)
    good, message, outcome = reload("", DURABLE, "3")
    assert.is_nil(good)
    assert.equal("the disk does not answer: this reload waits for the one before, which changes what is durable",
      message)
    assert.equal("ETIMEOUT", outcome.code)
    assert.equal(1, #warnings_of("until then generation 1 serves"))
    t:advance(21)
    assert.equal("2", t:get("/version").body)
    t:advance(21)
    assert.equal("3", t:get("/version").body)
    for _, line in ipairs(t:log("error")) do assert.not_matches("reload", line) end
    t:restart()
    assert.equal("3", t:get("/version").body)
  end)

  it("migrates the states as they are when it comes into force", function()
    local function source(options, version, more)
      return ([[
        local sluice = require("sluice")
        local app = sluice.app()
        app:channel("log", { %s })
        local seen = app:state("seen", { n = 0 }, { version = %d, migrate = function(old) return { n = old.n } end })
        app:post("/count", function() seen().n = seen().n + 1 return 204 end)
        app:get("/count", function() return seen().n .. "%s" end)
        return app ]]):format(options, version, more)
    end
    t = testing.start { source = source(DURABLE, 1, "") }
    t:disk { commit = 3 }
    local outcome = t.place:reload(source("", 2, "!"))
    t:post("/count")
    t:advance(4)
    assert.is_true(outcome().ok)
    assert.equal("1!", t:get("/count").body)
  end)

  it("gets another kind of memory channel right while others convert", function()
    start("", DURABLE)
    local c = t:connect("/all")
    publish("memory", { n = 1 })
    t:disk { commit = 3 }
    local outcome = t.place:reload((app(DURABLE, DURABLE)
      :gsub('"memory", { history = 100', '"memory", { history = "latest"')))
    publish("memory", { n = 2 })
    t:advance(4)
    assert.is_true(outcome().ok)
    assert.is_true(publish("memory", { n = 3 }).json.id)
    assert.same({ 1, 2, 3 }, numbers(c))
  end)
end)
