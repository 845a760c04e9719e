--- csrc/fan/frame.c: an event as bytes, and what is refused.
local eventstream = require("sluice.eventstream")
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local encode = testing.encode
local REPLACEMENT = "\u{FFFD}"

local function text(data) return (encode { data = data }) end

--- Every byte that is no part of valid UTF-8, and NUL, replaced: by Lua's own decoder.
local function repair(bytes)
  local out, at = {}, 1
  while at <= #bytes do
    local _, bad = utf8.len(bytes, at)
    bad = bad or #bytes + 1
    out[#out + 1] = bytes:sub(at, bad - 1):gsub("\0", REPLACEMENT)
    if bad <= #bytes then out[#out + 1] = REPLACEMENT end
    at = bad + 1
  end
  return table.concat(out)
end

local function lines_by_lf(data) return (data:gsub("\r\n", "\n"):gsub("\r", "\n")) end

local before
before_each(function() before = sim.alive() end)
after_each(function() sim.alive(before) end)

describe("a frame", function()
  it("is name, data and id, in this order: who is cut within it asks for it again", function()
    assert.equal("event: goal\ndata: {\"minute\":23}\nid: aaaaaaaaaaaaa-7\n\n",
      (encode { event = "goal", seq = 7, data = '{"minute":23}' }))
  end)

  it("has no event line for message and no id line for a state", function()
    assert.equal("data: x\nid: aaaaaaaaaaaaa-1\n\n", (encode { event = "message", seq = 1, data = "x" }))
    assert.equal("data: x\nid: aaaaaaaaaaaaa-1\n\n", (encode { seq = 1, data = "x" }))
    assert.equal("event: price\ndata: x\n\n", (encode { event = "price", data = "x" }))
  end)

  it("writes the largest numbers in full", function()
    assert.equal("data: \nid: aaaaaaaaaaaaa-9007199254740992\n\n", (encode { seq = 1 << 53, data = "" }))
  end)

  it("has one data line for each line of the payload", function()
    assert.equal("data: a\ndata: b\n\n", text("a\nb"))
    assert.equal("data: a\ndata: b\n\n", text("a\rb"))
    assert.equal("data: a\ndata: b\n\n", text("a\r\nb"))
    assert.equal("data: a\ndata: \ndata: b\n\n", text("a\n\rb"))
    assert.equal("data: a\ndata: \ndata: b\n\n", text("a\r\rb"))
    assert.equal("data: \n\n", text(""))
    assert.equal("data: \ndata: \n\n", text("\n"))
    assert.equal("data: a\ndata: \n\n", text("a\r\n"))
  end)

  it("keeps a leading blank, a colon, a tab and what only looks like a line end", function()
    assert.equal("data:  x\n\n", text(" x"))
    assert.equal("data: :x\n\n", text(":x"))
    assert.equal("data: \tx\1\127\n\n", text("\tx\1\127"))
    assert.equal("data: a\u{2028}b\u{85}c\n\n", text("a\u{2028}b\u{85}c"))
    assert.equal("data: \u{FEFF}x\n\n", text("\u{FEFF}x"))
  end)

  it("replaces NUL and invalid UTF-8", function()
    assert.equal("data: a" .. REPLACEMENT .. "b\n\n", text("a\0b"))
    assert.equal("data: " .. REPLACEMENT .. REPLACEMENT .. "(\n\n", text("\xff\xc3("))
    for _, bad in ipairs { "\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xf0\x9f\x98", "\xfe" } do
      assert.equal("data: x" .. REPLACEMENT:rep(#bad) .. "y\n\n", text("x" .. bad .. "y"))
      assert.equal("data: x" .. REPLACEMENT:rep(#bad) .. "\n\n", text("x" .. bad))
    end
    for _, good in ipairs { "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}",
      "\u{10FFFF}" } do
      assert.equal("data: " .. good .. "\n\n", text(good))
    end
  end)

  it("is read back by the parser, whatever the bytes are", function()
    math.randomseed(7)
    local alphabet = { "\r", "\n", "\r\n", "\0", " ", ":", "a", "data: ", "é", "€", "😀", "\xff", "\xe2\x82", "\x80" }
    for _ = 1, 3000 do
      local parts = {}
      for i = 1, math.random(0, 12) do parts[i] = alphabet[math.random(#alphabet)] end
      local data = table.concat(parts)
      local wire, payload = encode { event = "x", seq = 3, data = data }
      local events = eventstream.new():feed(wire)
      local want = lines_by_lf(repair(data))
      assert.equal(1, #events)
      assert.equal(want, events[1].data)
      assert.equal(want, payload)
      assert.equal("aaaaaaaaaaaaa-3", events[1].id)
    end
  end)

  it("takes words of eight bytes as it takes single ones", function()
    for length = 0, 40 do
      for at = 1, length do
        local data = ("x"):rep(at - 1) .. "\n" .. ("y"):rep(length - at)
        assert.equal("data: " .. data:gsub("\n", "\ndata: ") .. "\n\n", text(data))
      end
    end
  end)
end)

describe("an event's name", function()
  it("may hold letters, digits and . _ : -, up to 64 of them", function()
    for _, name in ipairs { "a", "A-z_0.9:x", ("n"):rep(64) } do
      assert.equal("event: " .. name .. "\ndata: \n\n", (encode { event = name, data = "" }))
    end
  end)

  it("is refused when a byte of it could break the line or the client", function()
    local function refused(name) return select(3, encode { event = name, data = "" }) end
    for byte = 0, 255 do
      local char = string.char(byte)
      local good = char:find("^[%w._:%-]$") ~= nil
      assert.equal(not good and "EBADFIELD" or nil, refused("a" .. char .. "b"), "byte " .. byte)
    end
    assert.equal("EBADFIELD", refused(("n"):rep(65)))
    for _, name in ipairs { "hello", "reset", "sync", "bye", "error", "open" } do
      assert.equal("EBADFIELD", refused(name))
    end
  end)
end)

describe("an event's size", function()
  local function code(event) return select(3, encode(event)) end

  it("is that of its data, not of what frames it", function()
    for _, one in ipairs { "x", "\n", "\r", "\r\n", "é", "x\n", "\r\r\n" } do
      local n = 65000 // #one
      assert.is_nil(code { data = one:rep(n), event = ("n"):rep(64) })
      assert.equal("ETOOBIG", code { data = one:rep(n) .. ("y"):rep(65001 - n * #one) })
    end
    assert.equal("ETOOBIG", code { data = ("x"):rep(1000000) })
  end)

  it("is counted as it arrives too: NUL and what is no UTF-8 as U+FFFD", function()
    for _, one in ipairs { "\0", "\xff", "\xc3" } do
      assert.is_nil(code { data = one:rep(21666) .. "xx" })
      assert.equal("ETOOBIG", code { data = one:rep(21666) .. "xxx" })
      assert.equal("ETOOBIG", code { data = ("\n"):rep(21) .. one:rep(21660) })
    end
  end)

  it("makes no line of more than 64 KiB, where Go's bufio.Scanner stops reading", function()
    local longest = 0
    for _, data in ipairs { ("x"):rep(65000), ("\0"):rep(21666), "\n" .. ("é"):rep(32499) } do
      for line in text(data):gmatch("[^\n]*\n") do longest = math.max(longest, #line) end
    end
    assert.equal(65000 + #"data: \n", longest)
    assert.is_true(longest <= 65536)
  end)

  it("bounds the key", function()
    assert.is_nil(code { data = "", key = ("k"):rep(256) })
    assert.equal("ETOOBIG", code { data = "", key = ("k"):rep(257) })
  end)
end)

describe("out of memory", function()
  it("is an error, and the next try works", function()
    local n = 0
    repeat
      n = n + 1
      testing.fail_alloc(n)
      local wire, _, code = encode { event = "a", data = "x\ny", seq = 2 }
      testing.fail_alloc(0)
      if not wire then assert.equal("ENOMEM", code) end
    until wire
    assert.is_true(n > 1)
  end)
end)
