--- Recordings that a demo plays: each file has its own pace, from its first event to its last and
--- again from the start. In memory: the events of the files.
local options = require("sluice.base.options")
local recording = require("sluice.base.recording")
local sluice = require("sluice")

local players = {}

local KNOWN = { channel = options.STRING, speed = 1 }
local EVENTS_MAX, BYTES_MAX = 100000, 64 * 1024 * 1024
local BURST = 100 -- events that are sent without a pause
local AGAIN = 1 -- seconds between the last event and the first

local function read(path)
  local handle, message = io.open(path, "rb")
  if not handle then error("demo:replay: " .. message, 0) end
  local _ <close> = handle
  local list, bytes = {}, 0
  for record, why in recording.lines(handle, path) do
    if not record then error("demo:replay: " .. why, 0) end
    if not record.note then
      list[#list + 1], bytes = record, bytes + #record.data
      if #list > EVENTS_MAX or bytes > BYTES_MAX then
        error(("demo:replay: %s has more than %d events, or 64 MiB"):format(path, EVENTS_MAX), 0)
      end
    end
  end
  if #list == 0 then error(("demo:replay: %s holds no event"):format(path), 0) end
  return list
end

--- Read a file, while the app loads.
-- @tparam sluice.Demo demo
-- @tparam string file
-- @tparam string folder of the file that calls, with its slash
-- @tparam[opt] table given { channel, speed }
function players.add(demo, file, folder, given)
  if type(file) ~= "string" then options.raise("demo:replay(file): the file is a string") end
  local o = options("demo:replay", given, KNOWN)
  if not (o.speed >= 0.01 and o.speed <= 1000) then
    options.raise("demo:replay: speed is a number from 0.01 to 1000")
  end
  local path = file:find("^/") and file or folder .. file
  table.insert(demo.files, { path = path, channel = o.channel, speed = o.speed, list = read(path) })
end

local function arm(demo, i, seconds)
  demo.app:after(seconds, demo.name .. ".file", i, { id = ("%s.file.%d"):format(demo.name, i) })
end

--- Begin each file, or none.
function players.start(demo, wanted)
  players.stop(demo)
  for i in ipairs(wanted and demo.files or {}) do arm(demo, i, 0) end
end

--- Stop them all, also those of a version that had more.
function players.stop(demo)
  local now = demo.state()
  for i in pairs(now.played) do demo.app:cancel(("%s.file.%d"):format(demo.name, i)) end
  for i in ipairs(demo.files) do demo.app:cancel(("%s.file.%d"):format(demo.name, i)) end
  now.played = {}
end

local function send(demo, file, record)
  local info = not file.channel and demo.app:event_types()[record.event]
  local channel = file.channel or info and info.channel
  if not channel then
    return demo.complain(demo, file.path, ("the event '%s' has no channel: name one in "
      .. "demo:replay(file, { channel = … })"):format(record.event))
  end
  local data = record.data:find("^%s*{") and sluice.json.decode(record.data)
  if type(data) == "table" then
    return demo.publish(demo, file.path, channel, record.event, data)
  end
  local id, message = demo.app:publish(channel, record.event, record.data)
  if not id then return demo.complain(demo, file.path, message) end
  local now = demo.state()
  now.sent = now.sent + 1
end

--- Send what is due of a file, and set the time of what follows.
-- @tparam sluice.Demo demo
-- @tparam integer i which file
function players.play(demo, i)
  local now, file = demo.state(), demo.files[i]
  if not (now.running and file) then return end
  local place = now.played[i]
  if not place or place.next > #file.list then
    place = { next = 1, began = sluice.now() }
    now.played[i] = place
  end
  local function due(k)
    return place.began + (file.list[k].t - file.list[1].t) / file.speed - sluice.now()
  end
  local first = place.next
  local last = first
  while last < #file.list and last - first < BURST and due(last + 1) <= 0 do last = last + 1 end
  place.next = last + 1
  arm(demo, i, last == #file.list and AGAIN or math.max(0, due(last + 1)))
  for k = first, last do
    if demo.state().played[i] ~= place then return end -- stopped meanwhile
    send(demo, file, file.list[k])
  end
end

return players
