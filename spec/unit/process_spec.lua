--- What apps see as `os`.
local process = require("sluice.process")

describe("os.setlocale of an app", function()
  local set = process.os.setlocale
  after_each(function() os.setlocale("C") end)

  it("changes all but how numbers are written", function()
    assert.truthy(set("C.UTF-8"))
    assert.same({ "C.UTF-8", "C.UTF-8", "C" },
      { os.setlocale(nil, "ctype"), os.setlocale(nil, "time"), os.setlocale(nil, "numeric") })
    assert.equal(os.setlocale(), set())
    assert.equal("C", set("C", "time"))
    assert.equal("C", set(nil, "time"))
    assert.equal("C.UTF-8", set(nil, "ctype"))
  end)

  it("is refused for numbers, and for a locale that is not there, and then changes nothing", function()
    assert.is_nil(set("C.UTF-8", "numeric"))
    assert.equal("C", set("C", "numeric"))
    assert.is_nil(set("xx_XX"))
    assert.equal("C", os.setlocale())
  end)
end)
