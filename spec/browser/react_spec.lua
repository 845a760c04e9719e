--- examples/react in Chromium, in development form, as StrictMode wants it: its eight components, and eight that
--- were written for hooks of these names before there were any (../shared/use-cases.md), unchanged, on the leaves of
--- the example; over HTTP/1.1, and over HTTP/2 (nginx; the certificate: openssl). Nobody signs in, but for one; streams
--- are counted in the server's log. $SLUICE_SPEC_FULL=1: also what `make react` and `npm run dev` make and serve.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local source = require("spec.support.source")
local react = require("spec.support.react")
local server = require("spec.support.server")
local shared = require("spec.support.shared")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local OURS = 'import "$EXAMPLE/src/main";'

-- Eight, each mounted with these, in its own section; window.leave() unmounts.
local THEIRS = [[
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { SharedStream } from "$EXAMPLE/src/sse";
import { Toaster } from "$EXAMPLE/src/toast";
%s
const parts = [%s];
const props = { jobId: new URLSearchParams(location.search).get("job"), matchId: "7", symbols: ["ACME", "NOVA"],
  deviceId: "boiler", documentId: "tea" };
const of = ["/api/notifications", "/api/job-progress", "/api/live-match/7", "/api/stock-prices",
  "/api/devices/boiler/telemetry", "/api/documents/tea/collaboration", "/api/system/monitoring"];
const root = createRoot(document.getElementById("root")!);
window.leave = () => root.unmount();
window.show = (more) => root.render(<StrictMode>
  <SharedStream url="/api/showcase?match=7&device=boiler&document=tea" of={of}>
    {parts.map(([name, Part]) => <section key={name} id={name}><Part {...props} {...more} /></section>)}
    <Toaster />
  </SharedStream></StrictMode>);
window.show({});
]]

local THEIR_HEAD = [[
import React, { useEffect, useState } from "react";
import type * as types from "$EXAMPLE/src/types";
import { useSse, useSseTyped } from "$EXAMPLE/src/sse";
import { toast } from "$EXAMPLE/src/toast";
import { %s } from "$EXAMPLE/src/leaves";
%s
%s
export { %s };
]]

-- Name, what says that it shows data, as an expression on its section `e`.
local SHOWN = {
  DashboardMetrics = "/^\\d[\\d.]*%$/.test(e.querySelector('.figure').textContent)",
  NotificationCenter = "e.querySelectorAll('.item').length > 0",
  ProgressTracker = "/^[1-9]\\d*% complete/.test(e.querySelector('h3 ~ span').textContent)",
  LiveMatch = "e.querySelector('.feed li') && e.querySelector('.commentary p')",
  StockTicker = "/^\\d+\\.\\d\\d$/.test(e.querySelectorAll('.stock p')[1].textContent)",
  DeviceMonitor = "e.querySelectorAll('.sensors dd').length === 3 && e.querySelector('.alerts .item')",
  CollaborativeEditor = "['Alice', 'Bob'].every((who) => e.querySelector('.people').textContent.includes(who))"
    .. " && e.querySelector('.editor i')",
  SystemDashboard = "/^\\d/.test(e.querySelector('.figure').textContent) && e.querySelector('.services li')",
}

-- How long three POSTs take, in milliseconds, together.
local POSTS = [[async () => {
  const post = (url, body) => fetch(url, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body) });
  const began = performance.now();
  const answers = await Promise.all([post("/api/process-batch", { items: ["a"] }),
    post("/api/documents/tea/lines/1/cursor", { column: 1 }), post("/api/notifications/ack", { ids: ["x"] })]);
  if (answers.some(({ ok }) => !ok)) throw new Error(answers.map(({ status }) => status).join());
  return performance.now() - began;
}]]

-- The same of the example's own, by the titles of their cards.
local OWN_SHOWN = { Dashboard = SHOWN.DashboardMetrics, Notifications = SHOWN.NotificationCenter,
  Progress = "/^\\d+ of \\d+/.test(e.querySelector('.row span').textContent)", Match = SHOWN.LiveMatch,
  Stocks = "[...e.querySelectorAll('.stock p')].filter((p) => /^\\d/.test(p.textContent)).length === 6",
  Device = SHOWN.DeviceMonitor, Document = SHOWN.CollaborativeEditor, Monitoring = SHOWN.SystemDashboard }

