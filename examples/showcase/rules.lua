--- The rules of the alerts. Change a number or a text while the server runs, and save: the next
--- sample is judged by it, and no page reconnects. Break the file: what was there before goes on.
local function too_hot(degrees) return ("The boiler is hot: %.1f °C"):format(degrees) end
local function battery_low(percent) return ("The battery has %d %% left"):format(percent) end
local function busy(percent) return ("The processors are busy: %d %%"):format(percent) end

local function is_stopped(sample)
  for _, service in ipairs(sample.services) do
    if service.status == "stopped" then return true end
  end
  return false
end

return {
  devices = {
    hot = { field = "temperature", above = 80, clear = 75, severity = "high", category = "heat",
      message = too_hot },
    battery = { field = "battery", below = 15, clear = 20, category = "power",
      message = battery_low },
  },
  system = {
    ["high-cpu"] = { field = "cpu", above = 90, clear = 80, hold = 30, category = "performance",
      message = busy },
    ["held-up"] = { field = "loopLagMs", above = 150, clear = 50, category = "performance",
      message = "The app was held up" },
    service = { category = "services", message = "A service does not run", when = is_stopped },
  },
}
