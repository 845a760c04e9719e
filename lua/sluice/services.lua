--- app:service: one coroutine that always runs, started again 1 to 30 s after it ended.
-- In memory: one row per service.
local core = require("sluice.core")
local caller = require("sluice.caller")

local services = {}

---@class sluice.Services
local Services = {}
Services.__index = Services

local WAIT_MIN, WAIT_MAX = 1, 30
local STEADY_SECONDS = 30 -- a service that ran this long starts with the short wait again

--- Register: app:service.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @tparam function fn
function services.register(generation, name, fn)
  if type(name) ~= "string" or name == "" then
    caller.raise("app:service(name, fn): the name is a string")
  end
  if type(fn) ~= "function" then caller.raise("app:service(%q, fn): fn is missing", name) end
  if generation.services[name] then
    caller.raise("service '%s' is defined twice (%s)", name, generation.services[name].where)
  end
  generation.services[name] = { name = name, fn = fn, where = caller.where() }
end

--- The services of a runtime.
function services.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, generation = nil }, Services)
end

local start

local function again(self, row, ok)
  local scheduler = self.runtime.scheduler
  if row.stopped then return end
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
  row.started = self.runtime.scheduler.now()
  row.fiber = self.runtime.scheduler:queue(self.generation, "service",
    ("service %s (%s)"):format(row.service.name, row.service.where),
      function(ok) again(self, row, ok) end, row.service.fn)
end

--- End all services (their `<close>` variables run).
function Services:stop()
  for _, row in pairs(self.rows) do
    row.stopped = true
    if row.entry then self.runtime.scheduler:drop(row.entry) end
    self.runtime.scheduler:cancel(row.fiber)
  end
  self.rows = {}
end

--- Start the services of a generation, after those of the one before have ended.
function Services:adopt(generation)
  self:stop()
  self.generation = generation
  for name, service in pairs(generation.services) do
    local row = { service = service, wait = WAIT_MIN }
    self.rows[name] = row
    start(self, row)
  end
end

return services
