--- `sluice demo`: serves the showcase, from a checkout as from an installation. Keeps nothing in
--- memory.
local core = require("sluice.core")
local help = require("sluice.command.help")
local places = require("sluice.command.places")
local run = require("sluice.command.run")

local demo = { name = "demo" }

local APP = "examples/showcase/app.lua"

-- What to do next, by lines that may be copied.
local GUIDE = [[

The showcase is at %s/ until Ctrl-C. In another terminal:

  curl -N '%s/api/showcase?match=7&device=boiler'    # what the page is sent
  curl -H 'X-API-Key: your-api-key' --json '{"message":"Hello"}' %s/api/sse/notification

Change a limit in %s and save: the page follows.
An app of your own, when you have seen it (Ctrl-C):

  %s new %s

]]

--- Add the command to the parser.
-- @param parser of argparse
function demo.add(parser)
  local command = parser:command("demo", "Serve the showcase: eight live pages that move by "
    .. "themselves, a chat, and a rule that you may change. Open http://127.0.0.1:5121/.")
  command:option("--host", "address to listen on, of this machine (default: 127.0.0.1)")
    :argname("<addr>")
  command:option("--port", "port to listen on, 0 for a free one (default: 5121)"):argname("<n>")
  command:flag("--no-watch", "do not reload when one of its files changes"):target("no_watch")
  help.add(command, { "sluice demo --port 8080" }, run.CODES)
end

local function guide(url)
  local rules = places.find("examples/showcase/rules.lua")
  local command = places.command()
  local is_checkout = core.real_path(places.FOLDER .. "../../build/bin/sluice") ~= nil
  return GUIDE:format(url, url, url, rules, command, is_checkout and "../board" or "board")
end

-- What `sluice run` would be given: the app's path, its own place for data, demo mode.
local function as_run(given)
  local path = places.find(APP)
  if path then
    return { app = path, host = given.host, port = given.port, no_watch = given.no_watch,
      demo = true, second = true, guide = guide, data = path:gsub("app%.lua$", "sluice-data") }
  end
  return nil, ("the showcase is not installed: there is no %s%s"):format(places.FOLDER, APP)
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function demo.run(given, usage, out, err)
  local found, why = as_run(given)
  if found then return run.run(found, usage, out, err) end
  err:write("sluice: ", why, "\n")
  return 1
end

return demo
