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

function TEXTS.answered(line, notes, runtime)
  local text = ends.judge(runtime, line, notes).text
  return ("refused %s %s (%d): %s"):format(line.method or "a request for", line.path or "?",
    line.status or 0, text)
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

local OWN = { time = true, n = true, trace = true } -- what equal rows may differ in

local function key_of(row)
  local parts = {}
  for name, value in pairs(row) do
    if not OWN[name] then parts[#parts + 1] = name .. "=" .. tostring(value) end
  end
  table.sort(parts)
  return table.concat(parts, "\0")
end

-- Rows that say the same become one, where the last of them stands: { row, times, first }.
local function fold(all)
  local out, found = {}, {}
  for i = #all, 1, -1 do
    local row, key = all[i], key_of(all[i])
    if found[key] then
      found[key].times, found[key].first = found[key].times + 1, row.time
    elseif #out < MOST then
      out[#out + 1] = { row = row, times = 1, first = row.time }
      found[key] = out[#out]
    end
  end
  return out
end

local function shown(one, notes, runtime)
  local row, text = one.row, text_of(one.row, notes, runtime)
  if one.times > 1 then
    text = ("%s (%d times, the first at %s)"):format(text, one.times, words.clock(one.first))
  end
  return { time = row.time, what = row.message, text = text, times = one.times > 1 and one.times
    or nil, cause = row.by or row.cause or row.reason, client = row.client, channel = row.channel }
end

--- The newest things that happened.
-- @tparam sluice.Runtime runtime
-- @tparam {table,...} lines of the I/O threads
-- @tparam {table,...} notes of the app's thread
-- @treturn {table,...} { time, what, text, times, cause, client, channel }, the oldest first:
--   `times` when several said the same, at the time of the last one
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
  local folded = fold(all)
  for i = #folded, 1, -1 do out[#out + 1] = shown(folded[i], notes, runtime) end
  return out
end

return timeline
