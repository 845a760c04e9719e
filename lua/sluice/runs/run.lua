--- A run as its function sees it: what it emits, what it reads, where it may be cut. After a reload
--- or a crash the function starts again from its top; what is known of its place says what to pass
--- over:
---
---   saved          what the last checkpoint was given
---   loops          loops over run:from that have ended since
---   in_loop        it is in the next one, whose events up to last_id are taken
---   dirty          something was emitted since, outside of a loop: nobody knows where to go on
---
--- What is emitted for one event of a loop is taken when the function asks for the next one.
--- In memory: that, and the upstream, which is not the function's (sluice/runs/book.lua).
local loop = require("sluice.runs.loop")
local names = require("sluice.base.names")
local pieces = require("sluice.runs.pieces")
local sluice = require("sluice")
local writer = require("sluice.runs.writer")

local run = {}

---@class sluice.Run
local Run = {}
Run.__index = Run
Run.__name = "sluice.Run"

local EVENT_BYTES, SAVED_BYTES = 65000, 256 * 1024
local ERROR_BYTES, CODE_BYTES = 1000, 64
local RESERVED = { hello = true, reset = true, sync = true, bye = true, open = true, error = true }
local alive, check_size, taken = loop.alive, loop.check_size, loop.taken

--- For the function of a run.
-- @tparam sluice.runs.Book kept
-- @tparam table row
-- @tparam function finish fn(row, status, fields)
function run.new(kept, row, finish)
  return setmetatable({ id = row.id, kind = row.kind, owner = row.owner, attempt = row.attempt,
    saved = row.saved and sluice.json.decode(row.saved), last_id = row.last_id,
    _kept = kept, _row = row, _finish = finish, _loop = 0,
    _passes = row.loops > 0 or row.in_loop == true }, Run)
end

-- ---- Emitting ------------------------------------------------------------------------------

