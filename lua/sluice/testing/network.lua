--- The network between the nodes of a cluster under test and its simulated Redis: what goes each
-- way, how long it takes, and what is cut off. In memory: the connections, and what is under way.
local redis = require("sluice.testing.redis")
local resp = require("sluice.testing.resp")

local network = {}

local Network = {}
Network.__index = Network

local LANES = { "scripts", "feed" } -- as a node's link has them
local RESENT_MOST_MS = 6000 -- behind the end of a partition
local REFUSED = "no connection (connection refused)"
local BROKEN = "the server closed the connection"

--- Make one; nobody is connected.
-- @param world whose clock it follows
function network.new(world)
  local sim = redis.new { seed = world.seed, now_ms = math.floor(world:time() * 1000) }
  return setmetatable({ world = world, redis = sim, lines = {}, late = {}, cut = {}, latency = 0,
    away_till = nil, paused_till = nil, old = nil, beside = {} }, Network)
end

-- ---- A connection --------------------------------------------------------------------------

-- `going` and `coming`: { at =, … }, the oldest first; nothing overtakes.
local function open(self, node, lane, number)
  local line = { node = node, lane = lane, number = number, going = {}, coming = {},
    link = (self.beside[node] and self.old or self.redis):connect(), held_till = nil }
  self.lines[#self.lines + 1] = line
  return line
end

local function line_of(self, node, lane)
  for _, line in ipairs(self.lines) do
    if line.node == node and line.lane == lane then return line end
  end
end

-- The node has left it: what it has said goes on.
local function abandon(self, line)
  for i, other in ipairs(self.lines) do
    if other == line then table.remove(self.lines, i) end
  end
  self.late[#self.late + 1] = line
end

local function put(self, list, what)
  what.at = self.world:now() + self.latency / 2
  local last = list[#list]
  if last and last.at > what.at then what.at = last.at end
  list[#list + 1] = what
end

local function is_due(self, list) return list[1] and list[1].at <= self.world:now() end

-- ---- What moves ----------------------------------------------------------------------------

-- What a node has said: commands, whole.
local function gather(self, line)
  local bytes = line.node.server:redis_take(line.lane)
  local at = 1
  while at <= #bytes do
    local words
    words, at = resp.words(bytes, at)
    put(self, line.going, { words = words })
  end
  return #bytes > 0
end

-- Whether what a node has said does not arrive for now.
local function is_held(self, line)
  return self.cut[line.node] or line.held_till ~= nil and self.world:now() < line.held_till
end

-- Between a connection and the server; whether something moved.
local function serve(self, line)
  local moved = false
  while is_due(self, line.going) and not is_held(self, line) do
    line.link:send(table.remove(line.going, 1).words)
    moved = true
  end
  for _, reply in ipairs(line.link:step()) do
    put(self, line.coming, { bytes = resp.reply(reply[2] or false) })
    moved = true
  end
  return moved
end

local function deliver(self, line)
  if not is_due(self, line.coming) or self.cut[line.node] or line.node:is_asleep() then
    return false
  end
  line.node.server:redis_hear(line.lane, table.remove(line.coming, 1).bytes)
  return true
end

-- Dial, hang up: whether something changed.
local function follow_dials(self, node, lane)
  local number, is_open = nil, nil
  if node.server then number, is_open = node.server:redis_dialled(lane) end
  local line = line_of(self, node, lane)
  if line and line.number ~= number then
    abandon(self, line)
    line = nil
  end
  if not number or is_open or line or self.cut[node] then return false end
  if self.away_till and not self.beside[node] then
    node.server:redis_cut(lane, REFUSED)
  else
    open(self, node, lane, number)
    node.server:redis_accept(lane)
  end
  return true
end

-- A server that has ended says so, to whom it reaches.
local function report_ends(self)
  local any = false
  for i = #self.lines, 1, -1 do
    local line = self.lines[i]
    if line.link.broken and not self.cut[line.node] and not line.node:is_asleep() then
      table.remove(self.lines, i)
      line.node:enter()
      line.node.server:redis_cut(line.lane, BROKEN)
      any = true
    end
  end
  return any
end

local function carry_late(self)
  local moved = false
  for i = #self.late, 1, -1 do
    local line = self.late[i]
    moved = serve(self, line) or moved
    local is_over = #line.going == 0 and #line.link.queue == 0
    if is_over or line.link.broken or line.link.blocks_till then
      line.link:close()
      table.remove(self.late, i)
    end
  end
  return moved
end

local function turn(self, node)
  local moved = false
  node:enter()
  for _, lane in ipairs(LANES) do
    if not node:is_asleep() then moved = follow_dials(self, node, lane) or moved end
    local line = line_of(self, node, lane)
    if line then
      if not node:is_asleep() then moved = gather(self, line) or moved end
      moved = serve(self, line) or moved
      moved = deliver(self, line) or moved
    end
  end
  return moved
end

--- Something has to be durable: Redis is as an operator has to have it then.
function Network:keep_all()
  self.redis.config.appendfsync = self.fsync or "always"
end

--- Do all that is due now.
-- @tparam {sluice.testing.Inside,...} nodes
-- @treturn boolean whether something moved
function Network:carry(nodes)
  local now = self.world:now()
  self.redis.now_ms = math.floor(self.world:time() * 1000 + 1e-6)
  if self.old then self.old.now_ms = self.redis.now_ms end
  if self.away_till and now >= self.away_till then self.away_till = nil end
  if self.paused_till and now >= self.paused_till then
    self.paused_till, self.redis.paused = nil, false
  end
  local moved = report_ends(self)
  moved = carry_late(self) or moved
  for _, node in ipairs(nodes) do moved = turn(self, node) or moved end
  return moved
end

-- ---- Time ------------------------------------------------------------------------------------

local function sooner(a, b) return b and b < a and b or a end

--- When something is next; math.huge: nothing is.
function Network:next_due()
  local at = sooner(sooner(math.huge, self.away_till), self.paused_till)
  local ahead = self.world:time() - self.world:now()
  for _, line in ipairs(self.lines) do
    if not self.cut[line.node] then
      at = sooner(at, line.going[1] and line.going[1].at)
      local heard = line.coming[1] and not line.node:is_asleep()
      at = sooner(at, heard and line.coming[1].at)
    end
    local till = line.link.blocks_till
    at = sooner(at, till and not line.link.sim.paused and till / 1000 - ahead)
  end
  for _, line in ipairs(self.late) do
    local first = line.going[1]
    if first and not self.cut[line.node] then
      at = sooner(at, math.max(first.at, line.held_till or 0))
    end
  end
  return at
end

-- ---- Faults ----------------------------------------------------------------------------------

--- A node has died: what it has said is on its way.
function Network:forget(node)
  for i = #self.lines, 1, -1 do
    if self.lines[i].node == node then abandon(self, self.lines[i]) end
  end
end

--- Nothing passes between these nodes and the server.
function Network:part(nodes)
  for _, node in ipairs(nodes) do self.cut[node] = true end
end

-- An isolated server becomes a replica of the other one.
local function unite(self)
  if self.old then self.old:restart() end
  self.old, self.beside = nil, {}
end

--- It does again, for all, and there is one server. What was said before comes when it is sent
-- again, which takes its time.
function Network:heal()
  for _, line in ipairs(self.late) do
    if self.cut[line.node] then
      line.held_till = self.world:now() + self.redis.random(0, RESENT_MOST_MS) / 1000
    end
  end
  self.cut = {}
  unite(self)
end

--- Some nodes stay with this process, which does not hear that another one takes over.
function Network:isolate(nodes)
  unite(self)
  for _, node in ipairs(nodes) do self.beside[node] = true end
  local links = {}
  for _, line in ipairs(self.lines) do links[line.link] = self.beside[line.node] end
  self.old = self.redis:split(function(link) return links[link] end)
end

--- Another process is the server, after some seconds.
-- @tparam integer lose so many of the last events are lost
-- @tparam number seconds
-- @tparam[opt] boolean is_replica it was a replica of the one before
function Network:restart(lose, seconds, is_replica)
  self.redis:lose_events(lose)
  self.redis[is_replica and "promote" or "restart"](self.redis)
  self.paused_till = nil
  self.away_till = seconds > 0 and self.world:now() + seconds or nil
end

--- It takes commands, and carries them out afterwards.
-- @tparam boolean|number how for so many seconds
function Network:pause(how)
  self.redis.paused = how ~= false
  self.paused_till = type(how) == "number" and self.world:now() + how or nil
end

return network
