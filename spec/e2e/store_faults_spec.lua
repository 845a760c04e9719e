--- The store of a real server on disks that fail, fill up and are touched by others: what is
--- acknowledged is stored, all else is refused, streams and memory channels go on, the log says what
--- is wrong and what to do, and all is well again without a restart.
local deadline = require("spec.support.deadline")
local disk_fails = require("spec.support.disk_fails")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local EVENTS_OF_READER = FULL and 100000 or 1400 -- in all more than the log beside the file may be
local ROUNDS = FULL and 20 or 4 -- of 16 events, with each fault
local ROUNDS_MAX = 200 -- a busy machine puts many of them into one commit
local DAMAGES = FULL and 200 or 12

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log", { history = 1000000, durable = true })
app:channel("memory", { history = 1000 })
app:stream("/both", { channels = { "log", "memory" } })
app:stream("/log", "log")

local function many(from, n, padding)
  local done, out = 0, {}
  for i = from, from + n - 1 do
    app:spawn(function()
      local id, message, code = app:publish("log", "e", i .. padding)
      out[#out + 1] = id and { n = i, id = id } or { n = i, code = code, message = message }
      done = done + 1
    end)
  end
  while done < n do sluice.sleep(0.001) end
  return out
end

app:post("/log/:from/:n", function(req)
  return many(tonumber(req.params.from), tonumber(req.params.n), "")
end)
app:post("/padded/:n/:bytes", function(req)
  local n, stored = tonumber(req.params.n), 0
  for at = 1, n, 64 do
    for _, row in ipairs(many(at, math.min(64, n - at + 1), " " .. ("x"):rep(tonumber(req.params.bytes)))) do
      if row.id then stored = stored + 1 end
    end
  end
  return { stored = stored }
end)
app:post("/one/:n", function(req)
  return sluice.receipt(app:publish("log", "e", req.params.n, { idempotency = req.headers["idempotency-key"] }))
end)
app:post("/memory/:n", function(req) return sluice.receipt(app:publish("memory", "m", req.params.n)) end)
return app
]]

local top, data, disk

before_each(function()
  top = process.temp_dir()
  data = top .. "/data"
end)
after_each(function()
  server.stop_all()
  if disk then disk.remove() end
  disk = nil
  process.remove_dir(top)
end)
teardown(disk_fails.clean)

local function options(more)
  local o = { app = APP, args = { "--data", data, "--drain", "0.1" }, env = disk and disk.env }
  for name, value in pairs(more or {}) do o[name] = value end
  return o
end

local function start(more) return server.start(options(more)) end

local function sh(command)
  local code, output = process.run(command)
  assert.equal(0, code, output)
  return (output:gsub("%s+$", ""))
end

local function is_root() return sh("id -u") == "0" end

local HEADERS = { ["Content-Type"] = "application/json" }

-- Ask, and do not wait for the answer: c:response(seconds).
local function ask(s, path)
  local c = assert(http.connect(s.port))
  c:send(http.request_text("POST", path, HEADERS, "{}", c.host))
  return c
end

local function post(s, path, seconds)
  local c = ask(s, path)
  local r = assert(c:response(seconds or 15))
  c:close()
  return r
end

local function publish(s, n) return post(s, "/one/" .. n).status end

