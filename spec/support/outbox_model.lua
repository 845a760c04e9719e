--- A PostgreSQL with one outbox table, as far as a source can tell it from a real one: numbers of transactions, ids
--- that are given before a commit, snapshots, a log that is on the disk up to a place, crashes that forget what lies
--- behind it, a standby that lags. It answers the statements of sluice.sources.outbox condition by condition, so that
--- one that is changed is answered as it would be, and one that is not known raises.
---
---   local pg = model.new(random)              random(n) as math.random; waits are those of the app's coroutine
---   local tx = pg:begin(); pg:insert(tx, n); pg:commit(tx, { late = true, quiet = true }); pg:rollback(tx)
---   pg:crash(); pg:restart(); pg:promote(n); pg:cut(); pg.away = true
---   pg:open()                                 a connection, as sluice.sources.database has it
local model = {}

local Pg, Connection = {}, {}
Pg.__index, Connection.__index = Pg, Connection

local GONE = "server closed the connection unexpectedly"
local STEP = 0.02 -- seconds between two looks for a notification

function model.new(random)
  return setmetatable({ random = random, next_xid = 100, xmax = 100, next_id = 1, log = 0, flushed = 0, line = 1,
    process = 1, open_ones = {}, ended = {}, connections = {}, away = false }, Pg)
end

-- ---- Transactions ----------------------------------------------------------------------------------------------

function Pg.begin() return { rows = {} } end

local function write(self)
  self.log = self.log + 1
  return self.log
end

