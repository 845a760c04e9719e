--- The lives of the app under test: how it ends, and starts again on what its disk kept.
-- Keeps nothing in memory.
local arguments = require("sluice.testing.arguments")
local caller = require("sluice.base.caller")

local lives = {}

local class

local function forget_connections(self, place)
  self.pump(self)
  for _, x in ipairs(self.open) do
    if x.place == place then x:close() end
  end
  self.pump(self)
end

-- Whether connections to a place are open.
local function has_open(self, place)
  for _, x in ipairs(self.open) do
    if x.place == place then return true end
  end
  return false
end

local function terminate(self, place)
  if place.down then return end
  place.asleep_till = nil
  self:wait(place:terminate(), function()
    return not has_open(self, place) and not place:busy()
  end)
  place:shut("stop")
  place.down = "it was stopped"
  forget_connections(self, place)
end

local function boot(self)
  local place = self.place
  place.down = "its start failed"
  local ok, problem = pcall(place.boot, place)
  if not ok then
    pcall(place.shut, place, "kill")
    error(problem, 0)
  end
  place.down = false
  self:settle()
end

local function die(self, how)
  self.place:shut(how)
  self.place.down, self.place.asleep_till = "it was killed", nil
  forget_connections(self, self.place)
end

local Test = {}

--- Stop the server as SIGTERM does, with stop hooks and drain, and start it again.
function Test:restart()
  arguments.running(class, self, "restart")
  terminate(self, self.place)
  boot(self)
end

--- End the server as kill -9 does, and start it again: the disk has what was written.
function Test:kill()
  arguments.running(class, self, "kill")
  die(self, "kill")
  boot(self)
end

--- End a node as kill -9 does; t:restart() starts it again.
function Test:crash()
  arguments.running(class, self, "crash")
  if not self.place.cluster then
    arguments.inside(self, "crash")
    caller.raise("t:crash() leaves a node of a cluster dead: without one t:kill() starts it again")
  end
  die(self, "kill")
  self:settle()
end

--- End the server as a power cut does, and start it again: what was written and not synced is on
-- the disk, or not, or in part.
function Test:cut()
  arguments.running(class, self, "cut")
  arguments.inside(self, "cut")
  die(self, "cut")
  boot(self)
end

--- End the test: the app stops cleanly, and the process has its clock back. Of a node: it stops,
-- until t:restart().
function Test:stop()
  arguments.self(class, self, "t", "stop")
  if self.whole then
    arguments.running(class, self, "stop")
    return terminate(self, self.place)
  end
  if self.stopped then return end
  if not self.place.virtual then forget_connections(self, self.place) end -- a drain takes real time
  local first
  for _, place in ipairs(self.place.cluster and self.place.cluster.nodes or { self.place }) do
    local ok, problem = pcall(terminate, self, place)
    if not ok then pcall(place.shut, place, "kill") end
    first = first or not ok and problem
  end
  self.stopped = true
  self.place:leave()
  if first then error(first, 0) end
end

--- What the disk does from here on; what is not named stays as it is.
-- @tparam table given commit (seconds that a commit takes), early (true: its events are in the
--   file at the beginning of them, else at the end), full (true, bytes of all files, false),
--   failing ("write", "sync", false), hung (true: no commit ends)
function Test:disk(given)
  arguments.running(class, self, "disk")
  arguments.inside(self, "disk")
  if self.place.cluster then caller.raise("t:disk(): no node of a cluster has a disk") end
  self.place.storage:set(given)
end

--- Give a test these methods.
-- @tparam table Class
function lives.extend(Class)
  class = Class
  for name, method in pairs(Test) do Class[name] = method end
end

return lives
