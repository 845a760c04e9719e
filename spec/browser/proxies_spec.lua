--- Behind real proxies of Debian's, with the configurations of doc/operating.md: nothing waits, nothing is lost, nobody
--- chooses his address, a page survives a restart of the server, and who leaves is noticed.
--- nginx and HAProxy, and of these what is most asked for; SLUICE_SPEC_FULL=1 all of ROWS and all of the cases.
local browser = require("spec.support.browser")
local clients = require("spec.support.clients")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local sse = require("spec.support.sse")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"

local APP = [[
app:channel("log", { history = 1000 })
app:channel("all", { history = 5000, rewind = "all" })
app:get("/page", function() return 200, "<title>t</title>", { ["Content-Type"] = "text/html" } end)
app:get("/who", function(req) return { ip = req.ip, host = req.host } end)
app:get("/big", function() return 200, ("0123456789abcdef"):rep(1 << 19), { ["Content-Type"] = "text/plain" } end)
app:get("/status/:n", function(req) return math.tointeger(tonumber(req.params.n)) end)
app:put("/file", { body = "stream", max = 1 << 30 }, function(req)
  local n, sum = 0, 0
  for piece in req:chunks() do
    n = n + #piece
    for i = 1, #piece, 101 do sum = (sum * 31 + piece:byte(i)) % 1000003 end
  end
  return { n = n }
end)
app:post("/write", function() return 204 end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:stream("/log", "log")
app:stream("/all", "all")
app:stream("/quiet", { heartbeat = 60 }, "log")
app:stream("/packed", { heartbeat = 60, compress = "gzip" }, "log")
app:stream("/ask", { method = "POST" }, function(req) return req:json().channel end)]]

local GZIP = "gzip on; gzip_min_length 0; gzip_proxied any; gzip_types text/event-stream;"
local CACHE = "proxy_cache_path $D/cache keys_zone=all:1m; proxy_cache all; proxy_cache_valid any 1m;"

-- A row: the proxy and how it is started (see spec.support.proxies). `short`: its limit for a silent connection,
-- made 3 s. What is not as it should be, since the configuration is not the document's or the proxy cannot:
-- `holds` (each event), `ip` ("client": it says who it is; "proxy"), `no_host`, `away` ("ends": an EventSource is
-- over, "cut": it gets no answer), `cut` ("end": it looks like one), `old` (it asks by HTTP/1.0, which is never
-- compressed), `late` (a client that left is noticed when heartbeats do not pass, not at once).
local ROWS = {
  { "nginx", central = true, short = { ["1h"] = "3s" } },
  { "nginx", as = "nginx with defaults", block = proxies.BARE, old = true, cut = "end", ip = "client", no_host = true,
    away = "ends" },
  { "nginx", as = "nginx with gzip", around = GZIP },
  { "nginx", as = "nginx with a cache", around = CACHE },
  { "nginx", as = "nginx with HTTP/2", tls = true, version = "h2" },
  { "haproxy", central = true, short = { ["1h"] = "3s" } },
  { "haproxy", as = "HAProxy without http-no-delay", edit = { ["    option http-no-delay\n"] = "" }, holds = true },
  { "haproxy", as = "HAProxy without forwardfor and abortonclose", edit = { ["    option forwardfor\n"] = "",
    ["    option abortonclose\n"] = "" }, ip = "client", late = true },
  { "haproxy", as = "HAProxy with HTTP/2", cut = "end", tls = true, version = "h2" },
  { "varnish", late = true, short = { ["1h"] = "3s" } },
  { "caddy", cut = "end" },
  { "caddy", as = "Caddy with HTTP/2", cut = "end", tls = true, version = "h2" },
  { "apache", late = true, short = { ["3600"] = "3" } },
  { "lighttpd", late = true, short = { ["3600"] = "3" } },
  { "squid", away = "ends", short = { ["1 hour"] = "3 seconds" } },
  { "stunnel", version = "1.1", ip = "proxy", away = "cut", short = { ["43200"] = "3" } },
}

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

for _, row in ipairs(ROWS) do
  local name = row[1]
  local is_there = proxies.installed(name)
  if not FULL and not row.central then goto continue end

  describe("behind " .. (row.as or name), function()
    local s, front, b

    --- A test of the whole matrix; `central` ones are for every run.
    local function case(what, fn)
      if not is_there then return it(what, function() pending(name .. " is not installed") end) end
      it(what, fn)
    end
    local function full_case(what, fn)
      if FULL then case(what, fn) end
    end

    local function start_server(port)
      local args = { "--heartbeat", "1", "--allow-host", "app.example,shop.test" }
      if row.ip ~= "proxy" then args[#args + 1], args[#args + 2] = "--trust-proxy", "yes" end
      return live.start(APP, { port = port, args = args })
    end

    --- A proxy, and the port on which it is reached without TLS.
    local function start_front(edit)
      local all = {}
      for _, changes in ipairs { row.edit or {}, edit or {} } do
        for from, to in pairs(changes) do all[from] = to end
      end
      local f = proxies.start(name, s.port, { block = row.block, edit = all, around = row.around, tls = row.tls })
      local bridge = row.version and proxies.bridge(f, row.version)
      f.plain = bridge and bridge.port or f.port
      f.url = (f.tls and "https" or "http") .. "://shop.test:" .. f.port
      function f.stop_all()
        if bridge then bridge.stop() end
        f.stop()
      end
      return f
    end

    before_each(function() -- none for what a filter leaves out
      if not is_there or front then return end
      b = browser.start()
      s = start_server(0)
      front = start_front()
    end)
    teardown(function()
      if not front then return end
      process.stop_all("client")
      front.stop_all()
      live.stop_all()
      b.stop()
    end)

    local function connect(path, options) return live.connect({ port = front.plain }, path, options) end

    -- Where nothing but an event or a leaving client makes anything move, if the proxy notices that.
    local path = row.late and "/log" or "/quiet"

    case("the head comes at once, and each event before the next is published", function()
      live.one_of(5, function()
        local from = deadline.now()
        local c, direct = connect(path), live.connect(s, path)
        local head = deadline.since(from)
        assert.equal("text/event-stream", c.headers["content-type"])
        assert.is_nil(c.headers["content-length"])
        assert.not_equal(direct.hello.client, c.hello.client)
        local delays, clock = {}, {} -- as on a quiet machine, and those of the clock
        for n = 1, 21 do
          s.publish("log", { first = n })
          from = deadline.now()
          assert.equal(n, live.n(assert(direct:next_event(2))))
          local quiet, real = deadline.since(from)
          assert.equal(n, live.n(assert(c:next_event(5))))
          local to_quiet, to_real = deadline.since(from)
          delays[n], clock[n] = to_quiet - quiet, to_real - real
        end
        c:close()
        direct:close()
        local middle = median(delays)
        if row.holds then return median(clock) > 0.1, "not held" end
        return middle < 0.02 and head < 0.2, ("head %.3f s, event %.4f s later than direct"):format(head, middle)
      end)
      s.wait_clients(0, 10)
    end)

    case("a client that leaves is noticed", function()
      s.wait_clients(0, 10)
      local c = connect(path)
      s.wait_clients(1)
      c:close()
      s.wait_clients(0, 5)
    end)

    case("nobody chooses the address that the app sees, and Host is the client's", function()
      local c = http.connect(front.plain, { from = "127.0.0.2", name = "app.example:8443" })
      local answer = assert(c:request("GET", "/who", { ["X-Forwarded-For"] = "203.0.113.9",
        ["x-forwarded-for"] = "203.0.113.9, 203.0.113.9", ["X-Real-IP"] = "203.0.113.9",
        Forwarded = "for=203.0.113.9" }))
      local seen = json.decode(answer.body)
      c:close()
      if row.ip == "client" then
        assert.equal("203.0.113.9", seen.ip)
      else
        assert.equal(row.ip == "proxy" and "127.0.0.1" or "127.0.0.2", seen.ip)
      end
      assert.equal(row.no_host and "127.0.0.1:" .. s.port or "app.example:8443", seen.host)
    end)

    case("cuts lose nothing and double nothing", function()
      local got, last_id, ends = {}, nil, {}
      local function follow(options)
        options.last_event_id = last_id
        return deadline.eventually(function() return connect("/log", options) end, 10, "a new connection")
      end
      local c = follow { headers = { ["Cache-Control"] = "no-cache" } }
      local function read_to(n)
        while #got < n do
          local event, why = c:next_event(10)
          if event and event.event == "e" then
            got[#got + 1] = live.n(event)
            last_id = event.last_id
          else
            assert.truthy(event or why ~= "timeout", why)
            assert.not_equal("reset", event and event.event)
            if not event then
              ends[#ends + 1] = why
              c:close()
              c = follow { headers = { ["Cache-Control"] = #ends % 2 == 0 and "no-cache" or nil } }
            end
          end
        end
      end
      for round = 1, FULL and 6 or 3 do
        s.publish("log", { first = 20 * round - 19, n = 10 })
        read_to(20 * round - 15)
        if round % 3 == 1 then s.post("/cut") end
        if round % 3 == 2 then c:close() end
        if round % 3 == 0 then front.kill() end
        s.publish("log", { first = 20 * round - 9, n = 10 })
        if round % 3 == 0 then front.again() end
        if round % 3 == 2 then c = follow {} end
        read_to(20 * round)
      end
      for n, number in ipairs(got) do assert.equal(n, number) end
      assert.is_true(#ends >= 2, #ends .. " ends")
      c:close()
      s.wait_clients(0, 10)
    end)

    if row.short then
      -- Varnish is started with 2 s for a whole answer, which the document takes away.
      full_case("heartbeats keep a stream open that is silent for longer than the proxy allows", function()
        local short = start_front(row.short)
        local c = live.connect({ port = short.plain }, "/log")
        local silent = live.connect({ port = short.plain }, "/quiet")
        assert.truthy(silent:wait_end(15)) -- the limit is in force
        s.publish("log", { first = 5 })
        assert.equal(5, live.n(assert(c:next_event(5))))
        c:close()
        short.stop_all()
      end)
    end

    full_case("a compressed stream comes as it is, each event at once, over cuts", function()
      s.wait_clients(0, 10)
      local c = sse.connect(front.plain, "/packed", { headers = { ["Accept-Encoding"] = "gzip" } })
      assert.equal(not row.old and "gzip" or nil, c.headers["content-encoding"])
      if row.old then return c:close() end
      s.wait_clients(1)
      local reader = process.spawn({ "python3", "spec/support/inflate.py", front.plain, "/packed", 7, 60 },
        { kind = "client" })
      s.wait_clients(2, 10)
      c:close()
      for n = 1, 60 do
        s.publish("log", { first = n })
        if n % 10 == 0 then
          deadline.eventually(function()
            return reader:log():find("%f[%d]" .. n .. "\n") or reader:code() and deadline.give_up(reader:log())
          end, 10, "event " .. n)
        end
      end
      assert.equal(0, reader:wait(10), reader:log())
      local numbers = {}
      for n in reader:log():gmatch("[^\n]+") do numbers[#numbers + 1] = tonumber(n) end
      for n = 1, 60 do assert.equal(n, numbers[n]) end
    end)

    full_case("a stream that is opened by POST", function()
      local c = connect("/ask", { method = "POST", body = '{"channel":"log"}',
        headers = { ["Content-Type"] = "application/json" } })
      for n = 1, 3 do
        s.publish("log", { first = n })
        assert.equal(n, live.n(assert(c:next_event(5))))
      end
      c:close()
    end)

    full_case("long streams and long bodies, up and down", function()
      s.publish("all", { n = 1000, pad = 1000 })
      local c = connect("/all")
      for n, event in ipairs(c:collect(1000, 20)) do assert.equal(n, live.n(event)) end
      c:close()
      local big = http.get(front.plain, "/big")
      assert.equal(("0123456789abcdef"):rep(1 << 19), big.body)
      local body = ("x"):rep(900 * 1024) -- nginx takes 1 MB unless told
      local answer = http.request(front.plain, "PUT", "/file", {}, body, 20)
      assert.same({ 200, #body }, { answer.status, json.decode(answer.body).n })
    end)

    full_case("what the app answers comes as it is, to an EventSource too", function()
      for _, status in ipairs { 204, 401, 403, 404, 429, 502, 503 } do
        for _, headers in ipairs { {}, { Accept = "text/event-stream", ["Cache-Control"] = "no-cache" } } do
          assert.equal(status, http.get(front.plain, "/status/" .. status, headers).status)
        end
      end
    end)

    case("a page writes to its own server", function()
      local page = b.open(front.url .. "/page")
      local status = page.eval("async () => (await fetch('/write', { method: 'POST' })).status")
      page.close()
      assert.equal(row.no_host and 403 or 204, status)
    end)

    --- What others are answered meanwhile; HAProxy tries for 3 s, so both ask before one is read.
    local function assert_away()
      local asked = {}
      for i, headers in ipairs { {}, { Accept = "text/event-stream" } } do -- it would take an empty one for all
        asked[i] = assert(http.connect(front.plain))
        asked[i]:send(http.request_text("GET", "/log", headers, nil, "localhost"))
      end
      for _, c in ipairs(asked) do
        local status = assert(c:response(20)).status
        assert.is_true(status == 502 or status == 503, status)
        c:close()
      end
    end

    -- The last one: the server is another one afterwards.
    case("an EventSource comes back after a restart", function()
      local c = clients.page(b.open(front.url .. "/page"), { front.url .. "/log" })
      local fetched = clients.npm("@microsoft/fetch-event-source", { ("http://127.0.0.1:%d/log"):format(front.plain) })
      for _, each in ipairs { c, fetched } do
        each.all("hello", 20, function() return each.count(1, "message", "hello") == 1 end)
      end
      local id = s.publish("log")[1]
      c.all("event", 10, function() return c.last(1, "e") end)
      fetched.all("event", 10, function() return fetched.last(1, "e") end)
      s.kill()
      if row.away == "ends" then
        c.all("end", 20, function() return c.count(1, "closed") == 1 end)
      elseif row.away == "cut" then
        c.all("failed try while the server is away", 20, function() return c.count(1, "error") >= 2 end)
      else
        c.all("empty stream while the server is away", 20, function() return c.count(1, "open") >= 2 end)
      end
      if row.away ~= "cut" then assert_away() end
      s = start_server(s.port)
      if row.away ~= "ends" then
        c.all("return", 20, function() return c.last(1, "reset") end)
        local reset = json.decode(c.last(1, "reset").data)
        assert.same({ "epoch", id }, { reset.reason, reset.from }) -- the id outlived the empty streams
        s.publish("log", { first = 2 })
        c.all("event", 10, function() return #c.numbers(1) == 2 end)
      end
      -- a client that takes a clean end for the end of all
      fetched.all("return, or end", 20, function() return fetched.last(1, row.cut and "e" or "reset") end)
      assert.equal(row.cut and 1 or 0, fetched.count(1, "closed"))
    end)
  end)
  ::continue::
end

describe("doc/operating.md", function()
  it("says of each proxy what is seen behind it", function()
    local said = {}
    for _, cells in ipairs(markdown.read("doc/operating.md").table("behind")) do
      local name = cells[1]:match("^%a+"):lower()
      local cut, h2 = cells[5]:match("^(an? %l+)"), cells[5]:find("HTTP/2", 1, true)
      said[name] = { late = cells[4] == "by heartbeats", cut = cut, h2 = h2 and "an end" or cut }
    end
    for _, row in ipairs(ROWS) do
      if not (row.block or row.edit) then
        local seen, what = said[row[1]], row.as or row[1]
        assert.equal(row.late or false, seen.late, what)
        assert.equal(row.cut and "an end" or "a cut", row.version == "h2" and seen.h2 or seen.cut, what)
      end
    end
  end)
end)

describe("behind nginx", function()
  it("$host in place of $http_host loses the port, and then a page may not write", function()
    local s = live.start(APP, { args = { "--allow-host", "app.example" } })
    local front = proxies.start("nginx", s.port, { edit = { ["$http_host"] = "$host" } })
    local asked = { Host = "app.example:" .. front.port, Origin = "http://app.example:" .. front.port }
    assert.equal(403, http.post(front.port, "/write", "", asked).status)
    front.stop()
    front = proxies.start("nginx", s.port)
    asked = { Host = "localhost:" .. front.port, Origin = "http://localhost:" .. front.port }
    assert.equal(204, http.post(front.port, "/write", "", asked).status)
    front.stop()
    live.stop_all()
  end)
end)
