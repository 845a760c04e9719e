--- `sluice check app.lua`: load and check without serving; print what the app registers, what
-- looks wrong, and the difference to a running server. Keeps nothing in memory.
local difference = require("sluice.live.difference")
local help = require("sluice.command.help")
local json = require("sluice.json")
local loading = require("sluice.command.loading")
local losses = require("sluice.live.losses")
local remote = require("sluice.command.remote")
local several = require("sluice.live.several")
local warnings = require("sluice.live.warnings")

local check = { name = "check" }

local SECTIONS = { { "routes", "^get:", "^post:", "^put:", "^patch:", "^delete:", "^static:",
    "^guard:", "^cors:" },
  { "streams", "^stream[: ]" }, { "durable streams", "^durable_stream:" },
  { "channels", "^channel:" }, { "timers", "^every:" }, { "tasks", "^task:" },
  { "services", "^service:" }, { "hooks", "^on:", "^transform:" }, { "states", "^state " },
  { "stores", "^store:" }, { "limits", "^limits$" }, { "event types", "^event_type:" } }

local function options_of(row)
  local names, out = {}, {}
  for name in pairs(row) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = name == "" and row[name] or name .. "=" .. row[name] end
  return table.concat(out, " ")
end

local function show(key, row, is_route)
  local kind, rest = key:match("^(%l+_?%l*)[: ]?(.*)$")
  if kind == "stream" then rest = rest:gsub("^(%u+):", "%1 ") end -- of another method than GET
  local head = is_route and ("%-7s %s"):format(kind:upper(), rest) or rest
  local more = options_of(row)
  return "  " .. head .. (head ~= "" and more ~= "" and "  " or "") .. more
end

local function section(description, row)
  local lines = {}
  for key, options in pairs(description) do
    for i = 2, #row do
      if key:find(row[i]) then lines[#lines + 1] = show(key, options, row[1] == "routes") end
    end
  end
  table.sort(lines)
  return lines
end

local function print_description(out, description)
  for _, row in ipairs(SECTIONS) do
    local lines = section(description, row)
    if lines[1] then out:write(row[1], "\n", table.concat(lines, "\n"), "\n") end
  end
end

-- What the server has stored, and this app would delete: lines.
local function losses_of(given, policies)
  local lines, live = {}, remote.ask(given, "GET", "/-/reload?stored=1")
  if not live or not live.stored then return lines end
  lines[1] = losses.text(losses.among(live.stored, policies), 0, false)
  if live.stored_left_out > 0 then
    lines[#lines + 1] = ("%d stored channels more were not compared: sluice reload --dry-run looks "
      .. "at all"):format(live.stored_left_out)
  end
  return lines
end

-- The difference to a running server, or nil and why there is none.
local function compare(given, loaded)
  local live, message = remote.ask(given, "GET", "/-/reload")
  if not live then return nil, message end
  local text = difference.between(live.registered or {}, loaded.description)
  local is_about_channels = text:find("channel:", 1, true)
  return { generation = live.generation, difference = text,
    losses = json.array(is_about_channels and losses_of(given, loaded.policies) or {}) }
end

local function print_cluster(out, list)
  if not list then return end
  out:write("on several nodes\n")
  for _, row in ipairs(list) do
    out:write(("  %s: %s: %s\n"):format(row.where, row.what, row.why))
  end
  if not list[1] then out:write("  nothing is otherwise\n") end
end

local function print_found(out, found)
  print_description(out, found.registered)
  if found.warnings[1] then
    out:write("warnings\n  ", table.concat(found.warnings, "\n  "), "\n")
  end
  print_cluster(out, found.cluster)
  local server = found.server
  if not server then return end
  out:write("difference to generation ", tostring(server.generation), "\n  ",
    server.difference ~= "" and server.difference or "none in what is registered", "\n")
  for _, line in ipairs(server.losses) do out:write("  ", line, "\n") end
end

-- The app does not load.
local function refuse(given, problem, out, err)
  if given.json then
    out:write(json.encode({ ok = false, phase = problem.phase, message = problem.message,
      traceback = problem.traceback }), "\n")
    return 1
  end
  err:write("sluice: ", problem.message, "\n")
  if problem.traceback then err:write(problem.traceback, "\n") end
  return 1
end

--- Add the command to the parser.
-- @param parser of argparse
function check.add(parser)
  local command = parser:command("check", "Load an app without serving it, and say what it holds, "
    .. "what looks wrong, and, with --port or --socket, how it differs from a running server.")
  command:argument("app", "the app's file"):argname("<app.lua>")
  command:flag("--json", "print JSON")
  command:flag("--cluster", "name what would be otherwise on several nodes, and what to do")
  remote.add(command)
  help.add(command, { "sluice check app.lua", "sluice check app.lua --port 5121",
    "sluice check --cluster app.lua" },
    { { 0, "it loads, also with warnings" }, { 1, "it does not, or needs --cluster-durable, or the "
      .. "server that was named does not answer" } })
end

--- Run the command.
-- @tparam table given from the command line: app, json, cluster, port, socket
-- @treturn integer exit code
function check.run(given, _, out, err)
  local loaded, problem = loading.load(given.app)
  if not loaded then return refuse(given, problem, out, err) end
  local found = { ok = true, registered = loaded.description,
    warnings = json.array(warnings.of(loaded)) }
  local message
  local can_start = not given.cluster or several.can_start(loaded)
  if given.cluster then found.cluster = json.array(several.of(loaded)) end
  if given.port or given.socket then found.server, message = compare(given, loaded) end
  if given.json then
    found.message = message
    out:write(json.encode(found), "\n")
  else
    print_found(out, found)
    if message then err:write("sluice: ", message, "\n") end
  end
  return (message or not can_start) and 1 or 0
end

return check
