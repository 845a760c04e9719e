--- `sluice version`: the version, and what the machine has. Keeps nothing in memory.
local core = require("sluice.core")
local help = require("sluice.command.help")

local version = { name = "version" }

--- Add the command to the parser.
-- @param parser of argparse
function version.add(parser)
  local command = parser:command("version", "Print the version, and whether there is an io_uring "
    .. "here.")
  help.add(command, { "sluice version" }, { { 0, "always" } })
end

--- What --version prints.
function version.line() return ("sluice %s\n"):format(core.version) end

--- Run it.
-- @treturn integer exit code
function version.run(_, _, out)
  local there, why = core.io_uring()
  out:write(version.line(), "io_uring: ", there or "no: " .. why, "\n")
  return 0
end

return version
