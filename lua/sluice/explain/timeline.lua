--- What happened, in order: lines of the I/O threads and notes of the app's thread.
-- Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local ends = require("sluice.explain.ends")
local resets = require("sluice.explain.resets")
local words = require("sluice.explain.words")

local timeline = {}

local MOST = 50

local TEXTS = {}

function TEXTS.opened(line)
  local came = line.came and (" with the id %s"):format(line.came) or ", without an id"
  return ("opened %s from %s%s; %s"):format(line.path, line.ip, came,
    words.count(line.channels or 0, "channel"))
end

function TEXTS.ended(line, notes, runtime)
  return ("ended after %s and %s (%s): %s"):format(words.seconds(line.seconds or 0),
    words.count(line.events or 0, "event"), line.reason, ends.judge(runtime, line, notes).text)
end

-- A note of the app's thread has no reason.
function TEXTS.refused(line, notes, runtime)
  if line.reason then
    return ("refused %s (%s): %s"):format(line.path or "?", line.reason,
      ends.judge(runtime, line, notes).text)
  end
  local text = line.limit and ends.judge(runtime, line, notes).text or ends.note(line)
  return "refused: " .. text
end

function TEXTS.reset(line, _, runtime)
  return ("reset of '%s' (%s): %s"):format(line.channel, line.reason, resets.judge(runtime, line)
    .text)
end

function TEXTS.lagged(line)
  return ("lagged on '%s': %s waited for its socket"):format(line.channel,
    words.bytes(line.unsent or 0))
end

local function text_of(row, notes, runtime)
  local make = TEXTS[row.message]
  if make then return make(row, notes, runtime) end
  return ends.note(row)
end

--- The newest things that happened.
-- @tparam sluice.Runtime runtime
-- @tparam {table,...} lines of the I/O threads
-- @tparam {table,...} notes of the app's thread
-- @treturn {table,...} { time, what, text, cause, client, channel }, the oldest first
function timeline.of(runtime, lines, notes)
  local all = {}
  for _, list in ipairs({ lines, notes }) do
    for _, row in ipairs(list) do all[#all + 1] = row end
  end
  local order = {}
  for i, row in ipairs(all) do order[row] = i end
  table.sort(all, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    local a_ends, b_ends = a.message == "ended", b.message == "ended"
    if a_ends ~= b_ends then return b_ends end -- it may stand in another list than what came before
    return order[a] < order[b]
  end)
  local out = arrays.mark({})
  for i = math.max(1, #all - MOST + 1), #all do
    local row = all[i]
    out[#out + 1] = { time = row.time, what = row.message, text = text_of(row, notes, runtime),
      cause = row.by or row.cause or row.reason, client = row.client, channel = row.channel }
  end
  return out
end

return timeline