-- Everything of the log, from the beginning: data by id, in order. No reset comes before the last.
local function replay(s, last)
  local epoch = json.decode(post(s, "/memory/0").body).id:match("^(%w+)%-")
  local c = sse.connect(s.port, "/log", { last_event_id = epoch .. "-0" })
  local list, left = {}, deadline.after(20)
  repeat
    local event = assert(c:next_event(left()))
    assert.are_not.equal("reset", event.event)
    if event.event == "e" then list[#list + 1] = { n = event.data, id = event.id } end
  until event.id == last
  c:close()
  return list
end

-- What is in the log is what was acknowledged, in any order, and perhaps what was in doubt.
local function check(s, acknowledged, doubtful)
  local last = json.decode(post(s, "/one/last").body).id
  local there = {}
  for _, row in ipairs(replay(s, last)) do
    if row.n ~= "last" then assert.is_nil(there[row.n], "twice") end
    there[row.n] = row.id
    if row.n ~= "last" and not (doubtful or {})[row.n] then
      assert.is_truthy(acknowledged[row.n], row.n .. " was not acknowledged")
    end
  end
  for n, id in pairs(acknowledged) do assert.equal(id, there[n]) end
end

-- While durable publishes are refused, an open stream goes on and gets what is in memory.
local function assert_goes_on(s, stream)
  for i = 1, 5 do assert.equal(202, post(s, "/memory/" .. i).status) end
  for i = 1, 5 do assert.equal(tostring(i), assert(stream:wait_for("m", 5)).data) end
end

local function sqlite(words) return (process.run { "sqlite3", data .. "/sluice.db", words }) end

-- Refused, told, gone on with, and stored again: `break_it` and `mend`, with the server running.
local function goes_through(s, break_it, mend, words)
  local stream = sse.connect(s.port, "/both")
  assert(stream:wait_for("hello"))
  local known = { ["1"] = json.decode(post(s, "/one/1").body).id }
  assert(stream:wait_for("e", 5))
  break_it()
  local r = post(s, "/one/2")
  assert.equal(503, r.status, r.body .. s.log())
  assert.equal("ESTORE", json.decode(r.body).error.code)
  assert_goes_on(s, stream)
  s.wait_log("store: [^\n]*" .. words)
  mend()
  deadline.eventually(function()
    r = post(s, "/one/3")
    return r.status == 202
  end, 10, "events are stored again")
  s.wait_log("events are stored again")
  known["3"] = json.decode(r.body).id
  assert.equal("3", assert(stream:wait_for("e", 5)).data) -- and never 2
  check(s, known)
  s.kill()
  check(start { env = {} }, known)
end

describe("a disk", function()
  it("that is full, and has room again", function()
    disk = disk_fails.new()
    goes_through(start(), function() disk.set { write_error = disk_fails.ENOSPC } end, function() disk.set {} end,
      "full[^\n]*make room")
  end)

  it("whose quota is used up", function()
    disk = disk_fails.new()
    goes_through(start(), function() disk.set { write_error = disk_fails.EDQUOT } end, function() disk.set {} end,
      "full[^\n]*make room")
  end)

  it("that does not take the mark of the last commit, which is told once in each run", function()
    disk = disk_fails.new()
    local known, n = {}, 0
    local function publish_one(s)
      n = n + 1
      local r = post(s, "/one/" .. n)
      assert.equal(202, r.status, r.body)
      known[tostring(n)] = json.decode(r.body).id
    end
    for _, case in ipairs { { disk_fails.ENOSPC, "make room" }, { disk_fails.EIO, "see the system's log" } } do
      local s = start()
      publish_one(s)
      assert.falsy(s.log():find("lock cannot be written", 1, true))
      disk.set { lock_error = case[1] }
      for _ = 1, 3 do publish_one(s) end
      s.wait_log("warn[^\n]*/lock cannot be written: [^\n]*" .. case[2])
      assert.equal(1, select(2, s.log():gsub("lock cannot be written", "")))
      disk.set {}
      publish_one(s)
      s.kill()
    end
    check(start { env = {} }, known)
  end)

  it("that fails to sync", function()
    disk = disk_fails.new()
    local s = start()
    local known, doubt = { ["1"] = json.decode(post(s, "/one/1").body).id }, {}
    disk.set { sync_error = disk_fails.EIO }
    local waiting = ask(s, "/one/2")
    s.wait_log("store: a commit failed: disk I/O error")
    assert.equal(202, post(s, "/memory/1").status)
    disk.set {}
    local r = waiting:response(10) -- stored after all, or refused: not unknown
    if r.status == 202 then known["2"] = json.decode(r.body).id
    else assert.equal(503, r.status) end
    check(s, known, doubt)
    s.kill()
    check(start { env = {} }, known, doubt)
  end)

  -- Every k-th call fails while 16 publish at a time, until one did; kinds: what fails.
  local function draw(what, k)
    disk = disk_fails.new()
    local s, known, doubt, refused, round = start(), {}, {}, 0, 0
    local stream = sse.connect(s.port, "/both")
    repeat
      disk.set(what)
      local c = ask(s, ("/log/%d/16"):format(round * 16))
      socket.select({ c.wire.sock }, nil, 0.4)
      disk.set {} -- or what is in doubt would be so for long
      for _, row in ipairs(json.decode(c:response(15).body)) do
        if row.id then known[tostring(row.n)] = row.id
        elseif row.code == "ESTORE" then refused = refused + 1
        else
          assert.equal("ETIMEOUT", row.code)
          doubt[tostring(row.n)] = true
        end
      end
      round = round + 1
      local writes, syncs = disk.failed()
      assert.is_true(round < ROUNDS_MAX or writes + syncs > 0, "nothing has failed")
    until round >= ROUNDS and writes + syncs > 0
    assert_goes_on(s, stream)
    deadline.eventually(function() return publish(s, "mended" .. k) == 202 end, 10)
    doubt["mended" .. k] = true
    check(s, known, doubt)
    s.kill()
    check(start { env = {} }, known, doubt)
  end

  for _, k in ipairs(FULL and { 1, 2, 3, 4, 5, 7, 11 } or { 2, 5 }) do
    it(("that fails at each sync number %d"):format(k), function()
      draw({ sync_error = disk_fails.EIO, sync_every = k }, k)
    end)
    it(("that fails at each write number %d"):format(k), function()
      draw({ write_error = disk_fails.EIO, write_every = k }, k)
    end)
  end

  it("that hangs: publishes are not known, memory goes on", function()
    if not FULL then return pending("full size only: it takes the time after which a commit is late") end
    disk = disk_fails.new()
    local s = start()
    local stream = sse.connect(s.port, "/both")
    disk.set { sync_ms = 7000 * deadline.scale }
    local waiting = ask(s, "/one/1")
    assert_goes_on(s, stream)
    local r = waiting:response(12)
    assert.equal(504, r.status, r.body)
    disk.set {}
    assert.equal("1", assert(stream:wait_for("e", 10)).data)
    assert.equal(202, publish(s, 2))
  end)

  it("of a few megabytes, filled and freed again", function()
    if not is_root() then return pending("only root may mount a tmpfs") end
    os.execute("mkdir " .. data)
    local code, output = process.run { "mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", data }
    if code ~= 0 then return pending("no tmpfs can be mounted here: " .. output) end
    local ok, problem = pcall(function()
      local s = start()
      local function fill() os.execute("head -c 4000000 /dev/zero > " .. data .. "/ballast 2>/dev/null") end
      local known = { ["1"] = json.decode(post(s, "/one/1").body).id }
      fill()
      local stream, refused, n = sse.connect(s.port, "/both"), 0, 2
      repeat -- what the log holds already it may still take
        local r = post(s, "/one/" .. n)
        if r.status == 202 then known[tostring(n)] = json.decode(r.body).id else refused = refused + 1 end
        n = n + 1
      until refused > 3 or n > 2000
      assert.is_true(refused > 3)
      assert_goes_on(s, stream)
      s.wait_log("store: [^\n]*full[^\n]*make room")
      os.remove(data .. "/ballast")
      deadline.eventually(function()
        local r = post(s, "/one/again")
        known.again = r.status == 202 and json.decode(r.body).id or nil
        return known.again
      end, 10)
      check(s, known)
      s.kill()
      s = start()
      check(s, known)
      s.stop()
    end)
    server.stop_all()
    process.run { "umount", data }
    if not ok then error(problem, 0) end
  end)

  it("on which a file may not grow any more", function()
    local s = start()
    assert.equal(0, (process.run { "prlimit", "--pid", s.pid, "--fsize=131072:unlimited" }))
    deadline.eventually(function() return json.decode(post(s, "/padded/1/20000").body).stored == 0 end, 10)
    s.wait_log("full[^\n]*make room")
    assert.equal(202, post(s, "/memory/1").status)
    assert.equal(0, (process.run { "prlimit", "--pid", s.pid, "--fsize=unlimited:unlimited" }))
    deadline.eventually(function() return publish(s, 3) == 202 end, 10)
  end)
end)

describe("another program", function()
  it("that locks the file: refused until it lets go", function()
    local shell
    goes_through(start(), function()
      shell = io.popen(("sqlite3 %s/sluice.db"):format(data), "w")
      shell:write(".timeout 10000\nBEGIN EXCLUSIVE; CREATE TABLE other (a);\n") -- the server may hold it now
      shell:flush()
      deadline.eventually(function() return sqlite("BEGIN IMMEDIATE") ~= 0 end)
    end, function()
      shell:close()
    end, "locked[^\n]*another program")
  end)

  it("that writes to the file is reported, and nothing is lost", function()
    local s, known = start(), {}
    for n = 1, 5 do known[tostring(n)] = json.decode(post(s, "/one/" .. n).body).id end
    for i, words in ipairs { "CREATE TABLE other (a)", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM",
      "PRAGMA journal_mode = DELETE" } do
      sqlite(words)
      local n = "after" .. i
      known[n] = json.decode(post(s, "/one/" .. n).body).id
    end
    s.wait_log("another program has written to [^\n]*sluice.db")
    check(s, known)
    s.kill()
    check(start(), known)
  end)

  it("that reads for long is reported, and the log beside the file shrinks when it has ended", function()
    local s = start()
    assert.equal(202, publish(s, 1))
    local release = assert(require("sluice.core.testing_disk").hold(data .. "/sluice.db"))
    local bytes = FULL and 900 or 60000
    local r = post(s, ("/padded/%d/%d"):format(EVENTS_OF_READER, bytes), 300)
    assert.equal(EVENTS_OF_READER, json.decode(r.body).stored)
    local lfs = require("lfs")
    local long = lfs.attributes(data .. "/sluice.db-wal", "size")
    assert.is_true(long > 64 * 1024 * 1024, long .. " bytes")
    s.wait_log("a program that reads the file keeps its log from being emptied")
    local lines = select(2, s.log():gsub("keeps its log from being emptied", ""))
    assert.is_true(lines <= 3, lines .. " lines")
    assert.is_nil(s.log():find("events are stored again", 1, true)) -- they always were
    release()
    deadline.eventually(function()
      assert.equal(202, publish(s, "more"))
      return lfs.attributes(data .. "/sluice.db-wal", "size") <= 16 * 1024 * 1024
    end, 20, "the log is short again")
  end)
end)

describe("the data folder of a running server", function()
  it("whose file is moved away and brought back", function()
    goes_through(start(), function() sh(("mv %s/sluice.db %s/away"):format(data, top)) end,
      function() sh(("mv %s/away %s/sluice.db"):format(top, data)) end, "removed or replaced: bring it back")
  end)

  it("whose log beside the file is replaced", function()
    goes_through(start(), function()
      local log = data .. "/sluice.db-wal"
      sh(("cp %s %s/new; mv %s %s/away; mv %s/new %s"):format(log, top, log, top, top, log))
    end, function() sh(("mv %s/away %s/sluice.db-wal"):format(top, data)) end, "log file was removed or replaced")
  end)

  it("that is replaced by another one", function()
    goes_through(start(), function() sh(("mv %s %s/away; mkdir -m 0700 %s"):format(data, top, data)) end,
      function() sh(("rmdir %s; mv %s/away %s"):format(data, top, data)) end, "the data folder was replaced")
  end)

  it("whose files are deleted for good: nothing more is acknowledged, and a restart begins anew", function()
    local s = start()
    assert.equal(202, publish(s, 1))
    sh(("rm %s/sluice.db*"):format(data))
    for n = 2, 5 do assert.equal(503, publish(s, n)) end
    assert.equal(202, post(s, "/memory/1").status)
    s.wait_log("removed or replaced")
    s.kill()
    s = start()
    assert.equal(202, publish(s, 6))
    assert.same({ "6" }, { replay(s, json.decode(post(s, "/one/7").body).id)[1].n })
  end)
end)

describe("the data folder of two servers", function()
  it("is the second one's when the lock was removed: the first one takes nothing more", function()
    local first = start()
    assert.equal(202, publish(first, 1))
    os.remove(data .. "/lock")
    local second = start()
    assert.equal(202, publish(second, 2))
    assert.equal(503, publish(first, 3))
    first.wait_log("the store's lock was removed or replaced")
    assert.equal(202, post(first, "/memory/1").status)
    first.stop()
    assert.equal(202, publish(second, 4))
    second.kill()
    local s = start()
    local last, got = json.decode(post(s, "/one/5").body).id, {}
    for _, row in ipairs(replay(s, last)) do got[#got + 1] = row.n end
    assert.same({ "1", "2", "4", "5" }, got)
  end)
end)

describe("a data folder that a start cannot use:", function()
  local function refused(words)
    local code, output = server.run_to_end(options())
    assert.equal(1, code, output)
    assert.matches(words, output)
    assert.matches(data, output, 1, true)
  end

  it("it belongs to somebody else", function()
    if not is_root() then return pending("only root may give a folder away") end
    sh(("mkdir -m 0700 %s; chown 12345 %s"):format(data, data))
    refused("belongs to another user")
  end)

  it("it cannot be written", function()
    if is_root() then
      sh("mkdir " .. data)
      local code, output = process.run { "mount", "-t", "tmpfs", "-o", "ro,mode=0700", "tmpfs", data }
      if code ~= 0 then return pending("no tmpfs can be mounted here: " .. output) end
    else
      sh("mkdir -m 0500 " .. data)
    end
    local ok, problem = pcall(refused, "cannot be written")
    process.run { "umount", data }
    if not ok then error(problem, 0) end
  end)

  it("the folder above is not there", function()
    data = top .. "/not/there"
    refused("cannot be made")
  end)

  it("another server has it", function()
    start()
    local code, output = server.run_to_end(options())
    assert.equal(75, code, output)
    assert.matches("used by another process %(%d+%)", output)
  end)
end)

describe("a file that was damaged while no server ran", function()
  local EVENTS = 60

  -- One change of one of the files: a flipped bit, a cut, a block of zeros, a swapped page.
  local function damage(rng)
    local names = {}
    for _, name in ipairs { "sluice.db", "sluice.db-wal" } do
      if #(process.read_file(data .. "/" .. name) or "") > 0 then names[#names + 1] = name end
    end
    local path = data .. "/" .. names[rng(#names)]
    local text = process.read_file(path)
    local at, kind = rng(#text), rng(6)
    if kind <= 3 then
      text = text:sub(1, at - 1) .. string.char(text:byte(at) ~ (1 << (rng(8) - 1))) .. text:sub(at + 1)
    elseif kind == 4 then
      text = text:sub(1, at - 1)
    else
      local n = math.min(4096, #text - at)
      text = text:sub(1, at - 1) .. ("\0"):rep(n) .. text:sub(at + n)
    end
    process.write_file(path, text)
    return ("%s at %d (%d)"):format(path:match("[^/]+$"), at, kind)
  end

  -- What a client gets that comes back with its first id: nothing wrong, and what is missing is reported.
  local function resume(s, known, order)
    local c = sse.connect(s.port, "/log", { last_event_id = order[1] })
    local r = post(s, "/one/last")
    if r.status ~= 202 then return c:close() end
    local last, place, told, left = json.decode(r.body).id, 1, false, deadline.after(10)
    while true do
      local event = assert(c:next_event(left()))
      if event.event == "reset" then told = true end
      if event.event == "e" and event.id == last then break end
      if event.event == "e" then
        assert.equal(known[event.id], event.data)
        local at
        for i = place + 1, #order do at = at or (order[i] == event.id and i) end
        assert.is_truthy(at, "out of order, or again")
        if at > place + 1 then assert.is_true(told, "a gap that is not reported") end
        place, told = at, false
      end
    end
    if place < #order then assert.is_true(told, "a loss at the end that is not reported") end
    c:close()
  end

  it("is refused with words, or serves what is right and reports what is not", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    local rng = require("spec.kills.run").rng(seed)
    local s, known, order, refused, served = start(), {}, {}, 0, 0
    for from = 1, EVENTS, 10 do
      for _, row in ipairs(json.decode(post(s, ("/log/%d/10"):format(from)).body)) do
        known[row.id] = tostring(row.n)
        order[#order + 1] = row.id
      end
    end
    table.sort(order, function(a, b) return tonumber(a:match("%-(%d+)$")) < tonumber(b:match("%-(%d+)$")) end)
    s.kill()
    sh(("cp -r %s %s/copy"):format(data, top))
    local clean = top .. "/clean"
    s = start()
    s.stop()
    sh(("mv %s %s"):format(data, clean))
    for i = 1, DAMAGES do
      sh(("rm -rf %s; cp -r %s %s"):format(data, i % 2 == 0 and clean or top .. "/copy", data))
      local what = damage(rng)
      local up, life = pcall(start)
      if up then
        local ok, problem = pcall(resume, life, known, order)
        assert.is_true(ok, ("SEED=%d, %d: %s: %s"):format(seed, i, what, tostring(problem)))
        life.kill()
        served = served + 1
      else
        assert.matches("store", tostring(life), ("SEED=%d, %d: %s"):format(seed, i, what))
        assert.matches("ended with 1;", tostring(life), ("SEED=%d, %d: %s"):format(seed, i, what))
        refused = refused + 1
      end
    end
    assert.is_true(served > 0 and served + refused == DAMAGES)
  end)
end)


describe("an event that is missing in the file", function()
  it("is told to who comes back, although memory holds what is on both sides of it, and logged once", function()
    local s, ids = start(), {}
    for n = 1, 6 do ids[n] = json.decode(post(s, "/one/" .. n).body).id end
    assert.equal(0, s.stop())
    assert.equal(0, sqlite("DELETE FROM events WHERE seq = " .. ids[4]:match("%d+$")))
    s = start()
    for _ = 1, 3 do
      local c, got = sse.connect(s.port, "/log", { last_event_id = ids[1] }), {}
      repeat
        local event = assert(c:next_event(5))
        if event.event ~= "hello" then got[#got + 1] = event.event == "reset" and "reset" or event.data end
      until event.data == "6"
      assert.same({ "2", "3", "reset", "5", "6" }, got)
      c:close()
    end
    s.wait_log("events of 'log' are damaged or not there")
    assert.equal(1, (select(2, s.log():gsub("are damaged or not there", ""))))
  end)
end)

describe("a damaged page", function()
  local function page_of(name)
    local sql = ("SELECT rootpage FROM sqlite_schema WHERE name = '%s'"):format(name)
    return tonumber((select(2, process.run { "sqlite3", data .. "/sluice.db", sql })))
  end

  local function ruin(name)
    local place = (page_of(name) - 1) * 4096
    local file = assert(io.open(data .. "/sluice.db", "r+b"))
    file:seek("set", place)
    file:write(("\255"):rep(64))
    file:close()
  end

  local function verify()
    local code, output = process.run { "build/bin/sluice", "store", "verify", "--data", data }
    assert.equal(1, code)
    return output
  end

  it("of a small file keeps the server from starting, as verify says", function()
    local s = start()
    assert.equal(202, publish(s, 1))
    assert.equal(0, s.stop())
    ruin("keys")
    assert.matches("the structure of the file: [^\n]+ %(the server does not start: restore a backup%)", verify())
    local code, output = server.run_to_end(options())
    assert.equal(1, code)
    assert.matches("the store is damaged: move it away, or restore a backup", output, 1, true)
  end)

  it("of a large one is trouble until a backup is restored: what needs it is refused, all else is stored", function()
    local s = start()
    assert.equal(202, publish(s, 1))
    assert.equal(0, s.stop())
    assert.equal(0, sqlite("CREATE TABLE large AS SELECT zeroblob(34000000)"))
    ruin("keys")
    assert.matches("%(the server may start, since the file is large", verify())
    s = start()
    for n = 2, 4 do
      local headers = { ["Content-Type"] = "application/json", ["Idempotency-Key"] = "k" }
      local r = http.post(s.port, "/one/" .. n, "{}", headers)
      assert.equal("ESTORE", json.decode(r.body).error.code)
      assert.equal(202, publish(s, "other" .. n))
    end
    s.wait_log("the file is damaged: what needs its damaged pages is refused")
    assert.equal(1, (select(2, s.log():gsub("the file is damaged", ""))))
    deadline.eventually(function() return http.get(s.port, "/-/healthz").body:find("store: trouble", 1, true) end)
    assert.is_nil(s.log():find("stored again", 1, true))
  end)

  it("that had the head row: the numbers are not begun anew", function()
    local s = start()
    assert.equal(202, publish(s, 1))
    assert.equal(0, s.stop())
    assert.equal(0, sqlite("DELETE FROM head"))
    assert.matches("the head row is not there %(the server does not start: restore a backup%)", verify())
    assert.equal(1, (server.run_to_end(options())))
  end)
end)

describe("a log beside the file that was cut after a kill", function()
  local KINDS = [[
    local app = require("sluice").app()
    app:channel("log", { history = 1000, durable = true, rewind = 100 })
    app:channel("keyed", { history = 1000, key = "id", durable = true })
    app:channel("state", { history = "latest", durable = true })
    app:stream("/mixed", { channels = { "log", "state" } })
    app:stream("/:channel", function(req) return req.params.channel end)
    app:post("/:channel/:n", function(req)
      local id, message, code = app:publish(req.params.channel, "e", { id = "a", n = req.params.n })
      if not id then return id, message, code end
      return 204
    end)
    return app
  ]]

  local function start_kinds() return start { app = KINDS } end

  -- What a client gets that comes back, in words, and its last id; the event `n` is published then.
  local function follow(s, path, last_event_id, n)
    local c, words, id = sse.connect(s.port, "/" .. path, { last_event_id = last_event_id }), {}, nil
    assert.equal("hello", c:next_event(5).event)
    assert.equal(204, post(s, ("/%s/%s"):format(path == "mixed" and "log" or path, n)).status)
    local left = deadline.after(10)
    while true do
      local event = assert(c:next_event(left()))
      local value = event.data and json.decode(event.data)
      id = event.id or id
      if event.event == "e" and value.n == n then break end
      if event.event == "e" then words[#words + 1] = value.n end
      if event.event == "reset" then words[#words + 1] = "reset:" .. value.channel end
    end
    c:close()
    return table.concat(words, " "), id
  end

  it("is reported to the readers of all durable channels, and what is there stays", function()
    local s, ids = start_kinds(), {}
    for _, name in ipairs { "log", "keyed" } do ids[name] = { select(2, follow(s, name, nil, "1")) } end
    assert.equal(204, post(s, "/state/1").status)
    s.stop() -- all of it is in the file
    s = start_kinds()
    for name, list in pairs(ids) do list[2] = select(2, follow(s, name, list[1], "2")) end
    assert.equal(204, post(s, "/state/2").status)
    s.kill()
    process.write_file(data .. "/sluice.db-wal", "")
    s = start_kinds()
    assert.matches("the last %d+ commits are not in .*sluice.db", s.log())
    for name, list in pairs(ids) do
      assert.equal("reset:" .. name, follow(s, name, list[1], "3"))
      local words, id = follow(s, name, list[2], "4")
      assert.equal("reset:" .. name .. " 3", words)
      list[3] = id
    end
    assert.equal("1 reset:log 3 4", follow(s, "log", nil, "5"))
    assert.equal("", follow(s, "keyed", nil, "5"))
    s.kill()
    s = start_kinds()
    assert.not_matches("are not in", s.log())
    for name, list in pairs(ids) do
      assert.equal("reset:" .. name .. " 3 4 5", follow(s, name, list[1], "6"))
      assert.equal("5 6", follow(s, name, list[3], "7"))
    end
    local words = follow(s, "mixed", ids.log[2], "8")
    assert.matches("reset:state 1", words)
    assert.matches("reset:log 3", words)
    assert.matches("^5 6 7 8", (follow(s, "mixed", ids.log[3], "9")))
  end)
end)
