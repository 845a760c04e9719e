--- The answer to: what about this client? Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local ends = require("sluice.explain.ends")
local reloads = require("sluice.explain.reloads")
local resets = require("sluice.explain.resets")
local timeline = require("sluice.explain.timeline")
local waits = require("sluice.explain.waits")
local words = require("sluice.explain.words")

local client = {}

local SHOWN_MOST = 10 -- clients that an answer names

local function route_title(runtime, line)
  local name = runtime.names[line.route]
  local route = name and runtime.generation.route_named[name]
  return route and route.title or name
end

-- The last line or note about an end, and the lines that say more of the same client.
local function last_end(told, notes)
  local line
  for _, one in ipairs(told.recorded) do
    if one.message == "ended" or one.message == "refused" then
      if not line or one.time >= line.time then line = one end
    end
  end
  local note = notes[#notes]
  if note and note.message == "refused" and (not line or note.time > line.time + 1) then
    return nil, note
  end
  return line
end

-- What is asked for by a user, an address or a path: with the notes that name nothing but one of
-- the clients that had it, since those of the ends of a revoked user name no user.
local function with_notes(runtime, notes, told, one)
  local clients, seen, all = {}, {}, {}
  if one then clients[one] = true end
  for _, line in ipairs(told.recorded) do
    if line.client then clients[line.client] = true end
  end
  for _, row in ipairs(notes) do seen[row] = true end
  for _, row in ipairs(runtime.recorder:list("deeds")) do
    if seen[row] or clients[row.client or ""] then all[#all + 1] = row end
  end
  return all
end

-- A channel whose policy closed it has a line of its own.
local function add_channel(told, line)
  for _, one in ipairs(told.recorded) do
    if one.message == "lagged" and one.client == line.client then line.channel = one.channel end
  end
end

-- Which reload took the route of a path.
local function taken(runtime, path)
  local row, found = reloads.before(runtime, nil, path, "stream")
  if not row then return "" end
  return (" %s took it: %s."):format(reloads.text(row):match("^(.-):"), table.concat(found, "  "))
end

-- What serves a path that is no stream's: "POST /api/tickets (app.lua:12)", in the order of routes.
local function served(runtime, path)
  local list, generation = {}, runtime.generation
  local function add(method, pattern, where)
    if not core.match(pattern, path) then return end
    list[#list + 1] = ("%s %s (%s)"):format(method, pattern, where or "?")
  end
  for _, route in ipairs(generation.sorted_routes) do
    if route.kind ~= "stream" and route.kind ~= "feed" then
      add(route.method, route.pattern, route.where)
    end
  end
  for _, static in ipairs(generation.statics) do
    add("GET", static.prefix .. "/**", generation.static_named[static.prefix])
  end
  return table.concat(list, ", ")
end

local function no_route(runtime, path)
  if path:sub(1, 1) ~= "/" or runtime:route_of(path) then return nil end
  local by = served(runtime, path)
  if by ~= "" then
    local text = "'%s' is no stream: %s serves it.%s"
    return { cause = "handler", text = text:format(path, by, taken(runtime, path)),
      advice = "Explain is about streams; the log has a line for each request." }
  end
  local text = "No stream route matches '%s': a client gets 404.%s"
  return { cause = "route", text = text:format(path, taken(runtime, path)) }
end

-- How far the notes go back: they are in memory, and begin with the process.
local function reach(runtime, told)
  local since = math.max(told.since or 0, told.requests_since or 0)
  if since > 0 then return (" What was noted reaches back to %s."):format(words.clock(since)) end
  return (" Notes begin with the start of the process, which was at %s (UTC): for what was before "
    .. "that ask the log."):format(os.date("!%Y-%m-%d %H:%M:%S", math.floor(runtime.started)))
end

local function nothing(runtime, told, id)
  local text = ("Nothing is known of '%s': no open stream, and nothing that was noted, has it as "
    .. "its client, user, address, path or trace.%s"):format(id, reach(runtime, told))
  return { cause = "unknown", text = text }
end

-- More open clients have it than one.
local function several(who)
  local list = table.concat(who.open, ", ", 1, math.min(#who.open, SHOWN_MOST))
  return { cause = "several", text = ("%s have '%s' as their user, address or path: %s%s. Ask for "
    .. "one of them."):format(words.count(#who.open, "open client"), who.asked, list,
    #who.open > SHOWN_MOST and ", …" or "") }
end

-- Asked by an address, a user or a path: beside who is open, the last one that was refused.
local function refused_too(runtime, who, told, notes)
  if who.asked == who.one then return nil end
  local last -- a line, or a note where the lines do not name the user
  for _, list in ipairs({ notes, told.recorded }) do
    for _, row in ipairs(list) do
      if row.message == "refused" and (not last or row.time >= last.time) then last = row end
    end
  end
  if not last then return nil end
  local one = last.reason and ends.judge(runtime, last, notes) or ends.from_note(runtime, last)
  one.text = ("One was refused at %s: %s"):format(words.clock(last.time), one.text)
  return one
end

local function facts(runtime, id, stream)
  local info = runtime.server:client(id)
  local out = { client = id, path = info and info.path, ip = info and info.ip,
    user = info and info.user, route = info and route_title(runtime, info) }
  for name, value in pairs(stream) do
    if name ~= "message" and name ~= "time" and name ~= "level" then out[name] = value end
  end
  return out
end

local function followed(told)
  local list = arrays.mark({})
  for i, sub in ipairs(told.subscriptions) do
    sub.message, sub.time, sub.level = nil, nil, nil
    list[i] = sub
  end
  return list
end

-- What neither streams nor notes are about: a request that the server refused by itself, or a
-- path that no stream has.
local function no_stream(runtime, told, id)
  local found, list = "none", {}
  for i = #told.recorded, 1, -1 do
    local line = told.recorded[i]
    if line.message == "answered" then
      found, list[1] = "refused", ends.judge(runtime, line, {})
      break
    end
  end
  list[#list + 1] = no_route(runtime, id)
  if not list[1] then list[1] = nothing(runtime, told, id) end
  return found, list
end

--- Explain a client.
-- @tparam sluice.Runtime runtime
-- @tparam table who `asked`: a client's id; or a user, an address, a path, a trace: then the last
--   one that had it; `open`: the ids of those that are open; `one`: the only one of these
-- @tparam table told what the threads answered
-- @treturn table { found, because, client, channels, timeline, since }
function client.explain(runtime, who, told)
  local id = who.asked
  local notes = runtime.recorder:find(id)
  local line, note = last_end(told, notes)
  notes = with_notes(runtime, notes, told, who.one)
  local out = { subject = { kind = "client", id = id }, since = told.since,
    timeline = timeline.of(runtime, told.recorded, notes) }
  if told.stream then
    out.found = "open"
    out.because = waits.judge(runtime, told.stream, told.subscriptions)
    out.because[#out.because + 1] = refused_too(runtime, who, told, notes)
    out.client, out.channels = facts(runtime, who.one, told.stream), followed(told)
  elseif #who.open > 1 then
    out.found, out.because = "open", { several(who), refused_too(runtime, who, told, notes) }
  elseif line then
    out.found = line.message
    add_channel(told, line)
    local one = ends.judge(runtime, line, notes)
    if one.cause == "route" then one.text = one.text .. taken(runtime, line.path) end
    out.because = { one }
  elseif note then
    out.found, out.because = "refused", { ends.from_note(runtime, note) }
  else
    out.found, out.because = no_stream(runtime, told, id)
  end
  arrays.mark(out.because)
  return out
end

--- Explain resets.
-- @tparam sluice.Runtime runtime
-- @tparam string id that the reset carried or has in `from`; or a client's
-- @tparam table told
-- @treturn table { found, because, timeline, since }: one of `because` for each channel and cause
function client.explain_reset(runtime, id, told)
  local list, seen, shown = {}, {}, {}
  for i = #told.recorded, 1, -1 do
    local line = told.recorded[i]
    if line.message == "reset" then
      table.insert(shown, 1, line)
      local one = resets.judge(runtime, line)
      local key = one.cause .. " " .. one.channel
      if not seen[key] then
        seen[key], list[#list + 1] = one, one
        one.clients = 0
      end
      seen[key].clients = seen[key].clients + 1
    end
  end
  local found = list[1] ~= nil
  if not found then
    local none = "No reset that was noted has the id '%s', has it in 'from', or went to a client "
      .. "of that name.%s"
    list[1] = { cause = "unknown", text = none:format(id, reach(runtime, told)) }
  end
  return { subject = { kind = "reset", id = id }, found = found and "reset" or "none",
    because = arrays.mark(list), since = told.since, timeline = timeline.of(runtime, shown, {}) }
end

return client
