--- changes:sqlite: rows that another program adds to an SQLite file, or changes, become events.
---
--- A service asks for rows behind a cursor, and moves it when they are published:
---
---      rows ──▶ joined by entity ──▶ their end stored ──▶ published ──▶ cursor stored
---
--- So nothing is skipped when the process dies anywhere, and what is read again then is the same
--- rows, joined to the same events with the same idempotency keys: a durable channel has them once.
--- In memory: one batch of rows.
local sluice = require("sluice")
local joined = require("sluice.changes.rows")
local options = require("sluice.base.options")
local query = require("sluice.changes.query")
local sqlite = require("sluice.sqlite")

local source = {}

---@class sluice.changes.Source
local Source = {}
Source.__index = Source

local KNOWN = { path = options.STRING, table = options.STRING, cursor = options.STRING, id = "id",
  type = options.STRING, op = options.STRING, changes = options.STRING, fields = options.TABLE,
  start = "end", every = 0.5, settle = options.NUMBER, batch = 500, durable = true }
local RANGES = { every = { 0.05, 3600 }, settle = { 0, 3600 }, batch = { 1, 10000 } }
local SETTLE = 2 -- seconds, for a cursor that is not unique
local LIMITS = { busy = 5, timeout = 30, max_rows = 10001, max_bytes = 64 << 20 }

-- ---- The cursor: { of, era, at, id, upto = { at, id } }, before all rows without `at` --------

-- Like an app:store, until the process ends.
local Memory = {}
Memory.__index = Memory
function Memory:get(key) return self.state()[key] end
function Memory:set(key, value) self.state()[key] = value return true end

local function move(self, era, at, id, upto)
  return self.cursors:set(self.type, { of = self.of, era = era, at = at, id = id, upto = upto })
end

-- Numbers may come again: then the events have other idempotency keys.
local function begin_anew(self, at, id)
  self.seen, self.limit, self.settle = {}, nil, self.wanted_settle
  return move(self, sluice.id(), at, id)
end

-- What stands in the way of a query: "file" or "table" when it is not there.
local function missing(message, code)
  if code == "EINVAL" and message:find("no such table", 1, true) then return "table" end
  if code == "ECONNECT" and message:find("No such file", 1, true) then return "file" end
end

-- The first look: what is there counts as read, unless start = "begin". What comes into a file or
-- a table that is made later is new.
local function first_look(self, newest, message, code)
  if newest == nil and not missing(message, code) then return nil, message, code end
  if not newest or self.start == "begin" then return begin_anew(self) end
  return begin_anew(self, newest.at, newest.id)
end

-- The newest row stands before the cursor, or there is none.
local function fallen(self, place, newest)
  if place.at == nil then return true end
  local counted, message, code = self.query:is_counted(self.db)
  if counted == nil then return nil, message, code end
  if counted then
    local number
    number, message, code = self.query:last_number(self.db)
    if number == nil then return nil, message, code end
    if number and query.is_at_least(number, place.at) then return true end -- old rows are deleted
    sluice.log.warn(("%s: the numbers of '%s' begin again: it is read from its beginning")
      :format(self.what, self.table))
    return begin_anew(self)
  end
  if not newest then return begin_anew(self) end
  sluice.log.warn(("%s: the newest %s is %s, behind the cursor at %s: what is there counts as read")
    :format(self.what, self.cursor, tostring(newest.at), tostring(place.at)))
  return begin_anew(self, newest.at, newest.id)
end

-- ---- Rows --------------------------------------------------------------------------------------

