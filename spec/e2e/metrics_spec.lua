--- /-/metrics on a real server: what promtool says of it, who may read it, what it says about streams on
--- sockets and a store on a disk, and that scraping leaves delivery alone. The alert rules and the dashboard
--- of doc/ use what is there.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local families = require("sluice.requests.metrics").FAMILIES
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local live = require("spec.support.live")
local openmetrics = require("spec.support.openmetrics")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")

local KEY = ("k"):rep(40)
local PROMTOOL = "build/promtool/usr/bin/promtool"
local RULES, DASHBOARD = "doc/prometheus-alerts.yml", "doc/grafana-dashboard.json"
local FULL = os.getenv("SLUICE_SPEC_FULL")

local APP = [[
app:channel("log", { history = 50 })
app:channel("kept", { durable = true })
app:stream("/log", { channels = { "log" } })]]

local function promtool(what, ...)
  if not lfs.attributes(PROMTOOL) then return pending("promtool is not there") end
  local code, out = process.run({ PROMTOOL, what, ... })
  assert.equal(0, code, out)
end

--- All names of metrics in a text of PromQL that are ours, without what a type adds.
local function names_in(text)
  local known, unknown, seen = {}, {}, 0
  for _, row in ipairs(families) do
    local suffixes = ({ counter = { "_total" }, histogram = { "_bucket", "_sum", "_count" }, info = { "_info" } })
    for _, suffix in ipairs(suffixes[row[2]] or { "" }) do known[row[1] .. suffix] = true end
  end
  for name in text:gmatch("%f[%w_](sluice_[%w_]+)") do
    seen = seen + 1
    if not known[name] then unknown[#unknown + 1] = name end
  end
  for name in text:gmatch("%f[%w_](process_[%w_]+)") do
    if not known[name] then unknown[#unknown + 1] = name end
  end
  return unknown, seen
end

describe("the scraper's page", function()
  local s

  after_each(live.stop_all)

  local function start(options)
    options = options or {}
    options.args = options.args or { "--admin-key", KEY }
    s = live.start(APP, options)
  end

  local function ask(accept)
    return http.get(s.port, "/-/metrics", { ["X-Admin-Key"] = KEY, Accept = accept })
  end

  local function scrape() return openmetrics.parse(ask().body) end

  it("passes promtool, with everything in it", function()
    start()
    local all = crowd.connect(s.port, "/log", 3)
    s.publish("log", { n = 10 })
    s.publish("kept", { n = 3 })
    all:wait_for("id: ", 5)
    local answer = ask("text/plain")
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    assert.truthy(openmetrics.parse(answer.body, false).value("sluice_store_commits_total") > 0)
    local path = os.tmpname()
    process.write_file(path, answer.body)
    if not lfs.attributes(PROMTOOL) then return pending("promtool is not there") end
    local code, out = process.run(("%s check metrics < %s"):format(PROMTOOL, path))
    os.remove(path)
    assert.same({ 0, "" }, { code, out })
  end)

  it("is for the admin key and the Unix socket", function()
    start()
    assert.equal(401, http.get(s.port, "/-/metrics").status)
    assert.equal(401, http.get(s.port, "/-/metrics", { ["X-Admin-Key"] = KEY:sub(2) }).status)
    assert.equal(405, http.post(s.port, "/-/metrics", "", { ["X-Admin-Key"] = KEY }).status)
    local path = ("%s/sluice/%d.sock"):format(s.folder, s.port)
    local code, out = process.run({ "curl", "-s", "--unix-socket", path, "http://localhost/-/metrics" })
    assert.equal(0, code)
    openmetrics.parse(out)
  end)

  it("has a port of its own that is for nothing else", function()
    start({ args = { "--metrics-port", "0", "--max-connections", "3" } })
    local host, port = s.wait_log("metrics on http://([%d.]+):(%d+)/metrics")
    assert.equal("127.0.0.1", host)
    port = math.tointeger(tonumber(port))
    local idle = {}
    for i = 1, 3 do idle[i] = http.connect(s.port) end
    for _, path in ipairs({ "/metrics", "/-/metrics", "/metrics?x=1" }) do
      local answer = http.get(port, path)
      assert.equal(200, answer.status, path)
      openmetrics.parse(answer.body)
    end
    for _, path in ipairs({ "/log", "/-/reload", "/", "/-t/alive", "/-/lab", "/metrics/" }) do
      assert.equal(404, http.get(port, path).status, path)
    end
    assert.equal(404, http.post(port, "/-/reload", "").status)
    assert.equal(405, http.post(port, "/metrics", "").status)
    assert.equal(200, http.get(port, "/-/healthz").status)
    assert.equal(421, http.get(port, "/metrics", { Host = "evil.example" }).status)
    for _, c in ipairs(idle) do c:close() end
    deadline.eventually(function() return http.get(s.port, "/metrics").status == 404 end, 5, "there is room")
    local many = {}
    for i = 1, 16 do
      many[i] = http.connect(port)
      assert.equal(200, many[i]:request("GET", "/metrics").status)
    end
    assert.equal(200, http.get(port, "/metrics").status) -- in place of the idlest
    assert.equal("closed", select(2, many[1]:drain(5)))
    for i = 1, 16 do many[i]:close() end
    local code, log = server.run_to_end { app = "return require('sluice').app()", args = { "--metrics-port", port } }
    assert.equal(1, code)
    assert.truthy(log:find(("cannot listen on 127.0.0.1 port %d for metrics: "):format(port), 1, true), log)
  end)

  it("answers a scraper beside connections that say nothing, however many", function()
    start({ args = { "--metrics-port", "0" } })
    local _, port = s.wait_log("metrics on http://([%d.]+):(%d+)/metrics")
    port = math.tointeger(tonumber(port))
    local silent = {}
    for i = 1, 40 do silent[i] = assert(http.connect(port)) end
    assert.equal(200, http.get(port, "/metrics").status)
    local _, why = silent[1]:drain(5)
    assert.equal("closed", why)
    for _, c in ipairs(silent) do c:close() end
    assert.equal(200, http.get(port, "/metrics").status)
  end)

  it("takes no place from readers", function()
    start({ args = { "--metrics-port", "0", "--max-connections", "2" } })
    local _, port = s.wait_log("metrics on http://([%d.]+):(%d+)/metrics")
    port = math.tointeger(tonumber(port))
    local scrapers = {}
    for i = 1, 16 do
      scrapers[i] = assert(http.connect(port))
      scrapers[i]:send(http.request_text("GET", "/metrics", {}, nil, scrapers[i].host))
      local page = openmetrics.parse(scrapers[i]:response(5).body)
      assert.equal(0, page.sum("sluice_connections"))
    end
    local readers = { live.connect(s, "/log"), live.connect(s, "/log") }
    assert.equal(2, openmetrics.parse(http.get(port, "/metrics").body).sum("sluice_connections"))
    for _, list in ipairs { scrapers, readers } do
      for _, c in ipairs(list) do c:close() end
    end
    deadline.eventually(function()
      return openmetrics.parse(http.get(port, "/metrics").body).sum("sluice_connections") == 0
    end, 5, "no connection")
  end)

  it("has a score for balancers, and readyz turns before somebody is refused", function()
    start({ args = { "--admin-key", KEY, "--max-connections", "40", "--metrics-port", "0",
      "--agent-port", "0" } })
    local _, port = s.wait_log("metrics on http://([%d.]+):(%d+)/metrics")
    port = math.tointeger(tonumber(port))
    local function load() return json.decode(http.get(port, "/-/load").body) end
    local function weight() return http.get(port, "/-/load?weight").body end
    local function ready() return http.get(port, "/-/readyz").status end
    local agent_port = s.wait_log("agent%-check on 127.0.0.1 port (%d+)")
    local function agent() -- as HAProxy asks: it says nothing, and reads one line
      local c = http.connect(math.tointeger(tonumber(agent_port)))
      local text, why = c:drain(5)
      c:close()
      assert.equal("closed", why)
      return text
    end
    assert.equal(401, http.get(s.port, "/-/load").status)
    assert.equal(200, http.get(s.port, "/-/load", { ["X-Admin-Key"] = KEY }).status)
    local idle = {}
    local function open_to(n)
      while #idle > n do table.remove(idle):close() end
      while #idle < n do
        local c = http.connect(s.port)
        idle[#idle + 1] = c
        assert.equal(200, c:request("GET", "/-/healthz").status, #idle .. " are open")
      end
    end
    local function eventually(status)
      deadline.eventually(function() return ready() == status end, 5, "readyz is " .. status)
    end
    open_to(20)
    local score = load()
    assert.same({ "connections", true, 0 }, { score.most, score.ready, score.requests })
    assert.is_true(score.load >= 0.5 and score.load <= 0.55 and score.connections == score.load, score.load)
    for _, text in ipairs { weight(), agent() } do
      local free = tonumber(text:match("^(%d+)%%\n$"))
      assert.is_true(free >= 45 and free <= 50, text)
    end
    eventually(200)
    open_to(38) -- 95 %; the one that asks does not count
    eventually(503)
    assert.truthy(http.get(port, "/-/readyz").body:find("a limit is near", 1, true))
    assert.same({ false, "0%\n", "0%\n" }, { load().ready, weight(), agent() })
    open_to(39) -- nobody is refused yet
    open_to(36) -- of 40: not yet below 90 %
    deadline.eventually(function() return load().load <= 0.9 end, 5, "they have gone")
    assert.equal(503, ready())
    open_to(30)
    eventually(200)
    assert.is_true(load().ready)
    local args = { "--agent-port", agent_port }
    local code, log = server.run_to_end { app = "return require('sluice').app()", args = args }
    assert.equal(1, code)
    assert.truthy(log:find(("cannot listen on 127.0.0.1 port %s for agents: "):format(agent_port), 1, true), log)
  end)

  it("says what streams on sockets were sent, on one thread and on two", function()
    start()
    local all = crowd.connect(s.port, "/log", 8)
    s.wait_clients(8)
    for round = 0, 4 do s.publish("log", { first = round * 10 + 1, n = 10 }) end
    s.publish("log", { event = "end" })
    all:wait_for("event: end\n", 5)
    deadline.eventually(function()
      return scrape().value("sluice_pattern_delivered_events_total", { pattern = "log" }) == 51 * 8
    end, 5, "all is told")
    local m = scrape()
    assert.same({ 8, 8, 51, 51 * 8 }, { m.sum("sluice_streams"),
      m.value("sluice_pattern_subscribers", { pattern = "log" }), m.value("sluice_published_events_total"),
      m.sum("sluice_delivered_events_total") })
    local timed = m.sum("sluice_publish_latency_seconds_count")
    assert.is_true(timed >= 8 and timed <= 51 * 8, timed)
    local first = scrape()
    all:close()
    deadline.eventually(function() return scrape().value("sluice_streams_ended_total", { reason = "gone" }) == 8 end,
      5, "they have gone")
    local second = scrape().counters()
    for key, value in pairs(first.counters()) do assert.is_true(second[key] >= value, key) end
  end)

  it("leaves delivery alone while it is read", function()
    start()
    local streams, rounds, long = FULL and 1000 or 50, FULL and 30 or 2, FULL and 4 or 0.25
    local all = crowd.connect(s.port, "/log", streams)
    s.wait_clients(streams, 30)
    local bounds = { "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25",
      "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf" }

    -- Add the deliveries of so many seconds to a list: how many took up to each of these. Scrapes between them, or not.
    local function watch(into, scraping, seconds)
      local before, ends, n = scrape(), socket.gettime() + seconds, 0
      while socket.gettime() < ends or n < 5 do
        s.publish("log", { n = 5 })
        n = n + 1
        if scraping and n % 5 == 0 then
          scrape()
          into.scrapes = into.scrapes + 1
        end
        all:read(0.02)
      end
      local after = scrape()
      for k, le in ipairs(bounds) do
        for i = 0, 15 do
          local name, of = "sluice_publish_latency_seconds_bucket", { thread = "io" .. i, le = le }
          into[k] = (into[k] or 0) + (after.value(name, of) or 0) - (before.value(name, of) or 0)
        end
      end
    end

    local function p99(list)
      for k, le in ipairs(bounds) do
        if list[k] >= 0.99 * list[#bounds] then return tonumber(le) or math.huge end
      end
    end

    live.one_of(FULL and 1 or 3, function()
      local without, with = { scrapes = 0 }, { scrapes = 0 }
      for _ = 1, rounds do -- side by side, so that what else the machine does is in both
        watch(without, false, long / 2)
        watch(with, true, long)
      end
      assert.is_true(without[#bounds] >= streams and with[#bounds] >= streams)
      assert.is_true(with.scrapes >= rounds)
      local text = ("p99 up to %g s in %d deliveries without scrapes, %g s in %d with %d"):format(p99(without),
        without[#bounds], p99(with), with[#bounds], with.scrapes)
      if os.getenv("SHOW") then print(text) end
      return p99(with) <= 2.5 * p99(without), text
    end)
  end)
end)

describe("the alert rules", function()
  it("pass promtool", function() promtool("check", "rules", RULES) end)

  it("and the dashboard ask for what there is", function()
    for _, path in ipairs({ RULES, DASHBOARD }) do
      local unknown, seen = names_in(assert(process.read_file(path)))
      assert.same({}, unknown, path)
      assert.is_true(seen > 20, path)
    end
    local dashboard = assert(json.decode(process.read_file(DASHBOARD)))
    local ids, charts = {}, 0
    for _, panel in ipairs(dashboard.panels) do
      assert.is_nil(ids[panel.id])
      ids[panel.id] = true
      if panel.type ~= "row" then
        charts = charts + 1
        assert.is_true(#panel.targets > 0 and panel.description ~= "", panel.title)
      end
    end
    assert.is_true(charts >= 15)
  end)

  it("each have a row in the page for the first night", function()
    local page, n = process.read_file("doc/metrics.md"), 0
    for name in process.read_file(RULES):gmatch("alert: (%w+)") do
      n = n + 1
      assert.truthy(page:find("`" .. name .. "`", 1, true), name)
    end
    assert.is_true(n >= 15)
  end)

  it("fire when it is time, and not before", function()
    local folder = process.temp_dir()
    process.write_file(folder .. "/test.yml", ([[
rule_files: [%s/%s]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'up{job="sluice",instance="a"}'
        values: '1 1 0 0 0 0'
      - series: 'sluice_connections{job="sluice",instance="a",thread="io0"}'
        values: '10 10 50 50 50 50 10'
      - series: 'sluice_connections{job="sluice",instance="a",thread="io1"}'
        values: '10 10 50 50 50 50 10'
      - series: 'sluice_connections_limit{job="sluice",instance="a"}'
        values: '100x10'
      - series: 'sluice_dropped_events_total{job="sluice",instance="a"}'
        values: '0 0 0 7 7 7 7 7 7 7 7 7'
      - series: 'sluice_refused_total{job="sluice",instance="a",limit="max_streams_per_user"}'
        values: '0 0 1 1 1 1 1 1 1 1 1 1'
      - series: 'sluice_refused_total{job="sluice",instance="a",limit="max_requests_per_address"}'
        values: '0+60x20'
      - series: 'sluice_pattern_over_budget_channels{job="sluice",instance="a",pattern="feed/:id"}'
        values: '0 2 2 2 0'
      - series: 'sluice_generations_alive{job="sluice",instance="a"}'
        values: '1 2 1 2 2 2 2 2 2 2 2 2 2 2 2'
    alert_rule_test:
      - { eval_time: 12m, alertname: SluiceGenerationsKept, exp_alerts: [] }
      - eval_time: 13m
        alertname: SluiceGenerationsKept
        exp_alerts:
          - exp_labels: { severity: warning, job: sluice, instance: a }
            exp_annotations: { summary: 'Sluice a: coroutines of old code do not end, reloads wait' }
      - { eval_time: 1m, alertname: SluiceDown, exp_alerts: [] }
      - eval_time: 4m
        alertname: SluiceDown
        exp_alerts:
          - exp_labels: { severity: critical, job: sluice, instance: a }
            exp_annotations: { summary: 'Sluice a: nobody answers the scraper' }
      - { eval_time: 1m, alertname: SluiceConnectionsNearLimit, exp_alerts: [] }
      - eval_time: 5m
        alertname: SluiceConnectionsNearLimit
        exp_alerts:
          - exp_labels: { severity: warning, instance: a }
            exp_annotations: { summary: 'Sluice a: 100 connections, --max-connections is near' }
      - { eval_time: 6m, alertname: SluiceConnectionsNearLimit, exp_alerts: [] }
      - { eval_time: 2m, alertname: SluiceEventsDropped, exp_alerts: [] }
      - { eval_time: 11m, alertname: SluiceEventsDropped, exp_alerts: [] }
      - { eval_time: 4m, alertname: SluiceRefuses, exp_alerts: [] }
      - eval_time: 12m
        alertname: SluiceRefuses
        exp_alerts:
          - exp_labels: { severity: warning, instance: a, limit: max_requests_per_address }
            exp_annotations: { summary: 'Sluice a: max_requests_per_address refuses 1 a second' }
      - { eval_time: 1m, alertname: SluiceOverBudget, exp_alerts: [] }
      - eval_time: 3m
        alertname: SluiceOverBudget
        exp_alerts:
          - exp_labels: { severity: warning, instance: a, pattern: 'feed/:id' }
            exp_annotations: { summary: 'Sluice a: 2 channels of feed/:id send more than their budget' }
      - { eval_time: 4m, alertname: SluiceOverBudget, exp_alerts: [] }
]]):format(lfs.currentdir(), RULES))
    promtool("test", "rules", folder .. "/test.yml")
    process.remove_dir(folder)
  end)
end)
