--- csrc/store/tools.h: verify, figures, backup, export and import, beside a server that runs.
local lfs = require("lfs")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local stored = require("spec.support.stored")
local tools = require("sluice.core.testing_disk")

local POLICIES = {
  log = { durable = true, events = 30 }, keyed = { kind = "keyed", durable = true, keys = 5, events = 20 },
  state = { kind = "state", durable = true }, memory = {},
}
local top, folder, s

local function open(path, options)
  options = options or {}
  options.folder = path or folder
  return assert(stored.open(options, POLICIES))
end


local function fill(store)
  for i = 1, 60 do
    for _, channel in ipairs { "log", "keyed", "state" } do
      store:event(channel, channel .. i .. "\0\n", { key = "k" .. i % 8, name = "n", idempotency = channel .. i,
        remove = i % 13 == 0 or nil })
    end
    store:submit { kind = "set", store = "s", key = "k" .. i, value = "v\n" .. i }
    store:submit { kind = "task", id = "t" .. i, name = "n", data = "d" .. i, due = i }
  end
  store:run()
end

--- Everything that a store holds, as one value.
local function all(store)
  local value = {}
  for _, what in ipairs { "channels", "newest", "pairs", "tasks" } do value[what] = store.raw:each(what) end
  for _, channel in ipairs { "log", "keyed", "state" } do value["history " .. channel] = { store:history(channel) } end
  return value
end

before_each(function()
  stored.at(1000000)
  top = process.temp_dir()
  folder = top .. "/data"
  s = open()
  fill(s)
end)

after_each(function()
  if s then s:close() end
  stored.at(nil)
  process.remove_dir(top)
end)

describe("verify", function()
  it("finds nothing wrong, also while the store is open", function()
    local verdict = assert(tools.verify(folder))
    assert.same({ 0, 0, 0, "" }, { verdict.damaged, verdict.holes, verdict.stale, verdict.first })
    assert.is_true(verdict.rows > 250)
  end)

  local function after(sql)
    s:close()
    s = nil
    local code, output = process.run { "sqlite3", folder .. "/sluice.db", sql }
    assert.equal(0, code, output)
    return assert(tools.verify(folder))
  end

  it("finds a changed row in each table", function()
    for _, sql in ipairs {
      "UPDATE events SET data = 'x' WHERE seq = (SELECT max(seq) FROM events)", "UPDATE newest SET at = at + 1",
      "UPDATE keys SET seq = seq + 1", "UPDATE pairs SET value = 'x'", "UPDATE tasks SET due = 9",
      "UPDATE head SET last = 5", "UPDATE channels SET floor = 0 WHERE name = 'log'",
    } do
      s = s or open()
      s:close()
      s = nil
      process.run { "sh", "-c", ("cp %s/sluice.db %s/whole"):format(folder, top) }
      s = open()
      local verdict = after(sql)
      assert.is_true(verdict.damaged > 0, sql)
      assert.truthy(verdict.first:find("is not what was written"), sql .. ": " .. verdict.first)
      process.run { "sh", "-c", ("rm %s/sluice.db*; cp %s/whole %s/sluice.db"):format(folder, top, folder) }
    end
  end)

  it("finds an event that is missing between two", function()
    local verdict = after("DELETE FROM events WHERE seq = (SELECT seq FROM events WHERE chan = 1 "
      .. "ORDER BY seq DESC LIMIT 1 OFFSET 3)")
    assert.same({ 0, 1 }, { verdict.damaged, verdict.holes }, verdict.first)
    assert.truthy(verdict.first:find("^an event is not there: log %d+$"), verdict.first)
  end)

  it("finds a newest value that is missing, or old", function()
    local verdict = after("DELETE FROM newest WHERE seq = (SELECT max(seq) FROM newest JOIN channels c "
      .. "ON c.id = chan WHERE c.name = 'keyed')")
    assert.equal(1, verdict.stale, verdict.first)
  end)

  it("says when there is none", function()
    assert.equal("ENOTFOUND", select(3, tools.verify(top .. "/nothing")))
    assert.equal("ENOTFOUND", select(3, tools.verify(top)))
  end)
end)

