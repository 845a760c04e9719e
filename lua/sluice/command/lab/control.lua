--- What one may ask of a running lab, over HTTP on this machine: how it is, and a fault by hand.
--- Pages of other origins are refused by the server itself. Keeps nothing in memory.
local faults = require("sluice.command.lab.faults")

local control = {}

local SECONDS_MOST, BYTES_MOST = 86400, 1e12

-- The body, when there is one.
local function ask(req, shape)
  return req.body ~= "" and req:json(shape) or {}
end

-- Milliseconds of the field "seconds".
local function ms_of(req, body, usual)
  local seconds = body.seconds or usual
  if not (seconds >= 0.001 and seconds <= SECONDS_MOST) then
    req:abort(422, "seconds: a number from 0.001 to 86400 is expected")
  end
  return math.floor(seconds * 1000 + 0.5)
end

local function add_state(app, lab)
  app:get("/lab", function()
    local counts = lab.server:lab_counts()
    return { url = lab.url, server = lab.to, profile = lab.profile, seed = lab.seed,
      faults = faults.for_json(lab.values), stalled = counts.stalled, away = counts.away,
      slow = counts.slow, connections = { open = counts.open, all = counts.all },
      bytes = { up = counts.up, down = counts.down }, writes = counts.sends,
      happened = counts.faults }
  end)
  app:post("/lab/profile", function(req)
    local name = req:json({ name = "string" }).name
    local values, problem = faults.profile(name)
    if not values then return 422, problem end
    lab.profile, lab.values = name, values
    lab.server:lab_set(faults.for_core(values))
    lab:say("profile", { name = name })
    return { profile = name, faults = faults.for_json(values) }
  end)
end

local function add_faults(app, lab)
  app:post("/lab/cut", function()
    local open = lab.server:lab_counts().open
    lab.server:lab_do("cut")
    return { connections = open }
  end)
  for _, word in ipairs({ "stall", "away" }) do
    app:post("/lab/" .. word, function(req)
      local ms = ms_of(req, ask(req, { seconds = "number?" }), 5)
      lab.server:lab_do(word, ms)
      return { seconds = ms / 1000 }
    end)
  end
  app:post("/lab/slow", function(req)
    local body = ask(req, { bytesPerSecond = "integer?", seconds = "number?" })
    local bytes, ms = body.bytesPerSecond or 1000, ms_of(req, body, 10)
    if bytes < 1 or bytes > BYTES_MOST then
      return 422, "bytesPerSecond: a whole number from 1 is expected"
    end
    lab.server:lab_do("slow", ms, bytes)
    return { bytesPerSecond = bytes, seconds = ms / 1000 }
  end)
  app:post("/lab/calm", function()
    lab.server:lab_do("calm")
    return 204
  end)
end

--- Add the routes.
-- @param app
-- @tparam table lab
function control.add(app, lab)
  add_state(app, lab)
  add_faults(app, lab)
  if not lab.backend then return end
  app:post("/lab/restart", function()
    local ok, problem = lab.backend:restart()
    if not ok then return 500, problem end
    lab:say("restart", {})
    return 204
  end)
end

return control
