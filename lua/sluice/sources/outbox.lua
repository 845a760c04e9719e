--- Reading an outbox table of PostgreSQL. A notification only wakes; the table is the truth.
---
--- Ids are given before a transaction commits, so a smaller one may appear behind a larger one, and
--- "id > the last one" would skip it. What is read instead is what one snapshot of the server sees
--- and the one before did not, in the order of ids:
---
---     snapshot 1 ──▶ rows that 2 sees and 1 did not ──▶ published ──▶ 2 is the next 1
---
--- What depends on a row that was committed before comes behind it, and nothing waits for a
--- transaction that is long.
---
--- A server that crashes gives numbers of transactions again whose end was not yet in its log on
--- the disk, so a snapshot that counts them would hide new rows. Such a snapshot has `lsn`, and
--- `sure`, an older one that is on the disk and is read from again when the server is not the same
--- `server` any more.
---
--- A cursor is { snap, upto, id, line, at, server, sure, lsn }: both snapshots (upto: while a part
--- is read), the last row of that part, which line of the server's history it is from, and its
--- time. With `again`, a time, in place of snap, rows from an hour before it on are read.
--- In memory: one batch, and the newest cursor.
local database = require("sluice.sources.database")
local sluice = require("sluice")

local outbox = {}

---@class sluice.sources.Outbox
local Outbox = {}
Outbox.__index = Outbox

local WAIT_MS = 1000 -- for a notification: a reload waits for its end, too
local EMPTY = "1:1:" -- a snapshot that sees nothing

local DATA_MOST = 1 << 20 -- bytes of what is read of a row; an event holds far less
local COLUMNS = "SELECT id, uid, channel, event, key, remove, CASE WHEN octet_length(data::text) "
  .. "<= " .. DATA_MOST .. " THEN data END AS data FROM %s WHERE "
local NEW = COLUMNS .. "(xid >= pg_snapshot_xmax($1::pg_snapshot) OR xid = ANY (ARRAY(SELECT "
  .. "pg_snapshot_xip($1::pg_snapshot)))) "
local AGAIN = COLUMNS .. "at > to_timestamp($1::bigint) - interval '1 hour' "
local PART = "AND pg_visible_in_snapshot(xid, $2::pg_snapshot) AND id > $3::bigint ORDER BY id "
  .. "LIMIT $4::bigint"
local NOW = "SELECT pg_current_snapshot()::text AS snap, extract(epoch FROM now())::bigint AS at, "
  .. "pg_current_wal_insert_lsn()::text AS lsn, "
  .. "pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS is_kept, "
  .. "pg_current_wal_flush_lsn() >= nullif($1, '')::pg_lsn AS was_kept"
-- The line ends where a standby is promoted, or the database is another one. A server is another
-- process, or has started all that belong to it anew.
local PLACE = "SELECT pg_current_snapshot()::text AS snap, "
  .. "extract(epoch FROM now())::bigint AS at, "
  .. "(SELECT system_identifier FROM pg_control_system()) || '/' || "
  .. "left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || oid AS line, "
  .. "extract(epoch FROM pg_postmaster_start_time())::text || '/' || (SELECT "
  .. "string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity "
  .. "WHERE usesysid IS NULL AND datid IS NULL) AS server "
  .. "FROM pg_database WHERE datname = current_database()"
local NAME = "SELECT set_config('application_name', $1, false) "
  .. "WHERE current_setting('application_name') = ''"
local WENT_BACK = "SELECT pg_snapshot_xmax(pg_current_snapshot()) < "
  .. "pg_snapshot_xmax($1::pg_snapshot) AS yes"

--- A row as a map gets it; `broken`: it cannot be one.
-- @tparam table row texts by column
-- @treturn table
function outbox.entry(row)
  local null = sluice.json.null
  local entry = { id = row.id, once = row.uid, channel = row.channel, event = row.event,
    key = row.key ~= null and row.key or nil, remove = row.remove == "t" }
  if row.data == null then
    entry.broken = ("its data are larger than %d bytes"):format(DATA_MOST)
  else
    entry.data = sluice.json.decode(row.data)
    if entry.data == nil then entry.data = row.data end
  end
  return entry
end

-- The first time: where it begins.
local function first(self, place)
  local cursor = { snap = self.start == "begin" and EMPTY or place.snap, line = place.line,
    at = place.at }
  self.feed:move(cursor)
  return cursor
end

