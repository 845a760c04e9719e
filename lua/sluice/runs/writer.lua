--- How what a run emits becomes events. What is taken waits in the row, text for `coalesce`
--- seconds; a batch of it is stored together with the place where the run then stands, and
--- published after that, each event with a key of its own: whatever is cut off in between is
--- published again, and is there once. One coroutine at a time writes a run, in all versions of
--- the app.
---
---   take: text, events ──▶ row.out ──▶ batch, stored with the place ──▶ published ──▶ next batch
---
--- Keeps nothing in memory but the row.
local pieces = require("sluice.runs.pieces")
local sluice = require("sluice")

local writer = {}

local EVENT_BYTES = 65000 -- of data; a longer text becomes several events
local EVENT_COST = 64 -- bytes that an event counts beside its data
writer.EVENT_COST = EVENT_COST
local TEXT_MAX = 32000 -- bytes of text in one event: six bytes stand for some characters in JSON
local HELD_BYTES = 256 * 1024 -- taken and not published: then the function waits
local RETRY_SECONDS, POLL_SECONDS = 1, 0.01
-- The disk, or whoever waits in front of it, may take it later; other refusals are final.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ENOMEM = true }

-- ---- Taking --------------------------------------------------------------------------------

local function add(row, event, data)
  row.out[#row.out + 1] = { event = event, data = data }
  row.bytes = row.bytes + #data + EVENT_COST
  row.held = (row.held or 0) + #data + EVENT_COST
end

-- Text that was taken becomes events.
local function close_text(row)
  if not row.parts[1] then return end
  local text = table.concat(row.parts)
  row.parts = {}
  while text ~= "" do
    local piece
    piece, text = pieces.cut(text, TEXT_MAX)
    -- a text of control characters is six times as long in JSON
    local data = assert(sluice.json.encode({ text = piece }))
    if #data > EVENT_BYTES then
      local rest
      piece, rest = pieces.cut(piece, TEXT_MAX // 4)
      data, text = assert(sluice.json.encode({ text = piece })), rest .. text
    end
    row.bytes = row.bytes - #piece -- they were counted when they were taken
    add(row, "text", data)
  end
end

--- Take a piece of text, bytes that may end within a character.
function writer.text(row, bytes)
  local text
  row.bytes = row.bytes + #bytes
  text, row.tail = pieces.split(row.tail .. bytes)
  if text ~= "" then row.parts[#row.parts + 1] = text end
end

--- Take an event.
-- @tparam table row
-- @tparam string event
-- @tparam string data JSON
function writer.event(row, event, data)
  close_text(row)
  add(row, event, data)
end

--- Take the end: the last event. What was begun of a character is U+FFFD when nothing was cut off.
function writer.ending(row, event, data)
  local lost = row.status == "complete" and pieces.lost(row.tail) or ""
  row.tail = ""
  if lost ~= "" then row.parts[#row.parts + 1] = lost end
  writer.event(row, event, data)
end

-- ---- Publishing ----------------------------------------------------------------------------

-- What is taken becomes a batch; false when there is nothing, or text that may still grow.
local function make_batch(self, row, is_due)
  if row.is_forgotten then return false end
  if row.batch then return true end
  local has_text = row.parts[1] ~= nil
  if not (row.out[1] or row.moved or has_text and is_due) then return false end
  if has_text then
    close_text(row)
    row.next_flush = sluice.now() + self.o.coalesce
  end
  row.n, row.moved, row.held = row.n + 1, nil, 0
  local events = row.out
  row.out = {}
  row.batch = { n = row.n, events = events, done = 0, is_last = row.ended ~= nil,
    place = self.store and self.place(row) or nil }
  return true
end

local function store(self, row, batch)
  if not self.store or batch.is_stored then return true end
  local ok, message, code = self:keep_start(row)
  if not ok then return nil, message, code end
  ok, message, code = self.store:set("at/" .. row.id,
    { place = batch.place, events = batch.events, time = sluice.time() })
  if ok then batch.is_stored, batch.place = true, nil end
  return ok, message, code
end

local function publish(self, row, batch)
  while batch.done < #batch.events do
    local nth = batch.done + 1
    local e = batch.events[nth]
    local ok, message, code = self.app:publish(self:channel(row), e.event, e.data,
      { idempotency = self.store and ("%d.%d"):format(batch.n, nth) or nil })
    if not ok and LATER[code] then return nil, message, code end
    if not ok then
      sluice.log.error(("%s: '%s' of run %s was refused: %s"):format(self.o.name, e.event, row.id,
        message), { code = code })
    end
    batch.done = nth
  end
  return true
end

local function complain(self, row, message, code)
  if row.complained then return end
  row.complained = true
  sluice.log.error(("%s: what run %s has to say waits: %s"):format(self.o.name, row.id, message),
    { code = code })
end

local function write(self, row)
  while make_batch(self, row, row.is_due) do
    local batch = row.batch
    local ok, message, code = store(self, row, batch)
    if ok then ok, message, code = publish(self, row, batch) end
    if not ok then
      complain(self, row, message, code)
      row.retry_at = sluice.now() + RETRY_SECONDS
      return nil
    end
    row.batch, row.complained, row.retry_at = nil, nil, nil
    if batch.is_last then self.on_told(row) end
  end
  row.is_due = nil
  return true
end

--- Write what is taken. When another coroutine is at it already, that one does it.
-- @tparam boolean is_due also text that might grow
-- @treturn boolean|nil true; false: another coroutine is at it; nil: it was refused
function writer.drain(self, row, is_due)
  row.is_due = is_due or row.is_due
  if row.is_writing then return false end
  row.is_writing = true
  local _ <close> = setmetatable({}, { __close = function() row.is_writing = nil end })
  return write(self, row)
end

--- Have what is taken written, at once or in time, without waiting for it.
function writer.kick(self, row)
  local is_due = row.out[1] or row.moved or row.batch
  if row.timer or not (is_due or row.parts[1]) then return end
  row.timer = true
  local wait = is_due and 0 or math.max(0, row.next_flush - sluice.now())
  self.app:after(wait, self.o.name .. ".write", row.id, { id = self:task_of(row) .. ".write" })
end

--- The task behind kick.
function writer.on_timer(self, id)
  local row = self.state().runs[id]
  if not row then return end
  row.timer = nil
  writer.drain(self, row, true)
end

--- Wait until what is taken is written; it is tried again while the disk refuses.
function writer.flush(self, row)
  while true do
    local done = writer.drain(self, row, true)
    if done then return end
    sluice.sleep(done == nil and RETRY_SECONDS or POLL_SECONDS)
  end
end

--- Wait while too much of a run is not written yet.
function writer.hold_back(self, row)
  if (row.held or 0) > HELD_BYTES then writer.flush(self, row) end
end

--- Once a second: what a coroutine that was closed has left.
function writer.sweep(self, s)
  for _, row in pairs(s.runs) do
    local has_work = row.out[1] or row.parts[1] or row.batch or row.moved
    if has_work and not row.is_writing and (row.retry_at or 0) <= sluice.now() then
      row.timer = nil
      writer.kick(self, row)
    end
  end
end

return writer
