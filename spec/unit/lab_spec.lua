--- csrc/lab/pipe.c and weather.c in the time of these specs: what a bad network does to bytes, and when.
local lab = require("sluice.core.testing_lab")

local SEEDS = os.getenv("SLUICE_SPEC_FULL") and 500 or 10

local function now(ms, more)
  local t = { ms = ms }
  for name, value in pairs(more or {}) do t[name] = value end
  return t
end

-- Everything that a pipe lets go until it has no more to say: { ms, bytes } each, and its end.
local function drain(p, from, network, most)
  local list, ms = {}, from
  for _ = 1, 100000 do
    local bytes, again = p:look(now(ms, network))
    if #bytes > 0 then
      local n = math.min(#bytes, most or #bytes)
      list[#list + 1] = { ms, bytes:sub(1, n) }
      p:took(n)
      if n < #bytes then again = ms end
    end
    local ended = p:ended(now(ms, network))
    if ended ~= "open" then return list, ended, ms end
    if again == math.huge then return list, ended, ms end
    assert(again > ms or #bytes > 0, "it asks to be looked at again, and has nothing")
    ms = again
  end
  error("no end")
end

local function text_of(list)
  local out = {}
  for i, piece in ipairs(list) do out[i] = piece[2] end
  return table.concat(out)
end

describe("a pipe", function()
  it("lets go at once what nothing holds back", function()
    local p = lab.pipe(1)
    assert(p:put(now(5), "hello"))
    assert.same({ { 5, "hello" } }, (drain(p, 5)))
  end)

  it("lets each piece go after the latency, and none before", function()
    local p, network = lab.pipe(1), { latency_ms = 100 }
    p:put(now(0, network), "a")
    p:put(now(30, network), "b")
    assert.same({ "", 100 }, { p:look(now(99, network)) })
    assert.same({ { 100, "a" }, { 130, "b" } }, (drain(p, 99, network)))
  end)

  it("draws jitter between nothing and the most, the same for the same seed, and keeps the order", function()
    local network = { latency_ms = 50, jitter_ms = 40 }
    local function times(seed)
      local p, list = lab.pipe(seed), {}
      for i = 0, 19 do
        p:put(now(i * 1000, network), "x")
        for _, piece in ipairs((drain(p, i * 1000, network))) do list[#list + 1] = piece[1] - i * 1000 end
      end
      return list
    end
    local a, least, most = times(7), math.huge, 0
    for _, late in ipairs(a) do least, most = math.min(least, late), math.max(most, late) end
    assert.equal(20, #a)
    assert.is_true(least >= 50 and most <= 90 and most - least > 15, least .. " to " .. most)
    assert.same(a, times(7))
    assert.is_not.same(a, times(8))
    local p = lab.pipe(3)
    for i = 1, 60 do p:put(now(i, network), string.char(64 + i)) end
    local list = drain(p, 60, network)
    assert.equal(60, #text_of(list))
    for i = 1, 60 do assert.equal(64 + i, text_of(list):byte(i)) end
  end)

  it("lets no more go than the bandwidth, and makes up for no pause", function()
    local p, network = lab.pipe(1), { bandwidth = 1000 }
    p:look(now(100000, network)) -- a long silence
    p:put(now(100000, network), ("x"):rep(3000))
    local sent = 0
    for _, piece in ipairs((drain(p, 100000, network))) do
      sent = sent + #piece[2]
      local ms = piece[1] - 100000
      assert.is_true(sent <= 100 + ms, ("%d bytes after %d ms"):format(sent, ms))
      assert.is_true(sent >= ms - 40, ("only %d bytes after %d ms"):format(sent, ms))
    end
    assert.equal(3000, sent)
  end)

  it("goes on at a bandwidth of a byte a second", function()
    local p, network = lab.pipe(1), { bandwidth = 1 }
    p:look(now(0, network))
    p:put(now(0, network), "abc")
    local list, _, ms = drain(p, 0, network)
    assert.equal("abc", text_of(list))
    assert.is_true(ms >= 2000 and ms <= 3000, ms)
  end)

  it("lets single bytes go", function()
    local p, network = lab.pipe(1), { byte_at_a_time = true }
    p:put(now(0, network), "abc")
    assert.same({ { 0, "a" }, { 0, "b" }, { 0, "c" } }, (drain(p, 0, network)))
  end)

  it("gathers bytes and lets them go together", function()
    local p, network = lab.pipe(1), { hold_ms = 200 }
    for ms = 10, 190, 20 do p:put(now(ms, network), "x") end
    p:put(now(230, network), "y")
    assert.same({ { 200, ("x"):rep(10) }, { 400, "y" } }, (drain(p, 10, network)))
  end)

  it("lets nothing go while the network stalls, then all of it", function()
    local p = lab.pipe(1)
    p:put(now(0), "abc")
    p:close(now(0), "fin")
    local still = { stalled = true }
    assert.same({ "", math.huge }, { p:look(now(50, still)) })
    assert.equal("open", p:ended(now(50, still)))
    assert.same({ { 60, "abc" } }, (drain(p, 60)))
    assert.equal("fin", p:ended(now(60)))
  end)

  it("passes an end on behind all bytes, as late as they are", function()
    for _, kind in ipairs({ "fin", "rst" }) do
      local p, network = lab.pipe(1), { latency_ms = 100 }
      p:put(now(0, network), "a")
      p:close(now(20, network), kind)
      p:look(now(100, network))
      assert.equal("open", p:ended(now(120, network)))
      local list, ended, ms = drain(p, 100, network)
      assert.same({ "a", kind, 120 }, { text_of(list), ended, ms })
    end
  end)

  it("has room for what a second brings, for some bytes at least, and never for more than its most", function()
    local p = lab.pipe(1)
    assert.same({ lab.PIPE_BYTES, 4096, 10000, lab.PIPE_BYTES }, { p:room(0), p:room(1), p:room(10000),
      p:room(1e9 // 1) })
    p:put(now(0, { latency_ms = 10 }), ("x"):rep(lab.PIPE_BYTES))
    assert.same({ 0, 0 }, { p:room(0), p:room(1) })
    p:look(now(10))
    p:took(1000)
    assert.equal(1000, p:room(0))
  end)

  it("loses, changes and moves no byte, whatever the network and its reader do", function()
    for seed = 1, SEEDS do
      math.randomseed(seed)
      local function maybe(n) return math.random() < 0.5 and math.random(n) or 0 end
      local p, given, got, ms = lab.pipe(seed), {}, {}, 0
      local n, closed = 0, false
      local network
      while true do
        if math.random() < 0.1 or not network then
          network = { latency_ms = maybe(300), jitter_ms = maybe(200), hold_ms = maybe(100),
            bandwidth = 2000 * maybe(25),
            byte_at_a_time = math.random() < 0.2, stalled = math.random() < 0.2 }
        end
        if closed then network.stalled = false end
        local room = p:room(network.bandwidth)
        if not closed and room > 0 and math.random() < 0.7 then
          local bytes = {}
          for i = 1, math.min(room, math.random(3000)) do bytes[i] = string.char(math.random(0, 255)) end
          given[#given + 1] = table.concat(bytes)
          assert(p:put(now(ms, network), given[#given]))
          n = n + 1
        end
        local bytes = p:look(now(ms, network))
        local took = math.random() < 0.3 and math.random(0, #bytes) or #bytes -- the socket is full
        got[#got + 1] = bytes:sub(1, took)
        p:took(took)
        if n == 60 and not closed then
          closed = true
          p:close(now(ms, network), "fin")
        end
        if p:ended(now(ms, network)) == "fin" then break end
        ms = ms + math.random(0, 50)
        assert(ms < 1e8, "no end")
      end
      assert.is_true(table.concat(given) == table.concat(got), "seed " .. seed)
    end
  end)
end)

describe("the weather", function()
  -- What happens until `till`.
  local function forecast(w, till)
    local list = {}
    while w:at() <= till do
      local at = w:at()
      local kind, begins, ms = w:next(at)
      list[#list + 1] = { at, kind, begins, ms }
    end
    return list
  end

  local function only(list, kind, begins)
    local times = {}
    for _, e in ipairs(list) do
      if e[2] == kind and e[3] == begins then times[#times + 1] = e[1] end
    end
    return times
  end

  it("never happens without an option", function()
    local w = lab.weather(1, 0, {})
    assert.equal(math.huge, w:at())
    assert.is_nil(w:next(1e15 // 1))
  end)

  it("cuts about as often as asked, each time after half to one and a half of it", function()
    local times = only(forecast(lab.weather(4, 1000, { cut_ms = 10000 }), 2001000), "cut", true)
    assert.is_true(#times > 150 and #times < 250, #times)
    local last = 1000
    for _, at in ipairs(times) do
      assert.is_true(at - last >= 5000 and at - last <= 15000, at - last)
      last = at
    end
  end)

  it("is the same for the same seed, and another for another; one fault leaves the times of others", function()
    local all = { cut_ms = 7000, stall_ms = 500, stall_every_ms = 3000, away_ms = 2000, away_every_ms = 20000 }
    local a = forecast(lab.weather(9, 0, all), 300000)
    assert.is_true(#a > 100)
    assert.same(a, forecast(lab.weather(9, 0, all), 300000))
    assert.is_not.same(a, forecast(lab.weather(10, 0, all), 300000))
    local cuts = forecast(lab.weather(9, 0, { cut_ms = 7000 }), 300000)
    assert.same(only(a, "cut", true), only(cuts, "cut", true))
  end)

  it("stalls and goes away for as long as asked, and says when it is over", function()
    local list = forecast(lab.weather(2, 0, { stall_ms = 700, stall_every_ms = 5000, away_ms = 900,
      away_every_ms = 9000 }), 200000)
    for kind, ms in pairs({ stall = 700, away = 900 }) do
      local begun, over = only(list, kind, true), only(list, kind, false)
      assert.is_true(#begun > 10)
      assert.is_true(#over >= #begun - 1)
      for i, at in ipairs(over) do assert.equal(begun[i] + ms, at) end
    end
  end)

  it("does what is asked by hand, and the last word counts", function()
    local w = lab.weather(1, 0, { bandwidth = 5000 })
    assert.same({ false, 5000 }, { w:is("stall"), w:bandwidth() })
    w:begin("stall", 100, 1000)
    w:begin("slow", 100, 400, 7)
    assert.same({ true, 7, 500 }, { w:is("stall"), w:bandwidth(), w:at() })
    assert.same({ "slow", false, 0 }, { w:next(500) })
    assert.equal(5000, w:bandwidth())
    w:begin("stall", 600, 100)
    assert.equal(700, w:at())
    w:begin("away", 650, 100000)
    w:calm(660)
    assert.same({ { 660, "stall", false, 0 }, { 660, "away", false, 0 } }, forecast(w, 1e9 // 1))
  end)

  it("may change while a fault is under way, which goes on", function()
    local w = lab.weather(1, 0, {})
    w:begin("away", 0, 1000)
    w:set(1, 500, { cut_ms = 100000 })
    assert.is_true(w:is("away"))
    assert.same({ "away", false, 0 }, { w:next(1000) })
    assert.is_true(w:at() >= 50500 and w:at() <= 150500)
  end)
end)
