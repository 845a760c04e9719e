--- What a connection does over time: 100-continue, slow and silent clients, floods of
--- pipelined requests, and answers that must survive what the client still sends.
--- (N75, N76, N90 to N92, N94, N96 of the table of nasty inputs.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local server = require("spec.support.server")
local socket = require("socket")

local APP = [[
local app = require("sluice").app()
app:get("/", function() return 200, "hello" end)
app:post("/", function(req) return 200, ("n=%d;"):format(#(req.body or "")) end)
return app
]]

--- Short enough for a spec, long enough to tell the three apart.
local HEAD_SECONDS, BODY_SECONDS, IDLE_SECONDS = 1, 1, 2
local TIMEOUTS = {
  SLUICE_HEAD_TIMEOUT = HEAD_SECONDS, SLUICE_BODY_TIMEOUT = BODY_SECONDS, SLUICE_IDLE_TIMEOUT = IDLE_SECONDS,
}

local GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

local function post(fields, body)
  return "POST / HTTP/1.1\r\nHost: localhost\r\n" .. fields .. "\r\n\r\n" .. (body or "")
end

--- Send `text` byte by byte, `pause` seconds apart, until the server closes: what it said,
--- and after how many seconds.
local function drip(port, text, pause)
  local c = assert(http.connect(port))
  local began = socket.gettime()
  local got = ""
  for i = 1, #text do
    if not c:send(text:sub(i, i)) then break end
    got = got .. c.wire:listen(pause)
    if c.wire.ended then break end
  end
  local seconds = socket.gettime() - began
  local ended = c.wire.ended
  c:close()
  return got, seconds, ended
end

describe("Expect: 100-continue", function()
  local s
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  for name, framing in pairs({ length = { "Content-Length: 3", "abc" },
    chunks = { "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n" } }) do
    it("is answered before the body comes (N75, " .. name .. ")", function()
      local c = assert(http.connect(s.port))
      c:send(post("Expect: 100-continue\r\n" .. framing[1]))
      assert.equal("HTTP/1.1 100 Continue\r\n\r\n", c.wire:read(25, deadline.after(2)))
      c:send(framing[2])
      assert.equal("n=3;", c:response().body)
      assert.equal("hello", c:request("GET", "/").body)
      c:close()
    end)
  end

  it("is refused without 100 when the body would be too large (N76)", function()
    local c = assert(http.connect(s.port))
    c:send(post("Expect: 100-continue\r\nContent-Length: 99999999"))
    local response = c:response()
    assert.equal(413, response.status)
    assert.matches("the body is larger than %d+ bytes", response.body)
    assert.is_nil(c.interim)
    local _, how = c:drain(3)
    assert.equal("closed", how)
  end)

  it("is not answered when no body follows (N78)", function()
    local c = assert(http.connect(s.port))
    c:send("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n")
    assert.equal(200, c:response().status)
    assert.is_nil(c.interim)
    c:close()
  end)
end)

describe("a refused connection", function()
  local s
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  it("lets the client read the answer although it goes on sending", function()
    for _, junk in ipairs({ 1, 1000, 60000 }) do
      local c = assert(http.connect(s.port))
      c:send("BAD\r\n" .. ("x"):rep(junk))
      local text, how = c:drain(5)
      assert.equal("closed", how)
      assert.truthy(text:find("^HTTP/1%.1 400 Bad Request\r\n"), text)
      c:close()
    end
  end)

  it("is not read for ever", function()
    local c = assert(http.connect(s.port))
    c:send("BAD\r\n")
    assert.equal(400, c:response().status)
    local left = deadline.after(10)
    local sent = 0
    while c:send(("x"):rep(16384)) do
      sent = sent + 16384
      assert.is_true(left() > 0, "still reading after ten seconds")
    end
    c:close()
    -- what the kernel buffers counts as well
    assert.is_true(sent < 32 * 1024 * 1024, sent .. " bytes were taken")
  end)

  it("answers a large body that is not wanted before it has come (N56)", function()
    local c = assert(http.connect(s.port))
    c:send(post("Content-Length: 99999999999", "abc"))
    assert.equal(413, c:response(2).status)
    c:close()
  end)
end)

describe("pipelined requests", function()
  local s
  setup(function() s = server.start({ app = APP }) end)
  teardown(server.stop_all)

  it("are answered in order while the client does not read, in bounded memory (N96)", function()
    http.get(s.port, "/")
    local before = s.rss()
    local c = assert(http.connect(s.port, { rcvbuf = 4096 }))
    c:send(GET:rep(1000))
    for _ = 1, 20 do assert.equal(200, http.get(s.port, "/").status) end
    assert.is_true(s.rss() - before < 8 * 1024 * 1024)
    for i = 1, 1000 do
      local response = c:response()
      assert.equal("hello", response and response.body, "answer " .. i)
    end
    c:close()
  end)

  it("stop with a half-closed connection, all answered", function()
    local c = assert(http.connect(s.port))
    c:send(GET:rep(50))
    c:finish()
    local text = c:drain(3)
    assert.equal(50, select(2, text:gsub("HTTP/1%.1 200 OK\r\n", "")))
    c:close()
  end)
end)

describe("a slow client", function()
  local s
  setup(function() s = server.start({ app = APP, env = TIMEOUTS }) end)
  teardown(server.stop_all)

  it("is cut off when its head takes too long, whenever the last byte came (N90, N94)", function()
    local text = "GET / HTTP/1.1\r\nHost: localhost\r\nX: " .. ("a"):rep(200)
    local got, seconds, ended = drip(s.port, text, 0.05)
    assert.is_true(ended or false, "still open")
    assert.is_true(got == "" or got:find("^HTTP/1%.1 408 Request Timeout\r\n") ~= nil, got)
    assert.is_true(seconds > HEAD_SECONDS * 0.7 and seconds < HEAD_SECONDS + 1.5 * deadline.scale, seconds .. " s")
  end)

  it("does not hold up others", function()
    local slow = {}
    for i = 1, 100 do
      slow[i] = assert(http.connect(s.port))
      slow[i]:send("GET / HTTP/1.1\r\nHo")
    end
    local began = deadline.now()
    assert.equal(200, http.get(s.port, "/").status)
    assert.is_true(deadline.since(began) < 0.5)
    for _, c in ipairs(slow) do c:close() end
  end)

  it("gets 408 when its body takes too long (N92)", function()
    local c = assert(http.connect(s.port))
    c:send(post("Content-Length: 1000", "abc"))
    local response = c:response(BODY_SECONDS + 3)
    assert.equal(408, response and response.status)
    assert.equal("close", response.headers.connection)
    c:close()
  end)

  it("gets 408 also when it sends a byte now and then", function()
    local c = assert(http.connect(s.port))
    c:send(post("Transfer-Encoding: chunked", "ff\r\n"))
    local text, left = "", deadline.after(BODY_SECONDS + 4)
    while not c.wire.ended and left() > 0 do
      c:send("x")
      text = text .. c.wire:listen(0.1)
    end
    assert.truthy(text:find("^HTTP/1%.1 408 "), text)
    c:close()
  end)

  it("is closed without a word when it never began (N91)", function()
    local before, idle, port = s.fds(), {}, s.plain_port or s.port
    for i = 1, 200 do idle[i] = assert(http.connect(port)) end
    local used = assert(http.connect(port))
    assert.equal(200, used:request("GET", "/").status)
    idle[#idle + 1] = used
    deadline.eventually(function() return s.fds() >= before + 200 end, IDLE_SECONDS, "all are accepted")
    for _, c in ipairs(idle) do
      local text, how = c:drain(IDLE_SECONDS + 3)
      assert.equal("", text)
      assert.equal("closed", how)
      c:close()
    end
    deadline.eventually(function() return s.fds() <= before end, 3, "descriptors are back")
  end)
end)

describe("--max-connections", function()
  after_each(server.stop_all)

  it("lets in so many, however the threads share them, and closes more at once", function()
    local s = server.start({ app = APP, args = { "--max-connections", 40 }, io_threads = 4 })
    local list, port = {}, s.plain_port or s.port
    for i = 1, 40 do
      list[i] = assert(http.connect(port))
      assert.equal("hello", list[i]:request("GET", "/").body, "connection " .. i)
    end
    for _ = 1, 5 do
      local c = assert(http.connect(port))
      local text, how = c:drain(3)
      assert.same({ "", "closed" }, { text, how })
      c:close()
    end
    s.wait_log("as many connections as %-%-max%-connections")
    list[1]:close()
    deadline.eventually(function() return http.get(port, "/").status == 200 end, 5, "there is room again")
    for i = 2, 40 do list[i]:close() end
  end)
end)
