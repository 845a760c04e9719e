--- What readers of one entity are still to be told, oldest change first: at most one that is being
--- sent, and two that wait.
---
---      updated + updated    one, fields merged        deleted + created    both, in this order
---      created + updated    created, fields merged    created + deleted    none: nobody knew it
---
--- Works on lists that are given; keeps nothing in memory.
local sluice = require("sluice")

local burst = {}

local ID_MAX = 256 -- bytes of a key of a channel

--- Add a change.
-- @tparam {table,...} list
-- @tparam table item { id, op, changes, … }; what else it has replaces what the one before had
function burst.join(list, item)
  local last = list[#list]
  local apart = not last or last.fixed or last.op == "deleted" and item.op ~= "deleted"
  if apart then
    list[#list + 1] = item
  elseif item.op == "deleted" and last.op == "created" then
    list[#list] = nil
  else
    local changes = item.op == "deleted" and {} or last.changes
    for name, value in pairs(item.changes) do changes[name] = value end
    local op = last.op == "created" and "created" or item.op
    for name, value in pairs(item) do last[name] = value end
    last.changes, last.op = changes, op
  end
end

--- An id as it is sent: a string, or a whole number; or nil.
function burst.read_id(id)
  if type(id) == "number" then return math.tointeger(id) end
  return type(id) == "string" and id ~= "" and #id <= ID_MAX and utf8.len(id) and id or nil
end

--- A copy of the fields of a change; or nil, message, code.
function burst.read_fields(fields)
  if fields == nil then return {} end
  if type(fields) ~= "table" then
    return nil, ("fields: a table is expected, not a %s"):format(type(fields)), "EBADFIELD"
  end
  local text, message, code = sluice.json.encode(fields)
  if not text then return nil, (message:gsub("^data", "fields")), code end
  if text:sub(1, 1) == "[" then
    return nil, "fields: values by name are expected, not a list", "EBADFIELD"
  end
  return (sluice.json.decode(text))
end

return burst
