--- The letters of an outbox over time, reloads and restarts.
---
---      add ──▶ kept ──▶ ready ──▶ in flight ──▶ delivered: on_end, deleted
---                ▲                   │ failed
---                ├── due again ◀─────┤
---                └──── replay ◀── dead, after `retries` or for good: on_end, an event
---
--- A letter is deleted, or noted as told, only when its end was told (until then its row `owes`
--- it), so that a crash repeats and never loses. In memory: for each letter a row of its index, and
--- the letter itself when there is no store.
local delivery = require("sluice.outbox.delivery")
local leader = require("sluice.base.leader")
local queue = require("sluice.outbox.queue")
local sluice = require("sluice")

local book = {}

---@class sluice.outbox.Book
local Book = {}
Book.__index = Book

local SWEEP_SECONDS, DELETE_SECONDS = 60, 10 -- the first in case a timer was lost

local function empty()
  return { rows = {}, count = 0, dead = 0, bytes = 0, loaded = false, queue = queue.new(),
    told = { delivered = 0, retried = 0, died = 0, dropped = 0 } }
end

--- Of an app, at load.
-- @tparam sluice.App app
-- @tparam table o options of outbox.new
-- @tparam table calls what it is asked, by name: fn(book, …)
function book.new(app, o, calls)
  local self = setmetatable({ app = app, o = o, state = app:state(o.name, empty()),
    store = o.durable and app:store(o.name) or nil }, Book)
  local own = {}
  for name, fn in pairs(calls) do own[name] = function(...) return fn(self, ...) end end
  -- In a cluster the node that leads has it, and delivers.
  self.lead = leader.new(app, o.name, { keeps = not o.durable, calls = own,
    begin = function(goes_on) self:begin(goes_on) end })
  app:task(o.name .. ".due", function() delivery.sweep(self) end)
  app:every(SWEEP_SECONDS, { name = o.name .. ".sweep" }, function() delivery.sweep(self) end)
  app:on("start", function() delivery.sweep(self) end)
  app:on("reload", function() delivery.sweep(self) end)
  return self
end

--- Where letters are kept; nil: in memory.
function Book:kept() return self.store or self.lead:is_shared() and self.lead.kept or nil end

--- This node leads: it takes over what is kept.
function Book:begin(goes_on)
  local s = self.state()
  self.store, self.is_ready = self:kept(), false
  if not goes_on then
    for name in pairs(s) do s[name] = nil end
    for name, value in pairs(empty()) do s[name] = value end
  end
  self:ready()
  self.app:spawn(function() delivery.sweep(self) end)
end

-- ---- What is kept ------------------------------------------------------------------------

local function key_of(id) return "letter/" .. id end

--- The letter of a row; nil when it is gone.
function Book:read(id, row)
  if row.letter then return row.letter end
  return self.store and self.store:get(key_of(id))
end

--- Keep a letter as it is now.
-- @treturn boolean|nil true, or nil, message, code
function Book:write(id, row, letter)
  if not self.store then
    row.letter = letter
    return true
  end
  local ok, message, code = self.store:set(key_of(id), letter)
  if ok then row.letter = nil end
  return ok, message, code
end

--- Write a letter that has changed; what the disk refuses counts while the server runs.
-- @treturn boolean whether it is kept
function Book:note(id, row, letter)
  local ok, message = self:write(id, row, letter)
  if ok then return true end
  row.letter = letter
  sluice.log.error(("%s: what became of a letter could not be kept: %s"):format(self.o.name,
    message), { id = id })
  return false
end

local function index(s, letter, row, bytes)
  s.rows[letter.id] = row
  row.target, row.bytes = letter.target, bytes
  row.dead, row.died = letter.died ~= nil, letter.died
  if row.dead and not letter.told then row.owes = "death" end
  s.count, s.bytes = s.count + 1, s.bytes + row.bytes
  if row.dead then s.dead = s.dead + 1 end
end

--- A row is gone.
function Book.forget(_, s, id, row)
  if s.rows[id] ~= row then return end
  s.rows[id] = nil
  s.count, s.bytes = s.count - 1, s.bytes - row.bytes
  if row.dead then s.dead = s.dead - 1 end
end

--- Delete a letter that has ended; when the disk refuses it is tried again later.
-- @treturn boolean|nil true, or nil, message, code
function Book:delete(s, id, row)
  row.ended = true
  local ok, message, code = true, nil, nil
  if self.store then ok, message, code = self.store:delete(key_of(id)) end
  if ok == nil then
    self:wait(s, row, sluice.now() + DELETE_SECONDS)
    return nil, message, code
  end
  self:forget(s, id, row)
  return true
end

--- A row is due at a time.
function Book:wait(s, row, at)
  row.at = at
  if s.next and s.next <= at then return end
  s.next = at
  self.app:after(math.max(0, at - sluice.now()), self.o.name .. ".due", nil,
    { id = self.o.name .. ".due" })
end

-- Take over what the store has.
local function load(self, s)
  local now, time = sluice.now(), sluice.time()
  for _, letter in self.store:each("letter/") do
    if not s.rows[letter.id] then
      local text = sluice.json.encode(letter)
      index(s, letter, { at = now + math.max(0, (letter.due or 0) - time) }, text and #text or 0)
    end
  end
end

-- The app has become durable, or is no longer.
local function move(self, s)
  for id, row in pairs(s.rows) do
    if self.store and row.letter and not s.loaded then
      self.store:set(key_of(id), row.letter, { wait = false })
      row.letter = nil
    elseif not self.store and not row.letter then
      sluice.log.warn(self.o.name .. ": a letter stays in the store until the app has one again",
        { id = id })
      self:forget(s, id, row)
    end
  end
end

--- The state, once what the store has is in it.
function Book:ready()
  local s = self.state()
  if self.is_ready then return s end
  self.is_ready = true
  move(self, s)
  if self.store and not s.loaded then load(self, s) end
  s.loaded = self.store ~= nil
  return s
end

-- What is taken of the app is a copy, as the store makes one.
local function copy_of(what, letter)
  local text, message, code = sluice.json.encode(letter)
  if not text then return nil, ("%s: data: %s"):format(what, message), code end
  return sluice.json.decode(text), #text
end

--- Keep a letter, and deliver it.
-- @treturn string|nil its id, or nil, message, code
-- @treturn boolean whether it was there
function Book:add(given)
  local s, id = self:ready(), given.id
  while s.rows[id] and s.rows[id].saving do sluice.sleep(0.01) end
  if s.rows[id] then return id, true end
  local letter, bytes, unfit = copy_of(self.o.name, given)
  if not letter then return nil, bytes, unfit end
  if s.count - s.dead >= self.o.max or s.bytes + bytes > self.o.max_bytes then
    return nil, ("%s: %d letters of %d bytes are kept already (max, max_bytes)"):format(self.o.name,
      s.count, s.bytes), "EFULL"
  end
  local row = { saving = true, at = sluice.now() }
  index(s, letter, row, bytes)
  -- closed meanwhile, it may be in the store: who delivers it finds out
  local _ <close> = setmetatable({}, { __close = function() row.saving = nil end })
  local ok, message, code = self:write(id, row, letter)
  if not ok then
    self:forget(s, id, row)
    return nil, message, code
  end
  row.saving = nil
  queue.push(s.queue, id, row)
  delivery.kick(self, s)
  return id, false
end

function Book:stats()
  local s = self:ready()
  return { pending = s.count - s.dead, dead = s.dead, delivered = s.told.delivered,
    retried = s.told.retried, died = s.told.died, dropped = s.told.dropped }
end

return book
