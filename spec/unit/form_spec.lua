local core = require("sluice.core")
local testing = require("sluice.core.testing")

local EVENTS = "event: x\ndata: y\n\n" -- 18 bytes

describe("a form", function()
  it("sends a block as one chunk whose head has no zeros in front", function()
    assert.equal("12\r\n" .. EVENTS .. "\r\n", (testing.wire("chunked", EVENTS)))
    local long = ("x"):rep(0x12345)
    assert.equal("12345\r\n" .. long .. "\r\n", (testing.wire("chunked", long)))
  end)

  it("ends a chunked body with the last chunk behind the block", function()
    assert.equal("12\r\n" .. EVENTS .. "\r\n0\r\n\r\n", (testing.wire("chunked", EVENTS, true)))
  end)

  it("never sends an empty chunk, which would be the last", function()
    assert.equal("", (testing.wire("chunked", "")))
    assert.equal("0\r\n\r\n", (testing.wire("chunked", "", true)))
  end)

  it("sends the bare events in HTTP/1.0, whose body ends with the connection, and in HTTP/2", function()
    assert.equal(EVENTS, (testing.wire("bare", EVENTS)))
    assert.equal(EVENTS, (testing.wire("bare", EVENTS, true)))
    assert.equal("", (testing.wire("bare", "", true)))
  end)

  it("begins with a comment and the time to wait, and beats with a comment", function()
    for _, form in ipairs({ "chunked", "bare" }) do
      local _, head, heartbeat = testing.wire(form, EVENTS)
      assert.equal(":ok\nretry: 2500\n", head)
      assert.equal(":\n", heartbeat)
    end
  end)

  it("takes no memory when there is none, and leaves none", function()
    collectgarbage()
    local before = testing.alive().memory
    for _, form in ipairs { "chunked", "gzip", "zstd" } do
      for n = 1, 16 do
        testing.fail_alloc(n)
        local bytes, _, code = testing.wire(form, EVENTS:rep(9))
        if testing.fail_alloc(0) == 0 then assert.same({ nil, "ENOMEM" }, { bytes, code }, form .. n) end
      end
    end
    collectgarbage()
    assert.equal(before, testing.alive().memory)
  end)
end)

describe("a compressed form", function()
  local BEGIN = { gzip = "a\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\r\n", zstd = "" }

  -- What stands in one chunk.
  local function inside(chunk)
    local size, bytes = chunk:match("^(%x+)\r\n(.*)\r\n$")
    assert.equal(tonumber(size, 16), #bytes)
    return bytes
  end

  -- Text without repetition.
  local function noise(n)
    local list = {}
    for i = 1, n do list[i] = string.char(math.random(0, 255)) end
    return table.concat(list)
  end

  local function decoder(form)
    local d = core.decoder(form)
    if form == "gzip" then assert.equal("", d:feed(inside(BEGIN.gzip))) end
    return d
  end

  it("begins with the header of gzip, which is a chunk of its own", function()
    for _, form in ipairs { "gzip", "zstd", "chunked", "bare" } do
      assert.equal(BEGIN[form] or "", (select(4, testing.wire(form, EVENTS))))
    end
  end)

  it("is the same without its chunks, over HTTP/2", function()
    for _, form in ipairs { "gzip", "zstd", "unnamed" } do
      local chunk, _, _, begin = testing.wire(form, EVENTS)
      local bytes, _, _, bare = testing.wire(form .. " bare", EVENTS, true)
      assert.equal(inside(chunk), bytes)
      assert.equal(form == "gzip" and inside(begin) or "", bare)
    end
  end)

  it("stores a heartbeat of gzip in seven bytes, which may stand anywhere", function()
    assert.equal("7\r\n\0\2\0\xfd\xff:\n\r\n", (testing.wire("gzip", ":\n")))
  end)

  it("makes blocks that stand for themselves, in any order, each whole when its chunk is read", function()
    local texts = { EVENTS, ":\n", EVENTS:rep(900), noise(60), ("data: 7\n"):rep(9000), noise(70000), "x",
      noise(131070), EVENTS:rep(2) }
    for _, form in ipairs { "gzip", "zstd" } do
      local chunks = {}
      for i, text in ipairs(texts) do chunks[i] = inside((testing.wire(form, text))) end
      for _ = 1, 20 do
        local d = decoder(form)
        for _ = 1, 12 do
          local i = math.random(#texts)
          assert.is_true(d:feed(chunks[i]) == texts[i], form .. i)
        end
      end
      assert.equal(chunks[3], inside((testing.wire(form, texts[3])))) -- nothing was kept
    end
  end)

  it("is never much longer than what it holds, and much shorter where that repeats", function()
    for _, form in ipairs { "gzip", "zstd" } do
      for _, n in ipairs { 1, 15, 16, 40, 16384, 65535, 65536, 131071 } do
        assert.is_true(#inside((testing.wire(form, noise(n)))) <= n + 13 + 5 * (n // 65535), form .. n)
      end
      assert.is_true(#inside((testing.wire(form, EVENTS:rep(900)))) < 200)
      assert.is_true(#inside((testing.wire(form, EVENTS:rep(9000)))) < 1500) -- one large event
    end
  end)

  it("ends a body with the last chunk and without a trailer", function()
    for _, form in ipairs { "gzip", "zstd" } do
      local wire = testing.wire(form, EVENTS, true)
      assert.equal(EVENTS, decoder(form):feed(inside(wire:match("^(.*)0\r\n\r\n$"))))
      assert.equal("0\r\n\r\n", (testing.wire(form, "", true)))
      assert.equal("", (testing.wire(form, "")))
    end
  end)
end)

describe("a decoder", function()
  it("refuses what is something else, or a second member of gzip", function()
    for form, what in pairs { gzip = "this is no gzip", zstd = "this is no zstd" } do
      local text, message, code = core.decoder(form):feed(EVENTS)
      assert.same({ nil, what, "EINVAL" }, { text, message, code })
    end
    local d = core.decoder("gzip")
    local empty = "\x1f\x8b\x08\0\0\0\0\0\0\xff\3\0\0\0\0\0\0\0\0\0"
    assert.equal("", d:feed(empty))
    assert.is_nil((d:feed(empty)))
  end)
end)
