--- app:store in virtual time, on a disk in memory that is killed, fills up and hangs.
local testing = require("sluice.testing")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local rooms = app:store("rooms")
local other = app:store("other")
local function answer(ok, message, code)
  if ok then return { ok = true } end
  return 503, { error = { message = message, code = code } }
end
app:get("/get/*key", function(req) return { value = rooms:get(req.params.key) } end)
app:post("/set/*key", function(req)
  local body = req:json()
  return answer(rooms:set(req.params.key, body.value, body.opts))
end)
app:post("/delete/*key", function(req) return answer(rooms:delete(req.params.key)) end)
app:get("/each", function(req)
  local list = sluice.json.array()
  for key, value in rooms:each(req.query.prefix) do list[#list + 1] = { key, value } end
  return list
end)
app:post("/at-once", function()
  local seen = {}
  app:spawn(function() rooms:set("k", "first") end)
  sluice.sleep(0)
  seen[1] = rooms:get("k")
  app:spawn(function() rooms:set("k", "second") end)
  sluice.sleep(0)
  seen[2] = rooms:get("k")
  rooms:delete("k", { wait = false })
  seen[3] = rooms:get("k") == nil
  return seen
end)
app:post("/raise/:case", function(req)
  local f = ({
    fn = function() rooms:set("a", { f = print }) end,
    object = function() rooms:set("a", setmetatable({}, { __name = "thing" })) end,
    none = function() rooms:set("a", nil) end,
    key = function() rooms:set(5, 1) end,
    empty = function() rooms:get("") end,
    option = function() rooms:set("a", 1, { wiat = false }) end,
    dot = function() rooms.set("a", 1) end,
    call = function() return rooms().x end,
    field = function() rooms.x = 1 end,
    put = function() rooms:put("a", 1) end,
    prefix = function() rooms:each(5) end,
    sort = function() table.sort({ 1, 2 }, function(a, b) rooms:set("a", 1) return a < b end) end,
    sortd = function() table.sort({ 1, 2 }, function(a, b) rooms:delete("a") return a < b end) end,
  })[req.params.case]
  f()
  return 204
end)
app:post("/json/:case", function(req)
  return answer(rooms:set("a", ({ nan = { f = 0 / 0 }, bytes = { list = { "\xff" } },
    key = { ["\xff"] = 1 },
    mixed = { x = { 1, y = 2 } }, half = { [1.5] = 1 }, truth = { [true] = 1 }, holes = { [5] = 1 },
  })[req.params.case]))
end)
-- Values of a key rise: what was acknowledged last, and whether an older one was shown after it.
local acked = app:state("acked", { last = {}, wrong = {} })
local function look(key)
  local shown, last = rooms:get(key), acked().last[key]
  if last and (not shown or shown.n < last) then table.insert(acked().wrong, key .. " " .. last) end
end
app:post("/many", function(req)
  for _, write in ipairs(req:json()) do
    app:spawn(function()
      local ok = rooms:set(write.key, write)
      if ok then acked().last[write.key] = math.max(acked().last[write.key] or 0, write.n) end
      for _, key in ipairs({ "a", "b", "c" }) do look(key) end
    end)
  end
  return 204
end)
app:post("/fill", function(req)
  local body = req:json()
  local store = body.other and other or rooms
  return answer(store:set(body.key, ("x"):rep(body.bytes)))
end)
return app
]]

