--- `sluice replay --serve`: a recording as an event stream on this machine, with the ids that it
--- had. Each reader gets it from the start, at its own time; one that comes back with the id of an
--- event goes on behind it, and is answered 204 when that was the last. In memory: for each reader
--- one event and what its socket did not take.
local core = require("sluice.core")
local recording = require("sluice.base.recording")

local viewers = {}

local HEAD_MAX = 16384
local LOOK_SECONDS = 60 -- the longest wait

local function respond(status, more, body)
  return ("HTTP/1.1 %s\r\n%sConnection: close\r\nCache-Control: no-store\r\n\r\n%s"):format(status,
    more or "", body or "")
end

local function is_here(host)
  local name = host:lower():gsub(":%d+$", "")
  return name == "127.0.0.1" or name == "localhost"
end

local function field(head, name)
  for line in head:gmatch("\r?\n([^\r\n]+)") do
    local key, value = line:match("^([^:]+):[ \t]*(.-)[ \t]*$")
    if key and key:lower() == name then return value end
  end
end

-- Events in order, with the id that a reader has behind each.
local function each_event(path, handle)
  local next_line, id = recording.lines(handle, path), ""
  return function()
    local record
    repeat record = next_line() until record == nil or record and not record.note
    if record then
      id = record.id or id
      record.last_id = id
    end
    return record
  end
end

-- How many events to pass over for a reader that has `id`, without the spaces around it, which no
-- header keeps; nil: it has them all. Of several events with one id it may have the first only.
local function place_of(path, id)
  local handle <close> = io.open(path, "rb")
  local n, place = 0, nil
  for record in handle and each_event(path, handle) or function() end do
    n = n + 1
    if not place and record.last_id:match("^[ \t]*(.-)[ \t]*$") == id then place = n end
  end
  place = place or 0
  return (place < n or n == 0) and place or nil -- a file without events is no answer
end

-- ---- A reader ----------------------------------------------------------------------------

local function begin(self, reader, head)
  local origin = field(head, "origin")
  local allowed = origin and is_here((origin:gsub("^https?://", "")))
    and ("Access-Control-Allow-Origin: %s\r\n"):format(origin) or ""
  local id = field(head, "last-event-id")
  reader.last = true -- unless it becomes a stream
  if not is_here(field(head, "host") or "") then return respond("421 Misdirected Request") end
  if not head:find("^GET ") then return respond("405 Method Not Allowed", "Allow: GET\r\n") end
  local place = (id or "") == "" and 0 or place_of(self.path, id)
  if not place then return respond("204 No Content", allowed) end
  reader.handle = io.open(self.path, "rb")
  reader.next = reader.handle and each_event(self.path, reader.handle) or function() end
  for _ = 1, place do reader.next() end
  reader.record = reader.next()
  if not reader.record then return respond("503 Service Unavailable") end -- the file has gone
  reader.last = nil
  reader.began, reader.first = core.now(), reader.record.t
  return respond("200 OK", "Content-Type: text/event-stream\r\n" .. allowed)
end

local function close(self, i)
  local reader = self.readers[i]
  if reader.handle then reader.handle:close() end
  self.listener:close(i)
  self.readers[i] = nil
end

local function due(self, reader)
  if not reader.record or reader.out ~= "" then return nil end
  return reader.began + (reader.record.t - reader.first) / self.speed
end

-- Give the socket what is due, as far as it takes it.
local function push(self, i)
  local reader = self.readers[i]
  while true do
    if reader.out ~= "" then
      local taken = self.listener:write(i, reader.out)
      if not taken then return close(self, i) end
      reader.out = reader.out:sub(taken + 1)
      if reader.out ~= "" then return end
    end
    if reader.last then return close(self, i) end
    local at = due(self, reader)
    if not at or at > core.now() then return end
    reader.out = recording.to_stream(reader.record)
    reader.record = reader.next()
    reader.last = reader.record == nil
  end
end

local function listen(self, i)
  self.readers[i] = self.readers[i] or { head = "", out = "" }
  local reader = self.readers[i]
  local bytes = self.listener:read(i)
  if not bytes then return close(self, i) end
  if reader.asked then return end -- what follows a request is not read as another
  reader.head = reader.head .. bytes
  if #reader.head > HEAD_MAX then
    reader.asked, reader.last = true, true
    reader.out = respond("431 Request Header Fields Too Large")
  elseif reader.head:find("\r?\n\r?\n") then
    reader.asked, reader.out = true, begin(self, reader, reader.head)
  end
end

local function wait(self)
  local soonest = LOOK_SECONDS
  for _, reader in pairs(self.readers) do
    local at = due(self, reader)
    if at then soonest = math.min(soonest, math.max(0, at - core.now())) end
  end
  return self.listener:wait(soonest)
end

--- Serve until the process is ended.
-- @tparam table given `file`, `port`, `speed`
-- @tparam file err
-- @treturn integer exit code, when it cannot listen
function viewers.serve(given, err)
  local listener, port = core.listener(given.port)
  if not listener then
    err:write(("sluice: cannot listen on 127.0.0.1:%d: %s; --port takes another, 0 a free one\n")
      :format(given.port, port))
    return 1
  end
  err:write(("serving %s on http://127.0.0.1:%d/\n"):format(given.file, port))
  local self = { path = given.file, speed = given.speed, listener = listener, readers = {} }
  while true do
    for _, i in ipairs(wait(self)) do listen(self, i) end
    local list = {}
    for i in pairs(self.readers) do list[#list + 1] = i end
    for _, i in ipairs(list) do push(self, i) end
  end
end

return viewers
