--- The showcase's page in a real browser: nine cards that fill from one stream, the log, the demo switch, the
--- panel over cuts, a restart and a reload, keys alone, and events that mean harm.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

local PARTS = { "showcase", "look", "dashboard", "notifications", "match", "stocks", "devices", "progress", "editor",
  "monitoring", "chat" }
local HEADERS = { ["Content-Type"] = "application/json", ["X-API-Key"] = "your-api-key" }

-- Each card, and what is in it when its events have come.
local FILLED = [[() => {
  const all = (selector) => document.querySelectorAll(selector).length;
  const text = (selector) => document.querySelector(selector)?.textContent ?? "";
  return Object.entries({
    dashboard: all("#dashboard .chart path.line") && /\d/.test(text("#dashboard dd")),
    notifications: all("#notifications .notes li"),
    progress: all("#progress [aria-valuenow]"),
    match: all("#match .moments li") && /\d/.test(text("#match b")),
    stocks: all("#stocks .tile") === 6,
    devices: all("#devices .chart path.line") && all("#devices .state:not([hidden])"),
    editor: all("#editor .people li") && all("#editor .text li") > 2,
    monitoring: all("#monitoring .services li") && all("#monitoring .state"),
  }).every(([, filled]) => filled);
}]]

-- What is wider than the page.
local WIDER = [[[...document.querySelectorAll("main *")].filter((it) => it.clientWidth > 0
  && !it.closest(".code, .chart") && it.getBoundingClientRect().right > innerWidth + 1)
  .map((it) => it.outerHTML.slice(0, 90))]]

local CHOOSE = [[(name) => {
  const type = document.getElementById("type");
  type.value = name;
  type.dispatchEvent(new Event("input", { bubbles: true }));
  return type.value === name;
}]]

