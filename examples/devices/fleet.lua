--- Devices and what their owners see of them: a floor plan by one stream, alerts, limits.
---
---   local fleet = require("fleet").new(app)                   kept on the disk
---   local fleet = require("fleet").new(app, { durable = false })
---   fleet:add("boiler", { name = "Boiler", limit = 80, x = 20, y = 70, owner = "alice" })
---   fleet:report("boiler", { temperature = 81 })
---
--- Channels: `devices/<owner>` says what is known of each device, `device/<id>` has its telemetry,
--- `device/<id>/alerts` its alerts. An owner has at most 30 devices.
local fit = require("fit")
local floor = require("floor")
local sluice = require("sluice")

local fleet = {}
local Fleet = {}
Fleet.__index = Fleet

local DEVICES_MAX = 30 -- two channels each: a stream follows up to 64
local NOBODY = "~" -- owns what is added without a user: everybody sees it

-- A fleet in memory begins anew with each start, at versions that no page has seen.
local function first_version() return math.floor(sluice.time() * 1000) end

--- What is known of a device; nil when there is none.
function Fleet:get(id) return self.devices:get(id) end

--- The channel that says what an owner has.
function Fleet.channel(_, owner) return "devices/" .. (owner or NOBODY) end

function Fleet:_tell(id, device)
  return self.app:publish(self:channel(device.owner), "device", { deviceId = id, name = device.name,
    x = device.x, y = device.y, limit = device.limit, clear = device.clear,
    version = device.version or 0 })
end

--- The ids of all devices of an owner.
function Fleet:list(owner)
  local list = {}
  for id, device in self.devices:each() do
    if device.owner == owner then list[#list + 1] = id end
  end
  return list
end

--- One more device for a client that follows all of its user, perhaps since its plan was made.
function Fleet:follow(client, id)
  local followed = client.meta.devices
  if not followed or followed[id] then return end
  followed[id] = true
  client:subscribe("device/" .. id, { rewind = "all" })
  client:subscribe(self.alerts:channel(id))
end

--- Add a device: `name`, `limit`, `clear`, `x` and `y` (percent of the plan), `owner`, `key`.
function Fleet:add(id, about)
  local row = { name = about.name or id, limit = about.limit,
    clear = about.clear or about.limit - 5, x = about.x or 50, y = about.y or 50,
    owner = about.owner, key = about.key, version = first_version() }
  local fine, message, code, field = self.alerts:channel(id)
  if not fine then return nil, message, code, field end
  if self.devices:get(id) then return fit.refuse("id", "there is such a device already") end
  local ok
  ok, message, code, field = fit.device(row)
  if not ok then return nil, message, code, field end
  if #self:list(row.owner) >= DEVICES_MAX then return nil, "too many devices", "EFULL" end
  ok, message, code = self.devices:set(id, row)
  if not ok then return nil, message, code end
  for client in self.app:clients({ channel = self:channel(row.owner) }) do
    self:follow(client, id)
  end
  return self:_tell(id, row)
end

--- Change limits of a device: `limit`, `clear` or `gap`, see fit.changed; the next reading is
--- judged by them. Returns the device as it is then: each change counts its version up, so that a
--- page knows what is newer. When another node of a cluster was quicker, it is done once more.
function Fleet:set_limits(id, change)
  local row, ok, message, code, field
  repeat
    local before = self.devices:get(id)
    row, message, code, field = fit.changed(before, change)
    if not row then return nil, message, code, field end
    row.version, row.changed = (before.version or 0) + 1, sluice.time()
    ok, message, code = self.devices:cas(id, before, row)
  until ok or code ~= "ECONFLICT"
  if not ok then return nil, message, code end
  ok, message, code = self:_tell(id, row)
  if not ok then return nil, message, code end
  return row
end

--- Publish a reading, and judge it unless it is of the past (`timestamp`).
function Fleet:report(id, t, timestamp)
  if not timestamp then
    local ok, message, code = self.alerts:check(id, t)
    if not ok then return nil, message, code end
  end
  return self.app:publish("device/" .. id, "telemetry", { deviceId = id,
    temperature = t.temperature, battery = t.battery, status = t.status, location = t.location,
    sensorData = t.sensors, timestamp = timestamp or sluice.timestamp() })
end

-- What a store can, in memory.
local function in_memory(app)
  local rows = app:state("devices", {})
  local function set(_, id, row)
    rows()[id] = row
    return true
  end
  return { get = function(_, id) return rows()[id] end, set = set,
    cas = function(self, id, _, row) return set(self, id, row) end,
    each = function()
      local copy = {}
      for id, row in pairs(rows()) do copy[id] = row end
      return pairs(copy)
    end }
end

--- At the top level of an app.
-- @tparam sluice.App app
-- @tparam[opt] table options `durable` (true)
function fleet.new(app, options)
  local durable = not options or options.durable ~= false
  local self = setmetatable({ app = app, devices = durable and app:store("devices")
    or in_memory(app) }, Fleet)
  local function owns(user, p)
    local device = self:get(p.id or p.subject)
    return device ~= nil and device.owner == (user and user.id)
  end
  self.alerts = require("sluice.alerts").new(app, { name = "device-alerts", durable = durable,
    channel = "device/:subject/alerts", subject = "deviceId", read = owns, rewind = "latest" })
  floor.rules(self)
  app:channel("devices/:owner", { history = "latest", key = "deviceId", ttl = false,
    read = function(user, p) return self:channel(user and user.id) == "devices/" .. p.owner end })
  app:channel("device/:id", { history = 90, rewind = 1, ttl = 3600, read = owns })
  floor.routes(app, self, owns)
  app:on("start", function()
    for id, device in self.devices:each() do self:_tell(id, device) end
  end)
  return self
end

return fleet
