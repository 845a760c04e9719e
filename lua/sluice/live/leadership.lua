--- What runs once in a cluster runs on the node that leads: timers and services, unless they are
-- `per = "node"`. Their coroutines, and what they spawn, belong to one lead: its token goes with
-- what they publish, and they end when it does. In memory: the token.
local leadership = {}

---@class sluice.Leadership
local Leadership = {}
Leadership.__index = Leadership

function leadership.new(runtime)
  return setmetatable({ runtime = runtime, token = nil }, Leadership)
end

-- The token, when it is good at this moment: the process may have slept.
local function current(self)
  if not self.token then return nil end
  return self.runtime.server:cluster_leads() == self.token and self.token or nil
end

--- Whether what is registered with a `per` runs on this node now.
-- @tparam string per "cluster" or "node"
function Leadership:allows(per)
  return per == "node" or not self.runtime.is_shared or current(self) ~= nil
end

--- The next coroutine is of something with a `per`.
function Leadership:lend(per)
  local once = per ~= "node" and self.runtime.is_shared
  self.runtime.scheduler.lease = once and current(self) or nil
end

--- Seconds until the next whole period of the cluster's clock, which all nodes have.
-- @tparam number period
function Leadership:seconds_left(period)
  local _, now = self.runtime.server:cluster_leads()
  return period - now % period
end

--- This node leads with a token, or no more.
-- @tparam integer|nil token
function Leadership:turn(token)
  local before, runtime = self.token, self.runtime
  if token == before then return end
  self.token = token
  if before then
    runtime.services:rest()
    if runtime.tasks.shared then runtime.tasks.shared:rest() end
    runtime.scheduler:cancel_all(function(fiber)
      return fiber.lease == before and not fiber.borrows
    end)
  end
  if not token or runtime.stopping then return end
  runtime.timers:align()
  runtime.services:go_on()
  if next(runtime.generation.tasks) then runtime.tasks.shared:begin() end
end

return leadership
