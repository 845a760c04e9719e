--- postgres.listen on a real server beside a real PostgreSQL: both are killed, transactions commit in another order
--- than that of their ids, and the database is another one. Rows carry numbers, and the judge wants each once.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local postgres = require("sluice.postgres")
local app = sluice.app()
app:channel("rows", { durable = true, history = 10000 })
local source = postgres.listen(app, sluice.env("PG"), { start = "begin", batch = 10 })
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("rows", { limit = 10000 })) do list[i] = e.data.n end
  return { all = list, stats = source:stats() }
end)
return app
]]
local INSERT = "INSERT INTO sluice_outbox (channel, event, data) VALUES ('rows', 'row', '{\"n\": %d}');"
local FULL = os.getenv("SLUICE_SPEC_FULL") ~= nil
local LONG = FULL and 1.5 or 0.1 -- seconds of a transaction at most

local folder, pg, s

local function start()
  s = server.start { app = APP, args = { "--data", folder .. "/data", "--drain", "0.1" }, env = {
    PG = pg.url, LD_LIBRARY_PATH = pg.libraries } }
end

local function look() return json.decode(http.request(s.port, "GET", "/all", nil, nil, 30).body) end

-- All rows of the table are there, each once; and no others.
local function await(seconds)
  local wanted = {}
  for n in pg:run("SELECT data->>'n' FROM sluice_outbox"):gmatch("%d+") do wanted[tonumber(n)] = true end
  local count = 0
  for _ in pairs(wanted) do count = count + 1 end
  local all
  deadline.eventually(function()
    all = look().all
    return #all >= count
  end, seconds or 20, count .. " rows")
  local seen = {}
  for _, n in ipairs(all) do
    assert.is_true(wanted[n], ("row %s was never committed"):format(n))
    assert.falsy(seen[n], ("row %s came twice"):format(n))
    seen[n] = true
  end
  assert.equal(count, #all)
  return all
end

describe("an outbox table of PostgreSQL", function()
  if not postgres.installed() then pending("no postgres; .ci/setup test brings it") return end

  setup(function() pg = postgres.start() end)
  teardown(function() pg:stop() end)
  before_each(function()
    folder = process.temp_dir()
    pg:run("DROP TABLE IF EXISTS sluice_outbox")
    pg:run(require("sluice.postgres").outbox_sql())
  end)
  after_each(function()
    server.stop_all()
    process.stop_all("psql")
    process.remove_dir(folder)
  end)

  it("wakes for a row, and has it once", function()
    start()
    pg:run(INSERT:format(1))
    assert.same({ 1 }, await(5))
    pg:run(INSERT:format(2) .. INSERT:format(3))
    assert.same({ 1, 2, 3 }, await(5))
    pg:run(require("sluice.postgres").outbox_sql())
    assert.same({ 1, 2, 3 }, await(5))
  end)

  it("skips no row whose transaction commits behind one with a larger id", function()
    start()
    local long = pg:spawn("BEGIN; " .. INSERT:format(1) .. " SELECT pg_sleep(0.7); COMMIT;")
    deadline.eventually(function()
      return pg:run("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    end, 10)
    pg:run(INSERT:format(2))
    deadline.eventually(function() return look().all[1] == 2 end, 10, "the short one does not wait")
    pg:run("BEGIN; " .. INSERT:format(99) .. " ROLLBACK;")
    deadline.eventually(function() return long:code() end, 20)
    assert.same({ 2, 1 }, await(10)) -- "id > 2" would never have it
  end)

  it("has each row once, though many write at a time and both are killed", function()
    start()
    local n, had = 0, 0
    for round = 1, FULL and 8 or 2 do
      for _ = 1, 6 do
        local parts = {}
        for i = 1, 4 do
          local ends = (n + i) % 5 == 0 and "ROLLBACK" or "COMMIT"
          parts[i] = ("BEGIN; %s SELECT pg_sleep(random() * %g); %s %s;"):format(INSERT:format(n + 2 * i),
            LONG, INSERT:format(n + 2 * i + 1), ends)
        end
        n = n + 100
        pg:spawn(table.concat(parts))
      end
      if round % 2 == 1 then
        s.kill()
        start()
      else
        deadline.eventually(function() return #look().all > had + 10 end, 20)
        had = #look().all
        pg:kill()
        pg:again()
      end
    end
    deadline.eventually(function()
      return pg:run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql'") == "1"
    end, 20)
    assert.is_true(#await(30) > 20)
  end)

  if FULL then it("reads the last hour again at another server, and has what is known once", function()
    start()
    pg:run(INSERT:format(1) .. INSERT:format(2))
    await()
    s.kill()
    pg:run("CREATE DATABASE other TEMPLATE postgres")
    pg.url = pg.url:gsub("dbname=%w+", "dbname=other")
    start()
    s.wait_log("another server")
    assert.same({ 1, 2 }, look().all)
    pg.url = pg.url:gsub("dbname=%w+", "dbname=postgres")
  end) end

  -- The number of a transaction whose end was not on the disk is given again; nothing is written meanwhile that
  -- would take it there.
  it("hides no row behind one that a crash undid", function()
    start()
    pg:run(INSERT:format(1))
    await(5)
    local at = pg:run("BEGIN; " .. INSERT:format(99) .. " ROLLBACK; SELECT clock_timestamp()")
    deadline.eventually(function()
      return pg:run("SELECT query_start > '" .. at
        .. "' FROM pg_stat_activity WHERE application_name LIKE 'sluice-%'") == "t"
    end, 10, "the source has looked since")
    s.signal("STOP") -- others are quicker
    pg:kill()
    pg:again()
    for n = 2, 4 do pg:run(INSERT:format(n)) end
    s.signal("CONT")
    assert.same({ 1, 2, 3, 4 }, await(20))
  end)

  it("says what it may not read, once, and goes on when it may", function()
    pg:run("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT SELECT ON sluice_outbox TO reader")
    local url = pg.url
    pg.url = url:gsub("user=%w+", "user=reader")
    start()
    pg.url = url
    pg:run(INSERT:format(1))
    await(5)
    pg:run("REVOKE SELECT ON sluice_outbox FROM reader;" .. INSERT:format(2))
    s.wait_log("cannot go on.-permission denied", 10)
    pg:run("GRANT SELECT ON sluice_outbox TO reader; ALTER TABLE sluice_outbox RENAME COLUMN data TO words")
    s.wait_log("cannot go on.-data.- does not exist", 20)
    assert.equal(1, select(2, s.log():gsub("permission denied", "")))
    pg:run("ALTER TABLE sluice_outbox RENAME COLUMN words TO data;"
      .. "INSERT INTO sluice_outbox (channel, data) VALUES ('rows', to_jsonb(repeat('x', 2000000)))")
    s.wait_log("cannot go on.-larger than 1048576 bytes", 20)
    pg:run("DELETE FROM sluice_outbox WHERE octet_length(data::text) > 100000;" .. INSERT:format(3))
    assert.same({ 1, 2, 3 }, await(20))
    pg:run("DROP OWNED BY reader; DROP ROLE reader")
  end)

  it("says what is wrong with a place, and what with a row", function()
    local url = pg.url
    pg.url = "host=/nowhere user=x dbname=y"
    start()
    s.wait_log("cannot go on.-/nowhere", 10)
    s.kill()
    pg.url = url
    pg:run("DROP TABLE sluice_outbox")
    start()
    s.wait_log('cannot go on.-sluice_outbox.- does not exist', 10)
    pg:run(require("sluice.postgres").outbox_sql())
    pg:run("INSERT INTO sluice_outbox (channel) VALUES ('no//name')")
    s.wait_log("cannot go on.-entry 1", 20)
  end)
end)
