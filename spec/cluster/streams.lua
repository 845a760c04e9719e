--- What a node's threads do with what its machine releases: rings of warm channels, streams with a cursor, and
--- what their clients read. As small as it can be, and nothing of csrc/fan.
local streams = {}

local RING = 6

-- ---- A client ---------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

function streams.client(world, channels)
  return setmetatable({ world = world, channels = channels, got = {}, out = {}, tales = {} }, Client)
end

--- What a stream tells: how often a channel failed over, and how many epochs began under it. For judge.lua.
function streams.new_tale(client, node)
  local came = client.last and (client.last.epoch == node:epoch() and "ours" or "earlier") or "new"
  client.tale = { node = node.index, came = came, epochs = 0, resets = {} }
  client.tales[#client.tales + 1] = client.tale
end

function streams.count_reset(client, channel, why)
  if why ~= "failover" then return end
  client.tale.resets[channel] = (client.tale.resets[channel] or 0) + 1
end

function streams.count_epoch(node)
  for client in pairs(node.streams) do client.tale.epochs = client.tale.epochs + 1 end
end

function Client:note(what) self.got[#self.got + 1] = what end

--- Its connection is gone; what it did not read is lost.
function Client:cut()
  if self.node then self.node.streams[self] = nil end
  self.node, self.open, self.out = nil, false, {}
  self:note { what = "cut", at = self.world.step }
end

--- It may come to another node than the last time.
function Client:leave_queue() self.queue, self.ticket = nil, nil end

--- Where it stands on that node: a place and reasons, or nil: not yet.
local function judge(self, node)
  local reasons = {}
  if not self.last then return node:pos(), reasons end
  local epoch, seq = self.last.epoch, self.last.seq
  local asked = self.ticket and node:heard() >= self.ticket
  local verdict, place = node.machine:judge(epoch, seq, asked)
  if verdict == "ask" then
    self.ticket = self.ticket or node.machine:ask()
    return nil
  end
  if verdict == "future" then place = node:pos() end
  if verdict == "epoch" then place = 0 end
  for _, channel in ipairs(verdict ~= "ours" and self.channels or {}) do reasons[channel] = verdict end
  return place, reasons
end

--- Open a stream on a node, if it is ready for that.
function Client:attach(node)
  if self.queue ~= node then self:leave_queue() end
  self.queue = node
  if node:epoch() == "" then return end
  local ready = true
  for _, channel in ipairs(self.channels) do ready = node:want(channel) and ready end
  if not ready then return end
  local place, reasons = judge(self, node)
  if not place then return end
  local lowest
  self.at = {}
  for _, channel in ipairs(self.channels) do
    local floor = node.rings[channel].floor
    self.at[channel] = math.max(place, floor)
    if place < floor and self.last and not reasons[channel] then reasons[channel] = "trimmed" end
    lowest = math.min(lowest or self.at[channel], self.at[channel])
  end
  self:leave_queue()
  streams.new_tale(self, node)
  self.heard = not self.last or self.last.epoch ~= node:epoch()
  self.node, self.open, self.out, self.cursor = node, true, {}, lowest
  self.written = { epoch = node:epoch(), seq = lowest }
  if next(reasons) and self.world.rules.carry then self.written = self.last end
  node.streams[self] = true
  self.out[1] = { what = "hello", id = self.written }
  self:reset(reasons)
  self:pump()
end

--- Tell of losses. The new id stands on the last one: a cut before it brings all of them again.
function Client:reset(reasons)
  local list = {}
  for _, channel in ipairs(self.channels) do
    if reasons[channel] then list[#list + 1] = channel end
  end
  for i, channel in ipairs(list) do
    if i == #list or not self.world.rules.carry then
      self.written = { epoch = self.node:epoch(), seq = self.cursor }
    end
    self.out[#self.out + 1] = { what = "reset", id = self.written, channel = channel, why = reasons[channel] }
    streams.count_reset(self, channel, reasons[channel])
  end
end

--- What a mark tells was lost before its author heard of this epoch; so who heard of it here later knows.
function Client:knows(mark)
  return self.heard and (mark.seq <= self.node.joined or mark.slot == self.node.slot)
end

local function by_number(a, b) return a.seq < b.seq end

--- Send what its rings hold behind its cursor, all channels in one order.
function Client:pump()
  local node, due = self.node, {}
  for _, channel in ipairs(self.channels) do
    local ring = node.rings[channel]
    if ring.floor > self.at[channel] then
      self.at[channel] = ring.floor
      self:reset { [channel] = "slow" }
    end
    for _, entry in ipairs(ring.entries) do
      if entry.seq > self.at[channel] then due[#due + 1] = entry end
    end
  end
  table.sort(due, by_number)
  for _, entry in ipairs(due) do
    if entry.seq > self.cursor then
      self.cursor = entry.seq
      if entry.mark then
        if not self:knows(entry) then self:reset { [entry.channel] = "failover" } end
      else
        self.written = { epoch = node:epoch(), seq = entry.seq }
        self.out[#self.out + 1] = { what = "event", id = self.written, channel = entry.channel, event = entry.id }
      end
    end
  end
  local lowest
  for _, channel in ipairs(self.channels) do
    self.at[channel] = math.max(self.at[channel], math.min(self.cursor, node:pos()))
    lowest = math.min(lowest or self.at[channel], self.at[channel])
  end
  self.cursor = math.max(self.cursor, lowest)
end

--- Another epoch: its place is not above the base, and all of its logs may have lost something.
function Client:fail_over(base)
  local reasons = {}
  self.heard, self.cursor = true, math.min(self.cursor, base)
  for _, channel in ipairs(self.channels) do
    self.at[channel] = math.min(self.at[channel], base)
    reasons[channel] = "failover"
  end
  self:reset(reasons)
end

--- Read up to n of what was sent.
function Client:take(n)
  for _ = 1, math.min(n, #self.out) do
    local one = table.remove(self.out, 1)
    self.last = one.id
    self.began = self.began or self.world.step
    if one.what ~= "hello" then
      one.at = self.world.step
      self:note(one)
    end
  end
end

--- What was loaded has a number, for a world and its machines.
function streams.keep_fills(World)
  function World:keep_fill(fill)
    self.n_fills = self.n_fills + 1
    self.fills[self.n_fills] = fill
    return self.n_fills
  end

  function World:take_fill(n)
    local fill = self.fills[n]
    self.fills[n] = nil
    return fill
  end
end

function Client.parse() end

-- ---- The rings of a node ------------------------------------------------------------------------

--- What it does with the actions of its machine that are meant for it; see node.lua.
local rings = {}

--- Numbers of a ring rise.
local function append(ring, entry)
  local last = ring.entries[#ring.entries]
  if last and last.seq >= entry.seq then error(("%d behind %d in a ring"):format(entry.seq, last.seq), 0) end
  ring.entries[#ring.entries + 1] = entry
end

function rings.release(node, action)
  if action.channel == "" then
    for client in pairs(node.streams) do
      local reasons = {}
      for _, channel in ipairs(client.channels) do reasons[channel] = "failover" end
      if not client:knows(action) then client:reset(reasons) end
    end
    return
  end
  local ring = node.rings[action.channel]
  append(ring, action)
  if #ring.entries > RING then
    ring.floor = math.max(ring.floor, ring.entries[1].seq)
    table.remove(ring.entries, 1)
  end
end

function rings.fill(node, action)
  local fill = node.world:take_fill(action.fill)
  local old = node.rings[action.channel]
  node.rings[action.channel] = fill
  for _, entry in ipairs(fill.entries) do entry.mark = entry.mark or entry.kind == "mark" end
  for client in pairs(old and action.lost and node.streams or {}) do
    if client.at[action.channel] then client:reset { [action.channel] = "trimmed" } end
  end
  return action.more
end

function rings.add(node, action)
  append(node.world.fills[action.fill], action)
end

function rings.drop(node, action) node.world:take_fill(action.fill) end

function rings.epoch(node, action)
  for _, ring in pairs(node.rings) do
    local kept = {}
    for _, entry in ipairs(ring.entries) do
      if entry.seq <= action.base then kept[#kept + 1] = entry end
    end
    ring.entries = kept
    ring.floor = math.min(ring.floor, action.base)
  end
  node.joined = action.joined
  if action.base == math.maxinteger then return end
  streams.count_epoch(node)
  for client in pairs(node.streams) do client:fail_over(action.base) end
end

streams.rings = rings

function streams.forget(node, channel) node.rings[channel] = nil end
function streams.start() end
function streams.stop() end
function streams.serve() end

return streams
