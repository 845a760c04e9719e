--- sluice.js on real servers: cut connections, restarts, the network away, tickets, pages that are left and
--- come back. In Node and in Chromium. $SLUICE_SPEC_FULL=1: 1,000 cuts.
local browser = require("spec.support.browser")
local json = require("sluice.json")
local live = require("spec.support.live")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local server = require("spec.support.server")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local READERS, CUTS = FULL and 40 or 12, FULL and 25 or 2

local APP = [==[
app:channel("log", { history = 100000, rewind = "all" })
app:stream("/log", "log")
local used = app:state("used", {})
app:stream("/only", function(req)
  local ticket = req.query.ticket
  if not ticket or used()[ticket] then return 401, "used" end
  used()[ticket] = true
  return "log"
end)
app:post("/close", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)
app:get("/count", function() local n = 0 for _ in app:clients() do n = n + 1 end return tostring(n) end)
app:get("/old", function() return 200, [[<!doctype html><title>Old</title><script>
window.fetch = window.EventSource = window.BroadcastChannel = undefined;
window.ReadableStream = window.AbortController = undefined;
</script><script src="/sluice.legacy.js"></script><script>
var seen = [], status = "";
var c = sluice.connect("/log", { eventTypes: ["e"], onStatus: function (s) { status = s; },
  onMessage: function (e) { seen.push(e.data.n); } });
</script>]], { ["Content-Type"] = "text/html" } end)
app:get("/page", function() return 200, [[<!doctype html><title>Page</title><script type="module">
import { connect } from "/sluice.js";
window.follow = (url, options = {}) => {
  Object.assign(window, { seen: [], states: [], resets: [], errors: [] });
  window.c = connect(url, { eventTypes: ["e"], onReset: (r) => resets.push(r.reason), onStatus: (s) => states.push(s),
    onError: (e) => errors.push(e.status ?? 0), onMessage: (e) => seen.push(e.data.n), ...options });
  return true;
};
</script>]], { ["Content-Type"] = "text/html" } end)]==]

