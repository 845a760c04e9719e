--- Control groups, of both versions: what a unit of systemd does, and what this process may use.
--- `root` as in procfs; opens only small files of the kernel. Keeps nothing in memory.
local file = require("sluice.base.file")

local cgroup = {}

local READ_MAX, LEVELS_MAX = 65536, 32
local MEMORY_FILES = { -- limit, use, and in the file of statistics the pages of files not in use
  { "/sys/fs/cgroup", "memory.max", "memory.current", "\ninactive_file (%d+)", "" },
  { "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
    "\ntotal_inactive_file (%d+)", "memory" },
}

local function read(path) return file.read(path, READ_MAX) end

-- Our own group under a controller ("": version 2), or nil.
local function own(root, controller)
  for names, path in (read(root .. "/proc/self/cgroup") or ""):gmatch("%d+:([^:\n]*):([^\n]*)") do
    local found = names == controller
    for name in names:gmatch("[^,]+") do found = found or name == controller end
    if found then return path:find("..", 1, true) and "" or path:gsub("/$", "") end
  end
end

-- Visit our own group and those that it is part of, up to the outermost that is to be seen. In a
-- container only that one may be there.
local function climb(root, base, controller, visit)
  local path = own(root, controller)
  for _ = 1, path and LEVELS_MAX or 0 do
    visit(root .. base .. path)
    if path == "" then return end
    path = path:match("^(.*)/[^/]*$") or ""
  end
end

--- The memory that a control group limits, when that is less than `most`.
-- @tparam string root
-- @tparam integer most bytes that the machine has
-- @treturn integer|nil bytes that are used, without pages of files that are not in use
-- @treturn integer the limit
function cgroup.memory(root, most)
  for _, files in ipairs(MEMORY_FILES) do
    local limit, folder = most, nil
    climb(root, files[1], files[5], function(path)
      local value = tonumber(read(path .. "/" .. files[2]) or "")
      if value and value < limit then limit, folder = value, path end
    end)
    local used = folder and tonumber(read(folder .. "/" .. files[3]) or "")
    if used then
      local idle = ("\n" .. (read(folder .. "/memory.stat") or "")):match(files[4])
      return math.max(0, used - (tonumber(idle) or 0)), limit
    end
  end
end

--- The processor time that a control group limits (version 2), when that is less than `most`.
-- @tparam string root
-- @tparam integer most processors that the machine has
-- @treturn integer|nil microseconds that were used
-- @treturn number the processors that may be used
function cgroup.cpu(root, most)
  local limit, folder = most, nil
  climb(root, "/sys/fs/cgroup", "", function(path)
    local quota, period = (read(path .. "/cpu.max") or ""):match("^(%d+) (%d+)")
    local share = quota and tonumber(period) > 0 and tonumber(quota) / tonumber(period)
    if share and share > 0 and share < limit then limit, folder = share, path end
  end)
  local used = folder and (read(folder .. "/cpu.stat") or ""):match("usage_usec (%d+)")
  if used then return tonumber(used), limit end
end

-- Units made from a template are in a slice that is named after it.
local function places(unit)
  local template = unit:match("^([^@]+)@")
  if not template then return { unit } end
  return { ("system-%s.slice/%s"):format(template:gsub("-", "\\x2d"), unit), unit }
end

--- Has a unit of systemd's system.slice processes?
-- @tparam string root
-- @tparam string unit "nginx.service"
-- @treturn boolean|nil nil: it has no control group there
-- @treturn boolean whether there is a system.slice at all
function cgroup.has_processes(root, unit)
  local known = false
  for _, tree in ipairs({ "", "/systemd", "/unified" }) do
    local slice = ("%s/sys/fs/cgroup%s/system.slice/"):format(root, tree)
    for _, place in ipairs(places(unit)) do
      local events = read(slice .. place .. "/cgroup.events")
      if events then return events:find("populated 1", 1, true) ~= nil, true end
      local processes = read(slice .. place .. "/cgroup.procs")
      if processes then return processes:find("%d") ~= nil, true end
    end
    known = known or read(slice .. "cgroup.procs") ~= nil
  end
  return nil, known
end

return cgroup
