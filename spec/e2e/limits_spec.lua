--- Limits of addresses and users on a real server with four I/O threads, while many open and close at once and the app
--- is reloaded all the time: exactly as many as may are let in. And what the operator sees of it.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local openmetrics = require("spec.support.openmetrics")

local KEY = ("k"):rep(40)
local ROUNDS = os.getenv("SLUICE_SPEC_FULL") and 60 or 4
local OF_ADDRESS, OF_USER, AT_ONCE = 3, 4, 10

local APP = [[
app:channel("news", { history = 10 })
local function who(req)
  req.user = { id = req.headers["X-User"] }
  return true
end
app:stream("/constant", "news")
app:stream("/planned", function(req) return "news" end)
app:stream("/mine", who, function(req) return "news" end)
app:channel("feed", { history = 5, budget = 1000000 })
app:stream("/feed", "feed")
app:on("budget", "feed", function(alarm) sluice.log.info("ALARM", { over = alarm.over, bytes = alarm.bytes }) end)
app:get("/asked", function() return {} end)
app:get("/streams", function() return { streams = app:stats().streams } end)
]]

describe("limits on a server", function()
  local s

  after_each(live.stop_all)

  local function start(...)
    s = live.start(APP, { io_threads = 4, args = { "--trust-proxy", "yes", "--admin-key", KEY, "--limits-exempt",
      "127.0.0.1", ... } })
  end

  local function reload() assert.equal(200, http.post(s.port, "/-/reload", "", { ["X-Admin-Key"] = KEY }).status) end

  local function scrape() return openmetrics.parse(http.get(s.port, "/-/metrics", { ["X-Admin-Key"] = KEY }).body) end

  local function refused(limit) return scrape().value("sluice_refused_total", { limit = limit }) end

  --- All of these open n streams each, at the same time; those that were let in, by who.
  local function burst(all, n, asks)
    local new = crowd.connect(s.port, "/", 0)
    for _ = 1, n do
      for _, who in ipairs(all) do
        local path, headers = asks(who)
        local one = crowd.connect(s.port, path, 1, { headers = headers, wait = false })[1]
        one.who = who
        new[#new + 1] = one
      end
    end
    local function told(m)
      local text = crowd.text(m)
      return text:find("event: hello\n", 1, true) or text:find("event: bye\n", 1, true)
    end
    assert(new:read(20, function()
      for _, m in ipairs(new) do
        if not told(m) then return false end
      end
      return true
    end), "all are answered")
    local let_in, n_refused = {}, 0
    for _, who in ipairs(all) do let_in[who] = {} end
    for _, m in ipairs(new) do
      if crowd.text(m):find("event: hello\n", 1, true) then table.insert(let_in[m.who], m)
      else
        assert.truthy(crowd.text(m):find('"reason":"overload"', 1, true))
        n_refused = n_refused + 1
        m.sock:close()
      end
    end
    return let_in, n_refused
  end

  local function count_streams() return json.decode(http.get(s.port, "/streams").body).streams end

  --- Rounds of bursts, and of some that leave, until nobody is left.
  local function play(all, limit, asks)
    local held, n_refused = {}, 0
    for _, who in ipairs(all) do held[who] = {} end
    for round = 1, ROUNDS do
      local let_in, n = burst(all, AT_ONCE, asks)
      n_refused = n_refused + n
      if round % 2 == 0 then reload() end
      local left = 0
      for _, who in ipairs(all) do
        assert.equal(limit - #held[who], #let_in[who], who .. " in round " .. round)
        for _, m in ipairs(let_in[who]) do table.insert(held[who], m) end
        for _ = 1, round < ROUNDS and math.random(0, #held[who]) or #held[who] do
          table.remove(held[who], math.random(#held[who])).sock:close()
        end
        left = left + #held[who]
      end
      deadline.eventually(function() return count_streams() == left end, 10, "those that left are gone")
    end
    return n_refused
  end

  it("let in exactly as many of an address and of a user, whichever threads they come to", function()
    start("--max-streams-per-address", OF_ADDRESS, "--max-streams-per-user", OF_USER)
    math.randomseed(tonumber(os.getenv("SEED")) or os.time())
    local addresses = { "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "198.51.100.7" }
    local n = play(addresses, OF_ADDRESS, function(ip)
      return math.random(2) == 1 and "/constant" or "/planned", { ["X-Forwarded-For"] = ip }
    end)
    assert.equal(n, refused("max_streams_per_address"))
    n = play({ "ann", "bob", "cy" }, OF_USER, function(user)
      return "/mine", { ["X-User"] = user } -- from the address that is exempt
    end)
    assert.equal(n, refused("max_streams_per_user"))
    assert.equal(0, count_streams())
    s.wait_log("an address has as many streams as max_streams_per_address: it gets no more")
    assert.truthy(s.log():find('"limit":3', 1, true), s.log())
    s.wait_log("a user has as many streams as max_streams_per_user: they get no more")
  end)

  it("let in as many requests as the minute has", function()
    start("--max-requests-per-address", 20)
    local from, all, ok = deadline.now(), {}, 0
    for i = 1, 60 do all[i] = http.connect(s.port) end
    local text = http.request_text("GET", "/asked", { ["X-Forwarded-For"] = "192.0.2.1" }, nil, "localhost")
    for _, c in ipairs(all) do c:send(text) end
    for _, c in ipairs(all) do
      local r = c:response(10)
      ok = ok + (r.status == 200 and 1 or 0)
      assert.is_true(r.status == 200 or r.status == 429 and tonumber(r.headers["retry-after"]) <= 60, r.status)
      c:close()
    end
    assert.is_true(ok >= 20 and ok <= 21 + select(2, deadline.since(from)) / 3, ok)
    assert.equal(60 - ok, refused("max_requests_per_address"))
    for _ = 1, 40 do assert.equal(200, http.get(s.port, "/asked").status) end
  end)

  it("raise an alarm when a channel sends a megabyte within a minute", function()
    start()
    local all = crowd.connect(s.port, "/feed", 10)
    s.publish("feed", { n = 1, pad = 50000 })
    all:wait_for('"n":1', 10)
    assert.falsy(s.log():find("ALARM", 1, true))
    s.publish("feed", { n = 2, first = 2, pad = 50000 })
    s.wait_log("channel 'feed' sent %d+ bytes within a minute: its budget is 1000000")
    s.wait_log("ALARM")
    assert.equal(1, scrape().value("sluice_pattern_over_budget_channels", { pattern = "feed" }))
    all:close()
  end)
end)
