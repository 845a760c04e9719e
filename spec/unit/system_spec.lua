--- sluice.system on a folder of /proc files of its own.
local rehearsal = require("spec.support.rehearsal")
local lfs = require("lfs")

after_each(rehearsal.stop)

local function write(root, path, text)
  local folder = root
  for name in path:gmatch("([^/]+)/") do
    folder = folder .. "/" .. name
    lfs.mkdir(folder)
  end
  local file = assert(io.open(root .. "/" .. path, "wb"))
  file:write(text)
  file:close()
end

local function remove(path)
  if lfs.attributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then remove(path .. "/" .. name) end
    end
  end
  os.remove(path)
end

local DEV = "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes packets\n"

describe("procfs", function()
  local procfs = require("sluice.base.procfs")
  local root

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    lfs.mkdir(root)
  end)
  after_each(function() remove(root) end)

  it("counts processor time without the guests' twice", function()
    write(root, "proc/stat", "cpu  100 20 30 400 50 6 7 8 99 9\ncpu0 1 2 3 4\nintr 5\n")
    assert.same({ busy = 171, total = 621 }, procfs.cpu(root))
  end)

  it("tells memory in MB", function()
    write(root, "proc/meminfo", "MemTotal:       2097152 kB\nMemFree:  1 kB\nMemAvailable:   1048576 kB\n")
    assert.same({ used = 1024, total = 2048 }, procfs.memory(root))
    write(root, "proc/meminfo", "MemTotal:       2097152 kB\nMemFree:         524288 kB\n")
    assert.same({ used = 1536, total = 2048 }, procfs.memory(root))
  end)

  it("adds up real interfaces only", function()
    write(root, "proc/net/dev", DEV
      .. "    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
      .. "  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n"
      .. " wlan0:99999999999 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
      .. "veth1: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"
      .. "docker0: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n")
    assert.same({ received = 100000000999, sent = 501 }, procfs.network(root))
  end)

  it("reads load and uptime", function()
    write(root, "proc/loadavg", "1.12 0.86 0.53 3/110 764\n")
    write(root, "proc/uptime", "350.25 700.00\n")
    assert.equal(1.12, procfs.load(root))
    assert.equal(350.25, procfs.uptime(root))
  end)

  it("says nil for what is missing or damaged", function()
    for _, name in ipairs({ "cpu", "memory", "network", "load", "uptime" }) do
      assert.is_nil(procfs[name](root))
    end
    for _, path in ipairs({ "stat", "meminfo", "loadavg", "uptime" }) do
      write(root, "proc/" .. path, "\0garbage\n")
    end
    for _, name in ipairs({ "cpu", "memory", "load", "uptime" }) do
      assert.is_nil(procfs[name](root))
    end
  end)

  it("reads this machine", function()
    assert.is_true(procfs.cpu("").total > procfs.cpu("").busy)
    assert.is_true(procfs.memory("").total >= procfs.memory("").used)
    assert.is_number(procfs.load(""))
    assert.is_number(procfs.network("").received)
  end)

  describe("is_running", function()
    it("knows a unit by its control group", function()
      local slice = "sys/fs/cgroup/system.slice/"
      write(root, slice .. "cgroup.procs", "")
      write(root, slice .. "nginx.service/cgroup.events", "populated 1\nfrozen 0\n")
      write(root, slice .. "old.service/cgroup.events", "populated 0\nfrozen 0\n")
      assert.is_true(procfs.is_running(root, "nginx.service"))
      assert.is_true(procfs.is_running(root, "nginx"))
      assert.is_false(procfs.is_running(root, "old.service"))
      assert.is_false(procfs.is_running(root, "absent.service"))
    end)

    it("knows it under the first version of control groups", function()
      local slice = "sys/fs/cgroup/systemd/system.slice/"
      write(root, slice .. "cgroup.procs", "")
      write(root, slice .. "nginx.service/cgroup.procs", "12\n13\n")
      write(root, slice .. "old.service/cgroup.procs", "")
      assert.is_true(procfs.is_running(root, "nginx.service"))
      assert.is_false(procfs.is_running(root, "old.service"))
    end)

    it("knows a program by its pid file, if the process is that program", function()
      write(root, "run/nginx.pid", "77\n")
      write(root, "proc/77/comm", "nginx\n")
      write(root, "run/postgres/postgres.pid", " 78")
      write(root, "proc/78/comm", "another\n")
      write(root, "run/gone.pid", "79")
      write(root, "run/a-name-longer-than-15.pid", "80")
      write(root, "proc/80/comm", "a-name-longer-t\n")
      assert.is_true(procfs.is_running(root, "nginx.service"))
      assert.is_false(procfs.is_running(root, "postgres"))
      assert.is_false(procfs.is_running(root, "gone"))
      assert.is_true(procfs.is_running(root, "a-name-longer-than-15"))
    end)

    it("says nil when nothing tells", function()
      assert.is_nil(procfs.is_running(root, "nginx.service"))
    end)
  end)

  it("sees who listens, over IPv4 and IPv6", function()
    local head = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    assert.is_nil(procfs.is_listening(root, 5432))
    write(root, "proc/net/tcp", head .. "   0: 0100007F:1538 00000000:0000 0A 0:0\n"
      .. "   1: 0100007F:1401 0100007F:D4C2 01 0:0\n   2: 0100007F:0050 00000000:0000 0A 0:0\n")
    write(root, "proc/net/tcp6", head .. "   0: " .. ("0"):rep(32) .. ":1F90 " .. ("0"):rep(32) .. ":0000 0A\n")
    assert.is_true(procfs.is_listening(root, 5432))
    assert.is_true(procfs.is_listening(root, 8080))
    assert.is_false(procfs.is_listening(root, 5121))
    assert.is_false(procfs.is_listening(root, 80)) -- below the first connection there is no listener
  end)
