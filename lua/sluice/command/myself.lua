--- The words that run this command again, as another process: by the same Lua, on the same paths.
-- Keeps nothing in memory.

local function interpreter()
  local first = 0
  while arg and arg[first - 1] do first = first - 1 end
  return first < 0 and arg[first] or "lua5.4"
end

--- The words.
-- @treturn {string,...} a new list
local function myself()
  local main = assert(package.searchpath("sluice.main", package.path))
  return { "env", "LUA_PATH_5_4=" .. package.path, "LUA_CPATH_5_4=" .. package.cpath, interpreter(),
    main }
end

return myself
