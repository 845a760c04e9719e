--- csrc/store/folder.c and schema.c: the data folder, its lock, and files that are older, newer or
--- somebody else's. Real files, real threads.
local lfs = require("lfs")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local stored = require("spec.support.stored")
local testing_disk = require("sluice.core.testing_disk")

local POLICIES = { log = { durable = true } }
local top, folder, open_ones

local function open(path, options)
  options = options or {}
  options.folder = path or folder
  local s, why, code = stored.open(options, POLICIES)
  if s then open_ones[#open_ones + 1] = s end
  return s, why, code
end

local function sh(command)
  local code, output = process.run(command)
  assert.equal(0, code, output)
  return (output:gsub("%s+$", ""))
end

local function answer(s, id)
  return deadline.eventually(function()
    s:collect()
    return s.answers[id]
  end, 10)
end

local function verdict_of(path)
  local v = assert(testing_disk.verify(path))
  return { v.damaged, v.holes, v.stale }
end

before_each(function()
  stored.at(nil)
  top = process.temp_dir()
  folder = top .. "/data"
  open_ones = {}
end)

after_each(function()
  for _, s in ipairs(open_ones) do
    if not s.closed then s:close() end
  end
  sh("rm -rf " .. process.quote(top))
end)

local function close(s)
  s:close()
  s.closed = true
end

describe("the data folder", function()
  it("is made for its owner alone", function()
    open()
    assert.equal("drwx------", sh("stat -c %A " .. folder))
    for _, name in ipairs { "lock", "sluice.db", "sluice.db-wal" } do
      assert.equal("-rw-------", sh(("stat -c %%A %s/%s"):format(folder, name)))
    end
  end)

  it("is refused when every user can write to it", function()
    sh(("mkdir -m 777 %s/open; mkdir -m 770 %s/group"):format(top, top))
    local s, why, code = open(top .. "/open")
    assert.same({ nil, "EINVAL" }, { s, code })
    assert.matches("can be written by every user", why)
    assert.truthy(open(top .. "/group"))
  end)

  it("is one process's: another is told which", function()
    open()
    local s, why, code = open()
    assert.same({ nil, "ELOCKED" }, { s, code })
    assert.truthy(why:find("another process %(%d+%)"), why)
  end)

  it("is free again after a close", function()
    close(open())
    assert.truthy(open())
  end)

  it("is no file, and not below one", function()
    sh("touch " .. top .. "/file")
    local s, why, code = open(top .. "/file")
    assert.same({ nil, "EINVAL" }, { s, code }, why)
    s, why, code = open(top .. "/file/data")
    assert.same({ nil, "ENOTDIR" }, { s, code }, why)
  end)

  it("may be a link of this user's or root's, as systemd gives one, and none of another's", function()
    lfs.mkdir(top .. "/real")
    sh("ln -s real " .. top .. "/link")
    local s = assert(open(top .. "/link"))
    assert.truthy(lfs.attributes(top .. "/real/sluice.db"))
    close(s)
    if not os.execute("test $(id -u) = 0") then return end -- who else can make a link for another?
    sh("chown -h 65534 " .. top .. "/link")
    local none, why, code = open(top .. "/link")
    assert.same({ nil, "EINVAL" }, { none, code }, why)
  end)

  it("may lie below a link", function()
    lfs.mkdir(top .. "/real")
    sh("ln -s real " .. top .. "/link")
    assert.truthy(open(top .. "/link/data"))
    assert.truthy(lfs.attributes(top .. "/real/data/sluice.db"))
  end)

  it("that was replaced takes nothing more, and does again when it is back", function()
    local s = open(nil, { threads = true })
    assert.equal("stored", answer(s, s:event("log", "a")))
    sh(("mv %s %s.old; mkdir %s"):format(folder, folder, folder))
    assert.equal("failed", answer(s, s:event("log", "b")))
    assert.equal("the data folder was replaced", s.raw:stats().trouble)
    sh(("rmdir %s; mv %s.old %s"):format(folder, folder, folder))
    assert.equal("stored", answer(s, s:event("log", "c")))
    close(s)
    assert.same({ "a", "c" }, open():history("log"))
  end)

  it("whose file was deleted takes nothing more", function()
    local s = open(nil, { threads = true })
    sh("mv " .. folder .. "/sluice.db " .. top .. "/away")
    assert.equal("failed", answer(s, s:event("log", "b")))
    sh("mv " .. top .. "/away " .. folder .. "/sluice.db")
    sh("mv " .. folder .. "/sluice.db-wal " .. top .. "/away")
    assert.equal("failed", answer(s, s:event("log", "b")))
    assert.truthy(s.raw:stats().trouble:find("log file"))
    sh("mv " .. top .. "/away " .. folder .. "/sluice.db-wal")
    assert.equal("stored", answer(s, s:event("log", "c")))
  end)

  it("that lay still for long takes nothing more either once a file of it is gone", function()
    local s = open(nil, { threads = true })
    for _, name in ipairs { "sluice.db", "sluice.db-wal", "lock" } do
      sh("touch -d '1 minute ago' " .. folder)
      for i = 1, 2 do assert.equal("stored", answer(s, s:event("log", name .. i))) end
      sh(("mv %s/%s %s/away"):format(folder, name, top))
      assert.equal("failed", answer(s, s:event("log", "lost")), name)
      sh(("mv %s/away %s/%s"):format(top, folder, name))
      assert.equal("stored", answer(s, s:event("log", name)), name)
    end
  end)

  it("whose log was shortened in place takes nothing more, and the next start has what is left", function()
    for _, keep in ipairs { "0", "-1" } do
      local s = open()
      assert.equal("stored", (s:publish("log", "a")))
      close(s)
      s = open(nil, { threads = true })
      assert.equal("stored", answer(s, s:event("log", ("b"):rep(10000))))
      sh(("truncate -s %s %s/sluice.db-wal"):format(keep, folder))
      assert.equal("failed", answer(s, s:event("log", "c")))
      assert.equal("the store's log file was shortened", s.raw:stats().trouble)
      close(s)
      assert.same({ 0, 1, 0 }, verdict_of(folder)) -- the commit that is missing
      s = open()
      local list, floor = s:history("log")
      assert.same({ "a" }, list)
      assert.is_true(floor > 0, "the loss is not reported")
      assert.equal("stored", (s:publish("log", "d")))
      close(s)
      sh("rm -r " .. folder)
    end
  end)

  it("whose log another program has emptied rightly goes on", function()
    local s = open(nil, { threads = true })
    assert.equal("stored", answer(s, s:event("log", "a")))
    sh("sqlite3 " .. folder .. "/sluice.db 'PRAGMA wal_checkpoint(TRUNCATE)'")
    assert.equal(0, lfs.attributes(folder .. "/sluice.db-wal", "size"))
    assert.equal("stored", answer(s, s:event("log", "b")))
  end)

  it("has a log whose room is there before the first commit, and is written over", function()
    local options = { threads = true, pages = 50, reserves = true }
    local function log_size() return lfs.attributes(folder .. "/sluice.db-wal", "size") end
    local s = open(nil, options)
    local size = log_size()
    assert.is_true(size >= 50 * 4096)
    for i = 1, 100 do assert.equal("stored", answer(s, s:event("log", "e" .. i))) end
    assert.equal(size, log_size())
    sh("cp -r " .. folder .. " " .. top .. "/copy") -- as a process that is killed leaves it
    assert.equal(100, #open(top .. "/copy", { pages = 50, reserves = true }):history("log"))
  end)

  it("whose lock was removed takes nothing more, and leaves the file to who has it now", function()
    local s = open(nil, { threads = true })
    assert.equal("stored", answer(s, s:event("log", "a")))
    sh("rm " .. folder .. "/lock")
    local other = assert(open())
    assert.equal("stored", (other:publish("log", "b")))
    assert.equal("failed", answer(s, s:event("log", "c")))
    assert.equal("the store's lock was removed or replaced", s.raw:stats().trouble)
    close(s)
    other:drop() -- what the first one writes at its end would be found as a loss
    other.closed = true
    assert.same({ { "a", "b" }, 0 }, { open():history("log") })
    assert.same({ 0, 0, 0 }, verdict_of(folder))
  end)

  it("survives another program that reads and writes the file", function()
    local s = open(nil, { threads = true, pages = 5 })
    for i = 1, 30 do
      assert.equal("stored", answer(s, s:event("log", "e" .. i)))
      if i % 10 == 0 then sh("sqlite3 " .. folder .. "/sluice.db 'SELECT count(*) FROM events'") end
    end
    sh("sqlite3 " .. folder .. "/sluice.db 'CREATE TABLE other (a); INSERT INTO other VALUES (1)'")
    assert.equal("stored", answer(s, s:event("log", "last")))
    close(s)
    assert.equal(31, #open():history("log"))
  end)

  it("keeps its log short although a program reads for long", function()
    local s = open(nil, { threads = true, pages = 50 })
    assert.equal("stored", answer(s, s:event("log", "first")))
    local release = assert(testing_disk.hold(folder .. "/sluice.db"))
    for i = 1, 60 do s:event("log", ("x"):rep(20000) .. i) end
    assert.equal("stored", answer(s, s:event("log", "long")))
    local long = lfs.attributes(folder .. "/sluice.db-wal", "size")
    release()
    deadline.eventually(function()
      assert.equal("stored", answer(s, s:event("log", "short")))
      return s.raw:stats().wal_pages < 50
    end, 10)
    assert.is_true(lfs.attributes(folder .. "/sluice.db-wal", "size") <= long + 100 * 4096)
  end)

  it("has what a checkpoint that a reader holds up has copied", function()
    local s = open(nil, { threads = true, pages = 50 })
    for i = 1, 8 do assert.equal("stored", answer(s, s:event("log", ("x"):rep(20000) .. i))) end
    local release = assert(testing_disk.hold(folder .. "/sluice.db"))
    for i = 1, 60 do s:event("log", ("x"):rep(20000) .. i) end
    assert.equal("stored", answer(s, s:event("log", "long")))
    assert.equal("ok", sh("sqlite3 " .. folder .. "/sluice.db 'PRAGMA integrity_check'"))
    assert.equal("69", sh("sqlite3 " .. folder .. "/sluice.db 'SELECT count(*) FROM events'"))
    release()
  end)
end)

describe("the file", function()
  local file

  before_each(function()
    lfs.mkdir(folder)
    file = folder .. "/sluice.db"
  end)

  it("of an older version is brought to this one, with what it holds", function()
    close(open())
    sh("rm " .. file .. "*")
    assert(testing_disk.old(file, 1))
    assert.equal("1", sh("sqlite3 " .. file .. " 'PRAGMA user_version'"))
    sh("sqlite3 " .. file .. [[ "INSERT INTO pairs VALUES ('s', 'k', 'v', 0)"]])
    local s = assert(open())
    assert.equal("2", sh("sqlite3 " .. file .. " 'PRAGMA user_version'"))
    assert.equal("stored", (s:ask { kind = "task", id = "t", name = "n", data = "d", due = 1 }))
    local _, damaged = s.raw:each("pairs") -- it is there, although its checksum is made up
    assert.equal(1, damaged)
  end)

  it("of a newer version is refused", function()
    close(open())
    sh("sqlite3 " .. file .. " 'PRAGMA user_version = 99'")
    local s, why, code = open()
    assert.same({ nil, "EINVAL" }, { s, code })
    assert.truthy(why:find("newer Sluice"))
  end)

  it("of another program is refused and not touched", function()
    sh("sqlite3 " .. file .. " 'CREATE TABLE a (b); INSERT INTO a VALUES (7)'")
    local s, why, code = open()
    assert.same({ nil, "EINVAL" }, { s, code })
    assert.truthy(why:find("no store of Sluice's"))
    assert.equal("7", sh("sqlite3 " .. file .. " 'SELECT b FROM a'"))
  end)

  it("that is no database is refused", function()
    sh("head -c 10000 /dev/urandom > " .. file)
    local s, _, code = open()
    assert.same({ nil, "EDAMAGED" }, { s, code })
  end)

  it("keeps what many threads publish, and replays it meanwhile", function()
    local s = open(nil, { threads = true })
    local last
    for i = 1, 2000 do
      last = s:event("log", "e" .. i)
      if i % 100 == 0 then s.raw:read { channel = "log", above = 0, rows = 50 } end
      if i % 50 == 0 then s.raw:tick(s.raw:head()) end
    end
    assert.equal("stored", answer(s, last))
    local stats = s.raw:stats()
    assert.equal(2000, stats.events)
    assert.is_true(stats.commits >= 2000 / 128)
    for _, got in pairs(s.pages) do assert.equal(0, got.err) end
    close(s)
    assert.equal(2000, #open():history("log"))
  end)
end)
