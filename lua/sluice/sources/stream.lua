--- Reading a stream of Redis. XREAD only wakes; XRANGE reads, from the cursor's own entry on: that
--- it is still there proves that nothing behind it was trimmed.
---
---     XRANGE key cursor + ──▶ the cursor's entry, then new ones ──▶ published, cursor kept ──┐
---        ▲                └─▶ it is gone: look closer, tell what was lost                    │
---        └──────────── XREAD BLOCK: there is more ◀──────────────────────────────────────────┘
---
--- A cursor is { id, added, run }: the entry's id, how many entries the stream had been given when
--- that was added (nil: Redis < 7), and the process of Redis that it is from.
--- In memory: one batch.
local connection = require("sluice.sources.connection")
local crypto = require("sluice.crypto")
local sluice = require("sluice")

local stream = {}

---@class sluice.sources.Stream
local Stream = {}
Stream.__index = Stream

local FIRST = "0-0"        -- before all entries
local BLOCK_MS = 1000      -- of one XREAD: a reload waits for its end
local AGAIN_MS = 3600 * 1000 -- read again, by their ids, where Redis may have lost some
local TOO_LARGE = "larger than any"

-- ---- Replies -----------------------------------------------------------------------------

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

-- Whether an id is behind another one.
local function is_after(a, b)
  local a_ms, a_n = a:match("^(%d+)%-(%d+)$")
  local b_ms, b_n = b:match("^(%d+)%-(%d+)$")
  local ms, other = math.tointeger(tonumber(a_ms)), math.tointeger(tonumber(b_ms))
  if ms ~= other then return (ms or 0) > (other or 0) end
  return (math.tointeger(tonumber(a_n)) or 0) > (math.tointeger(tonumber(b_n)) or 0)
end

local function before(id, ms)
  local at = math.tointeger(tonumber(id:match("^%d+"))) or 0
  return ("%d-0"):format(math.max(0, at - ms))
end

local function error_of(reply) return type(reply) == "table" and reply.err or nil end

-- What INFO says of the process: nil when this user may not ask.
local function run_of(c)
  local text, why = c:ask(0, "INFO", "server")
  if type(text) == "string" then return text:match("run_id:(%x+)") end
  if c.closed then return nil, why end
  return false
end

-- ---- A closer look -----------------------------------------------------------------------

-- What the stream is, in one step with what is behind a place: { length, added, last, entries,
-- below }; false: there is no such key; nil, message.
local function look(self, c, id)
  local replies, why = c:ask_all {
    { "MULTI" },
    { "XINFO", "STREAM", self.key },
    { "XREVRANGE", self.key, id, "-", "COUNT", "1" },
    { "EXEC" },
  }
  if not replies then return nil, why end
  local all = replies[4]
  if error_of(all) then return nil, error_of(replies[2]) or error_of(replies[3]) or all.err end
  local info, below = all[1], all[2]
  if error_of(info) and info.err:find("no such key", 1, true) then return false end
  if error_of(info) or error_of(below) then return nil, error_of(info) or error_of(below) end
  local known = fields_of(info)
  return { length = known.length, added = known["entries-added"], last = known["last-generated-id"],
    has_below = below[1] ~= nil }
end

-- The first time: where it begins.
local function begin(self, c)
  local cursor = { id = FIRST, run = run_of(c) or nil, added = 0 }
  local found, why = look(self, c, FIRST)
  if found == nil then return nil, why end
  if found and self.start == "end" then
    cursor.id, cursor.added = found.last, found.added
  elseif found then
    cursor.added = found.added and found.added - found.length
    if self.start ~= "begin" then cursor.id, cursor.added = self.start, nil end
  end
  self.feed:move(cursor)
  return cursor
end

-- The stream has fewer entries than it had: made anew, or what Redis had last is lost.
local function go_back(self, cursor, found)
  local is_fresh = found.added and cursor.added and found.added < cursor.added // 2
  if self.gone or is_fresh then
    self.gone = false
    self.feed:lose { reason = "the stream was made anew: it is read from its beginning" }
    return { id = FIRST, added = 0, run = cursor.run }
  end
  self.feed:lose { reason = ("Redis has lost what it had last, and stands at %s, before %s: the "
    .. "last hour is read again"):format(found.last, cursor.id) }
  return { id = before(found.last, AGAIN_MS), run = cursor.run }
end

