--- csrc/run/yield.c: work that can wait gives way, for a part of its time.
local testing = require("sluice.core.testing")

describe("work that can wait", function()
  it("never sleeps while nothing is urgent", function()
    local w = testing.work(50, false)
    assert.equal(0, w.sleeps)
  end)

  it("gives way to what is urgent, for a part of its time at most", function()
    for _ = 1, 3 do
      local w = testing.work(200, true)
      assert.is_true(w.sleeps > 10, w.sleeps .. " sleeps")
      local most = w.credit_us + w.worked_us // w.part + w.longest_us
      assert.is_true(w.slept_us <= most, ("%d us of %d"):format(w.slept_us, most))
    end
  end)
end)
