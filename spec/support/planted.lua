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

--- Run a Lua file with these modules: its exit code and what it said.
function planted.run(file, ...)
  return process.run { "env", "LUA_PATH=./?.lua;./lua/?.lua;;",
    "LUA_CPATH=" .. planted.folder .. "/?.so;;", "lua5.4", file, ... }
end

return planted
