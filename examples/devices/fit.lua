--- What a device may be: true, or nil, message, code, field.
local fit = {}

local LOWEST, HIGHEST, LEAST_GAP = -100, 1000, 0.1

function fit.refuse(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

--- The limit of an alert, and where it is over.
function fit.limits(limit, clear)
  if not (limit >= LOWEST and limit <= HIGHEST) then
    return fit.refuse("limit", ("%d to %d degrees are expected"):format(LOWEST, HIGHEST))
  elseif not (clear <= limit - LEAST_GAP and clear >= LOWEST) then
    return fit.refuse("clear", "less than the limit is expected")
  end
  return true
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
