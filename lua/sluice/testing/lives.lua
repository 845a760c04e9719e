--- The lives of the app under test: how it ends, and starts again on what its disk kept.
-- Keeps nothing in memory.
local arguments = require("sluice.testing.arguments")

local lives = {}

local class

local function forget_connections(self)
  self.pump(self)
  for _, x in ipairs(self.open) do x:close() end
  self.open = {}
end

local function terminate(self)
  if self.down then return end
  self:wait(self.place:terminate(), function()
    return #self.open == 0 and not self.place:busy()
  end)
  self.place:shut("stop")
  forget_connections(self)
end

local function boot(self)
  self.down = true
  local ok, problem = pcall(self.place.boot, self.place)
  if not ok then
    pcall(self.place.shut, self.place, "kill")
    error(problem, 0)
  end
  self.down = false
  self:settle()
end

local function die(self, how)
  self.place:shut(how)
  forget_connections(self)
  boot(self)
end

local Test = {}

--- Stop the server as SIGTERM does, with stop hooks and drain, and start it again.
function Test:restart()
  arguments.running(class, self, "restart")
  terminate(self)
  boot(self)
end

--- End the server as kill -9 does, and start it again: the disk has what was written.
function Test:kill()
  arguments.running(class, self, "kill")
  die(self, "kill")
end

--- End the server as a power cut does, and start it again: what was written and not synced is on
-- the disk, or not, or in part.
function Test:cut()
  arguments.running(class, self, "cut")
  arguments.inside(self, "cut")
  die(self, "cut")
end

--- End the test: the app stops cleanly, and the process has its clock back.
function Test:stop()
  arguments.self(class, self, "t", "stop")
  if self.stopped then return end
  if not self.place.virtual then forget_connections(self) end -- a drain would take real time
  local ok, problem = pcall(terminate, self)
  if not ok then pcall(self.place.shut, self.place, "kill") end
  self.stopped = true
  self.place:leave()
  if not ok then error(problem, 0) end
end

--- What the disk does from here on; what is not named stays as it is.
-- @tparam table given commit (seconds that a commit takes), early (true: its events are in the
--   file at the beginning of them, else at the end), full (true, bytes of all files, false),
--   failing ("write", "sync", false), hung (true: no commit ends)
function Test:disk(given)
  arguments.running(class, self, "disk")
  arguments.inside(self, "disk")
  self.place.storage:set(given)
end

--- Give a test these methods.
-- @tparam table Class
function lives.extend(Class)
  class = Class
  for name, method in pairs(Test) do Class[name] = method end
end

return lives
