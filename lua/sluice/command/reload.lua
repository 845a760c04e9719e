--- `sluice reload`: has a running server load its app again. Keeps nothing in memory.
local difference = require("sluice.live.difference")
local help = require("sluice.command.help")
local json = require("sluice.json")
local remote = require("sluice.command.remote")

local reload = { name = "reload" }

--- Add the command to the parser.
-- @param parser of argparse
function reload.add(parser)
  local command = parser:command("reload", "Have a running server load its app again.")
  command:flag("--dry-run", "only say what would change"):target("dry_run")
  command:flag("--rollback", "go back to the revision before"):target("rollback")
  command:flag("--json", "print the outcome as JSON")
  remote.add(command)
  help.add(command, { "sluice reload --dry-run", "sluice reload --port 8080" },
    { { 0, "the new code serves" },
      { 1, "it does not, the TLS certificates were refused, or no server answers" } })
end

-- What an outcome has, as far as it is printed.
local function shape_of(outcome)
  if not outcome.ok then return { ok = "boolean", kind = "string", message = "string" } end
  return { ok = "boolean", kind = "string", generation = "number", seconds = "number",
    difference = "string", files = { "string" }, notes = { "string" },
    ["certificates?"] = { ok = "boolean", message = "string" } }
end

local function print_failure(outcome, err)
  local answer = outcome.error
  if answer then
    err:write("sluice: ", tostring(answer.message), "\n")
  elseif outcome.waits then
    err:write(("sluice: %s (%s); until then generation %s serves\n"):format(outcome.message,
      outcome.code, tostring(outcome.generation)))
  else
    err:write(("sluice: %s failed in %s: %s; generation %s keeps serving\n"):format(
      tostring(outcome.kind), tostring(outcome.phase), tostring(outcome.message),
      tostring(outcome.generation)))
    if outcome.traceback then err:write(outcome.traceback, "\n") end
  end
end

local function certificates_fit(outcome)
  return not outcome.certificates or outcome.certificates.ok
end

local function print_success(given, outcome, out, err)
  local head = given.dry_run and "dry run"
    or ("%s #%.0f in %.1f ms"):format(outcome.kind, outcome.generation, outcome.seconds * 1000)
  out:write(head, ": ", difference.summary(outcome.difference, outcome.files,
    outcome.certificates), "\n")
  for _, note in ipairs(outcome.notes) do out:write("  ", note, "\n") end
  if not certificates_fit(outcome) then
    err:write("sluice: ", outcome.certificates.message, "\n")
  end
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function reload.run(given, usage, out, err)
  if given.dry_run and given.rollback then
    return usage("--dry-run and --rollback exclude each other")
  end
  local query = given.dry_run and "?dry_run=1" or given.rollback and "?rollback=1" or ""
  local outcome, message = remote.ask(given, "POST", "/-/reload" .. query, nil, shape_of)
  if not outcome then
    err:write("sluice: ", message, "\n")
    return 1
  end
  if given.json then
    out:write(json.encode(outcome), "\n")
  elseif outcome.ok then
    print_success(given, outcome, out, err)
  else
    print_failure(outcome, err)
  end
  return outcome.ok and certificates_fit(outcome) and 0 or 1
end

return reload
