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
local burst = require("sluice.changes.burst")
local joined = require("sluice.changes.rows")
local keeper = require("sluice.base.keeper")
local options = require("sluice.base.options")
local query = require("sluice.changes.query")
local sqlite = require("sluice.sqlite")
local together = require("sluice.changes.together")

local source = {}

---@class sluice.changes.Source
local Source = {}
Source.__index = Source

local KNOWN = { path = options.STRING, table = options.STRING, cursor = options.STRING, id = "id",
  type = options.STRING, op = options.STRING, changes = options.STRING, fields = options.TABLE,
  start = "end", every = 0.5, settle = options.NUMBER, batch = 500, durable = true }
local RANGES = { every = { 0.05, 3600 }, settle = { 0, 3600 }, batch = { 1, 10000 } }
local SETTLE = 2 -- seconds, for a cursor that is not unique
local TOLD_MAX = 10 -- faults between two times that all is well
local LIMITS = { busy = 5, timeout = 30, max_rows = 10001, max_bytes = 64 << 20 }

-- ---- The cursor: { of, era, at, id, upto = { at, id, size } }, before all rows without `at` ---

local function move(self, era, at, id, upto)
  return self.cursors:set(self.type, { of = self.of, era = era, at = at, id = id, upto = upto })
end

-- Numbers may come again: then the events have other idempotency keys.
local function begin_anew(self, at, id)
  self.seen, self.limit, self.settle = {}, nil, self.wanted_settle
  return move(self, sluice.id(), at, id)
end

-- Whether a query was in vain because there is no file, or no table.
local function missing(message, code)
  return code == "EINVAL" and message:find("no such table", 1, true)
    or code == "ECONNECT" and message:find("No such file", 1, true)
end

