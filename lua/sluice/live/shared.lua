--- An app in a cluster: joining it before the server starts, and what an app cannot have there.
-- Keeps nothing in memory.
local core = require("sluice.core")
local file = require("sluice.base.file")
local hooks = require("sluice.app.hooks")
local shared_stores = require("sluice.live.shared_stores")
local shared_tasks = require("sluice.live.shared_tasks")
local store = require("sluice.app.store")

local shared = { has_durable = store.has_durable }

local NOT_KEPT = "in a cluster durable = true needs --cluster-durable, which says when an event is "
  .. "kept: aof (on the disk of Redis) or wait:N (on N of its replicas)"

-- Why a generation cannot be in a cluster, or nil.
local function obstacle(generation, keeps)
  local is_left = generation and store.has_durable(generation) and not keeps
  return is_left and NOT_KEPT or nil
end

--- Join the cluster of the settings.
-- @tparam sluice.Runtime runtime whose first generation is live
-- @tparam table settings as sluice.live.cluster has checked them
-- @treturn boolean|nil true, or nil, message, code
function shared.open(runtime, settings)
  local place = settings.cluster
  local keeps = place.on_disk == true or place.replicas ~= nil
  -- For a reload.
  function runtime.stored.opener(generation)
    local why = obstacle(generation, keeps)
    if why then return nil, why, "EINVAL" end
    return true
  end
  local fits, why, kind = runtime.stored:open(runtime.generation)
  if not fits then return nil, why, kind end
  local opened, message, code = runtime.server:cluster_open(settings.cluster)
  if not opened then return nil, message, code end
  runtime.is_shared, runtime.node = true, settings.cluster.node
  runtime.stores = shared_stores.new(runtime, keeps)
  runtime.tasks.shared = shared_tasks.new(runtime)
  runtime.stores:warm(runtime.generation)
  hooks.hear(runtime, runtime.generation)
  return true
end

local function where(place)
  if place.sentinels then return "the master " .. place.set .. " of some Sentinels" end
  return place.path or place.host .. ":" .. place.port
end

local function tell_unused(folder)
  if file.read(folder .. "/sluice.db") then
    core.log("warn", ("SLUICE_DATA: %s has a store, which is not read: with --cluster Redis keeps "
      .. "what is durable"):format(folder))
  else
    core.log("info", "SLUICE_DATA is not used: with --cluster Redis keeps what is durable")
  end
end

--- What the log says of it at the start.
function shared.tell(settings)
  local place = settings.cluster
  if place.unused_data then tell_unused(place.unused_data) end
  core.log("info", ("cluster %s on %s: all channels are shared; timers, services and tasks run on "
    .. "the node that leads"):format(place.name, where(place)))
end

return shared
