--- Does a service run: a unit of systemd or a program with a pid file, a port of this machine, or
--- one of another. The first three are read from files of the kernel and of systemd; for the last
--- a connection is tried (out/reach). Keeps nothing in memory.
local cgroup = require("sluice.base.cgroup")
local core = require("sluice.core")
local file = require("sluice.base.file")
local options = require("sluice.base.options")
local procfs = require("sluice.base.procfs")

local services = {}

local SERVICES_MAX = 100
local IS_FOLDER = 21 -- what reading one answers
local SERVICE = { name = options.STRING, tcp = options.STRING }
local NEAR = { localhost = true, ["127.0.0.1"] = true, ["[::1]"] = true, ["0.0.0.0"] = true }
local OTHER_KINDS = { socket = true, mount = true, timer = true, target = true, path = true,
  swap = true, device = true, scope = true, slice = true, automount = true }
local UNIT_FOLDERS = { "/etc/systemd/system/", "/run/systemd/system/", "/usr/lib/systemd/system/",
  "/lib/systemd/system/", "/usr/local/lib/systemd/system/", "/run/systemd/generator/",
  "/run/systemd/generator.late/" }

local function read_unit(what, name)
  if not name:find("^[%w:_.@\\-]+$") or name:find("..", 1, true) or #name > 255 then
    options.raise("%s: '%s' is no name of a unit, such as \"nginx.service\"", what,
      name:sub(1, 64))
  end
  local kind = name:match("%.(%a+)$")
  if OTHER_KINDS[kind] then
    options.raise("%s: '%s' is a %s, and only a service tells whether it runs", what, name,
      kind)
  end
  local unit = kind == "service" and name or name .. ".service"
  return { name = name, key = "unit " .. unit, unit = unit,
    program = unit:match("^(.*)%.service$") }
end

local function read_address(what, o)
  local host, port = o.tcp:match("^([%w._-]+):(%d+)$")
  if not host then host, port = o.tcp:match("^(%[[%x:.]+%]):(%d+)$") end
  port = math.tointeger(tonumber(port))
  if not port or port < 1 or port > 65535 then
    options.raise("%s: tcp is \"host:port\", got '%s'", what, o.tcp)
  end
  return { name = o.name or o.tcp, key = "tcp " .. o.tcp, port = port,
    address = not NEAR[host] and ("%s:%d"):format(host, port) or nil }
end

local function read_one(service, i)
  local what = ("system.new: services[%d]"):format(i)
  if type(service) == "string" then return read_unit(what, service) end
  local o = options(what, service, SERVICE)
  if o.tcp == nil then options.raise(what .. " wants tcp = \"host:port\", or is a name") end
  return read_address(what, o)
end

--- Read the option; raises what is wrong with it, at who called system.new.
-- @tparam table list
-- @treturn table of { name, key, and unit and program, or port, or address }
function services.read(list)
  local fault = options.list_fault(list, "services")
  if fault then options.raise("system.new: services " .. fault) end
  if #list > SERVICES_MAX then options.raise("system.new: services lists more than 100") end
  local read = {}
  for i, service in ipairs(list) do read[i] = read_one(service, i) end
  return read
end

local function is_folder(path)
  return select(3, file.read(path, 1)) == IS_FOLDER
end

local function is_installed(root, unit)
  local template = unit:match("^([^@]+@)") -- of getty@tty1.service: getty@.service
  for _, folder in ipairs(UNIT_FOLDERS) do
    for _, name in ipairs({ unit, template and template .. ".service" }) do
      local path = root .. folder .. name
      if core.read_link(path) or file.read(path, 1) then return true end
    end
  end
  return false
end

local function stopped(root, unit)
  if is_installed(root, unit) then return "stopped" end
  return "stopped", "no unit of this name is installed"
end

-- What systemd keeps for other programs: a link for each service that is not inactive or failed;
-- and what the kernel counts. Neither is asked, and so neither can let us wait.
local function look_at_unit(root, service)
  local unit = service.unit
  local busy, sliced = cgroup.has_processes(root, unit)
  if busy then return "running" end
  local units = root .. "/run/systemd/units"
  if is_folder(units) then
    if not core.read_link(units .. "/invocation:" .. unit) then return stopped(root, unit) end
    if busy == nil then return "running" end -- in a slice of its own
    return "stopped", "active, without a process"
  end
  if sliced then return stopped(root, unit) end
  local runs, path = procfs.has_pid(root, service.program)
  if runs then return "running" end
  if runs == false then return "stopped", path .. " names no process of this program" end
  return "unknown", ("no systemd to be seen from here, and no /run/%s.pid"):format(service.program)
end

--- Look at a service of this machine.
-- @tparam string root
-- @tparam table service with a unit or a port
-- @treturn string "running", "stopped" or "unknown"
-- @treturn string|nil why
function services.look(root, service)
  if service.unit then return look_at_unit(root, service) end
  local listening = procfs.is_listening(root, service.port, true)
  if listening then return "running" end
  if listening == nil then return "unknown", "/proc/net/tcp cannot be read" end
  return "stopped", ("nothing listens on port %d"):format(service.port)
end

return services
