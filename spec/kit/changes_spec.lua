--- sluice.changes in virtual time: a burst is one event, in order, over reloads and a disk that
--- refuses. (Rows of a database: changes_source_spec.)
local kit = require("spec.support.kit")

local APP = [[
local changes = require("sluice.changes").new(app, OPTIONS)
local orders = changes:entity("order")
app:stream("/changes", { channels = { "changes/order", "changes/user" } })
app:post("/do", function(req)
  for _, step in ipairs(req:json()) do
    local entity = step.type and changes:entity(step.type) or orders
    local ok, message, code, field = entity[step.op](entity, step.id, step.fields)
    if not ok then return 422, { code = code, message = message, field = field } end
  end
  return 202
end)
]]
local STAMP = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"

local t

local function source(options, more)
  return kit.source((APP:gsub("OPTIONS", options or "{}")) .. (more or ""))
end

local function start(options, more, given)
  t = kit.whole(source(options, more), given)
  return t
end

local function act(...)
  local steps = {}
  for i, step in ipairs { ... } do
    steps[i] = { op = step[1], id = step[2], fields = step[3], type = step[4] }
  end
  return t:post("/do", { json = steps })
end

-- What was received: { op, id, changes } in order.
local function told(c)
  local list = {}
  for i, e in ipairs(c:events("dataUpdate")) do list[i] = { e.data.op, e.data.id, e.data.changes } end
  return list
end

