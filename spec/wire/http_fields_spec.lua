--- Header fields that decide something: read over all their lines, by their grammar, and
--- refused where they are no value. Raw sockets, since no client would send these.
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")

local KEY = ("k"):rep(40)

local APP = [[
local app = require("sluice").app()
app:static("/", ".")
app:stream("/news", "news")
app:get("/ip", function(req) return 200, req.ip end)
app:get("/cookies", function(req) return req.cookies end)
app:get("/headers", function(req) return { tags = req.headers["X-Tags"] or "none" } end)
app:post("/json", function(req) return req:json() end)
app:get("/signed", function(req) return 401, "sign in" end)
app:get("/basic", function(req) return 401, "sign in", { ["www-authenticate"] = "Basic realm=x" } end)
app:get("/files/*", function(req) return 200, req.path end)
app:get("/all/**", function(req) return 200, req.path end)
app:guard("/:any/secret", function() return 403, "guarded" end)
app:channel("prices", { history = "latest", key = "symbol" })
local market = { channels = { "prices" }, query = { keys = "symbols", types = "kinds", max_rate = "rate" } }
app:stream("/market", market)
app:stream("/asked", function() return market end)
app:post("/price", function(req)
  app:publish("prices", "price", { symbol = req.query.symbol })
end)
return app
]]

local s

local function start(args)
  return server.start({ app = APP, files = { ["a.txt"] = "text" }, args = args })
end

