--- Bodies in pieces, as bytes on a socket: how they may come, who waits for whom, and how the
--- connection goes on.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local socket = require("socket")

local APP = [[
  local log = app:state("log", { list = {} })
  local function note(text) table.insert(log().list, text) end
  local function count(req)
    local n, pieces, sum = 0, 0, 0
    for piece in req:chunks() do
      n, pieces = n + #piece, pieces + 1
      for i = 1, #piece, 997 do sum = (sum * 31 + piece:byte(i) + #piece - i) % 1000003 end
    end
    return { n = n, pieces = pieces, sum = sum }
  end
  app:post("/up", { body = "stream", max = 1000000 }, count)
  app:post("/text", { body = "stream", max = 1000000 }, function(req)
    local list = {}
    for piece in req:chunks() do list[#list + 1] = piece end
    return 200, table.concat(list)
  end)
  app:post("/large", { body = "stream", max = 1 << 40 }, count)
  app:post("/refused", function() return 403 end, { body = "stream", max = 1 << 40 }, count)
  app:post("/early", { body = "stream", max = 1 << 40 }, function(req) return 200, ("e"):rep(tonumber(req.query.n)) end)
  app:post("/wait", { body = "stream", max = 1 << 40 }, function(req)
    note("begun")
    while not log().go do sluice.sleep(0.01) end
    for piece in req:chunks() do note(#piece) end
    note("whole")
  end)
  app:post("/noted", { body = "stream", max = 1 << 40 }, function(req)
    local ok, problem = pcall(function() for piece in req:chunks() do note(piece) end end)
    note(ok and "whole" or problem.code)
  end)
  app:post("/go", function() log().go = true end)
  app:get("/log", function() return log().list end)
  app:get("/hello", function() return 200, "hello" end)]]

local s

local function head(path, ...)
  return ("POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"):format(path, table.concat({ ... }, "\r\n"))
end

local function length(n) return "Content-Length: " .. n end

local CHUNKED = "Transfer-Encoding: chunked"

local function chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

local function log() return table.concat(json.decode(http.get(s.port, "/log").body), "|") end

local function eventually_logs(text)
  deadline.eventually(function() return log() == text end, 10, "the log is " .. text)
end

--- Send all that the server takes without being read: how many bytes.
local function push(c, most)
  local sent, text, left = 0, ("x"):rep(65536), deadline.after(20)
  c.wire.sock:settimeout(0)
  while sent < most and left() > 0 do
    local n, err, partial = c.wire.sock:send(text)
    sent = sent + (n or partial or 0)
    if err == "closed" then return sent, err end
    if err == "timeout" and #select(2, socket.select(nil, { c.wire.sock }, 0.5)) == 0 then break end
  end
  c.wire.sock:settimeout(10 * deadline.scale)
  return sent
end

describe("a body in pieces, on the wire:", function()
  before_each(function() s = live.start(APP) end)
  after_each(live.stop_all)

  local function connect() return assert(http.connect(s.port)) end

  it("any cut of any framing gives the same bytes, and the connection goes on", function()
    local text = {}
    for i = 1, 2000 do text[i] = ("%07d\n"):format(i) end
    text = table.concat(text)
    local chunks = {}
    for i = 1, #text, 700 do chunks[#chunks + 1] = chunk(text:sub(i, i + 699)) end
    local framed = table.concat(chunks) .. "0\r\nX-Sum: 1\r\n\r\n"
    math.randomseed(7)
    local c = connect()
    for n, sent in ipairs { head("/text", length(#text)) .. text, head("/text", CHUNKED) .. framed } do
      for step = 1, 4 do
        local at = 1
        while at <= #sent do
          local size = ({ #sent, 5000, 60, math.random(2000) })[step]
          c:send(sent:sub(at, at + size - 1))
          at = at + size
        end
        local answer = assert(c:response())
        assert.is_true(answer.body == text, ("framing %d, step %d: %d bytes"):format(n, step, #answer.body))
        assert.is_nil(answer.headers.connection)
      end
    end
    assert.equal("hello", c:request("GET", "/hello").body)
    c:close()
  end)

  it("what follows the body is the next request", function()
    local c = connect()
    c:send(head("/text", length(3)) .. "abc" .. head("/text", CHUNKED) .. chunk("de") .. chunk("f") .. "0\r\n\r\n"
      .. head("/text", length(0)) .. "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
      .. head("/text", length(1)) .. "g")
    for _, body in ipairs { "abc", "def", "", "hello", "g" } do
      local answer = assert(c:response())
      assert.same({ 200, body }, { answer.status, answer.body })
    end
    c:close()
  end)

  it("HTTP/1.0 sends one with a length", function()
    local c = connect()
    c:send("POST /text HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    local text, why = c:drain()
    assert.same({ "abc", "closed" }, { text:match("\r\n\r\n(.*)"), why })
    c = connect()
    c:send("POST /text HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc")
    assert.equal("keep-alive", c:response().headers.connection)
    assert.equal("hello", c:request("GET", "/hello").body)
    c:close()
  end)

  it("100 Continue is sent when the handler asks, not before", function()
    local c = connect()
    c:send(head("/wait", length(3), "Expect: 100-continue"))
    eventually_logs("begun")
    assert.same({ "", "timeout" }, { c:drain(0.3) })
    http.post(s.port, "/go")
    c.wire.buffer = ""
    assert.truthy(c.wire:read_until("\r\n\r\n", deadline.after(5)):find("^HTTP/1.1 100 Continue\r\n"))
    c:send("abc")
    assert.same({ 204, nil }, { c:response().status, c.interim })
    eventually_logs("begun|3|whole")
    c:close()
  end)

  it("100 Continue is not sent for what is refused, nor to one that has begun", function()
    for _, path in ipairs { "/refused", "/early?n=3" } do
      local c = connect()
      c:send(head(path, length(1000000), "Expect: 100-continue"))
      local answer = assert(c:response())
      assert.same({ path == "/refused" and 403 or 200, nil, "close" },
        { answer.status, c.interim, answer.headers.connection })
      assert.equal("closed", select(2, c:drain()))
    end
    local c = connect()
    c:send(head("/text", length(3), "Expect: 100-continue") .. "abc")
    assert.same({ "abc", nil }, { c:response().body, c.interim })
    c:close()
  end)

  it("a body over max is refused at once, or when its chunks exceed it", function()
    local c = connect()
    c:send(head("/up", length(1000001)))
    local answer = assert(c:response())
    assert.same({ 413, "close" }, { answer.status, answer.headers.connection })
    assert.equal("closed", select(2, c:drain()))
    for _, sent in ipairs { "f4241\r\n", chunk(("x"):rep(1000000)) .. "1\r\n", "fffffffffffffff\r\n" } do
      c = connect()
      c:send(head("/up", CHUNKED) .. sent)
      answer = assert(c:response())
      assert.same({ 413, "close", "ETOOBIG" },
        { answer.status, answer.headers.connection, json.decode(answer.body).error.code })
      assert.equal("closed", select(2, c:drain()))
    end
    c = connect()
    c:send(head("/up", CHUNKED) .. chunk(("x"):rep(1000000)) .. "0\r\n\r\n")
    assert.equal(1000000, json.decode(c:response().body).n)
    c:close()
  end)

  it("broken chunks are refused", function()
    for sent, status in pairs {
      ["x\r\n"] = 400, [chunk("abc") .. "3\r\nabcd\r\n"] = 400, [chunk("abc") .. "\n"] = 400,
      ["0\r\nContent-Length: 3\r\n\r\n"] = 400, ["0\r\nx: " .. ("y"):rep(5000)] = 431,
    } do
      local c = connect()
      c:send(head("/text", CHUNKED) .. sent)
      local answer = assert(c:response())
      assert.same({ status, "close" }, { answer.status, answer.headers.connection }, sent)
      assert.equal("closed", select(2, c:drain()))
    end
  end)

  it("a client that stops in the middle is no whole body, however it goes", function()
    for n, leave in ipairs { "finish", "close", "reset" } do
      for framing, sent in pairs { [length(10)] = "abc", [CHUNKED] = chunk("abc"), ["X: 1\r\n" .. CHUNKED] =
          "4\r\nabc" } do
        local c = connect()
        c:send(head("/noted", framing) .. sent)
        deadline.eventually(function() return log():find("abc$") end, 10, "abc has come")
        c[leave](c)
        deadline.eventually(function() return log():find("ECLOSED$") end, 10, leave .. " is told: " .. n)
        c:close()
      end
    end
    assert.falsy(log():find("whole", 1, true))
  end)

  it("a client that is faster than the handler waits", function()
    local c, size = connect(), 40000000
    c:send(head("/wait", length(size)))
    eventually_logs("begun")
    local before = s.rss()
    local sent = push(c, size - 65536)
    assert.is_true(sent < size // 2, sent .. " bytes were taken by a handler that does not read")
    http.post(s.port, "/go")
    for _ = sent + 1, size, 65536 do
      local n = math.min(65536, size - sent)
      assert(c:send(("x"):rep(n)))
      sent = sent + n
    end
    assert.equal(204, assert(c:response(20)).status)
    local more = os.getenv("SLUICE_PRELOAD") and 0 or s.rss() - before -- a sanitizer keeps what was freed
    assert.is_true(more < 8 << 20, more .. " bytes more") -- Lua's heap may hold 4 MiB of garbage
    c:close()
  end)

  it("who sends on while it is answered reads the answer", function()
    for _, path in ipairs { "/refused", "/early?n=10", "/early?n=3000000" } do
      local c, size = connect(), 12000000
      c:send(head(path, length(size)))
      local text = ("x"):rep(1000000)
      for _ = 1, 12 do assert(c:send(text), path .. ": a reset came before the answer") end
      local answer = assert(c:response(20), path)
      assert.equal(path == "/refused" and 403 or 200, answer.status)
      assert.equal(path:match("%d+") or "0", path == "/refused" and "0" or tostring(#answer.body))
      assert.equal("closed", select(2, c:drain()))
    end
  end)

  it("who sends without end is cut off", function()
    local c = connect()
    c:send(head("/refused", length(1 << 39)))
    assert.equal(403, c:response().status)
    local sent = push(c, 1 << 30)
    assert.is_true(sent < 64 << 20, sent .. " bytes were taken")
    assert.equal("closed", select(2, c:drain(20)))
  end)

  it("a page of another site may not send one", function()
    local c = connect()
    c:send(head("/large", length(1000000), "Origin: https://other.example", "Expect: 100-continue"))
    local answer = assert(c:response())
    assert.same({ 403, nil }, { answer.status, c.interim })
    c = connect()
    c:send(head("/large", length(1000000), "Origin: https://other.example"))
    assert.equal(403, c:response().status)
    c:close()
  end)
end)
