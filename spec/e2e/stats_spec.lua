--- What app:stats, client:stats and app:slowest say is what the readers on the sockets got.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")

local APP = [[
app:channel("log", { history = 20 })
app:channel("short", { history = 5 })
app:channel("prices", { history = "latest", key = "k" })
app:stream("/log", { channels = { "log" } })
app:stream("/all", { channels = { "log", "short", "prices" } })
app:get("/stats", function() return app:stats() end)
app:get("/stats/*channel", function(req) return app:stats(req.params.channel) end)
app:get("/slowest", function()
  local out = {}
  for i, row in ipairs(app:slowest(100)) do
    row.own, row.client = row.client:stats(), row.client.id
    out[i] = row
  end
  return sluice.json.array(out)
end)
app:get("/client/:id", function(req) return app:client(req.params.id):stats() end)]]

local EVENT = 60000 -- bytes of padding: 4 MiB of backlog are 69 of these

describe("figures of sockets", function()
  local s

  before_each(function() s = live.start(APP, { args = { "--stall-timeout", "60" } }) end)
  after_each(live.stop_all)

  local function get(path) return json.decode(s.get(path).body) end
  local function stats(channel) return get("/stats/" .. channel) end

  local function eventually(what, fn) return deadline.eventually(fn, 5, what) end

  local function wait_for(channel, name, value)
    eventually(("%s of %s is %s"):format(name, channel, value), function() return stats(channel)[name] == value end)
  end

  it("agree with what was received, on one thread and on two", function()
    local all, log = crowd.connect(s.port, "/all", 6), crowd.connect(s.port, "/log", 3)
    for round = 0, 4 do
      s.publish("log", { first = round * 10 + 1, n = 10 })
      s.publish("short", { first = round * 10 + 1, n = 10 })
    end
    s.publish("log", { event = "end" })
    all:wait_for("event: end\n", 5)
    log:wait_for("event: end\n", 5)
    wait_for("log", "delivered", 51 * 9)
    wait_for("short", "delivered", 50 * 6)
    local figures, short, whole = stats("log"), stats("short"), get("/stats")
    assert.same({ 9, 51, 20, 0, 0, 0 }, { figures.subscribers, figures.published, figures.held, figures.dropped,
      figures.conflated, figures.resets })
    assert.equal(figures.published_bytes * 9, figures.delivered_bytes)
    assert.equal(short.published_bytes * 6, short.delivered_bytes)
    assert.same({ 101, 51 * 9 + 50 * 6 }, { whole.published, whole.delivered })
    assert.equal(whole.published_bytes, figures.published_bytes + short.published_bytes)
    assert.same({}, get("/slowest"))
    all:close()
    log:close()
  end)

  it("count a stream's own bytes and events as they left", function()
    local readers = crowd.connect(s.port, "/log", 1)
    s.publish("log", { n = 3 })
    readers:wait_for('"n":3', 5)
    local text = table.concat((crowd.chunks(readers[1])))
    local own
    eventually("what was received is counted", function() -- which is done behind the sending
      own = get("/client/" .. text:match('"client":"(%w+)"'))
      return own.events >= 3
    end)
    assert.same({ 3, 0, 0, 0, 0 }, { own.events, own.resets, own.lag_events, own.lag_bytes, own.behind_for })
    assert.equal(#text, own.bytes)
    readers:close()
  end)

  it("show the lag of a reader that stalls grow, and fall to 0 when it has read", function()
    local healthy = crowd.connect(s.port, "/log", 2, { shrink = true })
    local c = live.connect(s, "/log", { rcvbuf = 8192 })
    local last = { lag_events = 0, lag_bytes = 0 }
    for round = 0, 2 do
      s.publish("log", { first = round * 20 + 1, n = 20, pad = EVENT })
      healthy:wait_for(('"n":%d'):format(round * 20 + 20), 5)
      if round > 0 then
        last = eventually("more is waiting, for this one only", function()
          local figures = stats("log")
          local more = figures.lag_events > last.lag_events and figures.lag_bytes > last.lag_bytes
          return figures.behind == 1 and more and figures
        end)
      end
    end
    local rows
    last = eventually("everything was given to the socket or is waiting for it", function()
      local figures = stats("log")
      rows = get("/slowest")
      return #rows == 1 and rows[1].events + figures.lag_events == 60 and figures
    end)
    local row = rows[1]
    assert.same({ c.hello.client, "log" }, { row.client, row.channel })
    assert.is_true(row.behind_for > 0 and row.lag_bytes >= last.lag_bytes and row.lag_events >= last.lag_events)
    assert.is_true(last.lag_bytes >= last.lag_events * EVENT and last.lag_bytes < (last.lag_events + 1) * EVENT)
    for n = 1, 60 do assert.equal(n, live.n(c:next_event(5))) end
    eventually("nobody is behind", function() return #get("/slowest") == 0 end)
    local figures, own = stats("log"), get("/client/" .. c.hello.client)
    assert.same({ 0, 0, 0, 180, 0 }, { figures.behind, figures.lag_events, figures.lag_bytes, figures.delivered,
      figures.dropped })
    assert.same({ 60, 0, 0, 0 }, { own.events, own.lag_events, own.lag_bytes, own.behind_for })
    c:close()
    healthy:close()
  end)

  it("say how many are behind, over all threads", function()
    local readers = crowd.connect(s.port, "/log", 8, { rcvbuf = 8192 })
    s.publish("log", { n = 50, pad = EVENT })
    wait_for("log", "behind", 8)
    assert.equal(8, #get("/slowest"))
    assert.equal(8, get("/stats").behind)
    local rows = get("/slowest")
    for i = 2, 8 do assert.is_true(rows[i - 1].lag_bytes >= rows[i].lag_bytes) end
    readers:close()
    s.wait_clients(0)
    wait_for("log", "behind", 0)
    assert.same({}, get("/slowest"))
  end)

  --- Publish more than the backlog takes to a reader that reads afterwards; `owed` were there before.
  local function lose(c, owed)
    for round = 0, 9 do s.publish("log", { first = round * 20 + 1, n = 20, pad = EVENT }) end
    s.publish("log", { event = "end" })
    local got, resets = 0, 0
    repeat
      local e = assert(c:next_event(5))
      if e.event == "reset" then resets = resets + 1 else got = got + 1 end
    until e.event == "end"
    wait_for("log", "delivered", got)
    local figures = stats("log")
    assert.same({ 1, 1, 1 }, { resets, figures.resets, figures.reset_reasons.slow })
    assert.is_true(got < 201 + owed)
    assert.equal(201 + owed, got + figures.dropped)
    assert.equal(1, get("/client/" .. c.hello.client).resets)
    c:close()
  end

  it("count what a slow reader lost, each event once: sent or dropped", function()
    lose(live.connect(s, "/log", { rcvbuf = 8192 }), 0)
  end)

  it("count also what a slow reader lost of its replay", function()
    local ids = s.publish("log", { n = 20, pad = EVENT })
    lose(live.connect(s, "/log", { rcvbuf = 8192, last_event_id = ids[2] }), 18)
  end)

  it("lose no count while the script computes and takes no report", function()
    local ids = s.publish("log", { n = 5 })
    local busy = s.publish_and_spin("log", { first = 6, n = 5, spin = 1.5 })
    -- streams come, are told, and get what is kept, all without the script
    for round = 1, 6 do
      local id = round % 2 == 0 and ids[2] or "aaaaaaaaaaaaa-7"
      local c = live.connect(s, "/log", { last_event_id = id })
      local n = 0
      repeat
        local e = assert(c:next_event(5))
        if e.event == "e" then n = n + 1 end
      until e.event == "e" and live.n(e) == 10
      assert.equal(round % 2 == 0 and 8 or 10, n)
      c:close()
    end
    assert.equal(200, busy:response(10).status)
    busy:close()
    wait_for("log", "delivered", 3 * 8 + 3 * 10)
    assert.same({ 3, 3 }, { stats("log").resets, stats("log").reset_reasons.epoch })
  end)

  it("count resets by reason when browsers come back", function()
    local ids = s.publish("short", { n = 10 }) -- answered: each I/O thread takes them in before it reads a request
    local epoch = ids[1]:match("^(.-)%-")
    local cases = { { ids[1], "trimmed" }, { ids[2], "trimmed" }, { epoch .. "-99999", "future" },
      { "aaaaaaaaaaaaa-7", "epoch" }, { "what?", "unknown_id" }, { ids[8], nil } }
    for _, case in ipairs(cases) do
      local c = live.connect(s, "/all", { last_event_id = case[1] })
      if case[2] then assert.truthy(c:wait_for("reset").data:find(case[2], 1, true)) end
      c:close()
    end
    wait_for("short", "resets", 5)
    local reasons = stats("short").reset_reasons
    assert.same({ 2, 1, 1, 1, 0 }, { reasons.trimmed, reasons.future, reasons.epoch, reasons.unknown_id, reasons.slow })
    -- 5 of 5 for each that was told, 2 for the one that was resumed
    wait_for("short", "delivered", 27)
  end)
end)
