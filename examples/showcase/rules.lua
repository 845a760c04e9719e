--- The rules of the alerts. Change a number or a text while the server runs, and save: the next
--- sample is judged by it, and no page reconnects. Break the file: what was there before goes on.
return {
  devices = {
    hot = { field = "temperature", above = 80, clear = 75, severity = "high", category = "heat",
      message = "It is too hot" },
    battery = { field = "battery", below = 15, clear = 20, severity = "warning",
      category = "power", message = "The battery is low" },
  },
  system = {
    ["high-cpu"] = { field = "cpu", above = 90, clear = 80, hold = 30, category = "performance",
      message = "The processors are busy" },
    ["held-up"] = { field = "loopLagMs", above = 150, clear = 50, category = "performance",
      message = "The app was held up" },
    service = { category = "services", message = "A service does not run",
      when = function(sample)
        for _, service in ipairs(sample.services) do
          if service.status == "stopped" then return true end
        end
        return false
      end },
  },
}
