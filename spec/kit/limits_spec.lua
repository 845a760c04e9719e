--- Limits of one address and one user in virtual time: who is refused and how, who is not, what comes back when
--- a stream ends, what a reload changes, and what the operator is told.
local core = require("sluice.core")
local json = require("sluice.json")
local kit = require("spec.support.kit")

local PROXIED = { flags = { trust_proxy = true } }

local ROUTES = [[
app:channel("news", { history = 10 })
local seen = app:state("seen", { connect = 0, disconnect = 0, plans = 0, asked = 0 })
local function note(what) seen()[what] = seen()[what] + 1 end
app:on("connect", function() note("connect") end)
app:on("disconnect", function() note("disconnect") end)
local function signed_in(req)
  if not req.headers["X-User"] then return 401 end
  req.user = { id = req.headers["X-User"] }
  return true
end
app:stream("/news", "news")
app:stream("/planned", function(req) note("plans") return "news" end)
app:stream("/late", function(req) sluice.sleep(5) return "news" end)
app:stream("/mine", signed_in, function(req) return "news" end)
app:stream("/written", signed_in, function(req, client)
  client:send("first", {})
  sluice.sleep(0)
  note("plans")
  sluice.sleep(3600)
end)
app:stream("/no", function(req) return 403 end)
app:stream("/plain", { channels = { "news" }, control = false })
app:durable_stream("/log", { channel = "news", wait = 20 })
app:durable_stream("/my-log", signed_in, function(req) return { channel = "news", wait = 20 } end)
app:get("/asked", function() note("asked") return {} end)
app:get("/my", signed_in, function() note("asked") return {} end)
app:post("/end", function() for c in app:clients() do c:close("moved") end return 204 end)
app:get("/stats", function() return app:stats() end)
]]

local function app(limits) return ("app:limits(%s)\n"):format(limits) .. ROUTES end