describe("figures", function()
  it("count what is there", function()
    local f = assert(tools.figures(folder))
    assert.same({ s.start.epoch, 60, 60, 180, 3, false },
      { f.epoch, f.pairs, f.tasks, f.keys, f.durable, f.clean })
    s:close()
    s = nil
    assert.is_true(assert(tools.figures(folder)).clean)
  end)
end)

describe("a backup", function()
  it("of a store that goes on is whole, and of one moment", function()
    s:close()
    stored.at(nil)
    s = open(nil, { threads = true })
    local last
    for i = 1, 3000 do last = s:event("state", ("x"):rep(2000) .. i, { key = "many" .. i }) end
    local calls, done, total = assert(tools.backup(folder, top .. "/copy.db"))
    assert.is_true(calls >= 1 and done == total)
    deadline.eventually(function()
      s:collect()
      return s.answers[last]
    end, 20)
    lfs.mkdir(top .. "/other")
    os.rename(top .. "/copy.db", top .. "/other/sluice.db")
    local verdict = assert(tools.verify(top .. "/other"))
    assert.same({ 0, 0, 0 }, { verdict.damaged, verdict.holes, verdict.stale }, verdict.first)
    local t = open(top .. "/other")
    assert.equal(s.start.epoch, t.start.epoch)
    assert.equal("stored", (t:publish("log", "after")))
    t:close()
  end)

  it("overwrites nothing and leaves no half file", function()
    process.write_file(top .. "/there", "mine")
    assert.equal("EEXIST", select(3, tools.backup(folder, top .. "/there")))
    assert.equal("mine", process.read_file(top .. "/there"))
    assert.equal("ECLOSED", select(3, tools.backup(folder, top .. "/ended", 1)))
    assert.equal("ENOENT", select(3, tools.backup(folder, top .. "/no/folder")))
    for name in lfs.dir(top) do assert.is_nil(name:find("ended"), name) end
  end)
end)

describe("an export", function()
  local file

  before_each(function()
    file = top .. "/text"
    assert(tools.export(folder, file))
  end)

  it("becomes the same store again", function()
    local expected = all(s)
    assert(tools.import(top .. "/new", file))
    local verdict = assert(tools.verify(top .. "/new"))
    assert.same({ 0, 0, 0 }, { verdict.damaged, verdict.holes, verdict.stale }, verdict.first)
    local t = open(top .. "/new")
    assert.same({ s.start.epoch, true }, { t.start.epoch, t.start.clean })
    assert.is_true(t.start.first > s.raw:head())
    assert.same(expected, all(t))
    assert.equal("duplicate", (t:publish("log", "x", { idempotency = "log59" })))
    t:close()
    assert(tools.export(top .. "/new", top .. "/again"))
  end)

  it("is refused where there is a store, and when it is not whole", function()
    assert.equal("ELOCKED", select(3, tools.import(folder, file)))
    local text = process.read_file(file)
    for _, cut in ipairs { 0, 10, #text // 2, #text - 1 } do
      process.write_file(top .. "/cut", text:sub(1, cut))
      local ok, why, code = tools.import(top .. "/new", top .. "/cut")
      assert.is_nil(ok)
      assert.truthy(({ EDAMAGED = 1, EBADFIELD = 1 })[code], why)
    end
    process.write_file(top .. "/changed", (text:gsub("keyed59", "keyed58")))
    assert.equal("EDAMAGED", select(3, tools.import(top .. "/new", top .. "/changed")))
    assert(tools.import(top .. "/new", file))
    local _, why, code = tools.import(top .. "/new", file)
    assert.same({ "EEXIST", "there is a store already: import into a new folder (--data)" }, { code, why })
  end)
end)
