--- A simulated Redis that runs the scripts of a cluster, the same texts, at a time that its owner
-- decides. What it knows of Redis is what these scripts and the link need (csrc/cluster); a spec
-- holds it against a real server. In memory: its keys, and how its last writes are undone.
--
--   local sim = redis.new { seed = 1, now_ms = ... }
--   sim:call("GET", "x")                      a reply as in resp.lua
--   sim.now_ms                                its TIME
--   sim.is_replica, sim.out_of_memory, sim.few_replicas, sim.is_loading: as if so
--   sim:restart { lose = n }                  another process, without the last n writes
--   sim:promote { lose = n }                  its replica takes over: another history, too
--   local c = sim:connect()                   a connection, in order, that can block:
--     c:send(words, tag)  c:step() -> list of { tag, reply }  c:close()
--     c.broken                              as each is after a restart
--   sim.paused = true                         it takes commands, and carries them out afterwards
local keys = require("sluice.testing.redis_lists")
local scripts = require("sluice.testing.redis_scripts")

local redis = {}

local Sim = {}
Sim.__index = Sim

local REMEMBERED = 1000 -- steps that can be lost

local READS = {}
for name in ("GET HGET HMGET HEXISTS HLEN HGETALL HKEYS HVALS HSCAN HRANDFIELD LRANGE LINDEX XLEN "
  .. "XREVRANGE XREAD ZRANGEBYSCORE ZREVRANGE KEYS TYPE INFO TIME PING SELECT CLIENT AUTH CONFIG "
  .. "SCRIPT EVALSHA WAIT"):gmatch("%u+") do
  READS[name] = true
end

local GROWS = { SET = true, HSET = true, HSETNX = true, HINCRBY = true, RPUSH = true, XADD = true,
  ZADD = true }

function Sim:hex()
  local out = {}
  for i = 1, 5 do out[i] = ("%08x"):format(self.random(0, 0xffffffff)) end
  return table.concat(out)
end

