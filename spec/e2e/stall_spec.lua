--- What holds up the app and cannot be stopped, or is not to be: it is told while it lasts, by
--- name and place, with what it does and what will become of it; and once more when it is over.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local REPORTS = os.getenv("SLUICE_SPEC_FULL") and 3 or 2 -- of one handler while it lasts; each takes twice as long

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local function busy(seconds) -- of processor time
  local stop = os.clock() + seconds
  while os.clock() < stop do end
end
local function endless_search() return ("a"):rep(60):find(("a?"):rep(60) .. ("a"):rep(60) .. "b") end
app:stream("/s", "x")
app:get("/ok", function() return "ok" end)
app:get("/pattern", endless_search)
app:get("/gc", function() setmetatable({}, { __gc = function() busy(1.6) end }) collectgarbage() end)
app:get("/popen", function() local p = io.popen("sleep 1.7") p:read("a") p:close() end)
app:get("/nap", function() os.execute("exec sleep 0.3") end)
app:get("/compute", function() busy(0.3) end)
app:get("/long", function() busy(3) end)
app:get("/error", function() setmetatable({}, { __gc = function() error("in gc") end }) collectgarbage() end)
app:get("/warn", function() warn("mind ", "the gap") warn("@off") end)
app:every(0.2, { name = "t" }, function() if io.open(app_folder .. "/hang") then endless_search() end end)
local held = setmetatable({}, { __gc = function() if io.open(app_folder .. "/hold") then while true do end end end })
app:on("start", function() return held end)
return app
]]

