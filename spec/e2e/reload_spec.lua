--- Reloading a real server: by files, signal, command and request; and what its streams and
--- handlers notice of it, which is nothing. SLUICE_SPEC_FULL=1 runs the large case too.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local reloads = require("spec.support.reloads")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")

local function get(s, path) return json.decode(http.get(s.port, path).body) end

local function start(options)
  local files = reloads.files(1)
  options.app, options.files = files["app.lua"], { ["rules.lua"] = files["rules.lua"] }
  for name, text in pairs(reloads.FILES) do options.files[name] = text end
  options.args = options.args or {}
  for _, word in ipairs { "--admin-key", reloads.KEY, "--handler-budget", "0.3", "--drain", "0.2" } do
    table.insert(options.args, word)
  end
  return server.start(options)
end

local function version(s) return get(s, "/version").v end

local function becomes(s, n)
  deadline.eventually(function() return version(s) == n end, 10, "version " .. n)
end

describe("a reload", function()
  after_each(server.stop_all)

  it("follows a file that is replaced, written in place, or saved twice", function()
    local s = start { watch = true }
    assert.equal(1, version(s))
    reloads.write(s.folder, { ["rules.lua"] = "return { v = 2 }" })
    becomes(s, 2)
    process.write_file(s.folder .. "/rules.lua", "return { v = 3 }")
    becomes(s, 3)
    for _ = 1, 3 do reloads.save(s.folder .. "/rules.lua", 0.03, { "return { v =", "return { v = 4 }" }) end
    becomes(s, 4)
    local _, times = s.log():gsub("reload #", "")
    assert.is_true(times <= 4, s.log())
    assert.is_nil(s.log():find("reload failed"), s.log())
    assert.matches("reload #2 in [%d.]+ ms: rules.lua", s.log())
  end)

  it("of a broken file is told once, and the next save mends it", function()
    local s = start { watch = true }
    reloads.write(s.folder, { ["rules.lua"] = "return {\n  v = = 2 }" })
    s.wait_log("reload failed in load: .*rules.lua:2: unexpected symbol near '='; generation 1 keeps serving")
    assert.equal(1, version(s))
    reloads.write(s.folder, { ["rules.lua"] = "return { v = 2 }" })
    becomes(s, 2)
    assert.equal(1, select(2, s.log():gsub("reload failed", "")))
  end)

  it("is asked for by SIGHUP, with --no-watch too", function()
    local s = start {}
    reloads.write(s.folder, { ["rules.lua"] = "return { v = 2 }" })
    s.signal("HUP")
    becomes(s, 2)
  end)

  it("is asked for by POST /-/reload with the admin key only", function()
    local s = start {}
    assert.equal(401, http.post(s.port, "/-/reload", "").status)
    assert.equal(401, http.post(s.port, "/-/reload", "", { Authorization = "Bearer no" }).status)
    assert.equal(401, http.get(s.port, "/-/reload").status)
    reloads.write(s.folder, { ["rules.lua"] = "return { v = 2 }" })
    local outcome, status = reloads.now(s.port, "?dry_run=1")
    assert.same({ 200, true, { "rules.lua" }, 1 }, { status, outcome.ok, outcome.files, outcome.generation })
    assert.equal(1, version(s))
    outcome, status = reloads.now(s.port)
    assert.same({ 200, true, 2, 1 }, { status, outcome.ok, outcome.generation, outcome.previous })
    assert.equal(2, version(s))
    outcome, status = reloads.now(s.port, "?rollback=1")
    assert.same({ 200, 3 }, { status, outcome.generation })
    assert.equal(1, version(s))
    local told = reloads.status(s.port)
    assert.same({ 3, 2 }, { told.generation, told.reloads_total.ok.swap })
  end)

  for i, case in ipairs(reloads.BROKEN) do
    it(("that fails leaves all as it was (%d: %s)"):format(i, case[2]), function()
      local s = start {}
      reloads.write(s.folder, reloads.files(2, case))
      local outcome, status = reloads.now(s.port)
      assert.same({ 422, false, case[1], 1 }, { status, outcome.ok, outcome.phase, outcome.generation })
      assert.matches(case[2], outcome.message)
      if i ~= 4 then assert.matches("app.lua:%d+:", outcome.message .. (outcome.traceback or "")) end
      assert.same({ v = 1, generation = 1 }, get(s, "/version"))
      reloads.write(s.folder, reloads.files(3))
      assert.is_true(reloads.now(s.port).ok)
      assert.equal(3, version(s))
    end)
  end

  it("is asked for by the command, over the Unix socket", function()
    local core = require("sluice.core")
    if not core.call then return pending("the core has no core.call") end
    local folder = process.temp_dir()
    local place = folder .. "/x.sock"
    local s = start { args = { "--socket", place } }
    local function command(...)
      return process.run({ "build/bin/sluice", "reload", "--socket", place, ... })
    end
    reloads.write(s.folder, { ["rules.lua"] = "return { v = 2 }" })
    local code, out = command("--dry-run")
    assert.equal(0, code, out)
    assert.matches("rules.lua", out)
    assert.equal(1, version(s))
    code, out = command()
    assert.equal(0, code, out)
    assert.matches("^reload #2 in [%d.]+ ms: .*rules.lua\n$", out)
    assert.equal(2, version(s))
    reloads.write(s.folder, { ["rules.lua"] = "return {" })
    code, out = command()
    assert.equal(1, code)
    assert.matches("^sluice: reload failed in load: .*rules.lua:1: .*; generation 2 keeps serving\n", out)
    assert.equal(0, (command("--rollback")))
    assert.equal(1, version(s))
    code, out = process.run({ "build/bin/sluice", "check", s.folder .. "/app.lua", "--socket", place })
    assert.equal(1, code, out)
    reloads.write(s.folder, reloads.files(9))
    code, out = process.run({ "build/bin/sluice", "check", s.folder .. "/app.lua", "--socket", place })
    assert.equal(0, code, out)
    assert.matches("difference to generation 3\n  none in what is registered", out)
    s.stop()
    code, out = command()
    assert.equal(1, code)
    assert.matches("no server answers at ", out)
    process.remove_dir(folder)
  end)
end)

