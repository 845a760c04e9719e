--- The disk of a test: what it does to durable channels when it is slow, full, broken or hung, when the
--- process dies on it and when its power fails.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local APP = [[
app:channel("log", { history = 1000, durable = true })
app:channel("prices", { history = "latest", key = "id", durable = true })
app:channel("memory", { history = 100 })
app:stream("/log", { channels = { { "log", rewind = "all" } } })
app:stream("/all", { channels = { "log", "memory" } })
local seen = app:state("seen", {})
local function publish(n, opts)
  local id, message, code = app:publish("log", "e", { n = n }, opts)
  seen()[#seen() + 1] = ("%g %s"):format(n, id and "stored" or code)
  return id, message, code
end
app:post("/log/:n", function(req) return sluice.receipt(publish(tonumber(req.params.n), req:json())) end)
app:post("/later/:n", function(req)
  app:spawn(function() publish(tonumber(req.params.n)) end)
end)
app:get("/figures", function() return app:stats() end)
app:on("stop", function() if seen().last_word then publish(seen().last_word) end end)]]

local function publish(t, n, opts) return t:post("/log/" .. n, { json = opts or {} }) end

-- What a newcomer finds, by number.
local function stored(t)
  local list = {}
  for _, e in ipairs(t:connect("/log"):events("e")) do list[#list + 1] = e.data.n end
  return list
end

local numbers = kit.numbers

-- "503 ESTORE" of a refusal
local function told(answer) return ("%d %s"):format(answer.status, answer.json.error.code) end

describe("a disk", function()
  local t
  local function start(options)
    t = kit.start(APP, options)
    return t
  end
  after_each(kit.stop_all)

  it("that is full refuses, keeps streams open, and takes events again when there is room", function()
    start()
    publish(t, 1)
    local c = t:connect("/all")
    t:disk { full = true }
    for n = 2, 4 do assert.equal("503 ESTORE", told(publish(t, n))) end
    t:publish("memory", "m", {})
    assert.same({ "ESTORE" }, { (select(3, t:publish("prices", "p", { id = "a" }))) })
    t:disk { full = false }
    assert.equal(202, publish(t, 5).status)
    assert.same({ 5 }, numbers(c))
    assert.same({ 1, 0, 0 }, { c:count("m"), c:count("reset"), c:count("bye") })
    assert.same({ 1, 5 }, stored(t))
    t:kill()
    assert.same({ 1, 5 }, stored(t))
  end)

  it("may have room for so many bytes", function()
    start()
    t:disk { full = 600000 }
    local n = 0
    repeat
      n = n + 1
      local answer = publish(t, n)
    until answer.status ~= 202 or n == 1000
    assert.is_true(n > 10 and n < 1000, n)
    t:kill()
    assert.equal(n - 1, #stored(t))
  end)

  for _, what in ipairs { "write", "sync" } do
    it("whose every " .. what .. " fails loses nothing acknowledged and delivers nothing else", function()
      start()
      publish(t, 1)
      local c = t:connect("/all")
      t:disk { failing = what }
      t:post("/later/2")
      t:post("/later/3")
      t:publish("memory", "m", {})
      t:advance(1)
      assert.same({ {}, 1 }, { numbers(c), c:count("m") })
      t:advance(5)
      -- the first is in a commit whose result is not known, the second waits behind it
      assert.same({ "1 stored", "2 ETIMEOUT", "3 ESTORE" }, t:state("seen"))
      assert.same({}, numbers(c))
      t:disk { failing = false }
      t:advance(1)
      assert.equal(202, publish(t, 4).status)
      local got = numbers(c)
      assert.equal(4, got[#got])
      assert.is_true(#got == 1 or #got == 2 and got[1] == 2, table.concat(got, " "))
      table.insert(got, 1, 1)
      assert.same(got, stored(t))
      t:cut()
      assert.same(got, stored(t))
      assert.equal(0, c:count("reset"))
    end)
  end

  it("that failed for a moment has what it answered", function()
    for seed = 1, 8 do
      start { seed = seed }
      local c = t:connect("/all")
      t:disk { failing = "sync" }
      t:post("/later/1")
      t:advance(0.3)
      assert.same({}, t:state("seen"))
      t:disk { failing = false }
      t:advance(1)
      local answer = t:state("seen")[1]
      assert.truthy(answer == "1 stored" or answer == "1 ESTORE", answer)
      local there = answer == "1 stored" and { 1 } or {}
      assert.same({ there, there }, { numbers(c), stored(t) })
      t:cut()
      assert.same(there, stored(t))
    end
  end)

  it("that hangs is answered for after 5 seconds, and channels in memory never wait for it", function()
    start()
    local c = t:connect("/all")
    t:disk { hung = true }
    t:post("/later/1")
    t:advance(0.1)
    t:post("/later/2")
    for n = 1, 9 do
      assert.truthy(t:publish("memory", "m", { n = n }))
      c:wait_for("m", 0, { n = n })
      t:advance(0.5)
    end
    assert.same({}, t:state("seen"))
    t:advance(1)
    assert.same({ "1 ETIMEOUT", "2 ESTORE" }, t:state("seen"))
    local began = t:elapsed()
    assert.equal("503 ESTORE", told(publish(t, 3)))
    assert.near(5, t:elapsed() - began, 0.5)
    assert.same({}, numbers(c))
    t:disk { hung = false }
    t:advance(1)
    assert.same({ 1 }, numbers(c))
    assert.equal(202, publish(t, 4).status)
    assert.same({ { 1, 4 }, 0 }, { numbers(c), c:count("reset") })
    assert.same({ 1, 4 }, stored(t))
  end)

  it("that hangs while the process is killed has the event or not, and the next start knows", function()
    for _, early in ipairs { true, false } do
      start()
      publish(t, 1)
      t:disk { hung = true, early = early }
      t:post("/later/2")
      t:advance(1)
      t:kill()
      t:disk { hung = false }
      assert.same(early and { 1, 2 } or { 1 }, stored(t))
    end
  end)

  it("that hangs does not keep a stop waiting", function()
    start()
    publish(t, 1)
    t:disk { hung = true }
    t:post("/later/2")
    t:restart()
    t:disk { hung = false }
    assert.same({ 1 }, stored(t))
  end)

  it("gets what stop hooks publish, and is closed after them", function()
    start()
    publish(t, 1)
    t:state("seen").last_word = 2
    t:disk { commit = 0.3 }
    t:post("/later/3")
    t:restart()
    assert.same({ 1, 3, 2 }, stored(t))
  end)

  it("keeps what was acknowledged when the power fails, whatever else was under way", function()
    local kept = { [true] = 0, [false] = 0 }
    for seed = 1, 20 do
      start { seed = seed }
      for n = 1, 5 do assert.equal(202, publish(t, n).status) end
      t:disk { early = seed % 2 == 0, commit = 1 }
      t:post("/later/6")
      t:advance(0.5)
      t:cut()
      local there = stored(t)
      kept[#there == 6] = kept[#there == 6] + 1
      there[6] = nil
      assert.same({ 1, 2, 3, 4, 5 }, there)
      t:stop()
    end
    assert.same({ [true] = 10, [false] = 10 }, kept)
  end)

  it("does the same twice for equal seeds, to the byte", function()
    local function record(seed)
      local u <close> = testing.start({ source = kit.source(APP) }, { seed = seed, waits = true })
      local list = {}
      local function note(...)
        list[#list + 1] = table.concat({ u:elapsed(), ... }, " ")
      end
      for round = 1, 6 do
        local c = u:connect("/all")
        for n = 1, 4 do note(publish(u, round * 10 + n).body) end
        u:disk { commit = 0.25, failing = round % 2 == 0 and "sync" or false, early = true }
        u:post("/later/" .. round * 10 + 5)
        u:publish("memory", "m", { round = round })
        u:advance(0.1)
        u:disk { failing = false, commit = 0.002 }
        note(c:transcript())
        u:cut()
        note(table.concat(stored(u), ","), table.concat(u:log(), "\n"))
      end
      return table.concat(list, "\n")
    end
    local one = record(7)
    assert.is_true(#one > 5000)
    assert.equal(one, record(7))
    assert.not_equal(one, record(8))
  end)

  it("that is full at a start leaves the app down, until there is room and it is started again", function()
    start()
    publish(t, 1)
    t:disk { full = true }
    assert.error_matches(function() t:kill() end, "the store does not open: .*full")
    assert.error_matches(function() t:get("/") end,
      "t:get%(%): the app is down since its start failed; t:restart%(%) starts it")
    t:disk { full = false }
    t:restart()
    assert.same({ 1 }, stored(t))
  end)

  it("may be full before the app has anything durable: then a reload that brings it is refused", function()
    t = kit.start [[ app:get("/", function() return 204 end) ]]
    t:disk { commit = 1, full = true }
    assert.equal(204, t:get("/").status)
    local good, message = t:reload(kit.source(APP))
    assert.is_nil(good)
    assert.matches("full", message)
    assert.equal(204, t:get("/").status)
    t:disk { full = false }
    assert.is_true(t:reload(kit.source(APP)))
    local began = t:elapsed()
    assert.equal(202, publish(t, 1).status)
    assert.near(1, t:elapsed() - began, 0.1)
    t:kill()
    assert.same({ 1 }, stored(t))
  end)

  it("that takes no time, and is full while a reload sets other limits, gets them when there is room", function()
    start()
    t:disk { commit = 0 }
    for n = 1, 100 do publish(t, n) end
    t:disk { full = true }
    assert.is_true(t:reload(kit.source((APP:gsub("history = 1000", "history = 10")))))
    t:advance(10)
    assert.equal("503 ESTORE", told(publish(t, 101)))
    assert.equal(0, t:get("/figures").json.store.trimmed)
    t:disk { full = false }
    t:advance(10)
    assert.equal(90, t:get("/figures").json.store.trimmed)
    assert.equal(202, publish(t, 102).status)
    t:kill()
    local list = stored(t)
    assert.equal(102, list[#list])
  end)

  it("refuses options that it does not have", function()
    start()
    for _, row in ipairs {
      { { fulll = true }, "t:disk: unknown option 'fulll', did you mean 'full'" },
      { { full = 0 }, "t:disk: full is true, false or a number of bytes, not 0" },
      { { failing = "writes" }, 't:disk: failing is "write", "sync" or false, not "writes"' },
      { { commit = -1 }, "t:disk: commit is a number of seconds from 0, not -1" },
      { { hung = 1, commit = 9 }, "t:disk: hung is true or false, not 1" },
      { nil, "t:disk(options): a table is expected, not nil" } } do
      local _, message = pcall(t.disk, t, row[1])
      assert.truthy(message:find(row[2], 1, true), message)
    end
    local began = t:elapsed()
    publish(t, 1)
    assert.near(0, t:elapsed() - began, 0.1)
  end)
end)

describe("trouble with the disk", function()
  after_each(kit.stop_all)

  local function store(t) return t:get("/figures").json.store end

  -- What the log says of the store, without the lines of starts.
  local function said(t)
    local list = {}
    for _, text in ipairs(t:log()) do
      if not text:find("^store: made") and not text:find("^store: opened") and text:find("^store: ") then
        list[#list + 1] = text
      end
    end
    return list
  end

  local function health(t) return t:get("/-/healthz").body .. t:get("/-/readyz").body end

  it("is logged when it begins and when it ends, once, and shown meanwhile", function()
    local t = kit.start(APP)
    assert.equal("ok\nok\n", health(t))
    t:disk { full = true }
    for n = 1, 10 do publish(t, n) end
    t:advance(30)
    assert.same({ "store: a commit failed: database or disk is full: make room" }, said(t))
    assert.equal(("ok\nstore: trouble\n"):rep(2), health(t))
    assert.same({ 200, 200 }, { t:get("/-/healthz").status, t:get("/-/readyz").status })
    local figures = store(t)
    assert.equal("a commit failed: database or disk is full: make room", figures.trouble)
    assert.same({ 0, 0, 10, 0, 0, false }, { figures.commits, figures.events, figures.refused, figures.late,
      figures.busy, figures.in_doubt })
    assert.is_true(figures.failed >= 10 and figures.failed <= 10 + 16, figures.failed) -- it tries every 2 s
    t:disk { full = false }
    t:advance(3) -- nobody publishes: the store finds out by itself
    assert.matches("^store: events are stored again after [%d.]+ s; 10 writes were refused$", said(t)[2])
    assert.equal("ok\nok\n", health(t))
    assert.is_nil(store(t).trouble)
    publish(t, 11)
    t:advance(60)
    assert.same({ 2, 1 }, { #said(t), store(t).events })
  end)

  it("is a commit that hangs", function()
    local t = kit.start(APP)
    t:disk { commit = 0.5 }
    for n = 1, 2 do publish(t, n) end
    local figures = store(t)
    assert.near(0.5, figures.commit_seconds, 0.01)
    assert.near(0.5, figures.commit_seconds_max, 0.01)
    t:disk { hung = true }
    for n = 3, 5 do t:post("/later/" .. n) end
    t:advance(1)
    figures = store(t)
    assert.same({ 1, 2 }, { figures.in_flight, figures.queued })
    assert.equal("ok\nok\n", health(t))
    t:advance(5)
    t:post("/later/6")
    t:advance(6)
    figures = store(t)
    assert.same({ 1, 3, 0 }, { figures.late, figures.refused, figures.queued })
    assert.equal(("ok\nstore: trouble\n"):rep(2), health(t))
    assert.equal("the disk has not answered for 5 s: durable channels wait for it, channels in memory go on",
      figures.trouble)
    t:disk { hung = false }
    t:advance(1)
    assert.equal("ok\nok\n", health(t))
    local lines = said(t)
    assert.equal(2, #lines)
    assert.matches("^store: the disk answers again after [%d.]+ s; 3 writes were refused$", lines[2])
  end)

  it("is a commit whose result is not known, until it was found out", function()
    local t = kit.start(APP)
    t:disk { failing = "sync" }
    t:post("/later/1")
    t:advance(7)
    local figures = store(t)
    assert.same({ true, 1, 1, 1 }, { figures.in_doubt, figures.unknown, figures.late, figures.in_flight })
    assert.equal("a commit failed: disk I/O error: see the system's log", figures.trouble)
    t:disk { failing = false }
    t:advance(3)
    figures = store(t)
    assert.is_false(figures.in_doubt)
    assert.is_nil(figures.trouble)
    assert.same({ "store: a commit failed: disk I/O error: see the system's log", 2 }, { said(t)[1], #said(t) })
  end)

  it("refuses events in memory when no number is left below the commit, and counts them", function()
    local t = kit.start(APP)
    t.place.server:group_gap(100) -- as after 2^24 events
    local c = t:connect("/all")
    t:disk { hung = true }
    t:post("/later/1")
    for n = 1, 100 do assert.truthy(t:publish("memory", "m", { n = n })) end
    for _ = 1, 3 do
      local id, message, code = t:publish("memory", "m", { n = 101 })
      assert.same({ "nil", "EBUSY" }, { tostring(id), code })
      assert.matches("the disk does not answer, and no number is left", message)
    end
    assert.equal(3, store(t).busy)
    local lines = 0
    for _, text in ipairs(t:log("error")) do
      if text:find("100 numbers below it are given", 1, true) then lines = lines + 1 end
    end
    assert.equal(1, lines)
    t:disk { hung = false }
    t:advance(1)
    assert.truthy(t:publish("memory", "m", { n = 102 }))
    t:settle()
    assert.same({ 101, 1, 0 }, { c:count("m"), c:count("e"), c:count("reset") })
  end)

  it("asks a client to come back later", function()
    local t = kit.start(APP)
    t:disk { full = true }
    assert.equal("5", publish(t, 1).headers["Retry-After"])
    t:disk { full = false }
    assert.is_nil(publish(t, 1).headers["Retry-After"])
  end)

  it("has no figures without a store", function()
    local t = kit.start [[ app:get("/figures", function() return app:stats() end) ]]
    assert.is_nil(store(t))
  end)
end)

describe("waits = true", function()
  after_each(kit.stop_all)

  local RACE = [[
    app:channel("seats", { history = 10 })
    app:channel("values", { history = "latest", key = "id" })
    app:stream("/seats", "seats")
    local left = app:state("left", { n = 1, order = {} })
    app:post("/take/:who", function(req)
      if left().n == 0 then return 409 end
      app:publish("seats", "taken", { by = req.params.who })
      left().n = left().n - 1
    end)
    app:post("/both", function()
      for _, who in ipairs { "a", "b" } do
        app:spawn(function()
          if left().n == 0 then return end
          app:publish("seats", "taken", { by = who })
          left().n = left().n - 1
        end)
      end
    end)
    app:post("/order", function()
      app:spawn(function()
        app:publish("seats", "n", { n = 1 })
        app:publish("seats", "n", { n = 3 })
      end)
      app:spawn(function() app:publish("seats", "n", { n = 2 }) end)
    end)
    app:post("/no-wait", function()
      app:publish("seats", "n", { n = 1 }, { wait = false })
      table.sort({ 1, 2 }, function(a, b) app:publish("seats", "n", { n = 2 }) return a < b end)
    end)
    app:post("/same", function()
      local ids = {}
      for i = 1, 2 do
        app:spawn(function() ids[i] = { app:publish("seats", "n", {}, { idempotency = "k" }) } end)
      end
      while not (ids[1] and ids[2]) do sluice.sleep(0.001) end
      return ids
    end)
    app:post("/gone", function()
      app:publish("values", "v", { id = "a" })
      app:spawn(function() app:remove("values", "a") end)
      sluice.sleep(0) -- it begins
      return { code = select(3, app:publish("values", "v", { id = "a" }, { update = true })) }
    end)]]

  it("finds a handler that relies on what it read before a publish", function()
    local left = {}
    for _, waits in ipairs { true, false } do
      local t = kit.start(RACE, { waits = waits })
      t:post("/both")
      left[#left + 1] = t:state("left").n
    end
    assert.same({ -1, 0 }, left)
  end)

  it("may take time, and keeps the order of calls", function()
    local t = kit.start(RACE, { waits = 0.5 })
    local c = t:connect("/seats")
    local began = t:elapsed()
    t:post("/take/x")
    assert.near(0.5, t:elapsed() - began, 0.01)
    t:post("/order")
    t:advance(2)
    local list = {}
    for _, e in ipairs(c:events("n")) do list[#list + 1] = e.data.n end
    assert.same({ 1, 2, 3 }, list)
  end)

  it("does not make wait what does not or must not", function()
    local t = kit.start(RACE, { waits = 0.5 })
    local c, began = t:connect("/seats"), t:elapsed()
    assert.equal(204, t:post("/no-wait").status)
    assert.near(0, t:elapsed() - began, 0.001)
    assert.equal(2, c:count("n"))
  end)

  it("judges idempotency and updates after the wait", function()
    local t = kit.start(RACE, { waits = true })
    local ids = t:post("/same").json
    assert.same({ ids[1][1], false, true }, { ids[2][1], ids[1][3], ids[2][3] })
    assert.equal("ENOTFOUND", t:post("/gone").json.code)
  end)

  it("needs the app in this process", function()
    assert.error_matches(function() kit.start(RACE, { waits = true, sockets = true }) end,
      "waits = needs the app in this process")
    assert.error_matches(function() kit.start(RACE, { waits = -1 }) end, "waits is true or a number of seconds")
  end)
end)
