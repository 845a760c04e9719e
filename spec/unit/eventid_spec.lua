--- csrc/fan/eventid.c: what a client brings back is compared, never trusted.
local testing = require("sluice.core.testing")

local EPOCH = "abcdefg234567"

local function kind(text) return (testing.eventid(text)) end

describe("an event id", function()
  it("is an epoch and a number", function()
    local k, epoch, seq = testing.eventid(EPOCH .. "-18441")
    assert.same({ "good", EPOCH, 18441 }, { k, epoch, seq })
    assert.same({ "good", EPOCH, 0 }, { testing.eventid(EPOCH .. "-0") })
    assert.same({ "good", EPOCH, 999999999999999999 }, { testing.eventid(EPOCH .. "-999999999999999999") })
    assert.equal("good", kind(EPOCH .. "-9999999999999999999"))
  end)

  it("is none when it is empty, and stop when the client was told to stay away", function()
    assert.equal("none", kind(""))
    assert.equal("stop", kind("stop"))
  end)

  it("is bad when anything else is in it", function()
    for _, text in ipairs { "stop ", "Stop", "1", "-1", EPOCH, EPOCH .. "-", EPOCH .. "-01", EPOCH .. "-00",
      EPOCH .. "-1 ", " " .. EPOCH .. "-1", EPOCH .. "-+1", EPOCH .. "--1", EPOCH .. "-1a", EPOCH .. "_1",
      EPOCH .. "-1\0", EPOCH .. "-99999999999999999999", "abcdefg23456-1", "abcdefg2345677-1", "Abcdefg234567-1",
      "abcdefg234561-1", "abcdefg234568-1", "abcdefg23456\0-1", "abcdefg23456é-1", "42", "1700000000000-0",
      ("x"):rep(10000) } do
      assert.equal("bad", kind(text), text)
    end
  end)

  it("is bad in every byte but the allowed ones", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      assert.equal(char:find("^[a-z2-7]$") and "good" or "bad", kind(char .. EPOCH:sub(2) .. "-5"), "byte " .. byte)
      assert.equal(char:find("^%d$") and "good" or "bad", kind(EPOCH .. "-5" .. char), "byte " .. byte)
    end
  end)
end)
