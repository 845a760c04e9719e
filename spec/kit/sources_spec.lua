--- t:source: an app with redis.stream and postgres.listen, tested without a server.
local kit = require("spec.support.kit")

local APP = [[
local redis = require("sluice.redis")
local postgres = require("sluice.postgres")
app:channel("orders/:shop", { durable = true, history = 100 })
app:channel("rows", { durable = true, history = 100 })
local told = app:state("told", {})
local orders = redis.stream(app, "redis://127.0.0.1", "orders", { START
  gap = function(gap) table.insert(told(), gap) end,
  map = function(entry)
    if entry.fields.status == "poison" then error("a poisoned order") end
    return "orders/" .. entry.fields.shop, "order", entry.fields, entry.fields.id
  end })
postgres.listen(app, "postgresql://localhost/shop")
app:stream("/orders/:shop", function(req) return { channels = { "orders/" .. req.params.shop } } end)
app:stream("/rows", "rows")
app:get("/source", function() return orders:stats() end)
app:get("/orders", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("orders/paris", { limit = 100 })) do list[i] = e.data.id end
  return { ids = list }
end)
]]

local function start(options, more)
  return kit.start((APP:gsub("START", more or "")), options)
end

-- What was published for Paris, once it is stored.
local function ids(t)
  t:advance(1)
  return t:get("/orders").json.ids
end

