--- A real `sluice run` under a service manager that holds its socket: spec/support/manager.py plays it.
---
---   local s = manager.start { app = [[ … ]], watchdog = 2 }      ready, and s.port answers
---   s.told() -> what the server has told, a text each: "READY=1", "RELOADING=1|MONOTONIC_USEC=…"
---   s.restart(); s.lives() -> how often it was ready; s.reload(); s.stop() -> exit code
---   after_each(manager.stop_all)
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")

local manager = {}

local function words_of(o, folder)
  local words = { "python3", lfs.currentdir() .. "/spec/support/manager.py", folder, tostring(o.watchdog or 0) }
  for _, place in ipairs(o.places or { "tcp:" .. (o.port or 0) }) do words[#words + 1] = place end
  for _, word in ipairs { "--", lfs.currentdir() .. "/build/bin/sluice", "run", folder .. "/app.lua", "--no-watch",
    "--io-threads", tostring(o.io_threads or os.getenv("SLUICE_IO_THREADS") or 1) } do words[#words + 1] = word end
  return table.move(o.args or {}, 1, #(o.args or {}), #words + 1, words)
end

-- Each match of the pattern in the log, with the time in front.
local function all(p, pattern)
  local list = {}
  for line in p:log():gmatch("[^\n]+") do
    local at, what = line:match("^(%d+%.%d+) " .. pattern)
    if at then list[#list + 1] = { at = tonumber(at), what = what } end
  end
  return list
end

local function texts(list)
  for i, item in ipairs(list) do list[i] = item.what end
  return list
end

local function handle(p, folder)
  local self = { process = p, folder = folder }
  function self.log() return p:log() end
  function self.code() return p:code() end
  function self.told() return texts(all(p, "told (.*)$")) end
  function self.told_at() return all(p, "told (.*)$") end
  function self.ends() return texts(all(p, "ended (%-?%d+)$")) end
  function self.pid()
    local list = all(p, "started (%d+)$")
    return math.tointeger(tonumber(list[#list].what))
  end
  --- How many of its lives have been ready: the first READY of each counts.
  function self.lives()
    local n, fresh = 0, false
    for line in p:log():gmatch("[^\n]+") do
      if line:find("^%S+ started ") then fresh = true end
      if fresh and line:find("^%S+ told READY=1") then n, fresh = n + 1, false end
    end
    return n
  end
  function self.restart() p:signal("USR1") end
  function self.reload() p:signal("HUP") end
  function self.stop() return p:stop(20) end
  --- Wait until what was told since the n-th matches; returns its captures.
  function self.wait_told(pattern, from, seconds)
    return deadline.eventually(function()
      if p:code() then deadline.give_up("the manager has ended; its log:\n" .. p:log()) end
      for i, text in ipairs(self.told()) do
        if i > (from or 0) and text:find(pattern) then return text:match(pattern) end
      end
    end, seconds or 10, "the manager is told " .. pattern)
  end
  return self
end

--- Start one. Options: app (text), port, places ({ "tcp:0", "unix:PATH" }), watchdog (seconds), args, env,
--- io_threads, folder (which is removed in the end).
function manager.start(o)
  local folder = o.folder or process.temp_dir()
  process.write_file(folder .. "/app.lua", o.app)
  local env = { XDG_RUNTIME_DIR = folder }
  for name, value in pairs(o.env or {}) do env[name] = value end
  local p = process.spawn(words_of(o, folder), { env = env, dir = folder, kind = "manager",
    folders = not o.folder and { folder } or nil })
  local self = handle(p, folder)
  local up = pcall(deadline.eventually, function() return self.lives() > 0 or p:code() end, o.seconds or 10)
  self.port = tonumber(p:log():match("listening (%d+)\n"))
  if not up or p:code() then
    local log = p:log()
    if not p:code() then p:stop(20) end
    error("the service was never ready; the log:\n" .. log, 2)
  end
  return self
end

--- End those that still run, and with them their servers; for after_each.
function manager.stop_all()
  process.stop_all("manager")
end

return manager
