--- The option `per` of what runs by itself: once in a cluster, or on each node. Keeps nothing in
-- memory.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")

local per = {}

--- Raise unless it is one of them.
-- @tparam string what for the message
-- @param value
function per.check(what, value)
  if value ~= "cluster" and value ~= "node" then
    caller.raise('%s: per is "cluster" (once in a cluster) or "node" (on each of its nodes)', what)
  end
end

--- Read options that have nothing else.
-- @tparam string what
-- @tparam table|nil given
-- @treturn string "cluster" or "node"
function per.read(what, given)
  local o = options(what, given, { per = "cluster" })
  per.check(what, o.per)
  return o.per
end

--- A generation publishes for the first time on a channel of one node: what runs on the node that
-- leads reaches no clients of others.
-- @tparam sluice.Runtime runtime
-- @tparam string channel
function per.note_publish(runtime, channel)
  local fiber = runtime.scheduler.current
  if not (fiber and fiber.lease) then return end
  core.log("warn", ("channel '%s' is of this node alone (shared = false), and what publishes to it "
    .. 'runs only on the node that leads: give its timer or service per = "node"'):format(channel),
    { channel = channel })
end

return per