describe("the showcase's page", function()
  local b, s

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
  end)
  before_each(function()
    if not (s and not s.code()) then s = server.start { path = "examples/showcase/app.lua", args = { "--demo" } } end
  end)

  -- What pages complained about, apart from connections that this spec broke.
  local function complaints()
    local list = {}
    for _, line in ipairs(b.noise()) do
      if not line[3]:find("Failed to load resource: net::ERR_", 1, true) then list[#list + 1] = line[3] end
    end
    return list
  end

  local function post(path, body)
    return http.post(s.port, "/api/sse/" .. path, json.encode(body), HEADERS)
  end

  local function number(page, selector)
    return math.tointeger(tonumber((page.text(selector):match("[%d,]+"):gsub(",", ""))))
  end

  it("fills all cards, and fits a desk and a phone, in the light and the dark", function()
    local page = b.open(s.url .. "/", { width = 1280, height = 900, scheme = "light" })
    page.wait(FILLED, 40)
    assert.equal("Live", page.text("#status"))
    page.wait("document.querySelector('#connection [data-is=compression]').textContent !== '–'", 20)
    assert.matches("^gzip$", (page.text("#connection [data-is=compression]"):gsub("zstd", "gzip")))
    for _, width in ipairs { 1280, 390 } do
      page.size(width, 900)
      for _, scheme in ipairs { "light", "dark" } do
        page.media(scheme)
        assert.equal(0, page.eval("document.documentElement.scrollWidth - innerWidth"))
        assert.same({}, page.eval(WIDER))
        page.screenshot(("build/showcase-%d-%s.png"):format(width, scheme))
      end
    end
    page.close()
    assert.same({}, complaints())
  end)

  it("opens one stream, asks nobody else, and its policy keeps out what is not its own", function()
    local result = b.run("spec/browser/showcase.mjs", { what = "requests", url = s.url .. "/" })
    assert.same({ "/api/showcase" }, result.seen.streams)
    assert.is_true(#result.seen.hosts <= 2) -- its own, and the one that it is kept from
    assert.is_false(result.seen.ran)
    table.sort(result.seen.violations)
    assert.same({ "connect-src", "script-src-attr" }, result.seen.violations)
    b.noise()
  end)

  it("leads to each page, and shows its code", function()
    local page = b.open(s.url .. "/")
    local links = page.eval("[...document.querySelectorAll('.cards h3 a')].map((a) => a.getAttribute('href'))")
    assert.equal(9, #links)
    for _, link in ipairs(links) do assert.matches("^/%l+/$", link) end
    page.wait("document.querySelectorAll('#rules [data-is=links] button').length === 10", 10)
    assert.matches("above = ", page.text("#rules .code"))
    page.click("#rules [data-is=links] button:nth-of-type(4)")
    page.wait("document.querySelectorAll('#viewer[open] .code li').length > 10", 5)
    assert.equal("examples/match/app.lua", page.text("#viewer h2"))
    page.close()
    for _, file in ipairs { "", "../README.md", "examples/../Makefile", "examples/react/package.json",
      "examples/look/look.css", "examples/showcase/../../README.md", "examples/showcase/none.lua" } do
      assert.equal(404, http.get(s.port, "/api/code?file=" .. file).status, file)
    end
    assert.same({}, complaints())
  end)

  it("starts a batch, marks as read, answers a question", function()
    local page = b.open(s.url .. "/")
    page.wait("document.querySelectorAll('#notifications .notes li').length > 0", 40)
    page.click("#progress [data-is=start]")
    page.wait("[...document.querySelectorAll('#progress li:not([data-end=done])')].length > 0", 20)
    local key = page.eval("document.querySelector('#notifications .notes li').dataset.key")
    page.click("#notifications .notes button")
    page.wait("(key) => !document.querySelector(`#notifications li[data-key='${key}']`)", 20, key)
    page.fill("#question", "Are <b>you</b> there?")
    page.click("#chat button")
    page.wait("document.querySelector('#chat .talk').dataset.state === 'complete'", 40)
    assert.equal("Are <b>you</b> there?", page.text("#chat .question"))
    assert.matches("Set LLM_URL", page.text("#chat .answer"))
    page.close()
    assert.same({}, complaints())
  end)

  it("logs all events, newest first, by type and text, and counts what comes while it pauses", function()
    local page = b.open(s.url .. "/")
    page.wait("document.querySelectorAll('#log li').length > 5", 20)
    assert.is_true(page.eval(CHOOSE, ""))
    assert.equal(202, post("broadcast", { eventType = "note", data = { n = 1, text = "the first" } }).status)
    assert.equal(202, post("broadcast", { eventType = "note", data = { n = 2, text = "the second" } }).status)
    page.wait(CHOOSE, 10, "note")
    page.wait("document.querySelectorAll('#log li').length === 2", 10)
    assert.matches("the second", page.text("#log li:first-child"))
    assert.matches("note.*came 2 times", page.text("#about"))
    page.fill("#find", "FIRST")
    page.wait("document.querySelectorAll('#log li').length === 1", 10)
    page.fill("#find", "")
    page.click("#pause")
    page.wait("document.getElementById('pause').getAttribute('aria-pressed') === 'true'", 5)
    for n = 3, 5 do post("broadcast", { eventType = "note", data = { n = n } }) end
    page.wait("/^Continue \\(\\d+ new\\)$/.test(document.getElementById('pause').textContent)", 10)
    assert.matches("^2 of", page.text("#log-count"))
    page.wait("/came 5 times/.test(document.getElementById('about').textContent)", 10)
    assert.equal(2, page.eval("document.querySelectorAll('#log li').length"))
    page.click("#pause")
    page.wait("document.querySelectorAll('#log li').length === 5", 10)
    assert.matches('"n":5', page.text("#log li:first-child"))
    page.click("#log li:first-child summary")
    page.wait("/\"n\": 5/.test(document.querySelector('#log pre')?.textContent)", 5)
    for n = 1, 40 do post("broadcast", { eventType = "note", data = { n = n, text = ("x"):rep(500) } }) end
    page.wait("document.querySelectorAll('#log li').length >= 40", 20)
    assert.is_true(page.eval("document.querySelectorAll('#log li').length <= 150"))
    page.close()
    assert.same({}, complaints())
  end)

  it("switches the demo on, makes it quicker, and off", function()
    local page = b.open(s.url .. "/")
    -- The page shows at once what it asks for.
    local function server_has(name, value)
      deadline.eventually(function() return json.decode(http.get(s.port, "/api/demo/status").body)[name] == value end,
        10, "the demo's " .. name)
    end
    page.wait("document.querySelector('#demo [data-is=interval]').value === '5'", 10)
    page.fill("#demo [data-is=interval]", "0.5")
    page.click("#demo [role=switch]")
    page.wait("document.querySelector('#demo [role=switch]').getAttribute('aria-checked') === 'true'", 10)
    page.wait("/^On, \\d+ sent$/.test(document.querySelector('#demo [data-is=said]').textContent)", 10)
    server_has("intervalSeconds", 0.5)
    page.fill("#demo [data-is=interval]", "0")
    page.eval("document.querySelector('#demo [data-is=interval]').dispatchEvent(new Event('change'))")
    page.wait("/from 0.1 to 3600/.test(document.querySelector('#demo [data-is=said]').textContent)", 10)
    page.click("#demo [role=switch]")
    page.wait("document.querySelector('#demo [role=switch]').getAttribute('aria-checked') === 'false'", 10)
    server_has("running", false)
    page.fill("#demo [data-is=interval]", "60")
    for _, clicks in ipairs { 3, 5 } do -- quicker than any answer: none of them is lost
      local on = clicks == 3
      page.eval("(n) => { for (; n > 0; n -= 1) document.querySelector('#demo [role=switch]').click(); }", clicks)
      server_has("running", on)
      page.wait("(on) => document.querySelector('#demo [role=switch]').ariaChecked === on", 10, tostring(on))
    end
    page.close()
    assert.same({}, complaints())
  end)

  it("shows as text what means harm, and goes on after what no card can read", function()
    local page = b.open(s.url .. "/")
    page.wait("document.querySelectorAll('#log li').length > 3", 20)
    local evil = "<img id=evil src=x onerror='window.ran=1'><script>window.ran=1</script>"
    local types = page.eval([[async () => {
      const names = [...document.querySelectorAll(".cards .card")].map(({ id }) => id);
      const cards = await Promise.all(names.map((name) => import(`/cards/${name}.js`)));
      return cards.flatMap((card) => Object.keys(card.default.on));
    }]])
    assert.is_true(#types > 20)
    local data = {}
    for _, field in ipairs { "id", "message", "title", "severity", "from", "jobId", "kind", "currentItem", "type",
      "player", "team", "text", "symbol", "deviceId", "status", "userId", "userName", "content", "user", "timestamp",
      "since" } do
      data[field] = evil
    end
    local sent = 0
    for _, shape in ipairs { data, { score = 1, services = { 1, json.null, {} }, position = "x", sensorData = 3,
      percentage = "9", line = 1e9, price = {}, id = {}, userId = 7 }, json.array { 1, 2 }, "text", 17 } do
      for _, name in ipairs(types) do
        if post("broadcast", { eventType = name, data = shape }).status == 202 then sent = sent + 1 end
      end
    end
    assert.is_true(sent > 40)
    assert.equal(202, post("broadcast", { eventType = "done", data = { evil = evil } }).status)
    page.wait(CHOOSE, 20, "done")
    assert.is_nil(page.eval("document.getElementById('evil') ? 1 : null"))
    assert.is_nil(page.eval("window.ran ?? null"))
    assert.equal(0, page.eval("document.documentElement.scrollWidth - innerWidth"))
    local before = number(page, "#events")
    page.wait("(n) => Number(document.getElementById('events').textContent.replaceAll(',', '')) > n + 5", 20, before)
    page.wait("/\\d/.test(document.querySelector('#dashboard [data-is=cpu]').textContent)", 20)
    page.close()
    assert.same({}, complaints())
    s.stop() -- what was posted is kept by the server
  end)

  it("says how it resumed after a cut, with nothing lost", function()
    local result = b.run("spec/browser/showcase.mjs", { what = "cut", port = s.port, blocked_ms = 1500 }, 90)
    assert.matches("^Resumed after [%d.]+ s: %d+ events caught up, nothing lost$", result.seen.reports[1])
    assert.equal("The connection broke", result.seen.reports[2])
    assert.equal("Connected", result.seen.reports[3])
    assert.matches("^once, %d+ caught up$", result.seen.resumed)
    assert.equal("none", result.seen.resets)
    assert.same({}, result.errors)
    assert.same({}, complaints())
  end)

  it("says that the server stops, and what a restart has lost", function()
    local page, port = b.open(s.url .. "/"), s.port
    page.wait("document.querySelectorAll('#stocks .tile').length === 6", 20)
    local client = page.text("#connection [data-is=client]")
    s.stop()
    page.wait("document.getElementById('status').dataset.state === 'waiting'", 20)
    page.wait("/asks to come back/.test(document.querySelector('#connection .reports').textContent)", 10)
    s = server.start { path = "examples/showcase/app.lua", args = { "--demo" }, port = port }
    page.wait("document.getElementById('status').dataset.state === 'open'", 40)
    page.wait("/Reset of \\d+ channels: the server was restarted/.test("
      .. "document.querySelector('#connection .reports').textContent)", 20)
    page.wait("/last: the server was restarted/.test("
      .. "document.querySelector('#connection [data-is=resets]').textContent)", 10)
    assert.not_equal(client, page.text("#connection [data-is=client]"))
    page.wait(FILLED, 40)
    page.close()
    assert.same({}, complaints())
  end)

  it("shows a rule that changes, and that no connection was lost", function()
    local folder = process.temp_dir()
    for _, part in ipairs(PARTS) do process.run({ "cp", "-r", "examples/" .. part, folder }) end
    local own = server.start { path = folder .. "/showcase/app.lua", args = { "--demo" }, watch = true }
    local file = folder .. "/showcase/rules.lua"
    local rules = process.read_file(file)
    assert.truthy(rules:find("above = 90", 1, true))
    local page = b.open(own.url .. "/")
    page.wait("document.querySelectorAll('#rules .code li').length > 5", 20)
    page.wait("document.querySelector('#connection [data-is=client]').textContent.length > 5", 10)
    local client = page.text("#connection [data-is=client]")
    process.write_file(file, (rules:gsub("above = 90", "above = 91")))
    page.wait("/reload #2: rules.lua, one connection kept$/.test("
      .. "document.querySelector('#rules [data-is=said]').textContent)", 20)
    page.wait("/above = 91/.test(document.querySelector('#rules .code .marked')?.textContent)", 10)
    process.write_file(file, rules .. "}")
    page.wait("/not loaded: rules.lua:\\d+: /.test("
      .. "document.querySelector('#rules [data-is=said]').textContent)", 20)
    assert.equal("generation 2 serves", page.text("#rules .badge"))
    assert.equal(client, page.text("#connection [data-is=client]"))
    assert.equal("Connected", page.text("#connection .reports"):match("%a+$"))
    page.close()
    own.stop()
    process.remove_dir(folder)
    assert.same({}, complaints())
  end)

  it("can be used with keys alone, and stands still for those who ask for it", function()
    local result = b.run("spec/browser/showcase.mjs", { what = "keys", url = s.url .. "/" }, 60)
    assert.is_true(#result.seen.stops > 20 and #result.seen.stops < 50, tostring(#result.seen.stops))
    for _, name in ipairs(result.seen.stops) do assert.not_matches("^no name", name) end
    assert.same({ "true", "false", true, true },
      { result.seen.pressed, result.seen.continued, result.seen.first, result.seen.closed })
    assert.same({}, result.errors)
    local still = b.run("spec/browser/showcase.mjs", { what = "still", url = s.url .. "/" }, 60)
    assert.equal(0, still.seen)
    assert.same({}, complaints())
  end)

  it("has headings and landmarks in order, and says alerts and states only", function()
    local page = b.open(s.url .. "/")
    page.wait("document.querySelectorAll('#stocks .tile').length === 6", 20)
    assert.equal("H1 H2 H3 H3 H3 H3 H3 H3 H3 H3 H3 H2 H2 H2 H2 H2",
      page.eval("[...document.querySelectorAll('h1, h2, h3')].map((h) => h.tagName).join(' ')"))
    assert.equal(0, page.eval([[[...document.querySelectorAll("#log, #log *")].filter((it) => it.ariaLive
      || it.role === "log").length]]))
    assert.equal(1, page.eval("document.querySelectorAll('main').length"))
    page.close()
    assert.same({}, complaints())
  end)
end)
