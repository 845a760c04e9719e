--- Loops of a run over what comes from elsewhere: the upstream is the run's, not its function's, so
--- that a reload hands it over; what is emitted for one event is taken when the next is asked for.
--- Keeps nothing in memory but the run.
local options = require("sluice.base.options")
local sluice = require("sluice")
local writer = require("sluice.runs.writer")

local loop = {}

-- What ends the function of a run that is over.
loop.OVER = setmetatable({}, { __tostring = function() return "this run is over" end })
local TRIES = 5 -- of an upstream that fails

-- Raise when the run is over, so that its function ends.
function loop.alive(self)
  if not self._row.ended then return end
  self.cancelled = true
  error(loop.OVER, 0)
end

function loop.check_size(self)
  local row, most = self._row, self._kept.o.max_bytes
  if row.bytes + (self._step and self._step.bytes or 0) <= most then return end
  self._finish(row, "failed", { error = ("more than %d bytes"):format(most), code = "ETOOBIG" })
  error(loop.OVER, 0)
end

--- The data of an event as text; or nil, message, code.
function loop.text_of(data)
  if type(data) == "string" then return data end
  return sluice.json.encode(data == nil and {} or data)
end

-- What was taken is on its way.
function loop.taken(self)
  loop.check_size(self)
  writer.kick(self._kept, self._row)
  writer.hold_back(self._kept, self._row)
end

-- Take what was emitted for one event of a loop, all of it and at once.
function loop.take_step(self)
  local row, step = self._row, self._step
  self._step = nil
  if not step or row.ended then return end
  for _, item in ipairs(step) do
    if item.text then writer.text(row, item.text) else writer.event(row, item.event, item.data) end
  end
  if step[1] or step.saved then row.taken, row.last_id = 1, step.id end
  if step.saved then row.saved, row.loops, row.moved, self._loop = step.saved, 0, true, 1 end
end

function loop.move(self, is_in_loop, loops)
  local row = self._row
  row.in_loop, row.loops, row.taken, row.last_id = is_in_loop or nil, loops, 0, nil
  row.dirty, row.moved = nil, self._kept.store and true or nil
end

-- ---- Loops over what comes from elsewhere --------------------------------------------------

-- The iterator, its state, its first value, and what is to be closed, of what run:from was given.
local function read_source(source, state, first, closing)
  if type(source) == "table" and (source.chunks or source.resume_only) then
    return source, nil, nil, source
  end
  if type(source) ~= "function" then
    options.raise("run:from(events): events of client.events(…), chunks of http.stream{…} or "
      .. "another iterator are expected, not a " .. type(source))
  end
  return source, state, first, closing
end

local function close(thing)
  if thing ~= nil and thing ~= false then
    local _ <close> = thing
  end
end

-- Tell who watches that the upstream is asked again.
local function report_wait(kept, row, message, seconds)
  if row.ended then return end
  writer.event(row, "run-waiting", assert(sluice.json.encode({ error = message,
    seconds = math.ceil(seconds) })))
  writer.kick(kept, row)
end

-- The source of a loop: the one that the function had before it was closed, or the one it gives.
local function open(self, source, closing)
  local kept, row, live = self._kept, self._row, self._kept:live(self.id)
  if row.in_loop and live.upstream then
    if closing ~= live.upstream.closing then close(closing) end
  else
    if not row.in_loop then loop.move(self, true, row.loops) end
    local is_ours = type(closing) == "table"
      and (closing.resume_only ~= nil or closing.chunks ~= nil)
    live.upstream = { next = source[1], state = source[2], at = source[3], closing = closing,
      is_ours = is_ours }
  end
  local upstream = live.upstream
  if upstream.is_ours then upstream.closing.is_kept = nil end
  if upstream.is_ours and upstream.closing.resume_only then
    upstream.closing:resume_only({ tries = TRIES, last_event_id = row.last_id,
      on_wait = function(message, seconds) report_wait(kept, row, message, seconds) end })
  end
  return upstream
