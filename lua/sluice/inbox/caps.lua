--- How much sluice.inbox keeps for a user: by count, bytes and age. What goes is told twice, in
--- this order: `<event>-dropped` under a key of its own, which stays for devices that come later,
--- and `<event>-ack` with a reason, which takes it out. Keeps nothing in memory.
local sluice = require("sluice")

local caps = { KEY = "dropped" }

local FRAME_BYTES = 128 -- of an event beside its data, at most
local PAGE, SLICE, SWEEP_SECONDS, QUIET_SECONDS = 50, 100, 60, 60

-- The items of an inbox, oldest first.
local function each_item(self, channel)
  local rows, i, after = {}, PAGE, nil
  return function()
    if i == PAGE then
      local given = { event = self.event, limit = PAGE, after = after }
      rows, i = self.app:newest(channel, given) or {}, 0
    end
    i = i + 1
    if not rows[i] then return nil end
    after = rows[i].id
    return rows[i].data
  end
end

-- What is dropped first: the oldest of the lowest priority.
local function find_lowest(self, channel)
  local lowest
  for item in each_item(self, channel) do
    if not lowest or (item.priority or 0) < (lowest.priority or 0) then lowest = item end
    if (lowest.priority or 0) == 0 then break end
  end
  return lowest
end

-- How many are too many, and how many bytes, with so much more; or nil, message, code.
local function excess(self, channel, more, size)
  local rows, n, bytes = self.app:newest(channel, { event = self.event, limit = 0 })
  if not rows then return nil, n, bytes end
  return n + more - self.max, bytes + size - self.max_bytes
end

-- Whether so many and so many bytes go when what is no more severe goes.
local function can_go(self, channel, priority, many, bytes)
  for item in each_item(self, channel) do
    if (item.priority or 0) <= priority then
      many, bytes = many - 1, bytes - #(sluice.json.encode(item) or "")
    end
    if many <= 0 and bytes <= 0 then return true end
  end
  return false
end

--- Whether there is room for an item, or for which something else can go.
-- @treturn boolean|nil true; or nil, message, code
function caps.has_room(self, channel, item)
  local size = #(sluice.json.encode(item) or "") + FRAME_BYTES
  local many, bytes, code = excess(self, channel, 1, size)
  if not many then return nil, bytes, code end
  if many <= 0 and bytes <= 0 then return true end
  if can_go(self, channel, item.priority, many, bytes) then return true end
  return nil, ("the inbox of '%s' is full of what is more severe"):format(item.to), "EFULL"
end

-- Tell that an item goes, and take it out. Whoever does the same at the same time does no harm.
local function drop(self, channel, item, reason)
  local event, timestamp = self.event, sluice.timestamp()
  local before = self.app:latest(channel, caps.KEY, event .. "-dropped")
  local total = before and before.total or 0
  local is_told = before and before.id == item.id and before.timestamp >= item.timestamp
  if not is_told then total = total + 1 end
  local ok, message, code = self.app:publish(channel, event .. "-dropped",
    { id = item.id, reason = reason, severity = item.severity, total = total,
      timestamp = timestamp }, { key = caps.KEY,
      idempotency = ("dropped %s %s"):format(item.id, item.timestamp) })
  if not ok then return nil, message, code end
  ok, message, code = self.app:publish(channel, event .. "-ack",
    { id = item.id, reason = reason, timestamp = timestamp },
    { key = item.id, remove = true, update = true })
  if not ok and code ~= "ENOTFOUND" then return nil, message, code end
  self.escalation:done(channel, item.id)
  return true
end

-- What is too old; one after the other, since they are in order.
local function find_old(self, channel)
  if not self.keep then return nil end
  local rows = self.app:newest(channel, { event = self.event, limit = 1 })
  local item = rows and rows[1] and rows[1].data
  local sent = item and sluice.time(item.timestamp)
  if sent and sent + self.keep <= sluice.time() then return item end
end

--- Drop what is too much, or too old. What the disk refuses is tried again by the next send, and
-- within a minute.
-- @treturn boolean|nil true, or nil, message, code
function caps.enforce(self, channel)
  while true do
    local reason, item = "keep", find_old(self, channel)
    if not item then
      local many, bytes, code = excess(self, channel, 0, 0)
      if not many then return nil, bytes, code end
      reason = many > 0 and "max" or bytes > 0 and "max_bytes"
      item = reason and find_lowest(self, channel)
    end
    if not item then return true end
    local ok, message, code = drop(self, channel, item, reason)
    if not ok then return nil, message, code end
  end
end

local function sweep(self)
  local s = self.escalation.state()
  for i, channel in ipairs(self.app:channels(self.name .. "/*")) do
    local ok, message, code = caps.enforce(self, channel)
    if not ok and sluice.now() - (s.complained or -QUIET_SECONDS) >= QUIET_SECONDS then
      s.complained = sluice.now()
      local text = "inbox '%s': what is too much stays for now: %s"
      sluice.log.error(text:format(self.name, message), { code = code, channel = channel })
    end
    if i % SLICE == 0 then sluice.sleep(0) end
  end
  self.escalation:sweep()
end

--- At load: once a minute all inboxes are looked at, in a cluster by each node that has them.
function caps.register(self)
  local period = self.keep and math.max(1, math.min(SWEEP_SECONDS, self.keep / 10)) or SWEEP_SECONDS
  -- each node those that it has
  self.app:every(period, { name = self.name .. ".sweep", per = "node" }, function() sweep(self) end)
end

return caps