--- One request with these field lines: the head of its answer, and its body unless it is a stream.
local function ask(target, lines, options)
  options = options or {}
  local c = assert(http.connect(s.port))
  local fields = {}
  for _, line in ipairs(lines or {}) do fields[#fields + 1] = line .. "\r\n" end
  local body = options.body or ""
  if options.body then fields[#fields + 1] = ("Content-Length: %d\r\n"):format(#body) end
  c:send(("%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s"):format(options.method or "GET", target,
    table.concat(fields), body))
  local response, err = c:response(5, { no_body = options.stream or options.method == "HEAD" })
  c:close()
  return assert(response, err)
end

local function status_of(...) return ask(...).status end

describe("Accept of a stream", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  local function accept(...)
    local lines = {}
    for i, value in ipairs({ ... }) do lines[i] = "Accept: " .. value end
    return status_of("/news", lines, { stream = true })
  end

  it("is a list over all lines", function()
    assert.equal(200, accept("text/html", "TEXT/event-stream;q=0.1"))
    assert.equal(200, accept("application/json, text/event-stream"))
    assert.equal(406, accept("text/html", "application/xml"))
  end)

  it("refuses by q=0, and by text that only looks like the type", function()
    assert.equal(406, accept("text/event-stream;q=0"))
    assert.equal(406, accept("text/event-stream;q=0, */*"))
    assert.equal(406, accept("application/json;q=0"))
    assert.equal(406, accept('a/b;c="text/event-stream"'))
    assert.equal(406, accept("text/event-streams"))
  end)
end)

describe("If-None-Match of a file", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("finds the tag in any line, weak or strong, or is a star", function()
    local tag = ask("/a.txt").headers.etag
    for _, lines in ipairs({ { tag }, { "W/" .. tag }, { '"x", ' .. tag }, { '"x"', 'W/"y",W/' .. tag }, { "*" } }) do
      for i, value in ipairs(lines) do lines[i] = "If-None-Match: " .. value end
      local r = ask("/a.txt", lines)
      assert.equal(304, r.status, lines[1])
      assert.equal(tag, r.headers.etag)
    end
    for _, value in ipairs({ tag:upper() .. "x", tag:gsub('"', ""), '"x"', "" }) do
      assert.equal(200, status_of("/a.txt", { "If-None-Match: " .. value }), value)
    end
  end)
end)

describe("a field of one value", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("is refused when it comes twice", function()
    for _, line in ipairs({ "Origin: https://a.example", "Authorization: Bearer x", "Content-Type: application/json",
      "Last-Event-ID: x", "Sec-Fetch-Site: none", "X-Admin-Key: x", "Idempotency-Key: x" }) do
      local r = ask("/ip", { line, (line:gsub("^[^:]+", string.lower)) })
      assert.equal(400, r.status, line)
      assert.matches("comes twice", json.decode(r.body).error.message)
    end
    assert.equal(200, status_of("/ip", { "User-Agent: a", "User-Agent: b", "Accept: c", "Accept: d" }))
  end)
end)

describe("the type of a body", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  local function post(...)
    local lines = {}
    for i, value in ipairs({ ... }) do lines[i] = value end
    return ask("/json", lines, { method = "POST", body = '{"a":1}' }).status
  end

  it("is JSON in any case, with any parameters", function()
    for _, value in ipairs({ "Application/JSON", 'application/json ; charset="utf-8"', "application/problem+json",
      "application/json;", "model/gltf+JSON" }) do
      assert.equal(200, post("Content-Type: " .. value), value)
    end
  end)

  it("is refused where it is no media type", function()
    for _, value in ipairs({ "", "json", "application/json text/plain", "application/json, application/json",
      "application/json;a", "text/plain;x=application/json" }) do
      assert.equal(415, post("Content-Type: " .. value), value)
    end
  end)

  it("may have the coding identity and no other, in any line and case", function()
    local kind = "Content-Type: application/json"
    assert.equal(200, post(kind, "Content-Encoding: Identity", "content-encoding: identity, IDENTITY"))
    assert.equal(415, post(kind, "Content-Encoding: identity", "Content-Encoding: gzip"))
    local r = ask("/json", { kind, "Content-Encoding: GZIP" }, { method = "POST", body = "x" })
    assert.same({ 415, "identity" }, { r.status, r.headers["accept-encoding"] })
  end)
end)

describe("cookies", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  local function cookies(...)
    local lines = {}
    for i, value in ipairs({ ... }) do lines[i] = "Cookie: " .. value end
    return json.decode(ask("/cookies", lines).body)
  end

  it("are read from all lines, the first of a name", function()
    assert.same({ a = "1", b = "2", c = "3" }, cookies("a=1; b=2", "c=3; a=4"))
    assert.same({ a = "1, x=2" }, cookies("a=1, x=2"))
  end)

  it("have all that stands before the sign as their name", function()
    assert.same({ b = "2" }, cookies("x session=1; b=2; =3; session"))
    assert.same({ a = "b=c", q = "1 2", e = "" }, cookies('a=b=c;  q = "1 2" ;e='))
  end)
end)

describe("lists that an app reads", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("are joined from all lines", function()
    assert.equal("a, b,c", json.decode(ask("/headers", { "x-tags: a", "X-TAGS: b,c" }).body).tags)
  end)
end)

describe("X-Forwarded-For of a trusted proxy", function()
  setup(function() s = start({ "--trust-proxy", "yes" }) end)
  teardown(server.stop_all)

  local function ip(...)
    local lines = {}
    for i, value in ipairs({ ... }) do lines[i] = "X-Forwarded-For: " .. value end
    return ask("/ip", lines).body
  end

  it("ends with the address that the proxy added, over all lines", function()
    assert.equal("198.51.100.1", ip("203.0.113.9", "198.51.100.1"))
    assert.equal("198.51.100.1", ip("203.0.113.9, 203.0.113.8 ,\t198.51.100.1"))
    assert.equal("198.51.100.1", ip("203.0.113.9", "203.0.113.8, 198.51.100.1 , ,"))
    assert.equal("2001:db8::1", ip("203.0.113.9, 2001:DB8::1"))
    assert.equal("198.51.100.1", ip("198.51.100.1:4711"))
    assert.equal("198.51.100.1", ip('203.0.113.9, "198.51.100.1"'))
    assert.equal("2001:db8::1", ip('203.0.113.9, "[2001:db8::1]:80"'))
  end)

  it("leaves the address of the peer where it ends with none", function()
    for _, value in ipairs({ "", "unknown", "203.0.113.9, unknown", "203.0.113.9, 1.2.3.4.5", "203.0.113.9, a b",
      "203.0.113.9 198.51.100.1", "unix:", "999.1.1.1", "::::", "dead.beef", '203.0.113.9, "198.51.100.1' }) do
      assert.equal("127.0.0.1", ip(value), value)
    end
    assert.equal("127.0.0.1", ip())
  end)
end)

describe("X-Forwarded-For of any other peer", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("is not believed", function()
    assert.equal("127.0.0.1", ask("/ip", { "X-Forwarded-For: 203.0.113.9" }).body)
  end)
end)

describe("a 401", function()
  setup(function() s = start({ "--admin-key", KEY }) end)
  teardown(server.stop_all)

  it("says how to sign in, whatever answers it", function()
    assert.equal("Bearer", ask("/signed").headers["www-authenticate"])
    assert.equal("Bearer", ask("/signed", {}, { method = "HEAD" }).headers["www-authenticate"])
    assert.equal("Basic realm=x", ask("/basic").headers["www-authenticate"])
    for _, lines in ipairs({ {}, { "Authorization: Bearer wrong" }, { "X-Admin-Key: wrong" },
      { "Authorization: Bearer" }, { "Authorization: Basic " .. KEY }, { "Authorization: " .. KEY },
      { "Authorization: BearerX " .. KEY },
      { "Authorization: Bearer " .. KEY .. "x" }, { "Authorization: Bearer " .. KEY:upper() } }) do
      local r = ask("/-/reload", lines)
      assert.same({ 401, "Bearer" }, { r.status, r.headers["www-authenticate"] }, lines[1])
    end
  end)

  it("is not for who has the key, under the scheme's name in any case", function()
    for _, line in ipairs({ "Authorization: Bearer " .. KEY, "authorization: bearer " .. KEY,
      "AUTHORIZATION: BEARER   " .. KEY, "X-Admin-Key: " .. KEY }) do
      assert.equal(200, status_of("/-/reload", { line }), line)
    end
  end)
end)

describe("a path", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("with an encoded slash or control byte in a segment leads nowhere", function()
    for _, path in ipairs({ "/files/admin.key%2f.txt", "/files/a%2F", "/all/a%2fb", "/all/%2e%2e%2fetc", "/all/a%0ab",
      "/files/a%0d%0aX:y", "/files/a%1f", "/all/a%7f", "/news%2f", "/a.txt%2f", "/nowhere%2f" }) do
      assert.equal(404, status_of(path), path)
    end
    for _, path in ipairs({ "/files/a%00.txt", "/all/a%00", "/all/../../x" }) do
      assert.equal(400, status_of(path), path)
    end
  end)

  it("is what its segments say: decoded once, without dots", function()
    assert.equal("/files/a.key", ask("/files/%61%2ekey").body)
    assert.equal("/files/%61", ask("/files/%2561").body)
    assert.equal("/all/x", ask("/all/y/%2E%2e/x").body)
    assert.equal("/all/a\\..\\b", ask("/all/a%5c..%5Cb").body)
  end)

  it("passes no guard by its spelling", function()
    for _, path in ipairs({ "/all/secret", "/all//secret", "/all/%73ecret", "/all/x/../secret", "/files/secr%65t",
      "/files/./secret", "/all/.//secret" }) do
      assert.equal(403, status_of(path), path)
    end
  end)
end)

describe("names of query parameters", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  local function hears(target)
    local c = assert(http.connect(s.port))
    c:send(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(target))
    assert.equal(200, c:response(5, { no_body = true }).status)
    local text = assert(c.wire:read_until("event: hello\n", function() return 5 end))
    for _, symbol in ipairs({ "A", "B" }) do
      ask("/price?symbol=" .. symbol, {}, { method = "POST", body = "" })
    end
    text = text .. c.wire:drain(0.3)
    c:close()
    return text:find('"A"', 1, true) ~= nil, text:find('"B"', 1, true) ~= nil
  end

  for _, path in ipairs({ "/market", "/asked" }) do
    it("are decoded, wherever the plan is made: " .. path, function()
      assert.same({ true, false }, { hears(path .. "?%73ymbols=A") })
      assert.same({ true, false }, { hears(path .. "?symbol%73=A&%6binds=price&x=1") })
      assert.same({ true, true }, { hears(path .. "?%53ymbols=A") })
      assert.equal(422, status_of(path .. "?r%61te=none"))
    end)
  end
end)
