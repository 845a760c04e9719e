--- Two servers behind Debian's HAProxy with the configuration of doc/limits.md, steered by what they say of their load:
--- one of them has streams that HAProxy knows nothing of, and both end with as many. When they are full HAProxy knows
--- it before they refuse anybody.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local markdown = require("spec.support.markdown")
local proxies = require("spec.support.proxies")
local socket = require("socket")

local STREAMS = os.getenv("SLUICE_SPEC_FULL") and 1000 or 200 -- through HAProxy
local OTHERS = STREAMS * 15 // 100 -- at one of the servers, directly
local LIMIT = STREAMS * 7 // 10 -- of each server
local BATCH = STREAMS // 40 -- that come between two looks of HAProxy at its servers

local AROUND = [[
defaults
    mode http
    option http-no-delay
    option abortonclose
    timeout connect 5s
    timeout client 1h
    timeout server 1h

frontend web
    bind 127.0.0.1:$PORT
    stats enable
    stats uri /-haproxy
    default_backend streams

]]

local APP = [[
app:channel("news", { history = 10 })
app:stream("/news", "news")
app:get("/streams", function() return { streams = app:stats().streams } end)]]

--- The same text with other words, which must be in it.
local function edit(text, changes)
  for from, to in pairs(changes) do
    local changed, n = text:gsub(from:gsub("%p", "%%%0"), to)
    assert(n > 0, from)
    text = changed
  end
  return text
end

describe("two servers behind HAProxy", function()
  local front, held
  local low = {} -- descriptors that select() can take, kept from the streams

  local function keep_low()
    for i = 1, 16 do low[i] = assert(io.open("/dev/null")) end
  end
  local function free_low()
    for i = 1, 16 do low[i]:close() end
  end

  before_each(function() held = {} end)
  after_each(function()
    for _, sock in ipairs(held) do sock:close() end
    if front then front.stop() end
    front = nil
    live.stop_all()
  end)

  local function start_server()
    local s = live.start(APP, { args = { "--max-connections", LIMIT, "--agent-port", "0", "--metrics-port", "0" } })
    local _, metrics = s.wait_log("metrics on http://([%d.]+):(%d+)/metrics")
    s.agent_port = s.wait_log("agent%-check on 127.0.0.1 port (%d+)")
    s.metrics_port = math.tointeger(tonumber(metrics))
    function s.weight() return tonumber(http.get(s.metrics_port, "/-/load?weight").body:match("^(%d+)%%\n$")) end
    function s.is_ready() return http.get(s.metrics_port, "/-/readyz").status == 200 end
    function s.streams() return json.decode(http.get(s.port, "/streams").body).streams end
    return s
  end

  local function start_front(a, b)
    local block
    for _, one in ipairs(markdown.read("doc/limits.md").blocks) do
      if one.lang == "haproxy" and one.text:find("agent-check", 1, true) then block = one.text end
    end
    return proxies.start("haproxy", a.port, { block = AROUND .. edit(block, {
      ["server a 10.0.0.1:5121"] = ("server a 127.0.0.1:%d agent-port %s"):format(a.port, a.agent_port),
      ["server b 10.0.0.2:5121"] = ("server b 127.0.0.1:%d agent-port %s"):format(b.port, b.agent_port),
      ["agent-inter 1s"] = "agent-inter 50ms", ["check inter 1s"] = "check inter 50ms" }) })
  end

  --- What HAProxy thinks of its servers: { a = { status, weight }, b = … }.
  local function look()
    local all, names = {}, nil
    for line in http.get(front.port, "/-haproxy;csv").body:gmatch("[^\n]+") do
      local row = {}
      for field in (line .. ","):gmatch("([^,]*),") do row[#row + 1] = field end
      if not names then
        names = {}
        for i, name in ipairs(row) do names[name:gsub("^# ", "")] = i end
      end
      if row[names.pxname] == "streams" then
        all[row[names.svname]] = { status = row[names.status], weight = tonumber(row[names.weight]) }
      end
    end
    return all
  end

  --- A stream: whether it was let in. It is held until the end.
  local function open(port)
    local sock = assert(socket.connect("127.0.0.1", port))
    held[#held + 1] = sock
    sock:settimeout(20)
    assert(sock:send("GET /news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"))
    local status = sock:receive("*l")
    if not status or not status:find(" 200 ", 1, true) then return false, status end
    repeat
      local line, problem = sock:receive("*l")
      if not line then return false, problem end
    until line == "event: hello"
    return true
  end

  --- HAProxy knows of what is there now.
  local function settle(a, b)
    free_low()
    deadline.eventually(function()
      local seen = look()
      for name, s in pairs { a = a, b = b } do
        local ready = s.is_ready()
        if (seen[name].status:find("^UP") ~= nil) ~= ready then return false end
        if ready and math.abs(seen[name].weight - s.weight()) > 1 then return false end -- who asks is a connection, too
      end
      return true
    end, 10, "HAProxy knows")
    keep_low()
  end

  it("have as many streams in the end, and refuse nobody while one has room", function()
    if not proxies.installed("haproxy") then return pending("haproxy is not installed") end
    local a, b = start_server(), start_server()
    front = start_front(a, b)
    keep_low()
    for _ = 1, OTHERS do assert.is_true(open(a.port)) end
    settle(a, b)
    for n = 1, STREAMS do
      assert.is_true(open(front.port))
      if n % BATCH == 0 then settle(a, b) end
    end
    free_low()
    local of_a, of_b = a.streams(), b.streams()
    keep_low()
    assert.equal(OTHERS + STREAMS, of_a + of_b)
    local mean = (of_a + of_b) / 2
    assert.is_true(math.abs(of_a - of_b) <= 0.1 * mean, of_a .. " and " .. of_b)
    assert.is_true(of_b > STREAMS / 2 + OTHERS / 4, of_b) -- without steering it had half of those that came

    local more, let_in, why = 0
    repeat
      let_in, why = open(front.port)
      more = more + 1
      if more % 2 == 0 then settle(a, b) end
    until not let_in
    free_low()
    assert.matches(" 503 ", why)
    assert.is_true(more > 10, more)
    for _, s in ipairs { a, b } do
      assert.is_false(s.is_ready())
      assert.equal(0, s.weight())
      assert.is_true(s.streams() >= 0.9 * LIMIT and s.streams() < LIMIT, s.streams())
      assert.falsy(s.log():find("more are closed", 1, true))
    end
    for i = 1, #held // 3 do held[i * 3]:close() end
    deadline.eventually(function() return a.is_ready() and b.is_ready() end, 10, "there is room")
    keep_low()
    settle(a, b)
    assert.is_true(open(front.port))
  end)
end)
