--- `sluice store verify | stats | export | import | backup`: what is done to a data folder as a
-- whole, beside its server or without one. Keeps nothing in memory.
local core = require("sluice.core")
local help = require("sluice.command.help")
local json = require("sluice.json")

local store = { name = "store" }

local FAILED, LOCKED, INTERRUPTED = 1, 75, 130
local STDERR = 2 -- its descriptor
local FOLDER = "sluice-data"

local HELP = "Look after a data folder. All but import work beside a running server."
local STOPPED = { INTERRUPTED, "interrupted: nothing was changed" }
local COMMANDS = {
  { "verify", "Read and check everything.", json = true, example = "--data sluice-data",
    codes = { { 0, "nothing is wrong" }, { FAILED, "something is, or cannot be read" }, STOPPED } },
  { "stats", "What it holds.", json = true, example = "--json",
    codes = { { 0, "printed" }, { FAILED, "there is no store, or it cannot be read" } } },
  { "export", "Write all of it as text.", file = "where to, - for standard output", force = true,
    example = "store.txt",
    codes = { { 0, "written" }, { FAILED, "something failed, or was damaged: all else is written" },
      STOPPED } },
  { "import", "Make a store of such a text, in a folder that has none.",
    file = "what export wrote, - for standard input", renew = true,
    example = "store.txt --data new-data",
    codes = { { 0, "made" }, { FAILED, "something failed" },
      { LOCKED, "another process has the folder" }, STOPPED } },
  { "backup", "Copy it as it is now; the server goes on.", file = "where to", force = true,
    example = "monday.db", codes = { { 0, "copied" }, { FAILED, "something failed" }, STOPPED } },
}

--- Add the command to the parser.
-- @param parser of argparse
function store.add(parser)
  local all = parser:command("store", HELP)
  all:command_target("action")
  for _, row in ipairs(COMMANDS) do
    local command = all:command(row[1], row[2])
    if row.file then command:argument("file", row.file):argname("<file>") end
    command:option("--data", "the data folder (default: SLUICE_DATA, or sluice-data here)")
      :argname("<folder>")
    if row.json then command:flag("--json", "print JSON") end
    if row.force then command:flag("--force", "overwrite the file when it is there") end
    if row.renew then
      command:flag("--new-epoch", "number anew: each client gets a reset, once"):target("renew")
    end
    if row[1] ~= "stats" then
      command:flag("--progress", "report progress on stderr (on a terminal: always)")
    end
    help.add(command, { ("sluice store %s %s"):format(row[1], row.example) }, row.codes)
  end
  help.add(all, { "sluice store verify" }, { { 0, "done" }, { FAILED, "it failed" } })
end

-- ---- Words -------------------------------------------------------------------------------

local function size(bytes)
  if bytes < 1024 then return ("%d bytes"):format(bytes) end
  local units, n = { "KiB", "MiB", "GiB", "TiB" }, 0
  repeat bytes, n = bytes / 1024, n + 1 until bytes < 1024 or n == #units
  return ("%.1f %s"):format(bytes, units[n])
end

local function time(at)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(at))
end

local function plural(n, one, many)
  return ("%d %s"):format(n, n == 1 and one or many or one .. "s")
end

