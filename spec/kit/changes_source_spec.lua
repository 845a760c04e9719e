--- changes:sqlite in virtual time, on real files that the sqlite3 shell writes. (Two programs that
--- are killed: spec/e2e/changes_spec.lua; at random: changes_random_spec.)
local kit = require("spec.support.kit")
local process = require("spec.support.process")

local APP = [[
local changes = require("sluice.changes").new(app, { durable = true, rewind = "all" })
changes:sqlite { path = sluice.env("DB"), OPTIONS }
app:stream("/changes", "changes/order")
]]
-- As doc/changes.md has it.
local TABLES = [[
PRAGMA journal_mode = WAL;
CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL);
CREATE TABLE order_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, op TEXT, id INTEGER, changes TEXT);
CREATE TRIGGER orders_created AFTER INSERT ON orders BEGIN
  INSERT INTO order_changes (op, id, changes)
  VALUES ('created', new.id, json_object('status', new.status, 'total', new.total));
END;
CREATE TRIGGER orders_updated AFTER UPDATE ON orders BEGIN
  INSERT INTO order_changes (op, id, changes)
  VALUES ('updated', new.id, json_object('status', new.status, 'total', new.total));
END;
CREATE TRIGGER orders_deleted AFTER DELETE ON orders BEGIN
  INSERT INTO order_changes (op, id) VALUES ('deleted', old.id);
END;
]]
local LOG = 'table = "order_changes", cursor = "seq", type = "order", op = "op", changes = "changes"'

local folder, path, t

local function shell(sql)
  local code, output = process.run({ "sqlite3", path, "PRAGMA synchronous = OFF;" .. sql })
  assert.equal(0, code, output)
  return output
end

local function start(options) t = kit.start((APP:gsub("OPTIONS", options or LOG)), { env = { DB = path } }) end

-- All events so far: { op, id, changes }.
local function told(c)
  local list = {}
  for i, e in ipairs((c or t:connect("/changes")):events("dataUpdate")) do
    list[i] = { e.data.op, e.data.id, e.data.changes }
  end
  return list
end

-- How often something was logged.
local function logged(level, text)
  local n = 0
  for _, line in ipairs(t:log(level)) do n = n + (line:find(text, 1, true) and 1 or 0) end
  return n
end

before_each(function()
  folder = process.temp_dir()
  path = folder .. "/shop.db"
  shell(TABLES)
end)
after_each(function()
  kit.stop_all()
  process.remove_dir(folder)
end)

