--- A browser behind nginx and HAProxy, with the settings of doc/operating.md: it survives a restart of the
--- server, its page may write, and who leaves is noticed.
local browser = require("spec.support.browser")
local clients = require("spec.support.clients")
local haproxy = require("spec.support.haproxy")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local nginx = require("spec.support.nginx")
local process = require("spec.support.process")

local APP = [[
app:channel("log", { history = 100 })
app:get("/page", function() return 200, "<title>t</title>", { ["Content-Type"] = "text/html" } end)
app:stream("/log", "log")
app:post("/write", function() return 204 end)]]

describe("behind a proxy", function()
  local s, b

  local function start(port)
    local args = { "--heartbeat", "1", "--trust-proxy", "yes", "--allow-host", "shop.test" }
    return live.start(APP, { port = port, args = args })
  end

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  before_each(function() s = start(0) end)
  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  local function follow(front)
    local url = ("http://127.0.0.1:%d"):format(front.port)
    return clients.page(b.open(url .. "/page"), { url .. "/log" })
  end

  --- A client that takes a clean end for the end of all.
  local function fetch_all(fronts)
    local urls = {}
    for i, front in ipairs(fronts) do urls[i] = ("http://127.0.0.1:%d/log"):format(front.port) end
    return clients.npm("@microsoft/fetch-event-source", urls)
  end

  --- What others are answered meanwhile; HAProxy tries for 3 s, so all ask before one is read.
  local function assert_away(fronts)
    local asked = {}
    for i, front in ipairs(fronts) do
      for _, headers in ipairs { {}, { Accept = "text/event-stream" } } do -- it would take an empty one for all
        local c = assert(http.connect(front.port))
        c:send(http.request_text("GET", "/log", headers, nil, "localhost"))
        asked[#asked + 1] = { c, i == 1 and 502 or 503 }
      end
    end
    for _, ask in ipairs(asked) do assert.equal(ask[2], assert(ask[1]:response(10)).status) end
  end

  it("an EventSource comes back after a restart, which an answer of 502 would end for good", function()
    local fronts = { nginx.start(s.port, { server = nginx.documented(s.port) }), haproxy.start(s.port) }
    local plain = nginx.start(s.port)
    finally(function()
      for _, front in ipairs { plain, table.unpack(fronts) } do front.stop() end
    end)
    local doomed, pages = follow(plain), { follow(fronts[1]), follow(fronts[2]) }
    local fetched = fetch_all { plain, table.unpack(fronts) }
    for _, c in ipairs { doomed, fetched, table.unpack(pages) } do
      c.all("hello", 20, function(i) return c.count(i, "message", "hello") == 1 end)
    end
    local id = s.publish("log")[1]
    for _, c in ipairs(pages) do c.all("event", 10, function() return c.last(1, "e") end) end
    s.kill()
    assert_away(fronts)
    for _, c in ipairs(pages) do
      c.all("empty stream while the server is away", 20, function() return c.count(1, "open") >= 2 end)
    end
    doomed.all("end", 20, function() return doomed.count(1, "closed") == 1 end)
    s = start(s.port)
    for _, c in ipairs(pages) do
      c.all("return", 20, function() return c.last(1, "reset") end)
      local reset = json.decode(c.last(1, "reset").data)
      assert.same({ "epoch", id }, { reset.reason, reset.from }) -- the id outlived the empty streams
    end
    -- by HTTP/1.0, as nginx asks unless told, an end cannot be told from a cut
    fetched.all("return, or end", 20, function(i) return fetched.last(i, i == 1 and "e" or "reset") end)
    assert.same({ 1, 0, 0 }, { fetched.count(1, "closed"), fetched.count(2, "closed"), fetched.count(3, "closed") })
    s.publish("log", { first = 2 })
    for _, c in ipairs(pages) do c.all("event", 10, function() return #c.numbers(1) == 2 end) end
  end)

  it("a page writes to its own server, whose port $host would lose", function()
    local function write(server)
      local front = nginx.start(s.port, { server = server })
      local page = b.open(("http://shop.test:%d/page"):format(front.port))
      local status = page.eval("async () => (await fetch('/write', { method: 'POST' })).status")
      page.close()
      front.stop()
      return status
    end
    assert.equal(204, write(nginx.documented(s.port)))
    assert.equal(403, write((nginx.documented(s.port):gsub("%$http_host", "$host"))))
  end)

  it("nginx tells at once that a client has gone, HAProxy when heartbeats do not pass", function()
    local fronts = { nginx.start(s.port, { server = nginx.documented(s.port) }), haproxy.start(s.port) }
    for i, heartbeats in ipairs { 1, 4 } do
      local c = live.connect({ port = fronts[i].port }, "/log")
      s.wait_clients(1)
      c:close()
      s.wait_clients(0, heartbeats)
      fronts[i].stop()
    end
  end)
end)
