--- Kill a server again and again while publishers publish and subscribers read, and write down what
--- each of them saw. All that is drawn comes from the seed; where a kill falls also from the machine.
---
---   run.cycles { folder =, seed =, cycles =, subscribers =, publishers =, lanes = }
--- (run.restarts: stopped and started by a service manager instead, without a gap.)
--- The folder gets: runs (a line for each: number, first id), publishers, sub-1 … sub-N.
local deadline = require("spec.support.deadline")
local disk_fails = require("spec.support.disk_fails")
local process = require("spec.support.process")
local publisher = require("spec.kills.publisher")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")
local subscriber = require("spec.kills.subscriber")
local world = require("spec.kills.world")

local run = {}

local ANSWERS_MOST = 160 -- in one cycle, before the kill
local SETTLE_SECONDS = 30 -- for the last events to come everywhere

local Run = {}
Run.__index = Run

--- Numbers from a seed, the same on every machine: rng(n) -> 1..n.
function run.rng(seed)
  local state = (seed * 2654435761 + 12345) & 0xffffffffffff
  return function(n)
    state = (state * 25214903917 + 11) & 0xffffffffffff
    return (state >> 17) % n + 1
  end
end

-- Below the ports that the system gives to outgoing connections: one of those could connect to itself.
-- Not drawn from the seed: another run of it may go on beside this one.
local function free_port()
  local rng = run.rng(socket.gettime() * 1e6 // 1 | 0)
  while true do
    local port = 12000 + rng(18000)
    local sock = socket.bind("127.0.0.1", port)
    if sock then
      sock:close()
      return port
    end
  end
end

local HABITS = { "steady", "steady", "steady", "slow", "wanderer", "wanderer", "late" }

local function people(self, o)
  self.subs, self.lanes, self.log = {}, {}, {}
  for i = 1, o.subscribers do
    local s = subscriber.new(("%s/sub-%d"):format(o.folder, i), world.paths[(i - 1) % #world.paths + 1],
      HABITS[self.rng(#HABITS)])
    s.comes = s.habit == "late" and self.rng(o.cycles) or 0
    self.subs[i] = s
  end
  for p = 1, o.publishers do
    for l = 1, o.lanes do
      self.lanes[#self.lanes + 1] = publisher.lane(p, l, run.rng(o.seed * 1000 + #self.lanes), self.log)
    end
  end
end

function run.new(o)
  local self = setmetatable({ o = o, rng = run.rng(o.seed), runs = {}, disk = disk_fails.new() }, Run)
  self.port = o.port or free_port()
  people(self, o)
  return self
end

function Run:start(seconds)
  return server.start { app = world.app, port = self.port, env = self.disk.env, seconds = seconds,
    args = { "--data", self.o.folder .. "/data", "--drain", "0.1" } }
end

-- Where this run's numbers begin: what a newcomer is told before anything is published.
local function probe(self, number)
  local c = sse.connect(self.port, world.PROBE)
  local hello = assert(c:next_event(10))
  c:close()
  self.runs[#self.runs + 1] = ("%d\t%s\t%.6f"):format(number, hello.id, socket.gettime())
end

-- ---- The loop ----------------------------------------------------------------------------

local function on_ready(self, sock)
  local lane, sub = self.by_lane[sock], self.by_sub[sock]
  if lane and lane.sock == sock then
    if lane:read() then self.answers = self.answers + 1 end
  elseif sub and sub.sock == sock and not sub:read() then sub:close("cut") end
end

local function listed(self, slow_too)
  local list = {}
  self.by_lane, self.by_sub = {}, {}
  for _, lane in ipairs(self.lanes) do
    if lane.sock and lane.op then
      self.by_lane[lane.sock] = lane
      list[#list + 1] = lane.sock
    end
  end
  for _, s in ipairs(self.subs) do
    if s.sock and (slow_too or s.habit ~= "slow") then
      self.by_sub[s.sock] = s
      list[#list + 1] = s.sock
    end
  end
  return list
end

function Run:ask()
  for _, lane in ipairs(self.lanes) do
    if not lane.op then lane:ask(self.port) end
  end
end

-- Look at everything once: idle lanes ask, what has come is read.
function Run:turn(publishes)
  if publishes then self:ask() end
  self.turns = (self.turns or 0) + 1
  local ready = socket.select(listed(self, self.turns % 16 == 0), nil, 0.02)
  for _, sock in ipairs(ready) do on_ready(self, sock) end
end

function Run:connect_all(number)
  for _, s in ipairs(self.subs) do
    local away = s.comes > number or (s.habit == "wanderer" and self.rng(3) == 1)
    if not away then s:connect(self.port, number) end
  end
end

-- Some leave while all goes on.
local function wander(self)
  for _, s in ipairs(self.subs) do
    if s.sock and s.habit == "wanderer" and self.rng(120) == 1 then s:close("left") end
  end
end

-- What was sent before the server died arrives; a slow one throws it away.
local function finish(self)
  for _, lane in ipairs(self.lanes) do
    local left = deadline.after(5)
    while lane.sock and lane.op and left() > 0 do
      if #socket.select({ lane.sock }, nil, 0.1) > 0 then lane:read() end
    end
    lane:broke()
  end
  for _, s in ipairs(self.subs) do
    local left = deadline.after(5)
    while s.sock and s.habit ~= "slow" and left() > 0 do
      if #socket.select({ s.sock }, nil, 0.1) > 0 and not s:read() then break end
    end
    s:close("cut")
  end
end

local function publish_until(self, answers, s)
  self.answers = 0
  local left = deadline.after(20)
  while self.answers < answers and left() > 0 and not (s and s.code()) do
    self:turn(true)
    wander(self)
  end
end

-- ---- Cycles ------------------------------------------------------------------------------

-- The disk fails for a while, with all that is going on.
local TROUBLES = {
  { sync_error = disk_fails.EIO, sync_every = 2 }, { write_error = disk_fails.ENOSPC },
  { write_error = disk_fails.EIO, write_every = 7 }, { sync_error = disk_fails.EIO },
}

local function trouble(self, s)
  publish_until(self, self.rng(20), s)
  self.disk.set(TROUBLES[self.rng(#TROUBLES)])
  local ends = socket.gettime() + 0.15
  while socket.gettime() < ends do self:turn(true) end
  self.disk.set {}
end

-- kind -> what happens before the kill
local BEFORE = {
  [2] = function(self, s) publish_until(self, self.rng(4), s) end, -- while many resume
  [4] = trouble, [5] = trouble,
}

-- By itself, in the middle of a write or a sync.
local function dies_writing(kind) return kind >= 6 and kind <= 7 end

local function kill_while_starting(self)
  local ok, s = pcall(self.start, self, 0.01 * self.rng(12))
  if ok then s.kill() end
end

local function one_life(self, kind)
  local s = self:start()
  probe(self, self.number)
  self:connect_all(self.number)
  for _, lane in ipairs(self.lanes) do lane:repeat_one() end
  if dies_writing(kind) then self.disk.set { die_in = self.rng(300) } end
  if BEFORE[kind] then BEFORE[kind](self, s) end
  if kind ~= 2 then publish_until(self, self.rng(ANSWERS_MOST), s) end
  local pause = socket.gettime() + self.rng(4000) / 1e6
  while socket.gettime() < pause do self:turn(false) end
  if kind >= 8 then self:ask() end -- on a busy machine all would be answered
  s.signal(kind == 3 and "TERM" or "KILL")
  finish(self)
  local code = assert(s.process:wait(20))
  assert(code == 137 or (kind == 3 and code == 0), "the server ended with " .. code .. "; its log:\n" .. s.log())
  self.disk.set {}
end

local function cycle(self)
  local kind = self.rng(10)
  if kind == 1 then kill_while_starting(self) end
  one_life(self, kind)
end

-- The last run: one more event on each channel, which all must get.
local function settle(self)
  local s = self.service or self:start()
  if not self.service then probe(self, self.number) end
  for _, sub in ipairs(self.subs) do
    sub.marks, sub.habit = 0, "steady"
    if not sub.sock then sub:connect(self.port, self.number) end
  end
  publish_until(self, 40)
  for _ = 1, 200 do -- what is not known yet is asked again
    local waits = false
    for _, lane in ipairs(self.lanes) do
      if not lane.op and lane.again then lane:ask(self.port) end
      waits = waits or lane.op ~= nil
    end
    if not waits then break end
    self:turn(false)
  end
  self.mark = publisher.lane("end", 0, self.rng, self.log)
  self.mark.name = "end"
  self.lanes = { self.mark }
  for _, name in ipairs(world.names) do
    self.mark.plain = true
    self.mark:ask(self.port, name)
    while self.mark.op do self:turn(false) end
  end
  local left = deadline.after(SETTLE_SECONDS)
  local function waits()
    for _, sub in ipairs(self.subs) do
      if sub.sock and sub.marks < #world.streams[sub.path] then return true end
    end
  end
  while waits() and left() > 0 do self:turn(false) end
  for _, sub in ipairs(self.subs) do sub:close("final") end
  s.stop()
end

local function write_down(self)
  process.write_file(self.o.folder .. "/runs", table.concat(self.runs, "\n") .. "\n")
  process.write_file(self.o.folder .. "/publishers", table.concat(self.log, "\n") .. "\n")
end

--- All of it; raises when a server does not do what it must.
function run.cycles(o)
  local self = run.new(o)
  for number = 1, o.cycles do
    self.number = number
    cycle(self)
  end
  self.number = o.cycles + 1
  settle(self)
  self.failed_writes, self.failed_syncs = self.disk.failed()
  self.disk.remove()
  write_down(self)
  return self
end

-- ---- Restarts ----------------------------------------------------------------------------

-- Numbers of two runs are 2^40 apart, and less than this were used up before the probe.
local PROBED_LATE = 1000000

local function probe_late(self, number, at)
  local c = sse.connect(self.port, world.PROBE)
  local epoch, seq = assert(c:next_event(10)).id:match("^(%w+)%-(%d+)$")
  c:close()
  self.runs[#self.runs + 1] = ("%d\t%s-%d\t%.6f"):format(number, epoch, math.max(0, seq - PROBED_LATE), at)
end

-- Those that were sent away come back at once, while nobody serves as well.
local function come_back(self)
  for _, s in ipairs(self.subs) do
    if not s.sock then s:connect(self.port, subscriber.SOME_RUN) end
  end
end

local function publish_and_return(self, enough)
  local left = deadline.after(40)
  while not enough() and left() > 0 do
    self:turn(true)
    come_back(self)
  end
  return enough()
end

--- Restart a service whose socket its manager holds, while all publish, read and come back: o.cycles
--- times. o.start(port) -> the service, see spec/support/manager.lua. self.window: from the last stop on,
--- until the next server was ready.
function run.restarts(o)
  local self = run.new(o)
  for _, s in ipairs(self.subs) do s.habit, s.comes = "steady", 0 end
  self.all_lanes = self.lanes
  self.service = o.start(self.port)
  probe_late(self, 1, 0)
  for number = 1, o.cycles do
    self.answers = 0
    local most = self.rng(ANSWERS_MOST)
    publish_and_return(self, function() return self.answers >= most end)
    local stopped = socket.gettime()
    self.service.restart()
    local back = publish_and_return(self, function() return self.service.lives() > number end)
    assert(back, "no server came back; the log:\n" .. self.service.log())
    probe_late(self, number + 1, stopped)
    self.window = { stopped, socket.gettime() }
  end
  publish_and_return(self, function() return self.answers >= 2 * ANSWERS_MOST end)
  self.number = o.cycles + 1
  settle(self)
  write_down(self)
  return self
end

return run