function Pg:insert(tx, n, at)
  if not tx.xid then
    tx.xid, self.next_xid = self.next_xid, self.next_xid + 1
    self.open_ones[tx.xid] = tx
  end
  tx.first = tx.first or write(self)
  local id = self.next_id
  self.next_id = id + 1
  tx.rows[#tx.rows + 1] = { id = id, n = n, tx = tx, at = at, uid = ("uid-%d-%d-%d"):format(n, self.process, self.log) }
end

local function finish(self, tx, state)
  tx.state, tx.lsn = state, write(self)
  self.open_ones[tx.xid] = nil
  self.xmax = math.max(self.xmax, tx.xid + 1)
  self.ended[#self.ended + 1] = tx
end

--- options: late (not on the disk yet, as with synchronous_commit = off), quiet (its notification is lost).
function Pg:commit(tx, options)
  finish(self, tx, "committed")
  if not options.late then self.flushed = self.log end
  if options.quiet then return end
  for c in pairs(self.connections) do c.is_woken = c.listens end
end

function Pg:rollback(tx) finish(self, tx, "rolled back") end

--- The log is on the disk.
function Pg:flush() self.flushed = self.log end

-- ---- Ends ------------------------------------------------------------------------------------------------------

function Pg:cut()
  for c in pairs(self.connections) do c.is_gone = true end
  self.connections = {}
end

-- What is behind `place` of the log never was. Returns the numbers of the rows that are lost.
local function forget(self, place)
  local lost, kept, all = {}, {}, self.ended
  for _, tx in pairs(self.open_ones) do all[#all + 1] = tx end
  self.next_xid, self.next_id = 100, 1
  for _, tx in ipairs(all) do
    local is_whole = tx.lsn and tx.lsn <= place
    if tx.state == "committed" and not is_whole then
      for _, row in ipairs(tx.rows) do lost[#lost + 1] = row.n end
    end
    if not is_whole then tx.state, tx.lsn = "rolled back", place end
    if tx.first <= place then
      kept[#kept + 1] = tx
      self.next_xid = math.max(self.next_xid, tx.xid + 1)
      for _, row in ipairs(tx.rows) do self.next_id = math.max(self.next_id, row.id + 1) end
    end
  end
  self.ended, self.open_ones, self.xmax = kept, {}, self.next_xid
  self.log, self.flushed, self.process = place, place, self.process + 1
  self:cut()
  return lost
end

--- What belongs to it is killed.
function Pg:crash() return forget(self, self.flushed) end
--- It is stopped, and started.
function Pg:restart()
  self:flush()
  return forget(self, self.log)
end
--- A standby that has not got the last `n` records takes its place.
function Pg:promote(n)
  self.line = self.line + 1
  return forget(self, math.max(0, self.flushed - n))
end

-- ---- Snapshots -------------------------------------------------------------------------------------------------

local function snapshot(self)
  local running, xmin = {}, self.xmax
  for xid in pairs(self.open_ones) do
    if xid < self.xmax then running[#running + 1], xmin = xid, math.min(xmin, xid) end
  end
  table.sort(running)
  return ("%d:%d:%s"):format(xmin, self.xmax, table.concat(running, ","))
end

local function parse(text)
  local _, xmax, list = assert(text:match("^(%d+):(%d+):([%d,]*)$"))
  local running = {}
  for xid in list:gmatch("%d+") do running[tonumber(xid)] = true end
  return tonumber(xmax), running
end

local function is_visible(xid, text)
  local xmax, running = parse(text)
  return xid < xmax and not running[xid]
end

-- ---- Statements ------------------------------------------------------------------------------------------------

-- Conditions of a SELECT on the table; each takes a row and the values.
local CONDITIONS = {
  ["(xid >= pg_snapshot_xmax($1::pg_snapshot) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot))))"] =
    function(row, v) return not is_visible(row.tx.xid, v[1]) end,
  ["(xid >= pg_snapshot_xmax($1::pg_snapshot) OR false)"] = function(row, v) return row.tx.xid >= parse(v[1]) end,
  ["at > to_timestamp($1::bigint) - interval '1 hour'"] = function(row, v) return row.at > tonumber(v[1]) - 3600 end,
  ["pg_visible_in_snapshot(xid, $2::pg_snapshot)"] = function(row, v) return is_visible(row.tx.xid, v[2]) end,
  ["true"] = function() return true end,
  ["id > $3::bigint"] = function(row, v) return row.id > tonumber(v[3]) end,
}

local function matches(row, conditions, values)
  for _, fits in ipairs(conditions) do if not fits(row, values) then return false end end
  return true
end

local function rows_of(self, where, values)
  local conditions, out = {}, {}
  for text in (where .. " AND "):gmatch("(.-) AND ") do
    conditions[#conditions + 1] = assert(CONDITIONS[text], "the model knows no condition " .. text)
  end
  for _, tx in ipairs(self.ended) do
    for _, row in ipairs(tx.state == "committed" and tx.rows or {}) do
      if matches(row, conditions, values) then out[#out + 1] = row end
    end
  end
  table.sort(out, function(a, b) return a.id < b.id end)
  for i, row in ipairs(out) do
    out[i] = { id = tostring(row.id), uid = row.uid, channel = "rows", event = "row", key = "k", remove = "f",
      data = ('{"n":%d}'):format(row.n) }
  end
  return { table.unpack(out, 1, math.min(#out, tonumber(values[4]))) }
end

local function carry_out(self, c, sql, values)
  if sql:find("set_config", 1, true) then return {} end
  if sql:find("^LISTEN ") then
    c.listens = true
    return {}
  end
  local at = tostring(self.now())
  if sql:find("pg_control_system", 1, true) then
    return { { snap = snapshot(self), at = at, line = "line " .. self.line, server = "process " .. self.process } }
  elseif sql:find("pg_current_wal_insert_lsn", 1, true) then
    local asked = tonumber(values[1])
    return { { snap = snapshot(self), at = at, lsn = tostring(self.log),
      is_kept = self.flushed >= self.log and "t" or "f", was_kept = asked and self.flushed >= asked and "t" or "f" } }
  elseif sql:find("AS yes", 1, true) then
    return { { yes = self.xmax < parse(values[1]) and "t" or "f" } }
  end
  local where = sql:match("^SELECT id, uid, channel, event, key, remove, CASE .- FROM sluice_outbox WHERE (.-) "
    .. "ORDER BY id LIMIT %$4::bigint$")
  return rows_of(self, assert(where, "the model knows no statement " .. sql):gsub(" +", " "), values)
end

-- ---- Connections -----------------------------------------------------------------------------------------------

--- sleep: of the app's coroutine; now: its seconds since 1970.
function Pg:open()
  local c = setmetatable({ pg = self }, Connection)
  if not self.away then self.connections[c] = true end
  c.is_gone = self.away
  return c
end

local function travel(self)
  if self.pg.random(3) == 1 then self.pg.sleep(self.pg.random(30) / 1000) end
  return self.is_gone
end

function Connection:ask(sql, ...)
  if travel(self) then return nil, GONE end
  local answer = carry_out(self.pg, self, sql, { ... })
  if travel(self) then return nil, GONE end
  return answer
end

function Connection:wait(ms)
  for _ = 1, ms / 1000 / STEP do
    if self.is_gone then return nil, GONE end
    if self.is_woken then break end
    self.pg.sleep(STEP)
  end
  local woken = self.is_woken or false
  self.is_woken = false
  return woken
end

function Connection:close() self.pg.connections[self] = nil end
Connection.__close = Connection.close

return model