describe("sluice.js", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(function()
    b.offline(false)
    live.stop_all()
  end)

  local function page_of(port, url, options)
    local page = b.open(("http://127.0.0.1:%d/page"):format(port))
    page.wait("!!window.follow", 10)
    page.eval("([url, o]) => follow(url, o ?? {})", { url, options })
    return page
  end

  local function count(s, n)
    local deadline = require("spec.support.deadline")
    deadline.eventually(function() return tonumber(s.get("/count").body) == n end, 10, n .. " streams")
  end

  it("in Node: cut anywhere, again and again, loses nothing and gives nothing twice", function()
    if not lfs.attributes("build/node/node_modules/esbuild") then pending("build/node is not installed") return end
    local s = live.start(APP, { args = { "--heartbeat", "1" } })
    local seed = FULL and os.time() or 1
    local code, output = process.run({ "node", "spec/browser/sluice_js/cuts.mjs", "lua/sluice/browser/sluice.js",
      s.url .. "/log", READERS, CUTS, seed }, { seconds = FULL and 900 or 60 })
    assert.equal(0, code, output)
    local told = json.decode(output)
    assert.same({}, told.wrong, "seed " .. seed)
    assert.is_true(told.cuts >= READERS * CUTS, told.cuts)
  end)

  it("in a page: comes back after a restart behind nginx, which answers 502 meanwhile", function()
    local s = live.start(APP)
    local front = proxies.start("nginx", s.port, { block = proxies.BARE })
    local page = page_of(front.port, "/log")
    page.wait("states.at(-1) === 'open'", 10)
    s.publish("log")
    page.wait("seen.length === 1", 10)
    s.stop()
    page.wait("errors.includes(502)", 20)
    local again = live.start(APP, { port = s.port })
    again.publish("log", { first = 7 })
    page.wait("seen.length === 2", 30)
    assert.same({ { 1, 7 }, { "epoch" }, "open" }, { page.eval("seen"), page.eval("resets"), page.eval("c.status") })
    again.post("/stop")
    page.wait("c.status === 'closed'", 10)
    page.close()
    front.stop()
  end)

  it("in a page: network away and back, the page left and seen again, a clean end: nothing is lost", function()
    local s = live.start(APP)
    local page = page_of(s.port, "/log")
    s.publish("log")
    page.wait("seen.length === 1", 10)
    b.offline(true) -- Chromium lets what is open go on: the server cuts it
    s.post("/close")
    page.wait("c.status === 'waiting' || c.status === 'connecting'", 20)
    s.publish("log", { first = 2, n = 3 })
    b.offline(false)
    page.wait("seen.length === 4", 20)
    page.eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    count(s, 0)
    s.publish("log", { first = 5 })
    page.eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    page.wait("seen.length === 5", 20)
    s.post("/close")
    s.publish("log", { first = 6 })
    page.wait("seen.length === 6", 20)
    assert.same({ { 1, 2, 3, 4, 5, 6 }, 0 }, { page.eval("seen"), page.eval("resets.length") })
    page.eval("c.close()")
    count(s, 0)
    page.close()
  end)

  it("in a page: asks for a new ticket for each stream, and is over when none is good", function()
    local s = live.start(APP)
    local page = page_of(s.port, "/log")
    page.eval("c.close()")
    page.eval("() => { window.n = 0; follow('/only', { token: async () => 't' + ++n }); return true }")
    s.publish("log")
    page.wait("seen.length === 1", 10)
    s.post("/close")
    s.publish("log", { first = 2 })
    page.wait("seen.length === 2", 20)
    assert.same({ 2, 0 }, { page.eval("n"), page.eval("resets.length") })
    page.eval("() => { c.close(); follow('/only', { token: 't1' }); return true }")
    page.wait("c.status === 'closed'", 10)
    assert.same({ 401 }, page.eval("errors"))
    page.close()
  end)

  it("in a page without fetch, EventSource and the like: the form for older browsers", function()
    local s = live.start(APP)
    local page = b.open(s.url .. "/old")
    page.wait("status === 'open'", 10)
    s.publish("log")
    page.wait("seen.length === 1", 10)
    s.post("/close")
    s.publish("log", { first = 2 })
    page.wait("seen.length === 2", 20)
    s.post("/stop")
    page.wait("status === 'closed'", 20)
    assert.same({ 1, 2 }, page.eval("seen"))
    page.close()
  end)

  it("in a page: each block of its document runs", function()
    local doc = markdown.read("doc/browser.md")
    local s = server.start { app = doc.block("lua").text }
    local page = b.open(s.url)
    b.noise()
    for _, block in ipairs(doc.blocks) do
      if block.lang == "js" then
        page.eval([[(text) => {
          const script = document.createElement("script");
          Object.assign(script, { type: "module", textContent: text + "\nwindow.ran = (window.ran ?? 0) + 1;" });
          document.head.append(script);
          return true;
        }]], block.text)
      end
    end
    page.wait("window.ran === 6 && document.title === 'open'", 20)
    for _, said in ipairs(b.noise()) do assert.matches("^Failed to load resource", said[3]) end
    page.close()
    s.stop()
  end)

  it("in a page: is one stream for many, and warns of the seventh", function()
    local s = live.start(APP)
    local page = page_of(s.port, "/log")
    page.eval("() => { for (let i = 0; i < 8; i++) follow('/log'); return true }")
    page.wait("c.status === 'open'", 10)
    count(s, 1)
    b.noise()
    page.eval("() => { for (let i = 0; i < 6; i++) follow('/log?i=' + i); return true }")
    page.wait("true", 1)
    local said = b.noise()
    assert.matches("seventh stream", said[1][3])
    page.close()
    count(s, 0)
  end)
end)
