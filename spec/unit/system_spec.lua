--- sluice.system on a folder of /proc files of its own.
local process = require("spec.support.process")
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

-- In a describe: `use` is given a folder of its own before each test.
local function with_root(use)
  local root
  before_each(function()
    root = process.temp_dir()
    use(root)
  end)
  after_each(function() process.remove_dir(root) end)
end

local DEV = "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes packets\n"

describe("procfs", function()
  local procfs = require("sluice.base.procfs")
  local root

  with_root(function(path) root = path end)

  it("counts processor time without the guests' twice", function()
    write(root, "proc/stat", "cpu  100 20 30 400 50 6 7 8 99 9\ncpu0 1 2 3 4\nintr 5\n")
    assert.same({ busy = 171, total = 621, processors = 1 }, procfs.cpu(root))
    write(root, "proc/stat", "cpu  1 2 3 4 5 6 7 8 9 9\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n")
    assert.equal(2, procfs.cpu(root).processors)
  end)

  it("tells memory in bytes", function()
    write(root, "proc/meminfo", "MemTotal:       2097152 kB\nMemFree:  1 kB\nMemAvailable:   1048576 kB\n")
    assert.same({ used = 1024 << 20, total = 2048 << 20 }, procfs.memory(root))
    write(root, "proc/meminfo", "MemTotal:       2097152 kB\nMemFree:         524288 kB\n")
    assert.same({ used = 1536 << 20, total = 2048 << 20 }, procfs.memory(root))
  end)

  it("tells real interfaces only, and others where there is no real one", function()
    write(root, "proc/net/dev", DEV
      .. "    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
      .. "  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n"
      .. " wlan0:99999999999 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
      .. "veth1: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"
      .. "docker0: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"
      .. "bond0: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\neth0.7: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n")
    assert.same({ eth0 = { received = 1000, sent = 500 }, wlan0 = { received = 99999999999, sent = 1 } },
      procfs.interfaces(root))
    write(root, "proc/net/dev", DEV .. "    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
      .. "  tap0: 8 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n")
    assert.same({ tap0 = { received = 8, sent = 9 } }, procfs.interfaces(root))
  end)

  it("reads load and uptime", function()
    write(root, "proc/loadavg", "1.12 0.86 0.53 3/110 764\n")
    write(root, "proc/uptime", "350.25 700.00\n")
    assert.equal(1.12, procfs.load(root))
    assert.equal(350.25, procfs.uptime(root))
  end)

  it("says nil for what is missing or damaged", function()
    for _, name in ipairs({ "cpu", "memory", "interfaces", "load", "uptime" }) do
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
    assert.is_table(procfs.interfaces(""))
    assert.is_nil(procfs.distant("", "/proc"))
  end)

  it("knows what may hang by the table of mounts, and does not touch it", function()
    write(root, "proc/self/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      .. "22 21 0:40 / /srv rw,relatime shared:1 - nfs4 host:/x rw\n23 22 8:2 / /srv/local rw - ext4 /dev/sdb rw\n"
      .. "24 21 0:41 / /my\\040disk rw - fuse.sshfs host: rw\n25 21 8:3 / /usb rw - fuseblk /dev/sdc rw\n")
    local kinds = { ["/"] = false, ["/srv"] = "nfs4", ["/srv/a/b"] = "nfs4", ["/srvx"] = false, ["/srv/local"] = false,
      ["/my disk/a"] = "fuse.sshfs", ["/usb"] = false }
    for path, kind in pairs(kinds) do assert.equal(kind or nil, procfs.distant(root, path), path) end
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
    assert.is_true(procfs.is_listening(root, 5432, true))
    write(root, "proc/net/tcp", head .. "   0: 0500000A:1538 00000000:0000 0A 0:0\n")
    assert.is_true(procfs.is_listening(root, 5432))
    assert.is_false(procfs.is_listening(root, 5432, true)) -- 10.0.0.5 is not reached by 127.0.0.1
    assert.is_false(procfs.is_listening(root, 80)) -- below the first connection there is no listener
  end)
end)