-- Their blocks, as files that export one component each.
local function their_pages(text)
  local pages, imports, parts = {}, {}, {}
  local leaves, types = table.concat(react.exports("src/leaves.tsx"), ", "), {}
  for i, name in ipairs(react.exports("src/types.ts")) do types[i] = ("type %s = types.%s;"):format(name, name) end
  for block in text:gmatch("%*%*Frontend %(React%):%*%*\n```typescript\n(.-)\n```") do
    local name = assert(block:match("const (%w+): React%.FC"), block)
    pages["/" .. name] = THEIR_HEAD:format(leaves, table.concat(types, "\n"), block, name)
    imports[#imports + 1] = ('import { %s } from "$HERE/%s";'):format(name, name)
    parts[#parts + 1] = ('["%s", %s]'):format(name, name)
  end
  pages.theirs = THEIRS:format(table.concat(imports, "\n"), table.concat(parts, ", "))
  return pages, #parts
end

-- One hook: window.show(url, options) renders it, window.seen has what its callback was given, and by which render.
local PROBE = [[
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { useSse } from "$EXAMPLE/src/sse";
window.seen = [];
function Probe({ url, tag, options }) {
  window.result = useSse(url, { eventTypes: ["e"], ...options, onMessage: ({ data }) => seen.push(data.n + tag),
    filter: ({ data }) => { window.came = data.n; return true; } });
  return null;
}
const root = createRoot(document.getElementById("root")!);
window.show = (url, tag, options) => root.render(<StrictMode><Probe {...{ url, tag, options }} /></StrictMode>);
window.leave = () => root.unmount();
]]

-- The components of doc/react.md, on the program of that page.
local DOC = [[
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
%s
createRoot(document.getElementById("root")!).render(<StrictMode><Page /><Mine /></StrictMode>);
]]

local DOC_MORE = [[
app:static("/", sluice.env("PAGES"))
local tickets = app:state("tickets", { n = 0 })
app:post("/api/ticket", function()
  tickets().n = tickets().n + 1
  return { ticket = "t" .. tickets().n }
end)
app:stream("/api/mine", function(req) return req.query.ticket and "matches/1" or 401 end)
app:post("/cut", function() for client in app:clients() do client:close("moved") end end)
]]

local function doc_pages(pages)
  local imports = {}
  for _, block in ipairs(markdown.read("doc/react.md").blocks) do
    if block.lang == "tsx" then
      local name = assert(block.text:match("\nexport function (%w+)"), block.place)
      pages["/" .. name] = block.text:gsub('"./sse"', '"$EXAMPLE/src/sse"')
      imports[#imports + 1] = ('import { %s } from "$HERE/%s";'):format(name, name)
    end
  end
  pages.doc = DOC:format(table.concat(imports, "\n"))
end

describe("examples/react", function()
  local b, folder, text, s

  setup(function()
    if not (react.installed() and browser.installed()) then return end
    text = shared.read("use-cases.md")
    local pages = {}
    if text then pages = their_pages(text) end
    pages.ours, pages.probe = OURS, PROBE
    doc_pages(pages)
    folder = react.pages(pages)
    b = browser.start()
  end)
  teardown(function()
    if b then b.stop() end
    if folder then process.remove_dir(folder) end
  end)
  after_each(server.stop_all) -- live's, too

  local function start(...)
    if not folder then pending("build/node or Chromium is not there") return nil end
    s = server.start { path = "examples/showcase/app.lua", args = { ... }, env = { PAGES = folder, SECURE = "no" } }
    return s
  end

  -- How many streams were opened, and how many of them have ended.
  local function streams()
    local opened, ended = 0, 0
    for line in s.log():gmatch("{[^\n]+}") do
      local row = json.decode(line)
      if row.message == "stream ended" then ended = ended + 1 end
      local is_stream = row.path and (row.path:find("^/api/showcase") or row.path:find("^/api/dashboard") or
        row.path:find("^/api/notifications$") or row.path:find("^/api/job%-") or row.path:find("^/api/live") or
        row.path:find("^/api/stock") or row.path:find("/telemetry$") or row.path:find("/collaboration$") or
        row.path:find("/monitoring$"))
      if row.message == "request" and row.status == 200 and is_stream then opened = opened + 1 end
    end
    return opened, ended
  end

  local function alive(n)
    deadline.eventually(function()
      local opened, ended = streams()
      return opened - ended == n
    end, 10, n .. " streams are open")
  end

  local function all_show(page, rows, selector)
    for name, test in pairs(rows) do
      page.wait(("(selector) => { const e = document.querySelector(selector); return e && !!(%s) }"):format(test), 20,
        selector:format(name))
    end
  end

  -- A batch that takes a twentieth of a second an item: its id.
  local function start_batch(n)
    local items = {}
    for i = 1, n do items[i] = "item " .. i end
    local answer = http.post(s.port, "/api/process-batch", json.encode({ items = items }),
      { ["Content-Type"] = "application/json" })
    assert.equal(200, answer.status)
    return json.decode(answer.body).jobId
  end

  it("shows all eight on one stream over HTTP/1.1, and leaves none behind", function()
    if not start("--demo") then return end
    local page = b.open(s.url .. "/ours.html")
    all_show(page, OWN_SHOWN, "section[aria-label=%s]")
    assert.equal(8, page.eval("document.querySelectorAll('section .state[data-state=open]').length"))
    assert.same({ 1, 0 }, { streams() })
    page.reload()
    all_show(page, OWN_SHOWN, "section[aria-label=%s]")
    page.close()
    alive(0)
    assert.equal(2, (streams()))
    assert.same({}, b.noise())
  end)

  it("has eight streams over HTTP/2, beside which POSTs are answered at once", function()
    if not start("--demo") then return end
    if not proxies.installed("nginx") then return pending("nginx is not there") end
    local front = proxies.start("nginx", s.port, { tls = true })
    for _, name in ipairs { "ours", text and "theirs" } do
      local page = b.open(("https://127.0.0.1:%d/%s.html?job=%s"):format(front.port, name, start_batch(1000)))
      all_show(page, name == "ours" and OWN_SHOWN or SHOWN, name == "ours" and "section[aria-label=%s]" or "#%s")
      alive(8)
      assert.is_true(page.eval(POSTS) < 1000 * deadline.scale)
      page.close()
      alive(0)
    end
    front.stop()
    assert.same({}, b.noise())
  end)

  it("asks who it is where nobody is known, and then shows that user's", function()
    if not start() then return end
    local page = b.open(s.url .. "/ours.html")
    page.wait("[...document.querySelectorAll('.state')].filter((e) => /: 401$/.test(e.textContent)).length === 8", 20)
    page.fill(".notice input", "ann")
    page.click(".notice button")
    page.wait("document.querySelector('.people').textContent === 'ann'", 20)
    alive(1)
    page.wait("document.querySelectorAll('.state[data-state=open]').length === 8", 20)
    page.close()
    b.noise() -- Chromium notes each 401
  end)

  it("takes what its pages say: a batch, what was read, a line and a cursor", function()
    if not start("--demo") then return end
    local one, two = b.open(s.url .. "/ours.html"), b.open(s.url .. "/ours.html")
    for _, page in ipairs { one, two } do all_show(page, OWN_SHOWN, "section[aria-label=%s]") end
    local unread = one.eval("document.querySelectorAll('.unread .item').length")
    one.click(".unread .item button")
    for _, page in ipairs { one, two } do
      page.wait("(n) => document.querySelectorAll('.unread .item').length < n", 20, unread)
    end
    one.click("section[aria-label=Progress] button") -- cancels, or starts another
    one.wait("/cancelled|of 24/.test(document.querySelector('section[aria-label=Progress] p.row').textContent)", 20)
    one.fill(".editor li:nth-child(2) input", "Milk first")
    two.wait("document.querySelector('.editor li:nth-child(2) input').value === 'Milk first'", 20)
    two.wait("document.querySelector('.editor li:nth-child(2) i[title=alice]')", 20)
    one.eval([[() => {
      const line = document.querySelector(".editor li:nth-child(2) input");
      window.seen = [];
      const look = () => {
        if (window.seen.at(-1) !== line.value) window.seen.push(line.value);
        requestAnimationFrame(look);
      };
      look();
    }]])
    for _, key in ipairs { "a", "b", "c", "d", "e", "f" } do one.press(key) end
    one.eval("document.activeElement.blur()") -- while it is saved
    two.wait("document.querySelector('.editor li:nth-child(2) input').value === 'Milk firstabcdef'", 20)
    one.wait("window.seen.at(-1) === 'Milk firstabcdef'", 20)
    assert.same({}, one.eval("window.seen.filter((text, i) => i > 0 && text.length < window.seen[i - 1].length)"))
    one.close()
    two.close()
    assert.same({}, b.noise())
  end)

  it("has the document's eight components show data, unchanged", function()
    if not text then return pending("no ../shared/use-cases.md") end
    if not start("--demo") then return end
    assert.equal(8, select(2, their_pages(text)))
    local page = b.open(("%s/theirs.html?job=%s"):format(s.url, start_batch(1000)))
    all_show(page, SHOWN, "#%s")
    alive(2) -- the first of them has an EventSource, which StrictMode may have made twice
    local before = streams()
    page.eval("show({ symbols: ['TIDE'] })") -- a filter of the new props, on the stream of the old
    page.wait("/^5\\d\\.\\d\\d$/.test(document.querySelector('#StockTicker .stock p').textContent)", 20)
    assert.equal(before, (streams()))
    page.eval("leave()")
    alive(0)
    page.close()
    assert.same({}, b.noise())
  end)

  it("does what doc/react.md says", function()
    if not folder then pending("build/node or Chromium is not there") return end
    local program = markdown.read("doc/react.md").block("lua").text
      :gsub("\nreturn app\n$", "\n" .. DOC_MORE .. "return app\n")
    s = server.start { app = program, env = { PAGES = folder } }
    local page = b.open(s.url .. "/doc.html")
    local function send(method, path, body)
      local c = http.connect(s.port)
      return c:request(method, path, { ["Content-Type"] = "application/json" }, json.encode(body)).status
    end
    local function shows(what) page.wait("(text) => document.body.innerText.includes(text)", 20, what) end
    shows("No goals")
    page.wait("[...document.querySelectorAll('p')].at(-1).textContent === 'open'", 20) -- Mine, with a ticket
    assert.equal(202, send("POST", "/api/matches/7/goals", { player = "Silva" }))
    shows("Silva")
    assert.equal(202, send("PUT", "/api/prices/NOVA", { price = 8.5 }))
    assert.equal(202, send("PUT", "/api/prices/WAVE", { price = 1 }))
    shows("NOVA 8.50 (1 changes)")
    send("POST", "/cut", {})
    assert.equal(202, send("POST", "/api/matches/7/goals", { player = "Berg" }))
    shows("Silva, Berg")
    page.wait("[...document.querySelectorAll('p')].at(-1).textContent === 'open'", 20) -- with another ticket
    page.close()
    assert.same({}, b.noise())
  end)

  it("has hooks with the callbacks of the last render, which pause and go on where they were", function()
    if not folder then pending("build/node or Chromium is not there") return end
    local l = live.start([[
      app:channel("log", { history = 500, rewind = "all" })
      app:stream("/log", "log")
      app:static("/", sluice.env("PAGES"))]], { env = { PAGES = folder } })
    local page = b.open(l.url .. "/probe.html")
    local function clients(n)
      deadline.eventually(function() return l.alive().clients == n end, 10, n .. " streams")
    end
    local function render(...)
      page.eval("([url, tag, options]) => show(url, tag, options)", { ... })
    end
    local function seen(what) page.wait("(text) => seen.join() === text", 20, what) end
    render("/log", "a")
    clients(1)
    l.publish("log", { first = 1 })
    seen("1a")
    render("/log", "b")
    l.publish("log", { first = 2 })
    seen("1a,2b")
    render(json.null, "c")
    clients(0)
    assert.equal("closed", page.eval("result.status"))
    l.publish("log", { first = 3 })
    render("/log", "d")
    seen("1a,2b,3d")
    assert.equal(3, page.eval("result.events.length"))
    render("/log", "e", { eventTypes = { "e", "f" } })
    l.publish("log", { first = 4, event = "f" })
    seen("1a,2b,3d,4e")
    clients(1)
    l.publish("log", { first = 5, n = 120 })
    page.wait("result.lastEvent.data.n === 124", 20)
    assert.same({ 100, 25 }, page.eval("[result.events.length, result.events[0].data.n]"))
    page.eval("seen.length = 0")
    render("/log", "f", { throttle = 60000 })
    clients(1)
    l.publish("log", { first = 200 })
    seen("200f")
    l.publish("log", { first = 201, n = 2 })
    page.wait("came === 202", 20)
    render("/log", "g", { throttle = 60001 })
    seen("200f,202g")
    page.eval("leave()")
    clients(0)
    page.close()
    assert.same({}, b.noise())
  end)

  -- A port that was free a moment ago.
  local function free_port()
    local unused = source.listen()
    local port = unused.port
    unused:close()
    return math.floor(port)
  end

  -- Debian's make and npm, in place of start: what they serve.
  local function run(words, options, pattern)
    local p = process.spawn(words, options)
    deadline.eventually(function()
      if p:code() then deadline.give_up(words[1] .. " has ended:\n" .. p:log()) end
      return p:log():find(pattern)
    end, 120, words[1] .. " serves")
    return p
  end

  if not FULL then return end

  it("is built and served by make react, with HTTP/2 by Caddy, and by Vite in development", function()
    if not b then pending("build/node or Chromium is not there") return end
    if not proxies.installed("caddy") then return pending("caddy is not there") end
    local port, https = free_port(), free_port()
    local made = run({ "make", "react", "PORT=" .. port, "HTTPS_PORT=" .. https }, { kind = "server" },
      "one stream over")
    s = { port = port, log = function() return made:log() end }
    deadline.eventually(function() return pcall(http.get, port, "/") end, 20, "it listens")
    local page = b.open(("https://localhost:%d/"):format(https))
    all_show(page, OWN_SHOWN, "section[aria-label=%s]")
    alive(8)
    assert.is_true(page.eval(POSTS) < 1000 * deadline.scale)
    page.close()
    alive(0)

    local dev = free_port()
    local vite = run({ "node", "node_modules/vite/bin/vite.js", "--port", dev, "--strictPort" }, { kind = "server",
      dir = react.EXAMPLE, env = { SLUICE_URL = "http://127.0.0.1:" .. port } }, "localhost:%D*" .. dev)
    page = b.open(("http://localhost:%d/"):format(dev))
    all_show(page, OWN_SHOWN, "section[aria-label=%s]")
    alive(1)
    assert.is_number(page.eval(POSTS))
    page.close()
    alive(0)
    vite:stop()
    made:stop()
    b.noise()
  end)

  it("has types that the document's components and those of the page pass", function()
    if not (text and folder) then return pending("no ../shared/use-cases.md") end
    assert.equal(0, process.run({ ".ci/react" }, { seconds = 300 }))
    os.execute(("ln -s %s/node_modules %s/node_modules"):format(react.EXAMPLE, folder))
    local names = {}
    for name in pairs((their_pages(text))) do
      if name:find("^/") then names[#names + 1] = ('"%s.tsx"'):format(name:sub(2)) end
    end
    process.write_file(folder .. "/tsconfig.json", ([[{ "extends": "%s/tsconfig.json", "include": [],
      "files": [%s, "Page.tsx", "Mine.tsx"], "compilerOptions": { "noUnusedLocals": false } }]])
      :format(react.EXAMPLE, table.concat(names, ", ")))
    local tsc = react.EXAMPLE .. "/node_modules/.bin/tsc"
    assert.same({ 0, "" }, { process.run({ tsc, "-p", folder }, { seconds = 120 }) })
  end)
end)
