--- Programs that specs start: run one to its end, or spawn one and watch it.
--- No child inherits the sanitizer's LD_PRELOAD or make's variables; build/bin/sluice loads
--- the sanitizer again for the interpreter alone. What is left at exit is killed.
local deadline = require("spec.support.deadline")
local lfs = require("lfs")

local process = {}

local Process = {}
Process.__index = Process

--- busted reloads modules between files, so the list of what runs is kept in the registry.
local function running()
  local registry = debug.getregistry()
  local list = registry["sluice.spec.running"]
  if not list then
    list = setmetatable({}, { __gc = function(all)
      for p in pairs(all) do
        os.execute("kill -KILL " .. p.pid .. " 2>/dev/null")
        p:remove_folders()
      end
    end })
    registry["sluice.spec.running"] = list
  end
  return list
end

-- What the shell says of the times of a program that has ended is added up, for ci_output.
local function add_times(text)
  local registry = debug.getregistry()
  for minutes, seconds in text:gmatch("(%d+)m([%d.]+)s") do
    registry["sluice.spec.cpu"] = (registry["sluice.spec.cpu"] or 0) + minutes * 60 + seconds
  end
end

function process.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function quote_all(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = process.quote(word) end
  return table.concat(quoted, " ")
end

local CLEAN = "unset LD_PRELOAD MAKEFLAGS MFLAGS MAKELEVEL; ulimit -c 0; "

function process.read_file(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

function process.write_file(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

--- A new empty folder below the system's temporary folder.
function process.temp_dir()
  local path = os.tmpname()
  os.remove(path)
  assert(lfs.mkdir(path))
  return path
end

function process.remove_dir(path)
  assert(path:find("^/tmp/") or path:find("^" .. (os.getenv("TMPDIR") or "/tmp"), 1))
  os.execute("rm -rf " .. process.quote(path))
end

--- Run a command (a shell line, or a list of words) to its end: exit code, output.
function process.run(command, options)
  options = options or {}
  if type(command) == "table" then command = quote_all(command) end
  local dir = options.dir and ("cd %s && "):format(process.quote(options.dir)) or ""
  local limit = math.ceil((options.seconds or 60) * deadline.scale)
  local line = ("%s%stimeout -k 2 %d sh -c %s 2>&1 </dev/null"):format(CLEAN, dir, limit, process.quote(command))
  local pipe = assert(io.popen(line))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return how == "signal" and 128 + code or code, output
end

--- Run commands (lists of words) side by side, each to its end: { { exit code, output }, … }.
function process.run_beside(list, options)
  local all, results = {}, {}
  for i, words in ipairs(list) do all[i] = process.spawn(words, options or {}) end
  for i, p in ipairs(all) do results[i] = { p:wait(60), p:log() } end
  return results
end

--- Start a program: words, options { dir, env, kind, folders }. Its output goes to a file. The
--- folders are removed when its end is noticed; kind is a word for process.stop_all.
function process.spawn(words, options)
  local folder = process.temp_dir()
  local env = {}
  for name, value in pairs(options.env or {}) do env[#env + 1] = process.quote(name .. "=" .. value) end
  -- A shell starts background jobs with SIGINT ignored: env puts it back.
  local command = ("exec env --default-signal=INT,QUIT %s %s >%s/log 2>&1"):format(table.concat(env, " "),
    quote_all(words), folder)
  local line = ("%scd %s && { (sh -c %s </dev/null; { echo $?; times; } >%s/rc.new; mv %s/rc.new %s/rc)"
    .. " 2>/dev/null & }"):format(
    CLEAN, process.quote(options.dir or "."), process.quote("echo $$; " .. command), folder, folder, folder)
  local pipe = assert(io.popen(line))
  local pid = assert(tonumber(pipe:read("l")), "cannot start " .. words[1])
  pipe:close()
  local self = setmetatable({ pid = pid, folder = folder, kind = options.kind,
    folders = { folder, table.unpack(options.folders or {}) } }, Process)
  running()[self] = true
  return self
end

function Process:remove_folders()
  for _, path in ipairs(self.folders) do process.remove_dir(path) end
end

--- Everything the program has written so far.
function Process:log()
  return self.last_log or process.read_file(self.folder .. "/log") or ""
end

--- The exit code (128 + n after signal n), or nil while it runs.
function Process:code()
  if self.exit_code then return self.exit_code end
  local text = process.read_file(self.folder .. "/rc")
  if not text then return nil end
  self.exit_code = assert(tonumber(text:match("^%d+")))
  add_times(text)
  self.last_log = process.read_file(self.folder .. "/log")
  running()[self] = nil
  self:remove_folders()
  return self.exit_code
end

function Process:wait(seconds)
  local left = deadline.after(seconds)
  while left() > 0 do
    local ok, code = pcall(deadline.eventually, function() return self:code() end, math.min(left(), 1))
    if ok then return code end
  end
  return self:code()
end

function Process:signal(name)
  if self:code() then return false end
  return (os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))) == true
end

--- SIGKILL; returns when it is gone.
function Process:kill()
  self:signal("KILL")
  return assert(self:wait(5), "SIGKILL did not end process " .. self.pid)
end

--- SIGTERM; returns the exit code. One that does not end in time is killed, and that raises.
function Process:stop(seconds)
  self:signal("TERM")
  local code = self:wait(seconds or 10)
  if code then return code end
  self:kill()
  error("no end after SIGTERM; its log:\n" .. self:log(), 2)
end

--- Kill what is still running, of one kind or all of it.
function process.stop_all(kind)
  local doomed = {}
  for p in pairs(running()) do
    if not kind or p.kind == kind then doomed[#doomed + 1] = p end
  end
  for _, p in ipairs(doomed) do p:kill() end
end

return process
