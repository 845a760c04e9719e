--- Medians, quartiles and shuffles.
local stats = {}

--- The value below which a part of the list lies, interpolated.
function stats.quantile(list, part)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  if #sorted == 0 then return nil end
  local at = 1 + part * (#sorted - 1)
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
end

function stats.median(list) return stats.quantile(list, 0.5) end

--- Median and quartiles of a list.
function stats.summary(list)
  return { median = stats.median(list), low = stats.quantile(list, 0.25), high = stats.quantile(list, 0.75),
    count = #list }
end

--- Element by element: a / b.
function stats.ratios(a, b)
  local out = {}
  for i = 1, math.min(#a, #b) do out[i] = a[i] / b[i] end
  return out
end

--- A copy in random order.
function stats.shuffled(list)
  local out = table.move(list, 1, #list, 1, {})
  for i = #out, 2, -1 do
    local j = math.random(i)
    out[i], out[j] = out[j], out[i]
  end
  return out
end

--- What fn makes of each element.
function stats.map(list, fn)
  local out = {}
  for i, v in ipairs(list) do out[i] = fn(v) end
  return out
end

return stats
