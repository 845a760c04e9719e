--- The rules, in per cent: an alert begins above (or below) its limit, and is over at `clear`.
return {
  cpu = { field = "cpu", above = 90, clear = 80, hold = 10, severity = "high",
    message = "The processor is busy" },
  memory = { field = "memory", above = 95, clear = 90, severity = "critical",
    message = "Memory is nearly used up" },
}
