--- What the producers of demo:use_cases send: { name, make(n, random) -> event, data } each. The
--- fields are those that pages of these kinds read. Keeps nothing in memory: where a thing stands
--- follows from `n`.
local SYMBOLS = { "AAPL", "GOOGL", "MSFT", "AMZN", "TSLA" }
local PEOPLE = { { "alice", "Alice" }, { "bob", "Bob" }, { "carol", "Carol" } }
local MOMENTS = { "goal", "corner", "foul", "yellow-card", "substitution" }
local ITEMS, JOB_STEPS, MINUTES = 500, 10, 90

local function round(value, digits)
  local unit = 10 ^ (digits or 0)
  local whole = math.floor(value * unit + 0.5)
  return digits and whole / unit or math.tointeger(whole)
end

-- Up and down around a middle, with some noise.
local function wave(n, middle, height, random)
  return round(middle + height * math.sin(n / 5) + random(-height, height) / 8, 2)
end

local function metrics(n, random)
  return "metrics-update", { cpu = wave(n, 45, 30, random), memory = wave(n, 4096, 512, random),
    activeUsers = round(wave(n, 120, 40, random)), requestsPerSecond = wave(n, 300, 90, random) }
end

local function notification(n, random)
  return "notification", { id = "demo-" .. n, type = random { "message", "mention", "invitation" },
    title = "Demo", message = ("Message %d of the demo"):format(n), severity = "info" }
end

local function progress(n)
  local step, job = (n - 1) % JOB_STEPS + 1, "demo-" .. ((n - 1) // JOB_STEPS + 1)
  if step == JOB_STEPS then
    return "job-complete", { jobId = job, status = "success", totalProcessed = ITEMS }
  end
  return "progress", { jobId = job, processed = step * ITEMS // JOB_STEPS, total = ITEMS,
    percentage = step * 100 // JOB_STEPS, currentItem = "Item " .. step * ITEMS // JOB_STEPS }
end

local function match(n, random)
  local minute = (n - 1) % MINUTES + 1
  if n % 3 == 0 then
    return "commentary", { matchId = "demo", minute = minute, text = random {
      "A long ball into the box.", "The keeper holds it.", "Patient play in midfield." } }
  end
  return "match-event", { matchId = "demo", minute = minute, type = random(MOMENTS),
    team = random { "home", "away" }, player = random { "Smith", "Jones", "Silva" },
    score = { home = minute // 40, away = minute // 60 } }
end

local function price(n, random)
  local k = (n - 1) % #SYMBOLS + 1
  local before, change = 100 * k, random(-3, 3)
  return "price-update", { symbol = SYMBOLS[k], price = round(before + change, 2),
    change = round(change, 2), changePercent = round(change / before * 100, 2),
    volume = round(random(1000, 50000)) }
end

local function telemetry(n, random)
  return "telemetry", { deviceId = "demo-" .. ((n - 1) % 3 + 1), battery = 100 - n % 60,
    sensorData = { temperature = wave(n, 22, 4, random), humidity = wave(n, 45, 10, random) },
    status = "online", location = { latitude = 48.1 + n % 3, longitude = 11.5 } }
end

-- One after the other comes, moves the cursor four times, and leaves.
local function people(n, random)
  local person, step = PEOPLE[(n - 1) // 6 % #PEOPLE + 1], (n - 1) % 6
  local data = { documentId = "demo", id = person[1], userId = person[1], userName = person[2] }
  if step == 0 then data.activeUsers = 1 return "user-joined", data end
  if step == 5 then data.activeUsers = 0 return "user-left", data end
  data.position = { line = round(random(1, 40)), column = round(random(1, 80)) }
  return "cursor-move", data
end

local function system(n, random)
  if n % 10 == 0 then
    return "system-alert", { severity = "warning", service = "worker", category = "performance",
      message = "The worker answers slowly" }
  end
  return "system-metrics", { cpu = wave(n, 40, 25, random), memory = wave(n, 61, 9, random),
    disk = wave(n, 70, 2, random), network = { received = round(random(1e4, 1e6)),
      sent = round(random(1e4, 1e6)) },
    services = { { name = "web", status = "running" }, { name = "worker", status = "running" } } }
end

return {
  { name = "dashboard", make = metrics }, { name = "notifications", make = notification },
  { name = "progress", make = progress }, { name = "match", make = match },
  { name = "stocks", make = price }, { name = "devices", make = telemetry },
  { name = "document", make = people }, { name = "system", make = system },
}
