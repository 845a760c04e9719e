--- Under a service manager: the sockets that it hands over, what it is told, and its watchdog.
--- (Restarts with publishers and browsers: spec/kills/restarts_spec.lua.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local manager = require("spec.support.manager")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")

local APP = [[
local sluice, core = require("sluice"), require("sluice.core")
local app = sluice.app()
app:channel("log", { history = 100 })
app:stream("/log", "log")
app:get("/pid", function() return tostring(core.pid()) end)
app:get("/blocks", function() os.execute("exec sleep 1") return "done" end)
app:get("/hangs", function() while true do end end)
app:on("stop", function() app:publish("log", "last", {}) end)
return app
]]

describe("a service manager", function()
  after_each(function()
    manager.stop_all()
    server.stop_all()
  end)

  it("is told when the server is ready, reloads and stops, and what it does", function()
    local s = manager.start { app = APP, args = { "--drain", "0.5" } }
    assert.equal("READY=1", s.told()[1])
    assert.equal(200, http.get(s.port, "/pid").status)
    s.wait_told("^WATCHDOG=1|STATUS=0 streams, generation 1$", 1)
    local n, before = #s.told(), s.told_at()[1].at
    s.reload()
    local us = tonumber((s.wait_told("^RELOADING=1|MONOTONIC_USEC=(%d+)|STATUS=reloading$", n)))
    assert.is_true(us / 1e6 >= before and us / 1e6 <= s.told_at()[n + 1].at)
    s.wait_told("^READY=1|STATUS=0 streams, generation 2$", n)
    n = #s.told()
    process.write_file(s.folder .. "/app.lua", "broken = = 1\n")
    s.reload()
    s.wait_told("^RELOADING=1", n)
    s.wait_told("^READY=1|STATUS=0 streams, generation 2; the last reload failed: .*app.lua:1: [^|]+$", n)
    local c = sse.connect(s.port, "/log")
    assert.equal("hello", c:next_event(5).event)
    n = #s.told()
    assert.equal(0, s.stop())
    local told = s.told()
    assert.equal("STOPPING=1|EXTEND_TIMEOUT_USEC=15500000|STATUS=stopping: 1 stream, generation 2",
      told[n + 1]:match("^[^;]+"))
    assert.equal(n + 1, #told)
    assert.same({ "0" }, s.ends())
  end)

  it("sees a script that hangs, and none that takes its time", function()
    local s = manager.start { app = APP, watchdog = 3 * deadline.scale, args = { "--handler-budget", "0" } }
    assert.truthy(s.log():find("the watchdog ends the server", 1, true)) -- what no budget stops, it does
    local first = s.pid()
    assert.equal("done", http.get(s.port, "/blocks", nil, 20).body)
    assert.same({}, s.ends())
    local c = assert(http.connect(s.port))
    c:send(http.request_text("GET", "/hangs", {}, nil, c.host))
    deadline.eventually(function() return s.lives() == 2 end, 20, "another server")
    assert.same({ "-6" }, s.ends())
    assert.truthy(s.log():find(" watchdog\n", 1, true))
    local pid = tonumber(http.get(s.port, "/pid").body)
    assert.is_true(pid == s.pid() and pid ~= first)
    c:close()
  end)

  it("hands over sockets of each kind, and every thread takes from them", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    local s = manager.start { app = APP, folder = folder, io_threads = 2, args = { "--drain", "0.5" },
      places = { "tcp:0", "unix:" .. folder .. "/app.sock" } }
    assert.truthy(s.log():gsub("\\/", "/"):find(("serving [^\n]*/app.lua on http://127.0.0.1:%d, unix:%s/app.sock "
      .. "%%(handed over%%)"):format(s.port, folder:gsub("%p", "%%%0"))), s.log())
    local streams = {}
    for i = 1, 40 do
      streams[i] = sse.connect(s.port, "/log")
      assert.equal("hello", streams[i]:next_event(5).event)
    end
    local code, output = process.run { "curl", "-sS", "--unix-socket", folder .. "/app.sock", "http://localhost/pid" }
    assert.same({ 0, tostring(s.pid()) }, { code, output })
    assert.equal(0, s.stop())
    for _, c in ipairs(streams) do assert.truthy(c:wait_for("bye")) end
  end)

  it("holds what connects while the server stops, for the next one", function()
    local s = manager.start { app = APP, args = { "--drain", "1" } }
    local c, first = sse.connect(s.port, "/log"), s.pid()
    s.restart()
    assert.truthy(c:wait_for("last", 10)) -- the stop hooks have run: it drains
    deadline.eventually(function() return s.wait_told("^STOPPING=1") end, 5)
    assert.truthy(c:wait_for("bye", 10)) -- its time of the drain; the process has not ended for long
    local later = {}
    for i = 1, 5 do
      later[i] = assert(http.connect(s.port))
      later[i]:send(http.request_text("GET", "/pid", {}, nil, later[i].host))
    end
    for _, one in ipairs(later) do
      local answer = assert(one:response(20))
      assert.equal(200, answer.status)
      assert.are_not.equal(first, tonumber(answer.body))
      one:close()
    end
    deadline.eventually(function() return s.lives() == 2 end, 5, "the second one is ready")
    assert.equal(0, s.stop())
  end)

  it("is one that meant this process: what was meant for another is left alone", function()
    local held = assert(socket.bind("127.0.0.1", 0))
    local s = server.start { app = APP, env = { LISTEN_FDS = "1", LISTEN_PID = "1", WATCHDOG_USEC = "1000000",
      NOTIFY_SOCKET = "not a path" } }
    assert.equal(200, http.get(s.port, "/pid").status)
    assert.equal(0, s.stop())
    held:close()
  end)

  it("that is away is logged once, and the server goes on", function()
    local s = server.start { app = APP, env = { NOTIFY_SOCKET = "/nowhere/notify", WATCHDOG_USEC = "100000" } }
    s.wait_log("the service manager at [^\n]*nowhere[^\n]*notify is not reached: [nN]o such file")
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.equal(0, s.stop())
    assert.equal(1, select(2, s.log():gsub("is not reached", "")))
  end)

  it("hands over nothing that is no socket which listens", function()
    for _, case in ipairs {
      { "900", 1, "%-%-listen%-fd: descriptor 900 is no socket that listens for streams %([bB]ad file descriptor%): "
        .. "start Sluice by what opens it, as the socket unit does %(EBADF%)" },
      { "3,4,5,6,7,8,9,10,11", 1, "%-%-listen%-fd: 9 sockets are handed over, 8 may be %(EFULL%)" },
      { "2", 2, "%-%-listen%-fd: auto, or numbers of descriptors from 3, separated by commas is expected, not '2'" },
    } do
      local code, log = server.run_to_end { app = APP, args = { "--listen-fd", case[1] } }
      assert.equal(case[2], code, log)
      assert.matches(case[3], log)
    end
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    process.write_file(folder .. "/app.lua", APP)
    local code, output = process.run("build/bin/sluice run " .. folder .. "/app.lua --listen-fd 3 3</dev/null")
    assert.equal(1, code)
    assert.matches("descriptor 3 is no socket that listens for streams %([^)]*socket%)", output)
  end)
end)
