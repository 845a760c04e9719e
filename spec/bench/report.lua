--- The table at the end.
local report = {}

local function figure(row, s)
  if not s then return "-" end
  local unit = row.unit or "x"
  local text = s.median >= 100 and "%.0f" or s.median >= 10 and "%.1f" or "%.3f"
  if unit == "faults" then text = "%.0f" end
  local shown = text:format(s.median) .. " " .. unit
  if s.count > 1 then shown = ("%s [%s, %s]"):format(shown, text:format(s.low), text:format(s.high)) end
  return shown
end

local function bars(row)
  if row.target then return row.target end
  local sign = row.more and ">=" or "<="
  local aim = row.aim and (" (aim %g)"):format(row.aim) or ""
  return ("%s %g%s"):format(sign, row.bar, aim)
end

local function pad(text, width)
  local _, continuation = text:gsub("[\128-\191]", "")
  return text .. (" "):rep(width - #text + continuation)
end

local function lines_of(rows)
  local lines = { { "row", "what", "target", "measured", "control", "nchan", "others", "verdict" } }
  for _, row in ipairs(rows) do
    if row.failed then
      lines[#lines + 1] = { row.row, row.failed, "", "", "", "", "", "FAILED" }
    else
      lines[#lines + 1] = { row.row, row.what, bars(row), figure(row, row.measured), figure(row, row.control),
        figure(row, row.nchan), ("%.2f"):format(row.foreign), row.verdict .. (row.grade == "aim" and " (aim)" or "") }
    end
  end
  return lines
end

--- One row in a line of its own, as soon as it is known.
function report.line(row)
  if row.failed then return ("%s FAILED: %s\n"):format(row.row, row.failed) end
  return ("%s %s: %s (%s), control %s, nchan %s, others %.2f: %s\n"):format(row.row, row.what,
    figure(row, row.measured), bars(row), figure(row, row.control), figure(row, row.nchan), row.foreign, row.verdict)
end

--- Print the rows, what limits them, and the count of faults. "others" is how many
--- processors other processes kept busy meanwhile: above 0.1, no latency can be trusted.
-- @tparam table rows
-- @tparam table faults by kind of server
-- @tparam function write
function report.write(rows, faults, write)
  local lines, widths = lines_of(rows), {}
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do
      if not (line[8] == "FAILED" and i == 2) then widths[i] = math.max(widths[i] or 0, #cell) end
    end
  end
  for _, line in ipairs(lines) do
    local cells = {}
    for i, cell in ipairs(line) do cells[i] = pad(cell, math.max(widths[i] or 0, #cell)) end
    write((table.concat(cells, "  "):gsub("%s+$", "")), "\n")
  end
  write("\nbehind the figures\n")
  for _, row in ipairs(rows) do
    if row.note then write(("  %-6s %s: %s\n"):format(row.row, row.what, row.note)) end
  end
  write("\n")
  for _, kind in ipairs { "raw", "sluice", "nchan" } do
    local f = faults[kind]
    if f.deliveries > 0 then
      write(("%-7s lost %d, repeated %d, disordered %d; resets %d, closed %d (%d events parsed)\n"):format(kind, f.lost,
        f.repeated, f.disordered, f.resets, f.closed, f.deliveries))
    end
  end
end

return report
