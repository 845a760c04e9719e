--- How streams end, as those see it who read them: what was said last arrives, and who shall come back
--- does. Through nginx with HTTP/2 (certificates: openssl) an end is another than direct.
--- With SLUICE_SPEC_FULL=1 there are as many streams as a browser opens at once.
local browser = require("spec.support.browser")
local clients = require("spec.support.clients")
local json = require("sluice.json")
local live = require("spec.support.live")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"

local APP = [[
app:channel("log", { history = 100 })
app:cors("/**", { origins = { "*" } })
app:get("/page", function() return 200, "<title>t</title>", { ["Content-Type"] = "text/html" } end)
app:get("/worker.js", function() return 200, [=[%s]=], { ["Content-Type"] = "text/javascript" } end)
app:stream("/end/:reason", "log")
local rights = app:state("rights", { until_now = true })
app:stream("/secret", function() return rights().until_now and "log" or 401 end)
app:stream("/broken", function() error("it is broken") end)
app:post("/end", function()
  rights().until_now = false
  for c in app:clients() do
    local reason = c.params.reason or "expired"
    c:send("word", reason)
    if reason == "done" then c:stop("done", { rows = 3 }) else c:close(reason) end
  end
end)]]

-- A service worker that answers for the page, all but streams: as doc/protocol.md says.
local WORKER = [[
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  %s
  event.respondWith(fetch(event.request));
});]]

local ENTER = [[async () => {
  const taken = new Promise((done) => navigator.serviceWorker.addEventListener("controllerchange", done));
  await navigator.serviceWorker.register("/worker.js");
  await taken;
}]]

local function app()
  local rule = markdown.read("doc/protocol.md").text:match("`(if %(event%.request[^`]+)`")
  return APP:format(WORKER:format(rule))
end

local BACK = { drain = true, slow = true, error = true, expired = true, age = true, moved = true,
  overload = FULL or nil } -- up to 10 s

describe("the end of a stream", function()
  local s, b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  before_each(function() s = live.start(app(), { args = { "--drain", "1" } }) end)
  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  local function all_said(c, event, n, seconds)
    c.all(event, seconds, function(i) return c.count(i, "message", event) >= (n or 1) end)
  end

  --- The pages of as many streams: direct, and through nginx with HTTP/2.
  local function open_many(n, front)
    local direct, proxied = {}, {}
    for i = 1, n do
      direct[i] = "/end/moved?n=" .. i
      proxied[i] = ("https://localhost:%d/end/moved?n=%d"):format(front.port, i)
    end
    return { clients.page(b.open(s.url .. "/page"), clients.urls_over_hosts(s.port, direct)),
      clients.page(b.open(("https://localhost:%d/page"):format(front.port)), proxied) }
  end

  it("and what was said before it arrive on every stream of a browser, direct and by HTTP/2", function()
    local front = proxies.start("nginx", s.port, { tls = true })
    finally(front.stop)
    local pages = open_many(FULL and 100 or 12, front)
    for _, c in ipairs(pages) do all_said(c, "hello", 1, 20) end
    s.post("/end")
    for _, c in ipairs(pages) do
      all_said(c, "bye", 1, 20)
      for i = 1, c.streams do
        local seen = {}
        for _, row in ipairs(c.rows(i)) do seen[#seen + 1] = row.event end
        assert.same({ "hello", "sync", "word", "bye" }, seen)
      end
    end
    if not FULL then return end
    for _, c in ipairs(pages) do all_said(c, "hello", 2, 20) end
    s.signal("TERM")
    for _, c in ipairs(pages) do
      all_said(c, "bye", 2, 20)
      for i = 1, c.streams do assert.equal("drain", json.decode(c.last(i, "bye").data).reason) end
    end
    assert.equal(0, s.process:wait(5))
  end)

  --- Whether the page of this stream has seen all that it will see in the next minutes.
  local function is_over(c, i, reason)
    local fetched = c.name:find("fetch", 1, true)
    if reason == "broken" then return c.count(i, "open") >= 2 and c.last(i, "bye") end
    if BACK[reason] then return c.count(i, "message", "hello") == 2 end
    if reason == "done" then return c.last(i, "done") end
    if reason == "denied" and not fetched then return c.last(i, "bye") end
    if reason == "stop" or reason == "secret" or reason == "denied" then return c.count(i, "closed") == 1 end
    return c.last(i, "bye")
  end

  local function check(c, i, reason, ids)
    local what = c.name .. " " .. reason
    local by_right = reason == "denied" or reason == "revoked" or reason == "expired" or reason == "secret"
    local words = c.count(i, "message", "word") -- what waits is not sent without a right; it may have been on its way
    assert(words == 1 or words == 0 and by_right, what)
    assert.equal(1, c.count(i, "message", reason == "done" and "done" or "bye"), what)
    assert.same({ 1 }, c.numbers(i), what)
    assert.equal(BACK[reason] and 2 or 1, c.count(i, "open"), what)
    if not BACK[reason] then return end
    local hello = c.last(i, "hello")
    assert.same({ true, ids[1] }, { json.decode(hello.data).resumed, hello.id }, what)
  end

  --- A page behind a service worker, at a host of its own.
  local function open_behind_worker(paths)
    local base = ("http://worker.localhost:%d"):format(s.port)
    local page, urls = b.open(base .. "/page"), {}
    page.eval(ENTER)
    for i, path in ipairs(paths) do urls[i] = base .. path end
    return clients.page(page, urls)
  end

  it("brings back who shall come back, and no one else", function()
    local paths, all = { "/broken", "/secret", "/end/denied", "/end/revoked", "/end/stop", "/end/done" }, {}
    for reason in pairs(BACK) do paths[#paths + 1] = "/end/" .. reason end
    for i, name in ipairs(clients.NPM) do all[i] = clients.npm(name, clients.urls(s.port, paths)) end
    all[#all + 1] = clients.page(b.open(s.url .. "/page"), clients.urls_over_hosts(s.port, paths))
    local xhr = clients.page(b.open(s.url .. "/page"), clients.urls(s.port, { "/end/stop", "/end/done" }), "sse.js")
    local worker = open_behind_worker { "/end/moved", "/end/stop" }
    for _, c in ipairs(all) do
      c.all("hello", 20, function(i) return i == 1 or c.count(i, "message", "hello") == 1 end)
    end
    all_said(xhr, "hello", 1, 20)
    all_said(worker, "hello", 1, 20)
    local ids = s.publish("log")
    for _, c in ipairs(all) do c.all("event", 5, function(i) return i == 1 or #c.numbers(i) == 1 end) end
    worker.all("event", 5, function(i) return #worker.numbers(i) == 1 end)
    s.post("/end")
    for _, c in ipairs(all) do
      c.all("return", 20, function(i) return is_over(c, i, paths[i]:match("%l+$")) end)
      for i = 2, #paths do check(c, i, paths[i]:match("%l+$"), ids) end
    end
    worker.all("end", 20, function(i) return is_over(worker, i, i == 1 and "moved" or "stop") end)
    check(worker, 1, "moved", ids)
    -- a client that does not understand a 204 closes at the app's own last word
    xhr.all("end", 20, function(i) return xhr.count(i, "open") > 1 or xhr.last(i, "done") end)
    assert.equal('{"rows":3}', xhr.last(2, "done").data)
    assert.equal(1, xhr.count(2, "open"))
  end)
end)