describe("cgroup", function()
  local cgroup = require("sluice.base.cgroup")
  local root
  local GB = 1 << 30

  with_root(function(path) root = path end)

  it("finds the lowest limit of memory, of our group and those above it", function()
    write(root, "proc/self/cgroup", "0::/system.slice/sluice.service\n")
    local own, above = "sys/fs/cgroup/system.slice/sluice.service/", "sys/fs/cgroup/system.slice/"
    write(root, own .. "memory.max", "max\n")
    assert.is_nil(cgroup.memory(root, 8 * GB))
    write(root, above .. "memory.max", tostring(2 * GB))
    write(root, above .. "memory.current", tostring(GB))
    write(root, above .. "memory.stat", "anon 5\ninactive_file 1000\n")
    assert.same({ GB - 1000, 2 * GB }, { cgroup.memory(root, 8 * GB) })
    write(root, own .. "memory.max", tostring(GB))
    write(root, own .. "memory.current", "5000")
    assert.same({ 5000, GB }, { cgroup.memory(root, 8 * GB) })
    assert.is_nil(cgroup.memory(root, GB)) -- no less than the machine has
  end)

  it("finds it in a container, where only the outermost folder is there, and in version 1", function()
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", tostring(GB))
    write(root, "sys/fs/cgroup/memory.current", "77")
    assert.same({ 77, GB }, { cgroup.memory(root, 8 * GB) })
    process.remove_dir(root .. "/sys")
    write(root, "proc/self/cgroup", "9:name=systemd:/\n4:memory,x:/docker/abc\n0::/\n")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", tostring(GB))
    write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "500")
    write(root, "sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_inactive_file 100\n")
    assert.same({ 400, GB }, { cgroup.memory(root, 8 * GB) })
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    assert.is_nil(cgroup.memory(root, 8 * GB))
  end)

  it("finds the processor time that may be used", function()
    write(root, "proc/self/cgroup", "0::/a\n")
    write(root, "sys/fs/cgroup/a/cpu.max", "max 100000\n")
    assert.is_nil(cgroup.cpu(root, 4))
    write(root, "sys/fs/cgroup/a/cpu.max", "50000 100000\n")
    write(root, "sys/fs/cgroup/a/cpu.stat", "usage_usec 123\nuser_usec 1\n")
    assert.same({ 123, 0.5 }, { cgroup.cpu(root, 4) })
    write(root, "sys/fs/cgroup/a/cpu.max", "800000 100000\n")
    assert.is_nil(cgroup.cpu(root, 4))
    for _, text in ipairs { "", "0 0", "garbage", "-1 5" } do
      write(root, "sys/fs/cgroup/a/cpu.max", text)
      assert.is_nil(cgroup.cpu(root, 4))
    end
  end)

  it("does not leave its folder by a path with dots", function()
    write(root, "proc/self/cgroup", "0::/../../x\n")
    write(root, "x/memory.max", "5")
    assert.is_nil(cgroup.memory(root, 8 * GB))
  end)
end)

