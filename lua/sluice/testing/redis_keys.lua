--- The keys of a simulated Redis, and what the commands do with keys and hashes that the scripts of
-- a cluster use (csrc/cluster). Each change notes how it is undone, so that the last ones can be
-- lost (redis.lua). A command is a function of the data and its words; it returns a reply as in
-- resp.lua, or raises one.
local keys = { commands = {} }

local Data = {}
Data.__index = Data

local commands = keys.commands

function keys.new(random)
  return setmetatable({ keys = {}, now_ms = 0, random = random }, Data)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for name, one in pairs(value) do out[name] = copy(one) end
  return out
end

--- The same keys once more.
function keys.copy(data, random)
  local twin = keys.new(random)
  twin.keys, twin.now_ms = copy(data.keys), data.now_ms
  return twin
end

--- Raise an error, as the server answers it.
function keys.fail(text) error({ err = text }, 0) end

local fail = keys.fail

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

-- The whole number that a word says.
function keys.whole(text)
  return math.tointeger(tonumber(text)) or fail("ERR value is not an integer or out of range")
end

local whole = keys.whole

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
  d:put(name, { kind = "string", value = value,
    expires = seconds and d.now_ms + whole(seconds) * 1000 })
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

function commands.HKEYS(d, name)
  local out, all = {}, commands.HGETALL(d, name)
  for i = 1, #all, 2 do out[#out + 1] = all[i] end
  return out
end

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

return keys
