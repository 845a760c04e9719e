--- Reading a stream of Redis. XREAD only wakes; XRANGE reads, from the cursor's own entry on: that
--- it is still there proves that nothing behind it was trimmed.
---
---     XRANGE key cursor + ──▶ the cursor's entry, then new ones ──▶ published, cursor kept ──┐
---        ▲                └─▶ it is gone: look closer, tell what was lost                    │
---        └──────────── XREAD BLOCK: there is more ◀──────────────────────────────────────────┘
---
--- A cursor is { id, once, added, run }: the entry's id and what it is known by, how many entries
--- the stream had been given when that was added (nil: Redis < 7), and the process of Redis and the
--- line of its data that it is from. With `again` it is a place where no entry has to be; `seen`:
--- it is before all entries, of a stream that was there.
--- In memory: one batch.
local connection = require("sluice.sources.connection")
local crypto = require("sluice.crypto")
local sluice = require("sluice")
local stream_state = require("sluice.sources.stream_state")

local stream = {}

---@class sluice.sources.Stream
local Stream = {}
Stream.__index = Stream

local FIRST = "0-0"        -- before all entries
local BLOCK_MS = 1000      -- of one XREAD: a reload waits for its end
local AGAIN_MS = 3600 * 1000 -- read again, by their ids, where Redis may have lost some
local TOO_LARGE = "larger than any"

local function before(id, ms)
  local at = math.tointeger(tonumber(id:match("^%d+"))) or 0
  return ("%d-0"):format(math.max(0, at - ms))
end

-- ---- A closer look -----------------------------------------------------------------------

-- How many entries are not there any more; nil: Redis < 7.
local function removed(found) return found.added and found.added - found.length end

-- The first time: where it begins.
local function begin(self, c)
  local cursor = { id = FIRST, run = stream_state.run(c) or nil, added = 0 }
  local found, why = stream_state.look(c, self, FIRST)
  if found == nil then return nil, why end
  if found and self.start == "end" then
    cursor.id, cursor.added = found.last, found.added
  elseif found then
    cursor.added, cursor.seen = removed(found), true
    if self.start ~= "begin" then
      cursor.id, cursor.added, cursor.again = self.start, nil, true
    end
  end
  self.feed:move(cursor)
  return cursor
end

-- From its beginning on.
local function made_anew(self, cursor, found)
  self.gone = false
  self.feed:lose { reason = "the stream was made anew: it is read from its beginning" }
  return { id = FIRST, run = self.process or cursor.run, added = found.added and 0, seen = true }
end

-- Whether it has been given so few entries that it is not what was read.
local function is_fresh(cursor, found)
  return found.added and cursor.added and found.added < cursor.added // 2
end

-- Redis is another one, or stands before the cursor, which the same one does only with another
-- stream.
local function go_back(self, cursor, found, replaced)
  if not replaced or is_fresh(cursor, found) then return made_anew(self, cursor, found) end
  local went_back = stream_state.is_after(cursor.id, found.last)
  local reason = went_back and "Redis has lost what it had last, and stands at %s, before %s"
    or "Redis was started anew, or replaced, stands at %s, and has no entry %s"
  self.in_doubt = false
  self.feed:lose { reason = reason:format(found.last, cursor.id)
    .. ": the last hour is read again" }
  return { id = before(went_back and found.last or cursor.id, AGAIN_MS),
    again = removed(found) or true, run = self.process or cursor.run }
end

-- No entry at or before the cursor is there any more.
local function trimmed(self, cursor, found)
  local place = { id = cursor.id, once = cursor.once, run = cursor.run, seen = cursor.seen,
    added = removed(found) }
  local lost = cursor.added and found.added and place.added - cursor.added
  if lost == 0 or not lost and (found.last == cursor.id or cursor.id == FIRST) then return place end
  self.feed:lose { lost = lost, reason = ("entries behind %s were trimmed or deleted before they "
    .. "were read"):format(cursor.id) }
  if not found.list[1] then place.id, place.once = found.last, nil end
  self.feed:move(place)
  return place
end

-- Where what is there is read again: what went meanwhile was not.
local function still_there(self, cursor, found)
  local now = removed(found)
  if now and math.type(cursor.again) == "integer" and now > cursor.again then
    self.feed:lose { reason = "entries were trimmed or deleted before they were read again" }
    cursor = { id = cursor.id, again = now, run = cursor.run }
    self.feed:move(cursor)
  end
  return cursor, found.list
end

-- Whether the entries of another stream are there: a single entry goes by XDEL alone, which leaves
-- its id, and neither the number of all that were added ever falls nor that of those that went.
local function is_another(cursor, found)
  local went = removed(found)
  if cursor.again then
    return went and math.type(cursor.again) == "integer" and went < cursor.again
  end
  local count = found.has_below and found.added or went -- nothing below: all that were read went
  local is_less = count and cursor.added and count < cursor.added
  local was_deleted = not found.deleted or not stream_state.is_after(cursor.id, found.deleted)
  return is_less or found.has_below and not was_deleted
