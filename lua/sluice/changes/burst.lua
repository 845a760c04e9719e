--- What readers of one entity are still to be told, oldest change first, as few events as possible:
---
---      updated + updated    one, fields merged        deleted + created    both, in this order
---      created + updated    created, fields merged    created + deleted    none: nobody knew it
---
--- `known` is a record that somebody may know: then created + deleted is deleted. A change that is
--- being sent stands alone, and so does what would be too large for an event with another. Here is
--- too what the parts share about ids, fields and the log. Works on what is given; keeps nothing in
--- memory.
local sluice = require("sluice")

local burst = {}

local encode = sluice.json.encode
local ID_MAX = 256 -- bytes of a key of a channel
local SHOWN_MAX = 200
local BYTES_MAX = 65000 -- of the data of an event
local FRAME = #encode({ type = "", id = "", op = "updated", changes = {},
  timestamp = ("0"):rep(24) }) - #'""' - #'""' - #"{}"

-- The bytes of a change as the data of an event; or nil, message, code.
local function measure(type_name, id, changes)
  local text, message, code = encode(changes)
  if not text then return nil, message, code end
  return FRAME + #encode(type_name) + #encode(id) + #text
end

--- Whether a change can be an event; then it knows its size.
-- @tparam table item { id, type, op, changes }
-- @treturn boolean|nil true; or nil, message, code
function burst.check(item)
  local bytes, message, code = measure(item.type, item.id, item.changes)
  if not bytes then return nil, message, code end
  if bytes > BYTES_MAX then
    return nil, ("the event would have %d bytes of data, the limit is %d"):format(bytes,
      BYTES_MAX), "ETOOBIG"
  end
  item.bytes = bytes
  return true
end

-- Make two changes one. False: they do not fit into one event.
local function merge(last, item)
  local gone, changes = item.op == "deleted", {}
  local bytes = gone and item.bytes or last.bytes + item.bytes
  if not gone then
    if bytes <= BYTES_MAX then changes = last.changes end
    for name, value in pairs(last.changes) do changes[name] = value end
    for name, value in pairs(item.changes) do changes[name] = value end
    -- what is named twice was counted twice
    if bytes > BYTES_MAX then bytes = measure(item.type, item.id, changes) end
    if bytes > BYTES_MAX then return false end
  end
  local known = last.known or last.op ~= "created"
  local op = not gone and last.op == "created" and "created" or item.op
  for name, value in pairs(item) do last[name] = value end
  last.changes, last.op, last.bytes, last.known = changes, op, bytes, known
  return true
end

-- Take out of what waits the fields that come again behind it: so it is never more than the record.
local function outdate(list, item)
  for i = #list, 1, -1 do
    local earlier = list[i]
    if earlier.fixed or earlier.op == "deleted" then return end
    for name in pairs(item.changes) do earlier.changes[name] = nil end
    if earlier.op == "updated" and next(earlier.changes) == nil then table.remove(list, i) end
  end
end

--- Add a change.
-- @tparam {table,...} list
-- @tparam table item { id, type, op, changes, bytes, … }; what else it has replaces what the one
--   before had
-- @tparam[opt] boolean alone true: add nothing that would be a second event
-- @treturn boolean whether it was added
-- @treturn boolean|nil true: only its size makes it an event of its own
function burst.join(list, item, alone)
  local last = list[#list]
  local apart = last and (last.fixed or last.op == "deleted" and item.op ~= "deleted")
  if last and not apart then
    if item.op == "deleted" and last.op == "created" and not last.known then
      list[#list] = nil
      return true
    end
    if merge(last, item) then return true end
  end
  if last and alone then return false end
  item.known = item.known or last ~= nil and last.op ~= "deleted"
  local full = last ~= nil and not apart
  if full then outdate(list, item) end
  list[#list + 1] = item
  return true, full
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
  local text, message, code = encode(fields)
  if not text then return nil, (message:gsub("^data", "fields")), code end
  if text:sub(1, 1) == "[" then
    return nil, "fields: values by name are expected, not a list", "EBADFIELD"
  end
  return (sluice.json.decode(text))
end

--- Any value as a short text for the log, whatever its __tostring does.
-- @param value
-- @treturn string
function burst.show(value)
  if value == sluice.json.null then return "NULL" end
  local ok, text = pcall(tostring, value)
  if not ok then return "a " .. type(value) .. " that cannot be shown" end
  if #text <= SHOWN_MAX then return text end
  local last = utf8.offset(text, 0, SHOWN_MAX + 1) or SHOWN_MAX + 1 -- not within a character
  return text:sub(1, last - 1) .. "..."
end

--- The keys of what waits, the oldest first.
-- @tparam table waiting entries by key, with `first` and `nth`
-- @tparam[opt] function is_wanted of an entry
-- @treturn {string,...}
function burst.oldest(waiting, is_wanted)
  local keys = {}
  for key, entry in pairs(waiting) do
    if not is_wanted or is_wanted(entry) then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b)
    local x, y = waiting[a], waiting[b]
    return x.first < y.first or x.first == y.first and x.nth < y.nth
  end)
  return keys
end

return burst
