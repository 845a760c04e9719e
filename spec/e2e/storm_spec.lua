--- More requests at once than Lua can take: they wait in their connections, in order, for so long
--- as the queue allows; what needs no Lua does not wait with them.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local program = require("spec.bench.program")
local sse = require("spec.support.sse")

local SLOW = os.getenv("SLUICE_PRELOAD") ~= nil
local THREADS = tonumber(os.getenv("SLUICE_IO_THREADS") or 1)
local MOST = os.getenv("SLUICE_SPEC_FULL") and 10000 or 2500
local FILL = 1100 * THREADS -- more than the app is handed

local APP = [[
app:channel("log", { history = 10 })
app:stream("/constant", "log")
local ran = app:state("ran", { n = 0, order = {} })
app:stream("/plan/:i", function(req)
  spin(0.0002)
  ran().n = ran().n + 1
  if not tonumber(req.params.i) then table.insert(ran().order, req.params.i) end
  return "log"
end)
app:get("/ran", function() return ran() end)
app:get("/order/:i", function(req)
  table.insert(ran().order, tonumber(req.params.i))
  return "ok"
end)
app:post("/hold", function(req) -- stuck until somebody writes into the pipe
  sluice.log.info("HELD")
  io.open(req:json().path):close()
  return 204
end)
app:every(0.1, function() app:publish("log", "tick", {}) end)
app:get("/kept", function() return "first" end)
app:get("/taken", function() return "first" end)]]

local s, folder

local function start(options)
  options = options or {}
  options.env = { SLUICE_HANDLER_BUDGET = "0" }
  s = live.start(APP, options)
  folder = process.temp_dir()
  process.run({ "prlimit", "--pid", s.pid, "--nofile=" .. program.hard_limit() })
end

--- The script does nothing more until the function that this returns is called.
local function hold()
  local path = folder .. "/pipe"
  assert.equal(0, (process.run({ "mkfifo", path })))
  local c = live.post_later(s, "/hold", json.encode({ path = path }))
  s.wait_log("HELD")
  return function()
    process.write_file(path, "")
    assert.equal(204, c:response(10).status)
    c:close()
  end
end

--- Programs that open n streams of /plan.
local function crowd_of(n)
  return program.start({ name = "load", words = { "build/bench/load", "--port", s.port, "--path", "/plan/{i}",
    "--streams", n, "--until", 0, "--hold" } }, folder)
end

--- Wait until the server has all that was asked so far.
local function settle(load, n)
  local got = 0
  deadline.eventually(function()
    got = got + load:ask("report", 5).connects
    return got >= n
  end, 10, "all are connected")
  for _ = 1, 5 * THREADS do assert.equal(200, s.get("/-/healthz").status) end
end

local function ask(path)
  local c = assert(http.connect(s.port))
  c:send(http.request_text("GET", path, {}, nil, "localhost"))
  return c
end

local function ran() return json.decode(s.get("/ran").body) end

local function stop()
  program.stop_all()
  live.stop_all()
  process.remove_dir(folder)
end

setup(function() assert.equal(0, (process.run("make -s -C spec/bench", { seconds = 120 }))) end)

-- At full size 10,000 that come within half a second, where the machine has time for them.
describe("a storm of connections to a plan that computes", function()
  before_each(function() start() end)
  after_each(stop)

  it("is let in, all of it, while events go on", function()
    -- on a busy machine fewer, so that nobody has to wait for as long as it is allowed
    local few = crowd_of(200)
    local report = few:ask("ready 50", 60)
    assert.is_true(report.complete)
    few:stop()
    local n = math.floor(5 * 200 / report.met)
    n = math.min(MOST, program.hard_limit() - 200, math.max(n, 1500 * THREADS))
    s.wait_clients(0, 10)
    local stream, ticks = live.connect(s, "/constant"), 0
    local from = deadline.now()
    local load = crowd_of(n)
    load.pipe:write("ready 50\n")
    local answer
    repeat
      local event = stream:next_event(0.2)
      if event and event.event == "tick" then ticks = ticks + 1 end
      answer = load:line(0)
    until answer or deadline.since(from) > 60
    local quiet, took = deadline.since(from)
    assert.truthy(answer and answer:find('"complete":true', 1, true), tostring(answer))
    assert.truthy(answer:find('"failed":0,', 1, true) and answer:find('"closed":0,', 1, true), answer)
    assert.is_true(quiet < 50, quiet .. " s")
    assert.is_true(ticks >= took * 10 / 5, ("%d ticks in %.1f s"):format(ticks, took))
    s.wait_clients(n + 1, 10)
    stream:close()
  end)
end)

