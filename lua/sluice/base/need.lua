--- need(name): require, for what may be missing on this machine. A missing library is reported
--- in one line, with the packages that contain it. The working directory is not searched: an app
--- there may have any name, also that of a library. Keeps nothing in memory.

-- What contains a module or a shared object: Debian's package, and the rock.
local PACKAGES = {
  argparse = { "lua-argparse", "argparse" },
  cjson = { "lua-cjson", "lua-cjson" },
  socket = { "lua-socket", "luasocket" },
  busted = { "lua-busted", "busted" },
  ["libev.so"] = { "libev4" },
  ["libcurl.so"] = { "libcurl4" },
  ["libcrypto.so"] = { "libssl3" },
  ["libssl.so"] = { "libssl3" },
}

local function how_to_install(name)
  local package = PACKAGES[name:match("^lib[%w-]+%.so") or name]
  if not package then return "" end
  local text = ": sudo apt-get install " .. package[1]
  if not package[2] then return text end
  return ("%s, or luarocks --lua-version 5.4 install %s"):format(text, package[2])
end

-- One line for the error of require about a module that is missing or cannot be loaded; any other
-- error unchanged.
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

-- Lua's paths without the templates of the working directory: "./?.lua", "?/init.lua".
local function elsewhere(path)
  local list = {}
  for template in path:gmatch("[^;]+") do
    if not template:find("^%.?/?%?") then list[#list + 1] = template end
  end
  return table.concat(list, ";")
end

local need = {}

--- Require a module without searching the working directory.
-- @tparam string name
-- @return the module, and where it was found; raises the error of require
function need.elsewhere(name)
  local path, cpath = package.path, package.cpath
  package.path, package.cpath = elsewhere(path), elsewhere(cpath)
  local ok, value, origin = pcall(require, name)
  package.path, package.cpath = path, cpath
  if ok then return value, origin end
  error(value, 0)
end

--- The same; raises one line when something that the module needs is missing.
local function call(_, name)
  if _VERSION ~= "Lua 5.4" then
    error(("Lua 5.4 is needed, this is %s: sudo apt-get install lua5.4"):format(_VERSION), 0)
  end
  local ok, value = pcall(need.elsewhere, name)
  if ok then return value end
  error(explain(value), 0)
end

return setmetatable(need, { __call = call })
