--- WebKitGTK behind nginx with HTTP/2 (certificate: openssl): it hears what is said last, and comes back.
--- It needs gir1.2-webkit2-4.1, python3-gi and xvfb, 250 MB, which only SPEC=spec/browser/webkit_spec.lua installs.
local clients = require("spec.support.clients")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local webkit = require("spec.support.webkit")
local proxies = require("spec.support.proxies")

local TIMES = os.getenv("SLUICE_SPEC_FULL") == "1" and 5 or 1 -- that it is sent away

local PAGE = [[
<script type="module">
%s
follow(new EventSource("/log"), (what, fields) => {
  webkit.messageHandlers.said.postMessage(JSON.stringify({ stream: 1, what, ...fields }));
});
</script>]]

--- The same with sluice.js, which tells less.
local OWN = [[
<script type="module">
import { connect } from "/sluice.js";
const say = (what, fields) =>
  webkit.messageHandlers.said.postMessage(JSON.stringify({ stream: 1, what, ...fields }));
connect("/log", { eventTypes: ["e", "word"], share: true, onStatus: say, onReset: () => say("reset"),
  onMessage: (e) => say("message", { event: e.type, id: e.id, data: JSON.stringify(e.data) }) });
</script>]]

local APP = [[
app:channel("log", { history = 100 })
app:get("/page", function() return 200, [==[%s]==], { ["Content-Type"] = "text/html" } end)
app:stream("/log", "log")
app:post("/end", function() for c in app:clients() do c:send("word", 1) c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:send("word", 2) c:stop() end end)]]

--- A page of it, watched like those of other clients.
local function open(url) return clients.of_process("WebKitGTK", webkit.open(url), { url }) end

describe("WebKitGTK", function()
  it("hears what is said last, and comes back, behind nginx with HTTP/2", function()
    if not webkit.installed() then pending("WebKitGTK is not installed") return end
    finally(function()
      process.stop_all("client")
      live.stop_all()
    end)
    local page = PAGE:format(process.read_file("spec/support/follow.mjs"):gsub("export ", ""))
    local s = live.start(APP:format((page)))
    local front = proxies.start("nginx", s.port, { tls = true })
    local c = open(("https://localhost:%d/page"):format(front.port))
    c.all("hello", 30, function() return c.count(1, "message", "hello") == 1 end)
    s.publish("log")
    c.all("event", 10, function() return #c.numbers(1) == 1 end)
    for n = 2, 1 + TIMES do
      s.post("/end")
      s.wait_clients(0)
      s.publish("log", { first = n })
      c.all("return", 20, function() return #c.numbers(1) == n end)
    end
    for n, number in ipairs(c.numbers(1)) do assert.equal(n, number) end
    assert.same({ TIMES, TIMES }, { c.count(1, "message", "word"), c.count(1, "message", "bye") })
    assert.is_true(json.decode(c.last(1, "hello").data).resumed)
    s.post("/stop")
    c.all("end", 20, function() return c.count(1, "closed") == 1 end)
    assert.same({ "stop", 1 + TIMES }, { c.last(1, "bye").id, c.count(1, "message", "bye") })
    front.stop()
  end)

  it("follows by sluice.js, and comes back after each end", function()
    if not webkit.installed() then pending("WebKitGTK is not installed") return end
    finally(function()
      process.stop_all("client")
      live.stop_all()
    end)
    local s = live.start(APP:format(OWN))
    local front = proxies.start("nginx", s.port, { tls = true })
    local c = open(("https://localhost:%d/page"):format(front.port))
    c.all("open", 30, function() return c.count(1, "open") == 1 end)
    s.wait_clients(1) -- shared, or its own
    s.publish("log")
    c.all("event", 10, function() return #c.numbers(1) == 1 end)
    s.post("/end")
    s.publish("log", { first = 2 })
    c.all("return", 20, function() return #c.numbers(1) == 2 end)
    assert.same({ { 1, 2 }, 0 }, { c.numbers(1), c.count(1, "reset") })
    s.post("/stop")
    c.all("end", 20, function() return c.count(1, "closed") == 1 end)
    front.stop()
  end)
end)