-- No entry at or before the cursor is there any more.
local function trimmed(self, cursor, found)
  local next_cursor = { id = cursor.id, added = cursor.added, run = cursor.run }
  local lost = cursor.added and found.added and found.added - cursor.added - found.length
  next_cursor.added = found.added and found.added - found.length
  if lost == 0 then return next_cursor end
  if lost and lost < 0 then
    self.feed:lose { reason = "the stream was made anew" }
  else
    self.feed:lose { lost = lost, reason = ("entries behind %s were trimmed or deleted before they "
      .. "were read"):format(cursor.id) }
  end
  return next_cursor
end

-- The cursor's entry is not there. Returns where to read on.
local function judge(self, c, cursor)
  local found, why = look(self, c, cursor.id)
  if found == nil then return nil, why end
  if not found then
    if not self.gone and cursor.id ~= FIRST then
      self.gone = true
      self.feed:lose { reason = "the stream is gone; its entries are read when it is there again" }
    end
    return cursor, nil, true
  end
  if self.gone or is_after(cursor.id, found.last) then return go_back(self, cursor, found) end
  if not found.has_below then return trimmed(self, cursor, found) end
  if self.in_doubt then -- another process of Redis, and not what was there
    self.feed:lose { reason = ("Redis was started anew, or replaced, and has no entry %s: the last "
      .. "hour is read again"):format(cursor.id) }
    return { id = before(cursor.id, AGAIN_MS), run = cursor.run }
  end
  return cursor -- it was deleted, and others before it are there
end

-- ---- Reading -----------------------------------------------------------------------------

-- What an entry is known by: an id comes again in a stream that is made anew.
local function once(id, list)
  return ("%s %s"):format(id, crypto.hex(crypto.sha256(table.concat(list, "\0"))):sub(1, 16))
end

--- An entry as a map gets it.
-- @tparam string id
-- @tparam {string,...} list names and values in turn
-- @treturn table
function stream.entry(id, list)
  return { id = id, fields = fields_of(list), list = list, once = once(id, list) }
end

local function entries_of(list, first)
  local entries = {}
  for i = first, #list do entries[#entries + 1] = stream.entry(list[i][1], list[i][2] or {}) end
  return entries
end

-- Read behind a cursor, once. Entries, the cursor that they are behind; or nil, message.
local function read(self, c, cursor)
  local list, why = c:ask(0, "XRANGE", self.key, cursor.id, "+", "COUNT", tostring(self.batch + 1))
  if not list then
    if why:find(TOO_LARGE, 1, true) and self.batch > 1 then self.batch = self.batch // 2 end
    return nil, why
  end
  if cursor.id == FIRST or list[1] and list[1][1] == cursor.id then
    return entries_of(list, cursor.id == FIRST and 1 or 2), cursor
  end
  local place, message, is_gone = judge(self, c, cursor)
  if not place then return nil, message end
  if is_gone then return {}, cursor end
  if place.id ~= cursor.id then
    self.feed:move(place)
    return read(self, c, place)
  end
  return entries_of(list, 1), place
end

-- Publish entries, and move the cursor behind them.
local function deliver(self, entries, cursor)
  local function at(n)
    return { id = entries[n].id, run = self.process,
      added = cursor.added and cursor.added + n }
  end
  self.feed:deliver(entries, at)
  return at(#entries)
end

-- Read until the connection breaks; returns why it did.
local function session(self)
  local c <close>, refused = connection.open(self.to, "sluice-" .. self.feed.name)
  if not c then return refused end
  local cursor, why = self.feed:cursor(), nil
  local process, message = run_of(c)
  if process == nil then return message end
  if not cursor then cursor, why = begin(self, c) end
  if not cursor then return why end
  self.process = process or nil
  self.in_doubt = not process or cursor.run ~= process
  while true do
    local entries, place = read(self, c, cursor)
    if not entries then return place end
    self.feed:connected()
    self.in_doubt, cursor = false, place
    if entries[1] then cursor = deliver(self, entries, cursor) end
    sluice.checkpoint()
    if #entries < self.batch then
      local ok, broken = c:ask(BLOCK_MS / 1000, "XREAD", "BLOCK", tostring(BLOCK_MS), "COUNT", "1",
        "STREAMS", self.key, cursor.id)
      if ok == nil then return broken end
    end
  end
end

-- ---- New ---------------------------------------------------------------------------------

--- Run it: the body of a service.
function Stream:run()
  self.gone, self.batch = false, self.most
  self.feed:run(function() return session(self) end)
end

--- What a service reads.
-- @tparam sluice.sources.Feed feed
-- @tparam table to where Redis is: connection.read
-- @tparam string key
-- @tparam table o the options of redis.stream
function stream.new(feed, to, key, o)
  return setmetatable({ feed = feed, to = to, key = key, start = o.start, most = o.batch }, Stream)
end

return stream
