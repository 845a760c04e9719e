--- The command `sluice`: everything is in sluice.command.cli. It reports what is missing in a line.
local function give_up(message)
  io.stderr:write("sluice: ", tostring(message), "\n")
  os.exit(1)
end

local found, need = pcall(require, "sluice.base.need")
if not found then
  give_up("its files are not where Lua looks for them (LUA_PATH): " .. package.path)
end
local loaded, cli = pcall(need, "sluice.command.cli")
if not loaded then give_up(cli) end
os.exit(cli.main(arg), true)