end

-- - Whether the function, closed now, could go on behind the last event.
function loop.can_resume(row, upstream)
  return upstream and upstream.is_ours or row.taken == 0 or row.last_id ~= nil
end

--- The function of a run is called again: when it asks for the answer that it was reading, it gets
-- that.
function loop.hand_over(self)
  local upstream = self._row.in_loop and self._kept:live(self.id).upstream
  if upstream and upstream.is_ours and upstream.closing.chunks then
    upstream.closing:hand_over()
  end
end

-- A loop has ended, by itself or by break.
local function leave(self)
  local live = self._kept:live(self.id)
  local upstream = live.upstream
  loop.take_step(self)
  self._in_loop = nil
  if not upstream then return end
  live.upstream = nil
  if not self._row.ended then
    loop.move(self, false, self._loop)
    writer.kick(self._kept, self._row)
  end
  close(upstream.closing)
end

-- Whether the coroutine is closed from outside.
local function is_cut(problem)
  return problem == nil and not coroutine.isyieldable()
end

-- The upstream is kept for the coroutine that follows. An iterator of the app's is of the code that
-- is closed: the new code makes another.
local function cut(self)
  local live = self._kept:live(self.id)
  local upstream = live.upstream
  if not upstream then return end
  if upstream.is_ours then
    upstream.closing.is_kept = upstream.closing.chunks ~= nil or nil
    return
  end
  live.upstream = nil
  close(upstream.closing)
end

-- The next of an upstream; first what a function was given that was closed before it asked again.
local function pull(self, upstream)
  if upstream.given then return upstream.given end
  local live = self._kept:live(self.id)
  live.asks = loop.can_resume(self._row, upstream)
  local values = table.pack(upstream.next(upstream.state, upstream.at))
  live.asks, upstream.at, upstream.given = nil, values[1], values
  return values
end

local function next_event(self, upstream)
  loop.alive(self)
  if self._step then
    loop.take_step(self)
    upstream.given = nil
  end
  loop.taken(self)
  if loop.can_resume(self._row, upstream) then sluice.checkpoint() end
  local values = pull(self, upstream)
  loop.alive(self)
  local event, closing = values[1], upstream.closing
  if event == nil then
    local problem = upstream.is_ours and closing.problem
    leave(self)
    if problem then
      local message = closing:for_readers(closing.code)
      error({ message = message, code = closing.code, log = problem }, 0)
    end
    return nil
  end
  local id = type(event) == "table" and event.id or nil
  self._step = { id = type(id) == "number" and sluice.json.encode(id) or id, bytes = 0 }
  self.last_id = self._step.id
  return table.unpack(values, 1, values.n)
end

--- Loop over what comes from elsewhere: `for event in run:from(client.events(url, …)) do`. What is
-- emitted for one event is taken when the loop asks for the next one, all or nothing. A reload
-- hands the upstream over to the new code. It is asked again only where it would repeat nothing.
-- @function Run:from
-- @param source what client.events or answer:chunks() return, or another iterator
-- @param ... the rest of what these return
-- @return what `for … in` wants
function loop.from(self, source, state, first, closing)
  local given = table.pack(read_source(source, state, first, closing))
  loop.alive(self)
  if self._in_loop then error("run:from inside of a loop over run:from", 2) end
  self._loop = self._loop + 1
  if self._passes and self._loop <= self._row.loops then
    close(given[4])
    self._passes = self._loop < self._row.loops or self._row.in_loop == true
    return function() return nil end
  end
  local upstream = open(self, given, given[4])
  self._passes, self._in_loop = false, true
  writer.kick(self._kept, self._row)
  return function() return next_event(self, upstream) end, nil, nil,
    setmetatable({}, { __close = function(_, problem)
      if is_cut(problem) then return cut(self) end
      leave(self)
    end })
end

return loop
