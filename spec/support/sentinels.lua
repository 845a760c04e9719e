--- Real Sentinels that watch a redis-server and its replica (redis.lua).
---   local s = sentinels.start(master, replica, { n = 3, down_ms = 2000, password = })
---   s[1].port, s.places = "127.0.0.1 26379,…", s.url = "redis+sentinel://…/shop";  s:stop()
---   s:await_replica()         until all know of one, so that they can name it
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local socket = require("socket")

local sentinels = { SET = "shop" }

local Sentinels = {}
Sentinels.__index = Sentinels

local function ask(one, ...)
  local s = assert(socket.connect("127.0.0.1", one.port))
  s:settimeout(5)
  local function read() return (assert(s:receive("*l")):gsub("\r$", "")) end
  local function bytes(n) return n == 0 and "" or assert(s:receive(n)) end
  if one.password then
    s:send(resp.command("AUTH", one.password))
    resp.read(read, bytes)
  end
  s:send(resp.command(...))
  local reply = resp.read(read, bytes)
  s:close()
  return reply
end

local function start(folder, i, master, options)
  local one = { port = redis.free_port(), password = options.password }
  local path, libraries = redis.program()
  local config = ("%s/%d.conf"):format(folder, i)
  process.write_file(config, table.concat({ "port " .. one.port, "bind 127.0.0.1", "dir " .. folder,
    ("sentinel monitor %s 127.0.0.1 %d %d"):format(sentinels.SET, master.port, options.n // 2 + 1),
    ("sentinel down-after-milliseconds %s %d"):format(sentinels.SET, options.down_ms or 500),
    ("sentinel failover-timeout %s 5000"):format(sentinels.SET),
    options.password and "requirepass " .. options.password or "" }, "\n") .. "\n")
  one.process = process.spawn({ path, config, "--sentinel" }, { env = { LD_LIBRARY_PATH = libraries } })
  return one
end

-- A Sentinel looks each ten seconds for replicas: they are there before.
local function await_link(replica)
  deadline.eventually(function()
    return replica:call("INFO", "replication"):find("master_link_status:up", 1, true)
  end, 20, "the replica follows")
end

function sentinels.start(master, replica, options)
  options = options or {}
  await_link(replica)
  options.n = options.n or 3
  local self, places, hosts = setmetatable({ folder = process.temp_dir() }, Sentinels), {}, {}
  for i = 1, options.n do
    self[i] = start(self.folder, i, master, options)
    places[i], hosts[i] = "127.0.0.1 " .. self[i].port, "127.0.0.1:" .. self[i].port
  end
  self.places = table.concat(places, ",")
  self.url = ("redis+sentinel://%s/%s"):format(table.concat(hosts, ","), sentinels.SET)
  return self
end

function Sentinels:await_replica()
  for _, one in ipairs(self) do
    deadline.eventually(function()
      local ok, list = pcall(ask, one, "SENTINEL", "replicas", sentinels.SET)
      local row = ok and type(list) == "table" and list[1]
      if not row then return false end
      local fields = {}
      for i = 1, #row, 2 do fields[row[i]] = row[i + 1] end
      if fields["master-link-status"] ~= "ok" then return false end
      local others = ask(one, "SENTINEL", "sentinels", sentinels.SET)
      return #others == #self - 1
    end, 30, "a Sentinel knows the replica, and the others")
  end
end

function Sentinels:stop()
  for _, one in ipairs(self) do
    if not one.process:code() then one.process:kill() end
  end
  process.remove_dir(self.folder)
end

return sentinels
