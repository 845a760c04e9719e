--- What is sent to a user stays until it is acknowledged, on all of the user's devices.
---
---   local inbox = require("sluice.inbox").new(app)
---   inbox:send("alice", { message = "Your report is ready" })
---   inbox:stream("/api/notifications", auth:user())
---   inbox:routes("/api/notifications", auth:user())
---
--- The channel `<name>/<user>` is the inbox: a keyed log whose keys are the ids of what is unread,
--- and acknowledging takes a key out. In memory: nothing beside it but what
--- sluice/inbox/escalation.lua says.
local caps = require("sluice.inbox.caps")
local each = require("sluice.inbox.each")
local escalation = require("sluice.inbox.escalation")
local items = require("sluice.inbox.items")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local pages = require("sluice.inbox.pages")
local sluice = require("sluice")

---@class sluice.InboxModule
local inbox = {}

---@class sluice.Inbox
local Inbox = {}
Inbox.__index = Inbox
Inbox.__name = "sluice.Inbox"

local KNOWN = { name = "user", event = "notification", max = 1000, max_bytes = 1 << 20,
  keep = options.NONE, escalate = options.TABLE, durable = true }
local KEEP, MAX_MOST, BYTES_LEAST, BYTES_MOST = 30 * 86400, 10000, 1 << 17, 1 << 28
local KEYS_MAX = 1000000 -- what is too much is dropped by sluice/inbox/caps, which tells it
local ID_MOST = 256 -- bytes of a key

--- The name of a user's channel, for a plan of one's own.
-- @tparam string|integer user_id
-- @treturn string|nil or nil, message, code, field
function Inbox:channel(user_id)
  local segment, message, code, field = items.segment(user_id)
  if not segment then return nil, message, code, field end
  return self.name .. "/" .. segment
end

--- Send something to a user. On a durable inbox it waits until that is on the disk.
-- @tparam string|integer user_id
-- @tparam table message `message`, and `type` ("message"), `severity` ("info"), `title`, `from`,
--   `url`, `fields` (more of the data), `idempotency`
-- @treturn string|nil the id; or nil, message, code, field
-- @treturn integer how many devices get it now
-- @treturn boolean whether it was there already, by `idempotency`
function Inbox:send(user_id, message)
  local channel, text, code, field = self:channel(user_id)
  if not channel then return nil, text, code, field end
  local item, key
  item, key, code, field = items.make("inbox:send()", self.name, user_id, message)
  if not item then return nil, key, code, field end
  if key and self.app:latest(channel, item.id, self.event) then
    return item.id, self.app:stats(channel).subscribers, true
  end
  local has_room
  has_room, text, code = caps.has_room(self, channel, item)
  if not has_room then return nil, text, code end
  self.escalation:sending(item)
  local id, subscribers, again, wrong = self.app:publish(channel, self.event, item,
    { idempotency = key and "send " .. item.id }) -- a sender spells none of the module's keys
  if not id then return nil, subscribers, again, wrong end
  if not again then
    self.escalation:sent(item)
    caps.enforce(self, channel)
  end
  return item.id, subscribers, again
end