describe("open streams over a reload", function()
  local s
  after_each(server.stop_all)

  local function app(rule, more)
    return ([[
      local sluice = require("sluice")
      local app = sluice.app()
      app:guard("/**", function(req) req.user = { id = req.query.user or "nobody" } return true end)
      app:channel("doc/:id", { history = 10, read = function(user, p) return %s end })
      app:stream("/doc/:id", "doc/:id")
      app:stream("/docs/:id", { channels = { "doc/:id", "open" } })
      app:post("/say/:id", function(req) app:publish("doc/" .. req.params.id, "said", {}) return 202 end)
      %s
      return app]]):format(rule, more or "")
  end

  local function begin(text)
    s = server.start { app = text, args = { "--admin-key", reloads.KEY, "--drain", "0.2" } }
  end

  local function change(text)
    reloads.write(s.folder, { ["app.lua"] = text })
    local outcome = reloads.now(s.port)
    assert.is_true(outcome.ok, outcome.message)
  end

  local function connect(path)
    local c = sse.connect(s.port, path)
    assert(c:wait_for("hello"))
    return c
  end

  local function data_of(event) return json.decode(event.data) end

  it("lose a channel that they may no longer read, and end when none is left", function()
    begin(app("user.id ~= 'eve'"))
    local alice, both, only = connect("/doc/1?user=alice"), connect("/docs/1?user=bob"), connect("/doc/1?user=bob")
    change(app("user.id == 'alice'"))
    local reset = data_of(assert(both:wait_for("reset", 2)))
    assert.same({ "denied", "doc/1" }, { reset.reason, reset.channel })
    assert.equal("revoked", data_of(assert(only:wait_for("bye", 2))).reason)
    http.post(s.port, "/say/1", "")
    assert(alice:wait_for("said", 2))
    assert.is_nil(both:next_event(0.2))
    assert.is_nil(both.ended)
    for _, c in ipairs { alice, both, only } do c:close() end
  end)

  it("are planned anew by app:replan", function()
    begin(app("true", 'app:stream("/mine", function() return "doc/1" end)'))
    local c = connect("/mine")
    change(app("true", [[
      app:stream("/mine", function() return "doc/2" end)
      app:post("/replan", function() return { n = app:replan("/mine") } end)]]))
    http.post(s.port, "/say/1", "")
    assert(c:wait_for("said", 2)) -- plans stay
    assert.equal('{"n":1}', http.post(s.port, "/replan", "").body)
    deadline.eventually(function()
      http.post(s.port, "/say/2", "")
      return c:wait_for("said", 0.2)
    end, 5, "the new plan")
    http.post(s.port, "/say/1", "")
    repeat local event = c:next_event(0.3) until not event or event.data == "x"
    c:close()
  end)

  it("that a coroutine writes do not wait while they go over", function()
    local text = [[
      app:stream("/w", function(req, client)
        local _ <close> = setmetatable({}, { __close = function() sluice.log.info("CLOSED VERSION") end })
        client:send("begin", { v = VERSION, resumed = client.resumed or "no" })
        sluice.sleep(1000)
      end)]]
    begin(app("true", (text:gsub("VERSION", "1"))))
    local c = connect("/w")
    assert.same({ v = 1, resumed = "no" }, data_of(assert(c:wait_for("begin", 2))))
    change(app("true", (text:gsub("VERSION", "2"))))
    assert.same({ v = 2, resumed = "reload" }, data_of(assert(c:wait_for("begin", 2))))
    s.wait_log("CLOSED 1") -- lines are written by a thread of their own
    assert.equal(1, select(2, s.log():gsub("CLOSED 1", "")))
    c:close()
    s.wait_log("CLOSED 2")
    assert.equal(0, s.stop())
    assert.equal(1, select(2, s.log():gsub("CLOSED 2", "")))
  end)
end)

