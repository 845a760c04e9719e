--- The book of sluice.runs: which runs there are, where each stands, and what of that is on the
--- disk. A run is one row of plain data in app:state, so that it survives a reload:
---
---   waits ──▶ running ──▶ complete | failed | stopped ──▶ told ──▶ forgotten after `keep`
---
--- An id may be used again when its run is forgotten: the row has a random token, which is part of
--- the channel's name, so that nobody reads, or is mistaken for, what an earlier run left there.
--- With a store "run/<id>" has what it was started with, and "at/<id>" where it stands. In memory:
--- the rows, RUNS_MAX of them, each with its arguments while it runs and what it has to publish.
local owned = require("sluice.base.owned")
local sluice = require("sluice")

local book = {}

---@class sluice.runs.Book
local Book = {}
Book.__index = Book

local RUNS_MAX = 50000
local KEYS_SECONDS = 23 * 3600 -- for so long the store knows what was published under which key
-- Where a run stands: fields of a row that the store has, too. `n` counts what was published.
local PLACE = { "n", "status", "started", "ended", "result", "error", "code", "saved", "last_id",
  "loops", "in_loop", "taken", "dirty", "tail", "bytes", "attempt" }

-- What a run holds of the outside, by id: its upstream and its function's coroutine, which no plain
-- data can be. By the state of an app, which is one table over all its versions.
local live = setmetatable({}, { __mode = "k" })

--- Of an app, at load.
-- @tparam sluice.App app
-- @tparam table o options of runs.new, with `durable`
function book.new(app, o)
  return setmetatable({ app = app, o = o, kinds = {},
    state = app:state(o.name, { runs = {}, count = 0, active = 0, waiting = { first = 1, last = 0 },
      over = { first = 1, last = 0 } }),
    store = o.durable and app:store(o.name) or nil }, Book)
end

--- What a run holds of the outside.
-- @treturn table { upstream, asks }
function Book:live(id)
  local s = self.state()
  live[s] = live[s] or {}
  local held = live[s][id]
  if not held then
    held = {}
    live[s][id] = held
  end
  return held
end

function Book:task_of(row) return self.o.name .. "/" .. row.token end

function Book:channel(row) return ("%s/%s/%s"):format(self.o.name, row.id, row.token) end

-- ---- Rows --------------------------------------------------------------------------------

local function blank(id, kind, owner, args)
  return { id = id, token = sluice.id(), kind = kind, owner = owner, args = args,
    created = sluice.time(), n = 0, status = "waiting", tail = "", bytes = 0,
    loops = 0, taken = 0, attempt = 0, out = {},
    parts = {}, next_flush = 0 }
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function unhex(text)
  return (text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end))
end

--- Where a run stands now, as it is stored.
function Book.place(row)
  local place = {}
  for _, name in ipairs(PLACE) do place[name] = row[name] end
  place.tail = hex(row.tail)
  return place
end

local function load_row(self, id, begun)
  local at = self.store:get("at/" .. id)
  local row = blank(id, begun.kind, begun.owner, begun.args)
  row.created, row.token = begun.created, begun.token or row.token
  for name, value in pairs(at.place or {}) do row[name] = value end
  row.tail = unhex(row.tail)
  row.is_kept = true
  local is_known = sluice.time() - (at.time or 0) < KEYS_SECONDS
  if at.events and at.events[1] and is_known then
    row.batch = { n = at.place.n, events = at.events, done = 0, is_stored = true,
      is_last = row.ended ~= nil }
  end
  return row
end

local function push(queue, item)
  queue.last = queue.last + 1
  queue[queue.last] = item
end

local function by_end(a, b)
  if a.ended ~= b.ended then return a.ended < b.ended end
  return a.id < b.id
end

local function by_start(a, b)
  if a.created ~= b.created then return a.created < b.created end
  return a.id < b.id
end