describe("limits", function()
  local t

  after_each(kit.stop_all)

  local function start(limits, options) t = kit.start(limits and app(limits) or ROUTES, options or PROXIED) end

  local function from(ip, user, more)
    local options = { headers = { ["X-Forwarded-For"] = ip, ["X-User"] = user } }
    for name, value in pairs(more or {}) do options[name] = value end
    return options
  end

  local function connect(path, ip, user, more) return t:connect(path, from(ip, user, more)) end

  -- The bye of a stream that was refused; nil: it is open.
  local function refusal(c)
    assert.equal(200, c.status)
    if c.hello then return nil end
    return assert(c:events("bye")[1], "neither hello nor bye").data
  end

  local function assert_over(c)
    local bye = assert(refusal(c), "it is open")
    assert.equal("overload", bye.reason)
    assert.is_true(bye.retry >= 10000 and bye.retry <= 30000, bye.retry)
    assert.equal(1, c:count())
  end

  local function assert_open(c) assert.is_nil(refusal(c)) end

  local function stats() return t:get("/stats", from("192.0.2.200")).json end

  it("give an address so many streams, and others theirs", function()
    start("{ max_streams_per_address = 2 }")
    local first = connect("/news", "192.0.2.1")
    assert_open(first)
    assert_open(connect("/planned", "192.0.2.1"))
    assert_over(connect("/news", "192.0.2.1"))
    assert_over(connect("/planned", "192.0.2.1"))
    assert_over(connect("/plain", "192.0.2.1"))
    assert_open(connect("/news", "192.0.2.2"))
    assert.equal(1, t:state("seen").plans)
    assert.same({ 3, 0 }, { t:state("seen").connect, t:state("seen").disconnect })
    assert.equal(3, stats().refused.max_streams_per_address)
    first:close()
    assert_open(connect("/planned", "192.0.2.1"))
    assert_over(connect("/planned", "192.0.2.1"))
  end)

  it("are spread over ten to thirty seconds when somebody comes back", function()
    start("{ max_streams_per_address = 1 }")
    assert_open(connect("/news", "192.0.2.1"))
    local least, most = math.huge, 0
    for _ = 1, 40 do
      local retry = refusal(connect("/news", "192.0.2.1")).retry
      least, most = math.min(least, retry), math.max(most, retry)
    end
    assert.is_true(least < 14000 and most > 26000, least .. " to " .. most)
  end)

  it("take the /64 network of an IPv6 address for one, and IPv4 in IPv6 as IPv4", function()
    start("{ max_streams_per_address = 1 }")
    assert_open(connect("/news", "2001:db8:1:2::1"))
    assert_over(connect("/news", "2001:db8:1:2:ffff:ffff:ffff:ffff"))
    assert_open(connect("/news", "2001:db8:1:3::1"))
    assert_open(connect("/news", "192.0.2.1"))
    assert_over(connect("/news", "::ffff:192.0.2.1"))
    assert_open(connect("/news", "::ffff:192.0.2.2"))
  end)

  it("give a user so many streams from all addresses, and a refused one was never there", function()
    start("{ max_streams_per_user = 2 }")
    local first = connect("/mine", "192.0.2.1", "ann")
    assert_open(first)
    local written = connect("/written", "192.0.2.2", "ann")
    written:wait_for("first")
    assert_over(connect("/mine", "192.0.2.3", "ann"))
    assert_over(connect("/written", "192.0.2.4", "ann"))
    assert.same({ 2, 0, 1 }, { t:state("seen").connect, t:state("seen").disconnect, t:state("seen").plans })
    assert_open(connect("/mine", "192.0.2.3", "bob"))
    assert_open(connect("/news", "192.0.2.3"))
    written:close()
    assert_open(connect("/mine", "192.0.2.3", "ann"))
    assert.equal(2, stats().refused.max_streams_per_user)
    t:post("/end", from("192.0.2.200"))
    assert_open(connect("/mine", "192.0.2.1", "ann"))
    assert_open(connect("/mine", "192.0.2.1", "ann"))
    assert_over(connect("/mine", "192.0.2.1", "ann"))
    assert.same({}, t:log("error"))
  end)

  it("give back the place of an address when its user has none, or the plan says no", function()
    start("{ max_streams_per_address = 2, max_streams_per_user = 1 }")
    assert_open(connect("/mine", "192.0.2.1", "ann"))
    for _ = 1, 3 do
      assert_over(connect("/mine", "192.0.2.1", "ann"))
      assert.equal(403, connect("/no", "192.0.2.1").status)
      assert.equal(401, connect("/mine", "192.0.2.1").status)
    end
    assert_open(connect("/mine", "192.0.2.1", "bob"))
    assert_over(connect("/news", "192.0.2.1"))
  end)

  it("count a stream while its plan is made, until its client leaves", function()
    start("{ max_streams_per_address = 1 }")
    local late = t.place:dial()
    late:write("GET /late HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    t:settle()
    assert_over(connect("/news", "192.0.2.1"))
    t:advance(3) -- its head is out
    assert_over(connect("/news", "192.0.2.1"))
    t:advance(4)
    assert_over(connect("/news", "192.0.2.1"))
    late:close()
    t:settle()
    local again = t.place:dial()
    again:write("GET /late HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    t:settle()
    again:close()
    t:settle()
    assert_open(connect("/news", "192.0.2.1"))
  end)

  it("take a client that polls for one, until it stays away", function()
    start("{ max_streams_per_address = 1 }")
    local c = connect("/news", "192.0.2.1", nil, { mode = "poll" })
    for n = 1, 3 do
      t:publish("news", "story", { n = n })
      c:wait_for("story", 5, { n = n })
      assert_over(connect("/planned", "192.0.2.1"))
    end
    t:advance(60) -- polls that bring nothing
    assert_over(connect("/planned", "192.0.2.1"))
    local json_poll = t:get("/news?mode=poll", from("192.0.2.1", nil, { headers = {
      ["X-Forwarded-For"] = "192.0.2.1", Accept = "application/json" } }))
    assert.equal("overload", json_poll.json.bye.reason)
    assert.is_true(json_poll.json.bye.retry >= 10000)
    c:drop()
    t:advance(49)
    assert_over(connect("/planned", "192.0.2.1"))
    t:advance(2)
    assert_open(connect("/planned", "192.0.2.1"))
  end)

  it("count a reader of a durable stream while it waits, and refuse it with 429", function()
    start("{ max_streams_per_address = 1, max_streams_per_user = 1 }")
    local waits = t.place:dial()
    waits:write("GET /log?offset=now&live=long-poll HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    t:settle()
    local r = t:get("/log?offset=-1", from("192.0.2.1"))
    assert.same({ 429, "this address has too many streams" }, { r.status, r.json.error.message })
    local seconds = tonumber(r.headers["retry-after"])
    assert.is_true(seconds >= 10 and seconds <= 30, seconds)
    assert_over(connect("/news", "192.0.2.1"))
    t:publish("news", "story", { n = 1 })
    t:settle()
    for _ = 1, 3 do assert.equal(200, t:get("/log?offset=-1", from("192.0.2.1")).status) end
    local live = connect("/my-log?offset=-1&live=sse", "192.0.2.1", "ann")
    assert.equal(200, live.status)
    assert.equal(429, t:get("/log?offset=-1", from("192.0.2.1")).status)
    local other = t:get("/my-log?offset=-1&live=sse", from("192.0.2.2", "ann"))
    assert.same({ 429, "20" }, { other.status, other.headers["retry-after"] })
    live:close()
    waits:close()
    assert_open(connect("/news", "192.0.2.1"))
  end)

  it("take an address that a proxy wrote in any form for its network", function()
    start("{ max_streams_per_address = 1 }")
    assert_open(connect("/news", "2001:db8::1"))
    for _, form in ipairs({ "2001:db8::2%eth0", '"[2001:db8::3]:80"', "[2001:db8::4%25eth0]:80", '"2001:DB8:0::5"' }) do
      assert_over(connect("/news", form))
    end
    assert_open(connect("/news", "2001:db8:0:1::1%eth0"))
  end)

  it("answer a request too many with 429, and say when the next one may come", function()
    start("{ max_requests_per_address = 6 }")
    local function ask(ip) return t:get("/asked", from(ip)) end
    for _ = 1, 6 do assert.equal(200, ask("192.0.2.1").status) end
    local r = ask("192.0.2.1")
    assert.same({ 429, "10", "ERATE" }, { r.status, r.headers["retry-after"], r.json.error.code })
    assert.equal("this address sends too many requests", r.json.error.message)
    assert.equal(200, ask("192.0.2.2").status)
    assert.equal(6 + 1, t:state("seen").asked)
    assert.equal(404, t:get("/nothing", from("192.0.2.1")).status)
    assert.equal(200, t:get("/-/healthz", from("192.0.2.1")).status)
    assert.equal(405, t:put("/asked", from("192.0.2.1")).status)
    assert_over(connect("/news", "192.0.2.1"))
    t:advance(9)
    assert.equal("1", ask("192.0.2.1").headers["retry-after"])
    t:advance(1.1)
    assert.equal(200, ask("192.0.2.1").status)
    assert.equal(429, ask("192.0.2.1").status)
    t:advance(20)
    assert_open(connect("/news", "192.0.2.1"))
    assert.equal(200, ask("192.0.2.1").status)
    assert.equal(429, ask("192.0.2.1").status)
    t:advance(60)
    for _ = 1, 6 do assert.equal(200, ask("192.0.2.1").status) end
    assert.equal(429, ask("192.0.2.1").status)
  end)

  it("refuse nobody who has not asked before, however many there are", function()
    start("{ max_requests_per_address = 1 }")
    local many = os.getenv("SLUICE_SPEC_FULL") and 80000 or 2000 -- more than are remembered
    local before = core.alive().memory
    for i = 1, many do
      local r = t:get("/asked", from(("10.%d.%d.%d"):format(i >> 16, i >> 8 & 255, i & 255)))
      assert.equal(200, r.status)
    end
    assert.equal(0, stats().refused.max_requests_per_address)
    assert.is_true(core.alive().memory - before < 1000, "something is kept of each")
  end)

  it("do the same for a user, whatever the address", function()
    start("{ max_requests_per_user = 3 }")
    for i = 1, 3 do assert.equal(200, t:get("/my", from("192.0.2." .. i, "ann")).status) end
    local r = t:get("/my", from("192.0.2.9", "ann"))
    assert.same({ 429, "20", "ERATE" }, { r.status, r.headers["retry-after"], r.json.error.code })
    assert_over(connect("/mine", "192.0.2.9", "ann"))
    assert.equal(200, t:get("/my", from("192.0.2.9", "bob")).status)
    assert.equal(200, t:get("/asked", from("192.0.2.9", "ann")).status) -- nobody knows who it is
    assert.equal(4 + 1, t:state("seen").asked)
    t:advance(20.1)
    assert_open(connect("/mine", "192.0.2.9", "ann"))
    assert.equal(2, stats().refused.max_requests_per_user)
  end)

  it("change with a reload: streams stay, and count for the new ones", function()
    start()
    local all = {}
    for i = 1, 4 do all[i] = connect("/mine", "192.0.2.1", "ann") end
    assert(t:reload(kit.source(app("{ max_streams_per_address = 3, max_streams_per_user = 2 }"))))
    for i = 1, 4 do assert.is_false(all[i].exchange.ended) end
    assert_over(connect("/news", "192.0.2.1"))
    all[1]:close()
    assert_over(connect("/news", "192.0.2.1"))
    all[2]:close()
    assert_over(connect("/mine", "192.0.2.1", "ann"))
    assert_open(connect("/news", "192.0.2.1"))
    assert(t:reload(kit.source(app("{ max_streams_per_address = 5 }"))))
    assert_open(connect("/mine", "192.0.2.1", "ann"))
    assert_open(connect("/mine", "192.0.2.1", "ann"))
    assert_over(connect("/mine", "192.0.2.1", "ann"))
    assert(t:reload(kit.source(app('{ max_streams_per_address = 1, exempt = { "192.0.2.0/25" } }'))))
    assert_open(connect("/news", "192.0.2.1"))
    assert_open(connect("/news", "192.0.2.129"))
    assert_over(connect("/news", "192.0.2.129"))
    assert(t:reload(kit.source(ROUTES)))
    assert_open(connect("/news", "192.0.2.129"))
  end)

  it("of requests are forgotten a minute after a reload at the latest", function()
    start("{ max_requests_per_address = 600 }")
    for _ = 1, 600 do t:get("/asked", from("192.0.2.1")) end
    assert.equal(429, t:get("/asked", from("192.0.2.1")).status)
    assert(t:reload(kit.source(app("{ max_requests_per_address = 6 }"))))
    local r = t:get("/asked", from("192.0.2.1"))
    assert.same({ 429, "10" }, { r.status, r.headers["retry-after"] })
    assert(t:reload(kit.source(app("{ max_requests_per_address = 60 }"))))
    for _ = 1, 54 do assert.equal(200, t:get("/asked", from("192.0.2.1")).status) end
  end)

  it("of a setting go before those of the app", function()
    start("{ max_streams_per_address = 1, max_streams_per_user = 1 }", { flags = { trust_proxy = true,
      max_streams_per_address = 2, limits_exempt = "198.51.100.0/24, 2001:db8::/32" },
      env = { SLUICE_MAX_STREAMS_PER_USER = "0" } })
    for _ = 1, 2 do assert_open(connect("/mine", "192.0.2.1", "ann")) end
    assert_over(connect("/mine", "192.0.2.1", "bob"))
    for _ = 1, 3 do
      assert_open(connect("/news", "198.51.100.7"))
      assert_open(connect("/news", "2001:db8:5::7"))
    end
  end)

  it("are for the peer's own address without --trust-proxy, and the log says what may be wrong", function()
    start("{ max_streams_per_address = 1 }", {})
    assert_open(connect("/news", "192.0.2.1"))
    assert_over(connect("/news", "192.0.2.2"))
    local line = t:log("warn")[1]
    assert.equal("an address has as many streams as max_streams_per_address: it gets no more", line)
    for _ = 1, 5 do connect("/news", "192.0.2.3") end
    assert.equal(1, #t:log("warn"))
    t:advance(10)
    connect("/news", "192.0.2.3")
    assert.equal(2, #t:log("warn"))
  end)

  it("are refused by name where they make no sense", function()
    local cases = {
      { "app:limits(5)", "a table is expected, not a number" },
      { "app:limits{ max_stream_per_address = 5 }", "did you mean 'max_streams_per_address'?" },
      { "app:limits{ max_streams_per_user = 0.5 }", "max_streams_per_user is an integer from 1 to 1000000" },
      { "app:limits{ max_streams_per_user = -1 }", "max_streams_per_user is an integer from 1 to 1000000" },
      { "app:limits{ max_requests_per_user = '5' }", "max_requests_per_user is an integer from 1 to 1000000" },
      { "app:limits{ exempt = '10.0.0.0/8' }", "exempt is a list of addresses and networks, not a string" },
      { "app:limits{ exempt = { '10.0.0.0/33' } }", "'10.0.0.0/33' is none" },
      { "app:limits{ exempt = { 'example.com' } }", "'example.com' is none" },
      { "app:limits{}\napp:limits{}", "app:limits() was called already" },
    }
    for _, case in ipairs(cases) do
      local ok, problem = pcall(kit.start, case[1])
      assert.is_false(ok)
      assert.truthy(tostring(problem):find(case[2], 1, true), tostring(problem))
    end
    t = kit.start("app:get('/', function() app:limits{} end)")
    assert.truthy(t:get("/").error:find("app:limits() belongs at the top level", 1, true))
    for _, flags in ipairs { { max_streams_per_address = "-1" }, { max_requests_per_user = "x" },
      { limits_exempt = "" }, { limits_exempt = "10.0.0.0/x" } } do
      assert.is_false((pcall(kit.start, "", { flags = flags })), json.encode(flags))
    end
  end)
end)
