--- When to try again: exponential back-off with full jitter, or what the other server asks for, and
--- one deadline for all attempts. Keeps nothing in memory.
local core = require("sluice.core")

local retry = {}

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

--- A random time before an attempt: 0 to first * 2^(n-1), at most `most`.
-- @tparam integer n which repetition: 1, 2, …
-- @tparam number first seconds
-- @tparam number most seconds
-- @treturn number
function retry.pause(n, first, most)
  return core.random() * math.min(first * 2.0 ^ math.min(n - 1, 60), most)
end

-- "Sun, 06 Nov 1994 08:49:37 GMT" as seconds since 1970, without the machine's time zone.
local function time_of(text)
  local day, month, year, hour, minute, second =
    text:match("^%a+, (%d%d?) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local m = MONTHS[month]
  if not m then return nil end
  local y = math.tointeger(year) - (m <= 2 and 1 or 0)
  local era = y // 400
  local of_era, of_year = y - era * 400, (153 * ((m + 9) % 12) + 2) // 5 + math.tointeger(day) - 1
  local days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
  return days * 86400 + hour * 3600 + minute * 60 + second
end

--- Seconds that an answer asks to wait (RFC 9110 10.2.3): a number, or a date.
-- @tparam table headers
-- @tparam number most
-- @treturn number|nil
function retry.after(headers, most)
  local text = (headers["retry-after"] or ""):match("^%s*(.-)%s*$")
  local seconds = text:find("^%d+$") and tonumber(text)
  if not seconds then
    local time = time_of(text)
    seconds = time and math.max(0, time - core.time())
  end
  return seconds and math.min(seconds, most)
end

return retry
