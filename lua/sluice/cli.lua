--- The command line: sluice run | version | help, on argparse.
-- Exit codes: 0 fine, 1 cannot start or broken script, 2 usage. Keeps nothing in memory.
local argparse = require("argparse")
local config = require("sluice.config")
local core = require("sluice.core")
local serve = require("sluice.serve")

local cli = {}

local EPILOG = [[
Settings come from: flag > environment (SLUICE_PORT, SLUICE_LOG_LEVEL, ...) > default.
The app is a Lua file that ends with 'return app'; see README.md.]]

local function add_run(parser)
  local run = parser:command("run", "Serve an app until SIGTERM or SIGINT.")
  run:argument("app", "the app's file"):argname("<app.lua>")
  for _, row in ipairs(config.SETTINGS) do
    local name, default, argname, help = row[1], row[3], row[4], row[5]
    if default ~= nil then help = ("%s (default: %s)"):format(help, tostring(default)) end
    run:option("--" .. name:gsub("_", "-"), help):target(name):argname(argname)
  end
  run:option("--handler-budget", "accepted, used by a later version"):argname("<s>")
  run:flag("--no-watch", "do not watch the app's files (this version never does)")
    :target("no_watch")
  run:flag("--watch", "comes in a later version")
end

local function make_parser()
  local parser = argparse("sluice", "A Server-Sent-Events server for Lua."):epilog(EPILOG)
  parser:command_target("command")
  parser:require_command(false)
  parser:flag("--version -v", "Print the version.")
  add_run(parser)
  parser:command("version", "Print the version.")
  parser:add_help_command()
  return parser
end

local function usage(parser, message, err)
  err:write(parser:get_usage(), "\n\nError: ", message, "\nTry: sluice help\n")
  return 2
end

local function run(parser, given, err)
  if given.watch then
    return usage(parser, "--watch: reloading comes in a later version of Sluice", err)
  end
  local budget = given.handler_budget
  if budget and not (tonumber(budget) and tonumber(budget) >= 0) then
    return usage(parser,
      ("--handler-budget: a number of seconds is expected, not '%s'"):format(budget), err)
  end
  local flags = {}
  for _, row in ipairs(config.SETTINGS) do flags[row[1]] = given[row[1]] end
  local settings, message = config.resolve(flags, { signals = true })
  if not settings then return usage(parser, message, err) end
  local ok, why, code, problem = serve.run(given.app, settings)
  if ok then return 0 end
  err:write("sluice: ", tostring(why), code and code ~= "ELOAD" and " (" .. code .. ")" or "", "\n")
  if problem and problem.traceback then err:write(problem.traceback, "\n") end
  return 1
end

--- Run the command.
-- @tparam {string,...} args
-- @tparam[opt=io.stdout] file out
-- @tparam[opt=io.stderr] file err
-- @treturn integer exit code
function cli.main(args, out, err)
  out, err = out or io.stdout, err or io.stderr
  local parser = make_parser()
  local ok, given = parser:pparse(table.move(args, 1, #args, 1, {}))
  if not ok then return usage(parser, given, err) end
  if given.version or given.command == "version" then
    out:write("sluice ", core.version, "\n")
    return 0
  end
  if given.command == "run" then return run(parser, given, err) end
  return usage(parser, "a command is missing: sluice run app.lua", err)
end

return cli
