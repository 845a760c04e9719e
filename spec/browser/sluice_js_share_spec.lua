--- share = true: tabs of Chromium share one stream, whatever happens to the worker between them.
--- A tab whose worker is killed says nothing of it. $SLUICE_SPEC_FULL=1 kills 200 workers.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local TABS, KILLS, CUTS = FULL and 6 or 4, FULL and 200 or 3, FULL and 100 or 1

local APP = [==[
app:channel("log", { history = 100000, rewind = "all" })
app:channel("st", { history = "latest", key = "k" })
app:stream("/s", { channels = { "log", "st" } })
app:get("/count", function() local n = 0 for _ in app:clients() do n = n + 1 end return tostring(n) end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:get("/page", function() return 200, [[<!doctype html><title>Tab</title><script type="module">
import { connect } from "/sluice.js";
Object.assign(window, { seen: [], states: [], resets: [], last: {}, early: [] });
const ask = fetch; // a tab that was open says that it connects when a retry has passed, of two seconds at least
let asked = 0;
window.fetch = (...what) => { asked = performance.now(); return ask(...what); };
window.c = connect("/s", { share: true, eventTypes: ["e", "st"], onReset: (r) => resets.push(r),
  onStatus: (s) => {
    states.push(s);
    if (s !== "open" && performance.now() - asked < 1900) early.push(s);
  },
  onMessage: (e) => { if (e.type === "e") seen.push(e.data.n); else last[e.data.k] = e.data.n; } });
</script>]], { ["Content-Type"] = "text/html" } end)]==]

-- A stream that refuses all tickets but one, and how often it was asked.
local REFUSING = [==[
local asked = app:state("asked", { n = 0 })
app:channel("log", { rewind = "all" })
app:stream("/s", function(req)
  asked().n = asked().n + 1
  return req.query.ticket == "good" and "log" or 401
end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:get("/asked", function() return tostring(asked().n) end)
app:get("/page", function() return 200, [[<!doctype html><title>Tab</title><script type="module">
import { connect } from "/sluice.js";
Object.assign(window, { errors: [], seen: [], ticket: "bad" });
window.follow = (asks) => { window.c = connect("/s", { share: true, token: asks && (() => ticket), eventTypes: ["e"],
  onError: (e) => errors.push(e.status), onMessage: (e) => seen.push(e.data.n) }); };
</script>]], { ["Content-Type"] = "text/html" } end)]==]

describe("tabs that share a stream", function()
  local b

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    live.stop_all()
  end)

  it("are one stream, lose nothing and get nothing twice, also when its worker is killed", function()
    local s = live.start(APP)
    local seen = b.run("spec/browser/sluice_js/share.mjs", { url = s.url, tabs = TABS, kills = KILLS, cuts = CUTS },
      FULL and 1800 or 120)
    assert.is_true(seen.shared)
    for i, tab in ipairs(seen.seen) do
      assert.same({ i, {}, seen.n, seen.n, 0 }, { i, tab.wrong, tab.n, tab.state, tab.resets })
    end
    assert.same({ true, true, KILLS }, { seen.all, seen.one, seen.killed })
    assert.equal(TABS, #seen.told)
    for _, early in ipairs(seen.told) do assert.same({}, early) end
  end)

  it("are refused by few requests", function()
    local s = live.start(REFUSING)
    local function asked() return tonumber(s.get("/asked").body) end
    for _, asks in ipairs { false, true } do
      local pages, before = {}, asked()
      for i = 1, 3 do
        pages[i] = b.open(s.url .. "/page")
        pages[i].wait("!!window.follow", 10)
      end
      for _, page in ipairs(pages) do page.eval("(asks) => void follow(asks)", asks) end
      for _, page in ipairs(pages) do
        page.wait("c.status === 'closed'", 20)
        assert.same({ 401 }, page.eval("errors"))
      end
      local most = (asks and 2 or 1) * 6 -- of each tab, and of a worker that may have ended before the next came
      assert.is_true(asked() - before <= most, asked() - before)
      for _, page in ipairs(pages) do page.close() end
    end
  end)

  it("go on with the stream when another tab's ticket was refused", function()
    local s = live.start(REFUSING)
    local function tab()
      local page = b.open(s.url .. "/page")
      page.wait("!!window.follow", 10)
      page.eval("ticket = 'good'")
      page.eval("follow(true)")
      page.wait("c.status === 'open'", 20)
      return page
    end
    local good, other = tab(), tab()
    s.wait_clients(1, 20)
    other.eval("ticket = 'bad'")
    deadline.eventually(function() -- until the worker takes the ticket of that one
      s.post("/cut")
      return other.eval("c.status") == "closed"
    end, 30, "it is refused")
    s.wait_clients(1, 20)
    s.publish("log", { first = 7 })
    good.wait("seen.at(-1) === 7", 20)
    local shared = { good, tab() }
    s.wait_clients(1, 20)
    s.publish("log", { first = 8 })
    for _, page in ipairs(shared) do page.wait("seen.at(-1) === 8", 20) end
    assert.same({ 7, 8 }, good.eval("seen"))
  end)
end)