describe("a script that does not come back", function()
  local s

  local function start(...)
    local folder = process.temp_dir()
    s = server.start { app = ("local app_folder = %q\n"):format(folder) .. APP, args = { "--drain", "0.2", ... } }
    s.own = folder
    return s
  end
  after_each(function()
    server.stop_all()
    if s then process.remove_dir(s.own) end
    s = nil
  end)

  local function later(path)
    local c = http.connect(s.port)
    c:send(http.request_text("GET", path, {}, nil, "127.0.0.1"))
    return c
  end

  -- The lines about a handler: { told = those while it lasts, over = those behind }.
  local function lines_about(title)
    local out = { told = {}, over = {} }
    for line in s.log():gmatch("[^\n]+") do
      local entry = json.decode(line)
      if entry.message:find(title .. " has blocked", 1, true) == 1 then table.insert(out.told, entry) end
      if entry.message:find(title .. " blocked", 1, true) == 1 then table.insert(out.over, entry) end
    end
    return out
  end

  local function wait_lines(title, kind, n, seconds)
    return deadline.eventually(function()
      local list = lines_about(title)[kind]
      return #list >= n and list
    end, seconds or 10, title)
  end

  it("is told of while it lasts, ever more seldom, where nothing can stop it; streams continue", function()
    start("--handler-budget", "0.3", "--heartbeat", "1")
    local stream = sse.connect(s.port, "/s")
    assert(stream:wait_for("hello"))
    local from = deadline.now()
    local c = later("/pattern")
    local told = wait_lines("GET /pattern", "told", REPORTS, 30)
    assert.matches("^GET /pattern has blocked the app for [%d.]+ s by now %([^ ]*app.lua:11%); streams continue%. It "
      .. "[^;]+; nothing can stop it where it is %(a C function, a finalizer%): handlers wait until it ends by itself, "
      .. "or the process by SIGTERM$", told[REPORTS].message)
    for i = 2, #told do assert.is_true(told[i].seconds >= 1.9 * told[i - 1].seconds, told[i].seconds) end
    local quiet = deadline.since(from)
    assert.is_true(told[1].seconds >= 1.2 and quiet < 2.5 * 2 ^ (REPORTS - 1), quiet)
    stream.comments = {}
    assert(stream:next_comment(5), "no heartbeat")
    assert.equal(200, http.get(s.port, "/-/healthz").status)
    assert.same({}, lines_about("GET /pattern").over)
    c:close()
    stream:close()
    assert.equal(1, s.stop())
  end)

  it("is told of in a finalizer, too, and when that is over", function()
    start("--handler-budget", "0.3")
    local c = later("/gc")
    wait_lines("GET /gc", "told", 1)
    assert.equal(0, #lines_about("GET /gc").over)
    assert(c:response(20))
    c:close()
    local over = wait_lines("GET /gc", "over", 1)
    local told = lines_about("GET /gc").told
    assert.matches("nothing can stop it where it is", told[#told].message)
    assert.matches("^GET /gc blocked the app for [%d.]+ s %([^ ]*app.lua:12%); streams continued%. It %l+ed",
      over[1].message)
    assert(over[1].seconds >= 1.5 and over[1].cpu >= 1.5) -- os.clock counts the other threads, too
  end)

  it("that waits elsewhere is told so, during and after it", function()
    start()
    local c = later("/popen")
    local WAITS = "outside of Sluice: io.popen and sockets block"
    assert.matches("It waits " .. WAITS .. "; handlers wait until it is back$",
      wait_lines("GET /popen", "told", 1)[1].message)
    assert(c:response(20))
    c:close()
    assert.matches("It waited " .. WAITS .. "$", wait_lines("GET /popen", "over", 1)[1].message)
    assert.equal(204, http.get(s.port, "/nap").status)
    assert.matches("It waited " .. WAITS .. "$", wait_lines("GET /nap", "over", 1)[1].message)
  end)

  it("that computes is told so, with the line, and whether something stops it", function()
    start("--handler-budget", "0")
    local c = later("/long")
    local told = wait_lines("GET /long", "told", 1)[1]
    assert.matches("; nothing stops it, since %-%-handler%-budget is 0$", told.message)
    deadline.eventually(function() -- the first time, a busy machine may not have let it come to a line yet
      for _, line in ipairs(lines_about("GET /long").told) do
        if line.seen_at then return line.seen_at:find("app.lua:[567]$") end
      end
    end, 10, "a line")
    assert(c:response(20))
    c:close()
    server.stop_all()
    start("--handler-budget", "60")
    c = later("/long")
    assert.matches("; %-%-handler%-budget stops it, unless that is C code or a finalizer$",
      wait_lines("GET /long", "told", 1)[1].message)
    assert(c:response(20))
    c:close()
  end)

  it("is told of by the name of a timer, and of a load", function()
    start()
    process.write_file(s.own .. "/hang", "")
    wait_lines("timer t", "told", 1)
    s.kill()
    start("--admin-key", ("k"):rep(32))
    process.write_file(s.folder .. "/app.lua", 'string.find(("a"):rep(60), ("a?"):rep(60) .. ("a"):rep(60) .. "b")')
    s.signal("HUP")
    s.wait_log("load of [^ ]*app.lua has blocked the app for", 10)
    s.kill()
  end)

  it("cannot keep the process from ending, when a finalizer hangs behind everything", function()
    start()
    process.write_file(s.own .. "/hold", "")
    s.signal("TERM")
    assert.equal(1, s.process:wait(20))
    assert.matches("the end of the process takes [%d.]+ s: a finalizer %(__gc%) of the app runs, which is given 6 s",
      s.log())
    assert.matches("the app is stuck: the process ends without it", s.log())
  end)

  it("is one line of the log when a finalizer raises, or the app warns", function()
    start()
    assert.equal(204, http.get(s.port, "/error").status)
    assert.equal(204, http.get(s.port, "/warn").status)
    s.wait_log('"message":"Lua warning: error in __gc %([^ ]*app.lua:17: in gc%)"')
    s.wait_log('"message":"Lua warning: mind the gap"')
    assert.equal(2, select(2, s.log():gsub("Lua warning", "")))
  end)

  -- One processor for the server and four programs that never wait.
  it("that computes on a busy machine is not said to have waited outside", function()
    start()
    assert.equal(0, (process.run("taskset -a -p -c 0 " .. s.pid)))
    for _ = 1, 4 do
      process.spawn({ "taskset", "-c", "0", "sh", "-c", "while :; do :; done" }, { kind = "busy" })
    end
    finally(function() process.stop_all("busy") end)
    for _ = 1, 3 do assert.equal(204, http.get(s.port, "/compute").status) end
    local over = wait_lines("GET /compute", "over", 3, 20)
    for _, entry in ipairs(over) do
      assert.is_nil(entry.message:find("outside", 1, true), entry.message)
      assert.is_true(entry.cpu + entry.queued > 0.6 * entry.seconds, json.encode(entry))
    end
    assert.matches("It waited for a processor: the machine is busy$", over[3].message)
  end)
end)