--- Send something to several users.
-- @tparam {string|integer,...} user_ids one that is there twice gets it once
-- @tparam table message as of send
-- @treturn integer how many have it
-- @treturn {table,...}|nil for each of the others { user, message, code }
function Inbox:broadcast(user_ids, message)
  local fault = options.list_fault(user_ids, "users' ids")
  if fault then error("inbox:broadcast(user_ids, message): user_ids " .. fault, 2) end
  local n, failed, list, seen = 0, nil, {}, {}
  for _, id in ipairs(user_ids) do
    local segment = items.segment(id)
    if not segment or not seen[segment] then list[#list + 1] = id end
    if segment then seen[segment] = true end
  end
  each(self.app, list, function(id)
    local sent, text, code = self:send(id, message)
    if sent then
      n = n + 1
    else
      failed = failed or sluice.json.array()
      failed[#failed + 1] = { user = id, message = text, code = code }
    end
  end)
  return n, failed
end

--- What a user has not acknowledged, the oldest first.
-- @tparam string|integer user_id
-- @treturn {table,...}|nil the data of the events; or nil, message, code, field
function Inbox:list(user_id)
  local channel, message, code, field = self:channel(user_id)
  if not channel then return nil, message, code, field end
  local list = sluice.json.array()
  local rows
  rows, message, code = self.app:newest(channel, { event = self.event, limit = MAX_MOST })
  if not rows then return nil, message, code end
  for i, row in ipairs(rows) do list[i] = row.data end
  return list
end

--- How much that is.
-- @tparam string|integer user_id
-- @treturn integer|nil or nil, message, code, field
function Inbox:unread(user_id)
  local channel, message, code, field = self:channel(user_id)
  if not channel then return nil, message, code, field end
  local rows, n, why = self.app:newest(channel, { event = self.event, limit = 0 })
  if not rows then return nil, n, why end
  return n
end

local function ack_one(self, channel, id)
  local is_notice = id == caps.KEY
  local item, message, code = self.app:latest(channel, id,
    self.event .. (is_notice and "-dropped" or ""))
  if not item and code then return nil, message, code end
  if not item then return false end
  local ok
  ok, message, code = self.app:publish(channel, self.event .. "-ack",
    { id = id, timestamp = sluice.timestamp() }, { key = id, remove = true, update = true })
  if not ok and code ~= "ENOTFOUND" then return nil, message, code end
  if not ok or is_notice then return false end
  self.escalation:done(channel, id)
  return true
end

--- Acknowledge: it is gone on all of the user's devices, and is not escalated. Ids that are not in
-- this inbox change nothing.
-- @tparam string|integer user_id
-- @tparam string|{string,...} ids
-- @treturn integer|nil how many were unread until now; or nil, message, code, field: try again
function Inbox:ack(user_id, ids)
  if type(ids) == "string" then ids = { ids } end
  local fault = options.list_fault(ids, "strings", "string")
  if fault then error("inbox:ack(user_id, ids): ids " .. fault, 2) end
  local channel, message, code, field = self:channel(user_id)
  if not channel then return nil, message, code, field end
  local n, list, seen = 0, {}, {}
  for _, id in ipairs(ids) do
    local could_be = id ~= "" and #id <= ID_MOST -- any other id is that of no item
    if could_be and not seen[id] then list[#list + 1], seen[id] = id, true end
  end
  each(self.app, list, function(id)
    local done, why, what = ack_one(self, channel, id)
    if done then n = n + 1 end
    if done == nil then message, code = why, what end
  end)
  if message then return nil, message, code end
  return n
end

-- ---- Making --------------------------------------------------------------------------------

local function check(given)
  local o = options("inbox.new", given, KNOWN)
  local function need(good, text, ...)
    if not good then options.raise("inbox.new: " .. text:format(...)) end
  end
  if o.keep == nil then o.keep = KEEP end
  for _, name in ipairs({ "name", "event" }) do
    need(o[name]:find("^[%w_][%w_.-]*$") and #o[name] <= 48,
      "%s '%s': 1 to 48 letters, digits and _ . - are expected", name, o[name])
  end
  need(math.type(o.max) == "integer" and o.max >= 1 and o.max <= MAX_MOST,
    "max is an integer from 1 to %d", MAX_MOST)
  need(math.type(o.max_bytes) == "integer" and o.max_bytes >= BYTES_LEAST
    and o.max_bytes <= BYTES_MOST, "max_bytes is an integer from %d to %d", BYTES_LEAST, BYTES_MOST)
  need(o.keep == false or type(o.keep) == "number" and o.keep >= 1 and o.keep < math.huge,
    "keep is a number of seconds from 1, or false")
  return o
end

--- Make an inbox for each user. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("user": its channels' names begin with it), `event`
--   ("notification"), `max` (1000), `max_bytes` (1 MiB) and `keep` (30 days, in seconds; false: for
--   ever): what one user can have unread, `escalate` ({ severity = { step, … } }), `durable` (true)
-- @treturn sluice.Inbox
function inbox.new(app, given)
  local o = check(given)
  local self = setmetatable({ app = app, name = o.name, event = o.event, max = o.max,
    max_bytes = o.max_bytes, keep = o.keep, durable = o.durable }, Inbox)
  app:channel(o.name .. "/:user", { key = "id", rewind = "latest", durable = o.durable,
    history = { count = 2 * o.max, bytes = 2 * o.max_bytes }, ttl = o.keep, max_keys = KEYS_MAX,
    read = function(user, params) return items.segment_of(user) == params.user end })
  self.escalation = escalation.new(self, o.escalate)
  caps.register(self)
  return self
end

Inbox.stream, Inbox.routes = pages.stream, pages.routes
names.lenient(Inbox, "inbox", Inbox, {})
return names.strict(inbox, "sluice.inbox", ".")
