--- What apps see as `os`.
local process = require("sluice.base.process")

describe("os.exit of an app", function()
  local exit = process.os.exit
  local before = { loading = process.loading, runtime = process.runtime }
  after_each(function() process.loading, process.runtime = before.loading, before.runtime end)

  it("asks the server to stop, with the code that C would give", function()
    local asked = {}
    process.loading, process.runtime = nil, { exit = function(_, code, where) asked[#asked + 1] = { code, where } end }
    for _, code in ipairs { 0, 3, true, false, 257, -1 } do exit(code) end
    exit()
    local codes = {}
    for i, row in ipairs(asked) do
      codes[i] = row[1]
      assert.matches("process_spec.lua:%d+$", row[2])
    end
    assert.same({ 0, 3, 0, 1, 1, 255, 0 }, codes)
    assert.matches("a whole number or a boolean is expected, not \"x\"", select(2, pcall(exit, "x")))
  end)

  it("is an error while an app is loading, which would end a server that runs", function()
    process.loading = {}
    assert.matches("process_spec.lua:%d+: os.exit%(2%) while the app is loading", select(2, pcall(exit, 2)))
  end)
end)

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