describe("a source of an app under test", function()
  after_each(kit.stop_all)

  it("reads what the test pushes, and becomes events", function()
    local t = start()
    local c = t:connect("/orders/paris")
    local id = t:source("orders"):push { id = 7, shop = "paris", status = "paid" }
    assert.matches("^%d+%-1$", id)
    assert.same({ id = "7", shop = "paris", status = "paid" }, c:wait_for("order").data)
    id = t:source("orders"):push { id = "8", shop = "rome" }
    c:expect_none("order")
    local stats = t:get("/source").json
    assert.same({ true, 2, 2, id }, { stats.connected, stats.read, stats.published, stats.cursor })
  end)

  it("of PostgreSQL takes columns, and fills in what the table does", function()
    local t = start()
    local c = t:connect("/rows")
    assert.equal("1", t:source("sluice_outbox"):push { channel = "rows", key = "k", data = { n = 1 } })
    assert.same({ n = 1 }, c:wait_for("message").data)
    t:source("sluice_outbox"):push { channel = "rows", event = "gone" }
    assert.same({}, c:wait_for("gone").data)
  end)

  it("has no channel of one node to go to: it says so, and leaves out what it may", function()
    local t = kit.start((APP:gsub("START", 'errors = "skip",'):gsub('app:channel%("orders/:shop", %b{}%)',
      'app:channel("orders/:shop", { history = 0, shared = false })')))
    local c = t:connect("/orders/paris")
    t:source("orders"):push { id = 7, shop = "paris" }
    c:expect_none("order")
    assert.equal(1, t:get("/source").json.left_out)
    local said = table.concat(t:log("error"), "\n")
    assert.truthy(said:find("channel 'orders/paris' is of each node alone (shared = false)", 1, true), said)
  end)

  it("goes on where it was, whatever the app's end", function()
    local t = start()
    local orders = t:source("orders")
    for n, life in ipairs { "kill", "restart", "cut", "kill" } do
      orders:push { shop = "paris", id = 2 * n - 1 }
      t[life](t)
      orders:push { shop = "paris", id = 2 * n }
    end
    assert(t:reload())
    orders:push { shop = "paris", id = 9 }
    assert.same({ "1", "2", "3", "4", "5", "6", "7", "8", "9" }, ids(t))
    t:advance(3600)
    assert.equal(9, #ids(t))
  end)

  it("loses its connection, says so once, and has all when it is back", function()
    local t = start()
    local orders, c = t:source("orders"), t:connect("/orders/paris")
    orders:fail("WRONGPASS invalid password")
    assert.is_false(t:get("/source").json.connected)
    orders:push { shop = "paris", id = 1 }
    c:expect_none("order", 25)
    local said = table.concat(t:log("warn"), "\n")
    assert.equal(1, select(2, said:gsub("cannot go on, tries again: WRONGPASS", "")))
    orders:recover()
    c:wait_for("order", 5, { id = "1" })
    assert.matches("source orders: goes on", table.concat(t:log("info"), "\n"))
  end)

  it("is told of entries that are lost, how many when that is known", function()
    local t = start()
    local orders = t:source("orders")
    orders:push { shop = "paris", id = 1 }
    t:advance(1)
    orders:fail()
    for n = 2, 5 do orders:push { shop = "paris", id = n } end
    orders:lose(3)
    orders:recover()
    t:advance(5)
    assert.same({ "1", "5" }, ids(t))
    orders:lose()
    assert.same({ { lost = 3, reason = "the test has lost them" }, { reason = "the test has lost them" } },
      t:state("told"))
    assert.equal(2, t:get("/source").json.gaps)
    assert.matches("source orders: 3 entries were lost", table.concat(t:log("error"), "\n"))
  end)

  it("stands at an entry that can be no event, until the app is mended", function()
    local t = start()
    local orders, c = t:source("orders"), t:connect("/orders/paris")
    orders:push { shop = "paris", id = 1, status = "poison" }
    orders:push { shop = "paris", id = 2 }
    c:expect_none("order", 60)
    assert(t:reload(kit.source((APP:gsub("START", ""):gsub('error%("a poisoned order"%)', "return nil")))))
    c:wait_for("order", 20, { id = "2" })
  end)

  it("leaves out what is no channel, when it is told to, and says so", function()
    local t = start(nil, 'errors = "skip",')
    local orders = t:source("orders")
    orders:push { shop = "paris", id = "a", note = "two\nlines, and \0" }
    orders:push { shop = "paris", id = "b", note = "\xff\xfe" }
    orders:push { shop = "no//name", id = "c" }
    orders:push { shop = "paris", id = "d" }
    assert.same({ "a", "b", "d" }, ids(t)) -- what is no UTF-8 is replaced
    assert.equal(1, t:get("/source").json.left_out)
    assert.equal(1, #t:log("error"))
    assert.matches("left out: entry %d+%-3: .*orders/no//name", t:log("error")[1])
  end)

  it("keeps data of any kind", function()
    local t = start()
    local rows, c = t:source("sluice_outbox"), t:connect("/rows")
    for _, data in ipairs { false, "text", 7 } do
      rows:push { channel = "rows", data = data }
      assert.equal(data, c:wait_for("message").data)
    end
  end)

  it("waits for a disk that takes nothing", function()
    local t = start()
    local c = t:connect("/orders/paris")
    t:disk { full = true }
    t:source("orders"):push { shop = "paris", id = 1 }
    c:expect_none("order", 20)
    t:disk { full = false }
    c:wait_for("order", 12, { id = "1" })
    c:expect_none("order", 60)
  end)

  it("does not keep time from passing", function()
    local t = start()
    t:advance(86400)
    local c = t:connect("/orders/paris")
    t:source("orders"):push { shop = "paris", id = 1 }
    c:wait_for("order")
  end)

  it("takes no name of another app, and no entry that its server would not", function()
    local t = start()
    local function says(pattern, fn, ...)
      local ok, message = pcall(fn, ...)
      assert.is_false(ok)
      assert.matches(pattern, type(message) == "table" and message.message or message)
    end
    says('no source "order" %(known: orders, sluice_outbox%)', t.source, t, "order")
    local orders, rows = t:source("orders"), t:source("sluice_outbox")
    says("texts or numbers", orders.push, orders, { n = true })
    says("one field at least", orders.push, orders, {})
    says('no column "chanel"', rows.push, rows, { chanel = "rows" })
    says("channel is a string", rows.push, rows, { event = "row" })
    says("at least one is lost", orders.lose, orders, 0)
    assert.matches("%-1$", orders:push { shop = "paris" }) -- what was refused has no number
  end)

  if require("sluice.core").build().libraries.hiredis then
    it("is read by the node that leads, and by the next one from its cursor on", function()
      local t = start { nodes = 3 }
      local orders = t:source("orders")
      t:advance(3)
      for n = 1, 5 do orders:push { shop = "paris", id = n } end
      local leads
      for n = 1, 3 do if t:node(n):get("/source").json.connected then leads = n end end
      local other = leads % 3 + 1
      local c = t:node(other):connect("/orders/paris")
      assert.same({ "1", "2", "3", "4", "5" }, ids(t:node(other)))
      t:node(leads):crash()
      for n = 6, 9 do orders:push { shop = "paris", id = n } end
      c:wait_for("order", 20, { id = "9" })
      t:node(leads):restart()
      t:advance(20)
      orders:push { shop = "paris", id = 10 }
      c:wait_for("order", 5, { id = "10" })
      assert.same({ "1", "2", "3", "4", "5", "6", "7", "8", "9", "10" }, ids(t:node(other)))
    end)
  end
end)
