--- The one end of a run: its state, its last events, its upstream closed. Keeps nothing in memory.
local run = require("sluice.runs.run")
local sluice = require("sluice")
local writer = require("sluice.runs.writer")

local ending = {}

local function end_event(row)
  return assert(sluice.json.encode({ id = row.id, kind = row.kind, status = row.status,
    result = row.result, error = row.error, code = row.code,
    timestamp = sluice.timestamp(row.ended) }))
end

-- What a caller gets of a run.
function ending.view(row)
  return { id = row.id, kind = row.kind, owner = row.owner, status = row.status,
    result = row.result, error = row.error, code = row.code, created = row.created,
    started = row.started, ended = row.ended }
end

-- The app's own event before the last one.
local function app_end(kept, row)
  if not kept.o.last then return end
  local ok, event, data = pcall(kept.o.last, ending.view(row))
  local text, message = nil, event
  if ok and event == nil then return end
  if ok then text, message = run.check_event(event, data) end
  if text then return writer.event(row, event, text) end
  sluice.log.error(("%s: last() of run %s gave no event: %s"):format(kept.o.name, row.id,
    tostring(message)))
end

-- The first end of a run counts.
function ending.finish(kept, row, status, fields)
  if row.ended then return false end
  local was_running = row.status == "running"
  row.status, row.ended, row.saved = status, sluice.time(), nil
  for name, value in pairs(fields or {}) do
    if name ~= "log" then row[name] = value end
  end
  local live = kept:live(row.id)
  local upstream = live.upstream
  live.upstream, live.asks = nil, nil
  if upstream and upstream.is_ours then upstream.closing:close() end
  app_end(kept, row)
  writer.ending(row, "run-" .. status, end_event(row))
  kept:leave(row, was_running)
  writer.kick(kept, row)
  return true
end

return ending
