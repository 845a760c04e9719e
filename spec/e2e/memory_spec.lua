--- The cap on what all channels hold: the largest history is cut first, and that is told.
local http = require("spec.support.http")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("big", { history = 100000 })
app:channel("small", { history = 100 })
app:stream("/s", { channels = { "big", "small" } })
app:post("/fill", function()
  app:publish("small", "first", {})
  for i = 1, 3000 do assert(app:publish("big", "e", ("x"):rep(1000))) end
end)
app:get("/stats", function()
  return { held = app:stats().held_bytes, big = app:stats("big").held, small = app:stats("small").held }
end)
return app
]]

describe("the memory limit", function()
  local s
  before_each(function() s = server.start({ app = APP, args = { "--memory", "1m" } }) end)
  after_each(server.stop_all)

  local function post(path)
    local answer = http.post(s.port, path, "{}", { ["Content-Type"] = "application/json" })
    assert.equal(204, answer.status, answer.body)
  end

  it("cuts the largest history, keeps the small ones, and accepts new events", function()
    post("/fill")
    local stats = require("sluice.json").decode(http.get(s.port, "/stats").body)
    assert.is_true(stats.held <= 1024 * 1024 + 2000, "held " .. stats.held)
    assert.is_true(stats.big > 100 and stats.big < 1000, "big keeps " .. stats.big)
    assert.equal(1, stats.small)
    s.wait_log("the memory limit is reached")
  end)

  it("tells a reader that comes back what it missed", function()
    local c = sse.connect(s.port, "/s")
    local id = c:wait_for("hello").id
    c:close()
    post("/fill")
    c = sse.connect(s.port, "/s", { last_event_id = id })
    local reset = c:wait_for("reset")
    assert.truthy(reset.data:find('"channel":"big","reason":"trimmed"', 1, true), reset.data)
    assert(c:wait_for("first"), "the small channel lost nothing")
    c:close()
  end)
end)
