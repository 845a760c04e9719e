--- sluice.sqlite on a real server, beside the sqlite3 shell, which writes to the same files.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local sqlite = require("sluice.sqlite")
local app = sluice.app()
local PATH = sluice.env("DB")
local db, problem, code = sqlite.open(PATH, { timeout = 20, busy = 0.2, max_rows = 100, max_bytes = 65536 })
local long = sqlite.open(PATH, { timeout = 600 })
local short = sqlite.open(PATH, { timeout = 0.2 })
local function show(rows, message, why)
  if rows then return { rows = rows } end
  return { message = message, code = why }
end
app:get("/opened", function() return { ok = db ~= nil, message = problem, code = code } end)
app:post("/q", function(req)
  local o = req:json()
  if o.named then return show(db:query(o.sql, o.named)) end
  return show(db:query(o.sql, table.unpack(o.values or {}, 1, o.n)))
end)
app:post("/short", function(req) return show(short:query(req:json().sql)) end)
app:post("/open", function(req)
  local own <close>, message, why = sqlite.open(req:json().path, { busy = 0.1 })
  if not own then return show(nil, message, why) end
  return show(own:query("SELECT 1 AS one"))
end)
app:post("/raise", function(req)
  local o = req:json()
  local f = load("local sqlite, db = ... return " .. o.code, "=x")
  return { message = select(2, pcall(f, sqlite, db)) }
end)
app:post("/closed", function()
  local own, out = sqlite.open(PATH), nil
  app:spawn(function() out = show(own:query(SLOW)) end)
  sluice.sleep(0.05)
  own:close()
  own:close()
  while not out do sluice.sleep(0.001) end
  return { out, show(own:query("SELECT 1")) }
end)
local asked = 0
app:get("/hang", function()
  local own = sqlite.open(PATH)
  asked = asked + 1
  return show(own:query(SLOW))
end)
app:stream("/plan", function()
  asked = asked + 1
  return show(long:query(SLOW)) and 500
end)
app:get("/long", function() return show(long:query("SELECT 1 AS n")) end)
app:get("/asked", function() return { asked } end)
app:get("/quick", function() return "quick" end)
app:get("/full", function()
  local list = {}
  while true do
    local own, message, why = sqlite.open(PATH)
    if not own then
      for _, d in ipairs(list) do d:close() end
      return { n = #list, message = message, code = why }
    end
    list[#list + 1] = own
  end
end)
return app
]]
local SLOW = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"
APP = APP:gsub("SLOW", ("%q"):format(SLOW))

local SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, f REAL, s TEXT, b BLOB, x);"
  .. "INSERT INTO t VALUES (1, 0.5, 'one', x'00ff', NULL), (2, 3, 'zwö', x'', 9223372036854775807);"

local folder, path, s

local function shell(sql, file)
  local code, output = process.run({ "sqlite3", file or path, sql })
  assert.equal(0, code, output)
  return output
end

local function post(route, value)
  local answer = http.post(s.port, route, json.encode(value), { ["Content-Type"] = "application/json" })
  assert.equal(200, answer.status, answer.body)
  return json.decode(answer.body)
end

local function get(route) return json.decode(http.get(s.port, route).body) end

local function query(sql, ...)
  local answer = post("/q", { sql = sql, values = json.array { ... }, n = select("#", ...) })
  return answer.rows, answer.message, answer.code
end

--- A request whose statement does not end.
local function hang(route)
  local c = assert(http.connect(s.port))
  c:send(http.request_text("GET", route, {}, nil, c.host))
  deadline.eventually(function() return get("/asked")[1] == 1 end, 5)
  return c
end

local function start() s = server.start { app = APP, env = { DB = path } } end

before_each(function()
  folder = process.temp_dir()
  path = folder .. "/shop.db"
  shell("PRAGMA journal_mode = WAL;" .. SCHEMA)
end)
after_each(function()
  server.stop_all()
  process.stop_all("shell")
  process.remove_dir(folder)
end)

