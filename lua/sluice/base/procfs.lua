--- Figures of the machine, read from /proc, /sys and /run. Every function takes the folder
--- that contains these three ("" is the real one), opens only small files of the kernel and never
--- waits. A figure that cannot be read is nil. Keeps nothing in memory.
local file = require("sluice.base.file")

local procfs = {}

-- Read at most this much of a file that lists connections: those that listen come first.
local LISTEN_LINES_MAX = 4096
-- slot: local address, remote address, state; then queues, timers, retransmits, user
local LISTEN_LINE, LISTEN_USER = "^%s*%d+: (%S+) %S+ (%x%x)(.*)", "^ %S+ %S+ %S+%s+(%d+)"
-- Interfaces that repeat what another one carries.
local VIRTUAL = { "^lo$", "^veth", "^docker", "^br%-", "^virbr", "^ifb", "^cni", "^cali",
  "^flannel", "^tap" }

-- name: eight numbers for what came in, bytes first, then those for what went out.
local NET_LINE = "([^%s:]+):%s*(%d+)" .. ("%s+%d+"):rep(7) .. "%s+(%d+)"

--- Processor time since the machine started.
-- @treturn {busy=number,total=number}|nil in ticks, all processors together
function procfs.cpu(root)
  local line = (file.read(root .. "/proc/stat") or ""):match("^cpu%s+([%d ]+)")
  if not line then return nil end
  local busy, total, column = 0, 0, 0
  for ticks in line:gmatch("%d+") do
    column = column + 1
    if column > 8 then break end -- guest time is part of user time
    total = total + tonumber(ticks)
    if column ~= 4 and column ~= 5 then busy = busy + tonumber(ticks) end
  end
  return { busy = busy, total = total }
end

--- Memory in MB: what is used and what there is.
-- @treturn {used=integer,total=integer}|nil
function procfs.memory(root)
  local text = file.read(root .. "/proc/meminfo") or ""
  local total = tonumber(text:match("MemTotal:%s+(%d+) kB"))
  local available = tonumber(text:match("MemAvailable:%s+(%d+) kB"))
    or tonumber(text:match("MemFree:%s+(%d+) kB"))
  if not total or not available then return nil end
  return { used = (total - available) // 1024, total = total // 1024 }
end

local function is_virtual(interface)
  for _, pattern in ipairs(VIRTUAL) do
    if interface:find(pattern) then return true end
  end
  return false
end

--- Bytes received and sent since the machine started, over its real interfaces.
-- @treturn {received=integer,sent=integer}|nil
function procfs.network(root)
  local text = file.read(root .. "/proc/net/dev")
  if not text then return nil end
  local sum = { received = 0, sent = 0 }
  for interface, received, sent in text:gmatch(NET_LINE) do
    if not is_virtual(interface) then
      sum.received = sum.received + tonumber(received)
      sum.sent = sum.sent + tonumber(sent)
    end
  end
  return sum
end

--- The load average of the last minute.
function procfs.load(root)
  return tonumber((file.read(root .. "/proc/loadavg") or ""):match("^[%d.]+"))
end

--- Seconds since the machine started.
function procfs.uptime(root)
  return tonumber((file.read(root .. "/proc/uptime") or ""):match("^[%d.]+"))
end

-- The kernel keeps 15 bytes of a process's name.
local function is_process(root, pid, name)
  local comm = file.read(("%s/proc/%s/comm"):format(root, pid))
  return comm ~= nil and comm:gsub("\n$", "") == name:sub(1, 15)
end

--- Is a unit of systemd, or a program with a pid file, running?
-- @tparam string root
-- @tparam string name "nginx.service" or "nginx"
-- @treturn boolean|nil nil when that cannot be known without searching all processes
function procfs.is_running(root, name)
  local unit = name:find("%.%a+$") and name or name .. ".service"
  local program = name:gsub("%.%a+$", "")
  for _, tree in ipairs({ "", "/systemd", "/unified" }) do
    local slice = ("%s/sys/fs/cgroup%s/system.slice"):format(root, tree)
    local events = file.read(("%s/%s/cgroup.events"):format(slice, unit))
    if events then return events:find("populated 1", 1, true) ~= nil end
    local processes = file.read(("%s/%s/cgroup.procs"):format(slice, unit))
    if processes then return processes:find("%d") ~= nil end
    if file.read(slice .. "/cgroup.procs") then return false end
  end
  for _, pattern in ipairs({ "%s/run/%s.pid", "%s/run/%s/%s.pid" }) do
    local pid = (file.read(pattern:format(root, program, program)) or ""):match("^%s*(%d+)")
    if pid then return is_process(root, pid, program) end
  end
  return nil
end

--- Does a process of this machine listen on a TCP port?
-- @treturn boolean|nil
-- @treturn integer|nil the user that it belongs to
function procfs.is_listening(root, port)
  local wanted, known = (":%04X"):format(port), false
  for _, name in ipairs({ "tcp", "tcp6" }) do
    local lines = io.open(("%s/proc/net/%s"):format(root, name), "rb")
    if lines then
      known = true
      lines:read("l")
      for _ = 1, LISTEN_LINES_MAX do
        local address, state, rest = (lines:read("l") or ""):match(LISTEN_LINE)
        if state ~= "0A" then break end
        if address:sub(-5) == wanted then
          lines:close()
          return true, math.tointeger(tonumber(rest:match(LISTEN_USER)))
        end
      end
      lines:close()
    end
  end
  if not known then return nil end
  return false
end

--- The name of a user, or the number when it has none.
function procfs.user_name(root, user)
  local text = "\n" .. (file.read(root .. "/etc/passwd") or "")
  return text:match("\n([^:\n]+):[^:\n]*:" .. user .. ":") or tostring(user)
end

return procfs
