--- A real redis-server on a Unix socket, and on a free port with `tcp = true`, in a folder of its own that goes
--- with it. The program is the system's, or what .ci/setup unpacks below build/.
---   local server = redis.start { config = { appendonly = "yes" } }
---   server.path, server.port, server.folder
---   server:call("GET", "x")         on a connection of its own: a reply as in spec.support.resp
---   server:fresh("GET", "x")        on a new one
---   server:send(bytes)              the reply to a command that is written already
---   server:kill(), server:again()   the same folder, another process;  server:stop()
---   server:speak_tls(files)         with those from the next start on
---   server:lose(bytes)              cut so many bytes off the end of its append-only file
---   server:lose_power()             kill it, and cut off what is not on the disk (with `power = true` at the start);
---                                   how many bytes that were
---   server:unsynced()               as many as that would be
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")
local resp = require("spec.support.resp")
local socket = require("socket")

local redis = { NAME = "redis-server" }

local Server = {}
Server.__index = Server

local BELOW = "/build/redis-server/usr"

--- The program, and where its libraries are when it was unpacked.
function redis.program()
  if lfs.attributes("/usr/bin/redis-server") then return "/usr/bin/redis-server" end
  local path = lfs.currentdir() .. BELOW .. "/bin/redis-server"
  if not lfs.attributes(path) then return nil end
  local pipe <close> = assert(io.popen("find " .. process.quote(lfs.currentdir() .. BELOW)
    .. " -name '*.so*' -printf '%h\\n' | sort -u"))
  return path, (pipe:read("a"):gsub("\n$", ""):gsub("\n", ":"))
end

function redis.installed()
  return redis.program() ~= nil
end

function redis.free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.tointeger(tonumber(port))
end

local library

-- Built once by each process.
local function watch_syncs()
  if library then return library end
  library = os.tmpname()
  local code, text = process.run { os.getenv("CC") or "cc", "-shared", "-fPIC", "-O1", "-o", library,
    "spec/support/disk_syncs.c" }
  assert(code == 0, text)
  return library
end

--- For teardown, where a server had `power`.
function redis.clean()
  if library then os.remove(library) end
  library = nil
end

--- options: config ({ name = value }), tcp, power (disk_syncs.c sees what is on the disk),
--- tls (another port, `tls_port`: { cert =, key =, ca =, wants = true }).
function redis.start(options)
  options = options or {}
  local self = setmetatable({ config = options.config or {}, folder = process.temp_dir() }, Server)
  self.path = self.folder .. "/s"
  self.port = options.tcp and redis.free_port() or 0
  self.library = options.power and watch_syncs()
  assert(not self.library or lfs.mkdir(self.folder .. "/syncs"))
  self:speak_tls(options.tls)
  self:again()
  return self
end

--- With these files at the next start.
function Server:speak_tls(files)
  if not files then return end
  self.tls_port = self.tls_port or redis.free_port()
  for name, value in pairs { ["tls-port"] = self.tls_port, ["tls-cert-file"] = files.cert,
    ["tls-key-file"] = files.key, ["tls-ca-cert-file"] = files.ca,
    ["tls-auth-clients"] = files.wants and "yes" or "no" } do
    self.config[name] = value
  end
end

--- A connection: a function that sends bytes and returns the reply.
function Server:connect()
  local unix = require("socket.unix")
  local s = assert((type(unix) == "table" and unix.stream or unix)())
  assert(s:connect(self.path))
  s:settimeout(10 * deadline.scale)
  return s
end

function Server:send(bytes)
  local s = self.connection
  assert(s:send(bytes))
  return resp.read(function() return (assert(s:receive("*l")):gsub("\r$", "")) end,
    function(n) return n == 0 and "" or assert(s:receive(n)) end)
end

function Server:call(...)
  return self:send(resp.command(...))
end

--- The same on a new connection: Sentinels close all that there are.
function Server:fresh(...)
  self.connection:close()
  self.connection = self:connect()
  if self.config.requirepass then self:call("AUTH", self.config.requirepass) end
  return self:call(...)
end

--- Start it, in its folder.
function Server:again()
  local path, libraries = redis.program()
  assert(path, "no redis-server; .ci/setup test brings it")
  local words = { path, "--port", self.port, "--bind", "127.0.0.1", "--unixsocket", self.path, "--dir", self.folder,
    "--save", "", "--databases", "4" }
  for name, value in pairs(self.config) do
    words[#words + 1] = "--" .. name
    words[#words + 1] = value
  end
  os.remove(self.path)
  self.process = process.spawn(words, { env = { LD_LIBRARY_PATH = libraries, LD_PRELOAD = self.library,
    DISK_SYNCS = self.library and self.folder .. "/syncs" } })
  deadline.eventually(function()
    if self.process:code() then deadline.give_up("redis-server: " .. self.process:log()) end
    self.connection = self:connect()
    if self.config.requirepass then self:call("AUTH", self.config.requirepass) end
    return self:call("PING") == "PONG"
  end, 20, "redis-server answers")
end

function Server:kill()
  self.connection:close()
  self.process:kill()
end

function Server:stop()
  if not self.process:code() then self:kill() end
  process.remove_dir(self.folder)
end

-- Its append-only files that grow: fn(path, size).
local function each_file(self, fn)
  for name in lfs.dir(self.folder .. "/appendonlydir") do
    local path = self.folder .. "/appendonlydir/" .. name
    if name:find("incr") then fn(path, lfs.attributes(path, "size")) end
  end
end

local function cut(path, size)
  assert(os.execute(("truncate -s %d %s"):format(size, process.quote(path))))
end

--- Cut so many bytes off what it has written last, as a power cut does. It must not run.
function Server:lose(bytes)
  each_file(self, function(path, size) cut(path, size - bytes) end)
end

-- What of a file is on the disk.
local function synced(self, path)
  local note = process.read_file(self.folder .. "/syncs/" .. lfs.attributes(path, "ino"))
  return note and string.unpack("=i8", note) or 0
end

function Server:unsynced()
  local bytes = 0
  each_file(self, function(path, size) bytes = bytes + size - synced(self, path) end)
  return bytes
end

--- The machine loses its power: all that no sync has brought to the disk is gone.
function Server:lose_power()
  self:kill()
  local bytes = self:unsynced()
  each_file(self, function(path) cut(path, synced(self, path)) end)
  return bytes
end

return redis
