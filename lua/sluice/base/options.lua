--- One helper for every options table: unknown keys and values of another type than the default
--- raise by name, defaults are filled in. `known` maps each name to its default; in place of
--- one, `options.BOOLEAN`, `STRING`, `NUMBER`, `TABLE` and `FUNCTION` stand for "of this type,
--- without a default", and `options.NONE` for one that the caller checks itself. Keeps nothing in
--- memory.
local caller = require("sluice.base.caller")

local NONE = "__nil"
local KINDS = { BOOLEAN = "__boolean", STRING = "__string", NUMBER = "__number", TABLE = "__table",
  FUNCTION = "__function" }

-- What stands for a missing default -> the type that is expected, or false.
local ABSENT = { [NONE] = false }
for _, kind in pairs(KINDS) do ABSENT[kind] = kind:sub(3) end

local BEGINNING_LEAST = 4 -- letters of one name that begin another: warn, warning

-- Typing slips between two names (insertions, deletions, replacements, and two letters
-- that changed places), or `limit` when there are more.
local function distance(a, b, limit)
  if math.abs(#a - #b) >= limit then return limit end
  local before, last = nil, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      local swapped = before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
      if swapped then row[j] = math.min(row[j], before[j - 2] + 1) end
    end
    before, last = last, row
  end
  return math.min(last[#b], limit)
end

-- The known name that was probably meant, or nil. One slip per three letters counts as a typing
-- error; more is another word, unless one name is the beginning of the other.
local function nearest(key, names)
  local best, best_distance, longer
  for _, name in ipairs(names) do
    local limit = math.max(2, #name // 3 + 1)
    local d = distance(key:lower(), name:lower(), limit)
    local is_alike = d < limit and d < math.max(#name, #key) -- of "a" and "b" nothing is
    if is_alike and (not best or d < best_distance) then best, best_distance = name, d end
    local n = math.min(#name, #key)
    if n >= BEGINNING_LEAST and name:sub(1, n) == key:sub(1, n) then longer = name end
  end
  return best or longer
end

local function unknown_message(what, key, known)
  local names = {}
  for name in pairs(known) do
    if type(name) == "string" then names[#names + 1] = name end -- not an index of a list
  end
  table.sort(names)
  local list = #names > 0 and table.concat(names, ", ") or "none"
  if type(key) ~= "string" then
    return ("%s: options are named, got the key %s (known: %s)"):format(what, tostring(key), list)
  end
  local meant = nearest(key:sub(1, 64), names)
  return ("%s: unknown option '%s'%s (known: %s)"):format(what, key:sub(1, 64),
    meant and (", did you mean '%s'?"):format(meant) or "", list)
end

--- Check that a table has known names only, for one that is read at once and not kept.
-- @tparam string what
-- @tparam table given
-- @tparam table known
local function check_names(what, given, known)
  for key in pairs(given) do
    if known[key] == nil then caller.raise("%s", unknown_message(what, key, known)) end
  end
end

local function check_types(what, given, known)
  for name, value in pairs(given) do
    local wanted = ABSENT[known[name]]
    if wanted == nil then wanted = type(known[name]) end
    if wanted and type(value) ~= wanted then
      caller.raise("%s: %s is a %s, not a %s", what, name, wanted, type(value))
    end
  end
end

--- Check an options table and fill in the defaults: options(what, given, known).
-- @tparam string what named in the error: the function or the thing the options belong to
-- @tparam[opt] table given what the caller wrote; nil is an empty table
-- @tparam table known name -> default, or what stands for one
-- @treturn table a new table: the given values and the missing defaults
local function check(_, what, given, known)
  if given == nil then given = {} end
  if type(given) ~= "table" then
    caller.raise("%s: options must be a table, got %s", what, type(given))
  end
  check_names(what, given, known)
  check_types(what, given, known)
  local checked = {}
  for key, value in pairs(given) do checked[key] = value end
  for name, default in pairs(known) do
    if checked[name] == nil and ABSENT[default] == nil then checked[name] = default end
  end
  return checked
end

--- What is wrong with a list that an option holds, or nil: it has items 1 to n and nothing else,
-- all of one type.
-- @param list
-- @tparam string items what they are, for the message: "strings"
-- @tparam[opt] string kind their type, or "text" for strings and numbers; nil: any
-- @treturn string|nil "is a list of strings, not a number"
local function list_fault(list, items, kind)
  if type(list) ~= "table" then return ("is a list of %s, not a %s"):format(items, type(list)) end
  local n = 0
  for i, item in pairs(list) do
    n = n + 1
    if math.type(i) ~= "integer" or i < 1 or i > #list then
      return ("is a list of %s, and '%s' is no place in it"):format(items, tostring(i):sub(1, 64))
    end
    local got = type(item)
    if kind and got ~= kind and not (kind == "text" and (got == "string" or got == "number")) then
      return ("is a list of %s, and [%d] is a %s"):format(items, i, got)
    end
  end
  if n ~= #list then return ("is a list of %s, and this one has holes"):format(items) end
end

-- `raise`: what the caller did wrong, told at the user's line however deep this is called.
local options = { NONE = NONE, check_names = check_names, list_fault = list_fault,
  nearest = nearest, raise = caller.raise }
for name, kind in pairs(KINDS) do options[name] = kind end

return setmetatable(options, { __call = check })
