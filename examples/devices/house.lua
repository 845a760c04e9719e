--- A house of eight devices that moves while somebody looks, always in the same way: a boiler that
--- gets too hot, a freezer whose door is open at times, a sensor with a weak battery that falls
--- silent, a vacuum cleaner that drives around. Limits that were changed go back after ten minutes.
---
---   if sluice.is_demo() then require("house")(app, fleet, { owner = "alice" }) end
local sluice = require("sluice")

local EVERY, BEFORE, BACK_AFTER, AWAY = 2, 80, 600, 5
local TURN = 2 * math.pi

local function round(value, parts) return math.floor(value * parts + 0.5) / parts end

-- Noise from -1 to 1 that depends on the beat and the device only.
local function noise(n, salt)
  local x = math.sin(n * 12.9898 + salt * 78.233) * 43758.5453
  return 2 * (x - math.floor(x)) - 1
end

local function around(middle, height, period, salt, rough)
  return function(n)
    local wave = math.sin(TURN * (n + 7 * salt) / period)
    return middle + height * wave + (rough or 0.1) * noise(n, salt)
  end
end

-- The freezer: warm for a while after its door was opened.
local function freezer(n)
  local since = (n + 20) % 60
  return -19.5 + (since < 16 and 7 * math.sin(math.pi * since / 16) or 0) + 0.1 * noise(n, 2)
end

-- The vacuum cleaner goes round the living room.
local function driven(n)
  local turn = TURN * n / 40
  return { x = round(64 + 11 * math.cos(turn), 10), y = round(26 + 9 * math.sin(turn), 10) }
end

-- The sensor in the garage says nothing for a minute of each three.
local function is_silent(n)
  local since = (n - BEFORE) % 90
  return since >= 10 and since < 40
end

local DEVICES = {
  { id = "boiler", name = "Boiler", x = 13, y = 76, limit = 80, clear = 75,
    temperature = around(75, 8, 38, 1, 0.3), battery = function() return 88 end,
    flow = function(n) return round(12 + noise(n, 11), 10) end,
    pressure = function(n) return round(1.9 + 0.2 * noise(n // 5, 9), 100) end },
  { id = "freezer", name = "Freezer", x = 14, y = 30, limit = -15, clear = -18,
    temperature = freezer },
  { id = "kitchen", name = "Kitchen", x = 33, y = 17, limit = 27, clear = 25,
    temperature = around(22.4, 1.2, 120, 3), battery = function() return 81 end },
  { id = "living", name = "Living room", x = 84, y = 15, limit = 25, clear = 23.5,
    temperature = around(21.6, 0.8, 160, 4), battery = function() return 64 end },
  { id = "rack", name = "Server rack", x = 40, y = 80, limit = 35, clear = 32,
    temperature = around(31, 3.2, 70, 5, 0.4) },
  { id = "bedroom", name = "Bedroom", x = 65, y = 79, limit = 24, clear = 22,
    temperature = around(19.1, 0.5, 140, 6), battery = function() return 47 end },
  { id = "garage", name = "Garage door", x = 88, y = 80, limit = 30, clear = 28,
    temperature = around(11.3, 1.5, 200, 7), silent = is_silent,
    battery = function(n) return 12 + n // 90 % 3 end },
  { id = "vacuum", name = "Vacuum", x = 64, y = 26, limit = 45, clear = 40,
    temperature = around(33, 4, 80, 8), battery = function(n) return 95 - n % 150 // 2 end,
    location = driven },
}

local function reading(device, n)
  local temperature = round(device.temperature(n), 10)
  return { temperature = temperature, status = "online",
    battery = device.battery and device.battery(n),
    location = device.location and device.location(n) or { x = device.x, y = device.y },
    sensors = { temperature = temperature, pressure = device.pressure and device.pressure(n),
      flow = device.flow and device.flow(n) } }
end

local function speaks(device, n) return not (device.silent and device.silent(n)) end

-- Who comes first finds the last minutes.
local function look_back(fleet, beat)
  for n = beat - BEFORE, beat - 1 do
    local time = sluice.timestamp(sluice.time() - EVERY * (beat - n))
    for _, device in ipairs(DEVICES) do
      if speaks(device, n) then fleet:report(device.id, reading(device, n), time) end
    end
  end
end

local function give_back(fleet, device)
  local row = fleet:get(device.id)
  if row.changed and sluice.time() - row.changed > BACK_AFTER
      and (row.limit ~= device.limit or row.clear ~= device.clear) then
    fleet:set_limits(device.id, { limit = device.limit, clear = device.clear })
  end
end

local function add_all(fleet, owner)
  for _, device in ipairs(DEVICES) do
    if not fleet:get(device.id) then
      fleet:add(device.id, { name = device.name, x = device.x, y = device.y, limit = device.limit,
        clear = device.clear, owner = owner })
    end
  end
end

return function(app, fleet, options)
  local owner = options and options.owner
  local house = app:state("house", { beat = BEFORE, last = -1e9, awake = false })

  local function play()
    local now = house()
    local away = sluice.now() - now.last
    if away < EVERY / 2 then return end
    if away > BEFORE * EVERY then look_back(fleet, now.beat) end
    now.last, now.beat, now.awake = sluice.now(), now.beat + 1, true
    for _, device in ipairs(DEVICES) do
      give_back(fleet, device)
      if speaks(device, now.beat) then fleet:report(device.id, reading(device, now.beat)) end
    end
  end

  app:every(EVERY, { name = "house", while_subscribed = "devices/" .. (owner or "~") }, play)
  app:every(EVERY, { name = "boiler", while_subscribed = "device/boiler" }, play)

  -- While nobody looks nothing is sent, which is no silence.
  app:every(AWAY, { name = "nobody" }, function()
    local now = house()
    if not now.awake or sluice.now() - now.last < AWAY then return end
    now.awake = false
    for _, device in ipairs(DEVICES) do fleet.alerts:forget(device.id) end
  end)

  app:on("start", function() add_all(fleet, owner) end)
end
