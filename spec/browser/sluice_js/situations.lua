--- What happens to pages that follow by sluice.js, in any engine: situations(engine) makes the specs of one.
---
--- A page notes each number that it was given and each reset; the numbers are 1, 2, 3 … A checker that knows
--- nothing else says whether each came once, in order, and none is missing but behind a reset. The app
--- publishes on while things go wrong. Waits of a page are an eighth of what they are, but with the full size.
local assert = require("luassert")
local browser = require("spec.support.browser")
local busted = require("busted")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")

local it = busted.it
local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"

--- What is for the full size alone when `long`.
local function at_length(long, name, fn)
  if FULL or not long then it(name, fn) end
end

local APP = [==[
app:guard("/**", function(req) req.user = req.cookies.user and { id = req.cookies.user } return true end)
app:cors("/log", { origins = { "*" } })
app:channel("log", { history = 100000, rewind = "all" })
app:channel("mine/:user", { history = 1000, rewind = "all",
  read = function(user, params) return user ~= nil and user.id == params.user end })
app:stream("/log", "log")
app:stream("/mine", function(req) return req.user and "mine/" .. req.user.id or 401 end)
local gate = app:state("gate", { ticket = "t1", late = false, asked = 0 })
app:stream("/gate", function(req)
  gate().asked = gate().asked + 1
  if gate().late then sluice.sleep(2.5) end
  if req.query.ticket ~= gate().ticket then return 401 end
  return "log"
end)
app:post("/gate", function(req) for k, v in pairs(req:json()) do gate()[k] = v end return gate() end)
app:stream("/answers", { method = "POST" }, function(req) return req:json().question and "log" or 422 end)
local run = app:state("run", { on = false, n = 0, times = 1 })
app:every(0.02, function()
  if not run().on then return end
  publish("log", { first = run().n + 1, n = run().times })
  run().n = run().n + run().times
end)
app:post("/run", function(req) for k, v in pairs(req:json()) do run()[k] = v end return run() end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)
local said = app:state("said", {})
app:post("/said/:page", function(req) said()[req.params.page] = req.body return 204 end)
app:get("/said/:page", function(req) return said()[req.params.page] or "{}" end)
app:get("/away", function() return 200, "<!doctype html><title>Away</title>", { ["Content-Type"] = "text/html" } end)
app:get("/worker.js", function() return 200, [[
  const caches_all = new URL(location).searchParams.has("caches");
  addEventListener("install", () => skipWaiting());
  addEventListener("activate", (event) => event.waitUntil(clients.claim()));
  const answer = async (request) => {
    const cache = await caches.open("all"), found = await cache.match(request);
    if (found) return found;
    const response = await fetch(request);
    if (request.method === "GET") cache.put(request, response.clone()).catch(() => {});
    return response;
  };
  addEventListener("fetch", (event) => event.respondWith(caches_all ? answer(event.request) : fetch(event.request)));
]], { ["Content-Type"] = "text/javascript" } end)
app:get("/page", function() return 200, [[<!doctype html><title>Page</title><script>
let speed = $SPEED;
const wait = setTimeout;
globalThis.setTimeout = (fn, ms) => wait(fn, ms > 400 ? ms / speed : ms);
Object.assign(window, { rows: [], states: [], errors: [], shown: 0 });
addEventListener("pageshow", (event) => { shown += event.persisted; });
</script><script type="module">
import { connect } from "/sluice.js";
window.follow = (url, options = {}) => {
  window.c = connect(url, { eventTypes: ["e"], onReset: (r) => rows.push(r.reason), onStatus: (s) => states.push(s),
    onError: (e) => errors.push(e.status ?? 0), onMessage: (e) => rows.push(e.data.n), ...options });
  return true;
};
const { search } = location;
if (search) {
  follow("/log", { share: search === "?shared" });
  setInterval(() => fetch("/said/page", { method: "POST", body: JSON.stringify({ rows, shown, states }) }), 100);
}
</script>]], { ["Content-Type"] = "text/html" } end)]==]

--- What is wrong with the rows of a page that was to get all up to n; nil when nothing is.
local function wrong(rows, n)
  local last, reset = 0, false
  for i, row in ipairs(rows) do
    if type(row) == "string" then
      reset = true
    elseif row <= last then
      return ("row %d: %d again, behind %d"):format(i, row, last)
    elseif row > last + 1 and not reset then
      return ("row %d: %d behind %d"):format(i, row, last)
    else
      last, reset = row, false
    end
  end
  if last ~= n then return ("ends at %d, not at %d"):format(last, n) end
end