-- splitmix64, of this server alone: `random(n)` and `random(a, b)` as in math.
local function generator(seed)
  local state = seed
  return function(low, high)
    if not high then low, high = 1, low end
    state = state + 0x9e3779b97f4a7c15
    local z = (state ~ (state >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ~ (z >> 27)) * 0x94d049bb133111eb
    return low + ((z ~ (z >> 31)) >> 1) % (high - low + 1)
  end
end

local NONE = ("0"):rep(40) -- it was no replica

--- Make one; it is empty.
-- @tparam[opt] table options seed (of what it draws), now_ms (what it says that it is)
function redis.new(options)
  options = options or {}
  local random = generator(options.seed or 1)
  local self = setmetatable({ data = keys.new(random), random = random, scripts = {}, done = {},
    connections = {}, now_ms = options.now_ms or 1700000000000, began_ms = 0, evicted = 0, config =
      { appendonly = "yes", appendfsync = "everysec", ["min-replicas-to-write"] = "0" } }, Sim)
  self.run, self.replid, self.replid2 = self:hex(), self:hex(), NONE
  return self
end

-- ---- What it says of itself --------------------------------------------------------------

function Sim:info()
  return table.concat({ "# Server", "redis_version:7.0.15", "run_id:" .. self.run,
    "uptime_in_seconds:" .. (self.now_ms - self.began_ms) // 1000, "loading:" ..
    (self.is_loading and 1 or 0), "# Stats", "evicted_keys:" .. self.evicted, "# Replication",
    "role:" .. (self.is_replica and "slave" or "master"), "connected_slaves:0",
    "master_replid:" .. self.replid, "master_replid2:" .. self.replid2, "# Memory", "maxmemory:0",
    "maxmemory_policy:noeviction", "# Persistence", "aof_enabled:1",
    "# Cluster", "cluster_enabled:0", "" }, "\r\n")
end

local SERVER = {}

function SERVER.INFO(sim) return sim:info() end

function SERVER.TIME(sim)
  return { tostring(sim.now_ms // 1000), tostring(sim.now_ms % 1000 * 1000) }
end

function SERVER.PING(_, text) return text or { ok = "PONG" } end
function SERVER.SELECT() return { ok = "OK" } end
SERVER.CLIENT, SERVER.AUTH = SERVER.SELECT, SERVER.SELECT
function SERVER.WAIT() return 0 end

function SERVER.CONFIG(sim, what, ...)
  local words, out = { ... }, {}
  if what:upper() == "SET" then
    sim.config[words[1]] = words[2]
    return { ok = "OK" }
  end
  for _, name in ipairs(words) do table.move({ name, sim.config[name] }, 1, 2, #out + 1, out) end
  return out
end

-- ---- Scripts -------------------------------------------------------------------------------

local function take_script(sim, text)
  local script = scripts.new(text, function(words) return sim:execute(words) end)
  sim.scripts[script.name] = script
  return script.name
end

function SERVER.SCRIPT(sim, what, text)
  if what:upper() ~= "FLUSH" then return take_script(sim, text) end
  sim.scripts = {}
  return { ok = "OK" }
end

function Sim:refuse_script(script)
  if script.reads then return nil end
  if self.is_replica then return "READONLY You can't write against a read only replica." end
  if self.few_replicas then return "NOREPLICAS Not enough good replicas to write." end
  if self.out_of_memory and not script.grows then
    return "OOM allow-oom flag is not set on the script, can not run it when used memory > "
      .. "'maxmemory'"
  end
end

function SERVER.EVALSHA(sim, name, n, ...)
  local script, words = sim.scripts[name], { ... }
  if not script then return { err = "NOSCRIPT No matching script. Please use EVAL." } end
  local why = sim:refuse_script(script)
  if why then return { err = why } end
  n = math.tointeger(tonumber(n))
  return script:run(table.move(words, 1, n, 1, {}), table.move(words, n + 1, #words, 1, {}))
end

-- ---- Commands ------------------------------------------------------------------------------

local EVENTS = { log = true, keyed = true, state = true }

-- An entry of a feed; those that are events, of one field, are counted, to be lost.
function SERVER.XADD(sim, ...)
  local undo = sim.data.undo
  if EVENTS[(select(-2, ...))] then undo.events = (undo.events or 0) + 1 end
  return keys.commands.XADD(sim.data, ...)
end

--- One command, inside of a script or not; an error is raised.
function Sim:execute(words)
  local name = words[1]:upper()
  local own, command = SERVER[name], keys.commands[name]
  self.data.now_ms = self.now_ms
  if own then return own(self, table.unpack(words, 2)) end
  if not command then error({ err = "ERR unknown command '" .. words[1] .. "'" }, 0) end
  return command(self.data, table.unpack(words, 2))
end

local function plain(reply)
  if type(reply) ~= "table" or reply.err then return reply end
  if reply.ok then return reply.ok end
  local out = {}
  for i, item in ipairs(reply) do out[i] = plain(item) end
  return out
end

function Sim:refuse(name)
  if self.is_loading and name ~= "INFO" then
    return "LOADING Redis is loading the dataset in memory"
  end
  if READS[name] then return nil end
  if self.is_replica then return "READONLY You can't write against a read only replica." end
  if self.few_replicas then return "NOREPLICAS Not enough good replicas to write." end
  if self.out_of_memory and GROWS[name] then
    return "OOM command not allowed when used memory > 'maxmemory'."
  end
end

--- A command as a client sends it: one step, which can be lost as a whole.
function Sim:call(...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = tostring(word) end
  local why = self:refuse(words[1]:upper())
  if why then return { err = why } end
  self.data.undo = {}
  local done, reply = pcall(self.execute, self, words)
  local undo = self.data.undo
  self.data.undo = nil
  if #undo > 0 then self.done[#self.done + 1] = undo end
  if #self.done > REMEMBERED then table.remove(self.done, 1) end
  if not done and type(reply) ~= "table" then error(reply, 2) end -- a script of ours that is wrong
  return plain(reply)
end

-- ---- Faults --------------------------------------------------------------------------------

--- The last steps never were.
function Sim:lose(n)
  for _ = 1, math.min(n or 0, #self.done) do
    local undo = table.remove(self.done)
    for i = #undo, 1, -1 do undo[i]() end
  end
end

--- How many of the last events can be lost.
function Sim:losable()
  local events = 0
  for _, undo in ipairs(self.done) do events = events + (undo.events or 0) end
  return events
end

--- So many of the last steps never were that the last n events are among them.
function Sim:lose_events(n)
  local steps, events = 0, 0
  while events < n and steps < #self.done do
    events = events + (self.done[#self.done - steps].events or 0)
    steps = steps + 1
  end
  self:lose(steps)
end

--- Another process, over what is left. What lies in its sockets is gone.
function Sim:restart(options)
  self:lose(options and options.lose)
  self.run, self.replid, self.scripts, self.done, self.evicted = self:hex(), self:hex(), {}, {}, 0
  self.replid2, self.began_ms = NONE, self.now_ms
  for c in pairs(self.connections) do c.broken = true end
  self.connections, self.paused = {}, false
end

--- A replica takes its place: another process too, that says whose it was.
function Sim:promote(options)
  local before = self.replid
  self:restart(options)
  self.replid2 = before
end

--- The same process once more, to go on where this one becomes another: an isolated master.
-- @tparam function is_with whether a connection goes with it
function Sim:split(is_with)
  local twin = redis.new { seed = self.random(1 << 30), now_ms = self.now_ms }
  twin.data, twin.began_ms = keys.copy(self.data, twin.random), self.began_ms
  twin.run, twin.replid, twin.replid2 = self.run, self.replid, self.replid2
  for name, value in pairs(self.config) do twin.config[name] = value end
  for _, script in pairs(self.scripts) do take_script(twin, script.text) end
  for c in pairs(self.connections) do
    if is_with(c) then c.sim, twin.connections[c] = twin, true end
  end
  for c in pairs(twin.connections) do self.connections[c] = nil end
  return twin
end

redis.Sim = Sim

-- ---- Connections ---------------------------------------------------------------------------

local Connection = {}
Connection.__index = Connection

function Sim:connect()
  local c = setmetatable({ sim = self, queue = {}, broken = false }, Connection)
  self.connections[c] = true
  return c
end

--- A command, as words; its reply comes with the tag.
function Connection:send(words, tag)
  self.queue[#self.queue + 1] = { words = words, tag = tag }
end

-- Until when this one waits for an entry, in ms; nil: it does not.
local function blocks_until(sim, one)
  for i, word in ipairs(one.words) do
    if word == "BLOCK" then
      one.by = one.by or sim.now_ms + tonumber(one.words[i + 1])
      return one.by
    end
  end
end

function Connection:close() self.sim.connections[self] = nil end

--- Carry out what can be by now.
function Connection:step()
  local out, sim = {}, self.sim
  self.blocks_till = nil
  while #self.queue > 0 and not (sim.paused or self.broken) do
    local one = self.queue[1]
    local reply = sim:call(table.unpack(one.words))
    local by = reply == false and blocks_until(sim, one)
    self.blocks_till = by and sim.now_ms < by and by or nil
    if self.blocks_till then break end
    table.remove(self.queue, 1)
    out[#out + 1] = { one.tag, reply }
  end
  return out
end

return redis
