--- The modules with planted bugs, in build/planted. Spec files that run beside each other build there
--- one after the other.
local process = require("spec.support.process")

local planted = { folder = "build/planted" }

--- Build modules by name ("core", "core/testing", …).
function planted.build(...)
  local command = { "flock", "Makefile", "make", "-s", "-j2", "SAN=", "B=" .. planted.folder,
    "CFLAGS=-O1 -DSLUICE_PLANTED" }
  for _, name in ipairs { ... } do
    command[#command + 1] = planted.folder .. "/sluice/" .. name .. ".so"
  end
  local code, output = process.run(command, { seconds = 400 })
  if code ~= 0 then error(output) end
end

--- Run Lua with these modules while one bug is active (0: none): its exit code and what it said.
function planted.run_bug(bug, ...)
  return process.run { "env", "SLUICE_PLANT=" .. bug, "LUA_PATH=./?.lua;./lua/?.lua;./lua/?/init.lua;;",
    "LUA_CPATH=" .. planted.folder .. "/?.so;;", "lua5.4", ... }
end

--- The same with a Lua file that chooses its bug itself.
function planted.run(file, ...) return planted.run_bug(0, file, ...) end

return planted
