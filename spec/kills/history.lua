--- What publishers and subscribers have written down, read again: written apart from the product's
--- parsers and from those who wrote it.
---
---   history.publishers(text) -> ops by token, in order of their first asking
---     { token, channel, key, flags, data, lane, number, begun, asked, asks, refused, ids = { each that was answered };
---       of the first attempt that was answered, else of the last: result, id, answered, from (not before) }
---   history.subscriber(text) -> { { what = "connect" | "block" | "end", … }, … }
---   history.folder(folder, n, world) -> what the judge reads
local process = require("spec.support.process")

local history = {}

local function split(line)
  local fields = {}
  for field in (line .. "\t"):gmatch("([^\t]*)\t") do fields[#fields + 1] = field end
  return fields
end

local function on_ask(ops, at, f)
  local op = ops[f[3]]
  if not op then
    local lane, number = f[3]:match("^(.*)%-(%d+)$")
    op = { token = f[3], channel = f[4], key = f[5], flags = f[6], data = f[7], begun = at, lane = lane,
      number = tonumber(number), refused = 0, asks = 0, ids = {} }
    ops[f[3]] = op
    ops[#ops + 1] = op
  end
  op.asked = at
  if op.result ~= "ok" then op.result = "unknown" end
  op.asks = op.asks + 1
end

--- result: "ok", "no", "unknown"; once "ok", it stays. That one attempt was refused says nothing of an earlier
--- one without an answer.
function history.publishers(text)
  local ops = {}
  for line in text:gmatch("[^\n]+") do
    local f = split(line)
    local at, what, op = tonumber(f[1]), f[2], ops[f[3]]
    if what == "ask" then
      on_ask(ops, at, f)
    else
      if what == "no" then op.refused = op.refused + 1 end
      if what == "ok" then op.ids[#op.ids + 1] = f[4] end
      if what == "unknown" then op.open = true end
      if op.result ~= "ok" then
        op.answered, op.result, op.id = at, what == "no" and op.open and "unknown" or what, f[4]
        op.from = (op.asks == 1 or f[5] == "duplicate") and op.begun or op.asked
      end
    end
  end
  return ops
end

local function own_line(list, line, at)
  local time, run, path, id = line:match("^# connect (%S+) (%d+) (%S+) (%S+)$")
  if time then
    list[#list + 1] = { what = "connect", at = tonumber(time), run = tonumber(run), path = path,
      id = id ~= "-" and id or nil }
    return tonumber(time)
  end
  local how = line:match("^# end (%a+)$")
  if how then list[#list + 1] = { what = "end", how = how, at = at } end
  return tonumber(line:match("^# at (%S+)$")) or at
end

--- Blocks have event, data, id, at.
function history.subscriber(text)
  local list, at, block = {}, 0, nil
  for line in text:gmatch("([^\n]*)\n") do
    local first = line:byte()
    if first == 35 then -- #
      at = own_line(list, line, at)
    elseif not first then
      if block and block.data then list[#list + 1] = block end
      block = nil
    else
      block = block or { what = "block", at = at, event = "message" }
      local name, value = line:match("^(%a+): ?(.*)$")
      if name then block[name] = name == "data" and block.data and block.data .. "\n" .. value or value end
    end
  end
  return list
end

-- Where each run's numbers begin, and when the last one did.
local function runs(text)
  local first, last_at = {}, 0
  for number, seq, at in text:gmatch("(%d+)\t%w+%-(%d+)\t(%S+)\n") do
    first[tonumber(number)], last_at = math.tointeger(tonumber(seq)), tonumber(at)
  end
  return first, last_at
end

--- What a run has left in its folder; the histories of its n subscribers are read one by one.
function history.folder(folder, n, world)
  local first, last_at = runs(process.read_file(folder .. "/runs"))
  return { ops = history.publishers(process.read_file(folder .. "/publishers")), runs = first, last_at = last_at, n = n,
    channels = world.channels, streams = world.streams,
    subscriber = function(i) return history.subscriber(process.read_file(folder .. "/sub-" .. i)) end }
end

return history
