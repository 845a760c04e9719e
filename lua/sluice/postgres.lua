--- Sources in PostgreSQL: rows that other programs add to an outbox table become events, each once.
---
---   local postgres = require("sluice.postgres")
---   postgres.listen(app, "postgresql://reader@localhost/shop")
---
--- One connection, with a thread of its own, for all who watch. In memory: one batch of rows.
local feed = require("sluice.sources.feed")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local outbox = require("sluice.sources.outbox")

---@class sluice.Postgres
local postgres = {}

---@class sluice.PostgresOutbox
local PostgresOutbox = {}
PostgresOutbox.__index = PostgresOutbox
PostgresOutbox.__name = "sluice.PostgresOutbox"

local WHAT = "postgres.listen()"
local TABLE = "sluice_outbox"
local KNOWN = { table = TABLE, listen = options.STRING }
for name, default in pairs(feed.KNOWN) do KNOWN[name] = default end

local SQL = [[
CREATE TABLE IF NOT EXISTS $T (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  uid uuid NOT NULL DEFAULT gen_random_uuid(),
  at timestamptz NOT NULL DEFAULT now(),
  channel text NOT NULL,
  event text NOT NULL DEFAULT 'message',
  key text,
  data jsonb NOT NULL DEFAULT '{}',
  remove boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS $N_xid ON $T (xid, id);
CREATE INDEX IF NOT EXISTS $N_at ON $T (at);
CREATE OR REPLACE FUNCTION $T_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('$L', '');
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS $N_notify ON $T;
CREATE TRIGGER $N_notify AFTER INSERT ON $T
  FOR EACH STATEMENT EXECUTE FUNCTION $T_notify();
]]

--- How it goes: { connected, read, published, left_out, gaps, cursor }, since this version of the
-- app was loaded.
-- @treturn table
function PostgresOutbox:stats()
  local out = {}
  for name, value in pairs(self.feed.figures) do out[name] = value end
  out.cursor = out.cursor and (out.cursor.upto or out.cursor.snap)
  return out
end

local function check_table(what, name)
  if type(name) == "string" and #name <= 100 and name:find("^[%l_][%l%d_]*$")
    or tostring(name):find("^[%l_][%l%d_]*%.[%l_][%l%d_]*$") then return name end
  options.raise("%s: table is a name like sluice_outbox or shop.outbox: small letters, digits "
    .. "and _", what)
end

--- The SQL that makes an outbox table, its indexes and its trigger. Run it as often as you like.
-- @tparam[opt="sluice_outbox"] string name of the table
-- @treturn string
function postgres.outbox_sql(name)
  name = check_table("postgres.outbox_sql()", name or TABLE)
  local short = name:match("[^.]+$")
  return (SQL:gsub("%$([TNL])", { T = name, N = short, L = short }))
end

-- What a row becomes without a map.
local function as_it_is(row)
  return row.channel, row.event, row.data, row.remove and { remove = row.key } or row.key
end

local function check(url, given)
  if type(url) ~= "string" or not url:find("^postgres%l*://") and not url:find("=", 1, true) then
    options.raise("%s: url is postgresql://user@host/database, or host=… dbname=…, not %s", WHAT,
      type(url) == "string" and "'" .. url:gsub("//.*@", "//...@") .. "'" or "a " .. type(url))
  end
  local o = options(WHAT, given, KNOWN)
  check_table(WHAT, o.table)
  o.listen = o.listen or o.table:match("[^.]+$")
  if not o.listen:find("^[%l_][%l%d_]*$") then
    options.raise("%s: listen is a name of small letters, digits and _", WHAT)
  end
  if o.start ~= "end" and o.start ~= "begin" then
    options.raise('%s: start is "end" or "begin"', WHAT)
  end
  o.name, o.map = o.name or o.table, o.map or as_it_is
  return o
end

--- Publish the rows that are added to an outbox table. At the top level of an app, which it gives a
-- service and a store; in tests t:source(name) is what it reads. Needs libpq (libpq5) where it
-- runs, and PostgreSQL 13 or later.
-- @tparam sluice.App app
-- @tparam string url postgresql://user@host/database, or as libpq takes it
-- @tparam[opt] table given `table` ("sluice_outbox": made by outbox_sql), `map` (fn(row): returns
--   channel, event, data, key; nothing: no event; default: as the row says. row is { id, channel,
--   event, key, data, remove }), `name` (the table: of its store and in the log), `start` ("end" or
--   "begin": where it begins the first time), `batch` (128), `errors` ("stop" or "skip" at a row
--   that cannot become an event), `durable` (true: the cursor outlives the process), `listen` (the
--   channel of its notifications; the table's name), `gap` (fn({ reason, lost }))
-- @treturn sluice.PostgresOutbox
function postgres.listen(app, url, given)
  local o = check(url, given)
  local self = setmetatable({ feed = feed.new(WHAT, app, o) }, PostgresOutbox)
  local source = outbox.new(self.feed, url, o)
  app:service(self.feed.what, function() source:run() end)
  return self
end

names.strict(PostgresOutbox, "outbox", ":", { "feed" })
return names.strict(postgres, "sluice.postgres", ".")
