--- A second server that sends the same stream, behind a network that a visitor may break: where it
--- is, and what may be done to it. `sluice demo` starts both and names them in the environment; the
--- second one itself learns there which pages may read its stream.
local http = require("sluice.http")
local sluice = require("sluice")

local QUERY = "?match=7&device=boiler&document=welcome"
local SLOW_MOST, SECONDS_MOST, BREAK_SECONDS = 1000000, 60, 3

return function(app)
  local url, control = sluice.env("SHOWCASE_LAB", ""), sluice.env("SHOWCASE_LAB_CONTROL", "")
  local restarted = app:state("lab", { at = -BREAK_SECONDS })

  local origins = {}
  for origin in sluice.env("SHOWCASE_ORIGINS", ""):gmatch("%S+") do
    origins[#origins + 1] = origin
  end
  if origins[1] then app:cors("/api/showcase", { origins = origins }) end

  -- The lab's answer; or what this server answers instead.
  local function ask(method, path, body)
    if control == "" then return nil, 404, "there is no second server here: sluice demo has one" end
    local answer, why = http.request { method = method, url = control .. path, json = body,
      body = method == "POST" and not body and "" or nil, timeout = 5 }
    if answer and answer.status < 300 then return answer end
    sluice.log.warn("there is no second server to break: " .. (why or answer.body))
    return nil, 404, "the second server does not run"
  end

  local function done(answer, status, problem)
    if not answer then return status, problem end
    return 204
  end

  app:get("/api/lab", function(req)
    local answer, status, problem = ask("GET", "")
    if not answer and req.query.quiet then return 204 end -- a 404 is an error in every console
    if not answer then return status, problem end
    return { url = url .. QUERY }
  end)

  app:post("/api/lab/cut", function() return done(ask("POST", "/cut")) end)

  app:post("/api/lab/slow", function(req)
    local body = req:json { bytesPerSecond = "integer", seconds = "number" }
    local bytes, seconds = body.bytesPerSecond, body.seconds
    if not (bytes >= 1 and bytes <= SLOW_MOST and seconds >= 1 and seconds <= SECONDS_MOST) then
      return 422, ("bytesPerSecond is 1 to %d, seconds are 1 to %d"):format(SLOW_MOST, SECONDS_MOST)
    end
    return done(ask("POST", "/slow", body))
  end)

  app:post("/api/lab/epoch", function()
    if sluice.now() - restarted().at < BREAK_SECONDS then
      return 429, "it was ended just now", { ["Retry-After"] = tostring(BREAK_SECONDS) }
    end
    restarted().at = sluice.now()
    return done(ask("POST", "/restart"))
  end)
end
