--- The data of a simulated Redis: keys of its types, and what the commands do that the scripts of a cluster
--- use. Each change notes how it is undone, so that the last ones can be lost (sim_redis.lua).
--- A command is a function of the data and its words; it returns a reply as in spec.support.resp, or raises one.
local data = { commands = {} }

local Data = {}
Data.__index = Data

local commands = data.commands

function data.new(random)
  return setmetatable({ keys = {}, now_ms = 0, random = random }, Data)
end

local function fail(text) error({ err = text }, 0) end

local OK = { ok = "OK" }

-- How the change that is made now is undone. Outside of a transaction nothing can be lost.
function Data:note(undo)
  if self.undo then self.undo[#self.undo + 1] = undo end
end

function Data:put(name, key)
  local old = self.keys[name]
  self:note(function() self.keys[name] = old end)
  self.keys[name] = key
end

function Data:find(name, kind)
  local key = self.keys[name]
  if key and key.expires and key.expires <= self.now_ms then
    self:put(name, nil)
    return nil
  end
  if key and kind and key.kind ~= kind then
    fail("WRONGTYPE Operation against a key holding the wrong kind of value")
  end
  return key
end

local EMPTY = {
  hash = function() return { kind = "hash", names = {}, values = {} } end,
  list = function() return { kind = "list", items = {} } end,
  stream = function() return { kind = "stream", entries = {}, first = 1, n = 0, last = 0 } end,
  zset = function() return { kind = "zset", scores = {} } end,
}

function Data:make(name, kind)
  local key = self:find(name, kind)
  if not key then
    key = EMPTY[kind]()
    self:put(name, key)
  end
  return key
end

-- A field of a table is another one.
function Data:set(t, field, value)
  local old = t[field]
  self:note(function() t[field] = old end)
  t[field] = value
end

local function whole(text)
  return math.tointeger(tonumber(text)) or fail("ERR value is not an integer or out of range")
end

-- ---- Keys ------------------------------------------------------------------------------

function commands.DEL(d, ...)
  local n = 0
  for _, name in ipairs { ... } do
    if d:find(name) then
      d:put(name, nil)
      n = n + 1
    end
  end
  return n
end

function commands.EXPIRE(d, name, seconds)
  local key = d:find(name)
  if not key then return 0 end
  if whole(seconds) <= 0 then return commands.DEL(d, name) end
  d:set(key, "expires", d.now_ms + whole(seconds) * 1000)
  return 1
end

function commands.FLUSHALL(d)
  local old = d.keys
  d:note(function() d.keys = old end)
  d.keys = {}
  return OK
end

function commands.KEYS(d)
  local names = {}
  for name in pairs(d.keys) do
    if d:find(name) then names[#names + 1] = name end
  end
  return names
end

function commands.TYPE(d, name)
  local key = d:find(name)
  return { ok = key and key.kind or "none" }
end

function commands.GET(d, name)
  local key = d:find(name, "string")
  return key and key.value or false
end

function commands.SET(d, name, value, _, seconds)
  d:put(name, { kind = "string", value = value, expires = seconds and d.now_ms + whole(seconds) * 1000 })
  return OK
end

-- ---- Hashes ------------------------------------------------------------------------------

local function set_field(d, key, field, value)
  local is_new = key.values[field] == nil
  if is_new then
    key.names[#key.names + 1] = field
    d:note(function() table.remove(key.names) end)
  end
  d:set(key.values, field, value)
  return is_new and 1 or 0
end

local function remove_field(d, name, key, field)
  if key.values[field] == nil then return 0 end
  for at, other in ipairs(key.names) do
    if other == field then
      table.remove(key.names, at)
      d:note(function() table.insert(key.names, at, field) end)
      break
    end
  end
  d:set(key.values, field, nil)
  if #key.names == 0 then d:put(name, nil) end
  return 1
end

function commands.HSET(d, name, ...)
  local key, words, n = d:make(name, "hash"), { ... }, 0
  for i = 1, #words, 2 do n = n + set_field(d, key, words[i], words[i + 1]) end
  return n
end

function commands.HSETNX(d, name, field, value)
  local key = d:make(name, "hash")
  return key.values[field] == nil and set_field(d, key, field, value) or 0
end

function commands.HGET(d, name, field)
  local key = d:find(name, "hash")
  return key and key.values[field] or false
end

function commands.HMGET(d, name, ...)
  local out = { ... }
  for i, field in ipairs(out) do out[i] = commands.HGET(d, name, field) end
  return out
end

function commands.HEXISTS(d, name, field) return commands.HGET(d, name, field) and 1 or 0 end

function commands.HLEN(d, name)
  local key = d:find(name, "hash")
  return key and #key.names or 0
end

function commands.HDEL(d, name, field)
  local key = d:find(name, "hash")
  return key and remove_field(d, name, key, field) or 0
end

function commands.HINCRBY(d, name, field, by)
  local n = whole(commands.HGET(d, name, field) or "0") + whole(by)
  set_field(d, d:make(name, "hash"), field, tostring(n))
  return n
end

-- Names and values, of those that 'wanted' lets through.
local function pairs_of(key)
  local out = {}
  for _, field in ipairs(key and key.names or {}) do
    out[#out + 1] = field
    out[#out + 1] = key.values[field]
  end
  return out
end

function commands.HGETALL(d, name) return pairs_of(d:find(name, "hash")) end

function commands.HVALS(d, name)
  local out, all = {}, commands.HGETALL(d, name)
  for i = 2, #all, 2 do out[#out + 1] = all[i] end
  return out
end

--- All at once, as Redis does with small hashes.
function commands.HSCAN(d, name) return { "0", commands.HGETALL(d, name) } end

function commands.HRANDFIELD(d, name, count)
  local all, out = commands.HGETALL(d, name), {}
  for left = math.min(whole(count), #all // 2), 1, -1 do
    local at = 2 * d.random(#all // 2) - 1
    table.move({ table.remove(all, at), table.remove(all, at) }, 1, 2, #out + 1, out)
    if left == 1 then return out end
  end
  return out
end

-- ---- Lists -------------------------------------------------------------------------------

function commands.RPUSH(d, name, item)
  local key = d:make(name, "list")
  d:set(key.items, #key.items + 1, item)
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
  for i = 1, key and key.n or 0 do
    local entry = key.entries[key.first + i - 1]
    if #out < most and id_of(entry[1]) > after then out[#out + 1] = entry end
  end
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

local function bound(text) return text == "+inf" and math.huge or text == "-inf" and -math.huge or whole(text) end

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

return data
