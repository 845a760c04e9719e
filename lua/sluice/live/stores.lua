--- What all stores of an app hold (app:store): on the disk, and mirrored here as JSON text, so that
-- reading never waits. A write is in the mirror at once, and taken back when the disk refuses it.
-- In memory: all that is stored, PAIRS_BYTES_MAX of names, keys and texts, also of stores that no
-- generation declares.
local core = require("sluice.core")
local mirror = require("sluice.base.mirror")

local stores = {}

local BYTES_MAX = core.limits.PAIRS_BYTES_MAX
local MIB = 1024 * 1024

---@class sluice.Stores
local Stores = {}
Stores.__index = Stores

--- The stores of a runtime: rows by name { mirror, bytes, sorted }.
function stores.new(runtime)
  return setmetatable({ runtime = runtime, rows = {}, bytes = 0 }, Stores)
end

local function row_of(self, name)
  local row = self.rows[name]
  if not row then
    row = { name = name, mirror = mirror.new(), bytes = 0, sorted = nil }
    self.rows[name] = row
  end
  return row
end

local function size_of(name, key, text)
  return text and #name + #key + #text or 0
end

-- A key's text has become another one.
local function account(self, row, key, before)
  local now = row.mirror.values[key]
  local more = size_of(row.name, key, now) - size_of(row.name, key, before)
  row.bytes, self.bytes = row.bytes + more, self.bytes + more
  if (now == nil) ~= (before == nil) then row.sorted = nil end
end

--- What was stored when the server starts.
-- @tparam {table,...} pairs { store, key, value }
function Stores:load(pairs_stored)
  for _, pair in ipairs(pairs_stored) do
    local row = row_of(self, pair.store)
    row.mirror.values[pair.key] = pair.value
    account(self, row, pair.key, nil)
  end
end

-- "rooms 60.2 MiB, jobs 3.9 MiB": the stores that hold most.
local function largest(self)
  local list = {}
  for _, row in pairs(self.rows) do list[#list + 1] = row end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.name < b.name
  end)
  for i, row in ipairs(list) do list[i] = ("'%s' %.1f MiB"):format(row.name, row.bytes / MIB) end
  return table.concat(list, ", ", 1, math.min(#list, 3))
end

-- Why a text has no room, or nil.
local function lack(self, row, key, text)
  local before = size_of(row.name, key, row.mirror.values[key])
  local now = size_of(row.name, key, text)
  if now <= before or self.bytes - before + now <= BYTES_MAX then return nil end
  return ("store '%s': the %d bytes of key '%s' have no room: all stores of an app hold %d MiB "
    .. "(now %s)"):format(row.name, now, key, BYTES_MAX // MIB, largest(self)), "EFULL"
end

--- Write a key, or delete it.
-- @tparam string what for messages
-- @tparam string name
-- @tparam string key
-- @tparam string|nil text nil: delete
-- @tparam boolean waits
-- @treturn boolean|nil true, or nil, message, code. What a caller expects to be there (live/
--   shared_stores) it has looked at in this turn: nobody else writes meanwhile
function Stores:write(what, name, key, text, waits)
  local stored, row = self.runtime.stored, row_of(self, name)
  if waits then stored:need_wait(what) end
  local before = row.mirror.values[key]
  if before == text and not row.mirror:is_pending(key) then
    if waits and self.runtime.pause then self.runtime.pause() end -- a test with `waits`
    return true
  end
  local message, code = lack(self, row, key, text)
  if message then return nil, message, code end
  local ticket
  ticket, message, code = self.runtime.server:commit_pair(name, key, text)
  if not ticket then return nil, message, code end
  local write = row.mirror:begin(key, text)
  account(self, row, key, before)
  local ok
  ok, message, code = stored:finish(ticket, waits, ("key '%s' of store '%s'"):format(key, name),
    function(good)
      local shown = row.mirror.values[key]
      row.mirror:settle(write, good)
      account(self, row, key, shown)
    end)
  if ok then return true end
  return nil, message, code
end

--- The text of a key, or nil.
function Stores:read(name, key)
  local row = self.rows[name]
  return row and row.mirror.values[key]
end

-- Whether strings are in the order of their bytes, so that those with a prefix are neighbours: an
-- app may set another language's order.
local function is_bytewise()
  local name = os.setlocale(nil, "collate")
  return name == "C" or name == "POSIX"
end

-- The first place in a sorted list that is not below a key.
local function lower_bound(list, key)
  local low, high = 1, #list + 1
  while low < high do
    local middle = (low + high) // 2
    if list[middle] < key then low = middle + 1 else high = middle end
  end
  return low
end

local function sort(row)
  row.sorted, row.is_bytewise = {}, is_bytewise()
  for key in pairs(row.mirror.values) do row.sorted[#row.sorted + 1] = key end
  table.sort(row.sorted)
end

--- The keys that begin with a prefix, in order, and their texts, as they are now.
-- @treturn {string,...} keys
-- @treturn {string,...} texts
function Stores:list(name, prefix)
  local row, keys, texts = self.rows[name], {}, {}
  if not row then return keys, texts end
  if not row.sorted then sort(row) end
  local together = row.is_bytewise and is_bytewise()
  for i = together and lower_bound(row.sorted, prefix) or 1, #row.sorted do
    local key = row.sorted[i]
    if key:sub(1, #prefix) == prefix then
      keys[#keys + 1], texts[#texts + 1] = key, row.mirror.values[key]
    elseif together then
      break
    end
  end
  return keys, texts
end

--- What is stored and a generation does not declare: sentences for the log.
-- @tparam sluice.Generation generation
-- @treturn {string,...}
function Stores:orphans(generation)
  local list = {}
  for name, row in pairs(self.rows) do
    if row.bytes > 0 and not generation.stores[name] then
      list[#list + 1] = ("store '%s' is no longer declared: what it holds (%d bytes) is kept")
        :format(name, row.bytes)
    end
  end
  table.sort(list)
  return list
end

return stores
