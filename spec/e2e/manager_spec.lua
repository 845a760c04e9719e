--- Under a service manager: the sockets that it hands over, what it is told, and its watchdog.
--- (Restarts with publishers and browsers: spec/kills/restarts_spec.lua.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local manager = require("spec.support.manager")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")
local tls = require("spec.support.tls")
local wire = require("spec.support.wire")

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

  it("hands over the port for HTTPS by its name, over a restart too", function()
    local s = manager.start { app = APP, io_threads = 2, args = { "--drain", "0.5", table.unpack(tls.words()) },
      places = { "tls:0", "tcp:0" } }
    local ports = {}
    for port in s.log():gmatch("listening (%d+)\n") do ports[#ports + 1] = math.tointeger(tonumber(port)) end
    local secure, plain = ports[1], ports[2]
    wire.secure[secure] = true
    local log = s.log():gsub("\\/", "/")
    assert.truthy(log:find(("on http://127.0.0.1:%d (handed over)"):format(plain), 1, true), log)
    assert.truthy(log:find(("TLS on https://127.0.0.1:%d (handed over)"):format(secure), 1, true), log)
    local first = http.get(secure, "/pid").body
    assert.equal(first, http.get(plain, "/pid").body)
    s.restart()
    s.wait_told("^STOPPING=1")
    assert.are_not.equal(first, http.get(secure, "/pid", nil, 20).body) -- it was never refused
    deadline.eventually(function() return s.lives() == 2 end, 5, "the second one is ready")
    assert.equal(0, s.stop())
    wire.secure[secure] = nil
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

  it("that announces nonsense is told so", function()
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    process.write_file(folder .. "/app.lua", APP)
    local listens = "import socket, os\nfor i in 3, 4:\n"
      .. "  s = socket.create_server(('127.0.0.1', 0)); os.dup2(s.fileno(), 50 + i)\n"
      .. "for i in 3, 4: os.dup2(50 + i, i)\n"
      .. "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv('build/bin/sluice', ['sluice', 'run', '"
      .. folder .. "/app.lua'])"
    for words, why in pairs {
      ["LISTEN_FDS=x"] = "LISTEN_FDS is 'x': how many sockets are handed over is expected",
      ["LISTEN_FDS=-1"] = "LISTEN_FDS is '%-1': how many",
      ["LISTEN_FDS=99999999999999999999"] = "LISTEN_FDS is '9+': how many",
      ["LISTEN_FDS=1000000000"] = "1000000000 sockets are handed over, 8 may be",
      ["LISTEN_FDS=1 LISTEN_FDNAMES=tls"] = "a socket named tls is handed over, and there is no certificate",
      ["LISTEN_FDS=2 LISTEN_FDNAMES=tls:tls"] = "two sockets are handed over by the name tls: one may be",
    } do
      local code, output = process.run(("%s timeout 20 python3 -c %s"):format(words, process.quote(listens)))
      assert.equal(1, code, output)
      assert.matches(why, output)
    end
  end)
end)
