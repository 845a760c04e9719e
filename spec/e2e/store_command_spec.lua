--- `sluice store`: the command as a process, on data folders of real servers.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local SLUICE = lfs.currentdir() .. "/build/bin/sluice"
local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log", { history = 100000, durable = true })
app:channel("values", { history = "latest", key = "k", durable = true })
app:stream("/log", "log")
local function publish(n) return app:publish("log", "e", { n = n, text = ("x"):rep(1000) }) end
app:post("/burst/:first/:count", function(req)
  local first, count, done, last = tonumber(req.params.first), tonumber(req.params.count), 0, nil
  for n = first, first + count - 1 do
    app:spawn(function() last, done = assert(publish(n)), done + 1 end)
  end
  while done < count do sluice.sleep(0.001) end
  return { id = last }
end)
app:post("/value", function() return { (app:publish("values", "v", { k = "a", at = 7 })) } end)
app:task("go_on", function()
  for n = 1000000, 2000000 do
    publish(n)
    sluice.sleep(0.001)
  end
end)
app:post("/go_on", function() app:after(0, "go_on") return 204 end)
return app
]]

local top, data

before_each(function()
  top = process.temp_dir()
  data = top .. "/data"
end)
after_each(function()
  server.stop_all()
  process.stop_all("command")
  process.remove_dir(top)
end)

local function start(folder)
  return server.start { app = APP, args = { "--data", folder or data, "--drain", "0.1" } }
end

local function post(s, path)
  local answer = http.request(s.port, "POST", path, { ["Content-Type"] = "application/json" }, "{}", 60)
  assert.truthy(answer.status == 200 or answer.status == 204, answer.body)
  return answer.status == 200 and json.decode(answer.body)
end

--- A stopped store with `count` events.
local function fill(count)
  local s = start()
  local last
  for first = 1, count, 2000 do -- an answer has to come in time
    last = post(s, ("/burst/%d/%d"):format(first, math.min(2000, count - first + 1))).id
  end
  post(s, "/value")
  assert.equal(0, s.stop())
  return last
end

--- Run `sluice store …` to its end: exit code, output.
local function store(...)
  return process.run({ SLUICE, "store", ... }, { dir = top })
end

local function spawn(...)
  return process.spawn({ SLUICE, "store", ... }, { dir = top, kind = "command" })
end

local function names(folder)
  local list = {}
  for name in lfs.dir(folder) do
    if name:find("[^.]") then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function change(sql)
  local code, output = process.run { "sqlite3", data .. "/sluice.db", sql }
  assert.equal(0, code, output)
end