describe("sluice.sqlite", function()
  it("gives rows by column, with every kind of value", function()
    start()
    assert.same({ { id = 1, f = 0.5, s = "one", b = "AP8=", x = json.null },
      { id = 2, f = 3.0, s = "zwö", b = "", x = math.maxinteger } },
      (query("SELECT id, f, s, CASE WHEN length(b) THEN 'AP8=' ELSE '' END AS b, x FROM t ORDER BY id")))
    assert.equal("integer", math.type(query("SELECT x FROM t WHERE id = 2")[1].x))
    assert.same({}, (query("SELECT * FROM t WHERE 0")))
    assert.equal("[]", http.post(s.port, "/q", '{"sql":"SELECT 1 WHERE 0"}',
      { ["Content-Type"] = "application/json" }).body:match('"rows":(%b[])'))
    assert.same({ { n = 2 } }, (query("SELECT length(b) AS n FROM t WHERE id = ?", 1)))
    assert.same({ { value = 1 }, { value = 2 } }, (query("SELECT value FROM json_each(?)", "[1,2]")))
    assert.same({ { name = "id" } }, (query("SELECT name FROM pragma_table_info('t') LIMIT 1")))
    assert.equal(0, s.stop())
  end)

  it("takes values by place and by name", function()
    start()
    assert.same({ { a = 1, b = 2.5, c = "x\0y", d = json.null, e = 1 } },
      (query("SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e", 1, 2.5, "x\0y", json.null, true)))
    assert.same({ { a = "it's", b = "it's" } },
      post("/q", { sql = "SELECT :n AS a, $n AS b", named = { n = "it's" } }).rows)
    assert.same({ { n = 1 } }, (query("SELECT count(*) AS n FROM t WHERE b = CAST(? AS BLOB)", "")))
    for _, case in ipairs {
      { "2 values are given, and the statement has 1 places", { sql = "SELECT ?", values = { 1, 2 }, n = 2 } },
      { "no value for :b", { sql = "SELECT :b", named = { a = 1 } } },
      { "2 values are given, and the statement has 1 names", { sql = "SELECT :a", named = { a = 1, b = 2 } } },
      { "needs names", { sql = "SELECT ?", named = { a = 1 } } },
    } do
      local answer = post("/q", case[2])
      assert.equal("EINVAL", answer.code)
      assert.matches(case[1], answer.message)
    end
  end)

  it("only reads, one statement at a time", function()
    shell("CREATE INDEX t_f ON t (f)")
    start()
    for _, sql in ipairs {
      "DELETE FROM t", "INSERT INTO t (id) VALUES (9)", "UPDATE t SET x = 1", "CREATE TABLE u (a)", "DROP TABLE t",
      "CREATE TEMP TABLE u (a)", "ATTACH 'x' AS y", "DETACH main", "BEGIN", "SAVEPOINT a", "VACUUM",
      "VACUUM INTO 'x'", "PRAGMA user_version = 9", "PRAGMA journal_mode = DELETE", "PRAGMA wal_checkpoint",
      "PRAGMA query_only = OFF", "PRAGMA writable_schema = ON", "SELECT load_extension('x')", "ANALYZE",
      "SELECT fts3_tokenizer('simple')", "REINDEX",
    } do
      assert.equal("EDENIED", (select(3, query(sql))), sql)
    end
    for sql, message in pairs {
      ["SELECT 1; DELETE FROM t"] = "one statement", ["SELECT 1; nonsense"] = "one statement",
      [""] = "no statement", ["-- x"] = "no statement", ["SELEC 1"] = "syntax error",
      ["SELECT y FROM t"] = "no such column",
      ["SELECT 1 AS a, 2 AS a"] = "two columns are called 'a'", ["SELECT 1\0"] = "NUL",
    } do
      local _, text, code = query(sql)
      assert.equal("EINVAL", code, sql)
      assert.matches(message, text)
    end
    assert.same({ { n = 1 } }, (query("SELECT 1 AS n; -- and no more")))
    assert.same({ { user_version = 0 } }, (query("PRAGMA user_version")))
    assert.equal("2\n", shell("SELECT count(*) FROM t"))
  end)

  it("has limits of rows, bytes and time, and keeps nobody waiting", function()
    start()
    local series = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c"
    assert.equal(100, #query(series:format(100)))
    local _, message, code = query(series:format(101))
    assert.same({ "ETOOBIG", true }, { code, message:find("more than 100 rows", 1, true) ~= nil }, message)
    assert.equal("ETOOBIG", (select(3, query("SELECT hex(zeroblob(40000)) AS x"))))
    assert.equal("ETOOBIG", (select(3, query("SELECT zeroblob(1000000) AS x"))))
    local slow = hang("/hang")
    assert.equal("quick", http.get(s.port, "/quick").body)
    assert.same({ { n = 1 } }, (query("SELECT 1 AS n"))) -- another file's thread
    local answer = post("/short", { sql = SLOW })
    assert.same({ "ETIMEOUT", true }, { answer.code, answer.message:find("no answer within 0.2 s", 1, true) ~= nil })
    slow:close()
  end)

  it("ends the statement of a coroutine that is ended, and the next has its turn", function()
    start()
    hang("/plan"):close() -- the client of a stream has gone while it opened
    assert.same({ { n = 1 } }, get("/long").rows)
  end)

  it("ends what runs when it is closed, and with the server", function()
    start()
    local answers = post("/closed", {})
    assert.same({ "ECLOSED", "ECLOSED" }, { answers[1].code, answers[2].code })
    local full = get("/full")
    assert.same({ "EFULL", 16 }, { full.code, full.n })
    assert.equal(16, get("/full").n)
    local slow = hang("/hang")
    assert.equal(0, s.stop())
    slow:close()
  end)

  it("reads beside a program that writes, and sees its changes of the schema", function()
    start()
    for i = 10, 14 do
      shell(("INSERT INTO t (id, x) VALUES (%d, 'new')"):format(i))
      assert.same({ { id = i } }, (query("SELECT max(id) AS id FROM t")))
    end
    shell("ALTER TABLE t ADD COLUMN more DEFAULT 7; ALTER TABLE t RENAME COLUMN x TO y")
    assert.equal(7, query("SELECT * FROM t WHERE id = 1")[1].more)
    assert.matches("no such column: x", (select(2, query("SELECT x FROM t"))))
    shell("PRAGMA wal_checkpoint(TRUNCATE)") -- nothing of ours is in its way
    assert.equal(0, lfs.attributes(path .. "-wal", "size"))
  end)

  it("waits for a lock as long as it may", function()
    shell("PRAGMA journal_mode = DELETE")
    start()
    local locker = process.spawn({ "sh", "-c", ("(echo 'BEGIN EXCLUSIVE; SELECT 1;'; exec sleep 30) | exec sqlite3 %s")
      :format(process.quote(path)) }, { kind = "shell" })
    deadline.eventually(function() return locker:log():find("1", 1, true) end, 10)
    local _, message, code = query("SELECT count(*) AS n FROM t")
    assert.same({ "EBUSY", ("another program has '%s' locked"):format(path) }, { code, message })
    process.run { "pkill", "-P", tostring(locker.pid) }
    locker:kill()
    deadline.eventually(function() return (query("SELECT count(*) AS n FROM t")) end, 10)
  end)

  it("opens a file again that was replaced, and says what is wrong with others", function()
    start()
    local other = folder .. "/other.db"
    shell("CREATE TABLE t (id); INSERT INTO t VALUES ('other')", other)
    for _, name in ipairs { "-wal", "-shm" } do os.remove(path .. name) end
    os.rename(other, path)
    assert.same({ { id = "other" } }, (query("SELECT id FROM t")))
    os.remove(path)
    local _, message, code = query("SELECT id FROM t")
    assert.same({ "ECONNECT", ("'%s' cannot be opened: No such file or directory"):format(path) }, { code, message })
    process.write_file(path, ("no database "):rep(1000))
    assert.equal("EUPSTREAM", (select(3, query("SELECT id FROM t"))))
    shell("CREATE TABLE t (id); INSERT INTO t VALUES ('again')", other)
    os.rename(other, path)
    assert.same({ { id = "again" } }, (query("SELECT id FROM t")))
    lfs.mkdir(folder .. "/folder")
    for place, expected in pairs {
      [folder .. "/nothing.db"] = "ECONNECT", [folder .. "/folder"] = "ECONNECT",
      [s.folder .. "/app.lua"] = "EUPSTREAM",
    } do
      assert.equal(expected, post("/open", { path = place }).code, place)
    end
    assert.same({ { one = 1 } }, post("/open", { path = path }).rows)
  end)

  it("finds a damaged page, and reads on elsewhere", function()
    shell("PRAGMA journal_mode = DELETE; CREATE TABLE u AS WITH RECURSIVE c(n) AS "
      .. "(SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) SELECT n, hex(zeroblob(20)) AS h FROM c")
    start()
    local text = process.read_file(path)
    process.write_file(path, text:sub(1, 16384) .. ("\xff"):rep(#text - 16384))
    local _, message, code = query("SELECT sum(n) AS n FROM u")
    assert.equal("EUPSTREAM", code)
    assert.matches("is damaged", message)
    assert.equal("one", query("SELECT s FROM t WHERE id = 1")[1].s)
  end)

  it("refuses wrong use by name", function()
    start()
    for code, message in pairs {
      ["sqlite.open(7)"] = "the path of a file is expected",
      ["sqlite.open('x', { rows = 1 })"] = "unknown option 'rows'",
      ["sqlite.open('x', { max_rows = 0 })"] = "max_rows is a whole number from 1",
      ["sqlite.open('x', { timeout = '1' })"] = "timeout is a number", ["db:query()"] = "a statement is expected",
      ["db:query('x', print)"] = "the value 1 is a string", ["db:query('x', {1})"] = "a list is given as",
      ["db:query('x', {a = {}})"] = "the value of a", ["db:query('x', {a = 1}, 2)"] = "stands alone",
      ["db:exec('x')"] = "db has no 'exec'", ["sqlite.close()"] = "sqlite has no 'close'",
    } do
      assert.matches(message, post("/raise", { code = code }).message, 1, true)
    end
  end)

  it("is opened at load, where a missing file is an answer and not the end", function()
    os.remove(path)
    os.remove(path .. "-wal")
    start()
    local opened = get("/opened")
    assert.same({ false, "ECONNECT" }, { opened.ok, opened.code })
    assert.matches("No such file", opened.message)
  end)
end)
