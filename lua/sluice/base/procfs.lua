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
local VIRTUAL = { "^lo$", "^veth", "^docker", "^br%-", "^br%d", "^virbr", "^vmbr", "^ifb", "^cni",
  "^cali", "^flannel", "^cilium", "^lxc", "^lxd", "^tap", "^tun", "^wg", "^tailscale", "^bond",
  "^team", "^dummy", "^vlan", "^macv", "^ipvlan", "^vxlan", "^vnet", "^sit", "^gre", "^ip6tnl",
  "^kube%-", "^nodelocal", "%.%d+$", "@" }
-- A file system that may wait for another machine, or for a program.
local DISTANT = { nfs = true, nfs4 = true, cifs = true, smb3 = true, smbfs = true, ceph = true,
  afs = true, lustre = true, gpfs = true, beegfs = true, orangefs = true, ncpfs = true, coda = true,
  autofs = true, fuse = true }
local MOUNTS_BYTES_MAX = 1 << 20

-- name: eight numbers for what came in, bytes first, then those for what went out.
local NET_LINE = "([^%s:]+):%s*(%d+)" .. ("%s+%d+"):rep(7) .. "%s+(%d+)"

--- Processor time since the machine started.
-- @treturn {busy=number,total=number,processors=integer}|nil in ticks, all processors together
function procfs.cpu(root)
  local text = file.read(root .. "/proc/stat") or ""
  local line = text:match("^cpu%s+([%d ]+)")
  if not line then return nil end
  local busy, total, column = 0, 0, 0
  for ticks in line:gmatch("%d+") do
    column = column + 1
    if column > 8 then break end -- guest time is part of user time
    total = total + tonumber(ticks)
    if column ~= 4 and column ~= 5 then busy = busy + tonumber(ticks) end
  end
  local _, processors = text:gsub("\ncpu%d", "")
  return { busy = busy, total = total, processors = math.max(1, processors) }
end

--- Memory in bytes: what is used and what there is.
-- @treturn {used=integer,total=integer}|nil
function procfs.memory(root)
  local text = file.read(root .. "/proc/meminfo") or ""
  local total = tonumber(text:match("MemTotal:%s+(%d+) kB"))
  local available = tonumber(text:match("MemAvailable:%s+(%d+) kB"))
    or tonumber(text:match("MemFree:%s+(%d+) kB"))
  if not total or not available then return nil end
  return { used = (total - available) * 1024, total = total * 1024 }
end

local function is_virtual(interface)
  for _, pattern in ipairs(VIRTUAL) do
    if interface:find(pattern) then return true end
  end
  return false
end

--- Bytes received and sent since they came up, of the real interfaces; where there is none,
-- of the others but the loopback.
-- @treturn {[string]={received=integer,sent=integer}}|nil
function procfs.interfaces(root)
  local text = file.read(root .. "/proc/net/dev")
  if not text then return nil end
  local real, others = {}, {}
  for interface, received, sent in text:gmatch(NET_LINE) do
    local list = is_virtual(interface) and others or real
    list[interface] = { received = tonumber(received), sent = tonumber(sent) }
  end
  others.lo = nil
  return next(real) and real or others
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

--- Does a program with a pid file run?
-- @tparam string root
-- @tparam string program "nginx"
-- @treturn boolean|nil nil: it has none
-- @treturn string the pid file
function procfs.has_pid(root, program)
  for _, pattern in ipairs({ "/run/%s.pid", "/run/%s/%s.pid" }) do
    local path = pattern:format(program, program)
    local pid = (file.read(root .. path, 64) or ""):match("^%s*(%d+)")
    if pid then return is_process(root, pid, program), path end
  end
end

local function plain(text)
  return (text:gsub("\\(%d%d%d)", function(code) return string.char(tonumber(code, 8) & 255) end))
end

--- The kind of the file system that a path is on, when asking about it may take long: a network's,
-- or one that a program makes. The path is not touched.
-- @tparam string root
-- @tparam string path absolute, without links
-- @treturn string|nil "nfs4"
function procfs.distant(root, path)
  local longest, found = -1, nil
  local text = file.read(root .. "/proc/self/mountinfo", MOUNTS_BYTES_MAX) or ""
  for point, kind in text:gmatch("%d+ %d+ %S+ %S+ (%S+) [^\n]- %- (%S+)") do
    point = plain(point):gsub("/$", "")
    local holds = path == point or path:sub(1, #point + 1) == point .. "/"
    if holds and #point >= longest then longest, found = #point, kind end
  end
  if found and (DISTANT[found] or found:find("^fuse%.")) then return found end
end

-- An address, as in /proc/net/tcp and tcp6, that the machine itself reaches by localhost.
local function is_near(address)
  return address:find("^%x*7F:") or address:find("^0+:") or address:find("^0+1000000:")
end

--- Does a process of this machine listen on a TCP port?
-- @tparam string root
-- @tparam integer port
-- @tparam[opt] boolean near count those only that can be reached by localhost
-- @treturn boolean|nil
-- @treturn integer|nil the user that it belongs to
function procfs.is_listening(root, port, near)
  local wanted, known = (":%04X"):format(port), false
  for _, name in ipairs({ "tcp", "tcp6" }) do
    local lines = io.open(("%s/proc/net/%s"):format(root, name), "rb")
    if lines then
      known = true
      lines:read("l")
      for _ = 1, LISTEN_LINES_MAX do
        local address, state, rest = (lines:read("l") or ""):match(LISTEN_LINE)
        if state ~= "0A" then break end
        if address:sub(-5) == wanted and (not near or is_near(address)) then
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