-- What a process that died has left: runs go on, and what had ended is told and kept.
local function load(self, s)
  local over, going = {}, {}
  for key in self.store:each("at/") do
    local begun = self.store:get("run/" .. key:sub(4))
    if not begun then self.store:delete(key, { wait = false }) end
  end
  for key, begun in self.store:each("run/") do
    local id = key:sub(5)
    if self.store:get("at/" .. id) and not s.runs[id] then
      local row = load_row(self, id, begun)
      s.runs[id], s.count = row, s.count + 1
      row.told = row.ended ~= nil and not row.batch
      local list = row.ended and over or going
      list[#list + 1] = row
    end
  end
  table.sort(over, by_end)
  table.sort(going, by_start)
  for _, row in ipairs(over) do push(s.over, { id = row.id, ended = row.ended }) end
  for _, row in ipairs(going) do
    row.status = "waiting"
    push(s.waiting, row.id)
  end
end

--- The state, with what the store has.
function Book:ready()
  local s = self.state()
  if self.store and not s.is_loaded then
    s.is_loaded = true
    load(self, s)
    self:launch()
  end
  return s
end

function Book:get(id)
  return type(id) == "string" and self:ready().runs[id] or nil
end

--- Wait until a run is on the disk, when runs are stored.
-- @treturn table|nil its row, or nil, message, code: its start was refused
function Book.settle(row)
  while row.is_new do sluice.sleep(0.002) end
  if row.refused then return nil, table.unpack(row.refused) end
  return row
end

--- Begin what waits, as far as `concurrency` allows.
function Book:launch()
  local s = self.state()
  local queue = s.waiting
  while queue.first <= queue.last and s.active < self.o.concurrency do
    local row = s.runs[queue[queue.first]]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    if row and row.status == "waiting" then
      row.status, row.started = "running", row.started or sluice.time()
      s.active = s.active + 1
      self:arm(row)
    end
  end
end

--- Have the function of a run called.
function Book:arm(row)
  self.app:after(0, self.o.name .. ".run", row.id, { id = self:task_of(row) })
end

local function forget(self, s, id)
  local row = s.runs[id]
  s.runs[id] = nil
  if row then s.count, row.is_forgotten = s.count - 1, true end
  if live[s] then live[s][id] = nil end
  if self.store then
    self.store:delete("run/" .. id, { wait = false })
    self.store:delete("at/" .. id, { wait = false })
  end
end

--- Store what a run was started with, unless the store has it.
-- @treturn boolean|nil true, or nil, message, code
function Book:keep_start(row, opts)
  if row.is_kept then return true end
  local ok, message, code = self.store:set("run/" .. row.id, { kind = row.kind, owner = row.owner,
    args = row.args, created = row.created, token = row.token }, opts)
  row.is_kept = ok
  return ok, message, code
end

-- Write a new run; nil, message, code when the disk does not take it.
local function write_new(self, row)
  if not self.store then return true end
  local ok, message, code = self:keep_start(row)
  if ok then ok, message, code = self.store:set("at/" .. row.id, { place = self.place(row) }) end
  return ok, message, code
end

local function count_waiting(s) return s.waiting.last - s.waiting.first + 1 end

-- A run that was to wait no longer does.
local function leave_queue(queue, id)
  local to = queue.first
  for from = queue.first, queue.last do
    local other = queue[from]
    queue[from] = nil
    if other ~= id then
      queue[to] = other
      to = to + 1
    end
  end
  queue.last = to - 1
end

--- Add a run.
-- @treturn table|nil its row, or nil, message, code
function Book:add(id, kind, owner, args)
  local s = self:ready()
  if s.count >= RUNS_MAX then
    return nil, ("%d runs are known already"):format(RUNS_MAX), "EFULL"
  elseif s.active >= self.o.concurrency and count_waiting(s) >= self.o.queue then
    return nil, ("%d runs wait already"):format(self.o.queue), "EFULL"
  end
  local row = blank(id, kind, owner, args)
  row.is_new = true
  s.runs[id], s.count = row, s.count + 1
  local ok, message, code = write_new(self, row)
  row.is_new = nil
  if not ok then
    row.refused = { message, code }
    forget(self, s, id)
    return nil, message, code
  end
  push(s.waiting, id)
  self:launch()
  return row
end

-- ---- The end -------------------------------------------------------------------------------

--- A run has ended: make room for another.
function Book:leave(row, was_running)
  local s = self.state()
  row.args = nil
  if was_running then s.active = s.active - 1 else leave_queue(s.waiting, row.id) end
  push(s.over, { id = row.id, ended = row.ended })
  self:launch()
end

--- The end of a run is told: what was for its function is no longer needed.
function Book:shrink(row)
  if not self.store or row.is_forgotten then return end
  row.is_kept = nil
  self:keep_start(row, { wait = false })
  self.store:set("at/" .. row.id, { place = self.place(row) }, { wait = false })
end

--- Forget what ended `keep` seconds ago.
function Book:sweep()
  local s = self:ready()
  owned.forget(s.over, sluice.time() - self.o.keep, RUNS_MAX, function(id) forget(self, s, id) end)
end

--- Runs, the newest first.
-- @tparam[opt] string owner
function Book:list(owner)
  local list = {}
  for _, row in pairs(self:ready().runs) do
    if owner == nil or row.owner == owner then list[#list + 1] = row end
  end
  table.sort(list, function(a, b) return by_start(b, a) end)
  return list
end

return book
