--- What a simulated Redis does with lists, streams and sorted sets; see redis_keys.lua.
local keys = require("sluice.testing.redis_keys")

local commands, whole, fail = keys.commands, keys.whole, keys.fail

local OK = { ok = "OK" }

-- ---- Lists -------------------------------------------------------------------------------

function commands.RPUSH(d, name, ...)
  local key = d:make(name, "list")
  for _, item in ipairs { ... } do d:set(key.items, #key.items + 1, item) end
  return #key.items
end

-- Redis' places, which count from 0 and, below it, from the end.
local function range(n, from, to)
  from, to = whole(from), whole(to)
  if from < 0 then from = math.max(n + from, 0) end
  if to < 0 then to = n + to end
  return from + 1, math.min(to, n - 1) + 1
end

function commands.LRANGE(d, name, from, to)
  local key = d:find(name, "list")
  if not key then return {} end
  from, to = range(#key.items, from, to)
  return table.move(key.items, from, to, 1, {})
end

function commands.LLEN(d, name)
  local key = d:find(name, "list")
  return key and #key.items or 0
end

function commands.LINDEX(d, name, at) return commands.LRANGE(d, name, at, at)[1] or false end

function commands.LTRIM(d, name, from, to)
  local key = d:find(name, "list")
  if not key then return OK end
  d:set(key, "items", commands.LRANGE(d, name, from, to))
  if #key.items == 0 then d:put(name, nil) end
  return OK
end

-- ---- Streams -------------------------------------------------------------------------------

local function id_of(text) return whole((text:gsub("^0%-", ""))) end

local function trim(d, key, most)
  while key.n > most do
    d:set(key.entries, key.first, nil)
    d:set(key, "first", key.first + 1)
    d:set(key, "n", key.n - 1)
  end
end

function commands.XADD(d, name, ...)
  local words, at, most = { ... }, 1, math.huge
  if words[1] == "MAXLEN" then at, most = 4, whole(words[3]) end
  local id, old = id_of(words[at]), d:find(name, "stream")
  if id <= (old and old.last or 0) then
    fail("ERR The ID specified in XADD is equal or smaller than the target stream top item")
  end
  local key = d:make(name, "stream")
  d:set(key.entries, key.first + key.n, { "0-" .. id, table.move(words, at + 1, #words, 1, {}) })
  d:set(key, "n", key.n + 1)
  d:set(key, "last", id)
  trim(d, key, most)
  return "0-" .. id
end

function commands.XTRIM(d, name, _, _, most)
  local key = d:find(name, "stream")
  if key then trim(d, key, whole(most)) end
  return 0
end

function commands.XLEN(d, name)
  local key = d:find(name, "stream")
  return key and key.n or 0
end

function commands.XREVRANGE(d, name, _, _, _, count)
  local key, out = d:find(name, "stream"), {}
  for i = key and key.n or 0, 1, -1 do
    if #out == whole(count or "1000000") then break end
    out[#out + 1] = key.entries[key.first + i - 1]
  end
  return out
end

--- XREAD [COUNT n] [BLOCK ms] STREAMS key id: who blocks asks again.
function commands.XREAD(d, ...)
  local words, most = { ... }, math.huge
  for i, word in ipairs(words) do
    if word == "COUNT" then most = whole(words[i + 1]) end
  end
  local name, after, out = words[#words - 1], id_of(words[#words]), {}
  local key = d:find(name, "stream")
  local last = key and key.first + key.n - 1 or 0
  local from = last + 1
  while key and from > key.first and id_of(key.entries[from - 1][1]) > after do from = from - 1 end
  for i = from, math.min(last, from + most - 1) do out[#out + 1] = key.entries[i] end
  return #out > 0 and { { name, out } } or false
end

-- ---- Sorted sets ---------------------------------------------------------------------------

-- Members and scores, the lowest first.
local function sorted(key)
  local out = {}
  for member, score in pairs(key and key.scores or {}) do out[#out + 1] = { member, score } end
  table.sort(out, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  return out
end

local function bound(text)
  if text == "+inf" then return math.huge end
  return text == "-inf" and -math.huge or whole(text)
end

function commands.ZADD(d, name, score, member)
  local key = d:make(name, "zset")
  local is_new = key.scores[member] == nil
  d:set(key.scores, member, whole(score))
  return is_new and 1 or 0
end

function commands.ZRANGEBYSCORE(d, name, low, high, _, _, count)
  local out = {}
  for _, row in ipairs(sorted(d:find(name, "zset"))) do
    local is_in = row[2] >= bound(low) and row[2] <= bound(high)
    if is_in and (not count or #out < whole(count)) then out[#out + 1] = row[1] end
  end
  return out
end

function commands.ZREVRANGE(d, name, _, _, with_scores)
  local rows = sorted(d:find(name, "zset"))
  local newest = rows[#rows]
  if not newest then return {} end
  return with_scores and { newest[1], tostring(newest[2]) } or { newest[1] }
end

function commands.ZREMRANGEBYSCORE(d, name, low, high)
  local doomed = commands.ZRANGEBYSCORE(d, name, low, high)
  for _, member in ipairs(doomed) do d:set(d.keys[name].scores, member, nil) end
  if #doomed > 0 and not next(d.keys[name].scores) then d:put(name, nil) end
  return #doomed
end

return keys
