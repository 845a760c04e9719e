--- What the console shows, as tables for JSON. Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local json = require("sluice.json")

local sample = {}

local SLOWEST, ROWS, LINES = 10, 50, 200
local BYTES, TEXT_BYTES, PATH_BYTES = 40000, 4000, 200 -- an event has 65,000

local function client_of(runtime, id)
  local info = runtime.server:client(id) or {}
  return { client = id, path = info.path and info.path:sub(1, PATH_BYTES), ip = info.ip,
    user = info.user }
end

-- The first of a list, as many as fit: an event must not be too large.
local function first_of(rows, most)
  local list, bytes = arrays.mark({}), 0
  for i = 1, math.min(#rows, most) do
    bytes = bytes + #json.encode(rows[i])
    if bytes > BYTES then break end
    list[i] = rows[i]
  end
  return list
end

--- What changes all the time.
-- @tparam sluice.Runtime runtime
-- @treturn table
function sample.pulse(runtime)
  local out = runtime.server:pulse()
  out.at, out.time, out.heap = core.now(), core.time(), collectgarbage("count") * 1024
  out.errors, out.generation = runtime.errors_total, runtime.generation.id
  out.slowest = arrays.mark({})
  for i, row in ipairs(runtime.server:slowest(SLOWEST)) do
    local shown = client_of(runtime, row.id)
    shown.lag_events, shown.lag_bytes = row.lag_events, row.lag_bytes
    shown.behind_for, shown.channel = row.behind_for, row.channel
    out.slowest[i] = shown
  end
  return out
end

-- Stream routes with how many clients each has, also those that a reload has removed.
local function streams(runtime, counts)
  local list, seen = {}, {}
  for _, route in ipairs(runtime.generation.sorted_routes) do
    if route.kind == "stream" or route.kind == "feed" then
      local id = runtime.ids[route.name]
      seen[id] = true
      list[#list + 1] = { route = route.name, where = route.where, open = counts[id] or 0 }
    end
  end
  for id, n in pairs(counts) do
    if not seen[id] then list[#list + 1] = { route = runtime.names[id] or "?", open = n } end
  end
  table.sort(list, function(a, b)
    if a.open ~= b.open then return a.open > b.open end
    return a.route < b.route
  end)
  return first_of(list, ROWS), #list
end

--- What a round of the search for the most has found.
-- @tparam sluice.Runtime runtime
-- @tparam number seconds that it covers
-- @treturn table
function sample.round(runtime, seconds)
  local top = runtime.server:top()
  local out = { seconds = seconds, clients = arrays.mark({}), channels = arrays.mark(top.channels),
    left_out = top.left_out }
  out.streams, out.streams_all = streams(runtime, top.routes)
  for i, row in ipairs(top.clients) do
    out.clients[i] = client_of(runtime, row.name)
    out.clients[i].bytes = row.bytes
  end
  return out
end

local function sum(counts)
  local n = 0
  for _, count in pairs(counts) do n = n + count end
  return n
end

--- The patterns of channels that have sent most.
-- @tparam sluice.Runtime runtime
-- @treturn table
function sample.patterns(runtime)
  local rows = runtime.server:metrics().patterns
  table.sort(rows, function(a, b)
    if a.delivered_bytes ~= b.delivered_bytes then return a.delivered_bytes > b.delivered_bytes end
    return a.pattern < b.pattern
  end)
  local list = arrays.mark({})
  for i = 1, math.min(#rows, ROWS) do
    local row = rows[i]
    list[i] = { pattern = row.pattern, channels = row.channels, subscribers = row.subscribers,
      published = row.published, delivered = row.delivered, bytes = row.delivered_bytes,
      held_bytes = row.held_bytes, behind = row.behind, conflated = row.conflated,
      dropped = row.dropped, resets = sum(row.resets), over_budget = row.over_budget }
  end
  return { at = core.now(), list = list, all = #rows }
end

-- A line as a table, its texts cut.
local function read_line(text)
  local line = json.decode(text)
  if type(line) ~= "table" then return { message = text:sub(1, TEXT_BYTES) } end
  for name, value in pairs(line) do
    if type(value) == "string" and #value > TEXT_BYTES then
      line[name] = value:sub(1, TEXT_BYTES) .. " …"
    end
  end
  return line
end

--- The lines of the log behind a number, of many the newest.
-- @tparam integer after
-- @tparam[opt] integer till up to this one
-- @treturn table|nil { lines, last, missing }; nil: there is no new one
-- @treturn integer the number of the newest
function sample.log(after, till)
  local text, last = core.log_tail(after, LINES)
  local rows, newest, bytes = {}, arrays.mark({}), 0
  for line in text:gmatch("[^\n]+") do rows[#rows + 1] = read_line(line) end
  while till and last > till do rows[#rows], last = nil, last - 1 end
  if last <= after then return nil, last end
  local from = #rows + 1
  for i = #rows, 1, -1 do
    bytes = bytes + #json.encode(rows[i])
    if bytes > BYTES then break end
    from = i
  end
  table.move(rows, from, #rows, 1, newest)
  return { lines = newest, last = last, missing = last - after - #newest }, last
end

-- "severity: info|high?" of each field, in their order.
local function fields_of(fields)
  local list = arrays.mark({})
  for name, kind in pairs(fields or {}) do
    local is_list = type(kind) == "table"
    local words = {}
    for i, word in ipairs(is_list and kind or {}) do words[i] = core.text_of(word) end
    list[#list + 1] = name .. ": " .. (is_list and table.concat(words, "|")
      .. (kind.optional and "?" or "") or kind)
  end
  table.sort(list)
  return list
end

local function event_types(runtime)
  local list = {}
  for name, info in pairs(runtime.generation.event_types) do
    list[#list + 1] = { name = name, description = info.description, automatic = info.automatic,
      channel = info.channel, example = info.example, fields = fields_of(info.fields) }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return first_of(list, #list), #list
end

local function declared(runtime)
  local list = {}
  for i, row in ipairs(runtime.generation.policies) do list[i] = row.pattern end
  return first_of(list, ROWS)
end

--- What the running code is.
-- @tparam sluice.Runtime runtime
-- @treturn table
function sample.code(runtime)
  local reloader = runtime.reloader
  local out = { version = core.version, epoch = runtime.server:stats().epoch,
    path = runtime.generation.path, generation = runtime.generation.id, started = runtime.started,
    can_reload = reloader.path ~= nil, revisions = #reloader.revisions,
    rolled_back = reloader.rolled_back, channels = declared(runtime) }
  out.types, out.types_all = event_types(runtime)
  return out
end

return sample
