--- A Redis with one stream, as far as a source can tell it from a real one: ids by a clock that may fall, what was
--- added and deleted, processes and lines of data, older data that come back. It answers the commands of
--- sluice.sources.stream; one that it does not know raises.
---
---   local r = model.new(random)               random(n) as math.random; waits are those of the app's coroutine
---   r:add(n[, id]); r:trim(keep); r:remove(n); r:drop()
---   r:forget(k) -> there, ever                the last k changes are undone; with r:restart(), r:promote(), r:swap()
---   r.is_old = true                           Redis 6: no entries-added
---   r:open()                                  a connection, as sluice.sources.connection has it
local model = {}

local Redis, Connection = {}, {}
Redis.__index, Connection.__index = Redis, Connection

local GONE = "closed by the server"
local STEP = 0.02 -- seconds between two looks for an entry

function model.new(random)
  return setmetatable({ random = random, stream = false, past = {}, process = 1, line = 1, connections = {}, skew = 0,
    away = false, is_old = false }, Redis)
end

-- ---- Ids ---------------------------------------------------------------------------------------------------------

local function id_of(text)
  local ms, n = text:match("^(%d+)%-(%d+)$")
  return { tonumber(ms), tonumber(n) }
end
local function text_of(id) return ("%d-%d"):format(id[1], id[2]) end
local function is_above(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] > b[2] end

-- ---- Changes -----------------------------------------------------------------------------------------------------

local function copy(stream)
  if not stream then return false end
  local out = { entries = {}, last = stream.last, added = stream.added, deleted = stream.deleted }
  for i, e in ipairs(stream.entries) do out.entries[i] = e end
  return out
end

-- A state that may come back.
local function changed(self)
  self.past[#self.past + 1] = copy(self.stream)
end

--- Add an entry; with the clock's id, or one that has to be above all that are there.
function Redis:add(n, id)
  self.stream = self.stream or { entries = {}, last = { 0, 0 }, added = 0, deleted = { 0, 0 } }
  local s = self.stream
  if not id then
    id = { math.floor(self.now() * 1000) + self.skew, 0 }
    if not is_above(id, s.last) then id = { s.last[1], s.last[2] + 1 } end
  end
  if not is_above(id, s.last) then return false end
  s.entries[#s.entries + 1], s.last, s.added = { id = id, n = n }, id, s.added + 1
  changed(self)
  return true
end

--- XTRIM: the numbers of what is gone.
function Redis:trim(keep)
  local gone = {}
  while self.stream and #self.stream.entries > keep do gone[#gone + 1] = table.remove(self.stream.entries, 1).n end
  changed(self)
  return gone
end

--- XDEL of the i-th from the end; its number.
function Redis:remove(i)
  local s = self.stream
  local e = s and s.entries[#s.entries + 1 - i]
  if not e then return nil end
  table.remove(s.entries, #s.entries + 1 - i)
  if is_above(e.id, s.deleted) then s.deleted = e.id end
  changed(self)
  return e.n
end

--- DEL: the numbers of what is gone.
function Redis:drop()
  local gone = {}
  for _, e in ipairs(self.stream and self.stream.entries or {}) do gone[#gone + 1] = e.n end
  self.stream = false
  changed(self)
  return gone
end

function Redis:numbers()
  local set = {}
  for _, e in ipairs(self.stream and self.stream.entries or {}) do set[e.n] = true end
  return set
end

--- Data that are k changes older come back: the numbers that are there, and those that ever were.
function Redis:forget(k)
  local ever = {}
  for _ = 1, k do self.past[#self.past] = nil end
  for _, stream in ipairs(self.past) do
    for _, e in ipairs(stream and stream.entries or {}) do ever[e.n] = true end
  end
  self.stream = copy(self.past[#self.past])
  return self:numbers(), ever
end

function Redis:cut()
  for c in pairs(self.connections) do c.closed = GONE end
  self.connections = {}
end
function Redis:restart()
  self.process = self.process + 1
  self:cut()
end
function Redis:promote()
  self.process, self.line = self.process + 1, self.line + 1
  self:cut()
end
--- It was another one's replica for a while; its connections go on.
function Redis:swap() self.line = self.line + 1 end

-- ---- Commands ----------------------------------------------------------------------------------------------------

local function reply_of(e) return { text_of(e.id), { "n", tostring(e.n) } } end

local commands = {}

function commands.INFO(self, section)
  if section == "server" then return ("run_id:%x\r\n"):format(self.process) end
  return ("master_replid:%x\r\n"):format(self.line)
end

function commands.XRANGE(self, _, from, _, _, count)
  local out, low = {}, id_of(from)
  for _, e in ipairs(self.stream and self.stream.entries or {}) do
    if #out < tonumber(count) and not is_above(low, e.id) then out[#out + 1] = reply_of(e) end
  end
  return out
end

function commands.XREVRANGE(self, _, from)
  local entries, high = self.stream and self.stream.entries or {}, from ~= "+" and id_of(from)
  for i = #entries, 1, -1 do
    if not high or not is_above(entries[i].id, high) then return { reply_of(entries[i]) } end
  end
  return {}
end

function commands.XINFO(self)
  local s = self.stream
  if not s then return { err = "ERR no such key" } end
  local out = { "length", #s.entries, "last-generated-id", text_of(s.last) }
  if not self.is_old then
    table.move({ "entries-added", s.added, "max-deleted-entry-id", text_of(s.deleted) }, 1, 4, 5, out)
  end
  return out
end

local function carry_out(self, words)
  return assert(commands[words[1]], "the model knows no command " .. words[1])(self, table.unpack(words, 2))
end

-- ---- Connections -------------------------------------------------------------------------------------------------

--- sleep: of the app's coroutine; now: its seconds since 1970.
function Redis:open()
  if self.away then return nil, "no connection" end
  local c = setmetatable({ redis = self }, Connection)
  self.connections[c] = true
  return c
end

local function travel(self)
  if self.redis.random(3) == 1 then self.redis.sleep(self.redis.random(30) / 1000) end
end

-- What one step of the server answers: all between MULTI and EXEC.
local function answers(self, list)
  local out, queued = {}, nil
  for i, words in ipairs(list) do
    if words[1] == "MULTI" then out[i], queued = "OK", {}
    elseif words[1] == "EXEC" then out[i], queued = queued, nil
    elseif queued then out[i], queued[#queued + 1] = "QUEUED", carry_out(self, words)
    else out[i] = carry_out(self, words) end
  end
  return out
end

function Connection:ask_all(list)
  travel(self)
  if self.closed then return nil, self.closed end
  local out = answers(self.redis, list)
  travel(self)
  if self.closed then return nil, self.closed end
  return out
end

-- XREAD BLOCK: until there is an entry behind an id.
local function block(self, ms, id)
  for _ = 1, ms / 1000 / STEP do
    if self.closed then return nil, self.closed end
    local s = self.redis.stream
    local newest = s and s.entries[#s.entries]
    if newest and is_above(newest.id, id_of(id)) then break end
    self.redis.sleep(STEP)
  end
  return false
end

function Connection:ask(_, ...)
  local words = { ... }
  if words[1] == "XREAD" then return block(self, tonumber(words[3]), words[8]) end
  local out, why = self:ask_all { words }
  if not out then return nil, why end
  if type(out[1]) == "table" and out[1].err then return nil, out[1].err end
  return out[1]
end

function Connection:close()
  self.redis.connections[self] = nil
  self.closed = "closed"
end
Connection.__close = Connection.close

return model