-- Whether the server stands before what it has shown. Nil, message.
local function went_back(db, cursor, place)
  if cursor.line ~= place.line then return true end
  if not (cursor.upto or cursor.snap) then return false end
  local rows, why = db:ask(WENT_BACK, cursor.upto or cursor.snap)
  if not rows then return nil, why end
  return rows[1].yes == "t"
end

-- Where to begin: the cursor, checked against the server. Nil, message.
local function begin(self, db)
  local cursor = self.cursor or self.feed:cursor()
  local rows, why = db:ask(PLACE)
  if not rows then return nil, why end
  local place = rows[1]
  self.server = place.server
  if not cursor then return first(self, place) end
  if cursor.lsn and cursor.server ~= place.server then -- it may have crashed
    cursor = { snap = cursor.sure, again = cursor.since, line = cursor.line, at = cursor.at }
  end
  local back, message = went_back(db, cursor, place)
  if back == nil then return nil, message end
  if not back then return cursor end
  self.feed:lose { reason = "this is another server, or one that was promoted or restored: the "
    .. "rows of the last hour before that are read again" }
  cursor = { again = cursor.again or cursor.at or place.at, line = place.line, at = place.at }
  self.feed:move(cursor)
  return cursor
end

-- A part to read: all that is there now. Nil, message.
local function part_of(self, db, cursor)
  local rows, why = db:ask(NOW, cursor.lsn or "")
  if not rows then return nil, why end
  local now = rows[1]
  local part = { snap = cursor.snap, again = cursor.again, upto = now.snap, id = "0",
    line = cursor.line, at = now.at, server = self.server }
  if now.is_kept == "t" then return part end
  part.lsn, part.sure, part.since = now.lsn, cursor.snap, cursor.again
  if cursor.lsn and now.was_kept ~= "t" then part.sure, part.since = cursor.sure, cursor.since end
  return part
end

-- Read one batch. Entries, the cursor that they are behind, whether the part is at its end; or nil,
-- message.
local function read(self, db, cursor)
  local why
  if not cursor.upto then
    cursor, why = part_of(self, db, cursor)
    if not cursor then return nil, why end
  end
  local sql = (cursor.again and AGAIN or NEW) .. PART
  local rows, message = db:ask(sql:format(self.table), cursor.again or cursor.snap, cursor.upto,
    cursor.id, tostring(self.batch))
  if not rows then return nil, message end
  local entries = {}
  for i, row in ipairs(rows) do entries[i] = outbox.entry(row) end
  return entries, cursor, #rows < self.batch
end

-- The cursor behind a row of a part; without one: behind all of it.
local function behind(part, id)
  local cursor = {}
  for name, value in pairs(part) do cursor[name] = value end
  cursor.id = id or nil
  if not id then cursor.snap, cursor.upto, cursor.again = part.upto, nil, nil end
  return cursor
end

-- Publish entries, and move the cursor behind them. Returns it, and whether the part is at its end.
local function deliver(self, entries, part, is_end)
  local function at(n) return behind(part, not (is_end and n == #entries) and entries[n].id) end
  local n = #entries
  if n == 0 then return behind(part), true end
  local done = self.feed:deliver(entries, at)
  return done > 0 and at(done) or part, is_end and done == n
end

-- Read until the connection breaks; returns why it did.
local function session(self)
  local db <close>, refused = database.open(self.url)
  if not db then return refused end
  local ok, why = db:ask(NAME, "sluice-" .. self.feed.name)
  if ok then ok, why = db:ask("LISTEN " .. self.listen) end
  if not ok then return why end
  local cursor
  cursor, why = begin(self, db)
  if not cursor then return why end
  self.cursor = cursor
  while true do
    local entries, place, is_end = read(self, db, cursor)
    if not entries then return place end
    self.feed:connected(not entries[1])
    cursor, is_end = deliver(self, entries, place, is_end)
    self.cursor = cursor
    sluice.checkpoint()
    if is_end then
      local woken, message = db:wait(WAIT_MS)
      if woken == nil then return message end
    end
  end
end

--- Run it: the body of a service.
function Outbox:run()
  self.cursor = nil
  self.feed:run(function() return session(self) end)
end

--- What a service reads.
-- @tparam sluice.sources.Feed feed
-- @tparam string url
-- @tparam table o the options of postgres.listen
function outbox.new(feed, url, o)
  return setmetatable({ feed = feed, url = url, table = o.table, listen = o.listen,
    start = o.start, batch = o.batch }, Outbox)
end

return outbox
