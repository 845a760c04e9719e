--- app:service: one coroutine that always runs, restarted 1 to 30 s after it ended. In a cluster it
-- runs on the node that leads, unless it is per node.
-- In memory: one row per service.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local per = require("sluice.app.per")

local services = {}

---@class sluice.Services
local Services = {}
Services.__index = Services

local WAIT_MIN, WAIT_MAX = 1, 30
local STEADY_SECONDS = 30 -- a service that ran this long restarts with the shortest wait again

--- Register: app:service.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam table|function opts { per = "cluster"|"node" }
-- @tparam[opt] function fn
function services.register(generation, name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(name) ~= "string" or name == "" then
    caller.raise("app:service(name, fn): the name is a string")
  end
  if type(fn) ~= "function" then caller.raise("app:service(%q, fn): fn is missing", name) end
  if generation.services[name] then
    caller.raise("service '%s' is defined twice (%s)", name, generation.services[name].where)
  end
  local where = per.read(("app:service(%q)"):format(name), opts)
  generation.services[name] = { name = name, fn = fn, per = where, where = caller.where(),
    module = caller.module() }
end

--- The services of a runtime.
function services.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, generation = nil }, Services)
end

local start

-- The next generation's service of a name begins when this one has ended.
local function hand_on(self, row)
  if row.successor then
    self.rows[row.service.name] = row.successor
    start(self, row.successor)
  end
end

local function again(self, row, ok)
  local scheduler = self.runtime.scheduler
  row.fiber = nil
  if row.retiring then return hand_on(self, row) end
  if row.stopped or row.rests then return end
  if scheduler.now() - row.started >= STEADY_SECONDS then row.wait = WAIT_MIN end
  local wait = row.wait
  row.wait = math.min(wait * 2, WAIT_MAX)
  local text = "service '%s' ended, again in %g s"
  core.log(ok and "info" or "warn", text:format(row.service.name, wait))
  row.entry = scheduler:at(scheduler.now() + wait, function()
    row.entry = nil
    start(self, row)
  end)
end

function start(self, row)
  local leadership = self.runtime.leadership
  row.rests = not leadership:allows(row.service.per)
  if row.rests then return end
  leadership:lend(row.service.per)
  row.started = self.runtime.scheduler.now()
  row.fiber = self.runtime.scheduler:queue(self.generation, "service",
    ("service %s (%s)"):format(row.service.name, row.service.where),
      function(ok) again(self, row, ok) end, row.service.fn)
end

local function stop(self, row)
  row.stopped, row.successor = true, nil
  if row.entry then self.runtime.scheduler:drop(row.entry) end
  if row.fiber then self.runtime.scheduler:cancel(row.fiber) end
end

--- End all services (their `<close>` variables run).
function Services:stop()
  local rows = self.rows
  self.rows = {}
  for _, row in pairs(rows) do stop(self, row) end
end

--- This node leads no more: those that are not per node end, and rest.
function Services:rest()
  for _, row in pairs(self.rows) do
    if row.service.per ~= "node" then
      row.rests = true
      if row.entry then self.runtime.scheduler:drop(row.entry) end
      row.entry = nil
      if row.fiber then self.runtime.scheduler:cancel(row.fiber) end
    end
  end
end

--- It leads: those that rest start.
function Services:go_on()
  for _, row in pairs(self.rows) do
    if row.rests and not row.fiber then
      row.wait = WAIT_MIN
      start(self, row)
    end
  end
end

--- Start the services of a generation. One that still runs in the generation before ends at
-- its next sluice.checkpoint(), or when that generation is closed; only then does its
-- successor start.
function Services:adopt(generation)
  local before = self.rows
  self.rows, self.generation = {}, generation
  for name, service in pairs(generation.services) do
    local row, old = { service = service, wait = WAIT_MIN }, before[name]
    if old and old.fiber then
      old.retiring, old.successor = true, row
      self.rows[name] = old
    else
      self.rows[name] = row
      start(self, row)
    end
  end
  for name, old in pairs(before) do
    if old.entry then self.runtime.scheduler:drop(old.entry) end
    if not generation.services[name] then old.retiring = true end
  end
end

return services
