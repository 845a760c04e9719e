--- The events of sluice.jobs: of each job at most `max_rate` progress events a second, the last
--- one and its end at once. They are values of a state in memory: who comes late gets the newest of
--- each at once, and after a start all are told again. Keeps nothing in memory but a timer for each
--- job whose newest progress waits.
local owned = require("sluice.base.owned")
local place = require("sluice.jobs.place")
local sluice = require("sluice")

local telling = {}

local EVENTS = { success = "job-complete", failed = "job-failed", cancelled = "job-cancelled" }
-- What may be better in a moment; other refusals (of a transform) are final.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ENOMEM = true }
local RESULT_MAX = 32768 -- bytes of a result in an event; a larger one is in GET <prefix>/:id
local NOW = { wait = false }

telling.LATER, telling.FIELDS_MAX = LATER, 16384

--- Plain data as JSON, at most so many bytes.
-- @treturn string|nil or nil, message, code
function telling.text(value, most)
  local ok, text, message, code = pcall(sluice.json.encode, value)
  if not ok or not text then
    return nil, place.strip(tostring(ok and message or text)), code or "EJSON"
  elseif #text > most then
    return nil, ("%d bytes as JSON are more than %d"):format(#text, most), "ETOOBIG"
  end
  return text
end

--- More of all events: plain data with names.
-- @treturn string|nil or nil, message, code
function telling.fields(value)
  local text, message, code = telling.text(value, telling.FIELDS_MAX)
  if text and next(value) ~= nil and text:sub(1, 1) ~= "{" then
    return nil, "an object is expected: fields have names", "EBADFIELD"
  end
  return text, message, code
end

--- The name of an owner's channel; what has no owner is in one of its own.
function telling.channel(self, owner)
  return owner and ("%s/%s"):format(self.o.name, owner) or self.o.name
end

--- What everybody who may see a job is shown of it.
function telling.data_of(row)
  local data = row.first and sluice.json.decode(row.first) or {}
  for name, value in pairs(row.fields and sluice.json.decode(row.fields) or {}) do
    data[name] = value
  end
  data.jobId, data.kind, data.status, data.step = row.id, row.kind, row.status, row.step
  data.processed, data.total, data.percentage = row.processed, row.total, row.percentage
  return data
end

local function publish(self, row, event, data, opts)
  local ok, message, code = self.app:publish(telling.channel(self, row.owner), event, data, opts)
  if ok then return true end
  if LATER[code] then return false end
  if code == "ETOOBIG" and data.result ~= nil then -- fields and result together
    data.result, data.resultBytes = nil, #row.result
    return publish(self, row, event, data, opts)
  end
  sluice.log.error(("%s: '%s' of job '%s' was refused: %s"):format(self.o.name, event, row.id,
    message), { code = code })
  return true
end

--- Tell how far a job is, now.
function telling.say(self, row, opts)
  row.dirty, row.said = not publish(self, row, "progress", telling.data_of(row), opts or NOW),
    sluice.now()
end

--- How far a job is has changed: tell it, now or when the last time is long enough ago.
function telling.note(self, row)
  row.dirty = true
  local wait = row.said and row.said + 1 / self.o.max_rate - sluice.now() or 0
  if wait <= 0 then return telling.say(self, row) end
  if row.due then return end
  local name = self.o.name .. ".tell"
  row.due = true -- before it may come: in a cluster app:after waits
  if not self.app:after(wait, name, { id = row.id }, { id = name .. "/" .. row.id }) then
    row.due = nil
  end
end

--- What has waited is due.
function telling.due(self, id)
  local row = self.book.state().rows[id]
  if not row then return end
  row.due = nil
  if row.dirty and not row.outcome then telling.say(self, row) end
end

--- Tell the end of a job.
-- @treturn boolean false: it is to be tried again
function telling.end_of(self, row)
  local opts = { ttl = math.max(1, row.ended + self.o.keep - sluice.time()) }
  opts.wait = self.away:is_shared() -- its streams end behind it
  local data = telling.data_of(row)
  data.error = row.error
  if row.result and #row.result <= RESULT_MAX then
    data.result = sluice.json.decode(row.result)
  elseif row.result then
    data.resultBytes = #row.result
  end
  return publish(self, row, EVENTS[row.status], data, opts)
end

--- Tell how far a job came and its end, and end the streams that follow it alone. The end takes
-- the place of the progress in the state: one value for each job.
-- @treturn boolean false: it is to be tried again
function telling.finish(self, row)
  telling.say(self, row, { wait = false, remove = true, key = row.id })
  if row.dirty or not telling.end_of(self, row) then return false end
  owned.stop_streams(self.app, telling.channel(self, row.owner), "job", row.id)
  self.away:over(row)
  return true
end

--- Whether the end of a job that was stored is there to be read.
function telling.has_end(self, row)
  return self.app:latest(telling.channel(self, row.owner), row.id, EVENTS[row.status]) ~= nil
end

--- A job is forgotten before its time.
function telling.forget(self, row)
  self.app:remove(telling.channel(self, row.owner), row.id, NOW)
end

return telling