-- The largest cursor that may be read: one that was there `settle` seconds ago. Nil: none yet.
local function settled(self, newest)
  local seen, now, limit = self.seen, sluice.now(), nil
  if #seen == 0 or seen[#seen].at ~= newest.at then
    seen[#seen + 1] = { at = newest.at, since = now }
  end
  while seen[1] and seen[1].since + self.settle <= now + 1e-6 do
    limit = seen[1].at
    if #seen == 1 then break end
    table.remove(seen, 1)
  end
  return limit or self.limit
end

-- ---- Publishing --------------------------------------------------------------------------------

-- Publish what of a batch is not published yet. A batch that is tried again knows what it did.
local function send(self, era, events, upto)
  local batch = ("%s %s %s"):format(era, tostring(upto[query.AT]), tostring(upto[query.ID]))
  local all = self.sent()
  if not all[self.type] or all[self.type].batch ~= batch then
    all[self.type] = { batch = batch, done = {} }
  end
  local done, left, message, code = all[self.type].done, {}, nil, nil
  for _, event in ipairs(events) do
    event.once = ("%s %s %s %s"):format(era, self.type, tostring(event.place), event.id)
    if not done[event.once] then left[#left + 1] = event end
  end
  self.of_changes:_together(left, function(event)
    local ok, why, what = self.of_changes:_send(event, event.once)
    if ok then done[event.once] = true else message, code = why, what end
  end)
  if message then return nil, message, code end
  return true
end

-- Publish what stands behind the cursor. Returns whether there may be more; or nil, message, code.
local function read_on(self, place, limit)
  local rows, message, code = self.query:rows(self.db, place, limit, self.size)
  if not rows then
    if code == "ETOOBIG" and self.size > 1 then
      self.size = self.size // 2
      return true
    end
    return nil, message, code
  end
  local events, last = joined.join(self, rows)
  if not last then
    if not place.upto then return false end
    return move(self, place.era, place.upto.at, place.upto.id) -- they are gone meanwhile
  end
  local at, id = last[query.AT], last[query.ID]
  local ok
  if #rows > 1 or place.upto then
    ok, message, code = move(self, place.era, place.at, place.id, { at = at, id = id })
    if not ok then return nil, message, code end
  end
  ok, message, code = send(self, place.era, events, last)
  if not ok then return nil, message, code end
  ok, message, code = move(self, place.era, at, id)
  if not ok then return nil, message, code end
  return #rows == self.size or last ~= rows[#rows] or place.upto ~= nil
end

-- The newest row, false when there is none; or nil, message, code. Then the file is open, and it is
-- known how long rows settle.
local function look(self, at)
  local message, code
  if not self.db then
    self.db, message, code = sqlite.open(self.path, LIMITS)
    if not self.db then return nil, message, code end
  end
  local newest, unique
  newest, message, code = self.query:newest(self.db, at)
  if newest == nil or self.settle then return newest, message, code end
  unique, message, code = self.query:is_unique(self.db)
  if unique == nil then return nil, message, code end
  self.settle = unique and 0 or SETTLE
  return newest
end

-- Look once. Returns whether there may be more at once; or nil, message, code.
local function poll(self)
  local place = self.cursors:get(self.type)
  if place and place.of ~= self.of then place = nil end
  local newest, message, code = look(self, place and place.at)
  local ok
  if not place then
    ok, message, code = first_look(self, newest, message, code)
    if not ok then return nil, message, code end
    return true
  end
  if newest == nil then
    if missing(message, code) == "table" and place.at ~= nil then begin_anew(self) end
    return nil, message, code
  end
  if place.upto then return read_on(self, place) end
  if not newest or newest.is_behind then
    ok, message, code = fallen(self, place, newest)
    if not ok then return nil, message, code end
    return false
  end
  if self.settle == 0 then
    return newest.at ~= place.at and read_on(self, place)
  end
  self.limit = settled(self, newest)
  return self.limit ~= nil and read_on(self, place, self.limit)
end

-- Say what is wrong once, and when it is over.
local function tell(self, message)
  if message == self.trouble then return end
  self.trouble = message
  if message then
    sluice.log.warn(("%s: cannot go on, tries again: %s"):format(self.what, message))
  else
    sluice.log.info(self.what .. ": goes on")
  end
end

local function run(self)
  self.db, self.seen, self.size, self.trouble, self.limit = nil, {}, self.batch, nil, nil
  self.settle = self.wanted_settle
  while true do
    local more, message = poll(self)
    if more == nil then tell(self, message) else tell(self, nil) end
    sluice.checkpoint()
    if not more then sluice.sleep(self.every) end
  end
end

-- ---- New ---------------------------------------------------------------------------------------

local function check(given, check_type)
  local o = options("changes:sqlite()", given, KNOWN)
  for _, name in ipairs { "path", "table", "cursor", "id" } do
    if o[name] == nil or o[name] == "" then
      error(("changes:sqlite(): %s is missing"):format(name), 4)
    end
  end
  for name, range in pairs(RANGES) do
    local n = o[name]
    if n and not (n >= range[1] and n <= range[2]) then
      error(("changes:sqlite(): %s is a number from %g to %g"):format(name, range[1], range[2]), 4)
    end
  end
  if not math.tointeger(o.batch) then error("changes:sqlite(): batch is a whole number", 4) end
  if o.start ~= "end" and o.start ~= "begin" then
    error('changes:sqlite(): start is "end" or "begin"', 4)
  end
  local fault = o.fields and options.list_fault(o.fields, "names of columns", "string")
  if fault then error("changes:sqlite(): fields " .. fault, 4) end
  if o.fields and o.changes then
    error("changes:sqlite(): fields and changes: one of them says what is published", 4)
  end
  o.type = o.type or o.table
  check_type("changes:sqlite()", o.type, 5)
  return o
end

--- Register the source.
-- @tparam sluice.Changes of
-- @tparam table given
-- @tparam function check_type
function source.new(of, given, check_type)
  local o = check(given, check_type)
  local app, name = of.app, of.name .. ".cursors"
  local self = setmetatable(o, Source)
  self.of_changes, self.what = of, ("%s.sqlite.%s"):format(of.name, o.type)
  self.of = ("%s %s %s"):format(o.table, o.cursor, o.id)
  self.wanted_settle = o.settle
  self.query = query.new(o)
  if o.durable then
    of.stored = of.stored or app:store(name)
    self.cursors = of.stored
  else
    of.remembered = of.remembered or setmetatable({ state = app:state(name, {}) }, Memory)
    self.cursors = of.remembered
  end
  of.sent = of.sent or app:state(of.name .. ".sent", {})
  self.sent = of.sent
  app:service(self.what, function() run(self) end)
end

return source