describe("changes", function()
  after_each(kit.stop_all)

  it("makes one event of a burst, with all its fields and the last value of each", function()
    start()
    local c = t:connect("/changes")
    for i = 1, 100 do
      assert.equal(202, act({ "updated", 7, { status = "s" .. i, ["f" .. i % 2] = i } }).status)
      t:advance(0.0005)
    end
    c:expect_none("dataUpdate", 0.049)
    local e = c:wait_for("dataUpdate", 0.002)
    assert.matches(STAMP, e.data.timestamp)
    e.data.timestamp = nil
    assert.same({ id = 7, type = "order", op = "updated", changes = { status = "s100", f0 = 100, f1 = 99 } }, e.data)
    c:expect_none("dataUpdate", 10)
    assert.equal(0, #t:log("warn"))
  end)

  it("delays no change for longer than max_delay, however long the burst lasts", function()
    start("{ debounce = 0.5, max_delay = 2 }")
    local c = t:connect("/changes")
    local began = t:elapsed()
    for i = 1, 100 do
      act { "updated", 7, { n = i } }
      t:advance(0.1)
    end
    t:advance(3)
    local times, last = {}, 0
    for i, e in ipairs(c:events("dataUpdate")) do
      times[i], last = e.at, e.data.changes.n
    end
    assert.is_true(#times >= 4 and #times <= 6, #times)
    assert.equal(100, last)
    local first = c:wait_for("dataUpdate", 0)
    assert.is_true(first.data.changes.n <= 21, first.data.changes.n)
    assert.is_true(t:elapsed() - began > 12)
  end)

  it("joins what was made, changed and deleted in one burst to what readers must know", function()
    start()
    local c = t:connect("/changes")
    local c1, u1, d = { "created", 1, { a = 1, b = 1 } }, { "updated", 1, { b = 2 } }, { "deleted", 1 }
    for i, row in ipairs {
      { { c1, u1 }, { { "created", 1, { a = 1, b = 2 } } } },
      { { c1, u1, d }, {} },
      { { u1, d }, { { "deleted", 1, {} } } },
      { { u1, c1, d }, { { "deleted", 1, {} } } },
      { { u1, d, c1, d }, { { "deleted", 1, {} } } },
      { { u1, c1 }, { { "created", 1, { a = 1, b = 1 } } } },
      { { d, c1, u1 }, { { "deleted", 1, {} }, { "created", 1, { a = 1, b = 2 } } } },
      { { d, c1, d }, { { "deleted", 1, {} } } },
      { { d, c1, d, c1 }, { { "deleted", 1, {} }, { "created", 1, { a = 1, b = 1 } } } },
      { { d, d }, { { "deleted", 1, {} } } },
      { { { "updated", 1 } }, { { "updated", 1, {} } } },
    } do
      local before = #told(c)
      act(table.unpack(row[1]))
      t:advance(1)
      local got = table.move(told(c), before + 1, #told(c), 1, {})
      assert.same(row[2], got, "row " .. i)
    end
    assert.matches('"changes":{}', c:transcript(), 1, true)
  end)

  it("keeps entities apart: by id, whatever its type, and by type", function()
    start()
    local c = t:connect("/changes")
    act({ "updated", 7, { a = 1 } }, { "updated", "7", { b = 2 } }, { "updated", 8, { a = 1 } },
      { "updated", 7, { a = 1 }, "user" })
    t:advance(1)
    assert.same({ { "updated", "7", { a = 1, b = 2 } }, { "updated", 8, { a = 1 } }, { "updated", 7, { a = 1 } } },
      told(c))
    local one = t:connect("/changes?keys=8", { last_event_id = c.hello.epoch .. "-0" })
    assert.same({ { "updated", 8, { a = 1 } } }, told(one))
  end)

  it("sends what the values were at the call, lists and null too", function()
    start(nil, [[app:post("/later", function()
      local fields = { list = { 1 }, none = sluice.json.null, empty = sluice.json.array() }
      orders:updated(1, fields)
      fields.list[1], fields.more = 2, true
    end)]])
    local c = t:connect("/changes")
    t:post("/later")
    c:wait_for("dataUpdate")
    assert.matches('"changes":{"empty":[],"list":[1],"none":null}', c:transcript(), 1, true)
  end)

  it("refuses by field what can be no change, and changes nothing", function()
    start(nil, [[app:post("/bad", function(req)
      local args = { load("return " .. req.body)() }
      local ok, message, code, field = orders:updated(args[1], args[2])
      return 200, { ok = ok, message = message, code = code, field = field }
    end)]])
    local c = t:connect("/changes")
    for args, expected in pairs {
      ["nil"] = "id", ["''"] = "id", ["1.5"] = "id", ["{}"] = "id", ["true"] = "id", ["('x'):rep(257)"] = "id",
      ["'\\xff'"] = "id", ["1, 5"] = "fields", ["1, { 1 }"] = "fields", ["1, { f = print }"] = "fields",
      ["1, { f = 0/0 }"] = "fields",
    } do
      local answer = t:post("/bad", { body = args }).json
      assert.same({ nil, expected }, { answer.ok, answer.field }, args)
      assert.matches("^" .. expected, answer.message)
    end
    c:expect_none("dataUpdate", 5)
    assert.same({}, t:state("changes.waiting"))
  end)

  it("refuses what is too large for an event, to the byte", function()
    start("{ rewind = 'all' }")
    local c = t:connect("/changes")
    act { "updated", 7, { f = "" } }
    local e = c:wait_for("dataUpdate")
    local room = 65000 - #require("sluice.json").encode(e.data)
    for n, status in pairs { [room] = 202, [room + 1] = 422, [room + 300] = 422 } do
      local answer = act { "updated", 7, { f = ("x"):rep(n) } }
      assert.equal(status, answer.status)
      if status == 422 then
        assert.same({ "ETOOBIG", "fields" }, { answer.json.code, answer.json.field })
        assert.matches("bytes of data, the limit is 65000", answer.json.message, 1, true)
      end
    end
    t:advance(1)
    assert.equal(room, #c:events("dataUpdate")[2].data.changes.f)
    assert.equal(2, c:count("dataUpdate"))
    assert.same({}, t:log("error"))
  end)

  it("publishes at once what does not fit with what comes, and loses no change", function()
    start("{ debounce = 1, max_delay = 100 }")
    local c = t:connect("/changes")
    local large = ("x"):rep(40000)
    act { "created", 7, { a = 1, f = large } }
    t:advance(0.1)
    assert.same({}, told(c))
    act { "updated", 7, { a = 2, g = large } }
    t:advance(0.1)
    assert.same({ { "created", 7, { f = large } } }, told(c))
    t:advance(0.5)
    act { "updated", 7, { b = 3 } }
    t:advance(0.9)
    assert.equal(1, c:count("dataUpdate"))
    t:advance(1)
    assert.same({ "updated", 7, { a = 2, b = 3, g = large } }, told(c)[2])
    for i = 1, 40 do act { "updated", 8, { [i % 2 == 0 and "f" or "g"] = large, n = i } } end
    act { "deleted", 8 }
    t:advance(5)
    assert.same({ "deleted", 8, {} }, told(c)[#told(c)])
    assert.equal(0, #t:log("error"))
    assert.same({}, t:state("changes.waiting"))
  end)

  it("holds of a record no more than it is, while nothing can be published", function()
    start("{ durable = true, rewind = 'all' }")
    t:disk { full = true }
    local large = ("x"):rep(40000)
    for i = 1, 40 do
      act { "updated", 8, { [i % 2 == 0 and "f" or "g"] = large, n = i } }
      t:advance(0.2)
    end
    t:disk { full = false }
    t:advance(60)
    local list = told(t:connect("/changes"))
    assert.is_true(#list >= 2 and #list <= 4, #list)
    assert.equal(40, list[#list][3].n)
  end)

  it("loses and doubles nothing over reloads, and waits no longer for them", function()
    start("{ debounce = 1 }")
    local c = t:connect("/changes")
    act({ "updated", 1, { a = 1 } }, { "created", 2, { b = 1 } })
    t:advance(0.4)
    for _ = 1, 3 do
      assert(t:reload())
      t:advance(0.1)
    end
    act { "updated", 1, { c = 1 } }
    t:advance(0.35)
    assert.same({ { "created", 2, { b = 1 } } }, told(c))
    t:advance(10)
    assert.same({ { "created", 2, { b = 1 } }, { "updated", 1, { a = 1, c = 1 } } }, told(c))
    assert.same({}, t:state("changes.waiting"))
  end)

  it("publishes at the end what waits", function()
    start("{ debounce = 600, max_delay = 600, durable = true, rewind = 'all' }")
    for i = 1, 300 do act({ "updated", i, { a = i } }) end
    t:restart()
    local c = t:connect("/changes")
    local list = told(c)
    assert.equal(300, #list)
    for i, row in ipairs(list) do assert.same({ "updated", i, { a = i } }, row) end
  end)

  it("tells those who listen at the end, too", function()
    start("{ debounce = 600, max_delay = 600 }")
    local c = t:connect("/changes")
    act({ "updated", 1, { a = 1 } })
    t:restart()
    assert.same({ { "updated", 1, { a = 1 } } }, told(c))
  end)

  it("takes a removed entity out of what newcomers get", function()
    start("{ rewind = 'latest' }")
    act({ "created", 1, { a = 1 } }, { "created", 2, { a = 2 } })
    t:advance(1)
    act { "deleted", 1 }
    t:advance(1)
    assert.same({ { "created", 2, { a = 2 } } }, told(t:connect("/changes")))
  end)

  it("asks who may read", function()
    start("{ read = function(user) return user ~= nil and user.id == 'boss' end }")
    assert.same({ 403, 200 }, { t:connect("/changes").status, t:connect("/changes", { user = "boss" }).status })
  end)

  it("publishes elsewhere: a hub, or whatever a function does", function()
    start([[{ publish = function(change, o)
      if change.changes.bad == 1 then error("not today") end
      local raises = setmetatable({}, { __tostring = function() error("never a text") end })
      if change.changes.bad == 4 then error(raises) end
      if change.changes.bad == 5 then return nil, raises, "EDENIED" end
      if change.changes.bad == 2 then return nil, "never", "EDENIED" end
      return app:publish("copies", "copy", change, o) end }]], [[app:channel("copies", { history = 100 })
      app:stream("/copies", "copies")
      app:get("/latest", function() return app:history("copies") end)]])
    local c = t:connect("/copies")
    act { "updated", 1, { a = 1 } }
    assert.same({ a = 1 }, c:wait_for("copy").data.changes)
    act { "updated", 1, { bad = 1 } }
    act({ "updated", 2, { bad = 2 } }, { "updated", 3, { bad = 5 } })
    t:advance(0.5)
    assert.matches("the change of order '3' was not published: a table", t:last_error())
    act { "updated", 2, { bad = 2 } }
    t:advance(0.5)
    act { "updated", 1, { bad = 3 } }
    t:advance(20)
    assert.equal(0, #told(c))
    assert.matches("not published, tried again: .*not today", t:log("warn")[1])
    assert.matches("the change of order '2' was not published: never", t:last_error())
    act { "updated", 4, { bad = 4 } }
    t:advance(20)
    assert.matches("not published, tried again: a table", t:log("warn")[#t:log("warn")])
    assert(t:reload(source([[{ publish = function(change, o) return app:publish("copies", "copy", change, o) end }]],
      [[app:channel("copies", { history = 100 })
        app:stream("/copies", "copies")]])))
    t:advance(31)
    local list = {}
    for _, e in ipairs(c:events("copy")) do
      if e.data.id == 1 then list[#list + 1] = e.data.changes end
    end
    assert.same({ { a = 1 }, { bad = 1 }, { bad = 3 } }, list)
    t:advance(60)
    assert.equal(4, c:count("copy"))
  end)

  it("publishes slowly where a function does: over a reload that closes it, and at the end, once", function()
    local SLOW = [[{ publish = function(change)
      sluice.sleep(SECONDS)
      return app:publish("copies", "copy", change) end }]]
    for seconds, change in pairs { [8] = function() assert(t:reload()) end, [0.5] = function() t:restart() end } do
      start(SLOW:gsub("SECONDS", seconds), [[app:channel("copies", { history = 9, durable = true, rewind = "all" })
        app:stream("/copies", "copies")]])
      act { "updated", 1, { a = 1 } }
      t:advance(0.3)
      change()
      t:advance(30)
      assert.equal(1, t:connect("/copies"):count("copy"), seconds)
      assert.same({}, t:log("error"))
      t:stop()
    end
  end)

  it("can stand twice in an app under two names, and not under one", function()
    start(nil, [[local more = require("sluice.changes").new(app, { name = "more", event = "changed" }):entity("x")
      app:stream("/more", "more/x")
      app:post("/more", function() more:created(1) end)]])
    local c = t:connect("/more")
    t:post("/more")
    assert.equal("created", c:wait_for("changed").data.op)
    assert.error_matches(function() start(nil, "require('sluice.changes').new(app)") end, "twice")
  end)

  it("refuses wrong options by name", function()
    for options, message in pairs {
      ["{ debounse = 1 }"] = "did you mean 'debounce'", ["{ debounce = -1 }"] = "debounce is a number",
      ["{ debounce = 0/0 }"] = "debounce is a number", ["{ debounce = 2, max_delay = 1 }"] = "max_delay is a number",
      ["{ name = 'a b' }"] = "may hold letters", ["{ publish = 1 }"] = "publish is a function",
      ["{ history = -1 }"] = "history",
    } do
      assert.error_matches(function() start(options) end, message, 1, true)
    end
    for line, message in pairs {
      ["changes:entity('a/b')"] = "type: at most 64 letters", ["changes:entity()"] = "type: at most 64 letters",
      ["changes:channel('a b')"] = "type: at most 64 letters", ["orders.update(1)"] = "did you mean entity:updated",
    } do
      assert.error_matches(function() start(nil, line) end, message, 1, true)
    end
  end)
end)

describe("durable changes on a disk that refuses", function()
  after_each(kit.stop_all)

  it("come later, each once and in order, with what has changed meanwhile behind them", function()
    start("{ durable = true, rewind = 'all' }")
    local c = t:connect("/changes")
    t:disk { full = true }
    act { "created", 1, { a = 1 } }
    t:advance(0.5)
    act({ "updated", 1, { a = 2 } }, { "updated", 1, { b = 1 } })
    t:advance(5)
    assert(t:reload())
    t:advance(5)
    assert.same({}, told(c))
    assert.matches("not published, tried again", t:log("warn")[1])
    t:disk { full = false }
    t:advance(31)
    local all = { { "created", 1, { a = 1 } }, { "updated", 1, { a = 2, b = 1 } } }
    assert.same(all, told(c))
    t:kill()
    assert.same(all, told(t:connect("/changes")))
  end)

  it("are published once when the disk hangs and a reload closes what waits for it", function()
    start("{ durable = true, rewind = 'all' }")
    local c = t:connect("/changes")
    t:disk { hung = true }
    act { "created", 1, { a = 1 } }
    t:advance(1)
    act { "deleted", 1 }
    assert(t:reload())
    t:advance(20)
    t:disk { hung = false }
    t:advance(60)
    assert.same({ { "created", 1, { a = 1 } }, { "deleted", 1, {} } }, told(c))
  end)
end)
