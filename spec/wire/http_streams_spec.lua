--- Requests for streams that a peer spoils on purpose: cursors that are none, bytes behind
--- the request, clients that vanish, hosts and origins that are not ours.
--- (N101 to N110, N113, N115, N117 to N119, N129 to N131 of the table of nasty inputs.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")

local APP = [[
local app = require("sluice").app()
local hits = app:state("hits", { n = 0 })
app:channel("news", { history = 10 })
app:cors("/shared/**", { origins = { "https://app.example" }, credentials = true })
app:stream("/news", "news")
app:stream("/shared/news", "news")
app:channel("prices", { history = "latest", key = "symbol" })
local market = { channels = { "prices" }, query = { keys = "symbols", max_rate = "rate" } }
app:stream("/market", market)
app:stream("/small", { channels = { "news" }, compress = "auto" })
app:stream("/asked", function() return market end)
app:get("/hit", function() hits().n = hits().n + 1; return 200, "hit" end)
app:get("/hits", function() return 200, tostring(hits().n) end)
app:get("/clients", function()
  local n = 0
  for _ in app:clients() do n = n + 1 end
  return 200, tostring(n)
end)
app:post("/publish", function() return 200, tostring((app:publish("news", "story", { n = 1 }))) end)
return app
]]

local s

--- Ask for a stream: connection, response head. `fields` end with CRLF each.
local function ask(path, fields, method)
  local c = assert(http.connect(s.port))
  c:send(("%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(method or "GET", path, fields or ""))
  local response, err = c:response(3, { no_body = true })
  return c, assert(response, err)
end

--- What the stream says until `mark` is there, or for two seconds.
local function read_until(c, mark)
  local left = deadline.after(2)
  local text = c.wire.buffer
  while not text:find(mark, 1, true) and left() > 0 and c.wire:fill(left()) do text = c.wire.buffer end
  return text
end

--- The first words of a stream that was asked for with these fields.
local function opening(path, fields)
  local c, response = ask(path, fields)
  assert.equal(200, response.status)
  local text = read_until(c, "event: hello\n")
  text = text .. c.wire:listen(0.1)
  c:close()
  return text
end

local function is_reset(text, what) assert.truthy(text:find("event: reset\n", 1, true), what .. ": " .. text) end
local function is_resumed(text, what) assert.is_nil(text:find("event: reset\n", 1, true), what .. ": " .. text) end

local function clients() return tonumber(http.get(s.port, "/clients").body) end
local function hits() return tonumber(http.get(s.port, "/hits").body) end
local function none_left() deadline.eventually(function() return clients() == 0 end, 5, "no client is left") end

--- A real id: of an event published now.
local function publish() return http.post(s.port, "/publish", "{}", { ["Content-Type"] = "application/json" }).body end

describe("a stream request", function()
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  it("with a cursor that is none starts with a reset (N102, N103, N104)", function()
    local id = publish()
    local epoch, seq = id:match("^([%l%d]+)%-(%d+)$")
    assert.truthy(epoch, "not an id: " .. id)
    for _, cursor in ipairs({ "x", "1", "-", id .. " x", " \"" .. id .. "\"", "\xc3\xa9", id .. "\xff", id .. "9999999",
      "aaaaaaaaaaaaa-" .. seq, epoch .. "-", epoch .. "-0" .. seq, epoch .. "-+" .. seq, epoch:upper() .. "-" .. seq,
      epoch .. "-9223372036854775807", epoch .. "-99999999999999999999", ("a"):rep(129) }) do
      is_reset(opening("/news", "Last-Event-ID: " .. cursor .. "\r\n"), cursor)
    end
    is_resumed(opening("/news", "Last-Event-ID: " .. id .. "\r\n"), id)
  end)

  it("survives a cursor of 9,000 bytes (N101)", function()
    is_reset(opening("/news", "Last-Event-ID: " .. ("a"):rep(9000) .. "\r\n"), "9,000 bytes")
  end)

  it("believes the header, not the address (N105)", function()
    local id = publish()
    is_resumed(opening("/news?lastEventId=x", "Last-Event-ID: " .. id .. "\r\n"), "good header")
    is_reset(opening("/news?lastEventId=" .. id, "Last-Event-ID: x\r\n"), "bad header")
    for _, query in ipairs { "lastEventId=x", "lastEventId=&last_event_id=x" } do -- what is empty says nothing
      is_reset(opening("/news?" .. query, "Last-Event-ID:\r\n"), "bad query, empty header")
    end
    for _, field in ipairs { "", "Last-Event-ID:\r\n", "Last-Event-ID: \t \r\n" } do
      local text = opening("/news?lastEventId=&last_event_id=" .. id, field)
      assert.truthy(text:find('"resumed":true', 1, true), text)
    end
    for _, name in ipairs({ "lastEventId", "last_event_id", "Last-Event-ID" }) do
      is_reset(opening("/news?" .. name .. "=x"), name)
      is_resumed(opening("/news?a=b&" .. name .. "=" .. id:gsub("%-", "%%2d")), name)
    end
    is_resumed(opening("/news?lasteventid=x"), "unknown spelling")
  end)

  it("never joins two cursors (N107)", function()
    local id = publish()
    local c, response = ask("/news", "Last-Event-ID: " .. id .. "\r\nLast-Event-ID: x\r\n")
    if response.status == 200 then
      is_resumed(read_until(c, "event: hello\n"), "the first one counts")
    else
      assert.equal(400, response.status)
    end
    c:close()
  end)

  it("takes the types it is asked for as they are (N117, N118)", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    for _, fields in ipairs({ "Accept-Encoding: gzip;q=0, *;q=0\r\n", "", "Accept: */*\r\n",
      "Accept: text/event-stream\r\n" }) do
      local c, response = ask("/news", fields)
      assert.equal("text/event-stream", response.headers["content-type"])
      assert.is_nil(response.headers["content-encoding"])
      assert.equal("chunked", response.headers["transfer-encoding"])
      c:close()
    end
    local c = assert(http.connect(s.port))
    c:send("GET /news HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    local response = c:response(3, { no_body = true })
    assert.equal("close", response.headers.connection)
    assert.is_nil(response.headers["transfer-encoding"])
    assert.is_nil(response.headers["content-encoding"])
    assert.truthy(read_until(c, "event: hello\n"):find("^:ok\nretry: %d+\nevent: hello\n"))
    c:close()
  end)

  it("has at most a hundred parameters (N119)", function()
    local c, response = ask("/news?" .. ("a=b&"):rep(101))
    assert.equal(400, response.status)
    c:close()
    c, response = ask("/news?" .. ("a=b&"):rep(100))
    assert.equal(200, response.status)
    c:close()
  end)

  it("with a rate that is none gets 422, whether Lua answers or not", function()
    local message = "rate: a number of events per second, from 1/60, is expected"
    for _, path in ipairs({ "/market", "/asked" }) do
      for _, rate in ipairs({ "", "nan", "inf", "-1", "0", "-0", "1e400", "0x10", "two", "2,5", "1e", "+", "%201",
        "0.0166", ("1"):rep(33), ("1"):rep(5000) }) do
        local response = http.get(s.port, path .. "?rate=" .. rate)
        assert.equal(422, response.status, path .. " " .. rate)
        assert.same({ error = { code = "EBADFIELD", message = message, field = "rate" } }, json.decode(response.body))
      end
      for _, keys in ipairs({ "symbols", "types" }) do
        local response = http.get(s.port, path .. "?" .. keys .. "=" .. ("k,"):rep(101))
        assert.equal(422, response.status)
        assert.same({ error = { code = "EBADFIELD", message = keys .. ": at most 100 items", field = keys } },
          json.decode(response.body))
      end
      for rate, told in pairs({ ["1"] = 1, ["2.5"] = 2, ["1e3"] = 50, [".05"] = 1 / 30, ["%31"] = 1, ["1&rate=x"] = 1,
        ["0.016667"] = 1 / 60 }) do
        local text = opening(path .. "?rate=" .. rate):match('"max_rate":([%d.e-]+)[,}]')
        assert.equal(told, tonumber(text), path .. " " .. rate)
      end
      assert.is_nil(opening(path .. "?max_rate=x"):find("max_rate", 1, true))
    end
  end)

  it("by HEAD gets the head alone, and no stream (N115)", function()
    none_left()
    local c, response = ask("/news", "", "HEAD")
    assert.equal(200, response.status)
    assert.equal("text/event-stream", response.headers["content-type"])
    assert.equal(0, clients())
    assert.equal("hit", c:request("GET", "/hit").body)
    c:close()
  end)

  it("by OPTIONS or PUT is told what there is (N115)", function()
    local c, response = ask("/news", "", "OPTIONS")
    assert.equal(204, response.status)
    assert.truthy(response.headers.allow:find("GET", 1, true))
    response = c:request("PUT", "/news", {}, "x")
    assert.equal(405, response.status)
    assert.truthy(response.headers.allow:find("GET", 1, true))
    c:close()
  end)
end)

describe("a client of a stream", function()
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  it("does not get requests executed that it sends behind (N108)", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    local c, response = ask("/news")
    assert.equal(200, response.status)
    local before = hits()
    c:send("GET /hit HTTP/1.1\r\nHost: localhost\r\n\r\n")
    c:send(("GET /hit HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(200))
    local left = deadline.after(5)
    while c:send(("x"):rep(4096)) do assert.is_true(left() > 0, "still open") end
    c:close()
    assert.equal(before, hits())
    none_left()
  end)

  it("may send a few bytes and goes on listening", function()
    local c = ask("/news")
    c:send("GET /hit HTTP/1.1\r\n\r\n")
    read_until(c, "event: hello\n")
    publish()
    assert.truthy(read_until(c, "event: story\n"):find("event: story\n", 1, true))
    c:close()
  end)

  it("is gone when it closes its half (N109)", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    none_left()
    local c = ask("/news")
    deadline.eventually(function() return clients() == 1 end, 2, "the client is there")
    c:finish()
    deadline.eventually(function() return clients() == 0 end, 1, "the client is gone")
    local _, how = c:drain(1)
    assert.equal("closed", how)
    c:close()
  end)

  it("leaves nothing behind when it resets the connection (N110, N113)", function()
    none_left()
    local fds = s.fds()
    for round = 1, 300 do
      local c = assert(http.connect(s.port))
      c:send("GET /news HTTP/1.1\r\nHost: localhost\r\n\r\n")
      if round % 3 == 0 then c:response(3, { no_body = true }) end
      if round % 2 == 0 then c:reset() else c:close() end
    end
    none_left()
    deadline.eventually(function() return s.fds() <= fds + 1 end, 3, "descriptors are back")
    assert.equal(200, http.get(s.port, "/hits").status)
  end)
end)

describe("a request from elsewhere", function()
  setup(function() s = server.start({ app = APP, args = { "--allow-host", "app.example" } }) end)
  teardown(server.stop_all)

  local function status_of(host) return http.request(s.port, "GET", "/hits", { Host = host }).status end

  it("is answered for our own names only (N129)", function()
    for _, host in ipairs({ "localhost", "127.0.0.1:" .. s.port, "[::1]", "app.example", "APP.example:81" }) do
      assert.equal(200, status_of(host), host)
    end
    for _, host in ipairs({ "evil.example", "app.example.evil", "x.app.example", "127.0.0.1.evil.example" }) do
      assert.equal(421, status_of(host), host)
    end
    local c = assert(http.connect(s.port))
    c:send("GET http://evil.example/news HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert.equal(421, c:response().status)
    c:close()
  end)

  it("may read where CORS says so", function()
    local c, response = ask("/shared/news", "Origin: https://app.example\r\n")
    assert.equal("https://app.example", response.headers["access-control-allow-origin"])
    assert.equal("true", response.headers["access-control-allow-credentials"])
    assert.equal("Origin", response.headers.vary)
    c:close()
  end)

  it("may not read otherwise (N130)", function()
    for _, origin in ipairs({ "null", "https://evil.example", "https://app.example.evil" }) do
      local c, response = ask("/shared/news", "Origin: " .. origin .. "\r\n")
      assert.is_nil(response.headers["access-control-allow-origin"])
      assert.is_nil(response.headers["access-control-allow-credentials"])
      c:close()
    end
    local c, response = ask("/news", "Origin: https://app.example\r\n")
    assert.is_nil(response.headers["access-control-allow-origin"])
    c:close()
  end)

  it("is told by a preflight which fields it may send (N131)", function()
    local c, response = ask("/shared/news", "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n" ..
      "Access-Control-Request-Headers: last-event-id, authorization, x-foo\r\n", "OPTIONS")
    assert.equal(204, response.status)
    assert.equal("https://app.example", response.headers["access-control-allow-origin"])
    local allowed = response.headers["access-control-allow-headers"]:lower()
    assert.truthy(allowed:find("last-event-id", 1, true) and allowed:find("authorization", 1, true))
    assert.is_nil(allowed:find("x-foo", 1, true))
    c:close()
  end)

  it("that accepts gzip gets its header as a first chunk; HTTP/1.0 gets plain bytes (N117, N118)", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    local accepts = "Accept-Encoding: gzip\r\n"
    local c, response = ask("/small", accepts)
    assert.equal("gzip", response.headers["content-encoding"])
    local text = read_until(c, "\xff\r\n") .. c.wire:listen(0.2)
    assert.equal("a\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\r\n", text:sub(1, 15))
    assert.is_nil(text:find("hello", 1, true) and text:find("event: hello\ndata", 1, true))
    c:close()

    c = assert(http.connect(s.port))
    c:send("GET /small HTTP/1.0\r\nHost: localhost\r\n" .. accepts .. "\r\n")
    text = read_until(c, "event: hello\n")
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    assert.is_nil(head:lower():find("content-encoding", 1, true))
    assert.truthy(head:find("\r\nVary: Accept-Encoding\r\n", 1, true), head)
    assert.equal(":ok\n", body:sub(1, 4))
    c:close()

    c, response = ask("/small", "Accept-Encoding: gzip;q=0, *;q=0\r\n")
    assert.is_nil(response.headers["content-encoding"])
    c:close()
    none_left()
  end)

  it("by HEAD names the coding that GET would have, and has no body", function()
    local c, response = ask("/small", "Accept-Encoding: gzip, zstd\r\n", "HEAD")
    assert.same({ "zstd", "Accept-Encoding" }, { response.headers["content-encoding"], response.headers.vary })
    assert.equal("", c.wire.buffer .. c.wire:listen(0.2))
    c:close()
  end)
end)
