--- Who follows the channels of timers with while_subscribed, in the whole cluster. Each node tells
-- when its first follower comes, and at the ticks of its timers when that changes, and again before
-- the others forget it. In memory: one time for each such channel and node.
local followers = {}

---@class sluice.Followers
local Followers = {}
Followers.__index = Followers

local AGAIN_SECONDS = 20 -- then a node says it again
local FORGOTTEN_SECONDS = 45 -- a node that says nothing for so long is gone

function followers.new(runtime)
  return setmetatable({ runtime = runtime, elsewhere = {}, told = {} }, Followers)
end

local function tell(self, channel, are_here)
  local runtime = self.runtime
  self.told[channel] = are_here and runtime.scheduler.now() or nil
  -- in a coroutine of its own: a tick does not wait for Redis
  runtime.scheduler:queue(runtime.generation, "spawn", "followers of " .. channel, nil, function()
    runtime.notices:tell("w", channel, runtime.server:cluster_look().slot, { here = are_here })
  end)
end

--- Somebody is about to follow a channel here, as the first one.
function Followers:come(channel)
  if self.runtime.is_shared then tell(self, channel, true) end
end

-- Nodes that follow it, beside this one.
local function are_elsewhere(self, channel)
  local now, nodes = self.runtime.scheduler.now(), self.elsewhere[channel] or {}
  for _, at in pairs(nodes) do
    if now - at <= FORGOTTEN_SECONDS then return true end
  end
  self.elsewhere[channel] = nil
  return false
end

--- At a tick of a timer: whether anybody follows its channel.
-- @tparam string channel
-- @tparam string per "node": here
function Followers:are_there(channel, per)
  local are_here = self.runtime.server:subscribers(channel) > 0
  if per == "node" or not self.runtime.is_shared then return are_here end
  local told = self.told[channel]
  local is_old = told and self.runtime.scheduler.now() - told >= AGAIN_SECONDS
  if are_here ~= (told ~= nil) or are_here and is_old then tell(self, channel, are_here) end
  return are_here or are_elsewhere(self, channel)
end

--- A node has told of its followers.
-- @tparam string channel
-- @tparam string node
-- @tparam boolean are_there
-- @treturn boolean whether they are the first there
function Followers:hear(channel, node, are_there)
  local list = self.elsewhere[channel] or {}
  local is_first = are_there and list[node] == nil
  list[node] = are_there and self.runtime.scheduler.now() or nil
  self.elsewhere[channel] = next(list) and list or nil
  return is_first
end

return followers