describe("a table of changes", function()
  local NEW, PAID = { "created", 1, { status = "new", total = 5 } }, { "updated", 1, { status = "paid", total = 5 } }
  local GONE = { "deleted", 1, {} }

  it("becomes events: made, changed, deleted, a burst at once", function()
    shell("INSERT INTO orders VALUES (9, 'old', 1)")
    start()
    local c = t:connect("/changes")
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    shell("UPDATE orders SET status = 'packed'; UPDATE orders SET status = 'paid' WHERE id = 1")
    t:advance(1)
    shell("INSERT INTO orders VALUES (2, 'mistake', 0); DELETE FROM orders WHERE id = 2")
    shell("DELETE FROM orders WHERE id = 1")
    t:advance(1)
    assert.same({ NEW, { "updated", 9, { status = "packed", total = 1 } }, PAID, { "deleted", 2, {} }, GONE }, told(c))
    t:advance(60)
    assert.equal(5, #told())
    assert.same({}, t:log("error"))
  end)

  it("is read on after a kill, a restart and a reload, with what was written meanwhile, once", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    t:kill()
    shell("UPDATE orders SET status = 'paid'")
    t:restart()
    t:advance(1)
    assert(t:reload())
    t:advance(6)
    shell("DELETE FROM orders")
    t:advance(1)
    t:cut()
    t:advance(5)
    assert.same({ NEW, PAID, GONE }, told())
  end)

  it("is read from its beginning when that is asked for, and then no more", function()
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    start(LOG .. ', start = "begin"')
    t:advance(1)
    t:restart()
    t:advance(1)
    assert.same({ NEW }, told())
  end)

  it("is read from its beginning when it or its file was not there at the start", function()
    for _, step in ipairs { "DROP TABLE order_changes; DROP TABLE orders", false } do
      if step then shell(step) else os.execute("rm " .. path .. "*") end
      start()
      t:advance(5)
      assert.equal(1, #t:log("warn"))
      assert.matches("cannot go on, tries again", t:log("warn")[1])
      shell(TABLES .. "INSERT INTO orders VALUES (1, 'new', 5)")
      t:advance(1)
      assert.same({ NEW }, told())
      assert.equal(1, logged("info", "changes.sqlite.order: goes on"))
      kit.stop_all()
    end
  end)

  it("is read from its beginning when its numbers begin again: a new file, or a new table", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5), (2, 'new', 5)")
    t:advance(1)
    os.execute("rm " .. path .. "*")
    t:advance(1)
    shell(TABLES .. "INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(2)
    assert.same({ NEW, { "created", 2, NEW[3] }, NEW }, told())
    t:stop()
    start(LOG .. ', start = "begin"')
    t:advance(1)
    shell("DROP TABLE order_changes; DROP TABLE orders")
    t:advance(1)
    shell(TABLES)
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5), (3, 'x', 0), (4, 'y', 0)")
    t:advance(3)
    local list = told()
    assert.same({ 1, 1, 3, 4 }, { list[1][2], list[2][2], list[3][2], list[4][2] })
    assert.equal(4, #list)
    assert.equal(1, logged("warn", "the numbers of 'order_changes' begin again"))
  end)

  it("is read on when it, or what is in its file, was away for a while", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    shell("ALTER TABLE order_changes RENAME TO away")
    t:advance(2)
    shell("ALTER TABLE away RENAME TO order_changes")
    t:advance(2)
    assert.equal(1, logged("info", "goes on"))
    shell("UPDATE orders SET status = 'paid'")
    t:advance(1)
    assert.same({ NEW, PAID }, told())
    assert.equal(0, logged("warn", "begin"))
  end)

  it("tells a deletion that comes while the one row before it is published: a kill, a full disk", function()
    for _, change in ipairs { function() t:kill() end, function() t:disk { full = true } end } do
      start()
      t:advance(1)
      local c = t:connect("/changes")
      t:disk { commit = 0.2 }
      shell("INSERT INTO orders VALUES (1, 'new', 5)")
      c:wait_for("dataUpdate", 5) -- and the cursor is not stored yet
      if _ == 2 then change() end
      shell("DELETE FROM orders")
      if _ == 1 then change() end
      t:advance(3)
      t:disk { commit = 0.001, full = false }
      t:advance(20)
      assert.same({ NEW, GONE }, told())
      kit.stop_all()
    end
  end)

  it("tells that a record is gone that was replaced before, in one look", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    shell("REPLACE INTO orders VALUES (1, 'new', 6); DELETE FROM orders")
    t:advance(1)
    assert.same({ NEW, GONE }, told())
  end)

  it("is not read past what its disk refuses, and each fault is told once, and its end", function()
    start((LOG:gsub('"op"', '"opp"')) .. ', start = "begin"')
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(60)
    assert.equal(1, logged("warn", "no such column: t.opp"))
    assert.equal(1, #t:log("warn"))
    shell("ALTER TABLE order_changes RENAME COLUMN op TO opp; INSERT INTO order_changes (opp, id) VALUES ('x', 1)")
    t:disk { full = true }
    t:advance(60)
    assert.equal(1, logged("warn", "changes.sqlite.order: cannot go on, tries again: the disk does not take it"))
    assert.equal(1, logged("error", "is left out"))
    assert.equal(0, logged("info", "goes on"))
    t:disk { full = false }
    t:advance(20)
    assert.equal(1, logged("info", "changes.sqlite.order: goes on"))
    assert.same({ NEW }, told())
  end)

  it("steps over a row that is too large, to be read or for an event, and splits what is too large together", function()
    start(LOG .. ', start = "begin"')
    shell([[INSERT INTO order_changes (op, id, changes) VALUES ('created', 1, '{"a":1}'),
      ('updated', 2, printf('%.*c', 70000000, 'x')), ('updated', 3, '{}'),
      ('updated', 4, json_object('f', printf('%.*c', 3000000, 'x'))), ('updated', 4, '{"price":4}'),
      ('updated', 5, json_object('f', printf('%.*c', 40000, 'x'))),
      ('updated', 5, json_object('g', printf('%.*c', 40000, 'x'))), ('updated', 6, '{}')]])
    t:advance(5)
    local list = {}
    for i, row in ipairs(told()) do
      list[i] = { row[2] }
      for name in pairs(row[3]) do list[i][2] = name end
    end
    assert.same({ { 1, "a" }, { 3 }, { 4, "price" }, { 5, "f" }, { 5, "g" }, { 6 } }, list)
    assert.equal(1, logged("error", "the row at 2 is left out: the answer has more than 67108864 bytes"))
    assert.equal(1, logged("error", "the row at 4 is left out: the event would have 3000"))
    assert.equal(2, #t:log("error"))
    local rows = {}
    for i = 1, 300 do rows[i] = ("('updated', %d, '{}')"):format(i + 10) end
    shell("INSERT INTO order_changes (op, id, changes) VALUES " .. table.concat(rows, ","))
    t:advance(1.5) -- its batches are large again
    assert.equal(306, #told())
  end)

  it("says what is wrong with a row in a short line", function()
    start(LOG .. ', start = "begin"')
    shell([[INSERT INTO order_changes (op, id, changes) VALUES ('created', 1, '[1,2]'), ('created', 2, '[]'),
      ('created', NULL, '{}'), ('created', 4, printf('%.*c', 5000000, 'x')),
      (printf('%.*c', 5000000, 'x'), 5, '{}'), (NULL, 6, '{}'), ('created', 7, ' {}')]])
    t:advance(2)
    assert.same({ { "created", 7, {} } }, told())
    assert.equal(1, logged("error", "the row at 1 is left out: '[1,2]' is no JSON object"))
    assert.equal(1, logged("error", "the row at 3 is left out: 'NULL' is no id"))
    assert.equal(1, logged("error", "the row at 6 is left out: 'NULL' is not created"))
    assert.equal(6, #t:log("error"))
    for _, line in ipairs(t:log("error")) do assert.is_true(#line < 400, #line) end
  end)

  it("may be emptied of what was read", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    shell("DELETE FROM order_changes")
    t:advance(3)
    t:restart()
    t:advance(3)
    shell("UPDATE orders SET status = 'paid'")
    t:advance(1)
    assert.same({ NEW, PAID }, told())
    assert.equal(0, #t:log("warn"))
  end)

  it("is waited for while its disk or ours takes nothing, and told once", function()
    start()
    t:advance(1)
    t:disk { full = true }
    shell("INSERT INTO orders VALUES (1, 'new', 5), (2, 'new', 5)")
    t:advance(20)
    assert.same({}, told())
    t:disk { full = false }
    t:advance(20)
    assert.same({ NEW, { "created", 2, NEW[3] } }, told())
    t:kill()
    t:advance(1)
    assert.equal(2, #told())
  end)

  it("is read in batches, in the order of its rows, and a row that is no change is left out with a word", function()
    start(LOG .. ", batch = 7")
    t:advance(1)
    local rows = {}
    for i = 1, 50 do rows[i] = ("('created', %d, '{\"n\":%d}')"):format(i, i) end
    rows[20], rows[30], rows[40] = "('made', 20, '{}')", "('created', NULL, '{}')", "('created', 40, '[1')"
    shell("INSERT INTO order_changes (op, id, changes) VALUES " .. table.concat(rows, ","))
    t:advance(3)
    local list = told()
    assert.equal(47, #list)
    local last = 0
    for _, row in ipairs(list) do
      assert.is_true(row[2] > last and row[3].n == row[2])
      last = row[2]
    end
    assert.equal(3, logged("error", "is left out"))
    assert.equal(1, logged("error", "the row at 20 is left out: 'made' is not created, updated or deleted"))
  end)
end)

describe("a table of records", function()
  local function versions(options) start('table = "items", type = "order", cursor = ' .. options) end

  it("is read by a version that only grows", function()
    shell("CREATE TABLE items (id TEXT PRIMARY KEY, version INTEGER UNIQUE, name TEXT, secret TEXT)")
    versions('"version", fields = { "name" }')
    t:advance(1)
    shell("INSERT INTO items VALUES ('a', 1, 'x', 's'), ('b', 2, NULL, 's')")
    t:advance(1)
    shell("UPDATE items SET version = 3, name = 'y' WHERE id = 'a'")
    t:advance(1)
    local null = require("sluice.json").null
    assert.same({ { "updated", "a", { name = "x" } }, { "updated", "b", { name = null } },
      { "updated", "a", { name = "y" } } }, told())
    shell("DELETE FROM items WHERE id = 'a'") -- the newest version
    t:advance(2)
    shell("INSERT INTO items VALUES ('c', 3, 'z', 's')")
    t:advance(1)
    assert.equal(4, #told())
    assert.equal(1, logged("warn", "the newest version is 2, behind the cursor at 3"))
  end)

  it("with a cursor that is not unique is read when that has settled, with all that have the same", function()
    shell("CREATE TABLE items (id INTEGER PRIMARY KEY, at TEXT, n INTEGER); CREATE INDEX i ON items (at);"
      .. "INSERT INTO items VALUES (10, '12:00:00', 0)")
    versions('"at"')
    t:advance(3)
    shell("INSERT INTO items VALUES (9, '12:00:01', 1)")
    t:advance(1)
    shell("INSERT INTO items VALUES (3, '12:00:01', 2), (4, '12:00:02', 3)")
    t:advance(0.5)
    shell("INSERT INTO items VALUES (2, '12:00:01', 4)") -- late
    t:advance(0.2)
    assert.same({}, told())
    t:advance(5)
    local ids = {}
    for i, row in ipairs(told()) do ids[i] = row[2] end
    assert.same({ 2, 3, 9, 4 }, ids)
    versions('"at", settle = 0, start = "begin"')
    t:advance(1)
    assert.equal(5, #told())
  end)

  it("is read on when some have no id, and when ids are blobs: all that have the same time, each once", function()
    shell("CREATE TABLE items (id, at INTEGER, n INTEGER); INSERT INTO items VALUES (5, 99, 1), (NULL, 100, 2),"
      .. "(7, 100, 3), (8, 100, 4), (9, 101, 5), (x'616263', 101, 6), (x'616264', 101, 7), (x'ff', 102, 8)")
    versions('"at", batch = 2, start = "begin"')
    t:advance(20)
    local list = {}
    for i, row in ipairs(told()) do list[i] = row[3].n end
    assert.same({ 1, 3, 4, 5, 6, 7 }, list)
    assert.equal(2, #t:log("error")) -- NULL, and bytes that are no text
    shell("INSERT INTO items VALUES (x'616264', 103, 9)")
    t:advance(20)
    assert.equal(7, #told())
  end)

  it("shows nothing that was not to be shown when the table was away or empty for a while", function()
    shell("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    versions('"ROWID"')
    t:advance(1)
    shell("ALTER TABLE items RENAME TO away")
    t:advance(2)
    shell("ALTER TABLE away RENAME TO items")
    t:advance(2)
    shell("CREATE TABLE away AS SELECT * FROM items; DELETE FROM items")
    t:advance(2)
    shell("INSERT INTO items SELECT * FROM away")
    t:advance(2)
    assert.same({}, told())
    shell("INSERT INTO items VALUES (3, 'c')")
    t:advance(2)
    assert.same({ { "updated", 3, { name = "c" } } }, told())
  end)

  it("hides its cursor and id in whatever case they are named", function()
    shell("CREATE TABLE items (seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER, op TEXT, v INTEGER)")
    versions('"SEQ", id = "Id", op = "OP"')
    t:advance(1)
    shell("INSERT INTO items VALUES (1, 7, 'created', 5)")
    t:advance(1)
    assert.same({ { "created", 7, { v = 5 } } }, told())
  end)

  it("to which rows are only added is read by rowid, and all columns are told", function()
    shell("CREATE TABLE items (id TEXT, n REAL)")
    versions('"rowid"')
    t:advance(1)
    shell("INSERT INTO items VALUES ('a', 0.5), ('a', 1.5), ('b', 2)")
    t:advance(1)
    assert.same({ { "updated", "a", { n = 1.5 } }, { "updated", "b", { n = 2 } } }, told())
  end)
end)

describe("changes:sqlite", function()
  it("keeps its cursor in memory when it is told to", function()
    start(LOG .. ", durable = false")
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    assert(t:reload())
    t:advance(6)
    assert.equal(1, #told())
    shell("INSERT INTO orders VALUES (2, 'new', 5)")
    t:kill()
    t:advance(1)
    assert.equal(1, #told())
  end)

  it("begins anew with another table or column", function()
    start()
    t:advance(1)
    shell("INSERT INTO orders VALUES (1, 'new', 5)")
    t:advance(1)
    shell("CREATE TABLE others (id INTEGER PRIMARY KEY); INSERT INTO others VALUES (1)")
    assert(t:reload(kit.source((APP:gsub("OPTIONS", 'table = "others", cursor = "id", type = "order"')))))
    t:advance(7)
    shell("INSERT INTO others VALUES (2)")
    t:advance(7)
    assert.equal(2, #told())
  end)

  it("says once what is wrong with the table, and goes on when it is right", function()
    start('table = "order_changes", cursor = "number", type = "order"')
    t:advance(60)
    assert.equal(1, logged("warn", "no such column: t.number"))
    shell("ALTER TABLE order_changes RENAME COLUMN seq TO number; INSERT INTO order_changes (id) VALUES (1)")
    t:advance(1)
    shell("INSERT INTO order_changes (id, changes) VALUES (2, 'x')")
    t:advance(1)
    assert.equal(2, told()[#told()][2])
  end)

  it("is also for a hub, and for a channel in memory", function()
    t = kit.start([[
      local hub = require("sluice.hub").new(app)
      require("sluice.changes").new(app, { publish = function(change) return hub:data_update(change) end })
        :sqlite { path = sluice.env("DB"), ]] .. LOG .. [[ }
      app:stream("/hub", "hub")
      require("sluice.changes").new(app, { name = "other" }):sqlite { path = sluice.env("DB"), ]] .. LOG .. [[ }
      app:stream("/other", "other/order")]], { env = { DB = path } })
    t:advance(1)
    local a, b = t:connect("/hub"), t:connect("/other")
    shell("INSERT INTO orders VALUES (1, 'new', 5), (2, 'new', 5)")
    t:advance(1)
    assert.same({ 2, 2 }, { #told(a), #told(b) })
    shell("UPDATE orders SET status = 'paid'")
    t:disk { full = true } -- published, and the cursor cannot be moved
    t:advance(20)
    t:disk { full = false }
    t:advance(20)
    assert.same({ 4, 4 }, { a:count("dataUpdate"), b:count("dataUpdate") })
  end)

  it("refuses wrong options by name", function()
    for options, message in pairs {
      ['table = "x"'] = "cursor is missing", ['cursor = "x"'] = "table is missing",
      ['table = "x", cursor = ""'] = "cursor is missing",
      ['table = "x", cursor = "y", evry = 1'] = "did you mean 'every'",
      ['table = "x", cursor = "y", every = 0'] = "every is a number from 0.05",
      ['table = "x", cursor = "y", batch = 1.5'] = "batch is a whole number",
      ['table = "x", cursor = "y", start = "middle"'] = 'start is "end" or "begin"',
      ['table = "x", cursor = "y", fields = { 1 }'] = "fields is a list of names of columns",
      ['table = "x", cursor = "y", fields = { "a" }, changes = "b"'] = "one of them says what is published",
      ['table = "a b", cursor = "y"'] = "type: at most 64 letters",
      ['table = "x", cursor = "y", path = 7'] = "path is a string",
    } do
      assert.error_matches(function() start(options) end, message, 1, true)
    end
    assert.error_matches(function() start(LOG .. " } changes:sqlite { path = 'x', " .. LOG) end, "defined twice")
  end)
end)
