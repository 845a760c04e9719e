--- sluice.sqlite in the test kit: real files, no virtual time; and over a reload.
local kit = require("spec.support.kit")
local process = require("spec.support.process")

local APP = [[
local sqlite = require("sluice.sqlite")
local path = sluice.env("DB")
local db = assert(sqlite.open(path))
local function first(rows, message, code)
  if not rows then return nil, message, code end
  return rows[1]
end
app:get("/version", function() return first(db:query("SELECT v, VERSION AS app FROM t")) end)
app:get("/late", function()
  local mine = db
  sluice.sleep(2)
  return first(mine:query("SELECT v, VERSION AS app FROM t"))
end)
local kept
app:get("/keep", function() kept = assert(sqlite.open(path)) return first(kept:query("SELECT 1 AS n")) end)
app:every(1, function() assert(db:query("SELECT 1")) end)
]]

describe("sluice.sqlite in a test", function()
  local folder, t

  before_each(function()
    folder = process.temp_dir()
    assert.equal(0, (process.run { "sqlite3", folder .. "/x.db", "CREATE TABLE t (v); INSERT INTO t VALUES (7)" }))
    t = kit.start((APP:gsub("VERSION", "1")), { env = { DB = folder .. "/x.db" } })
  end)
  after_each(function()
    kit.stop_all()
    process.remove_dir(folder)
  end)

  it("takes no virtual time", function()
    local before = t:elapsed()
    assert.same({ v = 7, app = 1 }, t:get("/version").json)
    assert.is_true(t:elapsed() - before < 0.001)
    t:advance(100)
    assert.same({}, t:log("error"))
  end)

  it("belongs to its generation: a reload closes what the version before opened", function()
    assert.same({ n = 1 }, t:get("/keep").json)
    for version = 2, 40 do -- 16 files may be open
      assert(t:reload(kit.source((APP:gsub("VERSION", version)))))
      assert.same({ v = 7, app = version }, t:get("/version").json)
    end
    assert.same({ n = 1 }, t:get("/keep").json)
  end)
end)
