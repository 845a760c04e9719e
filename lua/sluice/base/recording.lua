--- A recorded stream as text: one JSON object a line, in the order of the events.
---
---   {"t":1.25,"event":"price","data":"{\"symbol\":\"ACME\"}","id":"k3-17"}
---   {"t":9.5,"note":"reset","data":"{\"reason\":\"trimmed\"}"}
---
--- `t` is seconds since the recording began; `event` is left out for "message", `id` while it stays
--- the same, as on the wire. A note is no event. Bytes that are no UTF-8 become U+FFFD, as in a
--- browser. Keeps nothing in memory.
local json = require("sluice.json")

local recording = {}

local SECONDS_MAX = 10 * 366 * 86400

local function quoted(text) return (assert(json.encode(text))) end

--- A line of an event or a note.
-- @tparam table record { t, event, data, id } or { t, note, data }
-- @treturn string with its line end
function recording.write(record)
  local line = ('{"t":%.3f'):format(record.t)
  for _, name in ipairs({ "note", "event", "data", "id" }) do
    local value = record[name]
    if value ~= nil and not (name == "event" and value == "message") then
      line = ('%s,"%s":%s'):format(line, name, quoted(value))
    end
  end
  return line .. "}\n"
end

-- What is wrong with a record, or nil.
local function fault(record)
  local t = record.t
  if type(t) ~= "number" or not (t >= 0 and t <= SECONDS_MAX) then
    return "t is a number of seconds from 0"
  end
  for _, name in ipairs({ "event", "data", "id", "note" }) do
    local value = record[name]
    if value ~= nil and type(value) ~= "string" then
      return ("%s is a string, not a %s"):format(name, type(value))
    end
  end
  for name, refused in pairs({ event = "[\r\n]", id = "[\r\n\0]" }) do
    if (record[name] or ""):find(refused) then
      return name .. " has a line end" .. (name == "id" and " or a zero byte" or "")
    end
  end
  if not record.data and not record.note then return "data is missing" end
end

--- Read a line.
-- @tparam string line
-- @treturn table|nil the record, with `event`; or nil and why it is none
function recording.read(line)
  local record, message = json.decode(line)
  if record == nil then return nil, message end
  if type(record) ~= "table" or line:find("^%s*%[") then return nil, "a JSON object is expected" end
  local why = fault(record)
  if why then return nil, why end
  if record.event == nil or record.event == "" then record.event = "message" end
  return record
end

--- Iterate over the lines of a file that are not empty.
-- @tparam file handle
-- @tparam string path for messages
-- @treturn function an iterator over: record (nil for a line that is none; a note is passed on),
--   and `path:line: why` for such a line; it raises when the file cannot be read
function recording.lines(handle, path)
  local n = 0
  return function()
    local line, message
    repeat
      line, message = handle:read("l")
      n = n + 1
    until not line or line:find("%S")
    if not line then
      if message then error(path .. ": " .. message, 0) end
      return nil
    end
    local record, why = recording.read(line)
    if record then record.line = n end
    return record or false, why and ("%s:%d: %s"):format(path, n, why)
  end
end

--- An event as it is on the wire.
-- @tparam table record
-- @treturn string
function recording.to_stream(record)
  local lines = {}
  if record.event ~= "message" then lines[1] = "event: " .. record.event end
  for line in (record.data:gsub("\r\n?", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = "data: " .. line
  end
  if record.id then lines[#lines + 1] = "id: " .. record.id end
  return table.concat(lines, "\n") .. "\n\n"
end

return recording
