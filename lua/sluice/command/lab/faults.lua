--- What a bad network does: the options of `sluice lab`, as a person writes them, the profiles,
--- and both as numbers for the core. Keeps nothing in memory.
local faults = {}

local SECONDS, MS, BYTES, WORD, YES = "seconds", "ms", "bytes", "word", "yes"
local UNITS = {
  seconds = { what = "number of seconds", least = 0.001, most = 86400 },
  ms = { what = "whole number of milliseconds", least = 1, most = 60000 },
  bytes = { what = "whole number of bytes a second", least = 1, most = 1000000000000 },
}

--- Name on the command line, kind, help, name in the core; in the order of `sluice lab --help`.
faults.OPTIONS = {
  { "latency", MS, "each way, in milliseconds", "latency_ms" },
  { "jitter", MS, "up to so many more, drawn for each piece", "jitter_ms" },
  { "bandwidth", BYTES, "bytes a second, each way of each connection", "bandwidth" },
  { "byte-at-a-time", YES, "what comes from the server goes on in single bytes", "byte_at_a_time" },
  { "hold", MS, "what comes from the server is gathered for so many milliseconds", "hold_ms" },
  { "cut", SECONDS, "all connections are cut, about so often", "cut_ms" },
  { "cut-by", WORD, "how connections end: reset or end (default: reset)", "cut_by_end" },
  { "idle", SECONDS, "a connection that was silent for so long is cut", "idle_ms" },
  { "stall", SECONDS, "nothing moves for so long ...", "stall_ms" },
  { "stall-every", SECONDS, "... about so often (default: 15)", "stall_every_ms" },
  { "away", SECONDS, "the server is away for so long: 502 ...", "away_ms" },
  { "away-every", SECONDS, "... about so often (default: 30)", "away_every_ms" },
}

local ROWS = {}
for _, row in ipairs(faults.OPTIONS) do ROWS[row[1]] = row end

--- The profiles, in the order of the document; the last line of each says what it is.
faults.PROFILES = {
  { "mobile-3g", { latency = 100, jitter = 120, bandwidth = 60000, stall = 2,
    ["stall-every"] = 20 }, "slow, late and unsteady" },
  { "train", { latency = 60, jitter = 140, bandwidth = 250000, stall = 6, ["stall-every"] = 25,
    cut = 40 }, "tunnels, and another cell behind some of them" },
  { "office-proxy", { latency = 10, jitter = 5, hold = 250, idle = 20, cut = 90,
    ["cut-by"] = "end" }, "gathers what comes, ends what is silent, and everything at times" },
  { "flaky-wifi", { latency = 5, jitter = 60, stall = 1, ["stall-every"] = 6, cut = 12 },
    "quick, and gone again and again" },
  { "satellite", { latency = 300, jitter = 30, bandwidth = 120000, stall = 1,
    ["stall-every"] = 40 }, "far away" },
  { "restarting-backend", { latency = 1, away = 3, ["away-every"] = 12, ["cut-by"] = "end" },
    "a server that goes away for seconds: 502 from what stands before it" },
}

--- The options of a profile.
-- @tparam string name
-- @treturn table|nil a copy; or nil and what there is
function faults.profile(name)
  local names = {}
  for i, row in ipairs(faults.PROFILES) do
    names[i] = row[1]
    if row[1] == name then
      local out = {}
      for option, value in pairs(row[2]) do out[option] = value end
      return out
    end
  end
  return nil, ("there is no profile '%s'; there are %s"):format(tostring(name),
    table.concat(names, ", "))
end

--- Check the value of an option.
-- @tparam string name
-- @param value a text or a number
-- @treturn number|string|boolean|nil the value; or nil and what is expected
function faults.check(name, value)
  local kind = ROWS[name][2]
  if kind == YES then return value and true or nil end
  if kind == WORD then
    if value == "reset" or value == "end" then return value end
    return nil, "reset or end is expected"
  end
  local n, unit = tonumber(value), UNITS[kind]
  if n and n >= unit.least and n <= unit.most and (kind == SECONDS or n % 1 == 0) then return n end
  return nil, ("a %s from %g to %d is expected"):format(unit.what, unit.least, unit.most)
end

--- As the core takes them.
-- @tparam table values by the names of options
-- @treturn table
function faults.for_core(values)
  local out = {}
  for name, value in pairs(values) do
    local row = ROWS[name]
    if row[2] == SECONDS then value = math.max(1, math.floor(value * 1000 + 0.5)) end
    if row[2] == WORD then value = value == "end" end
    out[row[4]] = value
  end
  if out.stall_ms and not out.stall_every_ms then out.stall_every_ms = 15000 end
  if out.away_ms and not out.away_every_ms then out.away_every_ms = 30000 end
  return out
end

--- As JSON names them: "stall-every" is stallEvery.
function faults.for_json(values)
  local out = {}
  for name, value in pairs(values) do
    out[(name:gsub("%-(%l)", string.upper))] = value
  end
  return out
end

return faults
