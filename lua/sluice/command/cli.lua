--- The command line: sluice run | demo | test | reload | check | store | record | replay | lab |
-- version | help, on argparse.
-- Exit codes: 0 fine, 1 cannot start or broken script, 2 usage, 75 another process has the
-- data folder. Keeps nothing in memory.
local need = require("sluice.base.need")
local argparse = need("argparse")
local budget = require("sluice.base.budget")
local check = require("sluice.command.check")
local config = require("sluice.live.config")
local core = require("sluice.core")
local demo = require("sluice.command.demo")
local difference = require("sluice.live.difference")
local lab = require("sluice.command.lab")
local record = require("sluice.command.record")
local remote = require("sluice.command.remote")
local replay = require("sluice.command.replay")
local second = require("sluice.command.second")
local serve = require("sluice.live.serve")
local store = require("sluice.command.store")
local test = require("sluice.test")

local cli = {}

local LOCKED = 75 -- try again later: EX_TEMPFAIL

local EPILOG = [[
Settings come from: flag > environment (SLUICE_PORT, SLUICE_LOG_LEVEL, ...) > default.
The app is a Lua file that ends with 'return app'; see README.md.]]

local function add_run(parser)
  local run = parser:command("run", "Serve an app until SIGTERM or SIGINT.")
  run:argument("app", "the app's file"):argname("<app.lua>")
  for _, row in ipairs(config.SETTINGS) do
    local name, default, argname, help = row[1], row[3], row[4], row[5]
    if default ~= nil then help = ("%s (default: %s)"):format(help, tostring(default)) end
    if argname then
      run:option("--" .. name:gsub("_", "-"), help):target(name):argname(argname)
    else
      run:flag("--" .. name, help):target(name)
    end
  end
  run:flag("--no-watch", "do not reload when one of the app's files changes"):target("no_watch")
end

-- Only for the help: what follows the word is for busted.
local function add_test(parser)
  local command = parser:command("test", "Run specs with busted: those named, or *_spec.lua here "
    .. "and in spec/. Options are busted's.")
  command:argument("file", "spec files and folders"):argname("<file>"):args("*")
end

local function add_place(command)
  command:option("--port", "port of the running server (default: 5121)"):argname("<n>")
  command:option("--socket", "its Unix socket, when --socket was given to it"):argname("<path>")
end

local function add_reload(parser)
  local command = parser:command("reload", "Have a running server load its app again.")
  command:flag("--dry-run", "only say what would change"):target("dry_run")
  command:flag("--rollback", "go back to the revision before"):target("rollback")
  add_place(command)
  command = parser:command("check", "Load an app without serving it, and say what it holds.")
  command:argument("app", "the app's file"):argname("<app.lua>")
  add_place(command)
end

local function make_parser()
  local parser = argparse("sluice", "A Server-Sent-Events server for Lua."):epilog(EPILOG)
  parser:command_target("command")
  parser:require_command(false)
  parser:flag("--version -v", "Print the version.")
  add_run(parser)
  demo.add(parser)
  add_test(parser)
  add_reload(parser)
  store.add(parser)
  record.add(parser)
  replay.add(parser)
  lab.add(parser)
  parser:command("version", "Print the version, and whether there is an io_uring here.")
  parser:add_help_command()
  return parser
end

local function usage(parser, message, err)
  err:write(parser:get_usage(), "\n\nError: ", message, "\nTry: sluice help\n")
  return 2
end

local function run(parser, given, err)
  local flags = {}
  for _, row in ipairs(config.SETTINGS) do flags[row[1]] = given[row[1]] end
  local settings, message = config.resolve(flags, { signals = true, watch = not given.no_watch })
  if not settings then return usage(parser, message, err) end
  local finish
  if given.second then
    finish, settings.port = second.start(given.app, settings.host, settings.port)
  end
  local ok, why, code, problem = serve.run(given.app, settings)
  if finish then finish() end
  budget.last()
  if ok then return why or 0 end
  err:write("sluice: ", tostring(why), code and code ~= "ELOAD" and " (" .. code .. ")" or "", "\n")
  if problem and problem.traceback then err:write(problem.traceback, "\n") end
  return code == "ELOCKED" and LOCKED or 1
end

local function print_failure(outcome, err)
  local answer = outcome.error
  if answer then
    err:write("sluice: ", tostring(answer.message), "\n")
    return 1
  end
  if outcome.waits then
    err:write(("sluice: %s (%s); until then generation %s serves\n"):format(outcome.message,
      outcome.code, tostring(outcome.generation)))
    return 1
  end
  err:write(("sluice: %s failed in %s: %s; generation %s keeps serving\n"):format(
    tostring(outcome.kind), tostring(outcome.phase), tostring(outcome.message),
    tostring(outcome.generation)))
  if outcome.traceback then err:write(outcome.traceback, "\n") end
  return 1
end

local function ask_reload(parser, given, out, err)
  if given.dry_run and given.rollback then
    return usage(parser, "--dry-run and --rollback exclude each other", err)
  end
  local query = given.dry_run and "?dry_run=1" or given.rollback and "?rollback=1" or ""
  local outcome, message = remote.ask(given, "POST", "/-/reload" .. query)
  if not outcome then
    err:write("sluice: ", message, "\n")
    return 1
  end
  if not outcome.ok then return print_failure(outcome, err) end
  local head = given.dry_run and "dry run"
    or ("%s #%d in %.1f ms"):format(outcome.kind, outcome.generation, outcome.seconds * 1000)
  out:write(head, ": ", difference.summary(outcome.difference, outcome.files), "\n")
  for _, note in ipairs(outcome.notes) do out:write("  ", note, "\n") end
  return 0
end

-- The version; as a command with what the machine has.
local function print_version(whole, out)
  out:write("sluice ", core.version, "\n")
  if whole then
    local there, why = core.io_uring()
    out:write("io_uring: ", there or "no: " .. why, "\n")
  end
  return 0
end

--- Run the command.
-- @tparam {string,...} args
-- @tparam[opt=io.stdout] file out
-- @tparam[opt=io.stderr] file err
-- @treturn integer exit code
function cli.main(args, out, err)
  out, err = out or io.stdout, err or io.stderr
  local parser = make_parser()
  if args[1] == "test" and args[2] ~= "-h" and args[2] ~= "--help" then
    return test.run(table.move(args, 2, #args, 1, {}), err)
  end
  local ok, given = parser:pparse(table.move(args, 1, #args, 1, {}))
  if not ok then
    local path = tostring(args[1]):find("%.lua$") and args[1]
    return usage(parser, path and ("write: sluice run %s"):format(path) or given, err)
  end
  if given.version or given.command == "version" then
    return print_version(given.command == "version", out)
  end
  if given.command == "run" or given.command == "demo" then
    core.default_interrupt()
    if given.command == "run" then return run(parser, given, err) end
    local as_run, why = demo.as_run(given)
    if as_run then return run(parser, as_run, err) end
    err:write("sluice: ", why, "\n")
    return 1
  end
  if given.command == "reload" then return ask_reload(parser, given, out, err) end
  if given.command == "check" then return check.run(given, out, err) end
  local run_it = ({ store = store.run, record = record.run, replay = replay.run, lab = lab.run })
    [given.command]
  if run_it then
    return run_it(given, function(message) return usage(parser, message, err) end, out, err)
  end
  return usage(parser, "a command is missing: sluice run app.lua", err)
end

return cli
