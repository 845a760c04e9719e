--- What `sluice bench` has measured, as text and as JSON. Keeps nothing in memory.
local json = require("sluice.json")

local report = {}

local BUSY = 0.8 -- of a processor: then the figures may be this tool's

-- What byes gave as their reason: " (bye overload 25)".
local function reasons(counts)
  local list = {}
  for word, n in pairs(counts.reasons) do list[#list + 1] = ("%s %d"):format(word, n) end
  table.sort(list)
  return #list > 0 and (" (bye %s)"):format(table.concat(list, ", ")) or ""
end

-- Events came, and none of them is what was published: the route makes others of it.
local function is_unstamped(self, counts)
  return self.publish and counts.own == 0 and counts.events > 0
end

--- Why readers have no stream, in words.
-- @tparam table counts
-- @tparam[opt] string why what one more was told: better than an error's name
-- @treturn string
function report.troubles(counts, why)
  local list = {}
  local function add(n, text) if n > 0 then list[#list + 1] = text:format(n) end end
  add(counts.refused, ("%%d refused (status %d)"):format(counts.status))
  local failed = why and "" or (" (%s)"):format(counts.error or "no connection")
  add(counts.failed, "%d failed" .. failed:gsub("%%", "%%%%"))
  add(counts.waiting, "%d without an answer")
  add(counts.ended, "%d ended by the server" .. reasons(counts))
  add(counts.broken, "%d broke off")
  return table.concat(list, ", ") .. (why and "; " .. why or "")
end

local function ms(seconds)
  local n = seconds * 1000
  return (n < 10 and "%.2f ms" or n < 100 and "%.1f ms" or "%.0f ms"):format(n)
end

local function times(t)
  return ("p50 %s  p99 %s  p99.9 %s  max %s"):format(ms(t.p50), ms(t.p99), ms(t.p999), ms(t.max))
end

local function bytes(n)
  for _, unit in ipairs({ "B", "KB", "MB" }) do
    if n < 1000 then return ("%.3g %s"):format(n, unit) end
    n = n / 1000
  end
  return ("%.3g GB"):format(n)
end

local function latency_text(self, counts)
  if counts.latency.n > 0 then
    return ("%s (of %d events)"):format(times(counts.latency), counts.latency.n)
  elseif self.time then
    return ("not known: no event had a time in '%s'"):format(self.time)
  elseif is_unstamped(self, counts) then
    return "not known: the events carry no stamp of this tool's; --publish wants a route that "
      .. "publishes the data as they were posted"
  elseif self.publish then
    return "not known: no event came"
  end
  return "not known: no event says when it was published (--publish, or --time)"
end

local function lines_of(self, found)
  local c, seconds = found.counts, found.seconds
  local list = {
    { "readers", ("%d of %d, after %.2f s"):format(c.open, self.connections, found.opened) },
    { "answers", times(c.head) },
    { "events", ("%d in %.1f s: %.1f a second, %s a second"):format(c.events, seconds,
      c.events / seconds, bytes(c.bytes / seconds)) },
  }
  if found.published then
    list[#list + 1] = { "published", ("%d: %.1f a second, of %g wanted"):format(found.published,
      found.published / seconds, self.rate) }
  end
  list[#list + 1] = { "latency", latency_text(self, c) }
  list[#list + 1] = { "lost", is_unstamped(self, c) and "not known, for the same reason"
    or ("%d (repeated %d, out of order %d)"):format(c.lost, c.repeated,
    c.disordered) }
  local troubles = report.troubles(c)
  if troubles ~= "" then list[#list + 1] = { "troubles", troubles } end
  if c.resets + c.byes > 0 then
    list[#list + 1] = { "told", ("%d reset, %d bye"):format(c.resets, c.byes) }
  end
  local busy = found.cpu / seconds
  list[#list + 1] = { "this tool", ("%.0f %% of a processor%s"):format(busy * 100, busy > BUSY
    and ": the figures may be its own" or "") }
  return list
end

local function to_json(self, found)
  local c, seconds = found.counts, found.seconds
  return json.encode({ url = self.url, connections = self.connections, open = c.open,
    openedSeconds = found.opened, seconds = seconds, events = c.events,
    eventsPerSecond = c.events / seconds, bytes = c.bytes, bytesPerSecond = c.bytes / seconds,
    published = found.published, headSeconds = c.head,
    latencySeconds = c.latency.n > 0 and c.latency or nil,
    lost = not is_unstamped(self, c) and c.lost or nil, repeated = c.repeated,
    outOfOrder = c.disordered, refused = c.refused, status = c.status > 0 and c.status or nil,
    failed = c.failed, error = c.error, ended = c.ended, broken = c.broken, waiting = c.waiting,
    resets = c.resets, byes = c.byes, byeReasons = next(c.reasons) and c.reasons or nil,
    cpu = found.cpu / seconds })
end

--- Print it.
-- @tparam table self the options
-- @tparam table found `opened`, `seconds`, `cpu`, `published`, `counts`
-- @tparam boolean as_json
-- @tparam file out
function report.print(self, found, as_json, out)
  if as_json then
    out:write(to_json(self, found), "\n")
    return
  end
  for _, row in ipairs(lines_of(self, found)) do
    out:write(("%-10s "):format(row[1]), row[2], "\n")
  end
end

return report
