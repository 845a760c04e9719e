--- The command line, on argparse. A command is a file of this folder: `name`, `add(parser)`, and
-- `run(given, usage, out, err, parser)`, which returns the exit code. Keeps nothing in memory.
local need = require("sluice.base.need")
local argparse = need("argparse")
local core = require("sluice.core")
local version = require("sluice.command.version")

local cli = {}

-- In the order of `sluice help`.
local COMMANDS = {
  require("sluice.command.new"),
  require("sluice.command.run"),
  require("sluice.command.demo"),
  require("sluice.command.test"),
  require("sluice.command.check"),
  require("sluice.command.routes"),
  require("sluice.command.reload"),
  require("sluice.command.console"),
  require("sluice.command.explain"),
  require("sluice.command.repl"),
  require("sluice.command.store"),
  require("sluice.command.record"),
  require("sluice.command.replay"),
  require("sluice.command.tail"),
  require("sluice.command.publish"),
  require("sluice.command.wait_for"),
  require("sluice.command.bench"),
  require("sluice.command.doctor"),
  require("sluice.command.lab"),
  require("sluice.command.completion"),
  version,
}

local HELP = { ["-h"] = true, ["--help"] = true }

local EPILOG = "'sluice <command> --help' has options, examples and exit codes of each."

--- The parser of all commands.
-- @return of argparse
function cli.parser()
  local parser = argparse("sluice", "A Server-Sent-Events server for Lua."):epilog(EPILOG)
  parser:command_target("command")
  parser:require_command(false)
  parser:flag("--version -v", "Print the version.")
  for _, command in ipairs(COMMANDS) do command.add(parser) end
  parser:add_help_command()
  return parser
end

local function named(name)
  for _, command in ipairs(COMMANDS) do
    if command.name == name then return command end
  end
end

local function parser_of(parser, name)
  for _, one in ipairs(parser._commands) do
    if one._name == name then return one end
  end
end

-- `sluice help NAME` asks for a command that there is none of: argparse's own way of saying so ends
-- the process.
local function asks_in_vain(args)
  local name = args[1] == "help" and args[2]
  return name and not name:find("^%-") and name ~= "help" and not named(name)
end

--- Run the command.
-- @tparam {string,...} args
-- @tparam[opt=io.stdout] file out
-- @tparam[opt=io.stderr] file err
-- @treturn integer exit code
function cli.main(args, out, err)
  out, err = out or io.stdout, err or io.stderr
  core.default_interrupt() -- ends it at once, with 130 for a shell, until a server's loop runs
  local parser = cli.parser()
  local command = named(args[1])
  local function usage(message)
    local at = command and parser_of(parser, command.name) or parser
    err:write(at:get_usage(), "\n\nError: ", message, "\nTry: sluice help",
      command and " " .. command.name or "", "\n")
    return 2
  end
  if command and command.is_raw and not HELP[args[2]] then
    return command.run(table.move(args, 2, #args, 1, {}), usage, out, err)
  end
  local ok, given = parser:pparse(asks_in_vain(args) and { args[2] }
    or table.move(args, 1, #args, 1, {}))
  if not ok then
    local path = tostring(args[1]):find("%.lua$") and args[1]
    return usage(path and ("write: sluice run %s"):format(path) or given)
  end
  if given.version and not given.command then
    out:write(version.line())
    return 0
  end
  command = named(given.command)
  if command then return command.run(given, usage, out, err, parser) end
  return usage("a command is missing: sluice run app.lua")
end

return cli
