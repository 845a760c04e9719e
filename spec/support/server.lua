--- A real `sluice run` in a process of its own, for specs on the wire.
---
---   local s = server.start { app = [[ local app = require("sluice").app() ... return app ]] }
---   after_each(server.stop_all)
---
--- Fields: host, port, pid, url; over TLS plain_port too. Methods (plain functions): log() -> text, stop() -> code,
--- kill(), signal(name), wait_log(pattern, seconds), rss(), peak() and dirty() -> bytes, fds() -> count.
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local lfs = require("lfs")

local wire = require("spec.support.wire")

local server = {}

--- Whether what is asked goes over HTTP/2: see start.
server.over_h2 = os.getenv("SLUICE_SPEC_TLS") == "h2"

local OVER_TLS = (os.getenv("SLUICE_SPEC_TLS") or "") ~= ""

local REPORTS = { "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", ": runtime error: " }

local function check_reports(text)
  for _, sign in ipairs(REPORTS) do
    if text:find(sign, 1, true) then error("the server's sanitizer reports:\n" .. text, 3) end
  end
end

local function app_path(options, folder)
  if options.path then
    return options.path:sub(1, 1) == "/" and options.path or lfs.currentdir() .. "/" .. options.path
  end
  for name, text in pairs(options.files or {}) do process.write_file(folder .. "/" .. name, text) end
  process.write_file(folder .. "/app.lua", assert(options.app, "server.start wants app or path"))
  return folder .. "/app.lua"
end

local function command_line(options, folder)
  local words = { lfs.currentdir() .. "/build/bin/sluice", "run", app_path(options, folder), "--port",
    tostring(options.port or 0), "--io-threads",
    tostring(options.io_threads or os.getenv("SLUICE_IO_THREADS") or 1),
    "--io-uring", options.io_uring or os.getenv("SLUICE_IO_URING") or "auto" }
  if not options.watch then words[#words + 1] = "--no-watch" end
  for _, word in ipairs(options.args or {}) do words[#words + 1] = tostring(word) end
  local secure = options.tls and require("spec.support.tls").words() or {}
  for _, word in ipairs(secure) do words[#words + 1] = word end
  return words
end

local function find_address(text)
  local host, port = text:gsub("\\/", "/"):match("https?://([^%s\"/]-):(%d+)")
  return host, port and math.floor(tonumber(port))
end

--- What /proc tells about a process.
local function proc_status(pid, field)
  local text = process.read_file(("/proc/%d/status"):format(pid)) or ""
  return tonumber(text:match(field .. ":%s*(%d+)"))
end

local function count_fds(pid)
  local n = 0
  for name in lfs.dir(("/proc/%d/fd"):format(pid)) do
    if name:find("^%d") then n = n + 1 end
  end
  return n
end

local function handle(p, folder)
  local self = { pid = p.pid, folder = folder, process = p }

  function self.log() return p:log() end
  function self.signal(name) return p:signal(name) end
  function self.code() return p:code() end
  function self.rss() return (proc_status(p.pid, "VmRSS") or 0) * 1024 end
  --- The most that it ever was.
  function self.peak() return (proc_status(p.pid, "VmHWM") or 0) * 1024 end
  --- Bytes of memory that are the process's own.
  function self.dirty()
    local text = process.read_file(("/proc/%d/smaps_rollup"):format(p.pid)) or ""
    return (tonumber(text:match("Private_Dirty:%s*(%d+)")) or 0) * 1024
  end
  function self.fds() return count_fds(p.pid) end

  function self.stop(seconds)
    local code = p:stop(seconds or 15)
    check_reports(p:log())
    return code
  end

  function self.kill() return p:kill() end

  --- Wait until the log holds a match; returns its captures.
  function self.wait_log(pattern, seconds)
    return deadline.eventually(function()
      if p:code() and not p:log():find(pattern) then
        deadline.give_up("the server has ended with " .. p:code() .. "; its log:\n" .. p:log())
      end
      return p:log():match(pattern)
    end, seconds or 5, "the log says " .. pattern)
  end
  --- The port for HTTPS.
  function self.tls_port()
    return math.tointeger(tonumber((self.wait_log("https:[/\\]+[^%s\"]-:(%d+)"))))
  end
  return self
end

-- The runtime folder is a new one each time, so that a killed server leaves nothing behind.
local function spawn(words, options, folder)
  local env = { XDG_RUNTIME_DIR = folder }
  for name, value in pairs(options.env or {}) do env[name] = value end
  return process.spawn(words, { env = env, dir = folder, kind = "server", folders = { folder } })
end

--- Start one. Options: app (Lua text) or path, files = { name = text } beside the app, args,
--- env, io_threads, io_uring, port, watch (reload when a file changes), seconds (to wait for it), meanwhile (a function
--- that is called while it starts), tls (port and url are those of HTTPS; default: with $SLUICE_SPEC_TLS), h2 (what
--- asks that port does so over HTTP/2; default: with SLUICE_SPEC_TLS=h2).
function server.start(options)
  if options.tls == nil and OVER_TLS then
    options = setmetatable({ tls = true, h2 = server.over_h2 }, { __index = options })
  end
  local folder = process.temp_dir()
  local words = command_line(options, folder)
  local p = spawn(words, options, folder)
  local self = handle(p, folder)
  local up = pcall(deadline.eventually, function()
    if options.meanwhile then options.meanwhile() end
    return find_address(p:log()) or p:code()
  end, options.seconds or 10)
  self.host, self.port = find_address(p:log())
  if not self.port or p:code() then
    local how = p:code() and "ended with " .. p:code() or (up and "said no address" or "was not up in time")
    if not p:code() then p:kill() end
    error(("the server %s; its log:\n%s"):format(how, p:log()), 2)
  end
  self.url = ("http://%s:%d"):format(self.host, self.port)
  if options.tls then
    self.plain_port, self.port = self.port, self.tls_port()
    self.url = ("https://%s:%d"):format(self.host, self.port)
    wire.secure[self.port] = true
    wire.h2[self.port] = options.h2 or nil
  end
  return self
end

--- Start one that must not come up: exit code, log.
function server.run_to_end(options)
  local folder = process.temp_dir()
  local p = spawn(command_line(options, folder), options, folder)
  local code = p:wait(options.seconds or 10)
  if not code then p:kill() end
  return assert(code, "the server went on running; its log:\n" .. p:log()), p:log()
end

--- Kill the servers that still run; for after_each.
function server.stop_all() process.stop_all("server") end

return server