end)

describe("system", function()
  local root, t, stats

  -- The server's counters from its start on.
  local function count(server)
    server.stats = function() return stats end
  end

  -- Counters that grow by one second's worth.
  local function machine(second, busy, bytes)
    write(root, "proc/stat", ("cpu  %d 0 0 %d 0 0 0 0 0 0\n"):format(busy, second * 200 // 1 - busy))
    write(root, "proc/net/dev", DEV .. ("  eth0: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n"):format(bytes, bytes // 2))
  end

  local function start(options)
    t = rehearsal.load(([[
      local app = require("sluice").app()
      local system = require("sluice.system").new(app, { root = %q%s })
      app:on("start", function() require("spec.support.rehearsal").system = system end)
      return app]]):format(root, options or ""), { path = root .. "/app.lua", prepare = count })
    return rehearsal.system
  end

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    lfs.mkdir(root)
    write(root, "proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: 1572864 kB\n")
    write(root, "proc/loadavg", "0.52 0.1 0.1 1/1 1\n")
    write(root, "proc/uptime", "100.0 100.0\n")
    machine(100, 2000, 50000)
    stats = { connections = 3, active_users = 2, requests = 10, published = 100, loop_lag_ms = 0.216 }
    rehearsal.stub("statfs", nil)
  end)
  after_each(function() remove(root) end)

  local function sample(system)
    return t:inside(function() return system:sample() end)
  end

  it("tells means since the last sample", function()
    local system = start()
    t:advance(2)
    machine(102, 2100, 60000)
    stats.requests, stats.published = 25, 600
    local s = sample(system)
    assert.equal(25.0, s.cpu)
    assert.same({ received = 5000, sent = 2500 }, s.network)
    assert.equal(7.5, s.requestsPerSecond)
    assert.equal(250.0, s.eventsPerSecond)
    t:advance(1)
    machine(103, 2300, 60100)
    s = sample(system)
    assert.equal(100.0, s.cpu)
    assert.same({ received = 100, sent = 50 }, s.network)
    assert.equal(0.0, s.eventsPerSecond)
  end)

  it("tells what is true at the moment", function()
    rehearsal.stub("statfs", function(path) return 1000, path == "/" and 590 or 900 end)
    local system = start(", disks = { '/', '/data' }")
    local s = sample(system)
    assert.equal("number", type(s.cpu))
    assert.equal(512, s.memory)
    assert.equal(2048, s.memoryTotal)
    assert.equal(41.0, s.disk)
    assert.equal(0.52, s.load)
    assert.equal(3, s.connections)
    assert.equal(2, s.activeUsers)
    assert.equal(0.22, s.loopLagMs)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", s.timestamp)
    assert.matches('"services":%[%]', require("sluice.json").encode(s))
  end)

  it("tells the mean since the machine started when there is nothing else", function()
    machine(100, 2000, 50000)
    local s = sample(start())
    assert.equal(10.0, s.cpu)
    assert.equal(500.0, s.network.received)
    assert.equal(0.0, s.requestsPerSecond)
  end)

  it("tells the mean since the server's start a moment after it", function()
    local system = start()
    t:advance(0.1)
    machine(100.1, 2010, 50500)
    assert.equal(50.0, sample(system).cpu)
  end)

  it("gives two readers at the same moment the same figures", function()
    local system = start()
    t:advance(2)
    machine(102, 2100, 60000)
    local a, b = sample(system), sample(system)
    assert.equal(25.0, a.cpu)
    assert.equal(a.cpu, b.cpu)
  end)

  it("does not reach back further than its interval when there was no sample", function()
    local system = start(", interval = 5")
    t:advance(4)
    machine(3600, 2000, 50000)
    t:advance(1) -- the mark
    t:advance(4)
    machine(3604, 2400, 54000)
    local s = sample(system)
    assert.equal(50.0, s.cpu)
    assert.equal(1000.0, s.network.received)
  end)

  it("never tells a negative rate", function()
    local system = start()
    t:advance(2)
    machine(1, 10, 0)
    stats.requests, stats.published = 0, 0
    local s = sample(system)
    assert.equal(0, s.cpu)
    assert.same({ received = 0, sent = 0 }, s.network)
    assert.equal(0, s.requestsPerSecond)
  end)

  it("leaves out what the machine does not tell", function()
    remove(root .. "/proc")
    stats = {}
    local s = sample(start())
    assert.is_nil(s.memory)
    assert.is_nil(s.disk)
    assert.is_nil(s.load)
    assert.equal(0, s.cpu)
    assert.equal(0, s.connections)
    assert.is_string(require("sluice.json").encode(s))
  end)

  it("names its services and asks again after its interval", function()
    write(root, "run/nginx.pid", "77\n")
    write(root, "proc/77/comm", "nginx\n")
    write(root, "proc/net/tcp", "head\n   0: 0100007F:1538 00000000:0000 0A 0:0\n")
    local system = start(", interval = 2, services = { 'nginx.service', 'other',"
      .. "{ name = 'database', tcp = '127.0.0.1:5432' }, { tcp = 'localhost:9' } }")
    local expected = { { name = "nginx.service", status = "running" }, { name = "other", status = "unknown" },
      { name = "database", status = "running" }, { name = "localhost:9", status = "stopped" } }
    assert.same(expected, sample(system).services)
    remove(root .. "/proc/77")
    t:advance(1)
    assert.same(expected, sample(system).services)
    t:advance(2)
    expected[1].status = "stopped"
    assert.same(expected, sample(system).services)
  end)

  it("refuses what it cannot do, by name", function()
    local function refused(options, pattern)
      local app = { state = function() end, on = function() end, every = function() end }
      local ok, message = pcall(function() require("sluice.system").new(app, options) end)
      assert.is_false(ok)
      assert.matches("system_spec.lua:%d+: ", message)
      assert.matches(pattern, message, 1, true)
    end
    refused({ service = {} }, "system.new: unknown option 'service', did you mean 'services'?")
    refused({ interval = 0 }, "system.new: interval is a number of seconds from 1 to 86400")
    refused({ disks = "/" }, "system.new: disks is a table, not a string")
    refused({ services = { { name = "a" } } }, "services[1] wants tcp = \"host:port\"")
    refused({ services = { { tcp = "a" } } }, "services[1]: tcp is \"host:port\", got 'a'")
    refused({ services = { { tcp = "127.0.0.1:99999" } } }, "got '127.0.0.1:99999'")
    refused({ services = { "a", { tcp = "db.example:5432" } } }, "services[2]: 'db.example' is another machine")
    refused({ services = { { tpc = "127.0.0.1:1" } } }, "services[1]: unknown option 'tpc', did you mean 'tcp'?")
  end)
end)
