--- What a device may be: true, or nil, message, code, field.
local fit = {}

local LOWEST, HIGHEST, LEAST_GAP = -100, 1000, 0.1

function fit.refuse(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

--- The limit of an alert, and where it is over.
function fit.limits(limit, clear)
  if not (limit >= LOWEST and limit <= HIGHEST) then
    return fit.refuse("limit", ("%d to %d degrees are expected"):format(LOWEST, HIGHEST))
  elseif clear > limit - LEAST_GAP then
    return fit.refuse("clear", "less than the limit is expected")
  elseif clear < LOWEST then
    return fit.refuse("clear", ("%d degrees or more are expected"):format(LOWEST))
  end
  return true
end

local function exact(value) return math.floor(value * 1000 + 0.5) / 1000 end

--- A device after a change that says what it changes only: `limit` takes the band below it along,
--- `clear` or `gap` changes how wide the band is. Returns a copy, or what fit.limits does.
function fit.changed(device, change)
  local limit, clear, gap = change.limit, change.clear, change.gap
  if not (limit or clear or gap) then
    return fit.refuse("limit", "it, clear or gap is expected")
  elseif clear and gap then
    return fit.refuse("gap", "it or clear is expected, not both")
  end
  limit = limit or device.limit
  clear = clear or exact(limit - (gap or device.limit - device.clear))
  local ok, message, code, field = fit.limits(limit, clear)
  if not ok then return nil, message, code, field end
  local row = {}
  for name, value in pairs(device) do row[name] = value end
  row.limit, row.clear = limit, clear
  return row
end

--- All that is known of a device.
function fit.device(device)
  if #device.name == 0 or #device.name > 60 then
    return fit.refuse("name", "1 to 60 bytes are expected")
  end
  for _, field in ipairs { "x", "y" } do
    if not (device[field] >= 0 and device[field] <= 100) then
      return fit.refuse(field, "0 to 100 percent of the plan are expected")
    end
  end
  return fit.limits(device.limit, device.clear)
end

return fit
