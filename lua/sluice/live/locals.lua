--- Finds what a reload loses silently: top-level locals that handlers changed. When a generation
-- goes live the values that its functions hold as upvalues are noted, and compared when the next
-- one takes over. In memory: one row per such local.
local caller = require("sluice.base.caller")

local locals = {}

local FIELDS_MAX = 100 -- of one table that are compared by value; of the rest only the number
local COUNT_MAX = 100000
local UPVALUES_MAX = 255

local function is_scalar(value)
  local t = type(value)
  return t == "number" or t == "boolean" or t == "string" or t == "nil"
end

-- How many entries; the first ones that are values, and that are functions.
local function measure(t)
  local n, fields, functions = 0, {}, {}
  for k, v in next, t do
    n = n + 1
    if n <= FIELDS_MAX and is_scalar(v) then fields[k] = v end
    if n <= FIELDS_MAX and type(v) == "function" then functions[#functions + 1] = v end
    if n >= COUNT_MAX then break end
  end
  return n, fields, functions
end

local note_function

local function note_table(list, name, where, t)
  if list.seen[t] or getmetatable(t) or list.hosted[t] then return end
  list.seen[t] = true
  local n, fields, functions = measure(t)
  list[#list + 1] = { name = name, where = where, table = t, n = n, fields = fields }
  for _, fn in ipairs(functions) do note_function(list, fn) end
end

function note_function(list, fn)
  if list.seen[fn] then return end
  list.seen[fn] = true
  local info = debug.getinfo(fn, "S")
  if info.what == "C" or caller.is_own(info.source) then return end
  local where = info.source:match("^@(.*)") or info.short_src
  for i = 1, UPVALUES_MAX do
    local name, value = debug.getupvalue(fn, i)
    if not name then break end
    local id = name ~= "_ENV" and debug.upvalueid(fn, i)
    if id and not list.seen[id] then
      list.seen[id] = true
      if type(value) == "table" then
        note_table(list, name, where, value)
      elseif type(value) == "function" then
        note_function(list, value)
      end
      if is_scalar(value) or type(value) == "table" then
        list[#list + 1] = { name = name, where = where, fn = fn, index = i, value = value }
      end
    end
  end
end

local function hosted_modules()
  local set = {}
  for _, value in pairs(package.loaded) do
    if type(value) == "table" then set[value] = true end
  end
  return set
end

--- Note what the functions of a generation hold.
-- @tparam sluice.Generation generation
-- @treturn table for locals.changed
function locals.note(generation)
  local list = { seen = {}, hosted = hosted_modules() }
  for _, fn in ipairs(generation:functions()) do note_function(list, fn) end
  list.seen, list.hosted = nil, nil
  return list
end

local function has_changed(row)
  if row.fn then
    local _, value = debug.getupvalue(row.fn, row.index)
    return not rawequal(value, row.value)
  end
  local n, fields = measure(row.table)
  if n ~= row.n then return true end
  for k, v in next, row.fields do
    if not rawequal(fields[k], v) then return true end
  end
  return false
end

--- The locals that have changed since: a sentence for each.
-- @tparam table|nil list from locals.note
-- @treturn {string,...}
function locals.changed(list)
  local out, reported = {}, {}
  for _, row in ipairs(list or {}) do
    local key = row.where .. "\0" .. row.name
    if not reported[key] and has_changed(row) then
      reported[key] = true
      out[#out + 1] = ("%s: local '%s' was changed by handlers and starts anew with this reload: "
        .. 'keep it in app:state("%s", …)'):format(row.where, row.name, row.name)
    end
  end
  table.sort(out)
  return out
end

return locals
