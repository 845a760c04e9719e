--- One helper for every options table: unknown keys raise by name, defaults are filled in.
--- `known` maps each name to its default; `options.NONE` stands for "known, without a
--- default". Keeps nothing in memory.
local NONE = "__nil"

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

-- The known name that was probably meant, or nil. One slip per three letters is a slip;
-- more is another word.
local function nearest(key, names)
  local best, best_distance
  for _, name in ipairs(names) do
    local limit = math.max(2, #name // 3 + 1)
    local d = distance(key:lower(), name:lower(), limit)
    if d < limit and (not best or d < best_distance) then best, best_distance = name, d end
  end
  return best
end

local function unknown_message(what, key, known)
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
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
-- @tparam[opt=2] number level
local function check_names(what, given, known, level)
  for key in pairs(given) do
    if known[key] == nil then error(unknown_message(what, key, known), (level or 2) + 1) end
  end
end

--- Check an options table and fill in the defaults: options(what, given, known[, level]).
-- @tparam string what named in the error: the function or the thing the options belong to
-- @tparam[opt] table given what the caller wrote; nil is an empty table
-- @tparam table known name -> default, or options.NONE for a known name without one
-- @tparam[opt=2] number level as in error(), seen from the function that checks: 2 blames
--   its caller
-- @treturn table a new table: the given values and the missing defaults
local function check(_, what, given, known, level)
  level = (level or 2) + 1
  if given == nil then given = {} end
  if type(given) ~= "table" then
    error(("%s: options must be a table, got %s"):format(what, type(given)), level)
  end
  check_names(what, given, known, level)
  local checked = {}
  for key, value in pairs(given) do checked[key] = value end
  for name, default in pairs(known) do
    if checked[name] == nil and default ~= NONE then checked[name] = default end
  end
  return checked
end

return setmetatable({ NONE = NONE, check_names = check_names }, { __call = check })
