--- Programs that the benchmark starts: their pid, their output, their memory and the CPU
--- time of all their threads. Each ends with this process, whatever happens to it.
local cjson = require("cjson")
local socket = require("socket")
local lfs = require("lfs")

local program = {}

local Program = {}
Program.__index = Program

local running, started = {}, 0
local finished = 0 -- CPU time of programs that were stopped, ns

local function quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function read_file(path)
  local file <close> = io.open(path, "r")
  return file and file:read("a")
end

local function exists(command) return (os.execute("command -v " .. command .. " >/dev/null 2>&1")) end

local PROCESSORS = select(2, (read_file("/proc/cpuinfo") or ""):gsub("\nprocessor", "")) + 1
local PIN = PROCESSORS > 1 and exists("taskset")
local FOLLOW = exists("setpriv") and "setpriv --pdeathsig TERM " or ""

program.processors = PROCESSORS

--- Whether servers and clients have a processor each.
program.pinned = PIN and true or false

--- Wait until fn() answers something; nil after so many seconds.
function program.wait_for(seconds, fn)
  local stop = socket.gettime() + seconds
  while true do
    local found = fn()
    if found then return found end
    if socket.gettime() > stop then return nil end
    socket.sleep(0.002)
  end
end

--- A port that is free now.
function program.free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.tointeger(tonumber(port))
end

--- How many descriptors a program of ours may have at most.
function program.hard_limit()
  local pipe = assert(io.popen("ulimit -Hn"))
  local text = pipe:read("l")
  pipe:close()
  return math.tointeger(tonumber(text)) or 1048576 -- "unlimited"
end

