--- The rules of the alerts: change them while the server runs, and save.
return {
  { name = "high-water", field = "level", above = 90, unit = "%", severity = "high",
    category = "water", message = "The water stands high" },
  { name = "fast-flow", field = "flow", above = 20, unit = "m³/s", severity = "warning",
    category = "water", message = "The flow is fast" },
}