-- The first look: what is there counts as read, unless start = "begin". What comes into a file or
-- a table that is made later is new.
local function first_look(self, newest, message, code)
  if newest == nil and not missing(message, code) then return nil, message, code end
  if not newest or self.start == "begin" then return begin_anew(self) end
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
local function send(self, era, events, at, id)
  local batch = ("%s %s %s"):format(era, at, type(id) == "table" and id.hex or tostring(id))
  local all = self.sent()
  if not all[self.type] or all[self.type].batch ~= batch then
    all[self.type] = { batch = batch, done = {} }
  end
  local done, left, message, code = all[self.type].done, {}, nil, nil
  for _, event in ipairs(events) do
    event.once = ("%s %s %s %s"):format(era, self.type, tostring(event.place), event.id)
    if not done[event.once] then left[#left + 1] = event end
  end
  together(self.of_changes.app, left, function(event)
    local ok, why, what = self.of_changes:_send(event, event.once)
    if ok then done[event.once] = true else message, code = why, what end
  end)
  if message then return nil, message, code end
  return true
end

-- A row is too large to be read: step over it.
local function step_over(self, place, limit, fault)
  local list, message, code = self.query:rows(self.db, place, limit, 1, true)
  if not list then return nil, message, code end
  if not list[1] then return true end -- it is gone
  joined.leave_out(self, list[1], fault)
  local at, id = query.place(list[1])
  local upto = not query.is_at(place.upto, at, id) and place.upto or nil
  return move(self, place.era, at, id, upto)
end

-- Publish the rows of a batch, whose end is stored first: what is tried again is the same batch.
local function publish(self, place, rows)
  local events, last = joined.join(self, rows)
  local at, id = query.place(last)
  local ok, message, code
  if events[1] and not query.is_at(place.upto, at, id) then
    ok, message, code = move(self, place.era, place.at, place.id,
      { at = at, id = id, size = #rows })
    if not ok then return nil, message, code end
  end
  ok, message, code = send(self, place.era, events, at, id)
  if not ok then return nil, message, code end
  ok, message, code = move(self, place.era, at, id)
  if not ok then return nil, message, code end
  return last
end

-- Publish what stands behind the cursor. Returns whether there may be more; or nil, message, code.
local function read_on(self, place, limit)
  local size = self.size
  if place.upto and not self.is_going then size = math.max(size, place.upto.size or 1) end
  self.is_going, self.size = true, size
  local rows, message, code = self.query:rows(self.db, place, limit, size)
  if code == "ETOOBIG" then
    if size == 1 then return step_over(self, place, limit, message) end
    self.size = size // 2
    return true
  end
  if not rows then return nil, message, code end
  if not rows[1] then
    if not place.upto then return false end
    return move(self, place.era, place.upto.at, place.upto.id) -- they are gone meanwhile
  end
  local last
  last, message, code = publish(self, place, rows)
  if not last then return nil, message, code end
  self.left_out, self.size = {}, math.min(size * 2, self.batch)
  return #rows == size or last ~= rows[#rows] or place.upto ~= nil
end

-- Begin anew, from the beginning or behind a row, and say why.
local function restart(self, why, at, id)
  local ok, message, code = begin_anew(self, at, id)
  if not ok then return nil, message, code end
  sluice.log.warn(("%s: %s"):format(self.what, why))
  return at == nil
end

-- The newest row stands before the cursor, or there is none. Returns whether there may be more.
local function fallen(self, place, newest)
  local counted, message, code = self.query:is_counted(self.db)
  if counted == nil then return nil, message, code end
  if counted then
    local come
    come, message, code = self.query:has_come(self.db, (place.upto or place).at)
    if come == nil then return nil, message, code end
    if not come then
      return restart(self, ("the numbers of '%s' begin again: it is read from its beginning")
        :format(self.table))
    end
  end
  if place.upto then return read_on(self, place) end
  if not newest or counted then return false end -- rows were deleted
  local why = ("the newest %s is %s, behind the cursor at %s: what is there counts as read")
    :format(self.cursor, burst.show(newest.at), burst.show(place.at))
  return restart(self, why, newest.at, newest.id)
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
  if place and place.of:lower() ~= self.of:lower() then place = nil end
  local newest, message, code = look(self, place and (place.upto or place).at)
  if not place then return first_look(self, newest, message, code) end
  if newest == nil then return nil, message, code end
  if not newest or newest.is_behind then return fallen(self, place, newest) end
  if place.upto then return read_on(self, place) end
  if self.settle == 0 then
    if newest.at == place.at then return false end
    return read_on(self, place)
  end
  self.limit = settled(self, newest)
  if self.limit == nil then return false end
  return read_on(self, place, self.limit)
end

-- Say once what is wrong, and when it is over.
local function tell(self, message)
  local told = self.told
  if not message then
    if next(told) then sluice.log.info(self.what .. ": goes on") end
    self.told = {}
  elseif not told[message] and #told < TOLD_MAX then
    told[message], told[#told + 1] = true, message
    sluice.log.warn(("%s: cannot go on, tries again: %s"):format(self.what, burst.show(message)))
  end
end

local function run(self)
  self.db, self.seen, self.size, self.limit = nil, {}, self.batch, nil
  self.told, self.left_out, self.is_going = {}, {}, false
  self.settle = self.wanted_settle
  while true do
    local more, message, code = poll(self)
    if more == nil then tell(self, message or code or "no reason is known") else tell(self, nil) end
    sluice.checkpoint()
    if not more then sluice.sleep(self.every) end
  end
end

-- ---- New ---------------------------------------------------------------------------------------

local function check(given, check_type)
  local o = options("changes:sqlite()", given, KNOWN)
  for _, name in ipairs { "path", "table", "cursor", "id" } do
    if o[name] == nil or o[name] == "" then
      options.raise("changes:sqlite(): %s is missing", name)
    end
  end
  for name, range in pairs(RANGES) do
    local n = o[name]
    if n and not (n >= range[1] and n <= range[2]) then
      options.raise("changes:sqlite(): %s is a number from %g to %g", name, range[1], range[2])
    end
  end
  if not math.tointeger(o.batch) then options.raise("changes:sqlite(): batch is a whole number") end
  if o.start ~= "end" and o.start ~= "begin" then
    options.raise('changes:sqlite(): start is "end" or "begin"')
  end
  local fault = o.fields and options.list_fault(o.fields, "names of columns", "string")
  if fault then options.raise("changes:sqlite(): fields " .. fault) end
  if o.fields and o.changes then
    options.raise("changes:sqlite(): fields and changes: one of them says what is published")
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
  local kept = o.durable and "stored" or "remembered"
  of[kept] = of[kept] or keeper(app, name, o.durable)
  self.cursors = of[kept]
  of.sent = of.sent or app:state(of.name .. ".sent", {})
  self.sent = of.sent
  app:service(self.what, function() run(self) end)
end

return source
