--- `sluice check app.lua`: load and check without serving; print what the app registers, what
-- looks wrong, and the difference to a running server. Keeps nothing in memory.
local core = require("sluice.core")
local difference = require("sluice.live.difference")
local generation = require("sluice.live.generation")
local losses = require("sluice.live.losses")
local remote = require("sluice.command.remote")
local runtime = require("sluice.live.runtime")
local warnings = require("sluice.command.warnings")

local check = {}

local LOAD_SECONDS = 1 -- of computing; the default of sluice run

-- In place of a server: enough to prepare a generation.
local NO_SERVER = { on = function() end }

local SECTIONS = { { "routes", "^get:", "^post:", "^put:", "^patch:", "^delete:", "^static:",
    "^guard:", "^cors:" },
  { "streams", "^stream:" }, { "channels", "^channel:" }, { "timers", "^every:" },
  { "tasks", "^task:" }, { "services", "^service:" }, { "hooks", "^on:", "^transform:" },
  { "states", "^state " }, { "event types", "^event_type:" } }

local function options_of(row)
  local names, out = {}, {}
  for name in pairs(row) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = name == "" and row[name] or name .. "=" .. row[name] end
  return table.concat(out, " ")
end

local function show(key, row, is_route)
  local kind, rest = key:match("^(%l+_?%l*)[: ](.*)$")
  local head = is_route and ("%-7s %s"):format(kind:upper(), rest) or rest
  local more = options_of(row)
  return "  " .. head .. (more ~= "" and "  " .. more or "")
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

-- What the server has stored, and this app would delete.
local function say_losses(given, policies, out)
  local live = remote.ask(given, "GET", "/-/reload?stored=1")
  if not live or not live.stored then return end
  local text = losses.text(losses.among(live.stored, policies), 0, false)
  if text then out:write("  ", text, "\n") end
  if live.stored_left_out > 0 then
    out:write(("  %d stored channels more were not compared: sluice reload --dry-run looks at "
      .. "all\n"):format(live.stored_left_out))
  end
end

local function compare(given, loaded, out, err)
  local live, message = remote.ask(given, "GET", "/-/reload")
  if not live then
    err:write("sluice: ", message, "\n")
    return 1
  end
  local text = difference.between(live.registered or {}, loaded.description)
  out:write("difference to generation ", tostring(live.generation), "\n  ",
    text ~= "" and text or "none in what is registered", "\n")
  if text:find("channel:", 1, true) then say_losses(given, loaded.policies, out) end
  return 0
end

--- Run the command.
-- @tparam table given from the command line: app, port, socket
-- @treturn integer exit code
function check.run(given, out, err)
  core.budget_set(LOAD_SECONDS)
  local loaded, problem = generation.load(1, given.app)
  local prepared
  if loaded then prepared, problem = runtime.new(NO_SERVER):prepare(loaded) end
  if not prepared then
    err:write("sluice: ", problem.message, "\n")
    if problem.traceback then err:write(problem.traceback, "\n") end
    return 1
  end
  print_description(out, loaded.description)
  local list = warnings.of(loaded)
  if list[1] then out:write("warnings\n  ", table.concat(list, "\n  "), "\n") end
  if given.port or given.socket then return compare(given, loaded, out, err) end
  return 0
end

return check
