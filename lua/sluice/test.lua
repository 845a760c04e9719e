--- `sluice test`: run specs with busted, by the Lua and on the paths of this command. The
--- `busted` of a system may be for another Lua, which knows neither Sluice nor its core.
--- Keeps nothing in memory.
local need = require("sluice.base.need")

local test = {}

--- Have modules looked for where `luarocks --local` installs them, too: Lua itself does not.
function test.add_local_tree()
  local home = os.getenv("HOME")
  if not home or home == "" then return end
  local share, lib = home .. "/.luarocks/share/lua/5.4/", home .. "/.luarocks/lib/lua/5.4/"
  package.path = ("%s;%s?.lua;%s?/init.lua"):format(package.path, share, share)
  package.cpath = ("%s;%s?.so"):format(package.cpath, lib)
end

-- The words that name specs. A word after an option may be the option's value.
local function named(words, mode_of)
  local list = {}
  for i, word in ipairs(words) do
    if word:sub(1, 1) ~= "-" then
      if mode_of(word) then
        list[#list + 1] = word
      elseif i == 1 or words[i - 1]:sub(1, 1) ~= "-" then
        return nil, ("there is no '%s'"):format(word)
      end
    end
  end
  return list
end

-- Without names: what is beside the app, and below spec/; what .busted says where there is one.
local function usual(lfs)
  if lfs.attributes(".busted", "mode") == "file" then return {} end
  local list = {}
  for name in lfs.dir(".") do
    if name:find("_spec%.lua$") then list[#list + 1] = name end
  end
  table.sort(list)
  if lfs.attributes("spec", "mode") == "directory" then list[#list + 1] = "spec" end
  if list[1] then return list end
  return nil, "no specs here: name them, or call them …_spec.lua"
end

-- busted reads the global `arg`; what starts a server of a test finds the interpreter there.
local function hand_over(words, more)
  local given = table.move(words, 1, #words, 1, { [0] = "sluice test" })
  table.move(more, 1, #more, #given + 1, given)
  for i, word in pairs(arg or {}) do
    if i < 0 then given[i] = word end
  end
  arg = given -- luacheck: ignore
end

--- Run the command. Ends the process when a spec fails.
-- @tparam {string,...} words files, folders and options of busted
-- @tparam file err
-- @treturn integer exit code
function test.run(words, err)
  test.add_local_tree()
  local found, runner = pcall(need, "busted.runner")
  if not found then
    err:write("sluice: ", tostring(runner), "\n")
    return 1
  end
  local lfs = require("lfs")
  local list, problem = named(words, function(path) return lfs.attributes(path, "mode") end)
  local more = {}
  if list and not list[1] then more, problem = usual(lfs) end
  if problem then
    err:write("sluice: ", problem, "\n")
    return 2
  end
  hand_over(words, more)
  runner({ standalone = false })
  return 0
end

return test
