--- sluice.js on real servers: connections that are cut in Node, older browsers, the document's blocks, the
--- seventh stream. (What happens to pages: sluice_js_situations_spec.) $SLUICE_SPEC_FULL=1: 1,000 cuts; else waits
--- are an eighth of what they are.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local READERS, CUTS, SPEED = FULL and 40 or 12, FULL and 25 or 2, FULL and 4 or 8

local APP = [==[
app:channel("log", { history = 100000, rewind = "all" })
app:stream("/log", "log")
app:post("/close", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)
app:get("/count", function() local n = 0 for _ in app:clients() do n = n + 1 end return tostring(n) end)
app:get("/old", function() return 200, [[<!doctype html><title>Old</title><script>
window.fetch = window.EventSource = window.BroadcastChannel = undefined;
window.ReadableStream = window.AbortController = undefined;
var wait = setTimeout;
window.setTimeout = function (fn, ms) { return wait(fn, ms > 400 ? ms / $SPEED : ms); };
</script><script src="/sluice.legacy.js"></script><script>
var seen = [], status = "";
var c = sluice.connect("/log", { eventTypes: ["e"], onStatus: function (s) { status = s; },
  onMessage: function (e) { seen.push(e.data.n); } });
</script>]], { ["Content-Type"] = "text/html" } end)
app:get("/page", function() return 200, [[<!doctype html><title>Page</title><script type="module">
import { connect } from "/sluice.js";
window.follow = (url) => {
  window.c = connect(url, { eventTypes: ["e"] });
  return true;
};
</script>]], { ["Content-Type"] = "text/html" } end)]==]
APP = APP:gsub("%$SPEED", tostring(SPEED))

describe("sluice.js", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(live.stop_all)

  local function count(s, n)
    deadline.eventually(function() return tonumber(s.get("/count").body) == n end, 10, n .. " streams")
  end

  it("in Node: cut anywhere, again and again, loses nothing and gives nothing twice", function()
    if not lfs.attributes("build/node/node_modules/esbuild") then pending("build/node is not installed") return end
    local s = live.start(APP, { args = { "--heartbeat", "1" } })
    local seed = FULL and os.time() or 1
    local code, output = process.run({ "node", "spec/browser/sluice_js/cuts.mjs", "lua/sluice/browser/sluice.js",
      s.url .. "/log", READERS, CUTS, seed, SPEED }, { seconds = FULL and 900 or 60 })
    assert.equal(0, code, output)
    local told = json.decode(output)
    assert.same({}, told.wrong, "seed " .. seed)
    assert.equal(0, told.left) -- but one whose reader had left before it came is no cut
    assert.is_true(told.cuts > READERS * CUTS * 0.8, told.cuts)
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
    local page = b.open(s.url .. "/page")
    page.wait("!!window.follow", 10)
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
