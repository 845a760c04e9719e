--- The place in the code that Lua writes before an error's message, "app.lua:12: ": it is for the
--- log, and not for pages. Known is where the error may have been raised; the name of a file may
--- have any characters. Keeps nothing in memory.
local place = {}

local LEVELS_MAX = 50

--- Where the code is, and what called it, as an error would name it.
-- @tparam integer level as of debug.getinfo, for the caller
-- @treturn {string,...}
function place.all(level)
  local list = {}
  for i = level + 1, level + LEVELS_MAX do
    local info = debug.getinfo(i, "Sl")
    if not info then break end
    if info.currentline > 0 then
      list[#list + 1] = ("%s:%d: "):format(info.short_src, info.currentline)
    end
  end
  return list
end

local function strip_one(text, places)
  for _, where in ipairs(places or {}) do
    if text:sub(1, #where) == where then return text:sub(#where + 1) end
  end
  -- What was caught and raised again: a file of Lua, or a chunk of text.
  return text:match("^[^\n]-%.lua:%d+: (.*)") or text:match('^%[string "[^\n]-"%]:%d+: (.*)')
end

--- A message without its place.
-- @tparam string text
-- @tparam[opt] {string,...} places of place.all
-- @treturn string
function place.strip(text, places)
  repeat
    local rest = strip_one(text, places)
    text = rest or text
  until not rest
  return text
end

return place
