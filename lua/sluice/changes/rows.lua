--- Rows of a source as changes, joined by entity. Keeps nothing in memory.
local sluice = require("sluice")
local burst = require("sluice.changes.burst")
local query = require("sluice.changes.query")

local rows = {}

local OPS = { created = true, updated = true, deleted = true }
local null = sluice.json.null

-- The fields of a row, or nil and what is wrong with them.
local function read_fields(self, row)
  local fields = {}
  if self.changes then
    local text = row[query.CHANGES]
    if text == null then return fields end
    fields = type(text) == "string" and text:find("^%s*{") and sluice.json.decode(text)
    if not fields then return nil, ("'%s' is no JSON object"):format(burst.show(text)) end
  else
    for name, value in pairs(row) do
      if not self.query.hidden[name:lower()] then fields[name] = value end
    end
  end
  return fields
end

-- A row as a change, or nil and what is wrong with it.
local function read_row(self, row)
  local id = burst.read_id(row[query.ID])
  if not id then
    return nil, ("'%s' is no id: a whole number or 1 to 256 bytes of UTF-8 are expected")
      :format(burst.show(row[query.ID]))
  end
  local op = self.op and row[query.OP] or "updated"
  if not OPS[op] then
    return nil, ("'%s' is not created, updated or deleted"):format(burst.show(op))
  end
  local fields, fault
  if op ~= "deleted" then
    fields, fault = read_fields(self, row)
    if not fields then return nil, fault end
  end
  -- known: another program may have made what was there, and no trigger told that it went
  local item = { id = id, type = self.type, op = op, changes = fields or {},
    known = true }
  local good, message = burst.check(item)
  return good and item, message
end

--- Say that a row is left out: once, however often it is read.
-- @tparam table self the source: { what, left_out }
-- @tparam table row
-- @tparam string fault
function rows.leave_out(self, row, fault)
  local at = burst.show(row[query.AT])
  local key = ("%s %s"):format(at, burst.show(row[query.BLOB] ~= null and row[query.BLOB]
    or row[query.ID]))
  if self.left_out[key] then return end
  self.left_out[key] = true
  sluice.log.error(("%s: the row at %s is left out: %s"):format(self.what, at, fault))
end

--- Join rows by entity. Ends before a row that would make a second event of one entity.
-- @tparam table self the source: { type, op, changes, query, what, left_out }
-- @tparam {table,...} list
-- @treturn {table,...} events, in the order of their last rows
-- @treturn table the last row that they stand for
function rows.join(self, list)
  local lists, last = {}, nil
  for i, row in ipairs(list) do
    local item, fault = read_row(self, row)
    if item then
      item.place, item.nth, item.at = row[query.AT], i, sluice.time()
      local key = tostring(item.id)
      local waits = lists[key] or {}
      lists[key] = waits
      if not burst.join(waits, item, true) then break end
    else
      rows.leave_out(self, row, fault)
    end
    last = row
  end
  local events = {}
  for _, waits in pairs(lists) do events[#events + 1] = waits[1] end
  table.sort(events, function(a, b) return a.nth < b.nth end)
  return events, last
end

return rows
