--- Rows of a source as changes, joined by entity. Keeps nothing in memory.
local sluice = require("sluice")
local burst = require("sluice.changes.burst")
local query = require("sluice.changes.query")

local rows = {}

local OPS = { created = true, updated = true, deleted = true }
local null = sluice.json.null

-- A row as a change, or nil and what is wrong with it.
local function read_row(self, row)
  local id = burst.read_id(row[query.ID])
  if not id then return nil, ("'%s' is no id of 1 to 256 bytes"):format(tostring(row[query.ID])) end
  local op = self.op and row[query.OP] or "updated"
  if not OPS[op] then
    return nil, ("'%s' is not created, updated or deleted"):format(tostring(op))
  end
  local fields = {}
  if op == "deleted" then
    return { id = id, type = self.type, op = op, changes = fields }
  elseif self.changes then
    local text = row[query.CHANGES]
    fields = text == null and fields or type(text) == "string" and sluice.json.decode(text)
    if type(fields) ~= "table" or fields == null then
      return nil, ("'%s' is no JSON object"):format(tostring(text))
    end
  else
    for name, value in pairs(row) do
      if not self.query.hidden[name] then fields[name] = value end
    end
  end
  return { id = id, type = self.type, op = op, changes = fields }
end

--- Join rows by entity. Ends before a row that would make a second event of one entity.
-- @tparam table self the source: { type, op, changes, query, what }
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
      local first = waits[1]
      if first and first.op == "deleted" and item.op ~= "deleted" then break end
      burst.join(waits, item)
    else
      sluice.log.error(("%s: the row at %s is left out: %s"):format(self.what,
        tostring(row[query.AT]), fault))
    end
    last = row
  end
  local events = {}
  for _, waits in pairs(lists) do events[#events + 1] = waits[1] end
  table.sort(events, function(a, b) return a.nth < b.nth end)
  return events, last
end

return rows