-- Names of key-value stores may hold any byte.
local function shown(name)
  return (name:gsub("[%c\127]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

-- A function for the core that shows how far a work is, and one that ends the line.
local function meter(given, what, err)
  local on_terminal = err == io.stderr and core.is_terminal(STDERR)
  if not (on_terminal or given.progress) then return nil, function() end end
  local last = -1
  return function(done, total)
    local percent = math.min(100, done * 100 // total)
    if on_terminal then
      err:write(("\r%s: %d %%\27[K"):format(what, percent))
    elseif percent // 10 > last then
      last = percent // 10
      err:write(("%s: %d %%\n"):format(what, percent))
    end
  end, function()
    if on_terminal then err:write("\r\27[K") end
  end
end

local function fail(given, message, code, err)
  if code == "ENOTFOUND" then
    message = ("there is no store in the folder '%s': name its folder with --data")
      :format(given.data)
  elseif code == "ECLOSED" then
    message = ("%s was interrupted: nothing was changed"):format(given.action)
  end
  err:write("sluice: ", message, "\n")
  return code == "ELOCKED" and LOCKED or code == "ECLOSED" and INTERRUPTED or FAILED
end

local function to_json(value, out)
  out:write(assert(json.encode(value)), "\n")
end

-- ---- Actions -----------------------------------------------------------------------------

local actions = {}

-- Numbers become the ids that clients have.
local function with_ids(verdict)
  for _, finding in ipairs(verdict.findings) do
    if finding.number then finding.id = ("%s-%d"):format(verdict.epoch, finding.number) end
    finding.number = nil
  end
  verdict.ok = verdict.damaged + verdict.missing + verdict.stale == 0
  json.array(verdict.findings)
end

local function print_verdict(given, verdict, out)
  if verdict.lost > 0 then
    out:write(("%s: %s in place of events that were lost before: their readers get a reset\n")
      :format(given.data, plural(verdict.lost, "row")))
  end
  if verdict.ok then
    out:write(("%s: nothing is wrong in %s\n"):format(given.data, plural(verdict.rows, "row")))
    return
  end
  out:write(("%s: %d damaged, %d missing, %d stale in %s\n"):format(given.data, verdict.damaged,
    verdict.missing, verdict.stale, plural(verdict.rows, "row")))
  for _, f in ipairs(verdict.findings) do
    out:write(("  %s%s%s: %s (%s)\n"):format(f.fault, f.channel and " " .. shown(f.channel) or "",
      f.id and " " .. f.id or "", f.what, f.lost))
  end
  if verdict.more > 0 then out:write(("  and %d more\n"):format(verdict.more)) end
end

function actions.verify(given, out, err)
  local progress, done = meter(given, "verify", err)
  local verdict, message, code = core.store.verify(given.data, progress)
  done()
  if not verdict then return fail(given, message, code, err) end
  with_ids(verdict)
  if given.json then to_json(verdict, out) else print_verdict(given, verdict, out) end
  return verdict.ok and 0 or FAILED
end

local function state_of(f)
  if f.pid then return ("in use by process %d"):format(f.pid) end
  return f.clean and "closed" or "not closed: its last server was killed, or the machine went down"
end

local function print_stats(given, f, out)
  local former = f.former > 0 and (" (and %d that were durable)"):format(f.former) or ""
  local span = f.newest_at and (", %s to %s"):format(time(f.oldest_at), time(f.newest_at)) or ""
  local due = f.due_at and ", next at " .. time(f.due_at) or ""
  for _, row in ipairs({
    { "store", ("%s, schema %d"):format(given.data, f.schema) },
    { "state", state_of(f) },
    { "epoch", ("%s, last number %d"):format(f.epoch, f.head) },
    { "channels", ("%s, %s, %s, %s%s"):format(plural(f.logs, "log"), plural(f.states, "state"),
      plural(f.keyed, "keyed log"), plural(f.patterns, "pattern"), former) },
    { "events", ("%d, %s%s"):format(f.events, size(f.event_bytes), span) },
    { "newest", ("%s, %s"):format(plural(f.newest, "value"), size(f.newest_bytes)) },
    { "keys", ("%d for idempotency"):format(f.keys) },
    { "pairs", ("%d, %s"):format(f.pairs, size(f.pair_bytes)) },
    { "tasks", ("%d%s"):format(f.tasks, due) },
    { "files", ("%s, and %s of log"):format(size(f.file_bytes), size(f.log_bytes)) },
  }) do out:write(("%-10s%s\n"):format(row[1], row[2])) end
end

function actions.stats(given, out, err)
  local figures, message, code = core.store.figures(given.data)
  if not figures then return fail(given, message, code, err) end
  if given.json then to_json(figures, out) else print_stats(given, figures, out) end
  return 0
end

-- An export is whole without what is damaged, and says so.
local function tell_damage(given, damaged, is_incomplete, err)
  if damaged > 0 then
    err:write(("sluice: %s damaged in %s: events that are become lost ones in the export, whose "
      .. "readers get a reset; all else that is has been left out. 'sluice store verify' lists "
      .. "it\n")
      :format(plural(damaged, "row is", "rows are"), given.data))
  end
  if is_incomplete then
    err:write(("sluice: rows may be missing in %s that nothing tells of: 'sluice store verify' "
      .. "says why. Readers of all durable channels of the export get a reset; values, pairs, "
      .. "tasks and keys may have gone: restore a backup if there is one\n"):format(given.data))
  end
  return (damaged > 0 or is_incomplete) and FAILED or 0
end

-- Backup and export: the folder, a file, whether it is replaced.
local function copy(what, word)
  return function(given, out, err)
    local path = given.file
    if path == "-" then path = nil end
    local progress, done = meter(given, what, err)
    local ok, message, code = core.store[what](given.data, path, given.force or given.renew,
      progress)
    done()
    if not ok then return fail(given, message, code, err) end
    if path then out:write(("%s: %s %s\n"):format(given.data, word, path)) end
    return ok == true and 0 or tell_damage(given, ok, message, err)
  end
end

actions.export = copy("export", "written to")
actions.import = copy("import", "made from")
actions.backup = copy("backup", "copied to")

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function store.run(given, usage, out, err)
  if given.action == "backup" and given.file == "-" then
    return usage("backup writes a file that can be read in any order: not to standard output")
  end
  local variable = os.getenv("SLUICE_DATA")
  given.data = given.data or variable ~= "" and variable or FOLDER
  if given.data == "" then return usage("--data: a folder is expected") end
  return actions[given.action](given, out, err)
end

return store
