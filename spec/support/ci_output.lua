--- busted output: one line per file, each failure in full, `skipped: what (why)`, then
--- `N passed, N failed[, N skipped]`. Under spec/run.lua the counts go to the file in
--- $SLUICE_SPEC_COUNTS instead, to be summed; with each file's seconds, processor seconds and failures.

local function indent(text)
  return (text:gsub("\n", "\n    "))
end

local function message_of(result)
  local m = result.message
  if m == nil then return "" end
  return type(m) == "string" and m or require("pl.pretty").write(m)
end

local function show(kind, result)
  local trace = result.element and result.element.trace or result.trace or {}
  local place = (trace.short_src or "?") .. ":" .. (trace.currentline or 0)
  local message = message_of(result)
  io.write("  ", kind, " ", place, " ", result.name or "", "\n")
  if message ~= "" then io.write("    ", indent(message), "\n") end
  local where = result.trace and result.trace.traceback
  if result.isError and where then io.write("    ", indent(where), "\n") end
end

local function write_counts(path, passed, failed, skipped, files)
  local file <close> = assert(io.open(path, "w"))
  file:write(string.format("%d %d %d\n", passed, failed, skipped))
  for _, row in ipairs(files) do
    file:write(string.format("%.2f %.2f %d %s\n", row.seconds, row.cpu, row.failed, row.name))
  end
end

-- Processor seconds of this process and of the programs it has waited for, or spawned (spec.support.process).
local STAT = "%) %u" .. (" %-?%d+"):rep(10) .. " (%d+) (%d+) (%d+) (%d+)"
local function cpu_seconds()
  local file <close> = io.open("/proc/self/stat")
  if not file then return 0 end
  local user, system, below_user, below_system = file:read("a"):match(STAT)
  return (user + system + below_user + below_system) / 100 + (debug.getregistry()["sluice.spec.cpu"] or 0)
end

return function()
  local busted = require("busted")
  local handler = require("busted.outputHandlers.base")()
  local shown = { failures = 0, errors = 0, successes = 0 }
  local started, cpu
  local files = {}
  local threads = os.getenv("SLUICE_IO_THREADS")
  local mark = threads and threads ~= "1" and "  I/O threads: " .. threads or ""

  if os.getenv("SLUICE_SPEC_WAITS") == "1" then mark = mark .. "  publishes wait" end
  if os.getenv("SLUICE_SPEC_TLS") == "1" then mark = mark .. "  over TLS" end

  local function show_new(kind, list)
    for i = shown[list] + 1, #handler[list] do show(kind, handler[list][i]) end
    shown[list] = #handler[list]
  end

  function handler.fileStart()
    started, cpu = require("socket").gettime(), cpu_seconds()
    return nil, true
  end

  function handler.fileEnd(file)
    local passed = handler.successesCount - shown.successes
    local seconds = require("socket").gettime() - started
    shown.successes = handler.successesCount
    local failed = #handler.failures - shown.failures + #handler.errors - shown.errors
    files[#files + 1] = { name = file.name or "?", seconds = seconds, cpu = cpu_seconds() - cpu, failed = failed }
    io.write(string.format("%-52s %4d ok %7.2f s%s\n", file.name or "?", passed, seconds, mark))
    show_new("FAIL", "failures")
    show_new("ERROR", "errors")
    io.flush()
    return nil, true
  end

  function handler.suiteEnd()
    show_new("FAIL", "failures")
    show_new("ERROR", "errors")
    for _, pending in ipairs(handler.pendings) do
      local why = message_of(pending):gsub("^[^\n ]*:%d+: ", "")
      io.write("skipped: ", pending.name or "?", why ~= "" and " (" .. why .. ")" or "", "\n")
    end
    local passed, skipped = handler.successesCount, handler.pendingsCount
    local failed = handler.failuresCount + handler.errorsCount
    local counts = os.getenv("SLUICE_SPEC_COUNTS")
    if counts then
      write_counts(counts, passed, failed, skipped, files)
    else
      local tail = skipped > 0 and string.format(", %d skipped", skipped) or ""
      io.write(string.format("%d passed, %d failed%s\n", passed, failed, tail))
    end
    io.flush()
    return nil, true
  end

  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "file", "end" }, handler.fileEnd)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
