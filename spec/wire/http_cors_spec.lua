--- app:cors: what a page may read of every answer for a path that a rule covers, whatever
--- gives the answer: the parser, the dispatcher, a file, a stream, the app, a time-out.
local http = require("spec.support.http")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:cors("/api/**", { origins = { "https://app.example", "https://other.example" }, credentials = true })
app:cors("/one/**", { origins = { "https://app.example" } })
app:cors("/any/**", { origins = { "*" } })
app:static("/api/files", ".")
app:stream("/api/news", "news")
app:stream("/api/:room/news", "room/:room")
app:stream("/api/written", function(req, client)
  if req.query.refuse then return tonumber(req.query.refuse) end
  client:send("x", {})
end)
app:get("/api/ok", function() return 200, "ok" end)
app:post("/api/json", function(req) return req:json({ a = "string" }) end)
app:get("/api/error", function() error("broken") end)
app:get("/api/slow", function() sluice.sleep(60) end)
app:get("/api/own", function() return 200, "x", { Vary = "Accept" } end)
app:get("/one/ok", function() return 200, "ok" end)
app:get("/any/ok", function() return 200, "ok" end)
app:get("/private", function() return 200, "ok" end)
app:guard("/api/guarded/**", function() return 403, "no" end)
app:get("/api/guarded/x", function() return 200, "ok" end)
return app
]]

local FROM = "Origin: https://app.example"
local s

local function start(args) return server.start({ app = APP, files = { ["a.txt"] = "text" }, args = args }) end

--- Send these bytes on a connection of their own: the head of the answer.
local function send(text, seconds)
  local c = assert(http.connect(s.port))
  c:send(text)
  local response, err = c:response(seconds or 5, { no_body = true })
  c:close()
  return assert(response, err)
end

local function head(line, ...)
  return line .. " HTTP/1.1\r\nHost: localhost\r\n" .. table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

--- Assert status and that the page may read it.
local function is_readable(status, r, what)
  assert.equal(status, r.status, what)
  assert.equal("https://app.example", r.headers["access-control-allow-origin"], what)
  assert.equal("true", r.headers["access-control-allow-credentials"], what)
  assert.matches("Origin", r.headers.vary, 1, true)
end

