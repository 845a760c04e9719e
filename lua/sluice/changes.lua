--- Changes of records as events: one `dataUpdate` for a burst of changes of one entity.
---
---   local orders = require("sluice.changes").new(app):entity("order")
---   orders:updated(7, { status = "paid" })
---
--- Changes wait in app:state, with one task, until none has come for `debounce`, or `max_delay`:
---
---      change ──▶ waits, joined with what waits ──▶ due: sent ──▶ forgotten
---                                                    │
---                          a later try, unchanged ◀──┘ the disk refuses
---
--- Channels: `changes/<type>`. In memory: entities that wait, at most the 100,000 tasks of an app.
local keeper = require("sluice.base.keeper")
local segment = require("sluice.base.segment")
local sluice = require("sluice")
local burst = require("sluice.changes.burst")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local source = require("sluice.changes.source")
local together = require("sluice.changes.together")

---@class sluice.ChangesModule
local changes = {}

---@class sluice.Changes
local Changes = {}
Changes.__index = Changes
Changes.__name = "sluice.Changes"

---@class sluice.Entity
local Entity = {}
Entity.__index = Entity
Entity.__name = "sluice.Entity"

local KNOWN = { name = "changes", event = "dataUpdate", debounce = 0.05, max_delay = options.NUMBER,
  history = options.NONE, rewind = options.NONE, durable = false, read = options.FUNCTION,
  publish = options.FUNCTION }
local SECONDS_MAX, DELAY, RETRY_MIN, RETRY_MAX = 3600, 20, 1, 30
local TOLD_SECONDS = 10 -- between two lines of the log about what cannot be published
-- May succeed later. All else is wrong with the event itself.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ECONNECT = true,
  EINTERNAL = true }

-- ---- Publishing ------------------------------------------------------------------------------

local function publish(self, change, once)
  if not self.publisher then
    return self.app:publish(("%s/%s"):format(self.name, change.type), self.event, change,
      { remove = change.op == "deleted" or nil, idempotency = self.durable and once or nil })
  end
  local ok, id, message, code = pcall(self.publisher, change, { idempotency = once })
  if not ok then return nil, burst.show(id), "EINTERNAL" end
  return id or message == nil, message, code
end

local function tell(self, message)
  local now = sluice.now()
  if self.told and now - self.told < TOLD_SECONDS then return end
  self.told = now
  sluice.log.warn(("%s: not published, tried again: %s"):format(self.name, burst.show(message)))
end

--- Publish one change.
-- @tparam table item { type, id, op, changes, at }
-- @tparam string once its idempotency key
-- @treturn boolean|nil true when that is done with, also when it can never be published (the log
--   says so); or nil, message, code: later
function Changes:_send(item, once)
  local id, message, code = publish(self, { type = item.type, id = item.id, op = item.op,
    changes = item.changes, timestamp = sluice.timestamp(item.at) }, once)
  if id then return true end
  if LATER[code] then return nil, message, code end
  sluice.log.error(("%s: the change of %s '%s' was not published: %s"):format(self.name, item.type,
    item.id, burst.show(message or code)))
  return true
end

-- ---- Entities --------------------------------------------------------------------------------

local flush

-- In a cluster tasks run on the node that leads, and what waits here is this node's. A reload may
-- end its coroutine, or the end of a lead: then the sweep does it.
local function arm(self, key, entry, seconds)
  if not keeper.is_shared() then
    local id, message, code = self.app:after(seconds, self.task, key,
      { id = ("%s %s"):format(self.task, key) })
    if not id then return nil, message, code end
  else
    self.app:spawn(function()
      sluice.sleep(seconds)
      flush(self, key)
    end)
  end
  entry.armed = true
  return true
end

local function put(self, type_name, op, given, fields)
  local id = burst.read_id(given)
  if not id then
    return nil, "id: a string of 1 to 256 bytes or a whole number is expected", "EBADFIELD", "id"
  end
  local copy, message, code = burst.read_fields(fields)
  if not copy then return nil, message, code, "fields" end
  local item = { id = id, type = type_name, op = op, changes = copy, at = sluice.time() }
  local good
  good, message, code = burst.check(item)
  if not good then return nil, "fields: " .. message, code, "fields" end
  local waiting, now = self.waiting(), sluice.now()
  local key = ("%s/%s"):format(type_name, id)
  local entry = waiting[key] or { list = {} }
  if not (entry.armed or entry.busy) then
    local ok, why, what = arm(self, key, entry, self.stopping and 0 or self.debounce)
    if not ok then return nil, why, what end
  end
  waiting[key], entry.last = entry, now
  if #entry.list == 0 then
    self.nth = self.nth + 1
    entry.first, entry.nth = now, self.nth
  end
  local _, full = burst.join(entry.list, item)
  if full then
    entry.full, entry.first = true, now
    if not (entry.busy or entry.retry_at) then arm(self, key, entry, 0) end
  end
  return true
end

-- Send the first n of what is there. False: one could not be published yet.
local function send(self, entry, n)
  for _ = 1, n do
    local item = entry.list[1]
    if not item then break end
    item.fixed, item.once = true, item.once or sluice.id()
    local ok, message = self:_send(item, item.once)
    if not ok then
      tell(self, message)
      return false
    end
    table.remove(entry.list, 1)
  end
  return true
end

local release = { __close = function(hold) hold.entry.busy = nil end }

-- How much of what waits is due: all of it, or what the last one does not fit with. 0: nothing,
-- before some seconds are over.
local function due(self, entry, at_once)
  local n, now = #entry.list, sluice.now() + 1e-6
  local time = math.min(entry.last + self.debounce, entry.first + self.max_delay)
  local retry = entry.retry_at or 0
  if n == 0 or at_once or now >= math.max(time, retry) then return n end
  if entry.full and now >= retry then return n - 1 end
  return 0, math.max(time, retry) - sluice.now()
