--- The rules of the alerts. Change a number or a text while the server runs, and save: the next
--- sample is judged by it, and no page reconnects. Break the file: what was there before goes on.
local function warm(degrees) return ("The boiler is warm: %.1f °C"):format(degrees) end
local function busy(percent) return ("The processors are busy: %.0f %%"):format(percent) end

-- A limit of one device: the others have none.
local function of(device, limit)
  return function(id) return id == device and limit or nil end
end

local function is_stopped(sample)
  for _, service in ipairs(sample.services) do
    if service.status == "stopped" then return true end
  end
  return false
end

return {
  devices = {
    warm = { field = "temperature", above = of("boiler", 72), clear = of("boiler", 70),
      severity = "warning", category = "heat", message = warm },
  },
  system = {
    ["high-cpu"] = { field = "cpu", above = 90, clear = 80, hold = 30, category = "performance",
      message = busy },
    ["held-up"] = { field = "loopLagMs", above = 150, clear = 50, category = "performance",
      message = "The app was held up" },
    service = { category = "services", message = "A service does not run", when = is_stopped },
  },
}
