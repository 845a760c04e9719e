--- need(name): require, for what may be missing on this machine. A library that is not there
--- is told in one line, with the packages that bring it. Keeps nothing in memory.

-- What brings a module or a shared object: Debian's package, and the rock.
local BROUGHT_BY = {
  argparse = { "lua-argparse", "argparse" },
  socket = { "lua-socket", "luasocket" },
  busted = { "lua-busted", "busted" },
  ["libev.so"] = { "libev4" },
  ["libcurl.so"] = { "libcurl4" },
}

local function how_to_install(name)
  local package = BROUGHT_BY[name:match("^lib[%w-]+%.so") or name]
  if not package then return "" end
  local text = ": sudo apt-get install " .. package[1]
  if not package[2] then return text end
  return ("%s, or luarocks --lua-version 5.4 install %s"):format(text, package[2])
end

-- One line for what require says of a module that is missing, or cannot be loaded; any other
-- error as it is.
local function explain(problem)
  if type(problem) ~= "string" then return problem end
  local missing = problem:match("module '([^']+)' not found:")
  if missing == "sluice.core" then
    return "the C module of Sluice is not where Lua looks for it: build it (make all) or install it"
  elseif missing and missing:find("^sluice%.") then
    return ("the file of %s is not where Lua looks for it: install Sluice again"):format(missing)
  elseif missing then
    local library = missing:match("^[^.]+")
    return ("the library %s is missing for Lua 5.4%s"):format(library, how_to_install(library))
  end
  local file, why = problem:match("error loading module '[^']+' from file '([^']+)':%s*([^\n]+)")
  if not file or not file:find("%.so$") then return problem end
  local object = why:match("^(lib[^:]+): cannot open shared object file")
  if object then return ("the library %s is missing%s"):format(object, how_to_install(object)) end
  return ("%s cannot be loaded: %s"):format(file, why)
end

--- Require a module.
-- @tparam string name
-- @return the module; raises one line when something that it needs is missing
return function(name)
  local ok, value = pcall(require, name)
  if ok then return value end
  error(explain(value), 0)
end
