--- The HTTP/2 client of the specs (spec/support/h2.lua, hpack.lua): what RFC 7541 gives as examples, what a server
--- may not say, and a server that is not ours: nghttpd.
local deadline = require("spec.support.deadline")
local h2 = require("spec.support.h2")
local hpack = require("spec.support.hpack")
local process = require("spec.support.process")
local socket = require("socket")

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("..", function(two) return string.char(tonumber(two, 16)) end))
end

local function read_all(block, limit)
  local out = {}
  for _, field in ipairs(hpack.decoder(limit):decode(block)) do out[#out + 1] = field[1] .. ": " .. field[2] end
  return table.concat(out, "\n")
end

describe("HPACK of the specs", function()
  it("reads the examples of the standard", function()
    local d = hpack.decoder()
    local sizes = {}
    for i, hex in ipairs { "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf" } do
      local fields = d:decode(bytes(hex))
      sizes[i] = ("%s %s %d"):format(fields[4][2], fields[#fields][2], d.size)
    end
    assert.same({ "www.example.com www.example.com 57", "www.example.com no-cache 110",
      "www.example.com custom-value 164" }, sizes)
    assert.equal(":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: "
      .. "https://www.example.com", read_all(bytes([[ 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504
      0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3 ]]), 256))
  end)

  it("reads what it has written, in each of its ways", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    all = table.concat(all)
    for _, how in ipairs { true, false } do
      assert.equal("x: " .. all, read_all(hpack.encode({ { "x", all } }, how)))
    end
    local encode, d = hpack.encoder(), hpack.decoder()
    for i = 1, 300 do
      local fields = { { ":path", "/" .. i }, { "x", "y" .. i % 7 }, { "cookie", ("z"):rep(i) } }
      local got = d:decode(encode(fields))
      for k, field in ipairs(fields) do assert.same(field, { got[k][1], got[k][2] }) end
    end
    assert.is_true(d.size <= 4096)
  end)

  it("refuses what is wrong", function()
    for hex, why in pairs { ["80"] = "index 0", ["be"] = "beyond the table", ["ff ff ff ff ff ff 01"] = "too long",
      ["00 81 00 00"] = "bad padding", ["00 84 ff ff ff ff 00"] = "EOS", ["3f e2 1f"] = "above the limit",
      ["82 20"] = "behind a field", ["00 05 61"] = "cut", ["00 82 1f ff 00"] = "bad padding" } do
      local ok, problem = pcall(read_all, bytes(hex))
      assert.is_false(ok, hex)
      assert.matches(why, problem)
    end
  end)
end)

-- ---- What a server may not say ------------------------------------------------------------

local SETTINGS, ACK = h2.settings({}), h2.frame("SETTINGS", h2.ACK, 0)

local function head(fields, flags)
  return h2.frame("HEADERS", flags or h2.END_HEADERS, 1, hpack.encode(fields or { { ":status", "200" } }))
end
local function data(text, flags) return h2.frame("DATA", flags or 0, 1, text) end

-- A client whose server has said these bytes, and a request on stream 1.
local function told(text, options)
  local w = { buffer = text, sent = "" }
  function w:read(n)
    if #self.buffer < n then return nil, "closed" end
    local part = self.buffer:sub(1, n)
    self.buffer = self.buffer:sub(n + 1)
    return part
  end
  function w:send(more) self.sent = self.sent .. more end
  local c = h2.over(w, options)
  return c, c:open("GET", "/"), w
end

describe("the HTTP/2 client of the specs", function()
  it("reads an answer, acknowledges, and opens the windows again", function()
    local c, s, w = told(h2.settings { [h2.MAX_CONCURRENT_STREAMS] = 128 } .. ACK .. head { { ":status", "103" } }
      .. head { { ":status", "200" }, { "x", "a" }, { "x", "b" } } .. data("\2hel\0\0", h2.PADDED)
      .. h2.frame("PING", 0, 0, "12345678") .. data("lo") .. head({ { "t", "1" } }, h2.END_HEADERS | h2.END_STREAM))
    w.sent = ""
    assert.equal("end", s:wait("end"))
    assert.same({ 200, "hello", "a, b", "1", 1 }, { s.status, s.body, s.headers.x, s.trailers.t, s.interim })
    assert.equal(128, c.settings[h2.MAX_CONCURRENT_STREAMS])
    assert.equal(1, c.acknowledged)
    local function update(id, n) return h2.frame("WINDOW_UPDATE", 0, id, string.pack(">I4", n)) end
    assert.equal(h2.frame("SETTINGS", h2.ACK, 0) .. update(0, 6) .. update(1, 6)
      .. h2.frame("PING", h2.ACK, 0, "12345678") .. update(0, 2) .. update(1, 2), w.sent)
  end)

  it("raises at what a server may not say", function()
    local big = { { ":status", "200" } }
    for i, case in ipairs {
      { h2.frame("PING", 0, 0, "12345678"), "first frame" },
      { SETTINGS .. data("x"), "before a head" },
      { SETTINGS .. head() .. h2.frame("DATA", 0, 3, "x"), "which is none" },
      { SETTINGS .. head { { "x", "y" } }, "without :status" },
      { SETTINGS .. head { { "x", "y" }, { ":status", "200" } }, "pseudo%-field" },
      { SETTINGS .. head { { ":status", "200" }, { ":path", "/" } }, "pseudo%-field" },
      { SETTINGS .. head { { ":status", "200" }, { "Server", "x" } }, "is called" },
      { SETTINGS .. head { { ":status", "200" }, { "connection", "close" } }, "no field connection" },
      { SETTINGS .. head { { ":status", "200" }, { "x", "a\r\nb" } }, "x is" },
      { SETTINGS .. head { { ":status", "200" }, { "x", " a" } }, "x is" },
      { SETTINGS .. head() .. data("x", h2.END_STREAM) .. data("y"), "has ended" },
      { SETTINGS .. head(nil, h2.END_HEADERS | h2.END_STREAM) .. head(), "has ended" },
      { SETTINGS .. head({ { ":status", "200" }, { "content-length", "5" } }) .. data("x", h2.END_STREAM), "1 bytes" },
      { SETTINGS .. head() .. head({ { "x", "y" } }), "not the end" },
      { SETTINGS .. head() .. data(("x"):rep(16384)):rep(4), "beyond the window of its stream", { credit = false } },
      { SETTINGS .. head() .. data("12345"), "window of its stream", { window = 4 } },
      { SETTINGS .. head() .. data(("x"):rep(16385)), "too large" },
      { SETTINGS .. h2.frame("RST_STREAM", 0, 3, "\0\0\0\0"), "which is none" },
      { SETTINGS .. h2.frame("RST_STREAM", 0, 1, "\0\0\0\0"):rep(2), "reset twice" },
      { SETTINGS .. h2.frame("GOAWAY", 0, 0, "\0\0\0\1\0\0\0\0") .. h2.frame("GOAWAY", 0, 0, "\0\0\0\3\0\0\0\0"),
        "takes more" },
      { SETTINGS .. h2.frame("WINDOW_UPDATE", 0, 1, "\0\0\0\0"), "window out of" },
      { SETTINGS .. h2.frame("WINDOW_UPDATE", 0, 0, "\x7f\xff\xff\xff"), "window out of" },
      { h2.settings { [h2.ENABLE_PUSH] = 2 }, "out of its limits" },
      { SETTINGS .. h2.frame("PUSH_PROMISE", 4, 1, "\0\0\0\2"), "does not send PUSH_PROMISE" },
      { SETTINGS .. h2.frame(99, 0, 0, ""), "does not send 99" },
      { SETTINGS .. head(big, 0) .. data("x"), "interrupted" },
      { SETTINGS .. h2.frame("HEADERS", 4, 1, "\x80"), "index 0" },
      { SETTINGS .. h2.frame("PING", 0, 1 << 31, "12345678"), "reserved bit" },
    } do
      local _, s = told(case[1], case[3])
      local ok, problem = pcall(s.wait, s, function() end)
      assert.is_false(ok, ("case %d should raise %s"):format(i, case[2]))
      assert.matches(case[2], problem)
    end
  end)

  it("says of the connection's window what it says of a stream's", function()
    local c = told(SETTINGS .. head() .. h2.frame("HEADERS", 4, 3, hpack.encode { { ":status", "200" } })
      .. data(("x"):rep(16384)):rep(3) .. h2.frame("DATA", 0, 3, ("x"):rep(16384)), { credit = false })
    c:open("GET", "/")
    local ok, problem = pcall(c.wait_for, c, function() end)
    assert.is_false(ok)
    assert.matches("beyond the window of the connection", problem)
  end)
end)

-- ---- A server that is not ours ------------------------------------------------------------

describe("the HTTP/2 client of the specs, with nghttpd", function()
  local folder, port, server
  local large = ("0123456789abcdef"):rep(20000)
  setup(function()
    folder = process.temp_dir()
    process.write_file(folder .. "/large", large)
    process.write_file(folder .. "/small", "hello")
    local free = assert(socket.bind("127.0.0.1", 0))
    port = select(2, free:getsockname())
    free:close()
    server = process.spawn({ "nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", folder, "--echo-upload", tostring(port) },
      {})
    deadline.eventually(function()
      local sock = socket.connect("127.0.0.1", port)
      if sock then sock:close() end
      return sock ~= nil
    end, 5, "nghttpd listens")
  end)
  teardown(function()
    server:kill()
    process.remove_dir(folder)
  end)

  it("gets files, posts, and has many streams at once", function()
    local c = assert(h2.connect(port, { encoder = true }))
    assert.same({ 200, "hello" }, { c:get("/small").status, c:get("/small").body })
    assert.equal(404, c:get("/nowhere").status)
    assert.is_true(c:get("/large").body == large)
    assert.is_true(c:post("/up", large).body == large)
    local streams = {}
    for i = 1, 60 do streams[i] = c:open("GET", i % 2 == 0 and "/large" or "/small") end
    for i, s in ipairs(streams) do
      assert.equal("end", s:wait("end", 10))
      assert.equal(i % 2 == 0 and #large or 5, #s.body)
    end
    assert.is_true(c:sync())
    c:close()
  end)

  it("holds a stream by its window, and lets it go on", function()
    local c = assert(h2.connect(port, { window = 100 }))
    local s = c:open("GET", "/large", nil, { credits = false })
    assert(s:wait(function() return #s.body >= 100 end, 5)) -- an answer to PING may overtake it
    assert(c:sync())
    assert.equal(100, #s.body)
    assert.equal("hello", c:get("/small").body)
    s:credit(#large)
    assert.equal("end", s:wait("end"))
    assert.is_true(s.body == large)
    c:close()
  end)

  it("is told what it did wrong", function()
    for what, codes in pairs {
      [h2.frame("DATA", 0, 0, "x")] = "PROTOCOL_ERROR", [h2.frame("HEADERS", 4, 2, "\x82")] = "PROTOCOL_ERROR",
      [h2.frame("SETTINGS", 0, 0, "x")] = "FRAME_SIZE_ERROR", [h2.frame("HEADERS", 4, 1, "\x80")] = "COMPRESSION_ERROR",
    } do
      local c = assert(h2.connect(port))
      c:send(what)
      assert.is_true(c:wait_closed(5))
      assert.equal(codes, c.goaway and c.goaway.code)
      c:close()
    end
  end)
end)
