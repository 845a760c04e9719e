--- A real PostgreSQL on a Unix socket, in a folder of its own that goes with it. It refuses to run as root, so root
--- starts it as nobody. The programs are the system's, or what .ci/setup unpacks below build/.
---   local server = postgres.start()
---   server.url                      for postgres.listen
---   server:run(sql) -> text         by psql, which must succeed;  server:spawn(sql): a psql beside us
---   server:kill(), server:again()   the same folder;  server:stop()
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")

local postgres = { NAME = "postgres" }

local Server = {}
Server.__index = Server

local BELOW = "/build/postgres/usr"

-- The folder of the programs, and below what.
local function find()
  for _, root in ipairs { lfs.currentdir() .. BELOW, "/usr" } do
    for version = 20, 13, -1 do
      local bin = ("%s/lib/postgresql/%d/bin"):format(root, version)
      if lfs.attributes(bin .. "/postgres") then return bin, root end
    end
  end
end

function postgres.installed() return find() ~= nil end

-- Where the libraries of what was unpacked are, for the environment.
local function libraries()
  local _, root = find()
  if root == "/usr" then return nil end
  local pipe <close> = assert(io.popen("find " .. process.quote(root .. "/lib") .. " -maxdepth 2 -name 'lib*.so*' "
    .. "-printf '%h\\n' | sort -u"))
  return (pipe:read("a"):gsub("\n$", ""):gsub("\n", ":"))
end

-- As another user where we are root; with its own libraries where it was unpacked.
local function words_of(self, program, ...)
  local words = { (find()) .. "/" .. program, ... }
  if self.libraries then words = { "env", "LD_LIBRARY_PATH=" .. self.libraries, table.unpack(words) } end
  if self.is_root then words = { "setpriv", "--reuid", "nobody", "--clear-groups", table.unpack(words) } end
  return words
end

function postgres.start()
  local self = setmetatable({ folder = process.temp_dir(), libraries = libraries() }, Server)
  self.is_root = select(2, process.run("id -u")):find("^0") ~= nil
  if self.is_root then assert(os.execute("chmod 755 " .. self.folder .. " && mkdir " .. self.folder
    .. "/pg && chown nobody " .. self.folder .. "/pg")) else lfs.mkdir(self.folder .. "/pg") end
  self.place = self.folder .. "/pg"
  local code, output = process.run(words_of(self, "initdb", "-D", self.place .. "/data", "-A", "trust", "-U", "sluice",
    "--no-sync", "--no-locale", "-E", "UTF8"), { seconds = 60 })
  assert(code == 0, output)
  self.url = ("host=%s user=sluice dbname=postgres"):format(self.place)
  self:again()
  return self
end

--- Start it, in its folder.
function Server:again()
  self.process = process.spawn(words_of(self, "postgres", "-D", self.place .. "/data", "-k", self.place, "-c",
    "listen_addresses=", "-c", "jit=off", "-c", "fsync=off", "-c", "wal_writer_delay=10s"), { dir = self.folder })
  deadline.eventually(function()
    if self.process:code() then deadline.give_up("postgres: " .. self.process:log()) end
    return (process.run(words_of(self, "psql", "-h", self.place, "-U", "sluice", "-d", "postgres", "-c", "SELECT 1")))
      == 0
  end, 20, "postgres answers")
end

local function psql(self, sql)
  return words_of(self, "psql", "-h", self.place, "-U", "sluice", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt",
    "-c", sql)
end

function Server:run(sql)
  local code, output = process.run(psql(self, sql), { seconds = 60 })
  assert(code == 0, output)
  return (output:gsub("\n$", ""))
end

--- A transaction that takes its time: `sql` is one text of statements.
function Server:spawn(sql)
  return process.spawn(psql(self, sql), { kind = "psql", dir = self.folder })
end

--- It ends at once, as in a crash; its children go with it.
function Server:kill()
  self.process:signal("QUIT")
  deadline.eventually(function() return self.process:code() end, 20, "postgres has ended")
end

function Server:stop()
  if not self.process:code() then self:kill() end
  os.execute("rm -rf " .. process.quote(self.place))
  process.remove_dir(self.folder)
end

return postgres
