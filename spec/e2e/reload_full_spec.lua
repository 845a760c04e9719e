--- The large case of reloading, for SLUICE_SPEC_FULL=1 (some minutes): 10,000 streams on 50
--- channels with 200 publishes a second, 100 handlers a second that sleep 0 to 2 s, and 100
--- reloads of which every tenth is broken. Readers are the load generator of the benchmark.
local cjson = require("cjson")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local process = require("spec.support.process")
local reloads = require("spec.support.reloads")
local server = require("spec.support.server")
local socket = require("socket")

local STREAMS, CHANNELS, PUBLISHES, HANDLERS, RELOADS = 10000, 50, 200, 100, 100

local OPEN_MAX = 700 -- handlers at once: select takes 1,024 descriptors

local function number(name, default) return math.tointeger(tonumber(os.getenv(name) or default)) end

local APP = [[
app:channel("f/:n", { history = 1000 })
app:stream("/f/:i", function(req) return "f/" .. tonumber(req.params.i) % CHANNELS end)
local flow = app:state("flow", { on = false, due = 0, n = {}, total = 0 })
app:service("flow", function()
  while true do
    sluice.sleep(flow().on and math.max(0, flow().due - sluice.now()) or 0.05)
    while flow().on and flow().due <= sluice.now() do
      local channel = flow().total % CHANNELS
      local n = (flow().n[channel + 1] or 0) + 1
      local id = app:publish("f/" .. channel, "e", ('{"n":%d,"t":%d}'):format(n, sluice.now() * 1e6 // 1))
      if not id then break end -- busy: the same one again
      flow().n[channel + 1], flow().total = n, flow().total + 1
      flow().due = flow().due + 1 / PUBLISHES
    end
    sluice.checkpoint()
  end
end)
app:post("/flow/:on", function(req)
  flow().on, flow().due = req.params.on == "1", sluice.now()
  return { total = flow().total }
end)
]]

local function files(version, broken)
  local out = reloads.files(version, broken)
  local more = APP:gsub("CHANNELS", CHANNELS):gsub("PUBLISHES", PUBLISHES)
  out["app.lua"] = out["app.lua"]:gsub("\nreturn app\n$", function() return "\n" .. more .. "\nreturn app\n" end)
  return out
end

-- A handler's request on a connection of its own, without waiting.
local function open_request(s, ms)
  local sock = socket.tcp4()
  sock:settimeout(10)
  assert(sock:connect("127.0.0.1", s.port))
  assert(sock:send(("GET /slow/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"):format(ms)))
  sock:settimeout(0)
  return { sock = sock, ms = ms, text = "" }
end

-- Requests that begin so often, read as they are answered; wrong answers are counted.
local function handlers(s)
  local self = { open = {}, n = 0, due = socket.gettime(), good = 0, bad = {} }
  local function finish(row)
    row.sock:close()
    local ok, body = pcall(cjson.decode, row.text:match("\r\n\r\n(.*)$") or "")
    local good = row.text:find("^HTTP/1.1 200 ") and ok and body.ms == row.ms and body.before == body.after
    if good then self.good = self.good + 1 else self.bad[#self.bad + 1] = row.text end
  end
  function self.open_one(ms)
    local row = open_request(s, ms)
    self.open[row.sock], self.n = row, self.n + 1
  end
  function self.finish()
    while next(self.open) do self.step(false) end
    self.due = socket.gettime()
  end
  function self.step(go_on)
    while go_on and self.due <= socket.gettime() and self.n < OPEN_MAX do
      self.due = self.due + 1 / HANDLERS
      self.open_one(math.random(0, 2000))
    end
    local list = {}
    for sock in pairs(self.open) do list[#list + 1] = sock end
    for _, sock in ipairs(#list > 0 and socket.select(list, nil, 0.005) or {}) do
      local data, err, partial = sock:receive(65536)
      local row = self.open[sock]
      row.text = row.text .. (data or partial or "")
      if err == "closed" then
        self.open[sock], self.n = nil, self.n - 1
        finish(row)
      end
    end
    if #list == 0 then reloads.idle() end
  end
  return self
end

local function start_server()
  local given = files(1)
  local options = { app = given["app.lua"], files = { ["rules.lua"] = given["rules.lua"] },
    args = { "--admin-key", reloads.KEY, "--log-level", "warn" }, seconds = 20 }
  for name, text in pairs(reloads.FILES) do options.files[name] = text end
  options.args[4] = "info"
  return server.start(options)
end

-- One reload, while the handlers go on: the outcome.
local function reload(s, work, i, broken)
  reloads.write(s.folder, files(i + 1, broken))
  local c, outcome = reloads.ask(s.port), nil
  local left = deadline.after(30)
  while not outcome and left() > 0 do
    work.step(true)
    local ready = socket.select({ c.wire.sock }, nil, 0)
    if #ready > 0 then outcome = reloads.outcome(c) end
  end
  return assert(outcome, "the reload was not answered")
end

-- What the readers counted, when so many events have come to them all together.
local function count(load, events)
  local sum, left = {}, deadline.after(30)
  repeat
    local report = load:ask("report", 20)
    for _, name in ipairs { "events", "closed", "lost", "repeated", "disordered", "resets" } do
      sum[name] = (sum[name] or 0) + report[name]
    end
    sum.open = report.open
    reloads.idle()
  until sum.events >= events or left() == 0
  return sum
end

local function post(s, path) return cjson.decode(http.post(s.port, path, "").body) end

describe("a reload at full size", function()
  local program

  teardown(function()
    if program then program.stop_all() end
    server.stop_all()
  end)

  it("closes, loses, doubles and disorders nothing", function()
    if not os.getenv("SLUICE_SPEC_FULL") then return pending("SLUICE_SPEC_FULL is not set") end
    program = require("spec.bench.program")
    assert.equal(0, (process.run("make -s -C spec/bench")))
    local streams, rounds = number("SLUICE_SPEC_STREAMS", STREAMS), number("SLUICE_SPEC_RELOADS", RELOADS)
    local s = start_server()
    local folder = process.temp_dir()
    local load = program.start({ name = "load", words = { "build/bench/load", "--port", s.port, "--path", "/f/{i}",
      "--streams", streams, "--parse", 100, "--processes", 2 } }, folder)
    assert.is_true(load:ask("ready 120", 130).complete)
    post(s, "/flow/1")
    local work, began, swaps, broken_n, times, before = handlers(s), socket.gettime(), 0, 0, {}, nil
    for i = 1, rounds do
      local broken = i % 10 == 0 and reloads.BROKEN[(i // 10 - 1) % #reloads.BROKEN + 1] or nil
      local outcome = reload(s, work, i, broken)
      assert.equal(not broken, outcome.ok, outcome.message)
      if broken then assert.matches(broken[2], outcome.message) end
      broken_n, swaps = broken_n + (broken and 1 or 0), swaps + (broken and 0 or 1)
      times[#times + 1] = outcome.ok and outcome.seconds * 1000 or nil
      if i == 5 then
        -- tables keep the size that the most handlers at once have given them
        while work.n < OPEN_MAX do work.open_one(500) end
        work.finish()
        before = cjson.decode(http.get(s.port, "/stats").body)
      end
      local rest = began + i * 0.6 -- at least a minute in all
      while socket.gettime() < rest do work.step(true) end
    end
    local seconds = socket.gettime() - began
    work.finish()
    local total = post(s, "/flow/0").total
    local report = count(load, total * streams // CHANNELS)
    local after = deadline.eventually(function()
      local told = cjson.decode(http.get(s.port, "/stats").body)
      return told.stats.generations_alive == 1 and told
    end, 20, "one generation is alive")
    table.sort(times)
    print(("\n    %d streams, %.0f s, %d publishes, %d handlers, %d swaps and %d failures"):format(streams, seconds,
      total, work.good, swaps, broken_n))
    print(("    load and swap: median %.1f ms, slowest %.1f ms; heap %+d bytes"):format(times[#times // 2 + 1],
      times[#times], after.heap - before.heap))
    local status = reloads.status(s.port)
    assert.same({}, work.bad)
    assert.same({ swaps, swaps + 1 }, { status.reloads_total.ok.swap, status.generation })
    assert.equal(broken_n, select(2, s.log():gsub("reload failed", "")))
    assert.not_matches("still in memory", s.log())
    assert.equal(total * streams // CHANNELS, report.events)
    assert.same({ 0, 0, 0, 0 }, { report.closed, report.lost, report.repeated, report.disordered })
    assert.same({ 0, streams }, { report.resets, report.open })
    assert.is_true(after.heap - before.heap < 64 * 1024)
    load:stop()
    process.remove_dir(folder)
  end)
end)