--- Add text, which comes as it does: bytes that end within a character wait for the rest of it.
-- Pieces that come close together are one event `text` with `{ text = … }`.
-- @tparam string text
function Run:text(text)
  if type(text) ~= "string" then
    error(("run:text(text): a string is expected, not a %s"):format(type(text)), 2)
  end
  alive(self)
  if self._passes or text == "" then return end
  local row, step = self._row, self._step
  if step then
    step[#step + 1], step.bytes = { text = text }, step.bytes + #text
    return check_size(self)
  end
  row.dirty = true
  writer.text(row, text)
  taken(self)
end

-- Why an event cannot be emitted, or nil.
local function event_fault(event)
  if type(event) ~= "string" or not event:find("^[%w_][%w_.:-]*$") or #event > 64 then
    return "an event's name is 1 to 64 letters, digits and _ . : -"
  elseif RESERVED[event] or event == "text" or event:find("^run%-") then
    return ("'%s' is an event of Sluice's own"):format(event)
  end
end

--- What an event's data are on the wire; or nil, message, code.
function run.check_event(event, data)
  local fault = event_fault(event)
  if fault then return nil, fault, "EBADFIELD" end
  local text, message, code = loop.text_of(data)
  if not text then return nil, message, code end
  if #text <= EVENT_BYTES then return text end
  return nil, ("the data of '%s' have %d bytes, which is more than %d"):format(event, #text,
    EVENT_BYTES), "ETOOBIG"
end

--- Emit an event, behind the text so far. Outside of a loop it waits until it is on the disk, when
-- runs are stored.
-- @tparam string event
-- @param[opt] data a string, or what becomes JSON
-- @treturn boolean|nil true, or nil, message, code
function Run:emit(event, data)
  local fault = event_fault(event)
  if fault then error("run:emit(event, data): " .. fault, 2) end
  local text, message, code = run.check_event(event, data)
  if not text then return nil, message, code end
  alive(self)
  if self._passes then return true end
  local step = self._step
  if step then
    step[#step + 1] = { event = event, data = text }
    step.bytes = step.bytes + #text + writer.EVENT_COST
    check_size(self)
    return true
  end
  self._row.dirty = true
  writer.event(self._row, event, text)
  check_size(self)
  writer.flush(self._kept, self._row)
  return true
end

-- ---- Places --------------------------------------------------------------------------------

--- Save where the function is: it starts there, with `run.saved`, after a reload or a crash. In a
-- loop over run:from it belongs to the event that is handled, elsewhere it waits until it is on the
-- disk, when runs are stored.
-- @param data plain data, at most 256 KiB of JSON
function Run:checkpoint(data)
  local text, message = sluice.json.encode(data)
  if data == nil or not text then
    error("run:checkpoint(data): " .. (data == nil and "data is missing" or message), 2)
  elseif #text > SAVED_BYTES then
    error(("run:checkpoint(data): %d bytes are more than %d"):format(#text, SAVED_BYTES), 2)
  end
  alive(self)
  if self._passes then return end
  if self._step then
    self._step.saved = text
    return
  end
  self._row.saved, self._loop = text, 0
  loop.move(self, false, 0)
  taken(self)
  if self._kept.store then writer.flush(self._kept, self._row) end
  sluice.checkpoint()
end

Run.from = loop.from

-- ---- Calling the function ------------------------------------------------------------------

-- Why a run that was begun cannot go on, or nil.
local function obstacle(kept, row)
  if row.attempt == 0 then return nil end
  if row.dirty then
    return "it was cut off at a place without run:checkpoint()"
  elseif row.in_loop and not loop.can_resume(row, kept:live(row.id).upstream) then
    return "it was cut off, and its upstream has no ids to go on from"
  end
end

-- A text of an error that readers get: an event has room for it. Its place in memory says nothing.
local function text_of_error(value)
  local meta = type(value) == "table" and getmetatable(value)
  local is_text = type(value) == "string" or type(value) == "number" or meta and meta.__tostring
  return (pieces.cut(is_text and tostring(value) or "an error that is no text", ERROR_BYTES))
end

-- What an error says to who watches; the log has all of it.
local function explain(problem)
  if problem == loop.OVER then return nil end
  if type(problem) == "table" and problem.message ~= nil then
    local code = type(problem.code) == "string" and #problem.code <= CODE_BYTES and problem.code
    return { error = text_of_error(problem.message), code = code or "EINTERNAL", log = problem.log }
  end
  local text = type(problem) == "string" and problem:gsub("^[^\n]-:%d+: ", "") or problem
  return { error = text_of_error(text), code = "EINTERNAL",
    log = debug.traceback(tostring(problem), 2) }
end

local function conclude(self, ok, result)
  local row = self._row
  if row.ended then return end
  if not ok then
    loop.take_step(self)
    if result and result.log then
      sluice.log.error(("%s: run %s (%s) failed: %s"):format(self._kept.o.name, row.id, row.kind,
        result.log))
    end
    return self._finish(row, "failed", result or { error = "it failed", code = "EINTERNAL" })
  end
  local text, message, code = sluice.json.encode({ result = result })
  if text and #text > EVENT_BYTES // 2 then
    text, message, code = nil, ("a result of %d bytes is too large"):format(#text), "ETOOBIG"
  end
  if not text then return self._finish(row, "failed", { error = message, code = code }) end
  self._finish(row, "complete", { result = sluice.json.decode(text).result })
end

--- Call the function of a run: the task of sluice.runs.
-- @tparam sluice.runs.Book kept
-- @tparam string id
-- @tparam function finish fn(row, status, fields)
function run.call(kept, id, finish)
  local row = kept:get(id)
  if not row or row.status ~= "running" then return end
  local fn, why = kept.kinds[row.kind], obstacle(kept, row)
  if not fn then
    why = ("no function is defined for runs of kind '%s' any more"):format(row.kind)
  end
  row.attempt = row.attempt + 1
  if why then return finish(row, "failed", { error = why, code = "ECLOSED" }) end
  local self = run.new(kept, row, finish)
  -- a loop without end is not ended through xpcall
  local _ <close> = setmetatable({}, { __close = function(_, problem)
    if problem ~= nil then conclude(self, false, explain(problem)) end
  end })
  loop.hand_over(self)
  local args = row.args and sluice.json.decode(row.args)
  conclude(self, xpcall(fn, explain, self, args))
end

names.lenient(Run, "run", Run, { "id", "kind", "owner", "saved", "last_id", "attempt",
  "cancelled" })
return run
