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

  it("sends the bare events in HTTP/1.0, whose body ends with the connection", function()
    assert.equal(EVENTS, (testing.wire("http10", EVENTS)))
    assert.equal(EVENTS, (testing.wire("http10", EVENTS, true)))
    assert.equal("", (testing.wire("http10", "", true)))
  end)

  it("begins with a comment and the time to wait, and beats with a comment", function()
    for _, form in ipairs({ "chunked", "http10" }) do
      local _, head, heartbeat = testing.wire(form, EVENTS)
      assert.equal(":ok\nretry: 2500\n", head)
      assert.equal(":\n", heartbeat)
    end
  end)

  it("takes no memory when there is none, and leaves none", function()
    collectgarbage()
    local before = testing.alive().memory
    for n = 1, 4 do
      testing.fail_alloc(n)
      local bytes, _, code = testing.wire("chunked", EVENTS)
      if testing.fail_alloc(0) == 0 then assert.same({ nil, "ENOMEM" }, { bytes, code }) end
    end
    collectgarbage()
    assert.equal(before, testing.alive().memory)
  end)
end)
