--- Figures and times in words. Keeps nothing in memory.
local words = {}

--- 1,234,567
function words.number(n)
  local text = ("%d"):format(math.floor(n + 0.5))
  local count
  repeat text, count = text:gsub("^(-?%d+)(%d%d%d)", "%1,%2") until count == 0
  return text
end

--- 950 bytes, 12.3 KiB, 4.0 MiB
function words.bytes(n)
  if n < 1024 then return ("%d bytes"):format(n) end
  if n < 1024 * 1024 then return ("%.1f KiB"):format(n / 1024) end
  return ("%.1f MiB"):format(n / 1024 / 1024)
end

--- 0.25 s, 12 s, 3 min, 2.5 h
function words.seconds(s)
  if s < 10 then return ("%.3g s"):format(s) end
  if s < 120 then return ("%.0f s"):format(s) end
  if s < 7200 then return ("%.0f min"):format(s / 60) end
  return ("%.3g h"):format(s / 3600)
end

--- "1 event", "3 events"
function words.count(n, what)
  return ("%s %s%s"):format(words.number(n), what, n == 1 and "" or "s")
end

--- The time of day, in UTC as the log has it.
function words.clock(time) return os.date("!%H:%M:%S", math.floor(time)) end

-- Days since 1970 of a date.
local function days(y, m, d)
  if m <= 2 then y, m = y - 1, m + 12 end
  return 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + d - 719469
end

--- Seconds since 1970 of a time as the log writes it: 2026-11-22T09:00:00.123Z.
-- @tparam string text
-- @treturn number|nil
function words.time(text)
  local y, mo, d, h, mi, s = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$")
  if not y then return nil end
  return (days(tonumber(y), tonumber(mo), tonumber(d)) * 24 + tonumber(h)) * 3600
    + tonumber(mi) * 60 + tonumber(s)
end

return words