-- ---- Everything at once ------------------------------------------------------------------------

local CHANNELS = 50

-- Streams of all kinds, a few on each channel.
local function open_streams(s, each)
  local all = crowd.connect(s.port, "/ticks", 1)
  all[1].ticks = true
  for channel = 1, CHANNELS do
    for _, kind in ipairs { "constant", "plan" } do
      local more = crowd.connect(s.port, ("/%s/%d"):format(kind, channel), each)
      for _, m in ipairs(more) do
        m.channel = channel
        all[#all + 1] = m
      end
    end
    local writer = crowd.connect(s.port, "/writer/" .. channel, 1)[1]
    writer.writer = true
    all[#all + 1] = writer
  end
  all:restart()
  return all
end

-- Publishes one event after the other, each answered, and keeps slow handlers running.
local function publisher(s)
  local self = { n = {}, sent = 0, c = http.connect(s.port), slow = {} }
  for i = 1, CHANNELS do self.n[i] = 0 end

  function self.publish()
    local channel = self.sent % CHANNELS + 1
    self.sent, self.n[channel] = self.sent + 1, self.n[channel] + 1
    local path, r = ("/publish/%d/%d"):format(channel, self.n[channel]), nil
    for _ = 1, 3 do
      r = assert(self.c:request("POST", path, {}, ""))
      if r.status ~= 503 then break end -- a slow machine: nothing was done, try again
    end
    assert.equal(202, r.status, r.body)
    assert.truthy(json.decode(r.body).id)
  end

  function self.ask_slow(ms)
    local c = http.connect(s.port)
    c:send(http.request_text("GET", "/slow/" .. ms, {}, nil, "127.0.0.1"))
    self.slow[#self.slow + 1] = { c = c, ms = ms }
  end

  -- A handler sees one version from its beginning to its end.
  function self.read_slow(keep)
    while #self.slow > keep do
      local row = table.remove(self.slow, 1)
      local r = assert(row.c:response(10))
      row.c:close()
      local body = json.decode(r.body)
      assert.same({ 200, row.ms }, { r.status, body.ms }, r.body)
      assert.equal(body.before, body.after)
    end
  end
  return self
end

local function judge(all, p)
  for _, m in ipairs(all) do
    local text = crowd.text(m)
    assert.is_nil(m.ended)
    assert.is_nil(text:find("event: reset", 1, true))
    assert.is_nil(text:find("event: bye", 1, true))
    local numbers = crowd.numbers(m)
    if m.channel then assert.equal(p.n[m.channel], #numbers) end
    for i, n in ipairs(numbers) do
      if i ~= n then error(("event %d in place of %d"):format(n, i)) end
    end
    local last = 0
    for id in text:gmatch("event: e\ndata: [^\n]*\nid: %w+%-(%d+)\n") do
      assert.is_true(tonumber(id) > last)
      last = tonumber(id)
    end
  end
end

-- (The gaps between ticks are for the virtual clock: a load that loops holds one up.)
local function judge_ticks(text, least, most)
  local n = select(2, text:gsub('"at":', ""))
  assert.is_true(n >= least - 2.5 and n <= most + 1.5, ("%d ticks in %s to %s s"):format(n, least, most))
end

local function heap(s)
  local answer = get(s, "/stats")
  return answer.heap, answer
end

describe("streams and handlers", function()
  after_each(server.stop_all)

  local function round(s, all, p, i)
    local broken = i % 10 == 0 and reloads.BROKEN[i // 10] or nil
    reloads.write(s.folder, reloads.files(i + 1, broken))
    for _ = 1, 3 do p.ask_slow(math.random(0, 200)) end
    local c = reloads.ask(s.port)
    for _ = 1, 50 do
      p.publish()
      all:read(0)
    end
    local outcome = reloads.outcome(c)
    assert.equal(not broken, outcome.ok, outcome.message)
    if broken then assert.matches(broken[2], outcome.message) end
    p.read_slow(6)
    return outcome.ok
  end

  it("notice nothing of 40 reloads of which some fail", function()
    local s, asked = start {}, socket.gettime()
    local all, p = open_streams(s, 9), publisher(s)
    local opened, swaps = socket.gettime(), 0
    local before
    for i = 1, 40 do
      if round(s, all, p, i) then swaps = swaps + 1 end
      if i == 5 then
        p.read_slow(0)
        before = heap(s)
      end
    end
    p.read_slow(0)
    deadline.eventually(function()
      all:read(0.1)
      return #crowd.numbers(all[#all - 1]) == p.n[CHANNELS] and #crowd.numbers(all[2]) == p.n[1]
    end, 10, "the last events")
    all:read(0.5)
    local now = socket.gettime()
    judge(all, p)
    judge_ticks(crowd.text(all[1]), now - opened, now - asked)
    local after, answer = deadline.eventually(function()
      local bytes, told = heap(s)
      return told.stats.generations_alive == 1 and bytes, told
    end, 10, "one generation is alive")
    local told = reloads.status(s.port)
    assert.same({ swaps, swaps + 1 }, { told.reloads_total.ok.swap, told.generation })
    assert.equal(p.sent, answer.count.n)
    assert.equal(CHANNELS * swaps, answer.count.closed) -- each writer's <close>, once a swap
    local most = (64 + 64) * 1024 -- Lua's table of strings doubles by 64 KiB
    assert.is_true(after - before < most, ("heap %d, then %d"):format(before, after))
    assert.equal(4, select(2, s.log():gsub("reload failed", "")))
    assert.not_matches("still in memory", s.log())
    all:close()
    assert.equal(0, s.stop())
  end)
end)
