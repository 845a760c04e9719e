--- `sluice routes`: what an app serves, from its file without serving it, or from a running server.
--- Keeps nothing in memory.
local help = require("sluice.command.help")
local json = require("sluice.json")
local loading = require("sluice.command.loading")
local remote = require("sluice.command.remote")
local route_list = require("sluice.requests.route_list")
local terminal = require("sluice.command.terminal")

local routes = { name = "routes" }

--- Add the command to the parser.
-- @param parser of argparse
function routes.add(parser)
  local command = parser:command("routes", "List what is served, in the order in which it is "
    .. "tried: method, path, who answers, guards, and the line that says so.")
  command:argument("app", "an app's file, which is not served; without it a running server is "
    .. "asked"):argname("<app.lua>"):args("?")
  command:flag("--json", "print JSON")
  remote.add(command)
  help.add(command, { "sluice routes app.lua", "sluice routes --port 5121 --json" },
    { { 0, "printed" }, { 1, "the app does not load, or no server answers" } })
end

-- ---- As text -----------------------------------------------------------------------------

local PLANS = { constant = "constant plan", table = "plan", ["function"] = "plan by a function" }
local KINDS = { durable_stream = "durable stream" }

local function answered_by(row)
  local text = KINDS[row.kind] or row.kind
  if row.plan then text = ("%s, %s"):format(text, PLANS[row.plan]) end
  if row.channels then text = ("%s: %s"):format(text, table.concat(row.channels, ", ")) end
  return row.folder and ("files of %s"):format(row.folder) or text
end

local function guards_text(row)
  local list = {}
  for i, guard in ipairs(row.guards) do
    list[i] = guard.where .. (guard.pattern and (" (for %s)"):format(guard.pattern) or "")
  end
  return list[1] and "guards " .. table.concat(list, ", ") or "no guard"
end

-- Columns as wide as what stands in them.
local function print_list(list, out)
  local paint, rows, widths = terminal.painter(out), {}, { 0, 0, 0, 0 }
  for i, row in ipairs(list) do
    rows[i] = { row.method, row.path, answered_by(row), guards_text(row), row.where or "" }
    for n = 1, #widths do
      rows[i][n] = terminal.safe(rows[i][n])
      widths[n] = math.max(widths[n], utf8.len(rows[i][n]))
    end
  end
  for _, row in ipairs(rows) do
    for n = 1, #widths do
      local pad = (" "):rep(widths[n] - utf8.len(row[n]) + 2)
      out:write(n == 2 and paint("bold", row[n]) or row[n], pad)
    end
    out:write(paint("dim", terminal.safe(row[5])), "\n")
  end
end

-- ---- From where ----------------------------------------------------------------------------

local function of_file(given)
  local loaded, problem = loading.load(given.app)
  if not loaded then
    return nil, problem.traceback and problem.message .. "\n" .. problem.traceback
      or problem.message
  end
  return { routes = route_list.of(loaded) }
end

local SHAPE = { routes = { { method = "string", path = "string", kind = "string",
  ["plan?"] = "string", ["channels?"] = { "string" }, ["folder?"] = "string",
  ["where?"] = "string", guards = { { where = "string", ["pattern?"] = "string" } } } } }

local function of_server(given)
  local found, message = remote.ask(given, "GET", "/-/routes", nil, SHAPE)
  if not found then return nil, message end
  if found.error then return nil, found.error.message end
  return found
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function routes.run(given, usage, out, err)
  if given.app and (given.port or given.socket) then
    return usage("an app's file or a running server, not both")
  end
  local found, message = (given.app and of_file or of_server)(given)
  if not found then
    err:write("sluice: ", message, "\n")
    return 1
  end
  if given.json then
    out:write(json.encode(found), "\n")
  else
    print_list(found.routes, out)
  end
  return 0
end

return routes
