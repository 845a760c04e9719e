--- changes:sqlite on a real server, beside a sqlite3 shell that writes: both are killed (SIGKILL) again and
--- again, and a table is locked.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local changes = require("sluice.changes").new(app, { durable = true, history = 10000 })
changes:sqlite { path = sluice.env("DB"), table = "log", cursor = "seq", type = "x", op = "op",
  changes = "changes", every = 0.05, batch = 20, start = "begin" }
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("changes/x", { limit = 10000 })) do
    list[i] = { id = e.data.id, changes = e.data.changes }
  end
  return list
end)
return app
]]
local SCHEMA = "PRAGMA journal_mode = WAL; CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
  .. " op TEXT, id INTEGER, changes TEXT);"
-- A row that names itself, in a transaction of its own.
local INSERT = "BEGIN IMMEDIATE; INSERT INTO log (op, id, changes) SELECT 'updated', abs(random() %% 7),"
  .. " json_object('s' || (SELECT coalesce(max(seq), 0) + 1 FROM log), 1)%s; COMMIT;\n"
local FULL = os.getenv("SLUICE_SPEC_FULL") ~= nil
local ROUNDS, WRITES = FULL and 14 or 4, 200 -- memory has 1,024 of its events

local folder, path

local function shell(sql)
  local code, output = process.run({ "sqlite3", "-cmd", ".timeout 20000", path, sql })
  assert.equal(0, code, output)
  return output
end

local function start()
  return server.start { app = APP, args = { "--data", folder .. "/data", "--drain", "0.1" }, env = { DB = path } }
end

-- Of each row its number, as often as it is in an event; and what is out of order.
local function read(s)
  local seen, n, last = {}, 0, {}
  for _, e in ipairs(json.decode(http.request(s.port, "GET", "/all", nil, nil, 30).body)) do
    local seqs = {}
    for name in pairs(e.changes) do seqs[#seqs + 1] = math.tointeger(tonumber(name:sub(2))) end
    table.sort(seqs)
    for _, seq in ipairs(seqs) do
      assert.falsy(seen[seq], "row " .. seq .. " came twice")
      assert.is_true(seq > (last[e.id] or 0), "row " .. seq .. " came late")
      seen[seq], last[e.id], n = true, seq, n + 1
    end
  end
  return n, seen
end

-- All rows are there, each once.
local function await(s)
  local rows = tonumber(shell("SELECT count(*) FROM log"))
  deadline.eventually(function() return (read(s)) == rows end, 60, rows .. " rows")
  local n, seen = read(s)
  assert.equal(rows, n)
  for seq in shell("SELECT seq FROM log"):gmatch("%d+") do assert.is_true(seen[tonumber(seq)], "row " .. seq) end
  return rows
end

describe("a source of changes on a server", function()
  before_each(function()
    folder = process.temp_dir()
    path = folder .. "/x.db"
    shell(SCHEMA)
  end)
  after_each(function()
    server.stop_all()
    process.stop_all("writer")
    process.remove_dir(folder)
  end)

  it("publishes each row once, though both are killed again and again", function()
    process.write_file(folder .. "/rows", ".timeout 20000\n" .. INSERT:format(""):rep(WRITES))
    local command = ("exec sqlite3 %s <%s/rows"):format(path, folder)
    local s = start()
    for round = 1, ROUNDS do
      local before = tonumber(shell("SELECT count(*) FROM log"))
      local writer = process.spawn({ "sh", "-c", command }, { kind = "writer" })
      deadline.eventually(function()
        return tonumber(shell("SELECT count(*) FROM log")) > before + 3 and (read(s)) > 0
      end, 20)
      if round % 2 == 0 then writer:kill() end
      if round % 3 == 0 then assert.equal(0, s.stop()) else s.kill() end
      if round % 2 == 1 then writer:kill() end
      s = start()
    end
    assert.is_true(await(s) > 3 * ROUNDS)
    s.kill()
    s = start()
    local rows = await(s)
    shell(INSERT:format(""))
    deadline.eventually(function() return (read(s)) == rows + 1 end, 10)
  end)

  it("waits for a file that is locked, and goes on behind it", function()
    shell("PRAGMA journal_mode = DELETE;" .. INSERT:format(""))
    local s = start()
    await(s)
    process.write_file(folder .. "/hold", "BEGIN EXCLUSIVE;\n" .. INSERT:format(""):match("INSERT.-;")
      .. "\nSELECT 77;\n")
    local hold = ("(cat %s/hold; exec sleep 60) | exec sqlite3 %s"):format(folder, path)
    local writer = process.spawn({ "sh", "-c", hold }, { kind = "writer" })
    deadline.eventually(function() return writer:log():find("77", 1, true) end, 10)
    s.wait_log("cannot go on, tries again: another program has", 30)
    process.run { "pkill", "-P", tostring(writer.pid) }
    writer:kill()
    s.wait_log("goes on", 30)
    shell(INSERT:format(""))
    await(s)
  end)
end)
