--- Reading an outbox table of PostgreSQL. A notification only wakes; the table is the truth.
---
--- Ids are given before a transaction commits, so a smaller one may appear behind a larger one, and
--- "id > the last one" would skip it. What is read instead is what one snapshot of the server sees
--- and the one before did not, in the order of ids:
---
---     snapshot 1 ──▶ rows that 2 sees and 1 did not ──▶ published ──▶ 2 is the next 1
---
--- What depends on a row that was committed before comes behind it, and nothing waits for a
--- transaction that is long. A cursor is { snap, upto, id, line }: both snapshots (upto: while a
--- part is read), the last row of that part, and which line of the server's history it is from.
--- With `again` in place of snap the rows of the last hour are read. In memory: one batch.
local database = require("sluice.sources.database")
local sluice = require("sluice")

local outbox = {}

---@class sluice.sources.Outbox
local Outbox = {}
Outbox.__index = Outbox

local WAIT_MS = 1000 -- for a notification: a reload waits for its end, too
local EMPTY = "1:1:" -- a snapshot that sees nothing

local COLUMNS = "SELECT id, uid, channel, event, key, data, remove FROM %s WHERE "
local NEW = COLUMNS .. "(xid >= pg_snapshot_xmax($1::pg_snapshot) OR xid = ANY (ARRAY(SELECT "
  .. "pg_snapshot_xip($1::pg_snapshot)))) "
local AGAIN = COLUMNS .. "at > now() - interval '1 hour' AND $1 = '' "
local PART = "AND pg_visible_in_snapshot(xid, $2::pg_snapshot) AND id > $3::bigint ORDER BY id "
  .. "LIMIT $4::bigint"
-- The line ends where a standby is promoted, or the database is another one.
local PLACE = "SELECT pg_current_snapshot()::text AS snap, left(pg_walfile_name("
  .. "pg_current_wal_lsn()), 8) || '/' || oid AS line, $1::text IS NOT NULL AND "
  .. "pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::pg_snapshot) AS went_back "
  .. "FROM pg_database WHERE datname = current_database()"

-- A row as a map gets it.
local function entry_of(row)
  local key = row.key ~= sluice.json.null and row.key or nil
  local data = row.data
  return { id = row.id, once = row.uid, channel = row.channel, event = row.event, key = key,
    data = sluice.json.decode(data) or data, remove = row.remove == "t" }
end

-- Where to begin: the cursor, checked against the server. Nil, message.
local function begin(self, db)
  local cursor = self.feed:cursor()
  local rows, why = db:ask(PLACE, cursor and (cursor.upto or cursor.snap))
  if not rows then return nil, why end
  local place = rows[1]
  if not cursor then
    cursor = { snap = self.start == "begin" and EMPTY or place.snap, line = place.line }
    self.feed:move(cursor)
  elseif cursor.line ~= place.line or place.went_back == "t" then
    self.feed:lose { reason = "this is another server, or one that was promoted or restored: the "
      .. "rows of the last hour are read again" }
    cursor = { again = true, upto = place.snap, id = "0", line = place.line }
    self.feed:move(cursor)
  end
  return cursor
end

-- Read one batch. Entries, the cursor that they are behind, whether the part is at its end; or nil,
-- message.
local function read(self, db, cursor)
  local why
  if not cursor.upto then
    local rows
    rows, why = db:ask("SELECT pg_current_snapshot()::text AS snap")
    if not rows then return nil, why end
    cursor = { snap = cursor.snap, upto = rows[1].snap, id = "0", line = cursor.line }
  end
  local sql = (cursor.again and AGAIN or NEW) .. PART
  local rows, message = db:ask(sql:format(self.table), cursor.snap or "", cursor.upto, cursor.id,
    tostring(self.batch))
  if not rows then return nil, message end
  local entries = {}
  for i, row in ipairs(rows) do entries[i] = entry_of(row) end
  return entries, cursor, #rows < self.batch
end

-- Publish entries, and move the cursor behind them.
local function deliver(self, entries, cursor, is_end)
  local function at(n)
    if is_end and n == #entries then return { snap = cursor.upto, line = cursor.line } end
    return { snap = cursor.snap, again = cursor.again, upto = cursor.upto, id = entries[n].id,
      line = cursor.line }
  end
  if entries[1] then
    self.feed:deliver(entries, at)
    return at(#entries)
  end
  return { snap = cursor.upto, line = cursor.line }
end

-- Read until the connection breaks; returns why it did.
local function session(self)
  local db <close>, refused = database.open(self.url)
  if not db then return refused end
  local ok, why = db:ask("LISTEN " .. self.listen)
  if not ok then return why end
  local cursor
  cursor, why = begin(self, db)
  if not cursor then return why end
  while true do
    local entries, place, is_end = read(self, db, cursor)
    if not entries then return place end
    self.feed:connected()
    cursor = deliver(self, entries, place, is_end)
    sluice.checkpoint()
    if is_end then
      local woken, message = db:wait(WAIT_MS)
      if woken == nil then return message end
    end
  end
end

--- Run it: the body of a service.
function Outbox:run()
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