describe("a unit", function()
  local services = require("sluice.system.services")
  local root
  local SLICE = "sys/fs/cgroup/system.slice/"

  with_root(function(path) root = path end)

  local function look(name) return services.look(root, services.read({ name })[1]) end
  local function install(name) write(root, "etc/systemd/system/" .. name, "[Unit]\n") end

  it("is known by its control group", function()
    write(root, SLICE .. "cgroup.procs", "")
    write(root, SLICE .. "nginx.service/cgroup.events", "populated 1\nfrozen 0\n")
    write(root, SLICE .. "old.service/cgroup.events", "populated 0\nfrozen 0\n")
    write(root, SLICE .. "system-my\\x2ddb.slice/my-db@1.service/cgroup.events", "populated 1\n")
    install("old.service")
    install("there.service")
    for _, name in ipairs { "nginx.service", "nginx", "my-db@1.service" } do
      assert.equal("running", (look(name)), name)
    end
    assert.same({ "stopped" }, { look("old") })
    assert.same({ "stopped" }, { look("there") })
    assert.same({ "stopped", "no unit of this name is installed" }, { look("ngnix.service") })
  end)

  it("is known under the first version of control groups", function()
    local slice = "sys/fs/cgroup/systemd/system.slice/"
    write(root, slice .. "cgroup.procs", "")
    write(root, slice .. "nginx.service/cgroup.procs", "12\n13\n")
    write(root, slice .. "old.service/cgroup.procs", "")
    assert.equal("running", (look("nginx.service")))
    assert.equal("stopped", (look("old.service")))
  end)

  it("is known by what systemd keeps of it, in whatever slice it is", function()
    local units = "run/systemd/units/"
    write(root, units .. "x", "")
    lfs.link("0123", root .. "/" .. units .. "invocation:mine.service", true)
    lfs.link("0123", root .. "/" .. units .. "invocation:again.service", true)
    write(root, SLICE .. "again.service/cgroup.events", "populated 0\n")
    lfs.mkdir(root .. "/etc")
    install("getty@.service")
    assert.same({ "running" }, { look("mine") })
    assert.same({ "stopped", "active, without a process" }, { look("again") })
    assert.same({ "stopped" }, { look("getty@tty1.service") })
    assert.equal("no unit of this name is installed", select(2, look("other@tty1.service")))
  end)

  it("is a program with a pid file where there is no systemd, if the process is that program", function()
    write(root, "run/nginx.pid", "77\n")
    write(root, "proc/77/comm", "nginx\n")
    write(root, "run/postgres/postgres.pid", " 78")
    write(root, "proc/78/comm", "another\n")
    write(root, "run/gone.pid", "79")
    write(root, "run/a-name-longer-than-15.pid", "80")
    write(root, "proc/80/comm", "a-name-longer-t\n")
    assert.same({ "running" }, { look("nginx.service") })
    assert.same({ "stopped", "/run/postgres/postgres.pid names no process of this program" }, { look("postgres") })
    assert.equal("stopped", (look("gone")))
    assert.equal("running", (look("a-name-longer-than-15")))
    assert.same({ "unknown", "no systemd to be seen from here, and no /run/redis.pid" }, { look("redis") })
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

  with_root(function(path)
    root = path
    write(root, "proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: 1572864 kB\n")
    write(root, "proc/loadavg", "0.52 0.1 0.1 1/1 1\n")
    write(root, "proc/uptime", "100.0 100.0\n")
    machine(100, 2000, 50000)
    stats = { connections = 3, active_users = 2, requests = 10, published = 100, loop_lag_ms = 0.216 }
    rehearsal.stub("statfs", function() return nil, "No such file or directory", "ENOENT" end)
  end)

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
    assert.equal("integer", math.type(s.network.received))
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
    rehearsal.stub("statfs", function(path)
      if path == "/gone" then return nil, "No such file or directory", "ENOENT" end
      if path == "/" then return 1000, 540, 360 end -- 100 are kept for root
      return 1000, 900, 100
    end)
    write(root, "proc/self/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:40 / /nfs rw - nfs4 host:/x rw\n")
    local system = start(", disks = { '/', '/data', '/gone', '/nfs/a' }")
    local s = sample(system)
    assert.equal("number", type(s.cpu))
    assert.equal(512, s.memory)
    assert.equal(2048, s.memoryTotal)
    assert.equal(40.0, s.disk) -- as df says
    assert.same({ { path = "/", total = 1000, used = 360, free = 540, percent = 40.0 },
      { path = "/data", total = 1000, used = 100, free = 900, percent = 10.0 },
      { path = "/gone", reason = "No such file or directory" },
      { path = "/nfs/a", reason = "not asked: a file system of kind nfs4 may hang" } }, s.disks)
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
    process.remove_dir(root .. "/proc")
    stats = {}
    local s = sample(start())
    assert.is_nil(s.memory)
    assert.is_nil(s.disk)
    assert.is_nil(s.load)
    assert.is_nil(s.cpu)
    assert.is_nil(s.network)
    assert.equal(0, s.connections)
    assert.is_string(require("sluice.json").encode(s))
  end)

  it("names its services and asks again after its interval", function()
    write(root, "run/nginx.pid", "77\n")
    write(root, "proc/77/comm", "nginx\n")
    write(root, "proc/net/tcp", "head\n   0: 0100007F:1538 00000000:0000 0A 0:0\n")
    local system = start(", interval = 2, services = { 'nginx.service', 'other',"
      .. "{ name = 'database', tcp = '127.0.0.1:5432' }, { tcp = 'localhost:9' } }")
    local none = "no systemd to be seen from here, and no /run/other.pid"
    local expected = { { name = "nginx.service", status = "running" },
      { name = "other", status = "unknown", reason = none }, { name = "database", status = "running" },
      { name = "localhost:9", status = "stopped", reason = "nothing listens on port 9" } }
    assert.same(expected, sample(system).services)
    process.remove_dir(root .. "/proc/77")
    t:advance(1)
    assert.same(expected, sample(system).services)
    t:advance(2)
    expected[1] = { name = "nginx.service", status = "stopped",
      reason = "/run/nginx.pid names no process of this program" }
    assert.same(expected, sample(system).services)
  end)

  it("makes no leap when an interface comes, goes, is full or begins anew", function()
    local function dev(list)
      local text = DEV
      for name, bytes in pairs(list) do
        text = text .. ("  %s: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n"):format(name, bytes, bytes)
      end
      write(root, "proc/net/dev", text)
    end
    local function received(system, list)
      dev(list)
      t:advance(1)
      return sample(system).network.received
    end
    dev { eth0 = 1000, usb0 = 5000000 }
    local system = start()
    assert.equal(100, received(system, { eth0 = 1100 })) -- usb0 is gone
    assert.equal(100, received(system, { eth0 = 1200, usb0 = 9000000000 })) -- another is there
    assert.equal(150, received(system, { eth0 = 1300, usb0 = 9000000050 }))
    assert.equal(70, received(system, { eth0 = 20, usb0 = 9000000100 })) -- began at zero again
  end)

  it("measures against what a container may use", function()
    write(root, "proc/stat", "cpu  1 0 0 9 0 0 0 0 0 0\ncpu0 1\ncpu1 1\n")
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/cpu.max", "50000 100000\n")
    write(root, "sys/fs/cgroup/cpu.stat", "usage_usec 1000000\n")
    write(root, "sys/fs/cgroup/memory.max", tostring(256 << 20))
    write(root, "sys/fs/cgroup/memory.current", tostring(64 << 20))
    local system = start()
    t:advance(2)
    write(root, "sys/fs/cgroup/cpu.stat", "usage_usec 1500000\n")
    local s = sample(system)
    assert.same({ 50.0, 64, 256 }, { s.cpu, s.memory, s.memoryTotal })
    write(root, "sys/fs/cgroup/cpu.max", "max 100000\n") -- the limit is lifted
    t:advance(2)
    assert.equal(0, sample(system).cpu)
  end)

  it("is not misled by the time that a machine slept: its clock stood still, its uptime went on", function()
    local system = start()
    t:advance(2)
    machine(102, 2100, 60000)
    write(root, "proc/uptime", "90000.0 1.0\n")
    local s = sample(system)
    assert.equal(25.0, s.cpu)
    assert.equal(5000, s.network.received)
  end)

  it("tells what the store did since the last sample", function()
    stats.store = { commits = 10, commit_seconds = 0.002, failed = 1, queued = 3 }
    local system = start()
    t:advance(2)
    stats.store = { commits = 20, commit_seconds = 0.003, failed = 1, queued = 0, trouble = "the disk is full" }
    assert.same({ commitsPerSecond = 5.0, commitMs = 4.0, queued = 0, failed = 1, trouble = "the disk is full" },
      sample(system).store)
    stats.store = nil
    assert.is_nil(sample(system).store)
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
    refused({ services = { { tcp = "a b:80" } } }, "got 'a b:80'")
    refused({ services = { { tcp = "u@host:80" } } }, "got 'u@host:80'")
    refused({ services = { "a/../b" } }, "services[1]: 'a/../b' is no name of a unit")
    refused({ services = { "backup.timer" } }, "'backup.timer' is a timer, and only a service tells")
    refused({ disks = { "data" } }, "disks[1]: 'data' is no absolute path")
    refused({ disks = { "/a/.." } }, "disks[1]: '/a/..' is no absolute path")
    refused({ services = { { tpc = "127.0.0.1:1" } } }, "services[1]: unknown option 'tpc', did you mean 'tcp'?")
  end)
end)