end

-- Whether Redis is not the one that the cursor is from. Nil, message.
local function is_replaced(self, c, cursor)
  local process, why = stream_state.run(c)
  if process == nil then return nil, why end
  if not process then return self.in_doubt end
  self.process = process
  return process ~= cursor.run
end

-- Whether it waits for a stream that never was there.
local function is_waiting(cursor)
  return cursor.id == FIRST and not cursor.seen and not cursor.again
end

local function is_gone(self, cursor)
  if not self.gone and not is_waiting(cursor) then
    self.gone = true
    self.feed:lose { reason = "the stream is gone; its entries are read when it is there again" }
  end
  return cursor, {}
end

-- What there is, and no entry of the cursor. Returns where to read on, and entries from there on
-- when that is where it was; or nil, message.
local function weigh(self, c, cursor, found)
  local is_first = cursor.id == FIRST and not cursor.again
  local replaced, message = is_replaced(self, c, cursor)
  if replaced == nil then return nil, message end
  local went_back = stream_state.is_after(cursor.id, found.last)
  if not is_first and (replaced or went_back) then return go_back(self, cursor, found, replaced) end
  if is_another(cursor, found) then return made_anew(self, cursor, found) end
  if cursor.again then return still_there(self, cursor, found) end
  if found.has_below then return cursor, found.list end -- it was deleted
  local place = trimmed(self, cursor, found)
  return place, place.id == cursor.id and found.list or nil
end

-- The cursor's entry is not there. Returns as weigh does.
local function judge(self, c, cursor)
  local found, why = stream_state.look(c, self, cursor.id)
  if found == nil then return nil, why end
  if not found then return is_gone(self, cursor) end
  if self.gone then return made_anew(self, cursor, found) end
  return weigh(self, c, cursor, found)
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
  return { id = id, fields = stream_state.fields(list), list = list, once = once(id, list) }
end

local function entries_of(list, first)
  local entries = {}
  for i = first, #list do entries[#entries + 1] = stream.entry(list[i][1], list[i][2] or {}) end
  return entries
end

-- Whether a list begins with the entry of a cursor.
local function begins_with(list, cursor)
  local first = list[1]
  return first and first[1] == cursor.id
    and (not cursor.once or once(first[1], first[2] or {}) == cursor.once)
end

-- Its entry is there: all that it says holds of this process of Redis, too.
local function proven(self, cursor)
  self.gone = false
  if self.process and cursor.run ~= self.process then
    cursor = { id = cursor.id, once = cursor.once, added = cursor.added, run = self.process }
    self.feed:move(cursor)
  end
  return cursor
end

-- Read behind a cursor, once. Entries, the cursor that they are behind; or nil, message.
local function read(self, c, cursor)
  local list, why = c:ask(0, table.unpack(stream_state.range(self, cursor.id)))
  if not list then
    if why:find(TOO_LARGE, 1, true) and self.batch > 1 then self.batch = self.batch // 2 end
    return nil, why
  end
  if begins_with(list, cursor) then return entries_of(list, 2), proven(self, cursor) end
  if is_waiting(cursor) then
    if not list[1] then return {}, cursor end
    cursor = { id = FIRST, run = cursor.run, added = cursor.added, seen = true }
    self.feed:move(cursor)
  end
  local place, rest = judge(self, c, cursor)
  if not place then return nil, rest end
  if rest then return entries_of(rest, 1), place end
  self.feed:move(place)
  return read(self, c, place)
end

-- Publish entries, and move the cursor behind them. Returns it, and whether all are done with.
local function deliver(self, entries, cursor)
  local function at(n)
    return { id = entries[n].id, once = entries[n].once, run = self.process,
      added = cursor.added and cursor.added + n }
  end
  local done = self.feed:deliver(entries, at)
  return done > 0 and at(done) or cursor, done == #entries
end

-- Read until the connection breaks; returns why it did.
local function session(self)
  local c <close>, refused = connection.open(self.to, "sluice-" .. self.feed.name)
  if not c then return refused end
  local cursor, why = self.feed:cursor(), nil
  local process, message = stream_state.run(c)
  if process == nil then return message end
  if not cursor then cursor, why = begin(self, c) end
  if not cursor then return why end
  self.process = process or nil
  self.in_doubt = not process or cursor.run ~= process
  while true do
    local entries, place = read(self, c, cursor)
    if not entries then return place end
    self.feed:connected(not entries[1])
    self.in_doubt, cursor = false, place
    local is_done = true
    if entries[1] then cursor, is_done = deliver(self, entries, cursor) end
    sluice.checkpoint()
    if is_done and #entries < self.batch then
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