end

-- Publish what an entity's readers are to be told, if it is due. A run that a reload closes begins
-- anew, with the same event.
function flush(self, key, at_once)
  local waiting = self.waiting()
  local entry = waiting[key]
  if not entry or entry.busy then return end
  entry.armed = nil
  local n, seconds = due(self, entry, at_once)
  if seconds then return arm(self, key, entry, seconds) end
  entry.busy, entry.full = true, nil
  local _ <close> = setmetatable({ entry = entry }, release)
  local sent = send(self, entry, n)
  if #entry.list == 0 then
    waiting[key] = nil
    return
  end
  if sent then
    seconds = entry.full and 0 or self.debounce
    entry.first, entry.retry_at, entry.wait = sluice.now(), nil, nil
  else
    seconds = math.min((entry.wait or RETRY_MIN / 2) * 2, RETRY_MAX)
    entry.wait, entry.retry_at = seconds, sluice.now() + seconds
  end
  arm(self, key, entry, seconds)
end

-- What is due, and nobody has come for.
local function sweep(self)
  if not keeper.is_shared() then return end
  local keys = burst.oldest(self.waiting(), function(entry)
    return not entry.busy and due(self, entry) > 0
  end)
  together(self.app, keys, function(key) flush(self, key) end)
end

-- The server stops: what waits is published before its streams end.
local function stop(self)
  local waiting = self.waiting()
  self.stopping = true
  together(self.app, burst.oldest(waiting), function(key)
    flush(self, key, true)
    while waiting[key] and waiting[key].busy do sluice.sleep(0.001) end
  end)
  for key in pairs(waiting) do
    sluice.log.error(("%s: the server ends, and the change of %s is not published")
      :format(self.name, key))
  end
end

--- An entity has been made.
-- @tparam string|integer id
-- @tparam[opt] table fields
-- @treturn boolean|nil true: an event will come; or nil, message, code, field ("ETOOBIG": its data
--   would have more than 65,000 bytes)
function Entity:created(id, fields) return put(self.of, self.type, "created", id, fields) end

--- An entity has changed.
-- @tparam string|integer id
-- @tparam[opt] table fields those that changed, with their new values (sluice.json.null: none)
function Entity:updated(id, fields) return put(self.of, self.type, "updated", id, fields) end

--- An entity is gone.
-- @tparam string|integer id
function Entity:deleted(id) return put(self.of, self.type, "deleted", id) end

local function check_type(what, name, level)
  if segment.fits(name) then return end
  error(("%s: type: at most 64 letters, digits and _ . @ + = ~ : - are expected, not '%s'")
    :format(what, burst.show(name)), level or 3)
end

--- The entities of one type.
-- @tparam string name "order"
-- @treturn sluice.Entity
function Changes:entity(name)
  check_type("changes:entity()", name)
  return setmetatable({ of = self, type = name }, Entity)
end

--- The channel of a type, for plans.
-- @tparam string name
-- @treturn string "changes/order"
function Changes:channel(name)
  check_type("changes:channel()", name)
  return ("%s/%s"):format(self.name, name)
end

--- Publish what another program writes to an SQLite file. At the top level of an app.
-- @tparam table given `path`, `table`; `cursor` (a column whose values only grow), `id` ("id"),
--   `type` (the name of the table), `op` and `changes` (columns of a table of changes), `fields`
--   (columns to publish; default all), `start` ("end" or "begin"), `every` (0.5 s), `settle`
--   (seconds; 0 for a unique cursor, else 2), `batch` (500 rows), `durable` (true: the cursor)
function Changes:sqlite(given)
  source.new(self, given, check_type)
end

-- ---- New -------------------------------------------------------------------------------------

local function check(given)
  local o = options("changes.new", given, KNOWN)
  if not o.name:find("^[%w_][%w_.-]*$") then
    options.raise("changes.new: name '%s' may hold letters, digits and _ . - only", o.name)
  end
  o.max_delay = o.max_delay or DELAY * o.debounce
  if not (o.debounce >= 0 and o.debounce <= SECONDS_MAX) then
    options.raise("changes.new: debounce is a number of seconds from 0 to 3600")
  end
  if not (o.max_delay >= o.debounce and o.max_delay <= DELAY * SECONDS_MAX) then
    options.raise("changes.new: max_delay is a number of seconds from debounce to 72000")
  end
  return o
end

--- Publish changes. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("changes": its channels' names begin with it), `event`
--   ("dataUpdate"), `debounce` (0.05 s), `max_delay` (20 times that), `history` (1000), `rewind`
--   (0) and `durable` (false) of its channels, `read` (who may read them), `publish` (fn(change,
--   options): publishes in another way, and returns what app:publish returns)
-- @treturn sluice.Changes
function changes.new(app, given)
  local o = check(given)
  local self = setmetatable({ app = app, name = o.name, task = o.name .. ".flush", event = o.event,
    debounce = o.debounce, max_delay = o.max_delay, durable = o.durable, nth = 0,
    publisher = o.publish, waiting = app:state(o.name .. ".waiting", {}) }, Changes)
  if not o.publish then
    app:channel(o.name .. "/:type", { history = o.history or 1000, rewind = o.rewind or 0,
      key = "id", durable = o.durable, read = o.read })
  end
  app:task(self.task, { restart = true }, function(key) flush(self, key) end)
  app:every(1, { name = self.task, per = "node" }, function() sweep(self) end)
  app:on("stop", function() stop(self) end)
  return self
end

names.lenient(Changes, "changes", Changes, {})
names.lenient(Entity, "entity", Entity, {})
return names.strict(changes, "sluice.changes", ".")