--- Start a program.
-- @tparam table spec name, words, cpu (0: server, 1: client)
-- @tparam string dir for its files
-- @treturn Program
function program.start(spec, dir)
  local words = {}
  for i, word in ipairs(spec.words) do words[i] = quote(word) end
  started = started + 1
  local base = ("%s/%s-%d"):format(dir, spec.name, started)
  local pin = PIN and spec.cpu and ("taskset -c %d "):format(spec.cpu) or ""
  local line = ("ulimit -c 0; ulimit -n $(ulimit -Hn); echo $$ >%s.pid; exec %s%s%s >%s.out 2>%s.err"):format(base,
    FOLLOW, pin, table.concat(words, " "), base, base)
  os.remove(base .. ".pid")
  local self = setmetatable({ base = base, name = spec.name, held = "" }, Program)
  self.pipe = assert(io.popen("exec sh -c " .. quote(line), "w"))
  self.pipe:setvbuf("no")
  self.pid = program.wait_for(5, function() return tonumber(read_file(base .. ".pid")) end)
  self.out = program.wait_for(5, function() return io.open(base .. ".out", "r") end)
  assert(self.pid and self.out, spec.name .. " did not start")
  self.pid = math.tointeger(self.pid)
  running[#running + 1] = self
  return self
end

--- The next line that the program prints; nil after so many seconds or when it ended.
function Program:line(seconds)
  return program.wait_for(seconds, function()
    self.out:seek("cur", 0)
    self.held = self.held .. (self.out:read("a") or "")
    local line, rest = self.held:match("^([^\n]*)\n(.*)$")
    if line then self.held = rest end
    return line or (not self:alive() and false) or nil
  end)
end

--- Tell it something and take its answer, a line of JSON.
function Program:ask(text, seconds)
  self.pipe:write(text, "\n")
  local line = self:line(seconds)
  if not line then error(("%s does not answer '%s': %s"):format(self.name, text, self:errors()), 0) end
  return cjson.decode(line)
end

function Program:errors() return read_file(self.base .. ".err") or "" end

function Program:alive()
  local stat = read_file(("/proc/%d/stat"):format(self.pid))
  return stat ~= nil and not stat:find("%) Z ")
end

local function children(pid)
  local text = read_file(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  local list = {}
  for child in text:gmatch("%d+") do list[#list + 1] = math.tointeger(tonumber(child)) end
  return list
end

-- Adds the CPU time of each thread to a table by the thread's name.
local function add_threads(pid, into)
  local path = ("/proc/%d/task"):format(pid)
  if not lfs.attributes(path, "mode") then return end
  for task in lfs.dir(path) do
    local text = task:find("^%d") and read_file(("%s/%s/schedstat"):format(path, task))
    local name = text and (read_file(("%s/%s/comm"):format(path, task)) or "?"):gsub("%s+$", "")
    if name then into[name] = (into[name] or 0) + (tonumber(text:match("^%d+")) or 0) end
  end
end

--- CPU time so far by thread name, in ns: the program and its children.
function Program:threads()
  local by_name = {}
  add_threads(self.pid, by_name)
  for _, child in ipairs(children(self.pid)) do add_threads(child, by_name) end
  return by_name
end

--- CPU time so far, in ns: all threads of the program and of its children.
function Program:cpu()
  local sum = 0
  for _, spent in pairs(self:threads()) do sum = sum + spent end
  return sum
end

-- The kernel's threads that do what a processor could not do at once for the network.
local softirq

--- CPU time of these so far, in ns, whomever they worked for.
function program.ksoftirqd()
  if not softirq then
    softirq = {}
    for name in lfs.dir("/proc") do
      if name:find("^%d+$") and (read_file("/proc/" .. name .. "/comm") or ""):find("^ksoftirqd/") then
        softirq[#softirq + 1] = name
      end
    end
  end
  local sum = 0
  for _, pid in ipairs(softirq) do
    sum = sum + (tonumber((read_file("/proc/" .. pid .. "/schedstat") or ""):match("^%d+")) or 0)
  end
  return sum
end

--- CPU time of the main thread alone, in ns.
function Program:main_cpu()
  return tonumber(read_file(("/proc/%d/task/%d/schedstat"):format(self.pid, self.pid)):match("^%d+"))
end

--- What each thread did of the work between two readings: "io1 92 %, app 8 %".
function program.shares(before, after)
  local list, sum = {}, 0
  for name, spent in pairs(after) do
    local own = spent - (before[name] or 0)
    sum = sum + own
    list[#list + 1] = { name = name, own = own }
  end
  table.sort(list, function(a, b) return a.own > b.own end)
  local words = {}
  for _, t in ipairs(list) do
    if t.own / sum >= 0.005 then words[#words + 1] = ("%s %.0f %%"):format(t.name, 100 * t.own / sum) end
  end
  return table.concat(words, ", ")
end

--- Private dirty memory in bytes, with children.
function Program:private_dirty()
  local sum = 0
  local all = children(self.pid)
  all[#all + 1] = self.pid
  for _, pid in ipairs(all) do
    local text = read_file(("/proc/%d/smaps_rollup"):format(pid)) or ""
    sum = sum + (tonumber(text:match("Private_Dirty:%s*(%d+)")) or 0) * 1024
  end
  return sum
end

--- CPU seconds of all processors so far, and of the programs that have been stopped.
function program.machine()
  local words = {}
  for word in read_file("/proc/stat"):match("^cpu%s+([^\n]+)"):gmatch("%d+") do words[#words + 1] = tonumber(word) end
  return (words[1] + words[2] + words[3] + words[6] + words[7]) / 100, finished / 1e9 -- user nice system irq softirq
end

--- End it: a word that it obeys, TERM (or the end of its stdin), KILL after some seconds.
function Program:stop(seconds, word)
  if self.stopped then return end
  self.stopped = true
  finished = finished + self:cpu() -- while its children are there
  if word then
    self.pipe:write(word, "\n")
    program.wait_for(seconds, function() return not self:alive() end)
  end
  os.execute(("kill -TERM %d 2>/dev/null"):format(self.pid))
  if not program.wait_for(seconds or 8, function() return not self:alive() end) then
    os.execute(("kill -KILL %d 2>/dev/null"):format(self.pid))
  end
  self.pipe:close()
  self.out:close()
end

--- End everything that still runs.
function program.stop_all()
  for i = #running, 1, -1 do
    running[i]:stop(3)
    running[i] = nil
  end
end

--- Run a program of ours to its end; its JSON.
function program.run(words)
  local pipe = assert(io.popen(table.concat(words, " ")))
  local text = pipe:read("a")
  pipe:close()
  return cjson.decode(text)
end

return program
