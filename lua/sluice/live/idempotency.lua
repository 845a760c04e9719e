--- publish(…, { idempotency = key }): the same key on the same channel answers the same
-- id within a day. In memory: 100,000 keys at most; the oldest go first.
local idempotency = {}

---@class sluice.Idempotency
local Idempotency = {}
Idempotency.__index = Idempotency

local SECONDS = 24 * 3600
local KEYS_MAX = 100000

--- An empty table of keys.
-- @tparam function now monotonic seconds
function idempotency.new(now)
  return setmetatable({ now = now, rows = {}, order = {}, first = 1, last = 0 }, Idempotency)
end

local function expire(self)
  local now = self.now()
  while self.first <= self.last do
    local name = self.order[self.first]
    local row = self.rows[name]
    if self.last - self.first < KEYS_MAX and row.expires > now then return end
    self.order[self.first] = nil
    self.first = self.first + 1
    self.rows[name] = nil
  end
end

--- The id that a key stands for, or nil.
function Idempotency:find(channel, key)
  expire(self)
  local row = self.rows[channel .. "\0" .. key]
  return row and row.id
end

--- Remember what a key stands for.
function Idempotency:remember(channel, key, id)
  local name = channel .. "\0" .. key
  self.rows[name] = { id = id, expires = self.now() + SECONDS }
  self.last = self.last + 1
  self.order[self.last] = name
end

return idempotency
