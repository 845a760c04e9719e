--- The SQL of changes:sqlite. Names are quoted and belong to `t`, so that one that the table does
-- not have is an error, and no text. Keeps nothing in memory.
local sluice = require("sluice")

local query = { AT = "sluice at", ID = "sluice id", BLOB = "sluice blob", OP = "sluice op",
  CHANGES = "sluice changes" }

---@class sluice.changes.Query
local Query = {}
Query.__index = Query

local null = sluice.json.null
local ROWID = { rowid = true, _rowid_ = true, oid = true }

-- Alone in a unique index, or the number of a row.
local UNIQUE = [[SELECT (SELECT count(*) FROM pragma_table_info(:table) WHERE pk > 0) = 1
  AND EXISTS (SELECT 1 FROM pragma_table_info(:table) WHERE pk = 1 AND lower(name) = lower(:column))
  OR EXISTS (SELECT 1 FROM pragma_index_list(:table) AS l WHERE l."unique" AND NOT l.partial
    AND (SELECT count(*) FROM pragma_index_info(l.name)) = 1
    AND (SELECT lower(name) FROM pragma_index_info(l.name)) = lower(:column)) AS yes]]
local COUNTED = [[SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table'
  AND lower(name) = lower(:table) AND sql LIKE '%AUTOINCREMENT%') AND (:rowid
  OR EXISTS (SELECT 1 FROM pragma_table_info(:table) WHERE pk = 1 AND lower(name) = lower(:column)))
  AS yes]]
local NUMBER = "SELECT seq FROM sqlite_sequence WHERE lower(name) = lower(:table)"

local function quote(name) return 't."' .. name:gsub('"', '""') .. '"' end

--- What a source asks.
-- @tparam table o { table, cursor, id, op, changes, fields }
function query.new(o)
  local self = setmetatable({ table = o.table, column = o.cursor, at = quote(o.cursor),
    id = quote(o.id) }, Query)
  self.from = ('FROM "%s" AS t'):format((o.table:gsub('"', '""')))
  local columns = {}
  local function add(name, as)
    columns[#columns + 1] = as and ('%s AS "%s"'):format(name, as) or name
  end
  add(self.at, query.AT)
  add(self.id, query.ID)
  add(("CASE typeof(%s) WHEN 'blob' THEN hex(%s) END"):format(self.id, self.id), query.BLOB)
  self.places = table.concat(columns, ", ")
  if o.op then add(quote(o.op), query.OP) end
  if o.changes then add(quote(o.changes), query.CHANGES) end
  for _, name in ipairs(o.fields or {}) do add(quote(name)) end
  if not (o.changes or o.fields) then columns[#columns + 1] = "t.*" end
  self.columns = table.concat(columns, ", ")
  self.order = (" ORDER BY %s, %s LIMIT :size"):format(self.at, self.id)
  self.hidden = { [query.AT] = true, [query.ID] = true, [query.BLOB] = true, [query.OP] = true }
  if not o.fields then -- names in SQLite have no case
    for _, name in ipairs { o.cursor, o.id, o.op } do self.hidden[name:lower()] = true end
  end
  return self
end

-- The first row of an answer, false when there is none; or nil, message, code.
local function first(rows, message, code)
  if not rows then return nil, message, code end
  return rows[1] or false
end

--- Where a row stands.
-- @tparam table row
-- @return its cursor
-- @return its id, as { hex } when it is a blob
function query.place(row)
  local hex = row[query.BLOB]
  return row[query.AT], hex ~= null and { hex = hex } or row[query.ID]
end

--- Whether a place, or nil, is where a row stands.
function query.is_at(place, at, id)
  if not place or place.at ~= at then return false end
  if type(id) == "table" then return type(place.id) == "table" and place.id.hex == id.hex end
  return place.id == id
end

--- The row with the largest cursor.
-- @param db
-- @param at where the cursor stands, or nil
-- @treturn table|boolean|nil { at, id, is_behind }, false when there is none; or nil, message, code
function Query:newest(db, at)
  local sql = ("SELECT %s, %s < :at AS behind %s WHERE %s IS NOT NULL ORDER BY %s DESC, %s DESC"
    .. " LIMIT 1"):format(self.places, self.at, self.from, self.at, self.at, self.id)
  local row, message, code = first(db:query(sql, { at = at == nil and null or at }))
  if not row then return row, message, code end
  local newest = { is_behind = row.behind == 1 }
  newest.at, newest.id = query.place(row)
  return newest
end

-- An id in a statement. Hexadecimal digits are the only value that stands in its text.
local function operand(id, name, values)
  if type(id) == "table" then return "x'" .. id.hex:gsub("%X", "") .. "'" end
  values[name] = id
  return ":" .. name
end

-- Rows behind a place, or up to it. Those with the same cursor that have no id come first.
local function behind(self, at, id, values)
  values.at = at
  local same = (id == nil or id == null) and "IS NOT NULL" or "> " .. operand(id, "id", values)
  return ("%s >= :at AND (%s > :at OR %s %s)"):format(self.at, self.at, self.id, same)
end

local function until_place(self, at, id, values)
  values.upto_at = at
  local same = (id == nil or id == null) and "" or (" OR %s <= %s"):format(self.id,
    operand(id, "upto_id", values))
  return ("%s <= :upto_at AND (%s < :upto_at OR %s IS NULL%s)"):format(self.at, self.at, self.id,
    same)
end

--- The rows behind a place, in order.
-- @param db
-- @tparam table place { at, id, upto = { at, id } }
-- @param limit the largest cursor, or nil
-- @tparam integer size
-- @tparam[opt] boolean places true: nothing of them but their places
function Query:rows(db, place, limit, size, places)
  local values, parts = { size = size }, { self.at .. " IS NOT NULL" }
  if place.at ~= nil then parts[2] = behind(self, place.at, place.id, values) end
  if place.upto then
    parts[#parts + 1] = until_place(self, place.upto.at, place.upto.id, values)
  end
  if limit ~= nil then
    parts[#parts + 1] = self.at .. " <= :limit"
    values.limit = limit
  end
  return db:query(("SELECT %s %s WHERE %s %s"):format(places and self.places or self.columns,
    self.from, table.concat(parts, " AND "), self.order), values)
end

local function ask(self, db, sql, rowid)
  local row, message, code = first(db:query(sql, { table = self.table, column = self.column,
    rowid = rowid }))
  if not row then return row, message, code end
  return row.yes == 1
end

--- Whether no two rows can have one cursor.
function Query:is_unique(db)
  if ROWID[self.column:lower()] then return true end
  return ask(self, db, UNIQUE)
end

--- Whether the cursor is numbered by AUTOINCREMENT, so that none ever comes again.
function Query:is_counted(db)
  return ask(self, db, COUNTED, ROWID[self.column:lower()] or false)
end

--- Whether AUTOINCREMENT has come as far as a cursor; or nil, message, code.
function Query:has_come(db, at)
  if at == nil then return true end
  local row, message, code = first(db:query(NUMBER, { table = self.table }))
  if not row then return row, message, code end
  return type(row.seq) == "number" and type(at) == "number" and row.seq >= at
end

return query