describe("while more wait than the app is handed", function()
  after_each(stop)

  it("waiting costs little, and what needs no Lua is answered", function()
    start()
    s.get("/ran")
    local before = s.dirty()
    local release = hold()
    local n = SLOW and FILL or 3 * FILL
    local load = crowd_of(n)
    settle(load, n)
    local each = (s.dirty() - before) / n / 1024
    live.connect(s, "/constant"):close()
    local early = sse.connect(s.port, "/plan/late", { wait = false })
    assert(early:read_head(4)) -- without its plan, as always after 2 s
    assert.equal(200, early.status)
    if not SLOW then assert.is_true(each < 8, ("%.1f KiB each"):format(each)) end
    release()
    assert(early:wait_for("hello", 20))
    early:close()
    assert.is_true(load:ask("ready 50", 60).complete)
  end)

  it("they are begun in order, also one that has closed its half; those who went never", function()
    start { io_threads = 1 }
    local release = hold()
    local before = s.fds()
    local load = crowd_of(FILL)
    settle(load, FILL)
    local list, gone = {}, {}
    for i = 1, 9 do
      list[i] = ask("/order/" .. i)
      if i == 5 then list[i]:finish() end
      gone[i] = ask("/order/" .. 100 + i)
      s.get("/-/healthz")
    end
    local stream = sse.connect(s.port, "/plan/gone", { wait = false })
    stream.wire:finish()
    for _, c in ipairs(gone) do c:reset() end
    load:stop()
    deadline.eventually(function() return s.fds() <= before + #list end, 10, "the server knows that they have gone")
    release()
    for _, c in ipairs(list) do assert.equal("ok", c:response(20).body) end
    assert.same({ n = 0, order = { 1, 2, 3, 4, 5, 6, 7, 8, 9 } }, ran())
    assert.equal(0, s.alive().clients)
    stream:close()
    for _, c in ipairs(list) do c:close() end
  end)

  it("pipelined requests wait behind theirs", function()
    start()
    local release = hold()
    local load = crowd_of(FILL)
    settle(load, FILL)
    local c = ask("/kept")
    c:send(("GET /-/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(2))
    c:send(http.request_text("GET", "/taken", {}, nil, "localhost"))
    release()
    assert.equal("first", c:response(20).body)
    for _ = 1, 2 do assert.equal("ok\n", c:response(5).body) end
    assert.equal("first", c:response(20).body)
    c:close()
  end)

  it("a reload decides who answers them", function()
    start()
    local release = hold()
    local load = crowd_of(FILL)
    settle(load, FILL)
    local kept, taken = ask("/kept"), ask("/taken")
    local path = s.folder .. "/app.lua"
    local text = process.read_file(path):gsub('app:get%("/taken".-\n', ""):gsub('"first"', '"second"')
    process.write_file(path, text)
    s.signal("HUP")
    release()
    s.wait_log("reload #2", 20)
    local first, second = kept:response(20), taken:response(20)
    assert.is_true(first.body == "first" or first.body == "second", first.body)
    assert.is_true(second.status == 404 or second.body == "first", second.body)
    assert.equal(404, s.get("/taken").status)
    kept:close()
    taken:close()
  end)
end)

describe("the time that a request may wait", function()
  after_each(stop)

  it("is 10 s, however many wait: 503, bye overload on a stream; it never runs", function()
    start()
    local release = hold()
    local from = deadline.now()
    local load = crowd_of(FILL)
    settle(load, FILL)
    local handler, stream = ask("/order/1"), sse.connect(s.port, "/plan/mine", { wait = false })
    assert(stream:read_head(4))
    local response = assert(handler:response(15))
    local quiet, took = deadline.since(from)
    assert.is_true(took > 9.8 and quiet < 13, ("%g s, %g s of the clock"):format(quiet, took))
    assert.same({ 503, "close" }, { response.status, response.headers.connection })
    assert.equal("overload", live.data(assert(stream:wait_for("bye", 3))).reason)
    local closed = 0
    deadline.eventually(function()
      closed = closed + load:ask("report", 5).closed
      return closed == FILL
    end, 10, "all are sent away")
    release()
    assert.same({}, ran().order) -- the others have come back meanwhile
    handler:close()
    stream:close()
  end)

  it("ends with a drain: 503, bye drain", function()
    start { args = { "--drain", "2" } }
    local release = hold()
    local load = crowd_of(FILL)
    settle(load, FILL)
    local handler = ask("/order/1")
    local early = sse.connect(s.port, "/plan/early", { wait = false })
    assert(early:read_head(4))
    local stream = sse.connect(s.port, "/plan/mine", { wait = false })
    s.signal("TERM")
    assert.equal("drain", live.data(assert(early:wait_for("bye", 8))).reason)
    stream:read_head(8)
    assert.equal("drain", live.data(assert(stream:wait_for("bye", 8))).reason)
    assert.equal(503, handler:response(8).status)
    release()
    assert.equal(0, s.process:wait(20))
    handler:close()
    early:close()
    stream:close()
  end)
end)
