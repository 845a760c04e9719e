--- GET /-/metrics in virtual time: the text holds to its grammar, says what a workload did, and has as
--- many lines as there are declared patterns, whatever channels and clients are called.
local exposition = require("sluice.requests.exposition")
local families = require("sluice.requests.metrics").FAMILIES
local kit = require("spec.support.kit")
local openmetrics = require("spec.support.openmetrics")

local KEY = ("k"):rep(40)
local OPTIONS = { flags = { admin_key = KEY } }
local REPORT = 0.25 -- seconds after which everything is told

local APP = [[
app:channel("log", { history = 10 })
app:channel("prices", { history = "latest", key = "symbol" })
app:channel("user/:id", { history = 2 })
app:channel("slow", { history = 10, batch = 2 })
app:stream("/log", { channels = { "log", "prices" } })
app:stream("/slow", "slow")
app:stream("/mine", function(req) return "user/" .. req.query.id end)
app:stream("/any", function(req) return req.query.name end)
app:get("/stats", function() return app:stats() end)
app:get("/broken", function() error("broken") end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)]]

describe("metrics", function()
  local t

  local function ask(accept)
    return t:get("/-/metrics", { headers = { Authorization = "Bearer " .. KEY, Accept = accept } })
  end

  local function scrape()
    t:advance(REPORT)
    local answer = ask()
    assert.equal(200, answer.status)
    return openmetrics.parse(answer.body)
  end

  local function of(m, name, pattern) return m.value("sluice_pattern_" .. name, { pattern = pattern }) end

  before_each(function() t = kit.start(APP, OPTIONS) end)
  after_each(kit.stop_all)

  it("are OpenMetrics unless the scraper prefers the older format", function()
    local open, plain = "application/openmetrics-text; version=1.0.0; charset=utf-8",
      "text/plain; version=0.0.4; charset=utf-8"
    local asked = { { nil, open }, { "*/*", open }, { "text/plain", plain },
      { "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", open },
      { "application/openmetrics-text;q=0.2, text/plain;q=0.4", plain } }
    for i = 1, #asked do
      local answer = ask(asked[i][1])
      assert.equal(asked[i][2], answer.headers["content-type"], asked[i][1])
      openmetrics.parse(answer.body, asked[i][2] == open)
    end
  end)

  it("need the admin key", function()
    assert.equal(401, t:get("/-/metrics").status)
    assert.equal(401, t:get("/-/metrics", { headers = { Authorization = "Bearer x" .. KEY } }).status)
  end)

  it("have every family once, in the order of the list, those of a store and a cluster only with one", function()
    local m = scrape()
    for _, row in ipairs(families) do
      local family = m.families[row[1]]
      assert.equal(row[6] == nil, family ~= nil, row[1])
      if family then assert.same({ row[2], row[3] or nil }, { family.type, family.unit }, row[1]) end
    end
    t = kit.start('app:channel("kept", { durable = true })', OPTIONS)
    for n = 1, 3 do t:publish("kept", "e", { n = n }) end
    m = scrape()
    assert.is_true(m.value("sluice_store_commits_total") > 0)
    assert.equal(3, m.value("sluice_store_events_total"))
    assert.is_true(m.value("sluice_store_commit_seconds_count") >= m.value("sluice_store_commits_total"))
    assert.equal(0, m.value("sluice_store_trouble"))
  end)

  it("say what app:stats() says, by pattern and by thread", function()
    local a, b = t:connect("/log"), t:connect("/log")
    local mine = t:connect("/mine?id=7")
    for n = 1, 12 do t:publish("log", "line", { n = n }) end
    for n = 1, 4 do t:publish("user/7", "note", { n = n }) end
    t:publish("undeclared", "e", {})
    t:publish("other", "e", {})
    t:publish("prices", "price", { symbol = "A" })
    local m = scrape()
    assert.same({ 12, 4, 1, 2 }, { of(m, "published_events_total", "log"), of(m, "published_events_total", "user/:id"),
      of(m, "published_events_total", "prices"), of(m, "published_events_total", "other") })
    assert.same({ 24, 4, 2, 0 }, { of(m, "delivered_events_total", "log"), of(m, "delivered_events_total", "user/:id"),
      of(m, "delivered_events_total", "prices"), of(m, "delivered_events_total", "other") })
    assert.same({ 2, 1, 10, 2, 1 }, { of(m, "subscribers", "log"), of(m, "subscribers", "user/:id"),
      of(m, "held_events", "log"), of(m, "held_events", "user/:id"), of(m, "channels", "user/:id") })
    assert.equal(2 * of(m, "published_bytes_total", "log"), of(m, "delivered_bytes_total", "log"))
    local stats = t:get("/stats").json
    m = scrape()
    assert.same({ stats.published, stats.delivered, stats.streams, stats.clients, stats.channels, stats.held_bytes },
      { m.value("sluice_published_events_total"), m.sum("sluice_delivered_events_total"), m.sum("sluice_streams"),
        m.value("sluice_clients"), m.value("sluice_channels"), m.value("sluice_held_bytes") })
    assert.equal(stats.epoch, m.families.sluice_epoch.samples[1].labels.epoch)
    assert.same({ 12, 12, 4 }, { a:count("line"), b:count("line"), mine:count("note") })
  end)

  it("keep the counts of channels that are forgotten, and of patterns that a reload takes away", function()
    local c = t:connect("/mine?id=7")
    t:publish("user/7", "note", {})
    t:publish("log", "line", {})
    local before = scrape()
    c:drop()
    t:advance(1300)
    assert.equal(0, of(scrape(), "channels", "user/:id"))
    assert.is_true(t:reload(kit.source('app:channel("log", { history = 5 }) app:channel("new", {})')))
    t:publish("log", "line", {})
    t:publish("new", "line", {})
    t:publish("user/8", "note", {})
    local after = scrape()
    for key, value in pairs(before.counters()) do
      local now = after.counters()[key]
      assert.is_true(now ~= nil and now >= value, key)
    end
    assert.same({ 1, 2, 1, 1 }, { of(after, "published_events_total", "user/:id"),
      of(after, "published_events_total", "log"), of(after, "published_events_total", "new"),
      of(after, "published_events_total", "other") })
    assert.same({ 1, 2 }, { after.value("sluice_reloads_total", { result = "ok" }), after.value("sluice_generation") })
  end)

  it("count streams of channels that have no events by the patterns of now", function()
    t:connect("/mine?id=9")
    assert.same({ 1, 0 }, { of(scrape(), "subscribers", "user/:id"), of(scrape(), "channels", "user/:id") })
    assert.is_true(t:reload(kit.source('app:channel("user/*", {}) app:stream("/mine", '
      .. 'function(req) return "user/" .. req.query.id end)')))
    assert.same({ 0, 1 }, { of(scrape(), "subscribers", "user/:id"), of(scrape(), "subscribers", "user/*") })
  end)

  it("count resets, ends, answers and errors by what they were", function()
    local id = t:publish("log", "line", {})
    for _ = 1, 20 do t:publish("log", "line", {}) end
    t:connect("/log", { last_event_id = id })
    t:connect("/log", { last_event_id = "some-thing" })
    t:get("/broken")
    t:get("/nothing")
    local gone = t:connect("/log")
    gone:drop()
    t:advance(REPORT)
    t:post("/stop")
    local m = scrape()
    local function resets(reason) return m.value("sluice_resets_total", { reason = reason }) end
    assert.same({ 1, 1, 0, 2 }, { resets("trimmed"), resets("unknown_id"), resets("slow"),
      of(m, "resets_total", "log") })
    local function ended(reason) return m.value("sluice_streams_ended_total", { reason = reason }) end
    assert.same({ 2, 1, 0 }, { ended("stop"), ended("gone"), ended("drain") })
    local function answers(class) return m.value("sluice_responses_total", { thread = "io0", class = class }) end
    assert.same({ 1, 1 }, { answers("4xx"), answers("5xx") })
    assert.equal(1, m.value("sluice_handler_errors_total"))
    assert.equal(0, m.sum("sluice_streams"))
  end)

  it("count how much newcomers were sent until they had caught up, once each", function()
    for n = 1, 7 do t:publish("log", "line", { n = n }) end
    local first = t:connect("/log")
    t:connect("/log", { last_event_id = "some-thing" })
    local function counts(m)
      return { m.value("sluice_replay_events_count", { thread = "io0" }),
        m.value("sluice_replay_events_sum", { thread = "io0" }) }
    end
    assert.same({ 2, 7 }, counts(scrape()))
    first:stall(5)
    for n = 8, 20 do t:publish("log", "line", { n = n }) end
    t:advance(100) -- catches up, heartbeats
    assert.same({ 2, 7 }, counts(scrape()))
  end)

  it("time what caught-up streams are sent, and neither readers that lag nor a batch", function()
    local good, slow, batch = t:connect("/log"), t:connect("/log"), t:connect("/slow")
    t:advance(1)
    local function counted(m) return m.value("sluice_publish_latency_seconds_count", { thread = "io0" }) end
    t:publish("log", "line", { n = 1 })
    assert.equal(2, counted(scrape()))
    slow:stall(5)
    for n = 2, 200 do t:publish("log", "line", { n = n, pad = ("x"):rep(1000) }) end
    t:publish("slow", "e", {})
    t:advance(10)
    local m = scrape()
    assert.same({ 200, 200, 1 }, { good:count("line"), slow:count("line"), batch:count("e") })
    local n = counted(m)
    assert.is_true(n >= 3 and n <= 400, n)
    assert.equal(n, m.value("sluice_publish_latency_seconds_bucket", { thread = "io0", le = "1.0" }))
  end)

  it("have a bounded number of lines, whatever names are made of", function()
    local function lines()
      t:advance(REPORT)
      local body = ask().body
      openmetrics.parse(body)
      return select(2, body:gsub("\n", "")), body
    end
    local before = lines()
    for n = 1, 500 do t:publish("user/" .. n, "note", {}) end
    for _, name in ipairs({ 'a"b', "back\\slash", "{le=\"1\"}", "ünï/čode", "x=1,y=2" }) do
      t:publish(name, "note", {})
      t:connect("/any?name=" .. name:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
    end
    local after, body = lines()
    assert.equal(before, after)
    assert.is_nil(body:find("back", 1, true))
    local declared = {}
    for n = 1, 300 do declared[n] = ('app:channel("p%d/:x", {})'):format(n) end
    t = kit.start(table.concat(declared, "\n"), OPTIONS)
    t:publish("p300/a", "e", {})
    local m = scrape()
    assert.equal(201, #m.families.sluice_pattern_channels.samples)
    assert.equal(1, m.sum("sluice_pattern_published_events_total"))
  end)

  it("escape what labels and help are made of", function()
    for _, is_open in ipairs({ true, false }) do
      local out, odd = exposition.new(is_open), 'a"b\\c\nd{le="1"},=\xff\u{e9}'
      out:family("x_bytes", "gauge", "one\ntwo\\three", "bytes")
      out:sample({ name = odd }, 0.5)
      local m = openmetrics.parse(out:text(), is_open)
      assert.equal(0.5, m.value("x_bytes", { name = (odd:gsub("[\128-\255]", "?")) }))
      assert.equal("one\\ntwo\\\\three", m.families.x_bytes.help)
    end
  end)
end)
