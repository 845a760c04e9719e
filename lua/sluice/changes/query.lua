--- The SQL of changes:sqlite. Names are quoted and belong to `t`, so that one that the table does
-- not have is an error, and no text. Keeps nothing in memory.
local sluice = require("sluice")

local query = { AT = "sluice at", ID = "sluice id", OP = "sluice op", CHANGES = "sluice changes" }

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
  if o.op then add(quote(o.op), query.OP) end
  if o.changes then add(quote(o.changes), query.CHANGES) end
  for _, name in ipairs(o.fields or {}) do add(quote(name)) end
  if not (o.changes or o.fields) then columns[#columns + 1] = "t.*" end
  self.select = ("SELECT %s %s WHERE "):format(table.concat(columns, ", "), self.from)
  self.order = (" ORDER BY %s, %s LIMIT :size"):format(self.at, self.id)
  self.hidden = { [query.AT] = true, [query.ID] = true, [query.OP] = true }
  if not o.fields then
    for _, name in ipairs { o.cursor, o.id, o.op } do self.hidden[name] = true end
  end
  return self
end

--- Whether a cursor that SQLite counts has come as far as another.
function query.is_at_least(number, at)
  return type(number) == "number" and type(at) == "number" and number >= at
end

-- The first row of an answer, false when there is none; or nil, message, code.
local function first(rows, message, code)
  if not rows then return nil, message, code end
  return rows[1] or false
end

--- The row with the largest cursor.
-- @param db
-- @param at where the cursor stands, or nil
-- @treturn table|boolean|nil { at, id, is_behind }, false when there is none; or nil, message, code
function Query:newest(db, at)
  local row, message, code = first(db:query(('SELECT %s AS "at", %s AS "id", %s < :at AS behind %s '
    .. "WHERE %s IS NOT NULL ORDER BY %s DESC, %s DESC LIMIT 1"):format(self.at, self.id, self.at,
    self.from, self.at, self.at, self.id), { at = at == nil and null or at }))
  if not row then return row, message, code end
  return { at = row.at, id = row.id, is_behind = row.behind == 1 }
end

--- The rows behind a place, in order.
-- @param db
-- @tparam table place { at, id, upto = { at, id } }
-- @param limit the largest cursor, or nil
-- @tparam integer size
function Query:rows(db, place, limit, size)
  local values, parts = { size = size }, { self.at .. " IS NOT NULL" }
  local function add(form, ...) parts[#parts + 1] = form:format(self.at, ...) end
  if place.at ~= nil then
    add("(%s, %s) > (:at, :id)", self.id)
    values.at, values.id = place.at, place.id
  end
  if place.upto then
    add("(%s, %s) <= (:upto_at, :upto_id)", self.id)
    values.upto_at, values.upto_id = place.upto.at, place.upto.id
  end
  if limit ~= nil then
    add("%s <= :limit")
    values.limit = limit
  end
  return db:query(self.select .. table.concat(parts, " AND ") .. self.order, values)
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

--- The last number that AUTOINCREMENT gave, false when it gave none; or nil, message, code.
function Query:last_number(db)
  local row, message, code = first(db:query(NUMBER, { table = self.table }))
  if not row then return row, message, code end
  return row.seq
end

return query
