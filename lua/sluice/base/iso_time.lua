--- Times as texts, after ISO 8601. Keeps nothing in memory.
local iso_time = {}

--- Seconds since 1970 of a day and time with an offset, as 2026-12-01T03:00:00+01:00.
-- @tparam string text
-- @treturn number|nil nil: there is no such time
function iso_time.read(text)
  local y, mo, d, h, mi, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt](%d%d):(%d%d)(.*)$")
  if not y then return nil end
  local s, digits, zone = rest:match("^:(%d%d)(%.?%d*)(.*)$")
  local sign, zh, zm = (zone or rest):match("^([+-])(%d%d):?(%d%d)$")
  if not sign and (zone or rest):upper() ~= "Z" then return nil end
  if sign and (zh // 1 > 23 or zm // 1 > 59) then return nil end
  local minutes = sign and tonumber(sign .. 1) * (zh * 60 + zm) or 0
  local year, month = y // 1, mo // 1
  if month <= 2 then year, month = year - 1, month + 12 end -- so that a leap day ends a year
  local days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + d
  local time = (days - 719469) * 86400 + h * 3600 + mi * 60 + (s or 0)
  if os.date("!%Y-%m-%dT%H:%M", time) ~= text:sub(1, 16):upper() then return nil end -- February 30
  if digits and #digits > 1 then time = time + tonumber("0" .. digits) end
  return time - minutes * 60
end

return iso_time
