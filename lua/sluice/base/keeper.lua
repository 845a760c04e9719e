--- What keeps plain data by key: a store of the app, memory until the process ends, or for all
--- nodes of a cluster a channel that no client can follow. All say `get`, `set`, `delete` and
--- `each`; memory outlives a reload and refuses nothing.
local failure = require("sluice.base.failure")
local process = require("sluice.base.process")

local keeper = {}

local Memory = {}
Memory.__index = Memory
function Memory:get(key) return self.state()[key] end
function Memory:delete(key) self.state()[key] = nil return true end
function Memory:set(key, value) self.state()[key] = value return true end
function Memory:each() return pairs(self.state()) end

local Shared = {}
Shared.__index = Shared

local EVENT, PAGE, KEYS_MAX = "v", 1000, 1000000
local LOOKS, LOOK_SECONDS = 20, 0.02

local function nobody() return false end

function Shared:get(key)
  local row, _, code = self.app:latest(self.channel, key, EVENT)
  if row then return row.value end
  return nil, code and "Redis is away", code
end

function Shared:set(key, value, opts)
  local id, message, code = self.app:publish(self.channel, EVENT, { row = key, value = value },
    { wait = not opts or opts.wait ~= false })
  if id then return true end
  return nil, message, code
end

--- The same, gone by itself after some seconds.
function Shared:lend(key, value, seconds)
  local id, message, code = self.app:publish(self.channel, EVENT, { row = key, value = value },
    { ttl = seconds })
  if id then return true end
  return nil, message, code
end

--- The value of a key, which is deleted: for one of all who ask for it. What another node has just
-- set may be on its way.
-- @return the value; or nil, and what stands in the way when that is not that there is none
function Shared:take(key)
  local value, message, code = self:get(key)
  for _ = 1, LOOKS do
    if value ~= nil or code then break end
    process.runtime.scheduler:sleep(LOOK_SECONDS)
    value, message, code = self:get(key)
  end
  if value == nil and not code and self.app:stats().cluster.state ~= "live" then
    message, code = "Redis is away", "EBUSY"
  end
  if value == nil then return nil, message, code end
  local id, again
  id, message, again = self.app:remove(self.channel, key, { idempotency = key })
  if not id then return nil, message, again end
  return not again and value or nil
end

function Shared:delete(key, opts)
  local id, message, code = self.app:remove(self.channel, key,
    { wait = not opts or opts.wait ~= false })
  if id then return true end
  return nil, message, code
end

function Shared:each(prefix)
  local keys, values, rows, after = {}, {}
  repeat
    local message, code
    rows, message, code = self.app:newest(self.channel,
      { event = EVENT, limit = PAGE, after = after })
    if not rows then failure.refuse(message, code) end
    for _, row in ipairs(rows) do
      after = row.id
      if row.key:sub(1, #(prefix or "")) == (prefix or "") then
        keys[#keys + 1], values[#keys + 1] = row.key, row.data.value
      end
    end
  until #rows < PAGE
  local at = 0
  return function()
    at = at + 1
    return keys[at], values[at]
  end
end

--- Whether this process is one of several nodes, so that a table of its own is not what all have.
function keeper.is_shared()
  return process.runtime ~= nil and process.runtime.is_shared == true
end

--- What all nodes of a cluster have, as long as Redis keeps it. At the top level of an app.
function keeper.shared(app, channel)
  app:channel(channel, { history = 1, key = "row", rewind = "latest", ttl = false,
    max_keys = KEYS_MAX, durable = false, read = nobody })
  return setmetatable({ app = app, channel = channel }, Shared)
end

-- At the top level of an app, which declares the store or the state of that name.
return setmetatable(keeper, { __call = function(_, app, name, durable)
  if durable then return app:store(name) end
  return setmetatable({ state = app:state(name, {}) }, Memory)
end })
