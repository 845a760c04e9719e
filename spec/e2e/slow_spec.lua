--- Readers that do not read: what they are told, what they cost, and that nobody else notices.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local socket = require("socket")

local APP = [[
app:channel("log", { history = 20 })
app:channel("strict", { history = 20, slow = "close" })
app:channel("small", { history = 1000 })
app:stream("/log", { channels = { "log", "small" } })
app:stream("/strict", "strict")
app:stream("/no-heart", { channels = { "log" }, heartbeat = 3600 })]]

local MIB = 1024 * 1024

local s

--- Publish while all readers of a crowd read on.
local function publish_to(all, channel, o)
  local c = live.post_later(s, "/-t/publish/" .. channel, json.encode(o))
  assert.is_true(all:read(20, function() return c.wire:fill(0) or false end))
  assert.equal(200, c:response(5).status)
  c:close()
end

--- A stream that reads nothing after its hello. (The kernel still takes some 100 KB for it.)
local function stalled(path)
  return live.connect(s, path, { rcvbuf = 65536 })
end

local function seq(id) return tonumber(id:match("%-(%d+)$")) end

describe("a reader that stalls while its channel moves past the ring", function()
  before_each(function() s = live.start(APP) end)
  after_each(live.stop_all)

  --- All events that a stream has for us, until one says `last`.
  local function events_until(c, last)
    local list = {}
    repeat
      list[#list + 1] = assert(c:next_event(10))
    until last(list[#list])
    return list
  end

  it("is told so before any later event, and loses nothing else", function()
    local c, healthy = stalled("/log"), crowd.connect(s.port, "/log", 3, { shrink = true })
    for round = 0, 9 do
      publish_to(healthy, "log", { first = round * 12 + 1, n = 12, pad = 60000 })
      publish_to(healthy, "small", { event = "small", first = round * 5 + 1, n = 5 })
    end
    publish_to(healthy, "small", { event = "end" })
    local list = events_until(c, function(e) return e.event == "end" end)
    local logs, small, last, cursor, reset_at = {}, 0, 0, 0, nil
    for i, e in ipairs(list) do
      if e.event == "reset" then
        assert.is_nil(reset_at, "one reset")
        reset_at = #logs
        local data = live.data(e)
        assert.same({ "log", "slow", e.id }, { data.channel, data.reason, data.from })
        assert.equal(cursor, seq(e.id))
        local after = i + 1
        while list[after].event ~= "e" do after = after + 1 end
        assert.equal(data.oldest, list[after].id)
      else
        assert.is_true(seq(e.id) > last)
        last, cursor = seq(e.id), seq(e.id)
        if e.event == "e" then logs[#logs + 1] = live.n(e) end
        if e.event == "small" then
          small = small + 1
          assert.equal(small, live.n(e))
        end
      end
    end
    assert.truthy(reset_at)
    assert.equal(50, small)
    for i = 1, reset_at do assert.equal(i, logs[i]) end
    for i = reset_at + 1, #logs do assert.equal(120 - #logs + i, logs[i]) end
    assert.is_true(#logs - reset_at >= 20 and #logs < 120, ("%d + %d"):format(reset_at, #logs - reset_at))
    healthy:wait_for("event: end\n", 5)
    for _, m in ipairs(healthy) do
      assert.equal(120 + 50 + 1, #crowd.numbers(m))
      assert.is_nil(crowd.text(m):find("event: reset", 1, true))
    end
    c:close()
    healthy:close()
  end)

  it('is sent away when the channel says slow = "close", and told when it comes back', function()
    local c, healthy = stalled("/strict"), crowd.connect(s.port, "/strict", 3, { shrink = true })
    for round = 0, 9 do publish_to(healthy, "strict", { first = round * 12 + 1, n = 12, pad = 60000 }) end
    local list = events_until(c, function(e) return e.event == "bye" end)
    for i = 1, #list - 1 do assert.equal(i, live.n(list[i])) end
    local bye = list[#list]
    assert.equal("slow", live.data(bye).reason)
    assert.equal(list[#list - 1].id, bye.id)
    assert.is_true(bye.retry >= 2000 and bye.retry <= 4000)
    assert.equal("closed", c:wait_end(3))
    c:close()
    c = live.connect(s, "/strict", { last_event_id = bye.id })
    local reset = live.data(assert(c:next_event()))
    assert.same({ "trimmed", bye.id }, { reset.reason, reset.from })
    assert.equal(reset.oldest, c:next_event().id)
    healthy:wait_for('"n":120', 5)
    for _, m in ipairs(healthy) do assert.equal(120, #crowd.numbers(m)) end
    c:close()
    healthy:close()
  end)
end)

describe("a socket that takes nothing", function()
  after_each(live.stop_all)

  it("for --stall-timeout is closed, whatever its heartbeat; others are not", function()
    s = live.start(APP, { args = { "--stall-timeout", "1", "--heartbeat", "1" } })
    local healthy = crowd.connect(s.port, "/log", 3, { shrink = true })
    local a, b = stalled("/log"), stalled("/no-heart")
    s.wait_clients(5)
    local from = socket.gettime()
    publish_to(healthy, "log", { n = 50, pad = 60000 })
    deadline.eventually(function()
      healthy:read(0.02)
      return s.alive().clients == 3
    end, 10, "both are closed")
    assert.is_true(socket.gettime() - from > 0.9)
    deadline.eventually(function() return select(2, s.log():gsub('"reason":"slow"', "")) == 2 end, 2, "both are logged")
    for _, c in ipairs { a, b } do
      c:wait_end(5)
      assert.equal("closed", c.ended)
      c:close()
    end
    healthy:wait_for('"n":50', 5)
    healthy:close()
  end)

  it("for less than that goes on, with heartbeats in time", function()
    s = live.start(APP, { args = { "--stall-timeout", "60", "--heartbeat", "1" } })
    local healthy = crowd.connect(s.port, "/log", 1)
    local c = stalled("/log")
    publish_to(healthy, "log", { n = 30, pad = 60000 })
    healthy:read(1.5)
    for n = 1, 30 do assert.equal(n, live.n(c:next_event())) end
    for _ = 1, 2 do
      c.comments = {}
      local from = deadline.now()
      assert.equal("", c:next_comment(5))
      assert.is_true(deadline.since(from) < 1.3)
    end
    c:close()
    healthy:close()
  end)
end)

describe("a hundred stalled readers", function()
  after_each(live.stop_all)

  it("cost bounded memory while 50 MB are published, and others get everything", function()
    s = live.start(APP, { args = { "--stall-timeout", "60" } })
    local readers = crowd.connect(s.port, "/log", 100, { rcvbuf = 8192 })
    local healthy = crowd.connect(s.port, "/log", 2, { shrink = true })
    local before
    for round = 0, 27 do
      publish_to(healthy, "log", { first = round * 34 + 1, n = 34, pad = 60000 })
      healthy:wait_for(('"n":%d'):format(round * 34 + 34), 5)
      if round == 2 then before = s.rss() end
    end
    local grown = s.rss() - before
    if not os.getenv("SLUICE_PRELOAD") then
      assert.is_true(grown < 24 * MIB, ("%.1f MiB more"):format(grown / MIB))
    end
    for _, m in ipairs(healthy) do
      local numbers = crowd.numbers(m)
      assert.is_nil(crowd.text(m):find("event: reset", 1, true))
      assert.equal(952, #numbers)
      for n = 1, 952 do assert.equal(n, numbers[n]) end
    end
    readers:close()
    s.wait_clients(2)
    healthy:close()
    s.wait_clients(0)
    assert.is_true(s.alive().blocks <= 4)
  end)
end)

describe("a reader of a state that reads nothing for long", function()
  -- for 35 s, more than the 30 s after which the kernel gives a peer up that takes nothing, or 8 s
  local EVENTS = os.getenv("SLUICE_SPEC_FULL") and 70000 or 16000

  after_each(live.stop_all)

  it("gets, after what was under way, the newest of each key, once", function()
    s = live.start([[
app:channel("prices", { history = "latest", key = "symbol" })
app:stream("/prices", "prices")
app:post("/trade", function(req) -- 2,000 a second
  local due = sluice.now()
  for n = 0, ]] .. EVENTS - 1 .. [[ do
    app:publish("prices", "price", { symbol = "S" .. n % 50, n = n, pad = ("x"):rep(100) })
    if n % 100 == 99 then
      due = due + 0.05
      sluice.sleep(math.max(0, due - sluice.now()))
    end
  end
  return 204
end)]], { args = { "--stall-timeout", "120" } })
    local c = live.connect(s, "/prices", { rcvbuf = 8192 })
    assert.equal(204, live.post_later(s, "/trade"):response(90).status)
    local numbers, bytes = {}, 0
    repeat
      local event = assert(c:next_event(10))
      numbers[#numbers + 1] = live.n(event)
      bytes = bytes + #event.data
    until numbers[#numbers] == EVENTS - 1
    assert.is_true(bytes < 512 * 1024, bytes .. " bytes") -- of 150 for each event
    for back = 0, 49 do assert.equal(EVENTS - 1 - back, numbers[#numbers - back]) end
    -- before them only what the kernel had taken, and one block
    local before = numbers[#numbers - 50]
    assert.is_true(before < 10000, "then number " .. before)
    c:close()
  end)
end)