describe("sluice store", function()
  it("stats and verify work beside the server, and without it", function()
    local s = start()
    post(s, "/burst/1/3")
    post(s, "/value")
    local code, output = store("stats", "--json", "--data", data)
    assert.equal(0, code, output)
    local f = json.decode(output)
    assert.same({ 3, 1, 1, 1, 0, s.pid, false },
      { f.events, f.newest, f.logs, f.states, f.patterns, f.pid, f.clean }, output)
    assert.matches("in use by process " .. s.pid, select(2, store("stats", "--data", data)))
    code, output = store("verify", "--data", data)
    assert.equal(0, code, output)
    assert.matches("nothing is wrong in %d+ rows", output)
    s.kill()
    assert.matches("not closed", select(2, store("stats", "--data", data)))
    fill(0)
    assert.matches("state +closed\n", select(2, store("stats", "--data", data)))
    lfs.mkdir(top .. "/here") -- the default
    os.rename(data, top .. "/here/sluice-data")
    code, output = process.run({ SLUICE, "store", "stats" }, { dir = top .. "/here" })
    assert.equal(0, code, output)
  end)

  it("verify lists what is damaged, with the id that clients know", function()
    local id = fill(5)
    change("UPDATE events SET data = 'other' WHERE seq = (SELECT max(seq) FROM events);"
      .. "DELETE FROM events WHERE seq = (SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET 1);"
      .. "UPDATE newest SET at = at + 1")
    local code, output = store("verify", "--data", data)
    assert.equal(1, code, output)
    assert.matches("2 damaged, 1 missing, 0 stale", output)
    assert.truthy(output:find(("damaged log %s: an event is not what was written (clients that need it get a reset)")
      :format(id), 1, true), output)
    assert.matches("missing log %w+%-%d+: an event is not there", output)
    assert.matches("damaged values %w+%-%d+: a newest value is not what was written", output)
    code, output = store("verify", "--json", "--data", data)
    assert.equal(1, code)
    local verdict = json.decode(output)
    assert.same({ false, 3, 0 }, { verdict.ok, #verdict.findings, verdict.more })
    assert.same({ "damaged", "log", id }, { verdict.findings[#verdict.findings - 1].fault,
      verdict.findings[#verdict.findings - 1].channel, verdict.findings[#verdict.findings - 1].id })
  end)

  it("verify finds a file whose structure is broken", function()
    fill(200)
    local text = process.read_file(data .. "/sluice.db")
    process.write_file(data .. "/sluice.db", text:sub(1, 8192) .. ("\xff"):rep(4096) .. text:sub(12289))
    local code, output = store("verify", "--data", data)
    assert.equal(1, code, output)
    assert.matches("restore a backup", output:lower())
    process.write_file(data .. "/sluice.db", ("no store at all "):rep(1000))
    code, output = store("verify", "--data", data)
    assert.equal(1, code, output)
    assert.matches("sluice%.db", output)
  end)

  it("says what is wrong with its use", function()
    for _, case in ipairs {
      { 2, "command is required" }, { 2, "missing argument 'file'", "export" }, { 2, "Did you mean", "verfy" },
      { 2, "unknown option", "stats", "--force" }, { 2, "not to standard output", "backup", "-" },
      { 2, "a folder is expected", "stats", "--data=" },
      { 1, "^sluice: there is no store in the folder 'nothing': name its folder with %-%-data\n$", "verify", "--data",
        "nothing" },
      { 1, "there is no store in the folder '%.': name its folder with %-%-data", "stats", "--data", "." },
      { 1, "'nothing' cannot be imported: No such file", "import", "nothing" },
    } do
      local code, output = store(table.unpack(case, 3))
      assert.equal(case[1], code, output)
      assert.matches(case[2], output)
    end
    assert.same({}, names(top))
  end)

  it("reports its progress when it is asked to", function()
    fill(300)
    local code, output = store("export", "text", "--progress", "--data", data)
    assert.equal(0, code, output)
    assert.matches("export: 100 %%\n", output)
  end)
end)

describe("an export", function()
  it("goes through a pipe into a new store, with its ids or with new ones", function()
    local id = fill(50)
    local pipe = ("%s store export - --data data | %s store import - --data other"):format(SLUICE, SLUICE)
    local code, output = process.run(pipe, { dir = top })
    assert.equal(0, code, output)
    code, output = process.run(pipe .. "-new --new-epoch", { dir = top })
    assert.equal(0, code, output)
    local s = start(top .. "/other")
    local c = sse.connect(s.port, "/log", { last_event_id = id })
    assert.is_true(json.decode(assert(c:wait_for("hello")).data).resumed)
    c:close()
    s.stop()
    s = start(top .. "/other-new")
    c = sse.connect(s.port, "/log", { last_event_id = id })
    assert.equal("epoch", json.decode(assert(c:wait_for("reset")).data).reason)
    c:close()
  end)

  -- The server that the data came from says the same.
  local function replay_after(folder, id, last)
    local s = start(folder)
    local c = sse.connect(s.port, "/log", { last_event_id = id })
    local heard = {}
    repeat
      local event = assert(c:next_event(10))
      local value = event.event ~= "hello" and json.decode(event.data)
      if value then heard[#heard + 1] = value.n or value.reason end
    until value and (value.n or value.reason) == last
    c:close()
    s.stop()
    return heard
  end

  it("passes on no damage: what was lost, or is damaged, the readers of the copy hear of too", function()
    local first = fill(1)
    local s = start()
    post(s, "/burst/2/2")
    s.stop()
    process.run({ "cp", data .. "/sluice.db", top .. "/old.db" })
    s = start()
    post(s, "/burst/4/2")
    s.kill()
    process.run({ "sh", "-c", ("rm %s/sluice.db-*; cp %s/old.db %s/sluice.db"):format(data, top, data) })
    s = start() -- an older copy is in its place: that is noticed
    post(s, "/burst/6/2")
    s.stop()
    change([[UPDATE events SET data = replace(data, '"n":2', '"n":9')]])
    local code, output = store("export", top .. "/text", "--data", data)
    assert.equal(1, code)
    assert.matches("1 row is damaged", output)
    code, output = store("import", top .. "/text", "--data", top .. "/copy")
    assert.equal(0, code, output)
    code, output = store("verify", "--data", top .. "/copy")
    assert.equal(0, code, output)
    assert.matches("in place of events that were lost before", output)
    local heard = replay_after(data, first, 7)
    assert.same({ "trimmed", 3, "trimmed", 6, 7 }, heard)
    assert.same(heard, replay_after(top .. "/copy", first, 7))
  end)

  it("says what may be missing: a damaged page drops rows, and a log that was cut commits", function()
    local first = fill(1)
    local s = start()
    post(s, "/burst/2/60")
    s.stop()
    local whole = process.read_file(data .. "/sluice.db")
    local function export_to(copy)
      local code, output = store("export", top .. "/text", "--force", "--data", data)
      assert.equal(1, code, output)
      assert.matches("rows may be missing", output)
      assert.equal(1, (store("verify", "--data", data)))
      code, output = store("import", top .. "/text", "--data", copy)
      assert.equal(0, code, output)
      local heard = replay_after(copy, first, "trimmed")
      assert.equal("trimmed", heard[#heard])
    end
    -- the leaf with the value says that it has no cells
    local page = (whole:find('"at":7', 1, true) - 1) // 4096 * 4096
    assert.equal(10, whole:byte(page + 1))
    process.write_file(data .. "/sluice.db", whole:sub(1, page + 3) .. "\0\0" .. whole:sub(page + 6))
    export_to(top .. "/copy")
    process.write_file(data .. "/sluice.db", whole)
    s = start()
    post(s, "/burst/70/9")
    s.kill()
    local wal = process.read_file(data .. "/sluice.db-wal")
    process.write_file(data .. "/sluice.db-wal", wal:sub(1, 4096 * 3))
    os.remove(data .. "/sluice.db-shm")
    local _, output = store("verify", "--data", data)
    assert.matches("the last %d+ commits are not in the file", output)
    export_to(top .. "/copy2")
    local code
    code, output = store("backup", top .. "/copy.db", "--data", data)
    assert.equal(1, code, output)
    assert.matches("the last %d+ commits are not in", output)
    assert.is_nil(lfs.attributes(top .. "/copy.db"))
    s = start()
    s.wait_log("the last %d+ commits are not in")
    s.stop()
    assert.equal(0, (store("verify", "--data", data)))
    assert.equal(0, (store("backup", top .. "/copy.db", "--data", data)))
  end)

  it("of a file that was emptied is none, and the server that starts says what has gone", function()
    fill(3)
    process.write_file(data .. "/sluice.db", "")
    local code, output = store("verify", "--data", data)
    assert.equal(1, code, output)
    assert.matches("the store's file is empty", output)
    local s = start()
    s.wait_log("is empty, and the folder held a store of %d+ commits")
    s.stop()
    assert.equal(0, (store("verify", "--data", data)))
  end)

  it("with a line twice is not imported", function()
    fill(3)
    assert.equal(0, (store("export", top .. "/text", "--data", data)))
    local text = process.read_file(top .. "/text")
    local head, event = text:match("^(.-\n)(event [^\n]*\n)")
    process.write_file(top .. "/text", head .. event .. event .. text:sub(#head + #event + 1))
    local code, output = store("import", top .. "/text", "--data", top .. "/copy")
    assert.equal(1, code, output)
    assert.matches("line %d+: the same row stands there before", output)
  end)

  it("is not imported under a server, over a store, or in part", function()
    fill(50)
    local text = select(2, store("export", "-", "--data", data))
    process.write_file(top .. "/text", text)
    process.write_file(top .. "/cut", text:sub(1, #text // 2))
    local s = start()
    local code, output = store("import", "text", "--data", data)
    assert.equal(75, code, output)
    s.stop()
    code, output = store("import", "text", "--data", data)
    assert.equal(1, code)
    assert.matches("there is a store already", output)
    code, output = store("import", "cut", "--data", "new")
    assert.equal(1, code)
    assert.matches("cut.*Nothing was imported", output)
    assert.is_nil(lfs.attributes(top .. "/new"))
    assert.equal(0, (store("verify", "--data", data)))
  end)

  -- An import that has read half of its text and waits for more.
  local function half_import()
    fill(300)
    local text = select(2, store("export", "-", "--data", data))
    process.write_file(top .. "/text", text)
    assert.equal(0, (process.run { "mkfifo", top .. "/fifo" }))
    local p = spawn("import", "fifo", "--data", "new")
    local fifo = assert(io.open(top .. "/fifo", "w"))
    fifo:write(text:sub(1, #text // 2))
    fifo:flush()
    deadline.eventually(function() return lfs.attributes(top .. "/new/sluice.db") end, 10, "the import begins")
    return p, fifo
  end

  it("that is interrupted leaves nothing", function()
    local p, fifo = half_import()
    p:signal("INT")
    assert.equal(130, p:wait(10), p:log())
    fifo:close()
    assert.matches("interrupted: nothing was changed", p:log())
    assert.is_nil(lfs.attributes(top .. "/new"))
  end)

  it("that is killed leaves a folder that can be imported into", function()
    local p, fifo = half_import()
    p:kill()
    fifo:close()
    local code, output = store("import", "text", "--data", "new")
    assert.equal(0, code, output)
    code, output = store("verify", "--data", "new")
    assert.equal(0, code, output)
    assert.equal(300, json.decode(select(2, store("stats", "--json", "--data", "new"))).events)
  end)

  it("to a reader that waits can be interrupted", function()
    fill(300)
    assert.equal(0, (process.run { "mkfifo", top .. "/fifo" }))
    local p = process.spawn({ "sh", "-c", ("exec %s store export - --data data > fifo"):format(SLUICE) },
      { dir = top, kind = "command" })
    local fifo = assert(io.open(top .. "/fifo", "r"))
    assert.equal("sluice-store 1", fifo:read("l"))
    p:signal("INT")
    assert.equal(130, p:wait(10), p:log())
    fifo:close()
  end)
end)

describe("a backup", function()
  it("is taken while a publisher publishes; a server on it resumes what a browser has", function()
    local s = start()
    local c = sse.connect(s.port, "/log")
    local id = post(s, "/burst/1/200").id
    local first = assert(c:wait_for("e"))
    post(s, "/go_on")
    assert(c:wait_for("e", 5, function(event) return json.decode(event.data).n > 1000005 end))
    local code, output = store("backup", "copy.db", "--data", data)
    assert.equal(0, code, output)
    assert.matches("copied to copy.db", output)
    local mark = json.decode(assert(c:wait_for("e")).data).n -- and it goes on
    assert(c:wait_for("e", 5, function(event) return json.decode(event.data).n > mark + 5 end))
    c:close()
    s.kill()

    assert.equal(0, (process.run("mkdir -m 700 again && cp copy.db again/sluice.db", { dir = top })))
    assert.equal(0, (store("verify", "--data", "again")))
    local b = start(top .. "/again")
    assert.is_nil(b.log():find("did not close it", 1, true))
    c = sse.connect(b.port, "/log", { last_event_id = first.id })
    assert.is_true(json.decode(assert(c:wait_for("hello")).data).resumed)
    local seen, last = json.decode(first.data).n, nil
    while seen ~= 1000005 do -- published before the copy was taken: all of it is there, in order
      local event = assert(c:next_event(10))
      assert.equal("e", event.event)
      local n = json.decode(event.data).n
      assert.is_true(n == seen + 1 or n == 1000000, n .. " after " .. seen)
      seen, last = n, event.id
    end
    local new = post(b, "/burst/500/1").id
    assert.equal(new, assert(c:wait_for("e", 10, function(event) return json.decode(event.data).n == 500 end)).id)
    local function number(text) return math.tointeger(tonumber(text:match("%-(%d+)$"))) end
    assert.equal(id:match("^%w+"), new:match("^%w+"))
    assert.is_true(number(new) > number(last) + (1 << 50), "the original's next runs stay below")
    c:close()
  end)

  it("overwrites only what it is told to", function()
    fill(10)
    process.write_file(top .. "/mine", "mine")
    local code, output = store("backup", "mine", "--data", data)
    assert.equal(1, code)
    assert.matches("'mine' is there already.*%-%-force", output)
    assert.equal("mine", process.read_file(top .. "/mine"))
    code, output = store("backup", "mine", "--force", "--data", data)
    assert.equal(0, code, output)
    assert.equal("SQLite format 3\0", process.read_file(top .. "/mine"):sub(1, 16))
    lfs.mkdir(top .. "/folder")
    assert.equal(1, (store("backup", "folder", "--force", "--data", data)))
    assert.matches("cannot be written", select(2, store("backup", "no/where", "--data", data)))
    assert.same({ "data", "folder", "mine" }, names(top))
  end)

  it("that was killed at any moment leaves no half copy, and nothing in the way of the next", function()
    fill(FULL and 20000 or 2000)
    for round = 1, FULL and 20 or 2 do
      local target = top .. "/copy" .. round
      local p = spawn("backup", "copy" .. round, "--data", data)
      local found = round % 2 == 0
      if found then -- in the middle, when it is slow enough to be seen
        pcall(deadline.eventually, function()
          return lfs.attributes(target .. ".sluice-part") or p:code()
        end, 10)
      end
      p:signal("KILL")
      assert(p:wait(10))
      if lfs.attributes(target) then
        os.remove(target)
      end
      process.write_file(target .. ".sluice-part", "what another one has left")
      local code, output = store("backup", "copy" .. round, "--data", data)
      assert.equal(0, code, output)
      lfs.mkdir(top .. "/again")
      os.rename(target, top .. "/again/sluice.db")
      code, output = store("verify", "--data", "again")
      assert.equal(0, code, output)
      assert.equal(FULL and 20000 or 2000, json.decode(select(2, store("stats", "--json", "--data", "again"))).events)
      process.remove_dir(top .. "/again")
      for _, name in ipairs(names(top)) do assert.is_nil(name:find("part", 1, true), name) end
    end
    assert.equal(0, (store("verify", "--data", data)))
  end)

  it("of a disk without room says so and leaves nothing", function()
    fill(2000)
    for _, what in ipairs { "backup", "export" } do
      local code, output = process.run(("trap '' XFSZ; ulimit -f 64; exec %s store %s copy --data data")
        :format(SLUICE, what), { dir = top })
      assert.equal(1, code, output)
      assert.matches("copy", output)
      assert.same({ "data" }, names(top))
    end
  end)
end)
