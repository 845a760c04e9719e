--- The clients that judge the server are judged themselves, by bytes from a plain socket.
local socket = require("socket")

describe("spec.support.sse", function()
  local sse = require("spec.support.sse")
  local listener, port, open

  before_each(function()
    listener = assert(socket.bind("127.0.0.1", 0))
    port = select(2, listener:getsockname())
    open = {}
  end)
  after_each(function()
    for _, s in ipairs(open) do s:close() end
    listener:close()
  end)

  --- A client, and the server's end of its connection, after the head.
  local function pair(headers)
    local c = sse.connect(port, "/x", { wait = false, last_event_id = "e-1" })
    local peer = listener:accept()
    open[#open + 1], open[#open + 2] = peer, c
    local request = {}
    repeat
      local line = peer:receive("*l")
      request[#request + 1] = line
    until line == ""
    peer:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" .. (headers or "") .. "\r\n")
    assert(c:read_head())
    return c, peer, table.concat(request, "\n")
  end
  local function chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end
  local CHUNKED = "Transfer-Encoding: chunked\r\n"

  it("sends what a browser sends", function()
    local _, _, request = pair()
    assert.truthy(request:find("^GET /x HTTP/1%.1\nHost: 127%.0%.0%.1:%d+\n"))
    assert.truthy(request:find("Last-Event-ID: e-1", 1, true))
    assert.truthy(request:find("Accept: text/event-stream", 1, true))
  end)

  it("reads events by the standard's rules", function()
    local c, peer = pair()
    peer:send("\xEF\xBB\xBF:ok\nretry: 500\nevent: hello\nid: e-1\ndata: {}\n\ndata:a\r\ndata: b\rdata:  c\n\n"
      .. "id: e-3\n\nid: bad\0\nretry: x\ndata\n\nevent: lost\n\n")
    assert.same({ event = "hello", id = "e-1", last_id = "e-1", data = "{}", retry = 500, comment = "ok", chunk = 0 },
      c:next_event())
    assert.same({ event = "message", data = "a\nb\n c", last_id = "e-1", chunk = 0 }, c:next_event())
    assert.same({ event = "message", data = "", last_id = "e-3", chunk = 0 }, c:next_event())
    assert.same({ nil, "timeout" }, { c:next_event(0.01) })
    peer:close()
    assert.same({ nil, "closed" }, { c:next_event() })
  end)

  it("joins a CR and an LF that arrive apart", function()
    local c, peer = pair(CHUNKED)
    peer:send(chunk("data: a\r"))
    assert.is_nil(c:next_event(0.01))
    peer:send(chunk("\n\r"))
    assert.equal("a", c:next_event().data)
    peer:send(chunk("\ndata: b\n\n"))
    assert.equal("b", c:next_event().data)
  end)

  it("keeps half a chunk over a time-out and tells the two ends apart", function()
    local c, peer = pair(CHUNKED)
    local bytes = chunk(":\n") .. chunk("event: e\ndata: 1\n\n")
    for i = 1, #bytes - 1 do
      peer:send(bytes:sub(i, i))
      assert.is_nil(c:next_event(0.001))
    end
    peer:send(bytes:sub(-1))
    assert.same({ event = "e", data = "1", comment = "", last_id = "e-1", chunk = 2 }, c:next_event())
    assert.equal("", c:next_comment(0))
    peer:send("0\r\n\r\n")
    assert.equal("end", c:wait_end())
    local d, other = pair(CHUNKED)
    other:send("5\r\nda")
    other:close()
    assert.equal("closed", d:wait_end())
  end)

  it("refuses broken chunks", function()
    for _, bytes in ipairs { "x\r\n", "2;a=b\r\nab\r\n", "2\r\nabc\r\n", "\r\n", " 2\r\nab\r\n", "123456789abc" } do
      local c, peer = pair(CHUNKED)
      peer:send(bytes)
      assert.has_error(function() c:next_event(1) end)
    end
  end)

  it("says what came instead", function()
    local c, peer = pair()
    peer:send("event: a\ndata:1\n\nevent: b\ndata:2\n\n")
    assert.same({ nil, "no z event: timeout; came: a b" }, { c:wait_for("z", 0.05) })
  end)

  it("can go away with a reset", function()
    local c, peer = pair()
    c:reset()
    peer:settimeout(2)
    assert.is_nil(peer:receive(1))
    assert.falsy(peer:send("x") and peer:send("y"))
  end)
end)
