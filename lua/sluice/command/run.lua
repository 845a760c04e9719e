--- `sluice run`: serves an app until it is told to stop. Keeps nothing in memory.
local budget = require("sluice.base.budget")
local config = require("sluice.live.config")
local core = require("sluice.core")
local help = require("sluice.command.help")
local places = require("sluice.command.places")
local second = require("sluice.command.second")
local serve = require("sluice.live.serve")

local run = { name = "run" }

local LOCKED = 75 -- try again later: EX_TEMPFAIL

local SETTINGS = "Settings come from: flag > environment (SLUICE_PORT, SLUICE_LOG_LEVEL, ...) > "
  .. "default.\nThe app is a Lua file that ends with 'return app'; see README.md."

--- The exit codes of a server.
run.CODES = { { 0, "stopped as asked" },
  { 1, "the script is broken or stuck, the port is taken, or the store cannot be opened" },
  { LOCKED, "another process has the data folder" } }

--- Add the command to the parser.
-- @param parser of argparse
function run.add(parser)
  local command = parser:command("run", "Serve an app until SIGTERM or SIGINT.")
  command:argument("app", "the app's file"):argname("<app.lua>")
  for _, row in ipairs(config.SETTINGS) do
    local name, default, argname, text = row[1], row[3], row[4], row[5]
    if default ~= nil then text = ("%s (default: %s)"):format(text, tostring(default)) end
    if argname then
      command:option("--" .. name:gsub("_", "-"), text):target(name):argname(argname)
    else
      command:flag("--" .. name, text):target(name)
    end
  end
  command:flag("--no-watch", "do not reload when one of the app's files changes")
    :target("no_watch")
  help.add(command, { "sluice run app.lua", "SLUICE_PORT=8080 sluice run app.lua --host 0.0.0.0" },
    run.CODES, SETTINGS)
end

local function report(message, code, problem, err)
  local priority = core.reads_log() and "<3>" or "" -- of an error, for the journal
  err:write(priority, "sluice: ", tostring(message),
    code and code ~= "ELOAD" and " (" .. code .. ")" or "", "\n")
  if problem and problem.traceback then err:write(problem.traceback, "\n") end
  return code == "ELOCKED" and LOCKED or 1
end

-- How to get the link where it is not shown.
local function ask_for_link(url)
  return ("%s console --port %s"):format(places.command(), url:match(":(%d+)$"))
end

-- What is printed once it listens. The link has the admin key in it, which is for no file.
local function show_link(given, settings, out)
  local shows = core.is_terminal(1)
  if not (given.guide or shows) then return end
  function settings.ready(url, link)
    if given.guide then out:write(given.guide(url)) end
    if link then out:write("console: ", shows and link or ask_for_link(url), "\n") end
    out:flush()
  end
end

--- Run it.
-- @tparam table given what the parser found; `second`: with a second server for visitors to break;
--   `guide`: makes of the server's URL what is printed once it listens
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function run.run(given, usage, out, err)
  local flags = {}
  for _, row in ipairs(config.SETTINGS) do flags[row[1]] = given[row[1]] end
  local settings, message = config.resolve(flags, { signals = true, watch = not given.no_watch })
  if not settings then return usage(message) end
  show_link(given, settings, out)
  local finish
  if given.second then
    finish, settings.port = second.start(given.app, settings.host, settings.port)
  end
  local ok, why, code, problem = serve.run(given.app, settings)
  if finish then finish() end
  budget.last()
  if ok then return why or 0 end
  return report(why, code, problem, err)
end

return run
