--- An app in a cluster: joining it before the server starts, and what an app cannot have there.
-- Keeps nothing in memory.
local core = require("sluice.core")
local shared_stores = require("sluice.live.shared_stores")
local shared_tasks = require("sluice.live.shared_tasks")
local store = require("sluice.app.store")

local shared = {}

local NO_STORE = "in a cluster of this version no node keeps anything on a disk: channels with "
  .. "durable = true are for an app on one machine; leave that out, or --cluster"

local function refuse() return nil, NO_STORE, "EINVAL" end

--- Join the cluster of the settings.
-- @tparam sluice.Runtime runtime whose first generation is live
-- @tparam table settings as sluice.live.cluster has checked them
-- @treturn boolean|nil true, or nil, message, code
function shared.open(runtime, settings)
  runtime.stored.opener = refuse -- for a reload
  if store.has_durable(runtime.generation) then return refuse() end
  local opened, message, code = runtime.server:cluster_open(settings.cluster)
  if not opened then return nil, message, code end
  runtime.is_shared, runtime.node = true, settings.cluster.node
  runtime.stores, runtime.tasks.shared = shared_stores.new(runtime), shared_tasks.new(runtime)
  runtime.stores:warm(runtime.generation)
  return true
end

local function where(place)
  if place.sentinels then return "the master " .. place.set .. " of some Sentinels" end
  return place.path or place.host .. ":" .. place.port
end

--- What the log says of it at the start.
function shared.tell(settings)
  local place = settings.cluster
  core.log("info", ("cluster %s on %s: all channels are shared; timers, services and tasks run on "
    .. "the node that leads"):format(place.name, where(place)))
end

return shared