describe("a page of an origin that may read", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("reads answers of the app, and errors of it", function()
    is_readable(200, send(head("GET /api/ok", FROM)))
    is_readable(200, send(head("HEAD /api/ok", FROM)))
    is_readable(500, send(head("GET /api/error", FROM)))
    is_readable(403, send(head("GET /api/guarded/x", FROM)))
    is_readable(415, send(head("POST /api/json", FROM, "Content-Length: 0")))
    is_readable(422, send(head("POST /api/json", FROM, "Content-Type: application/json", "Content-Length: 2") .. "{}"))
    local own = send(head("GET /api/own", FROM))
    is_readable(200, own)
    assert.matches("Accept", own.headers.vary, 1, true)
  end)

  it("reads files, also when they have not changed", function()
    local file = send(head("GET /api/files/a.txt", FROM))
    is_readable(200, file)
    is_readable(304, send(head("GET /api/files/a.txt", FROM, "If-None-Match: " .. file.headers.etag)))
    is_readable(404, send(head("GET /api/files/b.txt", FROM)))
    is_readable(405, send(head("POST /api/files/a.txt", FROM, "Content-Length: 0")))
  end)

  it("reads streams, also those that are refused or over", function()
    is_readable(200, send(head("GET /api/news", FROM)))
    is_readable(200, send(head("HEAD /api/news", FROM)))
    is_readable(200, send(head("GET /api/written", FROM)))
    is_readable(200, send(head("HEAD /api/written", FROM)))
    is_readable(204, send(head("GET /api/news", FROM, "Last-Event-ID: stop")))
    is_readable(204, send(head("GET /api/written?refuse=204", FROM)))
    is_readable(401, send(head("GET /api/written?refuse=401", FROM)))
    is_readable(200, send(head("GET /api/written?refuse=503", FROM)))
    is_readable(406, send(head("GET /api/news", FROM, "Accept: text/html")))
    is_readable(422, send(head("GET /api/news?max_rate=x", FROM)))
    is_readable(404, send(head("GET /api/a%20b/news", FROM)))
  end)

  it("reads what the dispatcher refuses", function()
    is_readable(404, send(head("GET /api/nowhere", FROM)))
    is_readable(404, send(head("GET /api/a%2fb", FROM)))
    is_readable(400, send(head("GET /api/%zz", FROM)))
    is_readable(400, send(head("GET /api/ok?%", FROM)))
    is_readable(405, send(head("DELETE /api/ok", FROM)))
    is_readable(415, send(head("POST /api/json", FROM, "Content-Encoding: gzip", "Content-Length: 0")))
    is_readable(421, send("GET /api/ok HTTP/1.1\r\nHost: unknown.example\r\n" .. FROM .. "\r\n\r\n"))
    is_readable(417, send(head("GET /api/ok", FROM, "Expect: x")))
    is_readable(501, send(head("BREW /api/ok", FROM)))
  end)

  it("reads what the parser refuses, as far as it has read", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    is_readable(414, send(head("GET /api/ok?" .. ("a"):rep(9000), FROM)))
    is_readable(431, send(head("GET /api/ok", FROM, "Cookie: " .. ("a"):rep(17000))))
    is_readable(431, send(head("GET /api/ok", FROM, (("X: y\r\n"):rep(110):sub(1, -3)))))
    is_readable(400, send(head("GET /api/ok", FROM, "bad line")))
    is_readable(400, send(head("POST /api/json", FROM, "Content-Length: x")))
    is_readable(501, send(head("POST /api/json", FROM, "Transfer-Encoding: gzip")))
    is_readable(413, send(head("POST /api/json", FROM, "Content-Length: 99999999")))
    is_readable(400, send(head("POST /api/json", FROM, "Transfer-Encoding: chunked") .. "zz\r\n"))
    is_readable(413, send(head("POST /api/json", FROM, "Transfer-Encoding: chunked") .. "fffffff\r\n"))
  end)

  it("reads a refusal that came before its Origin where no other may", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    for _, text in ipairs({ head("GET /one/ok", "Cookie: " .. ("a"):rep(17000), FROM),
      head("GET /one/ok", "bad line", FROM), head("GET /one/" .. ("a"):rep(17000), FROM) }) do
      local r = send(text)
      assert.is_true(r.status >= 400)
      assert.equal("https://app.example", r.headers["access-control-allow-origin"])
      assert.equal("Origin", r.headers.vary)
    end
    assert.is_nil(send(head("GET /one/ok")).headers["access-control-allow-origin"])
    assert.is_nil(send(head("GET /api/ok", "bad line", FROM)).headers["access-control-allow-origin"])
  end)

  it("asks before by OPTIONS", function()
    local r = send(head("OPTIONS /api/json", FROM, "Access-Control-Request-Method: POST"))
    is_readable(204, r)
    assert.matches("POST", r.headers["access-control-allow-methods"], 1, true)
    assert.matches("POST", r.headers.allow, 1, true)
    is_readable(204, send(head("OPTIONS /api/json", FROM)))
    is_readable(204, send(head("OPTIONS /api/nowhere", FROM, "Access-Control-Request-Method: GET")))
    is_readable(400, send(head("OPTIONS /api/%zz", FROM, "Access-Control-Request-Method: GET")))
  end)

  it("reads everything where every origin may", function()
    if server.over_h2 then return pending("HTTP/1.1 only") end
    for line, status in pairs({ ["GET /any/ok"] = 200, ["GET /any/nowhere"] = 404, ["PUT /any/ok"] = 405,
      ["GET /any/" .. ("a"):rep(17000)] = 414 }) do
      local r = send(head(line, FROM))
      assert.equal(status, r.status)
      assert.equal("*", r.headers["access-control-allow-origin"])
    end
  end)
end)

describe("a page of another origin, or a path without a rule,", function()
  setup(function() s = start() end)
  teardown(server.stop_all)

  it("is not allowed, whatever answers", function()
    for _, text in ipairs({ head("GET /api/ok", "Origin: https://evil.example"),
      head("GET /api/nowhere", "Origin: null"), head("GET /api/ok?" .. ("a"):rep(9000), "Origin: https://evil.example"),
      head("GET /api/files/a.txt", "Origin: https://evil.example"), head("GET /private", FROM),
      head("GET /privately", FROM), head("GET /private?" .. ("a"):rep(9000), FROM), head("GET /-/reload", FROM) }) do
      local r = send(text)
      assert.is_nil(r.headers["access-control-allow-origin"], text:sub(1, 60))
      assert.is_nil(r.headers["access-control-allow-credentials"])
    end
  end)
end)

describe("an answer that does not come in time", function()
  setup(function() s = start({ "--request-timeout", "1" }) end)
  teardown(server.stop_all)

  it("is read by a page that may", function()
    is_readable(504, send(head("GET /api/slow", FROM), 15))
  end)
end)

describe("a body that does not come in time", function()
  setup(function()
    s = server.start({ app = APP, files = { ["a.txt"] = "text" }, env = { SLUICE_BODY_TIMEOUT = 1 } })
  end)
  teardown(server.stop_all)

  it("is refused so that a page may read it", function()
    is_readable(408, send(head("POST /api/json", FROM, "Content-Length: 5") .. "{", 15))
  end)
end)