return function(engine)
  local SPEED = FULL and 1 or 8
  local TEXT = APP:gsub("%$SPEED", tostring(SPEED))
  local chromium = engine == "chromium"
  local rare = not chromium -- where engines are alike, one shows it in each run
  local b

  local function start(port) return live.start(TEXT, { port = port, args = { "--heartbeat", "1", "--drain", "1" } }) end

  --- Publish a number each 20 ms, until off() says the last.
  local function on(s, first) s.post("/run", json.encode { on = true, n = first and first - 1 }) end
  local function off(s) return json.decode(s.post("/run", '{"on":false}').body).n end

  local function page_of(origin, url, options)
    if type(origin) == "number" then origin = "http://127.0.0.1:" .. origin end
    local page = b.open(origin .. "/page")
    page.wait("!!window.follow", 10)
    if url then page.eval("([url, o]) => follow(url, o ?? {})", { url, options }) end
    return page
  end

  local function ahead(page, more)
    local rows = page.eval("rows.length")
    page.wait("(n) => rows.length >= n", 20, rows + (more or 3))
  end

  --- All has come, once.
  local function whole(page, n, resets)
    page.wait("(n) => rows.at(-1) === n", 20, n)
    local rows = page.eval("rows")
    assert.is_nil(wrong(rows, n), json.encode(rows))
    local found = {}
    for _, row in ipairs(rows) do
      if type(row) == "string" then found[#found + 1] = row end
    end
    assert.same(resets or {}, found)
  end

  local function proxy(s)
    local p = process.spawn({ "node", "spec/browser/sluice_js/proxy.mjs", s.port }, { kind = "client" })
    local port = deadline.eventually(function() return tonumber(p:log():match("^(%d+)\n")) end, 10, "a proxy")
    return { port = port, be = function(mode) assert(http.post(port, "/-proxy/" .. mode, "").status == 204) end }
  end

  busted.setup(function() b = browser.start(engine) end)
  busted.teardown(function() b.stop() end)
  busted.after_each(function()
    b.stop()
    process.stop_all("client")
    live.stop_all()
  end)

  it("the server is killed behind nginx with HTTP/2, which answers 502", function()
    local s = start()
    local block = proxies.BARE:gsub("$PORT;",
      "$PORT ssl http2; ssl_certificate $D/cert; ssl_certificate_key $D/key;")
    local front = proxies.start("nginx", s.port, { tls = true, block = block })
    local page = page_of("https://localhost:" .. front.port, "/log")
    on(s)
    ahead(page)
    local port = s.port
    local n = off(s)
    page.wait("(n) => rows.at(-1) === n", 10, n)
    s.kill()
    page.wait("errors.includes(502)", 20)
    s = start(port)
    on(s, n + 1)
    page.wait("c.status === 'open'", 30)
    ahead(page)
    whole(page, off(s), { "epoch" })
    s.post("/stop")
    page.wait("c.status === 'closed'", 10)
    front.stop()
  end)

  it("503, then 200", function()
    local s = start()
    local p = proxy(s)
    local page = page_of(p.port)
    p.be("503")
    page.eval("follow('/log')")
    page.wait("errors.length >= 2", 20)
    on(s)
    p.be("pass")
    ahead(page)
    p.be("503")
    s.post("/cut")
    page.wait("errors.filter((e) => e === 503).length >= 3", 20)
    p.be("pass")
    ahead(page)
    whole(page, off(s))
  end)

  it("a proxy keeps event streams for itself: single answers come instead", function()
    local s = start()
    local p = proxy(s)
    local page = page_of(p.port)
    p.be("swallow")
    page.eval("(ms) => follow('/log', { fallbackAfter: ms })", 600)
    on(s)
    ahead(page, 10)
    whole(page, off(s))
    assert.is_true(page.eval("states.at(-1) === 'open'"))
  end)

  at_length(rare, "401, at once or late: a new ticket", function()
    local s = start()
    local page = page_of(s.port)
    s.post("/gate", '{"ticket":"t2"}')
    page.eval("() => { window.n = 0; return follow('/gate', { token: async () => 't' + ++n }) }")
    on(s)
    ahead(page)
    s.post("/gate", '{"ticket":"t4","late":true}')
    s.post("/cut")
    page.wait("n === 4", 20)
    ahead(page)
    whole(page, off(s))
    assert.same({ 4, 4 }, { page.eval("n"), json.decode(s.post("/gate").body).asked })
    s.post("/gate", '{"ticket":"none","late":false}')
    s.post("/cut")
    page.wait("c.status === 'closed'", 20)
    assert.equal(401, page.eval("errors.at(-1)"))
  end)

  for _, caches in ipairs(FULL and { false, true } or { true }) do
    it("a service worker that " .. (caches and "answers out of its cache" or "lets all pass"), function()
      local s = start()
      local page = page_of(("http://sw%d.localhost:%d"):format(caches and 2 or 1, s.port))
      page.eval([[async (url) => {
        const taken = new Promise((done) => navigator.serviceWorker.addEventListener("controllerchange", done));
        await navigator.serviceWorker.register(url);
        await taken;
        return follow("/log");
      }]], "/worker.js" .. (caches and "?caches" or ""))
      on(s)
      ahead(page)
      for _ = 1, 3 do
        s.post("/cut")
        page.wait("states.at(-1) !== 'open'", 10)
        ahead(page)
      end
      local n = off(s) -- now the same address is asked for again
      for _ = 1, 3 do
        page.wait("(n) => rows.at(-1) === n && c.status === 'open'", 10, n)
        local ends = page.eval("errors.length")
        s.post("/cut")
        page.wait("(n) => errors.length > n && c.status === 'open'", 20, ends)
      end
      s.wait_clients(1)
      on(s)
      ahead(page)
      whole(page, off(s))
      page.eval("async () => (await navigator.serviceWorker.getRegistration()).unregister()")
    end)
  end

  at_length(rare, "two thousand events a second, and two calls: the last is there", function()
    local s = start()
    local page = page_of(s.port)
    page.eval([[() => {
      speed = 1;
      window.calls = [];
      return follow("/log", { throttle: 500, onMessage: (e) => {
        rows.push(e.data.n);
        calls.push(performance.now());
      } });
    }]])
    page.wait("c.status === 'open'", 10)
    s.post("/run", '{"on":true,"times":40}')
    page.wait("calls.length >= 5", 20)
    local n = off(s)
    page.wait("(n) => rows.at(-1) === n", 20, n)
    local calls = page.eval("calls")
    for i = 2, #calls do assert.is_true(calls[i] - calls[i - 1] > 490, json.encode(calls)) end
  end)

  at_length(rare, "the stream is a worker's, and the server ends it", function()
    local s = start()
    local page = page_of(s.port)
    page.eval([[() => {
      const text = `import { connect } from "${location.origin}/sluice.js";
        connect("${location.origin}/log", { eventTypes: ["e"], onMessage: (e) => postMessage(e.data.n),
          onReset: (r) => postMessage(r.reason) });`;
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      window.worker = new Worker(url, { type: "module" });
      worker.onmessage = ({ data }) => rows.push(data);
      return true;
    }]])
    on(s)
    ahead(page)
    s.post("/cut")
    ahead(page, 50)
    whole(page, off(s))
  end)

  at_length(rare, "a stream that is opened by POST is cut", function()
    local s = start()
    local page = page_of(s.port, "/answers", { method = "POST", body = { question = "why?" } })
    on(s)
    ahead(page)
    s.post("/cut")
    page.wait("states.at(-1) !== 'open'", 10)
    ahead(page, 20)
    whole(page, off(s))
  end)

  at_length(rare, "an event is cut at each of its bytes", function()
    local s = start()
    local cutter = process.spawn({ "node", "spec/support/cutter.mjs", s.port, "event: e\ndata: {\"n\":2" },
      { kind = "client" })
    local port = deadline.eventually(function() return cutter:log():match("^(%d+)\n") end, 10)
    local id = s.publish("log")[1]
    local length, page = #('event: e\ndata: {"n":2}\nid: %s\n\n'):format(id), page_of(s.port)
    page.eval([[([port, length]) => {
      window.all = [];
      for (let n = 0; n <= length; n++) {
        const rows = [];
        follow(`http://h${Math.floor(n / 6)}.localhost:${port}/log?cut=${n}`, { onMessage: (e) => rows.push(e.data.n),
          onReset: (r) => rows.push(r.reason) });
        all.push(rows);
      }
    }]], { port, length })
    page.wait("all.every((rows) => rows.length === 1)", 20)
    s.publish("log", { first = 2 })
    s.publish("log", { first = 3 })
    page.wait("all.every((rows) => rows.at(-1) === 3)", 30)
    local all = page.eval("all")
    assert.equal(length + 1, #all)
    for n, rows in ipairs(all) do assert.same({ n, { 1, 2, 3 } }, { n, rows }) end
  end)

  for _, share in ipairs { false, true } do
    local shared = share and ", with a shared stream" or ""

    at_length(rare or share, "the network is away without a word, and comes back" .. shared, function()
      local s = start()
      local p = proxy(s)
      local page = page_of(p.port, "/log", { share = share })
      on(s)
      ahead(page)
      p.be("silent")
      page.wait("states.includes('stale')", 10)
      page.wait("states.at(-1) !== 'stale'", 20) -- it has given that stream up
      p.be("pass")
      ahead(page)
      whole(page, off(s))
      assert.same({ "open", "stale", "waiting" }, page.eval("states.slice(0, 3)"))
    end)

    at_length(share, "the page is left, and seen again" .. shared, function()
      local s = start()
      local function said() return json.decode(s.get("/said/page").body) end
      on(s)
      local page = b.open(s.url .. "/page?" .. (share and "shared" or "alone"))
      ahead(page)
      deadline.eventually(function() return said().rows end, 10, "the page tells what it has")
      page.eval("() => { setTimeout(() => { location.href = '/away' }, 0) }")
      s.wait_clients(0, 20)
      page.wait("document.title === 'Away' && document.readyState === 'complete'", 20)
      local before = said()
      page.eval("() => { setTimeout(() => history.back(), 0) }")
      local after = deadline.eventually(function()
        local now = said()
        return #now.rows > #before.rows + 20 and now
      end, 20, "the page is back")
      if chromium and not share then assert.equal(1, after.shown) end -- as it was, not loaded again
      local n = off(s)
      deadline.eventually(function()
        after = said()
        return after.rows[#after.rows] == n
      end, 20, "all has come")
      assert.is_nil(wrong(after.rows, n), json.encode(after))
      s.wait_clients(1)
    end)

    it("another user signs in meanwhile" .. shared, function()
      local s = start()
      local function sign_in(page, user) page.eval("(user) => { document.cookie = 'user=' + user }", user) end
      local function follow(page)
        page.eval("(share) => follow('/mine', { share, onMessage: (e) => rows.push(e.data.k) })", share)
      end
      local alice = page_of(s.port)
      sign_in(alice, "alice")
      follow(alice)
      s.publish("mine/alice", { key = "of alice" })
      alice.wait("rows.length === 1", 10)
      local bob = page_of(s.port)
      sign_in(bob, "bob")
      follow(bob)
      s.publish("mine/bob", { key = "of bob" })
      bob.wait("rows.length === 1", 10)
      s.publish("mine/alice", { key = "of alice" })
      s.publish("mine/bob", { key = "of bob" })
      bob.wait("rows.length === 2", 10)
      alice.wait("rows.length === 2", 10)
      assert.same({ { "of alice", "of alice" }, { "of bob", "of bob" } }, { alice.eval("rows"), bob.eval("rows") })
      s.post("/cut") -- the first page is now Bob's, too
      alice.wait("rows.at(-1) === 'of bob'", 20)
      s.publish("mine/bob", { key = "of bob" })
      s.publish("mine/alice", { key = "of alice" })
      alice.wait("rows.length === 6", 10)
      bob.wait("rows.length === 3", 20)
      assert.same({ "of alice", "of alice", "user", "of bob", "of bob", "of bob" }, alice.eval("rows"))
      assert.same({ "of bob", "of bob", "of bob" }, bob.eval("rows"))
      if share then s.wait_clients(1, 20) end
    end)

    it("another user signs in, and the page asks for something else" .. shared, function()
      local s = start()
      local page = page_of(s.port)
      page.eval("document.cookie = 'user=alice'")
      page.eval("(share) => follow('/mine', { share, onMessage: (e) => rows.push(e.data.k) })", share)
      s.publish("mine/alice", { key = "of alice" })
      page.wait("rows.length === 1", 10)
      s.publish("mine/bob", { key = "of bob" })
      page.eval("document.cookie = 'user=bob'")
      page.eval("() => c.set({ maxRate: 1000 })")
      s.publish("mine/bob", { key = "of bob" })
      page.wait("rows.length === 4", 20)
      assert.same({ "of alice", "user", "of bob", "of bob" }, page.eval("rows"))
      s.wait_clients(1, 20)
    end)

    if chromium then
      it("the page is frozen, and goes on" .. shared, function()
        local s = start()
        local page, other = page_of(s.port, "/log", { share = share }), page_of(s.port, "/log", { share = share })
        on(s)
        ahead(page)
        for i = 1, FULL and 4 or 2 do
          page.freeze(true)
          ahead(other, 20)
          if i % 2 == 0 then s.post("/cut") end
          ahead(other, i == 1 and 200 or 20) -- once it is longer than a stream may be silent
          page.freeze(false)
          ahead(page, 20)
        end
        local n = off(s)
        whole(page, n)
        whole(other, n)
        s.wait_clients(share and 1 or 2, 20)
      end)
    end
  end

  it("tabs share a stream, and one of them comes late", function()
    local s, pages = start(), {}
    on(s)
    for i = 1, 3 do pages[i] = page_of(s.port, "/log", { share = true }) end
    for _, page in ipairs(pages) do ahead(page) end
    s.wait_clients(1, 20)
    s.post("/cut")
    pages[4] = page_of(s.port, "/log", { share = true })
    ahead(pages[4])
    s.wait_clients(1, 20)
    local n = off(s)
    for _, page in ipairs(pages) do whole(page, n) end
    pages[1].close()
    on(s)
    ahead(pages[4])
    s.post("/stop")
    for i = 2, 4 do pages[i].wait("c.status === 'closed'", 10) end
  end)
end
