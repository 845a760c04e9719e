--- Query strings, cookies, headers.
local query = require("sluice.base.query")

describe("query", function()
  it("decodes names and values once, the first of a name first", function()
    local first, all = query.parse("a=1&a=2&b+c=d%26e&f&g=%2525&=x&h=%zz")
    assert.same({ a = "1", ["b c"] = "d&e", f = "", g = "%25", [""] = "x", h = "%zz" }, first)
    assert.same({ "1", "2" }, all.a)
    assert.same({}, (query.parse(nil)))
    assert.same({}, (query.parse("&&")))
  end)

  it("takes 100 parameters and no more", function()
    assert.truthy(query.parse(("a=1&"):rep(100)))
    assert.is_nil((query.parse(("a=1&"):rep(101))))
  end)

  it("reads cookies, with or without quotes, the first of a name", function()
    assert.same({ a = "1", b = "x y", c = "" }, query.cookies('a=1; b="x y"; c=; a=2; ;d'))
    assert.same({}, query.cookies(nil))
  end)

  it("finds headers in any case and nothing else", function()
    local headers = query.headers({ ["x-api-key"] = "k" })
    assert.equal("k", headers["X-API-Key"])
    assert.equal("k", headers["x-api-key"])
    assert.is_nil(headers["x-other"])
    assert.is_nil(headers[1])
  end)

  it("makes a table of what the core keeps of the headers, repeated ones joined", function()
    local core = require("sluice.core")
    assert.same({}, core.headers(""))
    assert.same({ a = "1, 2, ", b = "x=y", ["last-event-id"] = "" },
      core.headers("a\0001\0b\0x=y\0a\0002\0last-event-id\0\0a\0\0"))
    assert.has_error(function() core.headers("a\0") end)
    assert.has_error(function() core.headers(nil) end)
  end)
end)