describe("app:store", function()
  local t
  local function start(source)
    t = testing.start { source = source or APP }
    return t
  end
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  local function set(key, value, opts) return t:post("/set/" .. key, { json = { value = value, opts = opts } }) end
  local function get(key) return t:get("/get/" .. key).json.value end

  it("keeps what was set over a kill and a restart", function()
    start()
    assert.equal(200, set("a", { list = { 1, 2 }, deep = { n = 9007199254740993 }, empty = {} }).status)
    set("b", 0.1)
    set("c", "gone")
    assert.equal(200, t:post("/delete/c").status)
    for _, again in ipairs({ "kill", "restart" }) do
      t[again](t)
      assert.same({ list = { 1, 2 }, deep = { n = 9007199254740993 }, empty = {} }, get("a"))
      assert.same({ { "a", get("a") }, { "b", 0.1 } }, t:get("/each").json)
    end
  end)

  it("gives a copy", function()
    start()
    set("a", { n = 1 })
    local handle = t:store("rooms")
    local value = handle:get("a")
    value.n = 2
    assert.same({ n = 1 }, handle:get("a"))
  end)

  it("shows a write at once, in the order of the calls, and returns after the commit", function()
    start()
    assert.same({ "first", "second", true }, t:post("/at-once").json)
    t:disk { commit = 0.5 }
    local began = t:elapsed()
    set("a", 1)
    assert.is_true(t:elapsed() - began >= 0.5)
  end)

  it("goes back to what is stored when the disk refuses, and goes on when there is room", function()
    start()
    set("a", "old")
    t:disk { full = true }
    local refused = set("a", ("x"):rep(30000))
    assert.same({ 503, "ESTORE" }, { refused.status, refused.json.error.code })
    assert.equal("old", get("a"))
    assert.equal(503, set("new", ("x"):rep(30000)).status)
    assert.is_nil(get("new"))
    assert.equal(1, #t:get("/each").json)
    t:disk { full = false }
    assert.equal(200, set("a", "new").status)
    t:kill()
    assert.equal("new", get("a"))
  end)

  it("ends with what is stored when the answer was ETIMEOUT", function()
    start()
    set("a", "old")
    t:disk { commit = 8 }
    assert.equal("ETIMEOUT", set("a", "late").json.error.code)
    assert.equal("late", get("a"))
    t:advance(4)
    assert.equal("late", get("a"))
    t:disk { commit = 0.002 }
    t:kill()
    assert.equal("late", get("a"))
  end)

  it("logs what { wait = false } could not store, and takes it back", function()
    start()
    set("a", "old")
    t:disk { full = true }
    assert.equal(200, set("a", ("x"):rep(30000), { wait = false }).status)
    t:advance(1)
    assert.equal("old", get("a"))
    assert.matches("key 'a' of store 'rooms' was not stored: ", table.concat(t:log("error"), "\n"), 1, true)
  end)

  it("iterates over a snapshot, in order, by prefix", function()
    start()
    for _, key in ipairs({ "b/2", "a", "b/1", "c", "b", "b/10" }) do set(key, key) end
    assert.same({ { "b/1", "b/1" }, { "b/10", "b/10" }, { "b/2", "b/2" } }, t:get("/each?prefix=b/").json)
    assert.equal(6, #t:get("/each").json)
    assert.same({}, t:get("/each?prefix=d").json)
    local rooms, seen = t:store("rooms"), {}
    for key in rooms:each("b") do
      rooms:delete("b/2")
      rooms:set("b/0", 1)
      seen[#seen + 1] = key
    end
    assert.same({ "b", "b/1", "b/10", "b/2" }, seen)
    assert.same({ { "b/0", 1 }, { "b/1", "b/1" }, { "b/10", "b/10" } }, t:get("/each?prefix=b/").json)
  end)

  it("refuses mistakes at the line that makes them", function()
    start()
    for case, message in pairs({
      fn = "store 'rooms': set%(%): value.f is a function: only plain data can be stored",
      object = "value is a thing: only plain data",
      none = "the value is nil: write :delete%(key%)",
      key = "set%(%): a key is a string that is not empty, not 5",
      empty = 'get%(%): a key is a string that is not empty, not ""',
      option = "unknown option 'wiat', did you mean 'wait'",
      dot = "store.set was called without its store: write store:set%(…%) with a colon",
      call = "store 'rooms' is read by its methods: write :get%(key%)",
      field = "store 'rooms' is written by its methods: write :set%(key, value%)",
      put = "store has no 'put'",
      prefix = "each%(%): the prefix is a string, not 5",
      sort = "store 'rooms': set%(%) inside table.sort cannot wait.*{ wait = false } does not wait",
      sortd = "store 'rooms': delete%(%) inside table.sort cannot wait",
    }) do
      local answer = t:post("/raise/" .. case)
      assert.equal(500, answer.status, case)
      assert.matches("^[^\n]*app.lua:%d+: .*" .. message, answer.error, nil, nil, case)
    end
    assert.same({}, t:get("/each").json)
  end)

  it("refuses what would come back as something else", function()
    start()
    for case, message in pairs({ nan = "store 'rooms': value.f is NaN", bytes = "value.list.1 is not UTF-8",
      key = "value: a key is not UTF-8", mixed = "value.x has strings and numbers as keys",
      half = "value has a key that is neither a string nor a place in a list",
      truth = "value has a key that is neither", holes = "value has gaps" }) do
      local answer = t:post("/json/" .. case).json
      assert.same({ "EJSON", case, true },
        { answer.error.code, case, answer.error.message:find(message, 1, true) ~= nil }, answer.error.message)
    end
  end)

  it("refuses a key that is too long", function()
    start()
    local rooms = t:store("rooms")
    assert.is_true(rooms:set(("k"):rep(1024), 1))
    local ok, message, code = rooms:set(("k"):rep(1025), 1)
    assert.same({ "store 'rooms': a key has at most 1024 bytes, not 1025", "ETOOBIG" }, { message, code })
    assert.is_nil(ok)
  end)

  it("holds 64 MiB in all stores of the app", function()
    start()
    local function fill(key, bytes, is_other)
      return t:post("/fill", { json = { key = key, bytes = bytes, other = is_other } })
    end
    local MIB = 1024 * 1024
    local pairs_stored = {}
    for i = 1, 5 do pairs_stored[i] = { store = "rooms", key = "k" .. i, value = '"' .. ("x"):rep(12 * MIB) .. '"' } end
    t.place.runtime.stores:load(pairs_stored) -- as a start does
    local refused = fill("big", 5 * MIB, true)
    assert.same({ 503, "EFULL" }, { refused.status, refused.json.error.code })
    assert.equal("store 'other': the 5242890 bytes of key 'big' have no room: all stores of an app hold 64 MiB "
      .. "(now 'rooms' 60.0 MiB, 'other' 0.0 MiB)", refused.json.error.message)
    assert.equal(200, fill("big", 3 * MIB, true).status)
    assert.equal(200, t:post("/delete/k1").status)
    assert.equal(200, fill("big", 5 * MIB, true).status)
    assert.equal(200, fill("k2", 9).status) -- less than before always has room
  end)

  local function random_write(n)
    local list = {}
    for i = 1, math.random(6) do
      local key = ("abc"):sub(math.random(3)):sub(1, 1)
      list[i] = { key = key, n = n + i, pad = ("x"):rep(math.random(3) == 1 and math.random(20000) or 0) }
    end
    return list
  end

  -- What the server shows is what the disk has, whatever was refused, hung and in doubt in between.
  it("ends equal to what is stored, and never goes back behind what it acknowledged, in random worlds", function()
    local refused = 0
    for seed = 1, os.getenv("SLUICE_SPEC_FULL") and 1000 or 40 do
      math.randomseed(seed)
      t = testing.start({ source = APP }, { seed = seed })
      for step = 1, 25 do
        local dice = math.random(8)
        if dice <= 4 then
          t:post("/many", { json = random_write(step * 10) })
        elseif dice == 5 then
          t:disk { full = math.random(2) == 1 }
        elseif dice == 6 then
          t:disk { hung = math.random(3) == 1, commit = math.random(3) == 1 and 7 or 0.01, early = math.random(2) == 1 }
        else
          t:advance(math.random() * (math.random(4) == 1 and 12 or 0.05))
        end
      end
      t:disk { full = false, hung = false, commit = 0.002 }
      t:advance(30)
      assert.same({}, t:state("acked").wrong, "seed " .. seed)
      local last, shown = t:state("acked").last, t:get("/each").body
      refused = refused + #t:log("error")
      t:kill()
      assert.equal(shown, t:get("/each").body, "seed " .. seed)
      for key, n in pairs(last) do assert.is_true(get(key).n >= n, "seed " .. seed) end
      t:stop()
    end
    assert.is_true(refused > 0, "the disk refused something")
  end)

  it("is kept over reloads, and what is no longer declared is kept and named", function()
    start()
    set("a", 1)
    assert.is_true(t:reload((APP:gsub("value = rooms", "now = rooms"))))
    assert.equal(1, t:get("/get/a").json.now)
    local without = [[return require("sluice").app()]]
    assert.is_true(t:reload(without))
    assert.has_error(function() t:store("rooms") end, nil)
    assert.matches("store 'rooms' is no longer declared: what it holds (7 bytes) is kept",
      table.concat(t:log("warn"), "\n"), 1, true)
    t:kill()
    assert.is_true(t:reload(APP))
    assert.equal(1, get("a"))
  end)

  it("is not there while the app is loading, nor twice, nor made in a handler", function()
    for source, message in pairs({
      ["app:store('x'):get('a')"] = "app.lua:2: store 'x' is not there while the app is loading: use it in a handler",
      ["app:store('x') app:store('x')"] = "app.lua:2: store 'x' is declared twice (app.lua:2)",
      ["app:store('')"] = "app.lua:2: app:store(name): the name is empty: a store needs one",
      ["app:store({})"] = "app.lua:2: app:store(name): the name is a string, not a table",
      ["app:store('x', { durable = true })"] = "app.lua:2: store 'x': unknown option 'durable' (known: none)",
      ["app:store('x', 'y')"] = "app.lua:2: store 'x': options must be a table, got string",
    }) do
      local ok, problem = pcall(testing.start,
        { source = 'local app = require("sluice").app()\n' .. source .. "\nreturn app" })
      assert.is_false(ok)
      assert.matches(message, problem, 1, true)
    end
    start('local app = require("sluice").app()\napp:get("/", function() app:store("x") end)\nreturn app')
    assert.matches('app:store%("x"%) belongs at the top level', t:get("/").error)
  end)

  it("is made by a reload when the server has no data folder yet", function()
    start([[return require("sluice").app()]])
    assert.is_true(t:reload(APP))
    assert.is_true(t:store("rooms"):set("a", { n = 1 }))
    t:kill()
    assert.same({ n = 1 }, get("a"))
  end)

  it("is prepared and read by a test", function()
    start()
    local rooms = t:store("rooms")
    assert.is_true(rooms:set("a", { n = 1 }))
    assert.same({ n = 1 }, get("a"))
    t:kill()
    assert.same({ n = 1 }, rooms:get("a"))
    assert.has_error(function() t:store("nope") end)
    assert.has_error(function() rooms:set("a", print) end)
  end)
end)
