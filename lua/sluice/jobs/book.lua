--- The book of sluice.jobs: which jobs there are, over reloads, and over restarts when the app has
--- a store. A row is changed in memory first, in one step; the store takes rows in that order.
---
---   queued ──▶ flying: its task is armed, or runs ──▶ outcome ──▶ on the disk ──▶ told
---     ▲                     │
---     └─────────────────────┘ a reload, a crash: it goes on at its last checkpoint
---
--- In memory: a row for each job (some 500 bytes, and what it was given and returned), of those
--- that ended ENDED_MAX, and BYTES_MAX of all that.
local owned = require("sluice.base.owned")
local room = require("sluice.jobs.room")
local sluice = require("sluice")

local book = {}
local LOOK = 0.02 -- seconds

---@class sluice.jobs.Book
local Book = {}
Book.__index = Book
Book.forget, Book.make_room = room.forget, room.make_room

-- What the store has of a row; the rest is of this process.
local STORED = { "id", "kind", "owner", "total", "processed", "percentage", "step", "first",
  "fields", "saved", "attempt", "nth", "created", "status", "cancel", "ended", "result", "error",
  "attended", "holder" }

local function empty()
  return { rows = {}, args = {}, open = 0, flying = 0, nth = 0, bytes = 0, edition = 0,
    unsettled = {}, kinds = {}, queue = { first = 1, last = 0 }, ended = { first = 1, last = 0 } }
end

--- Of an app, at load.
-- @tparam sluice.App app
-- @tparam table o the options of jobs.new; `durable`
function book.new(app, o)
  local store = o.durable and app:store(o.name) or nil
  return setmetatable({ app = app, o = o, kinds = {},
    store = store, durable = store, state = app:state(o.name, empty()) }, Book)
end

--- In a cluster this node leads: it begins with what is stored.
-- @param store what keeps it, as of app:store
-- @tparam boolean goes_on what is in memory is good: there was a reload
function Book:begin(store, goes_on)
  local s = self.state()
  self.store, self.is_ready = store, false
  if not goes_on then
    for name in pairs(s) do s[name] = nil end
    for name, value in pairs(empty()) do s[name] = value end
  end
  return self:ready()
end

local function push(queue, item)
  queue.last = queue.last + 1
  queue[queue.last] = item
end

--- The next of those that wait for a place, or nil.
function book.pop(s)
  local queue = s.queue
  if queue.first > queue.last then return nil end
  local id = queue[queue.first]
  queue[queue.first] = nil
  queue.first = queue.first + 1
  return id
end

--- Change fields of a row, and count what it holds then.
-- @tparam table row
-- @tparam table values
function Book:change(row, values)
  local s = self.state()
  local before = room.size_of(s, row)
  for name, value in pairs(values) do row[name] = value end
  s.bytes = s.bytes - before + room.size_of(s, row)
end

-- ---- Rows ----------------------------------------------------------------------------------

local function snapshot(row)
  local copy = {}
  for _, name in ipairs(STORED) do copy[name] = row[name] end
  return copy
end

--- Wait until no cancel of a row is being saved.
function book.wait_for_cancel(row)
  while row.cancelling do sluice.sleep(LOOK) end
end

-- Where the store has no room, jobs that ended make some.
local function write(self, row, key, value, opts)
  local ok, message, code = self.store:set(key, value, opts)
  if code == "EFULL" and self:make_room(row) then return self.store:set(key, value, opts) end
  return ok, message, code
end

--- Save a row as it is now. Waits.
-- @treturn boolean|nil true, or nil, message, code
function Book:save(row, opts)
  if not self.store then return true end
  return write(self, row, "job/" .. row.id, snapshot(row), opts)
end

--- Save how far a row is. Waits, also for a cancel that is being saved, which it would undo.
-- @treturn boolean|nil true, or nil, message, code
function Book:save_work(row)
  book.wait_for_cancel(row)
  return self:save(row)
end

--- A new job: nobody but its id is there until it is saved.
function Book:add(row, args)
  local s = self.state()
  s.nth = s.nth + 1
  row.nth, row.unsaved, row.saving = s.nth, true, 0
  s.rows[row.id], s.args[row.id] = row, args
  s.open, s.bytes = s.open + 1, s.bytes + room.size_of(s, row)
end

--- The args of a job, as text.
function Book:args_of(row)
  if row.away then return self.away:args_of(row) end
  return self.state().args[row.id]
end

--- The row of an id, or nil.
function Book:find(id)
  if not self.away:has_book() then return self.away:find(owned.key(id)) end
  local row = self:ready().rows[owned.key(id) or false]
  return row and not row.unsaved and row or nil
end

--- Rows, the newest first.
-- @tparam[opt] string owner
-- @tparam[opt] string status
function Book:list(owner, status)
  local list, here = {}, self.away:has_book()
  for _, row in pairs(here and self:ready().rows or self.away:rows()) do
    local fits = (owner == nil or row.owner == owner) and (status == nil or row.status == status)
    if fits and not row.unsaved then list[#list + 1] = row end
  end
  table.sort(list, function(a, b) return a.nth > b.nth end)
  return list
end

--- Nothing is to be known of a job.
function Book:remove(row)
  local s = self.state()
  if s.rows[row.id] ~= row then return end
  s.bytes = s.bytes - room.size_of(s, row)
  if not row.ended then s.open = s.open - 1 end
  s.rows[row.id], s.args[row.id], s.unsettled[row.id] = nil, nil, nil
  if not self.store then return end
  self.store:delete("job/" .. row.id, { wait = false })
  self.store:delete("args/" .. row.id, { wait = false })
end

local function store_new(self, row)
  if not self.store then return true end
  local ok, message, code = write(self, row, "args/" .. row.id, self.state().args[row.id])
  if not ok then return nil, message, code end
  return self:save(row)
end

--- Save a new job, which then waits for its place. Whoever starts the same one saves it, too: it is
-- there when one of them could. Waits.
-- @treturn boolean|nil true, or nil, message, code: it is not there
function Book:save_new(row)
  row.saving = row.saving + 1
  local _ <close> = setmetatable({}, { __close = function() -- also when this coroutine is closed
    row.saving = row.saving - 1
    if row.unsaved and row.saving == 0 then self:remove(row) end
  end })
  local ok, message, code = store_new(self, row)
  if ok and row.unsaved then
    row.unsaved = nil
    if not row.attended then push(self.state().queue, row.id) end
  end
  if not row.unsaved then return true end
  return nil, message, code
end

--- A row has an end that is on the disk.
-- @tparam table row
-- @tparam table values of the end
function Book:close(row, values)
  local s = self.state()
  self:change(row, values)
  s.bytes = s.bytes - #(s.args[row.id] or "") - #(row.saved or "")
  s.open, s.args[row.id], row.saved = s.open - 1, nil, nil
  if self.store then self.store:delete("args/" .. row.id, { wait = false }) end
  push(s.ended, { id = row.id, ended = row.ended })
end

-- ---- After a start or a reload -----------------------------------------------------------------

local function by_nth(a, b) return a.nth < b.nth end

local function load(self, s)
  local ended = {}
  for key, row in self.store:each("job/") do
    local id = key:sub(5)
    s.rows[id], s.nth = row, math.max(s.nth, row.nth)
    s.args[id] = self.store:get("args/" .. id)
    s.bytes = s.bytes + room.size_of(s, row)
    if row.ended then
      ended[#ended + 1] = { id = id, ended = row.ended }
    else
      s.open = s.open + 1
      if row.status == "running" then row.status = "queued" end
    end
  end
  for key in self.store:each("args/") do -- of one that was never started
    if not s.rows[key:sub(6)] then self.store:delete(key, { wait = false }) end
  end
  table.sort(ended, function(a, b)
    if a.ended ~= b.ended then return a.ended < b.ended end
    return s.rows[a.id].nth < s.rows[b.id].nth
  end)
  for _, item in ipairs(ended) do push(s.ended, item) end
end

-- The app has become durable: what is known goes into the store, and nothing else stays there.
local function store_all(self, s)
  for key in self.store:each("") do self.store:delete(key, { wait = false }) end
  for id, row in pairs(s.rows) do
    if s.args[id] then self.store:set("args/" .. id, s.args[id], { wait = false }) end
    self:save(row, { wait = false })
  end
end

--- Whoever waits for a place stands in the queue, in order; the log names kinds that are gone.
function Book:requeue()
  local s, list, missing = self.state(), {}, {}
  for _, row in pairs(s.rows) do
    if not (row.ended or row.outcome or row.flying or row.unsaved or row.attended) then
      list[#list + 1] = row
      if not s.kinds[row.kind] then missing[row.kind] = (missing[row.kind] or 0) + 1 end
    end
  end
  table.sort(list, by_nth)
  s.queue = { first = 1, last = 0 }
  for _, row in ipairs(list) do push(s.queue, row.id) end
  for kind, n in pairs(missing) do
    sluice.log.warn(("%s: %d of kind '%s' wait: no jobs:define says what to do; they go on when "
      .. "one does"):format(self.o.name, n, kind))
  end
end

--- The state, for this version of the app. Its field `loaded` is called once in a process, with
-- what the store had.
function Book:ready()
  local s = self.state()
  if self.is_ready then return s end
  self.is_ready = true
  local is_new = self.store and not s.loaded
  if is_new then load(self, s) elseif self.store and not s.stored then store_all(self, s) end
  s.loaded, s.stored = true, self.store ~= nil
  s.kinds = {}
  for kind in pairs(self.kinds) do s.kinds[kind] = true end
  self:requeue()
  if is_new then self.loaded(s) end
  return s
end

return book
